//! Rows of weeks as logs wrote them, by account and local day.
//!
//! Weeks of a region hold hundreds of millions of rows. Who is behind an account is asked once for all the time that it was one
//! person's, and not row by row; which local day it was is looked up and not worked out.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use chrono_tz::Tz;
use datafusion::common::{HashMap, JoinType};
use datafusion::error::DataFusionError;
use insyn_engine::context::over_time;

use crate::calendar::CalendarWindow;
use crate::desk::{Desk, keys_table, text_array, texts};
use crate::rule::WindowSize;

/// The columns that rows are read with, in this order, before others.
pub(crate) const COLUMNS: &str = "source, user_id, occurred_at";

/// Of which accounts rows are wanted, and when they changed hands.
pub(crate) struct Accounts {
    zone: Tz,
    /// As logs may write those who are asked about.
    wanted: HashSet<String>,
    /// By account in capitals: from when on it may be another person's, µs UTC.
    changes: HashMap<String, Box<[i64]>>,
}

impl Accounts {
    /// Those of these users.
    pub async fn of(desk: &Desk, users: &BTreeSet<String>, zone: Tz) -> Result<Accounts, DataFusionError> {
        let accounts = over_time("accounts");
        let keys = keys_table(&users.iter().map(String::as_str).collect())?;
        let theirs = desk.source.sql(&format!("select account_id, user_id from {accounts}")).await?;
        let keys = desk.source.read_batch(keys)?;
        let theirs = theirs.join(keys, JoinType::LeftSemi, &["user_id"], &["id"], None)?;
        let mut wanted: HashSet<String> = users.iter().cloned().collect();
        for batch in theirs.collect().await? {
            wanted.extend(text_array(&batch, 0)?.iter().flatten().map(str::to_owned));
        }
        let query = format!(
            "select account, cast(at as bigint) as at from ( \
             select upper(account_id) as account, valid_from as at from {accounts} union \
             select upper(account_id), valid_to + interval '1 microsecond' from {accounts}) as x \
             where at is not null"
        );
        let mut changes: HashMap<String, Vec<i64>> = HashMap::new();
        for row in texts(&desk.source, &query, 2).await? {
            let [Some(account), Some(at)] = <[Option<String>; 2]>::try_from(row).unwrap_or_default() else {
                continue;
            };
            changes.entry(account).or_default().extend(at.parse::<i64>().ok());
        }
        let changes = changes.into_iter().map(|(account, mut at)| {
            at.sort_unstable();
            (account, at.into())
        });
        Ok(Accounts { zone, wanted, changes: changes.collect() })
    }

    /// As logs may write them.
    pub fn wanted(&self) -> &HashSet<String> {
        &self.wanted
    }
}

/// The place of an account in `known`; none where nobody asked for it.
type Places = HashMap<Box<str>, Option<u32>>;

/// Accounts on local days, as they are met.
pub(crate) struct Days {
    accounts: Arc<Accounts>,
    /// By source.
    places: Vec<(Box<str>, Places)>,
    known: Vec<Known>,
    /// Local days by their first instant: the first after them, and their number.
    calendar: BTreeMap<i64, (i64, i32)>,
    holders: Vec<Holder>,
    days: Vec<(u32, i32)>,
    numbers: HashMap<(u32, i32), u32>,
    last: Option<Met>,
}

/// An account in a source.
struct Known {
    source: usize,
    account: Box<str>,
    changes: Box<[i64]>,
    /// The number of its holder between two changes.
    holders: HashMap<usize, u32>,
}

/// Somebody who held an account at an instant.
struct Holder {
    known: u32,
    at: i64,
}

/// What the row before was.
struct Met {
    /// Of the account in `known`.
    place: u32,
    /// As long as it is the same day and holder.
    within: (i64, i64),
    number: u32,
}

impl Days {
    pub fn new(accounts: &Arc<Accounts>) -> Days {
        Days {
            accounts: Arc::clone(accounts),
            places: Vec::new(),
            known: Vec::new(),
            calendar: BTreeMap::new(),
            holders: Vec::new(),
            days: Vec::new(),
            numbers: HashMap::new(),
            last: None,
        }
    }

