//! How usual a look is: what the user and the others who opened the same record otherwise have to do with each other.
//!
//! After SNAD (specialized network anomaly detection: Chen, Nyemba, Zhang and Malin, 2012). Two users are alike as far as they
//! open the records of the same other persons (the cosine between the two sets). If those who opened a record are more
//! alike without the user than with them, the user stands apart from them. It takes no labels and no registers, and no
//! user is ranked by it: it is said of one user and one record.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::DateTime;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;

use crate::desk::Desk;
use crate::opened::Numbered;

/// The local days before the end of the finding's window that are looked at.
const DAYS: i32 = 28;
/// Others than the user that are compared, the first by name: a record that hundreds opened takes no longer.
const MOST_READERS: usize = 24;
/// From here the group is more alike without the user.
const APART: f64 = 0.01;
/// Of one other reader: from here the two are alike.
const LIKE: f64 = 0.05;

/// How usual it is that the user opens the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usual {
    /// Nobody else opened it.
    Alone,
    /// The others are more like one another.
    Unlike,
    /// The user is one of them.
    Alike,
}

/// Who looked in whose record, and the end (µs UTC, without it) of the calendar window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub user: String,
    pub subject: String,
    pub to: i64,
}

/// For each what is known; none where nobody can be compared.
pub(crate) async fn usual(
    desk: &Desk,
    zone: Tz,
    asked: &[Asked],
) -> Result<Vec<Option<Usual>>, DataFusionError> {
    let last_day = |asked: &Asked| local_day(asked.to - 1, zone);
    // Blocks of time, so that a long period need not be held whole; where they are cut decides nothing.
    let mut blocks: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (n, one) in asked.iter().enumerate() {
        blocks.entry(last_day(one).div_euclid(DAYS)).or_default().push(n);
    }
    let mut answers = vec![None; asked.len()];
    for places in blocks.values() {
        let ends = || places.iter().map(|place| asked[*place].to);
        let (Some(first), Some(last)) = (ends().min(), ends().max()) else { continue };
        // A day more than is looked at, for days that are longer than others.
        let period = (first - i64::from(DAYS + 1) * 86_400_000_000, last);
        let subjects: BTreeSet<&str> = places.iter().map(|place| asked[*place].subject.as_str()).collect();
        let readers = desk.readers(&subjects, period).await?;
        let looks = desk.looked_in(&readers, period, zone).await?;
        let mut compared = Compared::of(readers.into_iter().collect(), &looks.persons, looks.rows());
        for place in places {
            let one = &asked[*place];
            let readers = compared.readers(&one.subject, last_day(one));
            answers[*place] = compared.usual(&one.user, &one.subject, &readers, last_day(one));
        }
    }
    Ok(answers)
}

fn local_day(at: i64, zone: Tz) -> i32 {
    let date = DateTime::from_timestamp_micros(at).unwrap_or_default().with_timezone(&zone).date_naive();
    arrow::datatypes::Date32Type::from_naive_date(date)
}

/// What is compared, and what has been compared already.
struct Compared<'a> {
    /// By number, in order of names.
    users: Vec<String>,
    subjects: &'a Numbered,
    /// By user: (subject, day), in order.
    of_user: Vec<Vec<(u32, i32)>>,
    /// By subject: (user, day).
    of_subject: HashMap<u32, Vec<(u32, i32)>>,
    sets: HashMap<(u32, i32), std::rc::Rc<[u32]>>,
    /// How many persons two users have both opened in the days up to one, the lesser number first: those of a unit are
    /// compared again for each of its records.
    both: HashMap<(u32, u32, i32), u32>,
}

