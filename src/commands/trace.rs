//! `insyn trace`: who did what. The look itself is written down before the answer leaves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use arrow::array::RecordBatch;
use chrono::Utc;
use insyn_engine::context::Moment;
use insyn_engine::event::{PersonalNumberKind, normalise};
use insyn_engine::session::Session;
use insyn_engine::trace::days::{Days, days};
use insyn_engine::trace::{self, Joined, Of, Query, Summary};
use insyn_rules::{Asked, Reasons, WHY_NEEDS, with_why};

use crate::cli::{By, Trace, TraceOf, TraceOptions};
use crate::house::{CommandLook, House};
use crate::print;

pub async fn run(config: &Path, arguments: Trace) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let by_day = matches!(&arguments.of, TraceOf::User { by: Some(By::Day), .. });
    let (of, asked, options) = asked(arguments.of);
    house.may_show_personal_data(options.reason.as_deref())?;
    let zone = house.config.organisation.timezone;
    let (from, to) = print::period(options.from.as_deref(), options.to.as_deref(), zone)?;
    let query = Query {
        from,
        to,
        limit: options.limit,
        columns: options.columns,
        own: options.own,
        gap: i64::from(options.gap) * 60_000_000,
        ..Query::new(of)
    };
    let moment = Moment { known: options.known.known(zone)?, as_of: None };
    let session = house.session_at(true, &moment).await?;
    let asked = asked + &options.known.said();
    let look = |subjects: &[String], rows| {
        // Also an empty answer says something about the person: that nobody looked.
        let asked_for = query.of.subjects().into_iter().map(|id| normalise(id, None, now()).id);
        let subjects: BTreeSet<String> = subjects.iter().cloned().chain(asked_for).collect();
        CommandLook {
            activity: query.of.name(),
            reason: options.reason.clone(),
            query: Some(if by_day { format!("{asked}, by day") } else { asked.clone() }),
            subjects: subjects.into_iter().collect(),
            rows,
        }
    };
    if by_day {
        let answer = days(&session, &query).await?;
        house.looked(look(&answer.subjects, answer.summary.rows)).await?;
        print::rows(options.format.chosen(), &answer.schema, &answer.batches, zone)?;
        say_days(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let (summary, joined) = match query.limit {
        _ if options.why => {
            let answer = why(&house, &session, &query).await?;
            house.looked(look(&answer.subjects, answer.summary.rows)).await?;
            print::rows(options.format.chosen(), &answer.schema, &answer.batches, zone)?;
            (answer.summary, answer.joined)
        }
        Some(_) => {
            let answer = trace::trace(&session, &query).await?;
            house.looked(look(&answer.subjects, answer.summary.rows)).await?;
            print::rows(options.format.chosen(), &answer.schema, &answer.batches, zone)?;
            (answer.summary, answer.joined)
        }
        None => {
            let mut answer = trace::stream(&session, &query).await?;
            house.looked(look(&answer.subjects, answer.summary.rows)).await?;
            print::stream(options.format.chosen(), &mut answer, zone).await?;
            (answer.summary, answer.joined)
        }
    };
    say(&query.of, &summary, &joined);
    Ok(ExitCode::SUCCESS)
}

/// The trace with what the organisation's own data say of each row.
async fn why(house: &House, session: &Session, query: &Query) -> anyhow::Result<trace::Trace> {
    let mut query = query.clone();
    let mut hidden: Vec<&str> = Vec::new();
    if let Some(columns) = &mut query.columns {
        hidden.extend(WHY_NEEDS.iter().filter(|name| !columns.iter().any(|column| column == *name)));
        columns.extend(hidden.iter().map(|name| (*name).to_owned()));
    }
    let mut answer = trace::trace(session, &query).await?;
    let reasons = match (answer.summary.first, answer.summary.last) {
        (Some(from), Some(last)) => {
            let asked = Asked { subjects: answer.subjects.clone(), from, to: last + 1 };
            insyn_rules::explain(&house.scheduled_pack()?, session, &asked).await?
        }
        _ => Reasons::default(),
    };
    (answer.schema, answer.batches) = with_why(&answer.schema, &answer.batches, &reasons, &hidden)?;
    for (explanation, fault) in &reasons.failed {
        eprintln!("note: {explanation} could not be tried: {fault}");
    }
    if !reasons.missing.is_empty() {
        let missing: Vec<&str> = reasons.missing.iter().map(String::as_str).collect();
        eprintln!("note: not all can be known: {} is not loaded", missing.join(", "));
    }
    Ok(answer)
}

fn say_days(answer: &Days) {
    let summary = &answer.summary;
    eprintln!("{} rows on {} days, {} persons", summary.rows, summary.days, summary.persons);
    let shown: usize = answer.batches.iter().map(RecordBatch::num_rows).sum();
    if answer.next.is_some() {
        eprintln!("{shown} of {} counts are shown: --limit", summary.counts);
    }
    say_joined(&answer.joined);
}

fn now() -> i64 {
    Utc::now().timestamp_micros()
}

fn say(of: &Of, summary: &Summary, joined: &[Joined]) {
    eprintln!("{} rows in {} visits, {} persons", summary.rows, summary.visits, summary.persons);
    match summary.repeats {
        Some(0) => {}
        Some(repeats) => {
            eprintln!("{repeats} of the rows repeat an event's id that its source had given before")
        }
        None => eprintln!("too many rows to tell which repeat an event's id"),
    }
    for id in of.subjects().into_iter().filter(|_| summary.rows == 0) {
        if normalise(id, None, now()).kind == PersonalNumberKind::Other {
            eprintln!("note: a number that was asked for is no personal number: a digit may be wrong");
        }
    }
    say_joined(joined);
}

fn say_joined(joined: &[Joined]) {
    for join in joined {
        eprintln!("{} stands for {} (by the table {})", join.used, join.asked, join.via);
    }
}

/// What is asked for, as it was typed too.
fn asked(of: TraceOf) -> (Of, String, TraceOptions) {
    match of {
        TraceOf::Subject { id, options } => (Of::Subject(id.clone()), id, options),
        TraceOf::User { id, by: _, options } => (Of::User(id.clone()), id, options),
        TraceOf::Event { id, source, options } => (Of::Event { id: id.clone(), source }, id, options),
        TraceOf::Visit { event, source, options } => {
            (Of::Visit { event: event.clone(), source }, event, options)
        }
        TraceOf::Session { id, source, options } => (Of::Session { id: id.clone(), source }, id, options),
        TraceOf::Unit { id, options } => (Of::Unit(id.clone()), id, options),
        TraceOf::Both { id, other, options } => {
            let asked = format!("{id} {other}");
            (Of::Both(id, other), asked, options)
        }
    }
}