    /// The number of the account's holder on the local day; none where nobody asked for the account.
    pub fn number(&mut self, source: &str, account: &str, at: i64) -> Option<u32> {
        if let Some(met) = &self.last
            && (met.within.0..met.within.1).contains(&at)
            && self.is(met.place, source, account)
        {
            return Some(met.number);
        }
        let place = self.place(source, account)?;
        let (within, number) = self.of_day(place, at);
        self.last = Some(Met { place, within, number });
        Some(number)
    }

    fn is(&self, place: u32, source: &str, account: &str) -> bool {
        let known = &self.known[place as usize];
        *known.account == *account && *self.places[known.source].0 == *source
    }

    fn place(&mut self, source: &str, account: &str) -> Option<u32> {
        let of = match self.places.iter().position(|(known, _)| **known == *source) {
            Some(of) => of,
            None => {
                self.places.push((source.into(), Places::new()));
                self.places.len() - 1
            }
        };
        if let Some(place) = self.places[of].1.get(account) {
            return *place;
        }
        let place = self.accounts.wanted.contains(account).then(|| {
            let changes = self.accounts.changes.get(&account.to_uppercase()).cloned().unwrap_or_default();
            self.known.push(Known { source: of, account: account.into(), changes, holders: HashMap::new() });
            self.known.len() as u32 - 1
        });
        self.places[of].1.insert(account.into(), place);
        place
    }

    fn of_day(&mut self, place: u32, at: i64) -> ((i64, i64), u32) {
        let (mut from, mut to, day) = self.day(at);
        let known = &mut self.known[place as usize];
        let nth = known.changes.partition_point(|change| *change <= at);
        if let Some(before) = nth.checked_sub(1) {
            from = from.max(known.changes[before]);
        }
        to = to.min(known.changes.get(nth).copied().unwrap_or(i64::MAX));
        let next = self.holders.len() as u32;
        let holder = *known.holders.entry(nth).or_insert(next);
        if holder == next {
            self.holders.push(Holder { known: place, at });
        }
        let next = self.days.len() as u32;
        let number = *self.numbers.entry((holder, day)).or_insert(next);
        if number == next {
            self.days.push((holder, day));
        }
        ((from, to), number)
    }

    /// The local day: its first instant, the first after it, and its number.
    fn day(&mut self, at: i64) -> (i64, i64, i32) {
        if let Some((from, (to, day))) = self.calendar.range(..=at).next_back()
            && at < *to
        {
            return (*from, *to, *day);
        }
        let window = CalendarWindow::of(WindowSize::Day, at, self.accounts.zone);
        let day = Date32Type::from_naive_date(window.first_day);
        self.calendar.insert(window.from, (window.to, day));
        (window.from, window.to, day)
    }

    /// By number: who it was, of `users` by their number in order, and the day; none where it was somebody else.
    pub async fn whose(
        &self,
        desk: &Desk,
        users: &BTreeSet<String>,
    ) -> Result<Vec<Option<(u32, i32)>>, DataFusionError> {
        let known = self.holders.iter().map(|holder| &self.known[holder.known as usize]);
        let sources = known.clone().map(|known| &*self.places[known.source].0);
        let at = self.holders.iter().map(|holder| holder.at);
        let columns: [(&str, ArrayRef); 4] = [
            ("n", Arc::new(Int64Array::from_iter_values(0..self.holders.len() as i64))),
            ("source", Arc::new(StringArray::from_iter_values(sources))),
            ("user_id", Arc::new(StringArray::from_iter_values(known.map(|known| &*known.account)))),
            ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC"))),
        ];
        let holders = RecordBatch::try_from_iter(columns)?;
        desk.put("holders", holders.schema(), vec![vec![holders]])?;
        let numbers: HashMap<&str, u32> = users.iter().map(String::as_str).zip(0..).collect();
        let mut of_holder = vec![None; self.holders.len()];
        let query = "select n, actor_id(source, user_id, at) from holders";
        for batch in desk.ctx.sql(query).await?.collect().await? {
            let places = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values();
            let actors = text_array(&batch, 1)?;
            for (row, place) in places.iter().enumerate().filter(|(row, _)| actors.is_valid(*row)) {
                of_holder[*place as usize] = numbers.get(actors.value(row)).copied();
            }
        }
        Ok(self.days.iter().map(|(holder, day)| Some((of_holder[*holder as usize]?, *day))).collect())
    }

