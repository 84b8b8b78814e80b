//! `insyn trace subject|user|event`: who did what. The look itself is written down before the answer leaves.

use std::path::Path;
use std::process::ExitCode;

use chrono::Utc;
use insyn_engine::event::{PersonalNumberKind, normalise};
use insyn_engine::trace::{self, Of, Query};

use crate::cli::{Trace, TraceOf, TraceOptions};
use crate::house::{CommandLook, House};
use crate::print;

pub async fn run(config: &Path, arguments: Trace) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let (of, activity, asked, options) = asked(arguments.of);
    house.may_show_personal_data(options.reason.as_deref())?;
    let zone = house.config.organisation.timezone;
    let (from, to) = print::period(options.from.as_deref(), options.to.as_deref(), zone)?;
    let query = Query { of, from, to, limit: options.limit, columns: options.columns, own: options.own };
    let typed = match &query.of {
        Of::Subject(id) => Some(id.clone()),
        _ => None,
    };
    let answer = trace::trace(&house.session(true).await?, &query).await?;
    house
        .looked(CommandLook {
            activity,
            reason: options.reason,
            query: Some(asked),
            subjects: answer.subjects.clone(),
            rows: answer.summary.rows,
        })
        .await?;
    print::rows(options.format.chosen(), &answer.schema, &answer.batches, zone)?;
    let summary = &answer.summary;
    eprintln!("{} rows in {} visits, {} persons", summary.rows, summary.visits, summary.persons);
    if let Some(id) = typed.filter(|_| summary.rows == 0)
        && normalise(&id, None, Utc::now().timestamp_micros()).kind == PersonalNumberKind::Other
    {
        eprintln!("note: the number that was asked for is no personal number: a digit may be wrong");
    }
    for join in &answer.joined {
        eprintln!("{} stands for {} (by the table {})", join.used, join.asked, join.via);
    }
    Ok(ExitCode::SUCCESS)
}

fn asked(of: TraceOf) -> (Of, &'static str, String, TraceOptions) {
    match of {
        TraceOf::Subject { id, options } => (Of::Subject(id.clone()), "trace subject", id, options),
        TraceOf::User { id, options } => (Of::User(id.clone()), "trace user", id, options),
        TraceOf::Event { id, source, options } => {
            (Of::Event { id: id.clone(), source }, "trace event", id, options)
        }
    }
}
