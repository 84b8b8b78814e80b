//! From a question to a filter: which names and numbers are meant, and how the lake is told so that it can leave
//! out whole files.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use chrono::Utc;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, col, lit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::summary::OtherSide;
use super::{Joined, Of, Place, Query, actor, column};
use crate::error::EngineError;
use crate::lake::Table;
use crate::provider::Counters;
use crate::session::{OWN_SOURCE, Session};

/// Two systems that log one look do so within this time of each other, µs.
const SAME_LOOK: i64 = 24 * 60 * 60 * 1_000_000;

/// Each visit that an event is a part of is looked for by itself.
const MOST_VISITS: usize = 100;

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
                event(session, query, written(id, "the event's id")?, source.as_deref()).await?
            }
            Of::Visit { event, source } => {
                visit(session, query, written(event, "the event's id")?, source.as_deref()).await?
            }
            Of::Session { id, source } => {
                let id = written(id, "the session's id")?;
                Asked::by(of_source(col("session_id").eq(lit(id)), source.as_deref()))
            }
            Of::Unit(id) => {
                let id = insyn_event::hsa_id(written(id, "the unit's id")?).into_owned();
                Asked::by(col("care_unit_id").eq(lit(id)))
            }
            Of::Both(one, other) => {
                let ids = (written(one, "the subject's id")?, written(other, "the other subject's id")?);
                both(session, query, ids).await?
            }
        };
        if let Some(from) = query.from {
            asked.filter = asked.filter.and(col("occurred_at").gt_eq(instant(from)));
        }
        if let Some(to) = query.to {
            asked.filter = asked.filter.and(col("occurred_at").lt(instant(to)));
        }
        if let Some(place) = query.after {
            asked.filter = asked.filter.and(after(place));
        }
        for (name, value) in &query.filters {
            super::known(name)?;
            asked.filter = asked.filter.and(is(column(session, name)?, name, value));
        }
        if let Some(scope) = in_scope(query) {
            asked.filter = asked.filter.and(scope);
        }
        Ok(asked)
    }

    /// What nothing had to be found out for; the other side is whose records they are.
    fn by(filter: Expr) -> Asked {
        Asked { filter, joined: Vec::new(), other_side: OtherSide::Subjects, counters: Counters::default() }
    }
}

/// What may be looked at to find out what is meant: nobody learns from other controllers' rows what theirs belong to.
async fn rows(session: &Session, query: &Query) -> Result<LogicalPlanBuilder, EngineError> {
    let scan = session.scan(Table::AccessEvents.name()).await?;
    match in_scope(query) {
        Some(scope) => Ok(scan.filter(scope)?),
        None => Ok(scan),
    }
}

/// Rows of the controllers that are asked for, and no looks of Insyn's own unless they are.
fn in_scope(query: &Query) -> Option<Expr> {
    let own: Vec<Expr> = query.controllers.iter().map(|id| lit(id.as_str())).collect();
    let of_controllers = (!own.is_empty()).then(|| col("controller_id").in_list(own, false));
    let of_others = (!query.own).then(|| col("source").not_eq(lit(OWN_SOURCE)));
    conjunction(of_controllers.into_iter().chain(of_others))
}

/// Rows after a place. The time alone leaves out whole files.
fn after(place: Place) -> Expr {
    let later = col("segment").gt(lit(place.segment));
    let behind = col("segment").eq(lit(place.segment)).and(col("seq").gt(lit(place.seq)));
    let same = col("occurred_at").eq(instant(place.at)).and(later.or(behind));
    col("occurred_at").gt_eq(instant(place.at)).and(col("occurred_at").gt(instant(place.at)).or(same))
}

/// A column has this value, as people write it; nothing is null.
fn is(column: Expr, name: &str, value: &str) -> Expr {
    let schema = Table::AccessEvents.schema();
    let is_text = schema.field_with_name(name).is_ok_and(|field| *field.data_type() == DataType::Utf8);
    let text = if is_text { column.clone() } else { cast(column.clone(), DataType::Utf8) };
    match value {
        "" => column.is_null().or(text.eq(lit(""))),
        value => text.eq(lit(value)),
    }
}

fn subject(session: &Session, written: &str) -> Asked {
    let (numbers, joined) = numbers(session, written);
    Asked { joined, other_side: OtherSide::Actors, ..Asked::by(one_of("subject_id", &numbers)) }
}

/// Every number of the person who is meant.
fn numbers(session: &Session, written: &str) -> (BTreeSet<String>, Vec<Joined>) {
    let id = insyn_event::normalise(written, None, Utc::now().timestamp_micros()).id;
    let numbers = session.resolver().numbers_of(&id);
    let others = numbers.iter().filter(|n| **n != id);
    let joined = others.map(|used| Joined { via: "identities", asked: id.clone(), used: used.clone() });
    let joined = joined.collect();
    (numbers, joined)
}

