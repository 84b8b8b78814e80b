//! What a run of news has to judge, rule by rule.
//!
//! A rule keeps a mark: how far it has read the lake, by which setting and which context tables, and what it has still to
//! judge. It judges
//! - the local days that rows which came since are of, as far around them as it looks, and whole windows where it counts;
//! - of a setting that it was never judged by, everything;
//! - when a table that it reads is another than then, the last days: a booking that comes late is of those;
//! - what it waits for, and what an earlier run left or failed at.
//!
//! The newest days come first, and no more in one run than the limits say: the rest is left for the next.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Date32Type;
use chrono::Utc;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use insyn_engine::lake::{Mark, Table, Told};
use insyn_engine::session::{Session, Touched};

use crate::calendar::CalendarWindow;
use crate::desk::{LAKE_TABLES, context_tables};
use crate::finding::Finding;
use crate::pack::Pack;
use crate::record::{RuleMark, RuleState};
use crate::rule::{Kind, Rule, WindowSize};
use crate::run::{Judged, Limits, RunError, evaluated};
use crate::spans::Spans;
use crate::sql;
use crate::stored::Stored;

const DAY: i64 = 86_400_000_000;
/// So long back a context table that is loaded anew is looked at again, µs: bookings come up to two weeks late.
const AGAIN: i64 = 14 * DAY;
/// A finding that waits may rest on accesses so much older than that: the longest window.
const WINDOW: i64 = 31 * DAY;
/// Tables by which everybody is told apart, whatever a rule reads.
const ALWAYS_READ: [&str; 4] = ["accounts", "identities", "staff", "units"];

/// What a run judges.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By rule.
    pub spans: BTreeMap<String, Spans>,
    /// What each rule has to judge after it.
    left: BTreeMap<String, Spans>,
    /// The version of the lake that each rule had read before.
    pub since: BTreeMap<String, u64>,
    /// What was there before, by rule; also of rules that are not judged now.
    before: BTreeMap<String, RuleMark>,
    /// How it was known what came, where that is not by the log; what is left for later.
    pub notes: Vec<String>,
}

impl Plan {
    /// All that a rule has to judge, in this run or later.
    pub fn due(&self, rule_id: &str) -> Spans {
        let of = |plan: &BTreeMap<String, Spans>| plan.get(rule_id).cloned().unwrap_or_default();
        of(&self.spans).with(&of(&self.left))
    }
}

/// What a run of news has to judge.
pub(crate) async fn news(
    pack: &Pack,
    session: &Session,
    marks: Vec<RuleMark>,
    from: Option<i64>,
    waiting: &[Finding],
    limits: Limits,
) -> Result<Plan, RunError> {
    let zone = session.zone();
    let mut plan = Plan {
        before: marks.into_iter().map(|mark| (mark.rule_id.clone(), mark)).collect(),
        ..Plan::default()
    };
    let Some(stored) = reach(session) else { return Ok(plan) };
    let stored = Spans::from(vec![stored]).whole(WindowSize::Day, zone);
    let mut came = Came { session, known: Vec::new() };
    let mut todo: BTreeMap<&str, Spans> = BTreeMap::new();
    let rules = evaluated(pack);
    for rule in rules.iter().filter(|rule| rule.held_back.is_none()) {
        let mark = plan.before.get(&rule.id).filter(|mark| mark.setting == setting(rule));
        let spans = match mark {
            None => stored.clone(),
            Some(mark) => {
                plan.since.insert(rule.id.clone(), mark.lake.version());
                let touched = came.since(&mark.lake).await?;
                let days = Spans::of_days(touched.days.keys().copied(), zone);
                let days = days.with(&lacking(rule, session, mark.at).await?);
                let again = again(rule, mark, digests(rule, pack, session), waiting, &stored, zone);
                judged(rule, &days, zone).with(&mark.left).with(&again)
            }
        };
        let before = Spans::from(vec![(i64::MIN, from.unwrap_or(i64::MIN))]);
        todo.insert(&rule.id, spans.without(&before));
    }
    plan.notes.extend(came.notes());
    let all = todo.values().fold(Spans::default(), |all, spans| all.with(spans));
    let counts = Stored::of(session.datafusion(), &all, zone).await?;
    // Of days on which nothing is stored there is nothing to judge: who comes late to them touches them.
    let with_rows = Spans::of_days(counts.days.keys().copied(), zone);
    for rule in &rules {
        let Some(spans) = todo.get(rule.id.as_str()) else { continue };
        let now = newest(rule, spans, &counts, limits.news_rows, zone);
        plan.left.insert(rule.id.clone(), spans.without(&now).both(&with_rows));
        plan.spans.insert(rule.id.clone(), now);
    }
    let behind = plan.left.values().filter(|left| !left.is_empty()).count();
    if behind > 0 {
        plan.notes.push(format!(
            "{behind} rules have more to judge than the {} accesses of one run: the next runs go on with older days",
            limits.news_rows
        ));
    }
    Ok(plan)
}

