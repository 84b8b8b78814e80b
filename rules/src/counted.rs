//! How often users did something on their days: what `user_history` is made of.
//!
//! Rows lie in order of users, so that most are as the one before, and are counted and not kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::beside;
use crate::desk::{Desk, text_array};
use crate::written::{Accounts, Days, Rows};

/// Counts what `query` gives (the columns that rows are [written](crate::written) with, and others of text) of these users: `actor_id`, `day`,
/// `source` and `user_id` as written, `n`, and the others under these names.
pub(crate) async fn read(
    desk: &Desk,
    query: &str,
    others: &[&str],
    users: &BTreeSet<String>,
    accounts: Accounts,
) -> Result<Vec<RecordBatch>, DataFusionError> {
    let accounts = Arc::new(accounts);
    let streams = desk.source.sql(query).await?.execute_stream_partitioned().await?;
    let new = || Part::new(Days::new(&accounts), others.len());
    let mut counted = Vec::new();
    for part in beside::each(streams, |rows| Part::read(rows, new())).await? {
        counted.push(part.counted(desk, others, users).await?);
    }
    Ok(counted)
}

/// Counts of one part of the rows.
struct Part {
    days: Days,
    /// By column: texts by number.
    texts: Vec<HashMap<Box<str>, u32>>,
    counts: HashMap<Key, i64>,
}

/// The number of an account's day, and of the text in each other column; none where there is none.
type Key = (u32, Box<[Option<u32>]>);

impl Part {
    fn new(days: Days, others: usize) -> Part {
        Part { days, texts: vec![HashMap::new(); others], counts: HashMap::new() }
    }

    async fn read(mut stream: SendableRecordBatchStream, mut part: Part) -> Result<Part, DataFusionError> {
        while let Some(batch) = stream.next().await {
            part.add(&batch?)?;
        }
        Ok(part)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let rows = Rows::of(batch)?;
        let others: Vec<StringArray> =
            (0..self.texts.len()).map(|n| text_array(batch, 3 + n)).collect::<Result<_, _>>()?;
        let value =
            |row: usize, other: &StringArray| other.is_valid(row).then(|| other.value(row).to_owned());
        let is_as = |one: usize, row: usize| {
            others.iter().all(|other| {
                other.is_valid(one) == other.is_valid(row)
                    && (other.is_null(row) || other.value(one) == other.value(row))
            })
        };
        // What the rows since `from` have in common, and how many they are.
        let mut run: Option<(usize, u32, i64)> = None;
        for row in 0..batch.num_rows() {
            let Some(number) = rows.number(row, &mut self.days) else { continue };
            match &mut run {
                Some((from, same, n)) if *same == number && is_as(*from, row) => *n += 1,
                _ => {
                    if let Some((from, same, n)) = run.replace((row, number, 1)) {
                        self.count(same, others.iter().map(|other| value(from, other)), n);
                    }
                }
            }
        }
        if let Some((from, same, n)) = run {
            self.count(same, others.iter().map(|other| value(from, other)), n);
        }
        Ok(())
    }

    fn count(&mut self, number: u32, others: impl Iterator<Item = Option<String>>, n: i64) {
        let numbered = others.zip(&mut self.texts).map(|(text, known)| {
            let next = known.len() as u32;
            text.map(|text| *known.entry(text.into()).or_insert(next))
        });
        *self.counts.entry((number, numbered.collect())).or_default() += n;
    }

    /// As rows.
    async fn counted(
        self,
        desk: &Desk,
        others: &[&str],
        users: &BTreeSet<String>,
    ) -> Result<RecordBatch, DataFusionError> {
        let whose = self.days.whose(desk, users).await?;
        let names: Vec<&String> = users.iter().collect();
        let theirs: Vec<(&Key, i64, (u32, i32))> =
            self.counts.iter().filter_map(|(key, n)| Some((key, *n, whose[key.0 as usize]?))).collect();
        let written = theirs.iter().map(|(key, _, _)| self.days.written(key.0));
        let text = |column: StringArray| Arc::new(column) as ArrayRef;
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            (
                "actor_id",
                text(StringArray::from_iter_values(
                    theirs.iter().map(|(_, _, (user, _))| names[*user as usize]),
                )),
            ),
            ("day", Arc::new(Date32Array::from_iter_values(theirs.iter().map(|(_, _, (_, day))| *day)))),
            ("source", text(StringArray::from_iter_values(written.clone().map(|(source, _)| source)))),
            ("user_id", text(StringArray::from_iter_values(written.map(|(_, account)| account)))),
            ("n", Arc::new(Int64Array::from_iter_values(theirs.iter().map(|(_, n, _)| *n)))),
        ];
        for (nth, (name, known)) in others.iter().zip(&self.texts).enumerate() {
            let mut texts = vec![""; known.len()];
            known.iter().for_each(|(of, number)| texts[*number as usize] = of);
            let column = theirs.iter().map(|(key, _, _)| key.1[nth].map(|number| texts[number as usize]));
            columns.push((name, text(column.collect())));
        }
        let nullable = |(name, column): (&str, ArrayRef)| (name.to_owned(), column, true);
        Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(nullable))?)
    }
}