    /// What the log called the account of a number, and in which source.
    pub fn written(&self, number: u32) -> (&str, &str) {
        let (holder, _) = self.days[number as usize];
        let known = &self.known[self.holders[holder as usize].known as usize];
        (&self.places[known.source].0, &known.account)
    }
}

/// The first three columns of rows.
pub(crate) struct Rows<'a> {
    sources: StringArray,
    accounts: StringArray,
    at: &'a TimestampMicrosecondArray,
}

impl<'a> Rows<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Rows<'a>, DataFusionError> {
        let at = batch.column(2).as_primitive_opt::<TimestampMicrosecondType>();
        let at = at.ok_or_else(|| DataFusionError::Internal("times in µs were asked for".into()))?;
        Ok(Rows { sources: text_array(batch, 0)?, accounts: text_array(batch, 1)?, at })
    }

    /// The number of a row's account and day.
    pub fn number(&self, row: usize, days: &mut Days) -> Option<u32> {
        let known = self.sources.is_valid(row) && self.accounts.is_valid(row);
        known.then(|| days.number(self.sources.value(row), self.accounts.value(row), self.at.value(row)))?
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap as ByKey;

    use chrono::DateTime;
    use chrono_tz::Europe::Stockholm;
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000_000;
    /// The day before summer time begins: days of 24, 23 and 24 hours.
    const FROM: i64 = 1_774_652_400_000_000;

    fn local_day(at: i64) -> i32 {
        Date32Type::from_naive_date(
            DateTime::from_timestamp_micros(at).unwrap().with_timezone(&Stockholm).date_naive(),
        )
    }

    proptest! {
        #[test]
        fn rows_of_an_account_share_a_number_as_long_as_day_and_holder_are_the_same(
            rows in prop::collection::vec((0usize..2, 0usize..4, 0i64..72 * 4), 1..60),
            changes in prop::collection::vec((0usize..4, 0i64..72 * 4), 0..6),
        ) {
            let accounts = ["anka", "Berg", "CARL", "nobody"];
            let mut at_which: HashMap<String, Vec<i64>> = HashMap::new();
            for (account, quarter) in changes {
                at_which.entry(accounts[account].to_uppercase()).or_default().push(FROM + quarter * HOUR / 4);
            }
            at_which.values_mut().for_each(|at| at.sort_unstable());
            let known = Arc::new(Accounts {
                zone: Stockholm,
                wanted: accounts[..3].iter().map(|name| (*name).to_owned()).collect(),
                changes: at_which.iter().map(|(name, at)| (name.clone(), at.clone().into())).collect(),
            });
            let mut days = Days::new(&known);
            let mut seen: ByKey<u32, (usize, usize, i32, usize)> = ByKey::new();
            let mut numbers: ByKey<(usize, usize, i32, usize), u32> = ByKey::new();
            for (source, account, quarter) in rows {
                let at = FROM + quarter * HOUR / 4;
                let number = days.number(["journal", "lab"][source], accounts[account], at);
                if account == 3 {
                    prop_assert_eq!(number, None);
                    continue;
                }
                let before = at_which.get(&accounts[account].to_uppercase()).map_or(0, |changes| {
                    changes.iter().filter(|change| **change <= at).count()
                });
                let key = (source, account, local_day(at), before);
                let number = number.unwrap();
                prop_assert_eq!(days.written(number), (["journal", "lab"][source], accounts[account]));
                prop_assert_eq!(*seen.entry(number).or_insert(key), key);
                prop_assert_eq!(*numbers.entry(key).or_insert(number), number);
            }
        }
    }
}
