//! Traces as text, for the cases of `sql/traces.txt`: `trace KIND ID [ID] [OPTION …]`.
//!
//! Kinds are those of `insyn trace`. Options: `of SOURCE`, `from TIME`, `to TIME`, `after EVENT` (the row of the same trace with
//! this id), `where COLUMN=VALUE`, `controller ID`, `gap MINUTES`, `limit N`, `columns A,B`, `own`, `by-day`. What comes back: rows as CSV,
//! then what they come to, which other names were looked for, and whose records are shown.

use std::fmt::Write as _;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, SecondsFormat};
use insyn_engine::error::EngineError;
use insyn_engine::output::{self, Format};
use insyn_engine::session::Session;
use insyn_engine::trace::days::days;
use insyn_engine::trace::{Joined, Of, Place, Query, trace};

use crate::world::{ZONE, at};

/// What is shown of each row when nobody says.
const COLUMNS: &str = "event_id,source,occurred_at,actor_id,subject_id";

/// What a statement comes to; none where it is no trace.
pub async fn answer(session: &Session, statement: &str) -> Option<String> {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let [first, kind, words @ ..] = words.as_slice() else { return None };
    if *first != "trace" {
        return None;
    }
    let asked = read(session, kind, words).await;
    let answered = match asked {
        Ok((query, true)) => by_day(session, &query).await,
        Ok((query, false)) => rows(session, &query).await,
        Err(error) => Err(error),
    };
    Some(answered.unwrap_or_else(|error| format!("error: {error}\n")))
}

/// The question, and whether it is about days.
async fn read(session: &Session, kind: &str, words: &[&str]) -> Result<(Query, bool), EngineError> {
    let ids = if kind == "both" { 2 } else { 1 };
    let (ids, mut options) = words.split_at(ids);
    let mut query = Query::new(of(kind, ids));
    query.columns = Some(COLUMNS.split(',').map(str::to_owned).collect());
    let (mut after, mut is_by_day) = (None, false);
    while let [option, rest @ ..] = options {
        if let "own" | "by-day" = *option {
            query.own |= *option == "own";
            is_by_day |= *option == "by-day";
            options = rest;
            continue;
        }
        let [value, rest @ ..] = rest else { panic!("{option} of what?") };
        match *option {
            "of" => set_source(&mut query.of, value),
            "from" => query.from = Some(at(value)),
            "to" => query.to = Some(at(value)),
            "after" => after = Some(*value),
            "where" => {
                let (column, is) = value.split_once('=').unwrap();
                query.filters.push((column.to_owned(), is.to_owned()));
            }
            "controller" => query.controllers.push((*value).to_owned()),
            "gap" => query.gap = value.parse::<i64>().unwrap() * 60_000_000,
            "limit" => query.limit = Some(value.parse().unwrap()),
            "columns" => query.columns = Some(value.split(',').map(str::to_owned).collect()),
            other => panic!("no option of a trace is {other:?}"),
        }
        options = rest;
    }
    if let Some(event) = after {
        query.after = Some(place_of(session, &query, event).await?);
    }
    Ok((query, is_by_day))
}

fn of(kind: &str, ids: &[&str]) -> Of {
    let id = ids[0].to_owned();
    match kind {
        "subject" => Of::Subject(id),
        "user" => Of::User(id),
        "event" => Of::Event { id, source: None },
        "visit" => Of::Visit { event: id, source: None },
        "session" => Of::Session { id, source: None },
        "unit" => Of::Unit(id),
        "both" => Of::Both(id, ids[1].to_owned()),
        other => panic!("nothing to trace is {other:?}"),
    }
}

fn set_source(of: &mut Of, name: &str) {
    match of {
        Of::Event { source, .. } | Of::Visit { source, .. } | Of::Session { source, .. } => {
            *source = Some(name.to_owned());
        }
        other => panic!("{other:?} is not of one source"),
    }
}

/// Where the row with this id stands in the same trace.
async fn place_of(session: &Session, query: &Query, event: &str) -> Result<Place, EngineError> {
    let columns = ["event_id", "occurred_at", "segment", "seq"].map(str::to_owned).to_vec();
    let all = Query { columns: Some(columns), limit: None, ..query.clone() };
    for batch in trace(session, &all).await?.batches {
        let ids = batch.column(0).as_string::<i32>();
        if let Some(row) = (0..batch.num_rows()).find(|row| ids.value(*row) == event) {
            return Ok(Place {
                at: batch.column(1).as_primitive::<TimestampMicrosecondType>().value(row),
                segment: batch.column(2).as_primitive::<Int64Type>().value(row),
                seq: batch.column(3).as_primitive::<Int32Type>().value(row),
            });
        }
    }
    panic!("{event} is not in the trace");
}

async fn rows(session: &Session, query: &Query) -> Result<String, EngineError> {
    let found = trace(session, query).await?;
    let sum = &found.summary;
    let mut text = csv(&found.schema, &found.batches);
    let repeats = sum.repeats.map_or("?".to_owned(), |n| n.to_string());
    writeln!(text, "rows {}, visits {}, persons {}, repeats {repeats}", sum.rows, sum.visits, sum.persons)
        .unwrap();
    write!(text, "{}", about(sum.first, sum.last, &found.joined, &found.subjects)).unwrap();
    Ok(text)
}

async fn by_day(session: &Session, query: &Query) -> Result<String, EngineError> {
    let found = days(session, query).await?;
    let sum = &found.summary;
    let mut text = csv(&found.schema, &found.batches);
    writeln!(text, "rows {}, counts {}, days {}, persons {}", sum.rows, sum.counts, sum.days, sum.persons)
        .unwrap();
    write!(text, "{}", about(sum.first, sum.last, &found.joined, &found.subjects)).unwrap();
    Ok(text)
}

fn csv(schema: &SchemaRef, batches: &[RecordBatch]) -> String {
    let mut text = Vec::new();
    output::write(Format::Csv, schema, batches, ZONE, &mut text).unwrap();
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

/// When, which other names, and whose: a line of each that there is.
fn about(first: Option<i64>, last: Option<i64>, joined: &[Joined], subjects: &[String]) -> String {
    let time =
        |at: i64| DateTime::from_timestamp_micros(at).unwrap().to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let when = first.zip(last).map(|(first, last)| format!("from {} to {}\n", time(first), time(last)));
    let joined = joined.iter().map(|of| format!("{}: {} is {}\n", of.via, of.asked, of.used));
    let whose = (!subjects.is_empty()).then(|| format!("whose: {}\n", subjects.join(" ")));
    when.into_iter().chain(joined).chain(whose).collect()
}
