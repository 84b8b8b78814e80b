//! One source: how far it is read, which of the fields that its law asks for are really there, what could not be read and
//! what could not be had. It names nobody.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_engine::{
    exports::{StatedDay, stated_days},
    lake::{Amended, RETAINED},
    session::Session,
};
use insyn_ingest::health::Recent;
use insyn_ingest::law::{self, Coverage};

use super::{Figure, Page, Visitor, html, words};
use crate::{
    app::{App, now},
    forms::Part,
    lang::{self, Lang},
    problem::Problem,
    quiet,
    rest::{self, sources::Source},
    rows::Cells,
    texts::fill,
};

const DAY: i64 = 86_400_000_000;
/// Days whose fields are shown.
const DAYS: i64 = 14;
/// Reasons and gaps that are named.
const NAMED: usize = 20;

#[derive(Template)]
#[template(path = "source.html")]
struct SourcePage {
    page: Page,
    name: String,
    format: String,
    state_key: &'static str,
    state: String,
    why: String,
    quiet: String,
    figures: Vec<Figure>,
    lead: String,
    fields: Vec<FieldRow>,
    exports: Vec<ExportRow>,
    oddities: Vec<String>,
    reasons: Vec<Reason>,
    gaps: Vec<GapRow>,
    amendments: Vec<AmendmentRow>,
    copies: Vec<String>,
}

/// One field over the days that are shown.
struct FieldRow {
    name: &'static str,
    there: String,
    /// What stands in place of a value from the record, each with its share.
    instead: Vec<String>,
    days: Vec<DayMark>,
}

struct DayMark {
    /// How much is there: `all`, `most`, `some`, `none`.
    key: &'static str,
    text: String,
}

struct ExportRow {
    days: String,
    file: String,
    rows: String,
    stored: String,
    lacking: String,
    lacks: bool,
    read_at: String,
}

struct Reason {
    reason: String,
    count: String,
}

struct GapRow {
    at: String,
    file: String,
    bytes: String,
    reason: String,
    state: &'static str,
    /// What is said of it, where it is settled.
    said: String,
}

struct AmendmentRow {
    at: String,
    by: String,
    why: String,
    what: String,
}

pub(crate) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Part(name): Part,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let statuses = rest::sources::statuses(&app).await?;
    let source = statuses
        .into_iter()
        .find(|source| source.name == name)
        .ok_or_else(|| Problem::not_found("source"))?;
    let rows = rest::sources::covered(&app, Some(&name), now() - DAYS * DAY, i64::MAX / 2).await?;
    let session = rest::session(&app).await?;
    let (state_key, state) = words::source_state(t, &source.state);
    let act = rows.first().map(|row| row.act.clone()).unwrap_or_default();
    Ok(html(&SourcePage {
        page: Page::new(&app, &visitor, name.clone()),
        state_key,
        state,
        why: source.why.clone(),
        quiet: if source.state == "quiet" { t.quiet_note.to_owned() } else { String::new() },
        figures: figures(&app, lang, &source),
        lead: fill(t.coverage_lead, &[("act", &act), ("days", &DAYS.to_string())]),
        fields: fields(lang, &rows),
        exports: export_rows(&app, lang, &stated_days(&session, Some(&name)).await?),
        oddities: oddities(lang, &*quiet::recent(&app).await, &name),
        reasons: reasons(&session, lang, &name).await?,
        gaps: gaps(&app, &session, lang, &name).await?,
        amendments: amendments(&app, &session, lang, &name),
        copies: source.copy_of.clone(),
        format: source.format,
        name,
    }))
}

fn figures(app: &App, lang: Lang, source: &Source) -> Vec<Figure> {
    let t = lang.texts();
    let whole = |n: Option<f64>| n.map_or_else(|| "–".to_owned(), |n| lang.number(n.max(0.0) as u64));
    let last = source.last_event.map_or_else(|| "–".to_owned(), |at| lang::minute(app.zone(), at));
    vec![
        Figure {
            value: whole(source.events),
            name: t.events,
            note: format!("{}: {last}", t.last_event),
            warn: false,
            more: None,
        },
        Figure {
            value: whole(source.events_hour),
            name: t.events_hour,
            note: match source.usual_hour {
                Some(usual) => fill(t.usual_hour, &[("n", &lang.number(usual as u64))]),
                None => t.usual_unknown.to_owned(),
            },
            warn: source.state == "quiet",
            more: None,
        },
        open_items(lang, source.quarantine_open, source.quarantined, (t.quarantined, t.quarantined_note)),
        open_items(lang, source.gaps_open, source.gaps, (t.gaps, t.gaps_note)),
    ]
}

