//! Whoever reads is read: each look at personal data is on disk in the spool before its answer leaves.

use axum::http::StatusCode;
use insyn_ingest::spool::Look;

use crate::{app::App, guard::Caller, handles::Stated, problem::Problem};

/// What was looked at.
#[derive(Debug, Default)]
pub(crate) struct Seen<'a> {
    /// What was done, in words that stay: `trace subject`, `trace user`, `finding`, `sql`, …
    pub(crate) activity: &'a str,
    /// Why, where something was stated.
    pub(crate) stated: Option<&'a Stated>,
    /// What was asked: the SQL's text, a finding's id, a period. Never a personal number of its own.
    pub(crate) query: Option<String>,
    /// Whose records came back.
    pub(crate) subjects: Vec<String>,
    pub(crate) rows: u64,
}

/// Writes the look down and waits until it is on disk. Where that fails nothing may be shown, so the caller returns the
/// error in place of its answer.
pub(crate) async fn look(app: &App, caller: &Caller, seen: Seen<'_>) -> Result<(), Problem> {
    write(app, caller, seen, "success").await
}

/// Notes a try that was refused, with whom it was about where that was asked for by name.
pub(crate) async fn refused(app: &App, caller: &Caller, seen: Seen<'_>) -> Result<(), Problem> {
    write(app, caller, seen, "minor-failure").await
}

async fn write(app: &App, caller: &Caller, mut seen: Seen<'_>, outcome: &'static str) -> Result<(), Problem> {
    seen.subjects.sort();
    seen.subjects.dedup();
    let who = &caller.principal;
    let roles: Vec<&str> = who.roles.iter().map(|role| role.as_str()).collect();
    let look = Look {
        // The id that the logs know them by, so that their looks here stand beside those elsewhere.
        user_id: who.staff_user_id.clone().unwrap_or_else(|| who.login.clone()),
        user_name: Some(who.name.clone()),
        user_role: roles.join(" "),
        activity: seen.activity.to_owned(),
        reason: seen.stated.and_then(|stated| stated.reason.clone()),
        case: seen.stated.and_then(|stated| stated.case.clone()),
        query: seen.query,
        client_address: caller.address.clone(),
        outcome,
        subjects: seen.subjects,
        rows: seen.rows,
    };
    app.own.record(&look).await.map(|_| ()).map_err(|fault| {
        tracing::error!("a look could not be written to the spool, so its answer was withheld: {fault}");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "own_log_unavailable",
            "the look could not be logged, and therefore nothing is shown; the reason is in the program's log",
        )
    })
}
