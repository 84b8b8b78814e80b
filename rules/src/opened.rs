//! Whose records users opened, day by day, each once; and of how many persons: `user_records`.
//!
//! Weeks of a region hold hundreds of millions of rows. Each becomes one number here, of who, on which day and whose, and the
//! numbers are sorted: no group of a question is held for each of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::HashMap;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::beside;
use crate::desk::{Desk, keys_table, text_array, texts};
use crate::written::{Accounts, Days, Rows};

/// From so many numbers on those that are there twice are dropped while more are read.
const MANY: usize = 16 << 20;

/// Persons by the number that they have here.
pub(crate) type Numbered = HashMap<String, u32>;

/// The columns of the table.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("actor_id", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
        Field::new("records", DataType::Int64, false),
    ]))
}

/// Reads what `query` gives (the columns that rows are [written](crate::written) with, and `subject_id`) of these users, who are numbered in
/// their order; persons are told apart by the number that they have now.
pub(crate) async fn read(
    desk: &Desk,
    query: &str,
    users: &BTreeSet<String>,
    accounts: Accounts,
) -> Result<Opened, DataFusionError> {
    let accounts = Arc::new(accounts);
    let streams = desk.source.sql(query).await?.execute_stream_partitioned().await?;
    let mut opened = Opened::default();
    for part in beside::each(streams, |rows| Part::read(rows, Days::new(&accounts))).await? {
        opened.add(desk, part, users).await?;
    }
    Ok(opened)
}

/// What one part of the rows says, in numbers of its own.
struct Part {
    days: Days,
    /// Persons as written.
    persons: HashMap<Box<str>, u32>,
    /// The number of an account's day, and of a person in its lower half.
    rows: Vec<u64>,
}

impl Part {
    async fn read(mut stream: SendableRecordBatchStream, days: Days) -> Result<Part, DataFusionError> {
        let mut part = Part { days, persons: HashMap::new(), rows: Vec::new() };
        let mut most = MANY;
        while let Some(batch) = stream.next().await {
            part.add(&batch?)?;
            if part.rows.len() > most {
                part.rows.sort_unstable();
                part.rows.dedup();
                most = MANY.max(2 * part.rows.len());
            }
        }
        Ok(part)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let (rows, persons) = (Rows::of(batch)?, text_array(batch, 3)?);
        // Rows lie in order of users or of persons: often it is the one before.
        let mut same: Option<(&str, u32)> = None;
        for row in (0..batch.num_rows()).filter(|row| persons.is_valid(*row)) {
            let Some(number) = rows.number(row, &mut self.days) else { continue };
            let written = persons.value(row);
            let person = match same {
                Some((one, person)) if one == written => person,
                _ => self.person(written),
            };
            same = Some((written, person));
            self.rows.push(u64::from(number) << 32 | u64::from(person));
        }
        Ok(())
    }

    fn person(&mut self, written: &str) -> u32 {
        if let Some(number) = self.persons.get(written) {
            return *number;
        }
        let next = self.persons.len() as u32;
        self.persons.insert(written.into(), next);
        next
    }
}

/// All parts, in common numbers.
#[derive(Default)]
pub(crate) struct Opened {
    days: HashMap<(u32, i32), u32>,
    /// The number of each person.
    pub persons: Numbered,
    rows: Vec<u64>,
}

impl Opened {
    /// Who (by number), on which day, and whose, each once.
    pub fn rows(&self) -> impl Iterator<Item = (u32, i32, u32)> + '_ {
        let mut of = vec![(0, 0); self.days.len()];
        self.days.iter().for_each(|(day, number)| of[*number as usize] = *day);
        self.rows.iter().map(move |row| {
            let (user, day) = of[(row >> 32) as usize];
            (user, day, (row & u64::from(u32::MAX)) as u32)
        })
    }

    async fn add(
        &mut self,
        desk: &Desk,
        part: Part,
        users: &BTreeSet<String>,
    ) -> Result<(), DataFusionError> {
        let mut days = Vec::new();
        for of in part.days.whose(desk, users).await? {
            let next = self.days.len() as u32;
            days.push(of.map(|of| *self.days.entry(of).or_insert(next)));
        }
        let persons = self.resolved(desk, part.persons).await?;
        self.rows.extend(part.rows.into_iter().filter_map(|row| {
            let (day, person) = ((row >> 32) as usize, (row & u64::from(u32::MAX)) as usize);
            Some(u64::from(days[day]?) << 32 | u64::from(persons[person]))
        }));
        self.rows.sort_unstable();
        self.rows.dedup();
        Ok(())
    }

    /// The common number of each person of a part.
    async fn resolved(
        &mut self,
        desk: &Desk,
        written: HashMap<Box<str>, u32>,
    ) -> Result<Vec<u32>, DataFusionError> {
        let ids: BTreeSet<&str> = written.keys().map(AsRef::as_ref).collect();
        let table = keys_table(&ids)?;
        desk.put("persons_as_written", table.schema(), vec![vec![table]])?;
        let mut numbers = vec![0; written.len()];
        for row in texts(&desk.ctx, "select id, subject_key(id) from persons_as_written", 2).await? {
            let [Some(id), Some(person)] = <[Option<String>; 2]>::try_from(row).unwrap_or_default() else {
                continue;
            };
            let next = self.persons.len() as u32;
            let number = *self.persons.entry(person).or_insert(next);
            if let Some(place) = written.get(id.as_str()) {
                numbers[*place as usize] = number;
            }
        }
        Ok(numbers)
    }

    /// How many persons, as the table.
    pub fn counted(self, users: &BTreeSet<String>) -> Result<RecordBatch, DataFusionError> {
        let mut records = vec![0_i64; self.days.len()];
        self.rows.iter().for_each(|row| records[(row >> 32) as usize] += 1);
        let mut days: Vec<((u32, i32), u32)> = self.days.into_iter().collect();
        days.sort_unstable();
        let names: Vec<&String> = users.iter().collect();
        let users = StringArray::from_iter_values(days.iter().map(|((user, _), _)| names[*user as usize]));
        let on = Date32Array::from_iter_values(days.iter().map(|((_, day), _)| *day));
        let records = Int64Array::from_iter_values(days.iter().map(|(_, number)| records[*number as usize]));
        Ok(RecordBatch::try_new(schema(), vec![Arc::new(users), Arc::new(on), Arc::new(records)])?)
    }
}
