//! Who is behind an account, and which number a person has now.

use std::collections::{BTreeSet, HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use tokio::sync::OnceCell;

use super::history::hash;
use super::homes::Homes;

/// `accounts`, `identities` and `staff` over time, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    /// By account.
    accounts: HashMap<String, Vec<Holding>>,
    /// By staff user id: the accounts that were theirs.
    held: HashMap<String, Vec<String>>,
    /// An older or other number to the one that took its place.
    newer: HashMap<String, (String, i64)>,
    /// A current number to every other one of the same person.
    others: HashMap<String, Vec<String>>,
    /// Staff user id to personal number.
    persons: HashMap<String, (String, (i64, i64))>,
    /// Every staff user id.
    staff: HashSet<String>,
    /// Who lives with whom: read when it is first asked for.
    homes: OnceCell<Homes>,
    /// Of when that is asked where nothing is said, µs UTC; none: now.
    as_of: Option<i64>,
}

/// Who had an account, when, and in which source (`None`: in any).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    source: Option<String>,
    user_id: String,
    from: i64,
    to: i64,
}

impl Holding {
    fn covers(&self, source: &str, at: i64) -> bool {
        self.from <= at && at <= self.to && self.source.as_deref().is_none_or(|s| s == source)
    }
}

impl Resolver {
    /// From the rows of the three tables.
    pub(crate) fn of(
        accounts: &[RecordBatch],
        identities: &[RecordBatch],
        staff: &[RecordBatch],
    ) -> Resolver {
        let mut resolver = Resolver::default();
        accounts.iter().for_each(|batch| resolver.add_accounts(&Text::of(batch)));
        identities.iter().for_each(|batch| resolver.add_identities(&Text::of(batch)));
        staff.iter().for_each(|batch| resolver.add_staff(&Text::of(batch)));
        resolver.settle();
        resolver
    }

    /// The same, for questions about what held at an instant, µs UTC.
    pub(crate) fn asked_of(self, as_of: Option<i64>) -> Resolver {
        Resolver { as_of, ..self }
    }

    /// With who lives with whom, by the rows of `subjects`, `staff` and `kinship`.
    pub(crate) fn with_homes(self, rows: [Vec<RecordBatch>; 3]) -> Resolver {
        let homes = self.homes_of(&rows);
        Resolver { homes: OnceCell::new_with(Some(homes)), ..self }
    }

    fn homes_of(&self, [subjects, staff, kinship]: &[Vec<RecordBatch>; 3]) -> Homes {
        let mut homes = Homes::default();
        let key = |id: &str| self.key(id);
        subjects.iter().for_each(|batch| homes.add_people(batch, "subject_id", &key));
        staff.iter().for_each(|batch| homes.add_people(batch, "person_id", &key));
        kinship.iter().for_each(|batch| homes.add_kin(batch, &key));
        homes.settle();
        homes
    }

    /// Who lives with whom, where that has been read.
    pub(crate) fn homes(&self) -> Option<&Homes> {
        self.homes.get()
    }

    /// The same, by the rows that `read` gives where they have not been read.
    pub(crate) async fn homes_or<E>(
        &self,
        read: impl Future<Output = Result<[Vec<RecordBatch>; 3], E>>,
    ) -> Result<(), E> {
        let homes = async { Ok(self.homes_of(&read.await?)) };
        self.homes.get_or_try_init(|| homes).await.map(|_| ())
    }

    /// Whether two persons belonged together, at an instant or now; none where that has not been read.
    pub(crate) fn together(&self, one: &str, other: &str, at: Option<i64>) -> Option<bool> {
        let at = at.or(self.as_of).unwrap_or_else(|| chrono::Utc::now().timestamp_micros());
        Some(self.homes.get()?.together(self.key(one), self.key(other), at))
    }

    fn key(&self, person: &str) -> u64 {
        hash(0, self.current(person).as_bytes())
    }

    /// Whether any account is known; without one every user is who the log says.
    pub(crate) fn knows_accounts(&self) -> bool {
        !self.accounts.is_empty()
    }

