//! How much the explanations explain, each by itself and together, and how much of it they would explain by chance.
//!
//! Chance is measured by a fake log: the same looks, each at a person drawn at random from those who were looked at. What
//! an explanation has a reason for there, it has a reason for in any record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use insyn_engine::session::Session;
use serde::{Deserialize, Serialize};

use crate::desk::{Desk, text_array};
use crate::explain;
use crate::hits;
use crate::pack::Pack;
use crate::rule::{Explains, Rule, Text};
use crate::run::{RunError, Window, slices};
use crate::sight::Sight;
use crate::stored::Stored;

/// What explanations explain of a period.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Looks: accesses by people at work to a known person's record.
    pub looks: u64,
    /// Those that something explains which the user could not have made.
    pub explained: u64,
    /// Those that only the user's own doing would explain.
    pub only_by_user: u64,
    /// Those that would be explained in the fake log.
    pub by_chance: u64,
    /// Each explanation, in order of id.
    pub explanations: Vec<MeasuredExplanation>,
    /// The share explained by month, source and unit.
    pub shares: Vec<Share>,
}

/// What one explanation explains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredExplanation {
    /// Which.
    pub explanation: String,
    /// Its name for people.
    pub title: Text,
    /// Whom it explains.
    pub explains: Explains,
    /// Looks that it has a reason for, the user's own doing included.
    pub looks: u64,
    /// Of these, those where the user could have made it.
    pub by_user: u64,
    /// Looks that it explains and no other does.
    pub alone: u64,
    /// Looks of the fake log that it has a reason for.
    pub by_chance: u64,
    /// Of what it explains in both logs, the part in the real one: 0.5 is no better than chance.
    pub precision: Option<f64>,
    /// Why it could not be tried.
    pub failed: Option<String>,
}

/// A part of the looks, and how many of it are explained.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share {
    /// As `2026-03`, in the organisation's zone.
    pub month: String,
    /// Which source.
    pub source: String,
    /// Which unit, where the log says.
    pub care_unit_id: Option<String>,
    /// Looks.
    pub looks: u64,
    /// Those that are explained.
    pub explained: u64,
}

/// About how many accesses are measured at once: the places of all that is explained are held.
pub(crate) const AT_ONCE: u64 = 2_000_000;

/// Measures the pack's explanations over a period.
///
/// # Errors
/// When the tables that every explanation reads cannot be read.
pub async fn measure(pack: &Pack, session: &Session, window: Window) -> Result<Measured, RunError> {
    let rules: Vec<&Rule> = pack.explanations().collect();
    let (source, zone) = (session.datafusion(), session.zone());
    let desk = Desk::over(source, &rules).await?;
    let stored = Stored::read(source, window).await?;
    let mut measured =
        Measured { explanations: rules.iter().map(|rule| empty(rule)).collect(), ..Measured::default() };
    let Some(period) = stored.touched() else { return Ok(measured) };
    let around = explain::around(&rules);
    let mut shares = BTreeMap::new();
    for slice in slices(period, stored.accesses.div_ceil(AT_ONCE)) {
        let sight = (slice.0.saturating_sub(around), slice.1.saturating_add(around));
        desk.lay(&Sight::of(sight.0, sight.1)).await?;
        desk.lay_history(sight).await?;
        let looks = Looks::read(&desk, slice).await?;
        let (found, why) = tried(&rules, &desk, slice).await;
        count(&mut measured, &rules, &looks, &found, zone, &mut shares);
        for (one, why) in measured.explanations.iter_mut().zip(why) {
            one.failed = one.failed.take().or(why);
        }
        fake(&desk).await?;
        desk.lay_history(sight).await?;
        let (by_chance, _) = tried(&rules, &desk, slice).await;
        let mut any = BTreeSet::new();
        for ((one, rule), places) in measured.explanations.iter_mut().zip(&rules).zip(&by_chance) {
            one.by_chance += places.len() as u64;
            any.extend(places.iter().filter(|(_, own)| clears(rule, **own)).map(|(place, _)| *place));
        }
        measured.by_chance += any.len() as u64;
    }
    for one in &mut measured.explanations {
        let both = one.looks + one.by_chance;
        one.precision = (both > 0).then(|| one.looks as f64 / both as f64);
    }
    let share = |((month, source, care_unit_id), (looks, explained))| Share {
        month,
        source,
        care_unit_id,
        looks,
        explained,
    };
    measured.shares = shares.into_iter().map(share).collect();
    Ok(measured)
}

fn clears(rule: &Rule, by_user: bool) -> bool {
    rule.explains.is_some_and(|explains| explains.is_enough(by_user))
}

fn empty(rule: &Rule) -> MeasuredExplanation {
    MeasuredExplanation {
        explanation: rule.id.clone(),
        title: rule.title.clone(),
        explains: rule.explains.unwrap_or(Explains::Provider),
        looks: 0,
        by_user: 0,
        alone: 0,
        by_chance: 0,
        precision: None,
        failed: None,
    }
}