/// What the rules have judged after a run: by hand over everything, or of news.
pub(crate) async fn marks(
    pack: &Pack,
    session: &Session,
    done: &Judged,
    plan: Option<&Plan>,
) -> Result<Vec<RuleMark>, RunError> {
    let lake = session.mark().await?;
    let mut marks = Vec::new();
    for rule in evaluated(pack) {
        let state = done.record.rules.iter().find(|run| run.rule_id == rule.id).map(|run| run.state);
        let waits = done.waits.get(&rule.id).cloned().unwrap_or_default();
        let left = match (state, plan) {
            // What it lacks may come: then all that is new since counts.
            (None | Some(RuleState::NotEvaluated), _) => continue,
            (Some(RuleState::Evaluated), None) => waits,
            (Some(RuleState::Evaluated), Some(plan)) => {
                plan.left.get(&rule.id).cloned().unwrap_or_default().with(&waits)
            }
            // It tries the same again, at most as much as one run judges.
            (Some(RuleState::Failed), Some(plan)) => plan.due(&rule.id),
            (Some(RuleState::Failed), None) => continue,
        };
        marks.push(RuleMark {
            rule_id: rule.id.clone(),
            rule_version: rule.version,
            setting: setting(rule),
            lake: lake.clone(),
            context: digests(rule, pack, session),
            left,
            at: done.record.started_at,
        });
    }
    Ok(marks)
}

/// What follows from what a rule finds, as text.
fn setting(rule: &Rule) -> String {
    format!("{}{}", rule.setting(), rule.leans_on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default())
}

/// From the first access that is stored to after the last, by what the lake's log says of its files.
fn reach(session: &Session) -> Option<(i64, i64)> {
    let files = session.snapshot().files(Table::AccessEvents);
    let first = files.iter().filter_map(|file| file.occurred_at.min).min()?;
    let last = files.iter().filter_map(|file| file.occurred_at.max).max()?;
    Some((first, last + 1))
}

/// What came since each of a few marks.
struct Came<'a> {
    session: &'a Session,
    known: Vec<(Mark, Touched)>,
}

impl Came<'_> {
    async fn since(&mut self, mark: &Mark) -> Result<&Touched, RunError> {
        let place = match self.known.iter().position(|(known, _)| known == mark) {
            Some(place) => place,
            None => {
                self.known.push((mark.clone(), self.session.touched(mark).await?));
                self.known.len() - 1
            }
        };
        Ok(&self.known[place].1)
    }

    fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.known.iter().filter_map(|(mark, touched)| {
            let version = mark.version();
            match touched.told {
                Told::Log => None,
                Told::Segments => Some(format!(
                    "the log no longer has every commit since version {version}: what is new was found by its segments"
                )),
                Told::Nothing => Some(format!(
                    "the lake is not the one of which version {version} was judged: everything is judged anew"
                )),
            }
        })
    }
}

/// What a rule judges when rows of these days are new: what it may name for them. What was an absence before is none for rows
/// that come later; one that is not ripe yet waits in any case.
fn judged(rule: &Rule, days: &Spans, zone: Tz) -> Spans {
    let (back, around) = rule.sees();
    let before = if rule.kind == Kind::Absence { 0 } else { around };
    let named = days.iter().map(|(from, to)| (from.saturating_sub(before), to.saturating_add(back)));
    named.collect::<Spans>().whole(unit(rule), zone)
}