    /// Whether any number has another.
    pub(crate) fn knows_identities(&self) -> bool {
        !self.newer.is_empty()
    }

    /// The staff user id behind `user_id` as `source` wrote it at `at` (µs UTC), where an account says so. When two
    /// holdings cover the instant, the one that began last and names the source wins.
    pub(crate) fn actor<'a>(&'a self, source: &str, user_id: &'a str, at: i64) -> &'a str {
        let covering = self.accounts.get(user_id).into_iter().flatten().filter(|h| h.covers(source, at));
        covering.max_by_key(|h| (h.source.is_some(), h.from)).map_or(user_id, |h| &h.user_id)
    }

    /// Everyone who held the account within `[from, to)`, in any source.
    pub(crate) fn holders(&self, account: &str, from: i64, to: i64) -> BTreeSet<&str> {
        let held = self.accounts.get(account).into_iter().flatten();
        held.filter(|h| h.from < to && from <= h.to).map(|h| h.user_id.as_str()).collect()
    }

    /// Every account that was ever theirs.
    pub(crate) fn accounts_of(&self, user_id: &str) -> &[String] {
        self.held.get(user_id).map_or(&[], Vec::as_slice)
    }

    /// Whether `staff` has this user.
    pub(crate) fn knows_staff(&self, user_id: &str) -> bool {
        self.staff.contains(user_id)
    }

    /// The personal number of a staff user.
    pub(crate) fn person_of(&self, user_id: &str) -> Option<&str> {
        self.persons.get(user_id).map(|(person, _)| person.as_str())
    }

    /// The number that `subject` has now; itself where nothing newer is known.
    pub(crate) fn current<'a>(&'a self, subject: &'a str) -> &'a str {
        let mut at = subject;
        // A circle in the data must not hold us: nobody changes number this often.
        for _ in 0..16 {
            match self.newer.get(at) {
                Some((newer, _)) if newer != subject => at = newer,
                _ => break,
            }
        }
        at
    }

    /// Every number of the person who has `subject`, that one included.
    pub(crate) fn numbers_of(&self, subject: &str) -> BTreeSet<String> {
        let current = self.current(subject);
        let others = self.others.get(current).into_iter().flatten();
        others.cloned().chain([current.to_owned(), subject.to_owned()]).collect()
    }

    fn add_accounts(&mut self, rows: &Text<'_>) {
        for row in 0..rows.batch.num_rows() {
            let (Some(account), Some(user_id)) = (rows.get("account_id", row), rows.get("user_id", row))
            else {
                continue;
            };
            let holding = Holding {
                source: rows.get("source", row).map(str::to_owned),
                user_id: user_id.to_owned(),
                from: rows.time("valid_from", row).unwrap_or(i64::MIN),
                to: rows.time("valid_to", row).unwrap_or(i64::MAX),
            };
            self.accounts.entry(account.to_owned()).or_default().push(holding);
            self.held.entry(user_id.to_owned()).or_default().push(account.to_owned());
        }
    }

    /// When one number is said to belong to two people, the later statement holds.
    fn add_identities(&mut self, rows: &Text<'_>) {
        for row in 0..rows.batch.num_rows() {
            let (Some(subject), Some(other)) = (rows.get("subject_id", row), rows.get("other_id", row))
            else {
                continue;
            };
            if subject != other {
                let since = rows.time("valid_from", row).unwrap_or(i64::MIN);
                keep_later(&mut self.newer, other, subject, since);
            }
        }
    }

    fn add_staff(&mut self, rows: &Text<'_>) {
        for row in 0..rows.batch.num_rows() {
            self.staff.extend(rows.get("user_id", row).map(str::to_owned));
            if let (Some(user_id), Some(person)) = (rows.get("user_id", row), rows.get("person_id", row)) {
                // What is said last counts, and of that the last employment.
                let until = rows.time("valid_to", row).unwrap_or(i64::MAX);
                let since = rows.time("employed_from", row).unwrap_or(i64::MIN);
                keep_later(&mut self.persons, user_id, person, (until, since));
            }
        }
    }

