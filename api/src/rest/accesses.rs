//! Who did what: the traces of a record, a user, an event.

#![allow(unused_qualifications, reason = "utoipa writes them into what it makes of `params`")]

use arrow::array::RecordBatch;
use axum::{extract::State, http::HeaderMap, response::Response};
use insyn_engine::{
    event::COLUMNS,
    trace::{self, Joined, Of, Query, Summary},
};
use insyn_review::Action;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    moment, must_be_stated,
    paging::{self, Ask, page},
    session_at, stated,
};
use crate::{
    app::App,
    cursor::Cursor,
    forms::{Json, Parameters, Part, instant},
    guard::Caller,
    handles::Stated,
    lang::rfc3339,
    look::{self, Seen},
    negotiate::{self, Form, Rows},
    problem::Problem,
    rows, stream,
};

/// Rows of a page when no `limit` is given.
const PAGE: usize = 1_000;
/// Rows of a page at most.
const MOST: usize = 100_000;

/// Minutes that a pause within a visit may be asked to have.
const LONGEST_GAP: usize = 24 * 60;

const KNOWN: &[&str] = &[
    "from",
    "to",
    "limit",
    "all",
    "columns",
    "own",
    "cursor",
    "gap",
    "known_at",
    "context_load",
    "reason",
    "case",
];

#[derive(Debug, Deserialize, IntoParams)]
#[allow(
    dead_code,
    reason = "read by utoipa; the handlers take parameters as they come, since every column is one"
)]
pub(crate) struct AccessParameters {
    /// From this time on: RFC 3339, or a local date.
    from: Option<String>,
    /// Before this time; a date means to the end of that day.
    to: Option<String>,
    /// Rows of a page, at most 100 000; 1 000 when not given.
    limit: Option<usize>,
    /// Every row there is, in one answer that is written while it is read, instead of pages.
    all: Option<bool>,
    /// Columns, separated by commas; all but `record` when not given.
    columns: Option<String>,
    /// Also accesses through Insyn itself (source `insyn`).
    own: Option<bool>,
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// How many minutes without an access end a visit; 30 when not given.
    gap: Option<usize>,
    /// By the context tables as they were known at this time: RFC 3339, or a local date, at its end.
    known_at: Option<String>,
    /// The same when this load was the newest, as runs name it.
    context_load: Option<String>,
    /// Why you look. A reason or a case has to be stated, here or as the header `Insyn-Reason`.
    reason: Option<String>,
    /// In which case you look; or the header `Insyn-Case`.
    case: Option<String>,
}

/// What is searched for. Exactly one of `subject`, `user`, `event`, `visit`, `session` and `unit`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Search {
    /// Whose record: a personal number in any common way of writing it.
    #[schema(example = "19121212-1212")]
    subject: Option<String>,
    /// With `subject`: only the accesses to both records of the people who looked in both.
    also: Option<String>,
    /// Whose accesses: the user's id, or one of their accounts.
    user: Option<String>,
    /// The event's id.
    event: Option<String>,
    /// The id of an event: the visit that it is a part of.
    visit: Option<String>,
    /// The system's id of a time that somebody was signed in.
    session: Option<String>,
    /// From which unit: its id.
    unit: Option<String>,
    /// Of which source the event or the session is.
    source: Option<String>,
    /// From this time on: RFC 3339, or a local date.
    from: Option<String>,
    /// Before this time; a date means to the end of that day.
    to: Option<String>,
    /// Rows of a page, at most 100 000; 1 000 when not given.
    limit: Option<usize>,
    /// Every row there is, in one answer that is written while it is read, instead of pages.
    all: bool,
    /// All but `record` when not given.
    columns: Option<Vec<String>>,
    /// Also accesses through Insyn itself (source `insyn`).
    own: bool,
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// How many minutes without an access end a visit; 30 when not given.
    gap: Option<usize>,
    /// By the context tables as they were known at this time: RFC 3339, or a local date, at its end.
    known_at: Option<String>,
    /// The same when this load was the newest, as runs name it.
    context_load: Option<String>,
    /// Column and value, all of which must hold.
    filters: std::collections::BTreeMap<String, String>,
    /// Why you look. A reason or a case has to be stated.
    reason: Option<String>,
    /// In which case you look.
    case: Option<String>,
}

/// The rows, what they come to, and where they go on.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "the shape of the JSON answer, for the OpenAPI document; rows are written straight from Arrow"
)]
pub(crate) struct Accesses {
    /// Rows of `access_events`, by their column names, in order of time.
    items: Vec<serde_json::Value>,
    summary: SummaryView,
    joined: Vec<JoinedView>,
    /// Where the next page starts; null at the end.
    cursor: Option<String>,
}