/// How many items nobody has settled, of how many.
fn open_items(lang: Lang, open: Option<f64>, all: Option<f64>, (name, note): (&'static str, &str)) -> Figure {
    let number = |n: f64| lang.number(n.max(0.0) as u64);
    Figure {
        value: open.map_or_else(|| "–".to_owned(), number),
        name,
        note: match all {
            Some(all) if open.is_some_and(|open| open < all) => {
                fill(lang.texts().settled_note, &[("all", &number(all))])
            }
            _ => note.to_owned(),
        },
        warn: open.is_some_and(|open| open > 0.0),
        more: None,
    }
}

fn fields(lang: Lang, rows: &[Coverage]) -> Vec<FieldRow> {
    let t = lang.texts();
    let mut order: Vec<&str> = Vec::new();
    let mut by_field: BTreeMap<&str, Vec<&Coverage>> = BTreeMap::new();
    for row in rows {
        if !by_field.contains_key(row.field.as_str()) {
            order.push(&row.field);
        }
        by_field.entry(&row.field).or_default().push(row);
    }
    let field = |name: &str| {
        let days = by_field.get(name)?;
        let sum = |of: fn(&Coverage) -> u64| days.iter().map(|day| of(day)).sum::<u64>();
        let all = sum(|day| day.rows);
        let instead = [
            (t.instead_constant, sum(|day| day.constant)),
            (t.instead_one_value, sum(|day| day.one_value)),
            (
                if name == "time" { t.instead_doubtful } else { t.instead_unresolved },
                sum(|day| day.unresolved),
            ),
            (t.instead_missing, sum(|day| day.missing)),
        ];
        let (sv, en) = law::name_of(name)?;
        Some(FieldRow {
            name: if lang == Lang::Sv { sv } else { en },
            there: lang.percent(sum(|day| day.there), all),
            instead: instead
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(what, count)| format!("{what} {}", lang.percent(count, all)))
                .collect(),
            days: days
                .iter()
                .map(|day| DayMark {
                    key: how_much(day.there, day.rows),
                    text: format!("{}: {}", day.day, lang.percent(day.there, day.rows)),
                })
                .collect(),
        })
    };
    order.into_iter().filter_map(field).collect()
}

/// Each export with all its days, the one that was read last first.
fn export_rows(app: &App, lang: Lang, days: &[StatedDay]) -> Vec<ExportRow> {
    let mut files: BTreeMap<&str, Vec<&StatedDay>> = BTreeMap::new();
    days.iter().for_each(|day| files.entry(&day.file_id).or_default().push(day));
    let mut files: Vec<Vec<&StatedDay>> = files.into_values().collect();
    files.sort_by(|a, b| b.iter().map(|day| &day.read_at).max().cmp(&a.iter().map(|day| &day.read_at).max()));
    let row = |days: Vec<&StatedDay>| {
        let sum = |of: fn(&StatedDay) -> u64| days.iter().map(|day| of(day)).sum::<u64>();
        let (first, last) = (days.first()?, days.last()?);
        let read_at = chrono::DateTime::parse_from_rfc3339(last.read_at.as_deref()?).ok()?;
        Some(ExportRow {
            days: match first.day == last.day {
                true => first.day.clone(),
                false => format!("{} – {}", first.day, last.day),
            },
            file: last.path.rsplit('/').next().unwrap_or_default().to_owned(),
            rows: lang.number(sum(|day| day.rows)),
            stored: lang.number(sum(|day| day.stored)),
            lacking: lang.number(sum(|day| day.lacking)),
            lacks: sum(|day| day.lacking) > 0,
            read_at: lang::minute(app.zone(), read_at.timestamp_micros()),
        })
    };
    files.into_iter().take(NAMED).filter_map(row).collect()
}

