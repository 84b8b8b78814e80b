//! A record's accesses and a user's: first why, then what.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use chrono_tz::Tz;
use insyn_engine::{
    session::Session,
    trace::{self, Joined, Query, Summary},
};
use insyn_review::{Action, Role, Scope};

use super::{
    Figure, Page, Pager, Visitor, html, html_with, traces,
    visits::{VisitRow, subject_of, unit_of, user_of, visit_rows_for},
    why, words,
};
use crate::{
    app::App,
    forms::{Fields, Parameters, Part, instant},
    guard::Caller,
    handles::{Of, Stated, Target},
    lang::{self, Lang},
    look,
    names::{Names, Wanted, dashed},
    negotiate::{self, Form},
    problem::Problem,
    rest::{
        self,
        accesses::subject_id,
        paging::{self, Ask},
    },
    texts::fill,
    trail::{self, Access, Tally, Visit},
};

/// Visits of a page.
const PAGE: usize = 40;
/// People of the table.
const PEOPLE: usize = 25;
/// Days of the table of days.
const DAYS: usize = 31;
/// Visits to one record that are explained at once, at most.
const EXPLAINED: usize = 2_000;
/// Rows that a page is made from, at most: enough for any record, and a bound for a machine account.
const MOST: usize = 200_000;

#[derive(Template)]
#[template(path = "reason.html")]
struct ReasonPage {
    page: Page,
    lead: &'static str,
    fault: Option<&'static str>,
    action: String,
    csrf: String,
}

