//! Traces that are neither of one record nor of one user: a visit, a session, a unit, those who looked in two records. Row by
//! row in order of time, page by page; what all rows come to stands above them.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use insyn_engine::{
    session::Session,
    trace::{self, Of as TraceOf, Query, Summary},
};

use super::{
    Choice, Figure, Page, Pager, Visitor,
    accesses::{PersonRow, downloads, figures, handle_of, join_note, person_row},
    html,
    visits::{Somebody, VisitRow, subject_of, user_of, visit_rows_for},
    why, words,
};
use crate::{
    app::{App, now},
    cursor::Cursor,
    forms::{Parameters, instant},
    guard::Caller,
    handles::{Of, Stated, Target},
    lang::{self, Lang},
    look,
    names::{Names, Wanted, dashed},
    problem::Problem,
    rest::{
        self,
        paging::{self, Ask},
    },
    texts::fill,
    trail::{self, Access, Visit},
};

const DAY: i64 = 86_400_000_000;
/// Rows of a page.
const PAGE: usize = 200;
/// Of two records: all who looked in both stand on one page where they made no more rows than that.
const PAGE_OF_BOTH: usize = 2_000;
/// Days of a unit that are shown when nobody says which.
const DAYS: i64 = 7;
/// Pauses that a visit may be asked to have, in minutes.
const GAPS: [(&str, i64); 5] = [("5", 5), ("15", 15), ("30", 30), ("60", 60), ("240", 240)];

