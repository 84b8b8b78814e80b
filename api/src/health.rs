//! Whether the program lives, whether it can work, and figures for Prometheus. No personal data.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError, atomic::Ordering},
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use insyn_receive::Counted;

use crate::{app::App, overdue, problem::Problem, rest};

/// Answers by route and class of status.
#[derive(Default)]
pub(crate) struct Counters(Mutex<BTreeMap<(String, u16), u64>>);

impl Counters {
    /// `route` is the route's pattern, never an address with what people asked for in it.
    pub(crate) fn answered(&self, route: &str, status: StatusCode) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((route.to_owned(), status.as_u16())).or_default() += 1;
    }
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "The process answers")))]
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// The workflow database and the lake can be read.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "Workflow database and lake can be read"),
    (status = 503, description = "One of them cannot", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn ready(State(app): State<App>) -> Response {
    let unready = |what: &'static str, fault: &dyn std::fmt::Display| {
        tracing::warn!("not ready: {what}: {fault}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", format!("{what} cannot be read"))
            .into_response()
    };
    if let Err(fault) = app.db.ping().await {
        return unready("the workflow database", &fault);
    }
    match app.lake.snapshot().await {
        Ok(_) => "ready\n".into_response(),
        Err(fault) => unready("the lake", &fault),
    }
}

/// Figures in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "Prometheus text format", content_type = "text/plain"),
))]
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let mut text = String::new();
    text.push_str("# HELP insyn_http_answers_total Answers by route and status.\n# TYPE insyn_http_answers_total counter\n");
    {
        let counts = app.counters().0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, status), count) in counts.iter() {
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "insyn_http_answers_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
    }
    let sources = rest::sources::statuses(&app).await?;
    for (name, help, value) in [
        ("events", "Rows of access_events.", (|s| s.events) as fn(&rest::sources::Source) -> Option<f64>),
        ("quarantined", "Records in quarantine.", |s| s.quarantined),
        ("gaps", "Gaps.", |s| s.gaps),
        ("quarantine_open", "Records in quarantine that are neither explained nor mended.", |s| {
            s.quarantine_open
        }),
        ("gaps_open", "Gaps that are neither explained nor mended.", |s| s.gaps_open),
        ("bytes_behind", "Bytes not read yet.", |s| s.bytes_behind),
        ("seconds_behind", "Seconds behind the newest byte.", |s| s.seconds_behind),
        ("events_hour", "Events in the last whole hour that all records of should have come.", |s| {
            s.events_hour
        }),
        ("usual_hour", "What that hour of the week usually has.", |s| s.usual_hour),
        (
            "missing_numbers",
            "Numbers of the last week's records that no record has, where the source counts them.",
            |s| s.missing_numbers,
        ),
        ("repeated_ids", "Records of the last two days with an id that another one has.", |s| s.repeated_ids),
        (
            "events_ahead",
            "Records of the last two days that lay ahead of the clock here when they were read.",
            |s| s.events_ahead,
        ),
        ("most_ahead_seconds", "By how many seconds at most.", |s| s.most_ahead_seconds),
        ("quiet", "1 when nearly nothing came where it usually does.", |s| {
            Some(f64::from(u8::from(s.state == "quiet")))
        }),
    ] {
        let _ = writeln!(text, "# HELP insyn_source_{name} {help}\n# TYPE insyn_source_{name} gauge");
        for source in &sources {
            if let Some(value) = value(source) {
                let _ = writeln!(text, "insyn_source_{name}{{source=\"{}\"}} {value}", escaped(&source.name));
            }
        }
    }
    retention(&app, &mut text);
    received(&app, &mut text);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// What is past its time; nothing until it has been counted once.
fn retention(app: &App, text: &mut String) {
    let Some(past) = overdue::past_time(app) else { return };
    for (name, help, rows) in [
        ("overdue", "Rows past their longest time that nobody has decided on.", past.overdue),
        ("removable", "Rows that may go by what is decided, and have not gone.", past.removable),
    ] {
        let name = format!("insyn_retention_{name}_rows");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {rows}");
    }
}

fn received(app: &App, text: &mut String) {
    let counted = app.receivers.counted();
    for (name, help, value) in [
        ("stored", "Records received and on disk.", (|c| c.stored) as fn(&Counted) -> u64),
        ("refused", "Records received that go to quarantine.", |c| c.refused),
    ] {
        let name = format!("insyn_received_{name}_total");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for one in &counted {
            let (source, sender) = (escaped(&one.source), escaped(&one.sender));
            let _ = writeln!(text, "{name}{{source=\"{source}\",sender=\"{sender}\"}} {}", value(one));
        }
    }
    let datagrams = app.receivers.datagrams();
    let _ = writeln!(
        text,
        "# HELP insyn_syslog_datagrams_lost_total Datagrams that became no record.\n# TYPE insyn_syslog_datagrams_lost_total counter"
    );
    for (why, count) in
        [("unknown_sender", &datagrams.unknown), ("kernel", &datagrams.dropped), ("disk", &datagrams.lost)]
    {
        let count = count.load(Ordering::Relaxed);
        let _ = writeln!(text, "insyn_syslog_datagrams_lost_total{{why=\"{why}\"}} {count}");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}