#[derive(Template)]
#[template(path = "accesses.html")]
struct AccessesPage {
    page: Page,
    heading: &'static str,
    of_name: String,
    of_id: String,
    subject_protected: bool,
    reason: String,
    joined: Vec<String>,
    figures: Vec<Figure>,
    action: String,
    from: String,
    to: String,
    own: bool,
    people_title: String,
    people_column: &'static str,
    people: Vec<PersonRow>,
    /// Of what a user did.
    days: Vec<DayRow>,
    shown: String,
    person_column: Option<&'static str>,
    rows: Vec<VisitRow>,
    /// Of a record, for those who may trace: where the number of another is sent, and the form's token.
    both: Option<(String, String)>,
    downloads: Vec<(String, &'static str)>,
    pager: Pager,
}

struct DayRow {
    day: String,
    persons: String,
    accesses: String,
    first: String,
    last: String,
}

pub(crate) struct PersonRow {
    pub(crate) href: Option<String>,
    pub(crate) name: String,
    pub(crate) detail: String,
    pub(crate) unit: String,
    pub(crate) unit_href: Option<String>,
    /// Visits that nothing explains, where there are any.
    pub(crate) unexplained: String,
    pub(crate) visits: String,
    pub(crate) events: String,
    pub(crate) first: String,
    pub(crate) last: String,
}

pub(crate) async fn search(
    State(app): State<App>,
    caller: Caller,
    fields: Fields,
) -> Result<Response, Problem> {
    let written = fields.get("id");
    if !written.chars().any(char::is_alphanumeric) {
        return Err(Problem::bad_request(
            "search_empty",
            "found an empty search, expected a personal number or a user id",
        ));
    }
    let of = match fields.get("of") {
        "user" => Of::User(written.to_owned()),
        _ => Of::Record(subject_id(written)),
    };
    Ok(Redirect::to(&handle_of(&app, &caller, of, None)).into_response())
}

/// What a handle leads to: a record, a user, or another trace.
pub(crate) async fn trace(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    Part(handle): Part,
    parameters: Parameters,
) -> Result<Response, Problem> {
    show(&app, &caller, &visitor, &handle, &parameters).await
}

pub(crate) async fn state_trace(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    Part(handle): Part,
    fields: Fields,
) -> Result<Response, Problem> {
    state(&app, &caller, &visitor, &handle, &fields).await
}

/// From one record to those who looked in another too. The other number comes in the form, and stands in no address.
pub(crate) async fn both(
    State(app): State<App>,
    caller: Caller,
    Part(handle): Part,
    fields: Fields,
) -> Result<Response, Problem> {
    let (target, _) = app.handles().find(&caller.session_key(), &handle).ok_or_else(gone)?;
    let Of::Record(one) = target.of else { return Err(gone()) };
    let written = fields.get("id");
    if !written.chars().any(char::is_alphanumeric) {
        return Err(Problem::bad_request(
            "search_empty",
            "found an empty search, expected a personal number",
        ));
    }
    // The question is about another person too, so that a reason is asked for anew.
    Ok(Redirect::to(&handle_of(&app, &caller, Of::Both(one, subject_id(written)), None)).into_response())
}

/// All rows of what a page shows, as a file that is written while it is read.
pub(crate) async fn rows(
    State(app): State<App>,
    caller: Caller,
    Part(handle): Part,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (target, stated) = app.handles().find(&caller.session_key(), &handle).ok_or_else(gone)?;
    may_see(&app, &caller, &target).await?;
    let stated = stated.ok_or_else(Problem::reason_required)?;
    let form = parameters.get("format").and_then(Form::of_name).ok_or_else(|| {
        Problem::bad_request("bad_parameter", "format: expected csv, ndjson, arrow or parquet")
    })?;
    let ask = match target.of {
        Of::Record(_) | Of::User(_) => Ask { columns: None, ..ask(app.zone(), &target, &parameters, &[])? },
        _ => traces::ask(&app, &target, &parameters)?,
    };
    let of = traces::asked(&target.of);
    let mut response = rest::accesses::streamed(&app, &caller, form, &of, &ask, Some(&stated)).await?;
    let name = format!("attachment; filename=\"insyn-{}.{}\"", target.of.folder(), form.name());
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// What the link gave when it was made is looked at again: roles and findings may have changed since.
async fn may_see(app: &App, caller: &Caller, target: &Target) -> Result<(), Problem> {
    match &target.around {
        None => caller.must(Action::Trace),
        Some(around) => {
            caller.must(Action::TraceFinding)?;
            app.db.get(&around.finding, &Scope::of(&caller.principal)?).await?;
            Ok(())
        }
    }
}

/// Keeps what was stated, and goes on to the rows.
async fn state(
    app: &App,
    caller: &Caller,
    visitor: &Visitor,
    handle: &str,
    fields: &Fields,
) -> Result<Response, Problem> {
    let (target, _) = app.handles().find(&caller.session_key(), handle).ok_or_else(gone)?;
    let Some(stated) = Stated::new(Some(fields.get("reason")), Some(fields.get("case"))) else {
        return Ok(ask_why(app, caller, visitor, handle, &target, Some(visitor.lang.texts().reason_missing)));
    };
    app.handles().state(&caller.session_key(), handle, stated);
    Ok(Redirect::to(&address(&target, handle)).into_response())
}

async fn show(
    app: &App,
    caller: &Caller,
    visitor: &Visitor,
    handle: &str,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    let (target, stated) = app.handles().find(&caller.session_key(), handle).ok_or_else(gone)?;
    may_see(app, caller, &target).await?;
    let Some(stated) = stated else { return Ok(ask_why(app, caller, visitor, handle, &target, None)) };
    match target.of {
        Of::Record(_) | Of::User(_) => {
            shown(app, caller, visitor, handle, &target, &stated, parameters).await
        }
        _ => traces::shown(app, caller, visitor, handle, &target, &stated, parameters).await,
    }
}

fn ask_why(
    app: &App,
    caller: &Caller,
    visitor: &Visitor,
    handle: &str,
    target: &Target,
    fault: Option<&'static str>,
) -> Response {
    let t = visitor.lang.texts();
    let lead = match target.of {
        Of::Record(_) => t.reason_record,
        Of::User(_) => t.reason_user,
        Of::Both(..) => t.reason_both,
        Of::Visit { .. } | Of::Session { .. } | Of::Unit(_) => t.reason_trace,
    };
    let page = Page::new(app, visitor, t.reason_title);
    let status = if fault.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    html_with(status, &ReasonPage { page, lead, fault, action: address(target, handle), csrf: caller.csrf() })
}

async fn shown(
    app: &App,
    caller: &Caller,
    visitor: &Visitor,
    handle: &str,
    target: &Target,
    stated: &Stated,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let zone = app.zone();
    let is_record = matches!(target.of, Of::Record(_));
    let of = traces::asked(&target.of);
    let ask = ask(zone, target, parameters, if is_record { trail::COLUMNS } else { trail::OF_USER })?;
    let session = rest::session(app).await?;
    let page = paging::page(&session, caller, &of, &ask).await?;
    let batches = own_units(caller, target, page.trace.batches);
    let mut seen = rest::accesses::seen(&of, &ask, Some(stated), &batches);
    if let Some(around) = &target.around {
        seen.query = Some(format!("finding {}", around.finding));
    }
    look::look(app, caller, seen).await?;

    let accesses = trail::accesses(&batches);
    let total = accesses.len() as u64;
    let mut visits = trail::visits(accesses, trace::VISIT_GAP);
    let key: fn(&Access) -> &str = if is_record { Access::actor } else { |access| &access.subject_id };
    let mut tallies = trail::tallies(&visits, key);
    let summary = Summary {
        rows: total,
        visits: visits.len() as u64,
        first: visits.iter().map(Visit::first).min(),
        last: visits.iter().map(Visit::last).max(),
        persons: tallies.len() as u64,
        repeats: page.trace.summary.repeats,
    };
    let mut figures = figures(lang, zone, is_record, &summary);
    // Whoever sees some units' rows is told of no others.
    if units(caller, target).is_some() {
        figures.retain(|figure| figure.name != t.repeats);
    }
    let days = if is_record { Vec::new() } else { day_rows(lang, zone, &visits) };
    // People want the latest first; within a visit things stay in their order.
    visits.reverse();
    let number = parameters.count("page", 1_000_000)?.unwrap_or(1);
    let start = (number - 1).saturating_mul(PAGE).min(visits.len());
    let end = (start + PAGE).min(visits.len());
    if !is_record {
        let ask = self::ask(zone, target, parameters, trail::COLUMNS)?;
        let query = paging::query(caller, &of, &ask);
        complete(&session, &query, &mut visits[start..end], &mut tallies).await?;
    }
    let on_page = &visits[start..end];

    let names = names(&session, target, &tallies, on_page).await;
    let on_page_rows: usize = on_page.iter().map(|visit| visit.accesses.len()).sum();
    let next = (start + PAGE < visits.len()).then(|| with_page(parameters, target, handle, number + 1));
    let id = match &target.of {
        Of::Record(id) | Of::User(id) => id.as_str(),
        _ => "",
    };
    let (of_name, of_id) = match is_record {
        true => (name_of_subject(id, &names, &visits), dashed(id)),
        false => (name_of_user(id, &names, &visits), id.to_owned()),
    };
    let mut notes: Vec<String> =
        page.trace.joined.iter().filter_map(|joined| join_note(lang, joined)).collect();
    if let Some(around) = &target.around {
        let (from, to) = (lang::date(zone, around.from), lang::date(zone, around.to));
        notes.push(fill(t.around_finding, &[("from", &from), ("to", &to)]));
        if units(caller, target).is_some() {
            notes.push(t.own_units_only.to_owned());
        }
    }
    let asked = page.trace.joined.iter().map(|joined| joined.used.clone());
    let asked = asked.chain(is_record.then(|| id.to_owned()));
    // Of one person's record everything is explained at once; of all that a user opened, what is shown.
    let explained = if is_record && visits.len() <= EXPLAINED { visits.as_slice() } else { on_page };
    let reasons = why::read(app, &session, asked, explained).await?;
    let of_all = if explained.len() == visits.len() { explained } else { &[] };
    let unexplained = why::unexplained(&reasons, of_all, key);
    let people = tallies
        .iter()
        .take(PEOPLE)
        .map(|tally| PersonRow {
            unexplained: unexplained
                .get(key(&tally.latest))
                .map(|n| words::counted(lang, t.unexplained_one, t.unexplained_n, *n))
                .unwrap_or_default(),
            ..person_row(app, caller, lang, is_record, tally, &names)
        })
        .collect();
    notes.extend(why::missing(lang, &reasons));
    let only_own = units(caller, target).is_some();
    let may_follow = caller.may(Action::Trace);
    let mut rows = visit_rows_for(app, lang, on_page, &names, is_record);
    for (row, visit) in rows.iter_mut().zip(on_page) {
        row.why = why::of(app, lang, &reasons, visit, only_own);
        if may_follow {
            follow(app, caller, stated, visit, row);
        }
    }
    let mut people_title = if is_record { t.people_looked } else { t.people_opened }.to_owned();
    if tallies.len() > PEOPLE {
        let more =
            fill(t.people_more, &[("n", &PEOPLE.to_string()), ("all", &lang.number(tallies.len() as u64))]);
        people_title = format!("{people_title}: {more}");
    }
    let heading = if is_record { t.record_title } else { t.user_title };
    let people_column = if is_record { t.who_column } else { t.whose_column };
    Ok(html(&AccessesPage {
        page: Page::new(app, visitor, heading),
        heading,
        of_name,
        of_id,
        subject_protected: matches!(&target.of, Of::Record(id) if names.is_protected(id)),
        reason: stated.shown(),
        joined: notes,
        figures,
        action: address(target, handle),
        from: parameters.get("from").unwrap_or_default().to_owned(),
        to: parameters.get("to").unwrap_or_default().to_owned(),
        own: ask.own,
        people_title,
        people_column,
        people,
        days,
        shown: fill(t.shown_n, &[("n", &lang.number(on_page_rows as u64))]),
        person_column: Some(people_column),
        rows,
        both: (is_record && may_follow).then(|| (format!("/records/{handle}/both"), caller.csrf())),
        downloads: match may_follow {
            true => downloads(lang, &address(target, handle), &traces::query(parameters)),
            false => Vec::new(),
        },
        pager: Pager { first: (number > 1).then(|| with_page(parameters, target, handle, 1)), next },
    }))
}

/// Reads the rest of what is shown of a user's accesses.
async fn complete(
    session: &Session,
    query: &Query,
    on_page: &mut [Visit],
    tallies: &mut [Tally],
) -> Result<(), Problem> {
    let latest = tallies.iter_mut().take(PEOPLE).map(|tally| &mut tally.latest);
    let shown = on_page.iter_mut().flat_map(|visit| &mut visit.accesses);
    let mut shown: Vec<&mut Access> = shown.chain(latest).collect();
    let places: Vec<_> = shown.iter().map(|access| access.place()).collect();
    let whole = trail::accesses(&trace::rows_at(session, query, &places).await?);
    let whole: BTreeMap<(i64, i64), Access> =
        whole.into_iter().map(|access| ((access.segment, access.seq), access)).collect();
    for access in &mut shown {
        if let Some(found) = whole.get(&(access.segment, access.seq)) {
            found.clone_into(access);
        }
    }
    Ok(())
}

fn ask(zone: Tz, target: &Target, parameters: &Parameters, columns: &[&str]) -> Result<Ask, Problem> {
    let time = |name, end| parameters.get(name).map(|text| instant(name, text, zone, end)).transpose();
    let (mut from, mut to) = (time("from", false)?, time("to", true)?);
    if let Some(around) = &target.around {
        from = Some(from.map_or(around.from, |from| from.max(around.from)));
        to = Some(to.map_or(around.to, |to| to.min(around.to)));
    }
    // A period that ends before it starts holds nothing; the engine would call it a fault.
    if let (Some(start), Some(end)) = (from, to)
        && end <= start
    {
        to = Some(start + 1);
    }
    Ok(Ask {
        from,
        to,
        limit: MOST,
        columns: Some(columns.iter().map(|name| (*name).to_owned()).collect()),
        own: parameters.flag("own")?,
        ..Ask::default()
    })
}

/// The units whose rows a person sees who may look only around findings; `None`: all.
fn units(caller: &Caller, target: &Target) -> Option<Vec<String>> {
    let around = target.around.as_ref()?;
    let principal = &caller.principal;
    if principal.has(Role::Coordinator) || principal.has(Role::Dso) {
        return None;
    }
    Some(principal.units.iter().cloned().chain(around.unit.clone()).collect())
}

fn own_units(
    caller: &Caller,
    target: &Target,
    batches: Vec<arrow::array::RecordBatch>,
) -> Vec<arrow::array::RecordBatch> {
    let Some(units) = units(caller, target) else { return batches };
    crate::rows::filter(&batches, |batch| {
        let ids = crate::rows::Cells::of(batch).texts("care_unit_id");
        (0..batch.num_rows()).map(|row| Some(units.iter().any(|unit| unit == ids.get(row)))).collect()
    })
}

async fn names(session: &Session, target: &Target, tallies: &[Tally], visits: &[Visit]) -> Names {
    let mut wanted = Wanted::default();
    match &target.of {
        Of::Record(id) => wanted.subjects.extend([id.clone()]),
        Of::User(id) => wanted.users.extend([id.clone()]),
        _ => {}
    }
    let latest = tallies.iter().take(PEOPLE).map(|tally| &tally.latest);
    for access in latest.chain(visits.iter().flat_map(|visit| &visit.accesses)) {
        wanted.users.insert(access.actor().to_owned());
        wanted.subjects.insert(access.subject_id.clone());
        wanted.units.insert(access.unit_id.clone());
    }
    Names::read(session, &wanted).await
}

/// What all rows come to; on the other side are users or persons.
pub(crate) fn figures(lang: Lang, zone: Tz, are_users: bool, summary: &Summary) -> Vec<Figure> {
    let t = lang.texts();
    let figure = |value: String, name| Figure { value, name, note: String::new(), warn: false, more: None };
    let at = |time: Option<i64>| time.map_or_else(|| "–".to_owned(), |at| lang::minute(zone, at));
    let repeats = summary.repeats.map_or_else(|| t.repeats_many.to_owned(), |n| lang.number(n));
    vec![
        figure(lang.number(summary.rows), t.rows),
        figure(lang.number(summary.visits), t.visits),
        figure(lang.number(summary.persons), if are_users { t.people_users } else { t.people_subjects }),
        figure(at(summary.first), t.first),
        figure(at(summary.last), t.last),
        figure(repeats, t.repeats),
    ]
}

fn day_rows(lang: Lang, zone: Tz, visits: &[Visit]) -> Vec<DayRow> {
    let row = |day: trail::Day| DayRow {
        day: lang.day(zone, day.first),
        persons: lang.number(day.persons),
        accesses: lang.number(day.accesses),
        first: lang::minute(zone, day.first),
        last: lang::minute(zone, day.last),
    };
    trail::days(visits, zone).into_iter().take(DAYS).map(row).collect()
}

pub(crate) fn person_row(
    app: &App,
    caller: &Caller,
    lang: Lang,
    is_record: bool,
    tally: &Tally,
    names: &Names,
) -> PersonRow {
    let t = lang.texts();
    let latest = &tally.latest;
    let (name, detail, other) = if is_record {
        let (name, detail) = user_of(latest, names, t.unknown);
        (name, detail, (!latest.actor().is_empty()).then(|| Of::User(latest.actor().to_owned())))
    } else {
        let (name, detail) = subject_of(latest, names, t.nobody);
        (name, detail, (!latest.subject_id.is_empty()).then(|| Of::Record(latest.subject_id.clone())))
    };
    let href = other.filter(|_| caller.may(Action::Trace)).map(|of| handle_of(app, caller, of, None));
    let unit = Of::Unit(latest.unit_id.clone());
    PersonRow {
        href,
        unit_href: (caller.may(Action::Trace) && !latest.unit_id.is_empty())
            .then(|| handle_of(app, caller, unit, None)),
        name,
        detail,
        unit: unit_of(latest, names),
        unexplained: String::new(),
        visits: lang.number(tally.visits),
        events: lang.number(tally.accesses),
        first: lang::minute(app.zone(), tally.first),
        last: lang::minute(app.zone(), tally.last),
    }
}

fn name_of_subject(id: &str, names: &Names, visits: &[Visit]) -> String {
    let in_log = || {
        visits.iter().flat_map(|v| &v.accesses).map(|a| a.subject_name.as_str()).find(|name| !name.is_empty())
    };
    match names.subject(id) {
        "" => in_log().unwrap_or_default().to_owned(),
        name => name.to_owned(),
    }
}

fn name_of_user(id: &str, names: &Names, visits: &[Visit]) -> String {
    let known = names.user(id);
    if known != id {
        return known;
    }
    let in_log =
        visits.iter().flat_map(|v| &v.accesses).map(|a| a.user_name.as_str()).find(|name| !name.is_empty());
    in_log.unwrap_or_default().to_owned()
}

pub(crate) fn join_note(lang: Lang, joined: &Joined) -> Option<String> {
    let t = lang.texts();
    let text = match joined.via {
        "accounts" => t.joined_accounts,
        "identities" => t.joined_identities,
        _ => return None,
    };
    Some(fill(text, &[("asked", &dashed(&joined.asked)), ("used", &dashed(&joined.used))]))
}

fn address(target: &Target, handle: &str) -> String {
    format!("/{}/{handle}", target.of.folder())
}

/// The address of something else to trace, which is for this session alone; with the reason where it is the same.
pub(crate) fn handle_of(app: &App, caller: &Caller, of: Of, stated: Option<&Stated>) -> String {
    let folder = of.folder();
    let session = caller.session_key();
    let handle = app.handles().make(&session, Target { of, around: None });
    if let Some(stated) = stated {
        app.handles().state(&session, &handle, stated.clone());
    }
    format!("/{folder}/{handle}")
}

/// Where a visit leads: to itself alone, whose rows stand here already; to the time that they were signed in, and to the
/// unit, which are other questions.
fn follow(app: &App, caller: &Caller, stated: &Stated, visit: &Visit, row: &mut VisitRow) {
    let Some(first) = visit.accesses.first() else { return };
    let source = || first.source.clone();
    let to = |of: Of, stated: Option<&Stated>| Some(handle_of(app, caller, of, stated));
    if !first.event_id.is_empty() {
        row.visit_href = to(Of::Visit { event: first.event_id.clone(), source: source() }, Some(stated));
    }
    if !first.session_id.is_empty() {
        row.session_href = to(Of::Session { id: first.session_id.clone(), source: source() }, None);
    }
    for (event, access) in row.events.iter_mut().zip(&visit.accesses).filter(|(_, of)| !of.unit_id.is_empty())
    {
        event.unit_href = to(Of::Unit(access.unit_id.clone()), None);
    }
}

/// In which forms all rows can be kept.
pub(crate) fn downloads(
    lang: Lang,
    address: &str,
    query: &BTreeMap<&'static str, String>,
) -> Vec<(String, &'static str)> {
    let t = lang.texts();
    let names = [t.form_csv, t.form_ndjson, t.form_arrow, t.form_parquet];
    let query: String = query.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    let link = |((_, form), name): (&(Form, &'static str), &'static str)| {
        (format!("{address}/rows?format={form}{query}"), name)
    };
    negotiate::NAMES.iter().zip(names).map(link).collect()
}

/// The same choice of period, another page. Only what is known to be harmless goes into the address.
fn with_page(parameters: &Parameters, target: &Target, handle: &str, page: usize) -> String {
    let mut query = vec![format!("page={page}")];
    for name in ["from", "to"] {
        if let Some(value) =
            parameters.get(name).filter(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
        {
            query.push(format!("{name}={value}"));
        }
    }
    if parameters.get("own").is_some() {
        query.push("own=1".into());
    }
    format!("{}?{}", address(target, handle), query.join("&"))
}

fn gone() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "handle_gone", "the link no longer holds: search again")
}