/// What the rows from here to the end of the period come to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SummaryView {
    rows: u64,
    /// Series of accesses of one user to one record, with pauses of less than 30 minutes, or than `gap`.
    visits: u64,
    first: Option<String>,
    last: Option<String>,
    /// How many people: users for records, subjects for everything else.
    persons: u64,
    /// Rows whose source had given their event's id before, in another record of its log; null: too many to tell.
    repeats: Option<u64>,
}

/// An account or number that stands for what was asked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JoinedView {
    via: String,
    asked: String,
    used: String,
}

/// Searches with the personal number in the body, so that it stands in no address and no proxy's log.
#[utoipa::path(post, path = "/api/v1/accesses/search", tag = "accesses", request_body = Search, responses(
    (status = 200, description = "Accesses in order of time", content(
        (Accesses = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
        (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn search(
    State(app): State<App>,
    caller: Caller,
    form: Form,
    headers: HeaderMap,
    Json(search): Json<Search>,
) -> Result<Response, Problem> {
    let of = asked(&search).ok_or_else(|| {
        Problem::bad_request(
            "bad_search",
            "expected exactly one of `subject`, `user`, `event`, `visit`, `session` and `unit`, `also` with `subject` only",
        )
    })?;
    let time = |name, text: &Option<String>, end| {
        filled(text).map(|text| instant(name, &text, app.zone(), end)).transpose()
    };
    let (known_at, context_load) = (filled(&search.known_at), filled(&search.context_load));
    let (moment, said) = moment(&app, known_at.as_deref(), context_load.as_deref(), None)?;
    let ask = Ask {
        moment,
        said,
        from: time("from", &search.from, false)?,
        to: time("to", &search.to, true)?,
        limit: limited(search.limit)?,
        all: search.all,
        columns: columns(search.columns.clone())?,
        own: search.own,
        cursor: filled(&search.cursor).map(|cursor| Cursor::decode(&cursor)).transpose()?,
        filters: filters(search.filters.clone().into_iter())?,
        gap: gap(search.gap)?,
    };
    let stated = Stated::new(search.reason.as_deref(), search.case.as_deref())
        .or_else(|| stated(&Parameters(Vec::new()), &headers));
    respond(&app, &caller, form, of, ask, stated).await
}

/// Who opened this person's record.
#[utoipa::path(get, path = "/api/v1/subjects/{id}/accesses", tag = "accesses",
    params(("id" = String, Path, description = "A personal number in any common way of writing it"), AccessParameters),
    responses(
        (status = 200, description = "Accesses in order of time", content(
            (Accesses = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_subject(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    parameters: Parameters,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let ask = ask(&app, &parameters)?;
    respond(&app, &caller, form, Of::Subject(subject_id(&id)), ask, stated(&parameters, &headers)).await
}

/// What this user opened.
#[utoipa::path(get, path = "/api/v1/users/{id}/accesses", tag = "accesses",
    params(("id" = String, Path, description = "The user's id, or one of their accounts"), AccessParameters),
    responses(
        (status = 200, description = "Accesses in order of time", content(
            (Accesses = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_user(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    parameters: Parameters,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let ask = ask(&app, &parameters)?;
    respond(&app, &caller, form, Of::User(id), ask, stated(&parameters, &headers)).await
}

/// One log record: a row for each person that it is about.
#[utoipa::path(get, path = "/api/v1/events/{event_id}", tag = "accesses",
    params(
        ("event_id" = String, Path, description = "The record's id"),
        ("source" = Option<String>, Query, description = "Of which source, where several use the same ids"),
        AccessParameters),
    responses(
        (status = 200, description = "The record's rows", content(
            (Accesses = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_event(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    parameters: Parameters,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let (ask, source) = of_source(&app, &parameters)?;
    respond(&app, &caller, form, Of::Event { id, source }, ask, stated(&parameters, &headers)).await
}

/// The visit that an event is a part of: what its user did in the same record, up to a longer pause.
#[utoipa::path(get, path = "/api/v1/events/{event_id}/visit", tag = "accesses",
    params(
        ("event_id" = String, Path, description = "The record's id"),
        ("source" = Option<String>, Query, description = "Of which source, where several use the same ids"),
        AccessParameters),
    responses(
        (status = 200, description = "Accesses in order of time", content(
            (Accesses = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_visit(
    State(app): State<App>,
    caller: Caller,
    Part(event): Part,
    parameters: Parameters,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let (ask, source) = of_source(&app, &parameters)?;
    respond(&app, &caller, form, Of::Visit { event, source }, ask, stated(&parameters, &headers)).await
}

/// Everything that was done while somebody was signed in once.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/accesses", tag = "accesses",
    params(
        ("id" = String, Path, description = "The system's id of it"),
        ("source" = Option<String>, Query, description = "Of which source, where several use the same ids"),
        AccessParameters),
    responses(
        (status = 200, description = "Accesses in order of time", content(
            (Accesses = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_session(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    parameters: Parameters,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let (ask, source) = of_source(&app, &parameters)?;
    respond(&app, &caller, form, Of::Session { id, source }, ask, stated(&parameters, &headers)).await
}

/// Everything that was done from this unit.
#[utoipa::path(get, path = "/api/v1/units/{id}/accesses", tag = "accesses",
    params(("id" = String, Path, description = "The unit's id"), AccessParameters),
    responses(
        (status = 200, description = "Accesses in order of time", content(
            (Accesses = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_unit(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    parameters: Parameters,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let ask = ask(&app, &parameters)?;
    respond(&app, &caller, form, Of::Unit(id), ask, stated(&parameters, &headers)).await
}

/// Where the source says which record or session is meant; elsewhere it is a filter like every column.
fn of_source(app: &App, parameters: &Parameters) -> Result<(Ask, Option<String>), Problem> {
    let mut ask = ask(app, parameters)?;
    ask.filters.retain(|(name, _)| name != "source");
    Ok((ask, parameters.get("source").map(str::to_owned)))
}

async fn respond(
    app: &App,
    caller: &Caller,
    form: Form,
    of: Of,
    ask: Ask,
    stated: Option<Stated>,
) -> Result<Response, Problem> {
    must_be_stated(stated.as_ref(), Action::Trace)?;
    if ask.all {
        return streamed(app, caller, form, &of, &ask, stated.as_ref()).await;
    }
    let page = page(&session_at(app, &ask.moment).await?, caller, &of, &ask).await?;
    look::look(app, caller, seen(&of, &ask, stated.as_ref(), &page.trace.batches)).await?;
    let about = about(&page.trace.summary, &page.trace.joined);
    let (schema, batches) = match &ask.columns {
        Some(names) => (rows::schema_of(&page.trace.schema, names), rows::only(&page.trace.batches, names)),
        None => (page.trace.schema, page.trace.batches),
    };
    negotiate::answer(form, app.zone(), Rows { schema, batches, about, cursor: page.cursor })
}

/// Every row, written while it is read. The look is written down before the first of them leaves.
pub(crate) async fn streamed(
    app: &App,
    caller: &Caller,
    form: Form,
    of: &Of,
    ask: &Ask,
    stated: Option<&Stated>,
) -> Result<Response, Problem> {
    let place = stream::place()?;
    let session = session_at(app, &ask.moment).await?;
    let query = Query { columns: ask.columns.clone(), ..paging::query(caller, of, ask) };
    let rows = trace::stream(&session, &query).await?;
    let mut seen = seen(of, ask, stated, &[]);
    seen.subjects.extend(rows.subjects.iter().cloned());
    seen.rows = rows.summary.rows;
    look::look(app, caller, seen).await?;
    let about = about(&rows.summary, &rows.joined);
    Ok(stream::trace(form, app.zone(), rows, about, (place, session)))
}

/// What stands beside the rows in JSON.
fn about(summary: &Summary, names: &[Joined]) -> serde_json::Map<String, serde_json::Value> {
    let summary = SummaryView {
        rows: summary.rows,
        visits: summary.visits,
        first: summary.first.map(rfc3339),
        last: summary.last.map(rfc3339),
        persons: summary.persons,
        repeats: summary.repeats,
    };
    let mut about = serde_json::Map::new();
    about.insert("summary".into(), serde_json::to_value(summary).unwrap_or_default());
    about.insert("joined".into(), serde_json::to_value(joined(names)).unwrap_or_default());
    about
}

/// As it is answered.
pub(crate) fn joined(all: &[Joined]) -> Vec<JoinedView> {
    let view = |j: &Joined| JoinedView { via: j.via.into(), asked: j.asked.clone(), used: j.used.clone() };
    all.iter().map(view).collect()
}

/// What goes into the spool about a trace.
pub(crate) fn seen<'a>(of: &Of, ask: &Ask, stated: Option<&'a Stated>, shown: &[RecordBatch]) -> Seen<'a> {
    let mut subjects = rows::subjects(shown);
    // Also an empty answer says something about the person: that nobody looked.
    subjects.extend(of.subjects().into_iter().map(str::to_owned));
    let filtered =
        ask.filters.iter().filter(|(name, _)| ["subject_id", "subject_key"].contains(&name.as_str()));
    subjects.extend(filtered.map(|(_, id)| id.clone()));
    let period = [("from", ask.from), ("to", ask.to)]
        .into_iter()
        .filter_map(|(name, at)| at.map(|at| format!("{name} {}", rfc3339(at))));
    let said = (!ask.said.is_empty()).then(|| ask.said.trim().to_owned());
    let query: Vec<String> = of.shown().into_iter().chain(period).chain(said).collect();
    let query = (!query.is_empty()).then(|| query.join(", "));
    Seen { activity: of.name(), stated, query, subjects, rows: rows::count(shown) as u64 }
}

/// A personal number in the form that the lake has.
pub(crate) fn subject_id(written: &str) -> String {
    insyn_engine::event::normalise(written.trim(), None, crate::app::now()).id
}

fn ask(app: &App, parameters: &Parameters) -> Result<Ask, Problem> {
    asked_for(app, parameters, KNOWN)
}

/// What is asked for by parameters of these names, and by columns.
pub(crate) fn asked_for(app: &App, parameters: &Parameters, known: &[&str]) -> Result<Ask, Problem> {
    let is_column = |name: &str| COLUMNS.iter().any(|column| column.name == name);
    parameters.only(known, is_column)?;
    let time = |name, end| parameters.get(name).map(|text| instant(name, text, app.zone(), end)).transpose();
    let names =
        parameters.get("columns").map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
    let filtered = parameters.0.iter().filter(|(name, _)| is_column(name)).cloned();
    let (moment, said) = moment(app, parameters.get("known_at"), parameters.get("context_load"), None)?;
    Ok(Ask {
        moment,
        said,
        from: time("from", false)?,
        to: time("to", true)?,
        limit: parameters.count("limit", MOST)?.unwrap_or(PAGE),
        all: parameters.flag("all")?,
        columns: columns(names)?,
        own: parameters.flag("own")?,
        cursor: parameters.get("cursor").map(Cursor::decode).transpose()?,
        filters: filters(filtered)?,
        gap: gap(parameters.count("gap", LONGEST_GAP)?)?,
    })
}

/// What somebody wrote into a field, if anything.
fn filled(text: &Option<String>) -> Option<String> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What a search is about, if it is about one thing.
fn asked(search: &Search) -> Option<Of> {
    let source = filled(&search.source);
    let also = filled(&search.also);
    let found = [
        filled(&search.subject).map(|id| match &also {
            Some(other) => Of::Both(subject_id(&id), subject_id(other)),
            None => Of::Subject(subject_id(&id)),
        }),
        filled(&search.user).map(Of::User),
        filled(&search.event).map(|id| Of::Event { id, source: source.clone() }),
        filled(&search.visit).map(|event| Of::Visit { event, source: source.clone() }),
        filled(&search.session).map(|id| Of::Session { id, source: source.clone() }),
        filled(&search.unit).map(Of::Unit),
    ];
    let mut found = found.into_iter().flatten();
    let of = found.next()?;
    let is_one = found.next().is_none() && (also.is_none() || matches!(of, Of::Both(..)));
    is_one.then_some(of)
}

/// Minutes in µs.
fn gap(minutes: Option<usize>) -> Result<Option<i64>, Problem> {
    match minutes {
        None => Ok(None),
        Some(minutes) if (1..=LONGEST_GAP).contains(&minutes) => Ok(Some(minutes as i64 * 60_000_000)),
        Some(_) => Err(Problem::bad_request(
            "bad_parameter",
            format!("gap: expected a whole number of minutes from 1 to {LONGEST_GAP}"),
        )),
    }
}

fn limited(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(PAGE),
        Some(limit) if (1..=MOST).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::bad_request(
            "bad_parameter",
            format!("limit: expected a whole number from 1 to {MOST}"),
        )),
    }
}

fn columns(names: Option<Vec<String>>) -> Result<Option<Vec<String>>, Problem> {
    let Some(names) = names else { return Ok(None) };
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    names.iter().try_for_each(|name| known_column(name))?;
    Ok((!names.is_empty()).then_some(names))
}

fn filters(wanted: impl Iterator<Item = (String, String)>) -> Result<Vec<(String, String)>, Problem> {
    wanted
        .map(|(name, value)| {
            known_column(&name)?;
            let value = if name == "subject_id" { subject_id(&value) } else { value };
            Ok((name, value))
        })
        .collect()
}

fn known_column(name: &str) -> Result<(), Problem> {
    let derived = ["actor_id", "subject_key"].contains(&name);
    if derived || COLUMNS.iter().any(|column| column.name == name) {
        return Ok(());
    }
    let name: String = name.chars().take(40).collect();
    let detail =
        format!("found the column {name:?}, expected columns of access_events, actor_id or subject_key");
    Err(Problem::bad_request("unknown_column", detail))
}