impl<'a> Compared<'a> {
    /// Of (user, day, subject), each once.
    fn of(
        users: Vec<String>,
        subjects: &'a Numbered,
        rows: impl Iterator<Item = (u32, i32, u32)>,
    ) -> Compared<'a> {
        let mut of_user = vec![Vec::new(); users.len()];
        let mut of_subject: HashMap<u32, Vec<(u32, i32)>> = HashMap::new();
        for (user, day, subject) in rows {
            of_user[user as usize].push((subject, day));
            of_subject.entry(subject).or_default().push((user, day));
        }
        of_user.iter_mut().for_each(|rows| rows.sort_unstable());
        Compared { users, subjects, of_user, of_subject, sets: HashMap::new(), both: HashMap::new() }
    }

    /// Who opened the record in the days up to this one, by name.
    fn readers(&self, subject: &str, last: i32) -> Vec<u32> {
        let Some(rows) = self.subjects.get(subject).and_then(|n| self.of_subject.get(n)) else {
            return Vec::new();
        };
        let within = rows.iter().filter(|(_, day)| is_within(*day, last));
        let mut readers: Vec<u32> = within.map(|(user, _)| *user).collect();
        readers.sort_unstable();
        readers.dedup();
        readers
    }

    fn usual(&mut self, user: &str, subject: &str, readers: &[u32], last: i32) -> Option<Usual> {
        let me = self.users.binary_search_by(|known| known.as_str().cmp(user)).ok()? as u32;
        let subject = *self.subjects.get(subject)?;
        match readers {
            [] => return None,
            [only] if *only == me => return Some(Usual::Alone),
            _ => {}
        }
        let opens_others = |compared: &mut Compared<'_>, user: u32| {
            compared.set(user, last).iter().any(|opened| *opened != subject)
        };
        if !opens_others(self, me) {
            return None;
        }
        let mut others: Vec<u32> = readers.iter().copied().filter(|reader| *reader != me).collect();
        others.retain(|other| opens_others(self, *other));
        others.truncate(MOST_READERS);
        let mine: Vec<f64> = others.iter().map(|other| self.cosine(me, *other, subject, last)).collect();
        let mut theirs = Vec::new();
        for (n, one) in others.iter().enumerate() {
            theirs.extend(others[n + 1..].iter().map(|other| self.cosine(*one, *other, subject, last)));
        }
        match (&mine[..], &theirs[..]) {
            ([], _) => None,
            ([alike], []) if *alike >= LIKE => Some(Usual::Alike),
            ([alike], []) => (*alike == 0.0).then_some(Usual::Unlike),
            _ => {
                let without = mean(theirs.iter());
                let apart = without - mean(theirs.iter().chain(&mine));
                match apart {
                    _ if apart > APART => Some(Usual::Unlike),
                    _ if apart <= 0.0 && mean(mine.iter()) > 0.0 => Some(Usual::Alike),
                    _ => None,
                }
            }
        }
    }

    /// How alike two users are, by the records of others than this person.
    fn cosine(&mut self, one: u32, other: u32, subject: u32, last: i32) -> f64 {
        let pair = (one.min(other), one.max(other), last);
        let (one, other) = (self.set(one, last), self.set(other, last));
        let has = |set: &[u32]| usize::from(set.binary_search(&subject).is_ok());
        let both = *self.both.entry(pair).or_insert_with(|| common(&one, &other) as u32) as usize;
        let both = both - has(&one) * has(&other);
        let (one, other) = (one.len() - has(&one), other.len() - has(&other));
        if one == 0 || other == 0 { 0.0 } else { both as f64 / ((one * other) as f64).sqrt() }
    }

    /// Whose records the user opened in the days up to this one, in order.
    fn set(&mut self, user: u32, last: i32) -> std::rc::Rc<[u32]> {
        let rows = &self.of_user[user as usize];
        let set = self.sets.entry((user, last)).or_insert_with(|| {
            let mut set: Vec<u32> =
                rows.iter().filter(|(_, day)| is_within(*day, last)).map(|(subject, _)| *subject).collect();
            set.dedup();
            set.into()
        });
        std::rc::Rc::clone(set)
    }
}

fn is_within(day: i32, last: i32) -> bool {
    last - DAYS < day && day <= last
}