/// What a rule judges at once: whole windows where it counts.
fn unit(rule: &Rule) -> WindowSize {
    match rule.kind {
        Kind::Match | Kind::NewValue | Kind::Absence => WindowSize::Day,
        _ => rule.window,
    }
}

/// Days of which a later export has noticed since that it lacks rows, where the rule reads that.
async fn lacking(rule: &Rule, session: &Session, since: i64) -> Result<Spans, DataFusionError> {
    let words = sql::words(&rule.sql);
    if !LAKE_TABLES.iter().any(|table| words.iter().any(|word| word == table)) {
        return Ok(Spans::default());
    }
    // A day more: whoever noticed may have another clock.
    let query = format!(
        "select distinct cast(local_date(occurred_at) as date) as day from lacking where noticed_at >= {}",
        sql::timestamp(since - DAY)
    );
    let mut days = Vec::new();
    for batch in session.datafusion().sql(&query).await?.collect().await? {
        let column = batch.column(0).as_primitive::<Date32Type>();
        days.extend(
            (0..batch.num_rows())
                .filter_map(|row| if column.is_valid(row) { column.value_as_date(row) } else { None }),
        );
    }
    Ok(Spans::of_days(days, session.zone()))
}

/// The last days, where a context table is another than when the rule judged, and the days of findings that wait.
fn again(
    rule: &Rule,
    mark: &RuleMark,
    context: BTreeMap<String, String>,
    waiting: &[Finding],
    stored: &Spans,
    zone: Tz,
) -> Spans {
    let Some((_, after)) = stored.reach().filter(|_| context != mark.context) else {
        return Spans::default();
    };
    let to = after.min(CalendarWindow::of(WindowSize::Day, Utc::now().timestamp_micros(), zone).to);
    let from = to - AGAIN;
    let waits = waiting.iter().filter(|finding| finding.rule_id == rule.id).map(|finding| finding.first_at);
    let from = waits.filter(|first| *first >= from - WINDOW).chain([from]).min().unwrap_or(from);
    Spans::from(vec![(from, to)]).whole(WindowSize::Day, zone)
}

/// The context tables that what a rule finds follows from, with a digest of each.
fn digests(rule: &Rule, pack: &Pack, session: &Session) -> BTreeMap<String, String> {
    let explanations: Vec<&Rule> = match rule.leans_on {
        Some(_) => pack.explanations().collect(),
        None => Vec::new(),
    };
    let read = |rule: &&Rule| {
        let named = rule.needs.iter().chain(&rule.needs_one_of).chain(&rule.covered_by).cloned();
        named.chain(rule.words()).collect::<Vec<String>>()
    };
    let mut words: BTreeSet<String> = explanations.iter().chain([&rule]).flat_map(read).collect();
    if words.contains("assigned") {
        words.insert("assignments".into());
    }
    words.extend(ALWAYS_READ.map(str::to_owned));
    let load = session.context_load();
    let digest = |table: &str| {
        let found = load.and_then(|load| load.tables.iter().find(|of| of.table == table));
        found.zip(load).map(|(of, load)| match of.digest.is_empty() {
            // Of an older load nobody knows whether it has the same rows.
            true => load.id.clone(),
            false => of.digest.clone(),
        })
    };
    let tables = context_tables().filter(|table| words.contains(*table));
    tables.filter_map(|table| Some((table.to_owned(), digest(table)?))).collect()
}

/// Of what a rule has to judge the newest, about so many accesses; whole windows where it counts, and at least one.
fn newest(rule: &Rule, todo: &Spans, counts: &Stored, rows: u64, zone: Tz) -> Spans {
    let size = unit(rule);
    let mut windows: BTreeMap<CalendarWindow, u64> = BTreeMap::new();
    for (day, count) in &counts.days {
        let day = Spans::of_days([*day], zone);
        let Some((from, _)) = day.reach().filter(|(from, _)| todo.holds(*from)) else { continue };
        *windows.entry(CalendarWindow::of(size, from, zone)).or_default() += count;
    }
    let mut taken = Vec::new();
    let mut held = 0;
    for (window, count) in windows.into_iter().rev() {
        if held > 0 && held + count > rows {
            break;
        }
        held += count;
        taken.push((window.from, window.to));
    }
    Spans::from(taken)
}