/// Rows of both records by those who are in either.
async fn both(session: &Session, query: &Query, (one, other): (&str, &str)) -> Result<Asked, EngineError> {
    let mut counters = Counters::default();
    let mut people: Option<BTreeSet<String>> = None;
    let (mut records, mut joined) = (BTreeSet::new(), Vec::new());
    for written in [one, other] {
        let (numbers, of) = numbers(session, written);
        let scan = rows(session, query)
            .await?
            .filter(one_of("subject_id", &numbers))?
            .project([actor(session)?.alias("~actor")])?
            .distinct()?;
        let found = session.collect(scan).await?;
        counters += found.counters;
        let actors: BTreeSet<String> = found
            .batches
            .iter()
            .flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten())
            .map(str::to_owned)
            .collect();
        people = Some(match people {
            None => actors,
            Some(before) => before.intersection(&actors).cloned().collect(),
        });
        records.extend(numbers);
        joined.extend(of);
    }
    let people = people.unwrap_or_default();
    let by = actor(session)?.in_list(people.iter().map(|id| lit(id.as_str())).collect(), false);
    let by = if people.is_empty() { lit(false) } else { by };
    let filter = one_of("subject_id", &records).and(by);
    Ok(Asked { filter, joined, other_side: OtherSide::Actors, counters })
}

/// What the event's user did in the same record, as far as no gap is too long; of each record that the event is about.
async fn visit(
    session: &Session,
    query: &Query,
    id: &str,
    source: Option<&str>,
) -> Result<Asked, EngineError> {
    let who = || -> Result<_, EngineError> {
        Ok([actor(session)?.alias("~actor"), col("subject_id"), col("occurred_at")])
    };
    let scan = rows(session, query).await?;
    let scan = scan.filter(of_source(col("event_id").eq(lit(id)), source))?.project(who()?)?;
    let found = session.collect(scan).await?;
    let mut counters = found.counters;
    let mut filter = lit(false);
    let mut looked: BTreeMap<(Option<String>, Option<String>), BTreeSet<i64>> = BTreeMap::new();
    for batch in &found.batches {
        let text = |column: usize| batch.column(column).as_string::<i32>().iter();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>().values();
        for ((actor, subject), at) in text(0).zip(text(1)).zip(times) {
            looked.entry((actor.map(str::to_owned), subject.map(str::to_owned))).or_default().insert(*at);
        }
    }
    if looked.len() > MOST_VISITS {
        let found = format!("an event about {} persons", looked.len());
        return Err(EngineError::Question {
            what: "the visit",
            found,
            expected: "an event about 100 at most",
        });
    }
    for ((actor_id, subject_id), looks) in looked {
        let subject = match &subject_id {
            Some(subject) => one_of("subject_id", &session.resolver().numbers_of(subject)),
            None => col("subject_id").is_null(),
        };
        let same = match &actor_id {
            Some(id) => subject.and(actor(session)?.eq(lit(id.as_str()))),
            None => subject.and(actor(session)?.is_null()),
        };
        let scan = rows(session, query).await?.filter(same.clone())?.project([col("occurred_at")])?;
        let (mut all, plan) = session.stream(scan).await?;
        let mut times = Vec::new();
        while let Some(batch) = all.try_next().await? {
            times.extend_from_slice(batch.column(0).as_primitive::<TimestampMicrosecondType>().values());
        }
        counters += Counters::of(plan.as_ref());
        times.sort_unstable();
        let visits: BTreeSet<(i64, i64)> =
            looks.into_iter().map(|at| around(&times, at, query.gap)).collect();
        for (first, last) in visits {
            let near = col("occurred_at").gt_eq(instant(first)).and(col("occurred_at").lt_eq(instant(last)));
            filter = filter.or(same.clone().and(near));
        }
    }
    Ok(Asked { counters, ..Asked::by(filter) })
}

/// The first and the last of the times about `at` between which no gap is too long.
fn around(times: &[i64], at: i64, gap: i64) -> (i64, i64) {
    let here = times.partition_point(|time| *time < at);
    let last = times[here..].iter().fold(at, |last, time| if time - last < gap { *time } else { last });
    let first =
        times[..here].iter().rev().fold(at, |first, time| if first - time < gap { *time } else { first });
    (first, last)
}

fn of_source(filter: Expr, source: Option<&str>) -> Expr {
    match source {
        Some(source) => filter.and(col("source").eq(lit(source))),
        None => filter,
    }
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
    Ok(Asked { joined, ..Asked::by(filter) })
}

/// The event's rows, and those that carry the same request id from another system.
async fn event(
    session: &Session,
    query: &Query,
    id: &str,
    source: Option<&str>,
) -> Result<Asked, EngineError> {
    let this = of_source(col("event_id").eq(lit(id)), source);
    let scan = rows(session, query).await?;
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
    Ok(Asked { counters: found.counters, ..Asked::by(filter) })
}

fn written<'a>(id: &'a str, what: &'static str) -> Result<&'a str, EngineError> {
    match id.trim() {
        "" => Err(EngineError::Question { what, found: "nothing".to_owned(), expected: "an id" }),
        id => Ok(id),
    }
}

pub(super) fn one_of(column: &str, values: &BTreeSet<String>) -> Expr {
    match values.first() {
        Some(only) if values.len() == 1 => col(column).eq(lit(only.as_str())),
        _ => col(column).in_list(values.iter().map(|v| lit(v.as_str())).collect(), false),
    }
}

pub(super) fn instant(at: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into())))
}