type Places = BTreeMap<(i64, i64), bool>;

/// What each explanation has a reason for; nothing, and why, where it fails.
async fn tried(rules: &[&Rule], desk: &Desk, slice: (i64, i64)) -> (Vec<Places>, Vec<Option<String>>) {
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for rule in rules {
        let places = explain::places(rule, desk, slice).await;
        failed.push(places.as_ref().err().cloned());
        all.push(places.unwrap_or_default());
    }
    (all, failed)
}

/// The looks of a slice: what is counted of each.
struct Looks(Vec<Look>);

struct Look {
    place: (i64, i64),
    at: i64,
    source: String,
    unit: Option<String>,
}

impl Looks {
    async fn read(desk: &Desk, slice: (i64, i64)) -> Result<Looks, DataFusionError> {
        let (from, to) = (crate::sql::timestamp(slice.0), crate::sql::timestamp(slice.1));
        let query = format!(
            "select segment, seq, occurred_at, source, care_unit_id from looks \
             where occurred_at >= {from} and occurred_at < {to}"
        );
        let mut looks = Vec::new();
        for batch in desk.ctx.sql(&query).await?.collect().await? {
            let (segment, seq) = (hits::long(&batch, "segment")?, hits::long(&batch, "seq")?);
            let at =
                arrow::compute::cast(batch.column(2), &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let at: &TimestampMicrosecondArray = at.as_primitive::<TimestampMicrosecondType>();
            let (source, unit) = (text_array(&batch, 3)?, text_array(&batch, 4)?);
            looks.extend((0..batch.num_rows()).map(|row| Look {
                place: (segment.value(row), seq.value(row)),
                at: at.value(row),
                source: source.value(row).to_owned(),
                unit: unit.is_valid(row).then(|| unit.value(row).to_owned()),
            }));
        }
        Ok(Looks(looks))
    }
}

type Shares = BTreeMap<(String, String, Option<String>), (u64, u64)>;

fn count(
    measured: &mut Measured,
    rules: &[&Rule],
    looks: &Looks,
    found: &[Places],
    zone: Tz,
    shares: &mut Shares,
) {
    for look in &looks.0 {
        let (mut clear, mut own) = (Vec::new(), false);
        for (n, places) in found.iter().enumerate() {
            let Some(by_user) = places.get(&look.place) else { continue };
            measured.explanations[n].looks += 1;
            measured.explanations[n].by_user += u64::from(*by_user);
            own |= *by_user && rules[n].explains != Some(Explains::Provider);
            clear.extend(clears(rules[n], *by_user).then_some(n));
        }
        if let [only] = clear[..] {
            measured.explanations[only].alone += 1;
        }
        measured.looks += 1;
        measured.explained += u64::from(!clear.is_empty());
        measured.only_by_user += u64::from(clear.is_empty() && own);
        let month = DateTime::from_timestamp_micros(look.at).unwrap_or_default().with_timezone(&zone);
        let share = (month.format("%Y-%m").to_string(), look.source.clone(), look.unit.clone());
        let share = shares.entry(share).or_default();
        *share = (share.0 + 1, share.1 + u64::from(!clear.is_empty()));
    }
}

/// Lays the same accesses again, each at a person drawn at random from those that are looked at.
pub(crate) async fn fake(desk: &Desk) -> Result<(), DataFusionError> {
    let frame = desk.ctx.table("accesses").await?;
    let schema = Arc::clone(frame.schema().inner());
    let column = schema.index_of("subject_key")?;
    let batches: Vec<RecordBatch> = frame.collect_partitioned().await?.into_iter().flatten().collect();
    let mut persons: BTreeSet<String> = BTreeSet::new();
    for batch in &batches {
        persons.extend(text_array(batch, column)?.iter().flatten().map(str::to_owned));
    }
    let persons: Vec<String> = persons.into_iter().collect();
    let mut drawn = 0u64;
    let mut faked = Vec::new();
    for batch in batches {
        let real = text_array(&batch, column)?;
        let other = real.iter().map(|person| {
            drawn += 1;
            person.and_then(|_| persons.get((mixed(drawn) % persons.len() as u64) as usize))
        });
        let other: StringArray = other.collect();
        let other = arrow::compute::cast(&other, schema.field(column).data_type())?;
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns[column] = other;
        faked.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
    }
    let faked = futures::stream::iter(faked.into_iter().map(Ok));
    let faked: SendableRecordBatchStream =
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), faked));
    desk.lay_rows(&schema, vec![faked]).await?;
    Ok(())
}

/// SplitMix64: the same draw each time, so that a figure can be had again.
fn mixed(n: u64) -> u64 {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
