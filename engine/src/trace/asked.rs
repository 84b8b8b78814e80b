//! From a question to a filter: which names and numbers are meant, and how the lake is told so that it can leave
//! out whole files.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::Utc;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::scalar::ScalarValue;

use super::summary::OtherSide;
use super::{Joined, Of, Query, actor};
use crate::error::EngineError;
use crate::lake::Table;
use crate::provider::Counters;
use crate::session::{OWN_SOURCE, Session};

/// Two systems that log one look do so within this time of each other, µs.
const SAME_LOOK: i64 = 24 * 60 * 60 * 1_000_000;

pub(super) struct Asked {
    pub(super) filter: Expr,
    pub(super) joined: Vec<Joined>,
    pub(super) other_side: OtherSide,
    /// What finding this out cost.
    pub(super) counters: Counters,
}

impl Asked {
    pub(super) async fn of(session: &Session, query: &Query) -> Result<Asked, EngineError> {
        if let (Some(from), Some(to)) = (query.from, query.to)
            && to < from
        {
            let found = "an end before the start".to_owned();
            return Err(EngineError::Question {
                what: "the period",
                found,
                expected: "a start and a later end",
            });
        }
        let mut asked = match &query.of {
            Of::Subject(id) => subject(session, written(id, "the subject's id")?),
            Of::User(id) => user(session, written(id, "the user's id")?, query)?,
            Of::Event { id, source } => {
                event(session, written(id, "the event's id")?, source.as_deref()).await?
            }
        };
        if let Some(from) = query.from {
            asked.filter = asked.filter.and(col("occurred_at").gt_eq(instant(from)));
        }
        if let Some(to) = query.to {
            asked.filter = asked.filter.and(col("occurred_at").lt(instant(to)));
        }
        if !query.own {
            asked.filter = asked.filter.and(col("source").not_eq(lit(OWN_SOURCE)));
        }
        Ok(asked)
    }
}

fn subject(session: &Session, written: &str) -> Asked {
    let id = insyn_event::normalise(written, None, Utc::now().timestamp_micros()).id;
    let numbers = session.resolver().numbers_of(&id);
    let joined = numbers.iter().filter(|n| **n != id);
    let joined =
        joined.map(|used| Joined { via: "identities", asked: id.clone(), used: used.clone() }).collect();
    let filter = one_of("subject_id", &numbers);
    Asked { filter, joined, other_side: OtherSide::Actors, counters: Counters::default() }
}

/// An account is whose it was when the row was written: names are used again. So the lake is asked for every name
/// of the people meant, and each row then for who was behind it.
fn user(session: &Session, id: &str, query: &Query) -> Result<Asked, EngineError> {
    let resolver = session.resolver();
    let holders = resolver.holders(id, query.from.unwrap_or(i64::MIN), query.to.unwrap_or(i64::MAX));
    let people: BTreeSet<String> = holders.into_iter().chain([id]).map(str::to_owned).collect();
    let accounts = people.iter().flat_map(|p| resolver.accounts_of(p)).cloned();
    let names: BTreeSet<String> = accounts.chain(people.iter().cloned()).collect();
    let joined = names.iter().filter(|n| n.as_str() != id);
    let joined =
        joined.map(|used| Joined { via: "accounts", asked: id.to_owned(), used: used.clone() }).collect();
    let mut filter = one_of("user_id", &names);
    if names.len() > 1 {
        let behind = actor(session)?.in_list(people.iter().map(|p| lit(p.as_str())).collect(), false);
        filter = filter.and(col("user_id").eq(lit(id)).or(behind));
    }
    Ok(Asked { filter, joined, other_side: OtherSide::Subjects, counters: Counters::default() })
}

/// The event's rows, and those that carry the same request id from another system.
async fn event(session: &Session, id: &str, source: Option<&str>) -> Result<Asked, EngineError> {
    let mut this = col("event_id").eq(lit(id));
    if let Some(source) = source {
        this = this.and(col("source").eq(lit(source)));
    }
    let scan = session.scan(Table::AccessEvents.name()).await?;
    let scan = scan.filter(this.clone())?.project([col("correlation_id"), col("occurred_at")])?;
    let found = session.collect(scan).await?;
    let mut requests = BTreeSet::new();
    let mut times: Option<(i64, i64)> = None;
    for batch in &found.batches {
        let ids = batch.column(0).as_string::<i32>();
        let at = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let at = at.value(row);
            times = Some(times.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
            if ids.is_valid(row) && !ids.value(row).is_empty() {
                requests.insert(ids.value(row).to_owned());
            }
        }
    }
    let filter = match times {
        Some((first, last)) if !requests.is_empty() => {
            let near = col("occurred_at")
                .gt_eq(instant(first.saturating_sub(SAME_LOOK)))
                .and(col("occurred_at").lt_eq(instant(last.saturating_add(SAME_LOOK))));
            near.and(this.or(one_of("correlation_id", &requests)))
        }
        Some((first, last)) => {
            this.and(col("occurred_at").gt_eq(instant(first))).and(col("occurred_at").lt_eq(instant(last)))
        }
        None => this,
    };
    Ok(Asked { filter, joined: Vec::new(), other_side: OtherSide::Subjects, counters: found.counters })
}

fn written<'a>(id: &'a str, what: &'static str) -> Result<&'a str, EngineError> {
    match id.trim() {
        "" => Err(EngineError::Question { what, found: "nothing".to_owned(), expected: "an id" }),
        id => Ok(id),
    }
}

fn one_of(column: &str, values: &BTreeSet<String>) -> Expr {
    match values.first() {
        Some(only) if values.len() == 1 => col(column).eq(lit(only.as_str())),
        _ => col(column).in_list(values.iter().map(|v| lit(v.as_str())).collect(), false),
    }
}

fn instant(at: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into())))
}