#[derive(Template)]
#[template(path = "traces.html")]
struct TracesPage {
    page: Page,
    heading: &'static str,
    of: Vec<String>,
    reason: String,
    joined: Vec<String>,
    figures: Vec<Figure>,
    action: String,
    from: String,
    to: String,
    own: bool,
    emergency: bool,
    activity: String,
    sources: Vec<NamedChoice>,
    gaps: Vec<Choice>,
    people_title: &'static str,
    people_column: &'static str,
    people: Vec<PersonRow>,
    shown: String,
    /// Each row says itself who.
    person_column: Option<&'static str>,
    rows: Vec<VisitRow>,
    downloads: Vec<(String, &'static str)>,
    pager: Pager,
}

struct NamedChoice {
    name: String,
    selected: bool,
}

pub(crate) async fn shown(
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
    let of = asked(&target.of);
    let mut ask = ask(app, target, parameters)?;
    ask.columns = Some(trail::COLUMNS.iter().map(|name| (*name).to_owned()).collect());
    let session = rest::session(app).await?;
    let page = paging::page(&session, caller, &of, &ask).await?;
    look::look(app, caller, rest::accesses::seen(&of, &ask, Some(stated), &page.trace.batches)).await?;
    let summary = match ask.cursor {
        None => page.trace.summary.clone(),
        Some(_) => whole(&session, caller, &of, &ask).await?,
    };
    let accesses = trail::accesses(&page.trace.batches);
    let on_page = accesses.len() as u64;
    let visits = trail::visits(accesses, ask.gap.unwrap_or(trace::VISIT_GAP));
    let names = names(&session, &target.of, &visits).await;
    let numbers = match &target.of {
        Of::Both(one, other) => vec![one.clone(), other.clone()],
        _ => Vec::new(),
    };
    let asked_for = page.trace.joined.iter().map(|joined| joined.used.clone()).chain(numbers);
    let reasons = why::read(app, &session, asked_for, &visits).await?;
    let mut joined: Vec<String> =
        page.trace.joined.iter().filter_map(|joined| join_note(lang, joined)).collect();
    joined.extend(why::missing(lang, &reasons));
    let is_of_two = matches!(target.of, Of::Both(..));
    // Half of them would look like all.
    let is_whole = ask.cursor.is_none() && page.cursor.is_none();
    let people = match is_of_two && is_whole {
        true => {
            let tallies = trail::tallies(&visits, Access::actor);
            tallies.iter().map(|tally| person_row(app, caller, lang, true, tally, &names)).collect()
        }
        false => Vec::new(),
    };
    let pager = Pager {
        first: ask.cursor.map(|_| address(handle, parameters, None)),
        next: page.cursor.as_deref().map(|cursor| address(handle, parameters, Some(cursor))),
    };
    let mut rows = visit_rows_for(app, lang, &visits, &names, true);
    for (row, visit) in rows.iter_mut().zip(&visits) {
        row.between = between(app, caller, lang, visit, &names);
        row.why = why::of(app, lang, &reasons, visit, false);
    }
    Ok(html(&TracesPage {
        page: Page::new(app, visitor, heading(lang, &target.of)),
        heading: heading(lang, &target.of),
        of: described(lang, &target.of, &names, &visits),
        reason: stated.shown(),
        joined,
        figures: figures(lang, app.zone(), is_of_two, &summary),
        action: format!("/traces/{handle}"),
        from: ask.from.map(|from| lang::date(app.zone(), from)).unwrap_or_default(),
        to: ask.to.map(|to| lang::date(app.zone(), to - 1)).unwrap_or_default(),
        own: ask.own,
        emergency: parameters.flag("emergency")?,
        activity: parameters.get("activity").unwrap_or_default().to_owned(),
        sources: sources(app, parameters),
        gaps: match target.of {
            Of::Visit { .. } => gaps(lang, &ask),
            _ => Vec::new(),
        },
        people_title: t.both_people,
        people_column: t.who_column,
        people,
        shown: fill(t.trace_shown, &[("n", &lang.number(on_page)), ("all", &lang.number(summary.rows))]),
        person_column: None,
        rows,
        downloads: downloads(lang, &format!("/traces/{handle}"), &query(parameters)),
        pager,
    }))
}

/// What the engine is asked.
pub(crate) fn asked(of: &Of) -> TraceOf {
    match of {
        Of::Record(id) => TraceOf::Subject(id.clone()),
        Of::User(id) => TraceOf::User(id.clone()),
        Of::Visit { event, source } => TraceOf::Visit { event: event.clone(), source: Some(source.clone()) },
        Of::Session { id, source } => TraceOf::Session { id: id.clone(), source: Some(source.clone()) },
        Of::Unit(id) => TraceOf::Unit(id.clone()),
        Of::Both(one, other) => TraceOf::Both(one.clone(), other.clone()),
    }
}

/// The period and the filters of the form. A unit without a period is asked for its last days: it may have years of millions.
pub(crate) fn ask(app: &App, target: &Target, parameters: &Parameters) -> Result<Ask, Problem> {
    let zone = app.zone();
    let time = |name, end| parameters.get(name).map(|text| instant(name, text, zone, end)).transpose();
    let (mut from, mut to) = (time("from", false)?, time("to", true)?);
    let is_asked = parameters.0.iter().any(|(name, _)| name == "from" || name == "to");
    if matches!(target.of, Of::Unit(_)) && !is_asked {
        from = instant("from", &lang::date(zone, now() - (DAYS - 1) * DAY), zone, false).ok();
    }
    // A period that ends before it starts holds nothing; the engine would call it a fault.
    if let (Some(start), Some(end)) = (from, to)
        && end <= start
    {
        to = Some(start + 1);
    }
    let mut filters = Vec::new();
    for name in ["source", "activity"] {
        filters.extend(parameters.get(name).map(|value| (name.to_owned(), value.to_owned())));
    }
    if parameters.flag("emergency")? {
        filters.push(("emergency".into(), "true".into()));
    }
    let gap = parameters.count("gap", 24 * 60)?.map(|minutes| minutes as i64 * 60_000_000);
    Ok(Ask {
        from,
        to,
        limit: if matches!(target.of, Of::Both(..)) { PAGE_OF_BOTH } else { PAGE },
        own: parameters.flag("own")?,
        cursor: parameters.get("cursor").map(Cursor::decode).transpose()?,
        filters,
        gap,
        ..Ask::default()
    })
}

/// What all pages come to.
async fn whole(session: &Session, caller: &Caller, of: &TraceOf, ask: &Ask) -> Result<Summary, Problem> {
    let query = Query { after: None, limit: Some(0), ..paging::query(caller, of, ask) };
    Ok(trace::trace(session, &query).await?.summary)
}

async fn names(session: &Session, of: &Of, visits: &[Visit]) -> Names {
    let mut wanted = Wanted::default();
    match of {
        Of::Both(one, other) => wanted.subjects.extend([one.clone(), other.clone()]),
        Of::Unit(id) => wanted.units.extend([id.clone()]),
        _ => {}
    }
    for access in visits.iter().flat_map(|visit| &visit.accesses) {
        wanted.users.insert(access.actor().to_owned());
        wanted.subjects.insert(access.subject_id.clone());
        wanted.units.insert(access.unit_id.clone());
    }
    Names::read(session, &wanted).await
}

fn heading(lang: Lang, of: &Of) -> &'static str {
    let t = lang.texts();
    match of {
        Of::Visit { .. } => t.visit_title,
        Of::Session { .. } => t.session_title,
        Of::Unit(_) => t.unit_title,
        Of::Both(..) => t.both_title,
        Of::Record(_) => t.record_title,
        Of::User(_) => t.user_title,
    }
}