    fn settle(&mut self) {
        let mut others: HashMap<String, Vec<String>> = HashMap::new();
        for other in self.newer.keys() {
            others.entry(self.current(other).to_owned()).or_default().push(other.clone());
        }
        self.others = others;
        for accounts in self.held.values_mut() {
            accounts.sort();
            accounts.dedup();
        }
    }
}

fn keep_later<T: Ord>(map: &mut HashMap<String, (String, T)>, key: &str, value: &str, since: T) {
    match map.get(key) {
        Some((_, known)) if *known > since => {}
        _ => {
            map.insert(key.to_owned(), (value.to_owned(), since));
        }
    }
}

/// Columns of a batch by name, as text and times.
struct Text<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Text<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        Text { batch }
    }

    fn get(&self, column: &str, row: usize) -> Option<&'a str> {
        let values = self.batch.column_by_name(column)?.as_string_opt::<i32>()?;
        values.is_valid(row).then(|| values.value(row))
    }

    fn time(&self, column: &str, row: usize) -> Option<i64> {
        let values = self.batch.column_by_name(column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        values.is_valid(row).then(|| values.value(row))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn resolver(accounts: &[(&str, &str, &str, i64, i64)], identities: &[(&str, &str, i64)]) -> Resolver {
        let mut resolver = Resolver::default();
        for (source, account, user, from, to) in accounts {
            let source = (!source.is_empty()).then(|| (*source).to_owned());
            let holding = Holding { source, user_id: (*user).to_owned(), from: *from, to: *to };
            resolver.accounts.entry((*account).to_owned()).or_default().push(holding);
            resolver.held.entry((*user).to_owned()).or_default().push((*account).to_owned());
        }
        for (subject, other, since) in identities {
            keep_later(&mut resolver.newer, other, subject, *since);
        }
        resolver.settle();
        resolver
    }

    #[test]
    fn an_account_is_whose_it_was_then_and_there() {
        let r = resolver(
            &[
                ("omsorg", "anka01", "SE-A", 0, 99),
                ("omsorg", "anka01", "SE-B", 100, 200),
                ("", "x", "SE-A", 0, 9),
            ],
            &[],
        );
        for (source, account, at, expected) in [
            ("omsorg", "anka01", 0, "SE-A"),
            ("omsorg", "anka01", 99, "SE-A"),
            ("omsorg", "anka01", 100, "SE-B"),
            ("omsorg", "anka01", 201, "anka01"),
            ("journal", "anka01", 50, "anka01"),
            ("journal", "x", 5, "SE-A"),
            ("journal", "unknown", 5, "unknown"),
        ] {
            assert_eq!(r.actor(source, account, at), expected, "{source} {account} {at}");
        }
        assert_eq!(r.holders("anka01", 0, 50), BTreeSet::from(["SE-A"]));
        assert_eq!(r.holders("anka01", 0, 101), BTreeSet::from(["SE-A", "SE-B"]));
        assert_eq!(r.accounts_of("SE-A"), ["anka01", "x"]);
    }

    #[test]
    fn numbers_lead_to_the_current_one_and_back() {
        let r =
            resolver(&[], &[("B", "A", 1), ("C", "B", 2), ("C", "R1", 3), ("Z", "A2", 1), ("Y", "A2", 2)]);
        for (number, current) in [("A", "C"), ("B", "C"), ("C", "C"), ("R1", "C"), ("A2", "Y"), ("Q", "Q")] {
            assert_eq!(r.current(number), current, "{number}");
        }
        let all = BTreeSet::from(["A", "B", "C", "R1"].map(str::to_owned));
        for number in &all {
            assert_eq!(r.numbers_of(number), all, "{number}");
        }
        assert_eq!(r.numbers_of("Q"), BTreeSet::from(["Q".to_owned()]));
    }

    #[test]
    fn a_circle_ends() {
        let r = resolver(&[], &[("B", "A", 1), ("A", "B", 2), ("D", "C", 0), ("E", "D", 0), ("D", "E", 0)]);
        r.current("A");
        r.current("C");
        assert!(r.numbers_of("A").contains("A"));
    }
}
