//! How much is explained, by local day, source, unit and who answers for it. Numbers only: who and whose is in none of it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::calendar::{Calendar, CalendarWindow, midnight};
use crate::coverage::Coverage;
use crate::desk::{Desk, text_array};
use crate::explain::{RELATIONS, Standing};
use crate::hits;
use crate::judge::Coverages;
use crate::rule::WindowSize;
use crate::spans::Spans;
use crate::sql;
use crate::standing::Standings;

/// Of the looks of one local day, source, unit and controller: how they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedDay {
    /// As 2026-03-04, in the organisation's zone.
    pub day: String,
    /// Which source.
    pub source: String,
    /// Which unit, where the log says.
    pub care_unit_id: Option<String>,
    /// Who answers for the record.
    pub controller_id: Option<String>,
    /// Accesses by people at work in a known person's record.
    pub looks: u64,
    /// Those that something explains which the user could not have made.
    pub explained: u64,
    /// Those that only the user's own doing would.
    pub only_by_user: u64,
    /// Those of which nothing can be said, and nothing explains: no relations of the unit are known of that month.
    pub unknown: u64,
}

/// What was counted of a period of whole days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// Days that were counted: from the first to the last of each.
    pub days: Vec<(String, String)>,
    /// In order.
    pub rows: Vec<ExplainedDay>,
}

impl ExplainedDay {
    fn place(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        (&self.day, &self.source, self.care_unit_id.as_deref(), self.controller_id.as_deref())
    }
}

/// Source, unit and controller, as numbered words.
type Place = [Option<u32>; 3];

/// How many looks, and how they stand.
#[derive(Default)]
struct Counts {
    looks: u64,
    explained: u64,
    only_by_user: u64,
}

/// Counts slice by slice.
pub(crate) struct Counting {
    zone: Tz,
    /// What was counted.
    counted: Vec<(i64, i64)>,
    /// None where the table of relations is read by nothing.
    coverage: Option<Arc<Coverage>>,
    calendar: Calendar,
    words: HashMap<Box<str>, u32>,
    counts: HashMap<(NaiveDate, Place), Counts>,
}

impl Counting {
    /// `known` is what rules have asked already of the same time.
    pub async fn of(
        desk: &Desk,
        known: &Coverages,
        reach: (i64, i64),
        zone: Tz,
    ) -> Result<Counting, DataFusionError> {
        let size = WindowSize::Month;
        let coverage = match (desk.rows(RELATIONS), known.get(&(RELATIONS.to_owned(), size))) {
            (None, _) => None,
            (_, Some(coverage)) => Some(Arc::clone(coverage)),
            _ => Some(Arc::new(Coverage::read(desk, RELATIONS, size, reach.0, reach.1, zone).await?)),
        };
        Ok(Counting {
            zone,
            counted: Vec::new(),
            coverage,
            calendar: Calendar::new(WindowSize::Day, zone),
            words: HashMap::new(),
            counts: HashMap::new(),
        })
    }

    /// Notes that all of these whole days was added.
    pub fn counted(&mut self, piece: (i64, i64)) {
        self.counted.push(piece);
    }

    /// Adds the looks of a slice, each as it stands.
    pub async fn add(
        &mut self,
        desk: &Desk,
        slice: (i64, i64),
        standings: &Standings,
    ) -> Result<(), DataFusionError> {
        let query = format!(
            "select source, care_unit_id, controller_id, segment, seq, cast(occurred_at as bigint) as at from looks \
             where occurred_at >= {} and occurred_at < {}",
            sql::timestamp(slice.0),
            sql::timestamp(slice.1)
        );
        let mut looks = desk.ctx.sql(&query).await?.execute_stream().await?;
        while let Some(batch) = looks.next().await {
            self.add_rows(&batch?, standings)?;
        }
        Ok(())
    }

    fn add_rows(&mut self, looks: &RecordBatch, standings: &Standings) -> Result<(), DataFusionError> {
        let texts = (0..3).map(|n| text_array(looks, n)).collect::<Result<Vec<_>, _>>()?;
        let [segments, seqs, at] = ["segment", "seq", "at"].map(|name| hits::long(looks, name));
        let (segments, seqs, at) = (segments?, seqs?, at?);
        // Mostly source and controller are those of the row before.
        let mut before: [Option<(&str, u32)>; 3] = [None; 3];
        for row in 0..looks.num_rows() {
            let place = [0, 1, 2].map(|n| {
                let word = texts[n].is_valid(row).then(|| texts[n].value(row))?;
                let number = match before[n] {
                    Some((same, number)) if same == word => number,
                    _ => self.number(word),
                };
                before[n] = Some((word, number));
                Some(number)
            });
            let day = self.calendar.window(at.value(row)).first_day;
            let counts = self.counts.entry((day, place)).or_default();
            counts.looks += 1;
            match standings.at(segments.value(row), seqs.value(row)) {
                Standing::Explained => counts.explained += 1,
                Standing::OnlyByUser => counts.only_by_user += 1,
                Standing::Unexplained => {}
            }
        }
        Ok(())
    }

    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.words.get(word) {
            return *number;
        }
        let next = self.words.len() as u32;
        self.words.insert(word.into(), next);
        next
    }

    pub fn done(self, desk: &Desk) -> Explained {
        let day = |at: i64| CalendarWindow::of(WindowSize::Day, at, self.zone).first_day.to_string();
        let covers = |unit: Option<&str>, day: NaiveDate| {
            let at = midnight(day, self.zone);
            let coverage = self.coverage.as_ref();
            unit.is_some_and(|unit| coverage.is_some_and(|coverage| coverage.covers(desk, unit, at)))
        };
        let mut words: Vec<&str> = vec![""; self.words.len()];
        self.words.iter().for_each(|(word, number)| words[*number as usize] = word);
        let rows = self.counts.iter().map(|((day, place), counts)| {
            let [source, care_unit_id, controller_id] =
                place.map(|number| number.map(|number| words[number as usize].to_owned()));
            let unknown = match covers(care_unit_id.as_deref(), *day) {
                true => 0,
                false => counts.looks - counts.explained - counts.only_by_user,
            };
            ExplainedDay {
                day: day.to_string(),
                source: source.unwrap_or_default(),
                care_unit_id,
                controller_id,
                looks: counts.looks,
                explained: counts.explained,
                only_by_user: counts.only_by_user,
                unknown,
            }
        });
        let mut rows: Vec<ExplainedDay> = rows.collect();
        rows.sort_by(|a, b| a.place().cmp(&b.place()));
        let days = Spans::from(self.counted).iter().map(|(from, to)| (day(from), day(to - 1))).collect();
        Explained { days, rows }
    }
}