/// What the trace is of, a line each.
fn described(lang: Lang, of: &Of, names: &Names, visits: &[Visit]) -> Vec<String> {
    let t = lang.texts();
    let person = |id: &str| format!("{} {}", names.subject(id), dashed(id)).trim().to_owned();
    match of {
        Of::Visit { source, .. } => {
            let first = visits.first().and_then(|visit| visit.accesses.first());
            let who = first.map(|access| user_of(access, names, t.unknown).0);
            let whose = first.map(|access| subject_of(access, names, t.nobody).0);
            who.into_iter().chain(whose).chain([source.clone()]).collect()
        }
        Of::Session { id, source } => vec![id.clone(), source.clone()],
        Of::Unit(id) => {
            let name = names.unit(id);
            if name == *id { vec![name] } else { vec![name, id.clone()] }
        }
        Of::Both(one, other) => vec![person(one), person(other)],
        Of::Record(id) => vec![person(id)],
        Of::User(id) => vec![names.user(id)],
    }
}

/// A visit of somebody to somebody's record.
fn between(app: &App, caller: &Caller, lang: Lang, visit: &Visit, names: &Names) -> Option<[Somebody; 2]> {
    let t = lang.texts();
    let first = visit.accesses.first()?;
    let somebody = |(name, detail): (String, String), id: &str, of: fn(String) -> Of| Somebody {
        name,
        detail,
        href: (!id.is_empty()).then(|| handle_of(app, caller, of(id.to_owned()), None)),
    };
    Some([
        somebody(user_of(first, names, t.unknown), first.actor(), Of::User),
        somebody(subject_of(first, names, t.nobody), &first.subject_id, Of::Record),
    ])
}

fn sources(app: &App, parameters: &Parameters) -> Vec<NamedChoice> {
    let chosen = parameters.get("source");
    let names = app.sources.iter().map(|source| source.name.clone());
    names.map(|name| NamedChoice { selected: chosen == Some(name.as_str()), name }).collect()
}

fn gaps(lang: Lang, ask: &Ask) -> Vec<Choice> {
    let chosen = ask.gap.unwrap_or(trace::VISIT_GAP) / 60_000_000;
    let name = |minutes: i64| words::length(lang.texts(), minutes as f64 * 60.0);
    GAPS.iter()
        .map(|(key, minutes)| Choice { key, name: name(*minutes), selected: *minutes == chosen })
        .collect()
}

/// The same choice of rows for another page. Only what is known to be harmless goes into the address.
pub(crate) fn query(parameters: &Parameters) -> BTreeMap<&'static str, String> {
    let mut query = BTreeMap::new();
    for name in ["from", "to", "source", "activity", "gap"] {
        let Some(value) = parameters.get(name) else { continue };
        // A word of the log, a name of a source, a day: never twelve digits in a row.
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        if digits <= 8 {
            query.insert(name, escaped(value));
        }
    }
    // A period that was left open is another one than none that was asked for.
    if parameters.0.iter().any(|(name, _)| name == "from" || name == "to") {
        query.entry("from").or_default();
    }
    for name in ["own", "emergency"] {
        if parameters.get(name).is_some() {
            query.insert(name, "1".into());
        }
    }
    query
}

fn address(handle: &str, parameters: &Parameters, cursor: Option<&str>) -> String {
    let mut query = query(parameters);
    query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("/traces/{handle}?{}", query.join("&"))
}

/// For a query: every byte that is not plain is written as its number.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