/// How many numbers are in both; each is in order, without repeats.
fn common(one: &[u32], other: &[u32]) -> usize {
    let (mut a, mut b, mut both) = (0, 0, 0);
    while let (Some(x), Some(y)) = (one.get(a), other.get(b)) {
        both += usize::from(x == y);
        (a, b) = (a + usize::from(x <= y), b + usize::from(y <= x));
    }
    both
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    if n == 0 { 0.0 } else { sum / n as f64 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    type Row = (u8, u8, i32);

    fn name(n: u8) -> String {
        format!("n{n:03}")
    }

    fn asked(rows: &[Row], user: u8, subject: u8, last: i32) -> Option<Usual> {
        let distinct: BTreeSet<&Row> = rows.iter().collect();
        let users: Vec<u8> = rows.iter().map(|row| row.0).collect::<BTreeSet<u8>>().into_iter().collect();
        let number = |user: u8| users.iter().position(|known| *known == user).unwrap() as u32;
        let subjects = (0..=u8::MAX).map(|n| (name(n), u32::from(n))).collect();
        let rows = distinct.iter().map(|row| (number(row.0), row.2, u32::from(row.1)));
        let mut compared = Compared::of(users.iter().map(|user| name(*user)).collect(), &subjects, rows);
        let readers = compared.readers(&name(subject), last);
        compared.usual(&name(user), &name(subject), &readers, last)
    }

    /// The same by sets of everything, as one would do it by hand.
    fn by_hand(rows: &[Row], user: u8, subject: u8, last: i32) -> Option<Usual> {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.2 > last - DAYS && row.2 <= last).collect();
        let opened = |user: u8| -> HashSet<u8> {
            rows.iter().filter(|row| row.0 == user && row.1 != subject).map(|row| row.1).collect()
        };
        let mut readers: BTreeSet<u8> = rows.iter().filter(|row| row.1 == subject).map(|row| row.0).collect();
        if readers.remove(&user) && readers.is_empty() {
            return Some(Usual::Alone);
        }
        let others: Vec<u8> =
            readers.into_iter().filter(|other| !opened(*other).is_empty()).take(MOST_READERS).collect();
        if opened(user).is_empty() || others.is_empty() {
            return None;
        }
        let cosine = |a: u8, b: u8| {
            let (a, b) = (opened(a), opened(b));
            a.intersection(&b).count() as f64 / ((a.len() * b.len()) as f64).sqrt()
        };
        let mine: Vec<f64> = others.iter().map(|other| cosine(user, *other)).collect();
        let mut theirs = Vec::new();
        for (n, a) in others.iter().enumerate() {
            others[n + 1..].iter().for_each(|b| theirs.push(cosine(*a, *b)));
        }
        if theirs.is_empty() {
            return match mine[0] {
                alike if alike >= LIKE => Some(Usual::Alike),
                alike => (alike == 0.0).then_some(Usual::Unlike),
            };
        }
        let all: Vec<f64> = theirs.iter().chain(&mine).copied().collect();
        let apart =
            theirs.iter().sum::<f64>() / theirs.len() as f64 - all.iter().sum::<f64>() / all.len() as f64;
        if apart > APART {
            Some(Usual::Unlike)
        } else {
            (apart <= 0.0 && mine.iter().sum::<f64>() > 0.0).then_some(Usual::Alike)
        }
    }

    #[test]
    fn a_user_from_another_ward_stands_apart() {
        let ward: Vec<Row> =
            (1..=3).flat_map(|user| (10..16).map(move |subject| (user, subject, 5))).collect();
        let stranger = [(9, 10, 5), (9, 30, 5), (9, 31, 5)];
        let rows: Vec<Row> = ward.iter().chain(&stranger).copied().collect();
        assert_eq!(asked(&rows, 9, 10, 5), Some(Usual::Unlike));
        assert_eq!(asked(&rows, 1, 10, 5), Some(Usual::Alike));
        assert_eq!(asked(&rows, 9, 30, 5), Some(Usual::Alone));
        assert_eq!(asked(&rows, 9, 10, 5 + DAYS), None, "four weeks later nothing is known");
        assert_eq!(asked(&[(1, 10, 5), (2, 10, 5)], 1, 10, 5), None, "who opens nothing else is like nobody");
    }

    proptest! {
        #[test]
        fn it_is_as_by_hand_in_whatever_order_and_how_often_rows_come(
            rows in vec((0u8..7, 0u8..9, 0i32..60), 0..120),
            (user, subject, last) in (0u8..7, 0u8..9, 20i32..60),
            turned in any::<bool>(),
        ) {
            let told = asked(&rows, user, subject, last);
            let mut others = rows.clone();
            others.extend(rows.iter().step_by(3));
            if turned {
                others.reverse();
            }
            prop_assert_eq!(told, asked(&others, user, subject, last));
            prop_assert_eq!(told, by_hand(&rows, user, subject, last));
        }
    }
}