/// What the source's own ids and clock say of it, over the last two days.
fn oddities(lang: Lang, recent: &Recent, source: &str) -> Vec<String> {
    let t = lang.texts();
    let odd = recent.odd(source);
    let mut said = Vec::new();
    if odd.repeated > 0 {
        said.push(fill(
            t.odd_repeated,
            &[("n", &lang.number(odd.repeated)), ("all", &lang.number(odd.records))],
        ));
    }
    if odd.ahead > 0 {
        let far = words::length(t, odd.most_ahead as f64 / 1e6);
        said.push(fill(t.odd_ahead, &[("n", &lang.number(odd.ahead)), ("far", &far)]));
    }
    if let Some(missing) = recent.missing(source)
        && let Some((first, last)) = missing.runs.first()
    {
        let places =
            [("n", lang.number(missing.count)), ("first", first.to_string()), ("last", last.to_string())];
        said.push(fill(t.odd_missing, &places.each_ref().map(|(name, text)| (*name, text.as_str()))));
    }
    if said.is_empty() && odd.records > 0 {
        said.push(fill(t.odd_none, &[("all", &lang.number(odd.records))]));
    }
    said
}

fn how_much(there: u64, rows: u64) -> &'static str {
    match (there, rows) {
        (there, rows) if there == rows => "all",
        (0, _) => "none",
        (there, rows) if there * 20 >= rows * 19 => "most",
        _ => "some",
    }
}

async fn reasons(session: &Session, lang: Lang, source: &str) -> Result<Vec<Reason>, Problem> {
    let query = format!(
        "SELECT reason, count(*) AS n FROM quarantine WHERE source = '{}' AND state = 'open' GROUP BY reason ORDER BY n DESC, reason LIMIT {NAMED}",
        source.replace('\'', "''")
    );
    let answer = session.sql(&query).await?;
    let mut reasons = Vec::new();
    for batch in &answer.batches {
        let cells = Cells::of(batch);
        let (texts, counts) = (cells.texts("reason"), cells.numbers("n"));
        reasons.extend((0..batch.num_rows()).map(|row| Reason {
            reason: texts.get(row).to_owned(),
            count: lang.number(u64::try_from(counts.get(row)).unwrap_or(0)),
        }));
    }
    Ok(reasons)
}

async fn gaps(app: &App, session: &Session, lang: Lang, source: &str) -> Result<Vec<GapRow>, Problem> {
    let query = format!(
        "SELECT file_id, from_offset, to_offset, reason, noticed_at, state, state_reason FROM gaps WHERE source = '{}' ORDER BY noticed_at DESC LIMIT {NAMED}",
        source.replace('\'', "''")
    );
    let answer = session.sql(&query).await?;
    let mut gaps = Vec::new();
    for batch in &answer.batches {
        let cells = Cells::of(batch);
        let (files, reasons, noticed) =
            (cells.texts("file_id"), cells.texts("reason"), cells.times("noticed_at"));
        let (from, to) = (cells.numbers("from_offset"), cells.numbers("to_offset"));
        let (states, said) = (cells.texts("state"), cells.texts("state_reason"));
        gaps.extend((0..batch.num_rows()).map(|row| {
            let (from, to) = (from.get(row), to.get(row));
            GapRow {
                at: noticed.get(row).map_or_else(|| "–".to_owned(), |at| lang::minute(app.zone(), at)),
                file: files.get(row).to_owned(),
                bytes: match u64::try_from(to - from) {
                    Ok(bytes @ 1..) => lang.number(bytes),
                    _ => lang.texts().unknown.to_owned(),
                },
                reason: reasons.get(row).to_owned(),
                state: words::item_state(lang.texts(), states.get(row)),
                said: said.get(row).to_owned(),
            }
        }));
    }
    Ok(gaps)
}

/// Who changed what is stored of the source, the latest first.
fn amendments(app: &App, session: &Session, lang: Lang, source: &str) -> Vec<AmendmentRow> {
    let t = lang.texts();
    let of_source = session.snapshot().amendments().filter(|(name, _)| *name == source);
    let row = |one: &Amended| {
        let counts = [
            ("removed", one.removed),
            ("added", one.added),
            ("mended", one.mended),
            ("quarantined", one.quarantined),
            ("explained", one.explained),
            ("items", one.items),
        ];
        let counts = counts.map(|(name, count)| (name, lang.number(count)));
        let counts: Vec<(&str, &str)> = counts.iter().map(|(name, count)| (*name, count.as_str())).collect();
        let text = match one.kind.as_str() {
            "again" => t.amended_again,
            "explain" => t.amended_explain,
            RETAINED => t.amended_retained,
            _ => t.amended_returned,
        };
        AmendmentRow {
            at: lang::minute(app.zone(), one.at),
            by: one.by.clone(),
            why: one.reason.clone(),
            what: fill(text, &counts),
        }
    };
    let mut rows: Vec<AmendmentRow> = of_source.map(|(_, one)| row(one)).collect();
    rows.reverse();
    rows.truncate(NAMED);
    rows
}
