//! A run: each rule over a period, into findings and a record of what was and was not judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration as Time, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::Utc;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use insyn_engine::config::Organisation;
use insyn_engine::session::Session;

use crate::calendar::CalendarWindow;
use crate::coverage::Coverage;
use crate::desk::Desk;
use crate::explain;
use crate::finding::Finding;
use crate::group;
use crate::hits::{self, Hit};
use crate::pack::Pack;
use crate::record::{FindingStore, NotEvaluated, RuleRun, RuleState, RunRecord, RunReport, StoreError};
use crate::rule::{Kind, Rule, Status, WindowSize};
use crate::settle::Waiting;
use crate::share::{Counting, Explained};
use crate::sql;

/// The period of a run, µs UTC, half-open; `None` is everything stored on that side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// From, with it.
    pub from: Option<i64>,
    /// To, without it.
    pub to: Option<i64>,
}

/// What bounds a run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long one rule may take for one slice of the period.
    pub rule_time: Time,
    /// About how many accesses are held at once; a longer period is judged slice by slice.
    pub slice_rows: u64,
    /// How many rows a rule may give in one run before it is stopped.
    pub rule_rows: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { rule_time: Time::from_secs(300), slice_rows: 2_000_000, rule_rows: 1_000_000 }
    }
}

/// What is known of the context load that a run judges by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContextState {
    /// The load's name, for the run's record.
    pub load: Option<String>,
    /// When each table was loaded, µs UTC.
    pub loaded_at: BTreeMap<String, i64>,
}

/// Why a run as a whole failed. A rule that fails is in the [`RunRecord`] instead.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The tables that every rule reads could not be read.
    #[error("the tables for the rules could not be read: {0}")]
    Tables(#[from] DataFusionError),
    /// The findings could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Evaluates the pack over a period of a session's accesses, and stores the findings when there is a store. Findings of
/// the store that late rows explain by now are settled.
///
/// # Errors
/// When the tables that every rule reads cannot be read, or the store fails; a rule's own error is in the record.
pub async fn run(
    pack: &Pack,
    session: &Session,
    organisation: &Organisation,
    window: Window,
    store: Option<&dyn FindingStore>,
) -> Result<RunReport, RunError> {
    let context = context_of(session);
    let zone = organisation.timezone;
    let waiting = match store {
        Some(store) => store.waiting(Utc::now().timestamp_micros()).await?,
        None => Vec::new(),
    };
    let (mut record, findings, settled) =
        judge_all(pack, session.datafusion(), zone, window, &context, Limits::default(), &waiting).await?;
    record.lake_version = session.version();
    let recorded = match store {
        Some(store) => Some(store.record(&record, &findings, &settled).await?),
        None => None,
    };
    Ok(RunReport { record, findings, recorded })
}

fn context_of(session: &Session) -> ContextState {
    let Some(manifest) = session.context_load() else { return ContextState::default() };
    ContextState {
        load: Some(manifest.id.clone()),
        loaded_at: manifest.tables.iter().map(|t| (t.table.clone(), manifest.loaded_at)).collect(),
    }
}

/// As [`run`], over any context that has the tables of a session, and without a store.
///
/// A finding is always made from its whole calendar window, also where the period cuts it; only findings with an
/// access inside the period are given. That is what makes runs free to cut time as they like.
///
/// # Errors
/// When the tables that every rule reads cannot be read.
pub async fn evaluate(
    pack: &Pack,
    source: &SessionContext,
    zone: Tz,
    window: Window,
    context: &ContextState,
    limits: Limits,
) -> Result<(RunRecord, Vec<Finding>), RunError> {
    let (record, findings, _) = judge_all(pack, source, zone, window, context, limits, &[]).await?;
    Ok((record, findings))
}

/// The record, the findings, and which of those that wait are explained.
async fn judge_all(
    pack: &Pack,
    source: &SessionContext,
    zone: Tz,
    window: Window,
    context: &ContextState,
    limits: Limits,
    waiting: &[Finding],
) -> Result<(RunRecord, Vec<Finding>, Vec<String>), RunError> {
    let started_at = Utc::now().timestamp_micros();
    let rules: Vec<&Rule> = pack.rules().iter().filter(|r| r.status != Status::Deprecated).collect();
    let mut explanations: Vec<&Rule> = match rules.iter().any(|rule| rule.leans_on.is_some()) {
        true => pack.explanations().collect(),
        false => Vec::new(),
    };
    let read: Vec<&Rule> = rules.iter().chain(&explanations).copied().collect();
    let desk = Desk::over(source, &read).await?;
    // Without a row of what it needs it has no reason for anything.
    explanations.retain(|rule| rule.needs.iter().all(|table| desk.rows(table).is_some_and(|rows| rows > 0)));
    let mut states: Vec<State<'_>> = rules.iter().map(|rule| State::of(rule, &desk)).collect();
    let stored = Stored::read(source, window).await?;
    let mut hits: Vec<Hit> = Vec::new();
    let mut shares = Explained::default();
    let mut waiting = Waiting::of(waiting, &rules);
    if let Some(period) = stored.period(&rules, window, zone) {
        for state in states.iter_mut().filter(|s| s.run.state == RuleState::Evaluated) {
            if let Err(error) = state.read_coverage(&desk, period, zone).await {
                state.fail(plain(&error));
            }
        }
        let mut read_to: HashMap<String, i64> = HashMap::new();
        let mut counting = match explanations.is_empty() {
            true => None,
            false => Some(Counting::of(&desk, period, zone).await?),
        };
        for slice in slices(period, stored.accesses.div_ceil(limits.slice_rows.max(1))) {
            let sight = sight(&read, slice, zone);
            let rows = desk.lay(sight.0, sight.1).await?;
            let explained = explain::lay(&explanations, &desk, sight).await;
            latest(&rows, &mut read_to)?;
            waiting.see(&rows, slice)?;
            let before = hits.len();
            for (n, state) in
                states.iter_mut().enumerate().filter(|(_, s)| s.run.state == RuleState::Evaluated)
            {
                let clock = Instant::now();
                if let (Some(_), Err(why)) = (&state.rule.leans_on, &explained) {
                    state.fail(why.clone());
                    continue;
                }
                match judge(state, n, &desk, &rows, slice, zone, context, limits, &mut waiting).await {
                    Ok(found) => hits.extend(found),
                    Err(why) => state.fail(why),
                }
                state.run.milliseconds += clock.elapsed().as_millis() as u64;
            }
            hits::name_activities(&mut hits[before..], &rows)?;
            if explained.is_ok() && !explanations.is_empty() {
                let graded = in_time(limits.rule_time, explain::grade(&mut hits[before..], &desk)).await;
                // What a score says beside is not worth a run.
                if let Err(why) = graded {
                    tracing::warn!("reasons do not count in the scores of a part of the period: {why}");
                }
            }
            // What an explanation with a fault would have explained is not known of any day.
            counting = counting.filter(|_| explained.is_ok());
            if let Some(counted) = &mut counting
                && let Err(why) = in_time(limits.rule_time, counted.add(&desk, slice)).await
            {
                tracing::warn!("how much is explained is not counted: {why}");
                counting = None;
            }
        }
        shares = counting.map(|counting| counting.done(&desk)).unwrap_or_default();
        for (source, at) in later(source, period.1, &rules).await? {
            let entry = read_to.entry(source).or_insert(at);
            *entry = (*entry).max(at);
        }
        hits.retain(|hit| states[hit.rule].ripe(hit, &read_to, window));
    } else {
        for state in states.iter_mut().filter(|s| s.run.state == RuleState::Evaluated) {
            state.run.state = RuleState::NotEvaluated;
            state.run.why = Some("no accesses are stored for the period".into());
        }
    }
    // A rule that failed half-way gives nothing: half a judgement would look like a whole one.
    hits.retain(|hit| states[hit.rule].run.state == RuleState::Evaluated);
    let findings = group::findings(&rules, hits, &desk, zone, window, started_at).await?;
    let mut settled = Vec::new();
    for (rule, finding_id) in waiting.settled(|rule| states[rule].run.state == RuleState::Evaluated) {
        states[rule].run.settled += 1;
        settled.push(finding_id);
    }
    for finding in &findings {
        if let Some(state) = states.iter_mut().find(|s| s.run.rule_id == finding.rule_id) {
            state.run.findings += 1;
        }
    }
    let mut runs: Vec<RuleRun> = states.into_iter().map(State::done).collect();
    runs.extend(pack.problems().iter().map(RuleRun::unread));
    let record = RunRecord {
        run_id: uuid::Uuid::now_v7().to_string(),
        started_at,
        finished_at: Utc::now().timestamp_micros(),
        from: window.from,
        to: window.to,
        lake_version: 0,
        context_load: context.load.clone(),
        accesses: stored.accesses,
        rules: runs,
        explained: shares,
    };
    Ok((record, findings, settled))
}

/// One rule on its way through a run.
struct State<'a> {
    rule: &'a Rule,
    run: RuleRun,
    coverage: Option<Coverage>,
    missing: HashMap<String, (i64, i64, u64)>,
    unjudged: BTreeMap<(Option<String>, String), (i64, i64, u64)>,
}

impl<'a> State<'a> {
    fn of(rule: &'a Rule, desk: &Desk) -> State<'a> {
        let has = |table: &String| desk.rows(table).unwrap_or(0) > 0;
        let mut run = RuleRun {
            rule_id: rule.id.clone(),
            version: rule.version,
            state: RuleState::Evaluated,
            why: None,
            rows: 0,
            findings: 0,
            waiting: 0,
            settled: 0,
            not_evaluated: Vec::new(),
            parameters: rule.params.iter().map(|(name, p)| (name.clone(), p.value.to_string())).collect(),
            milliseconds: 0,
        };
        let empty: Vec<&str> = rule.needs.iter().filter(|t| !has(t)).map(String::as_str).collect();
        let without: Vec<&str> = rule.needs_one_of.iter().filter(|t| !has(t)).map(String::as_str).collect();
        if let Some(why) = &rule.held_back {
            run.state = RuleState::NotEvaluated;
            run.why = Some(why.clone());
        } else if !empty.is_empty() {
            run.state = RuleState::NotEvaluated;
            run.why = Some(format!("the context table {} is empty or not loaded", empty.join(", ")));
        } else if !without.is_empty() && without.len() == rule.needs_one_of.len() {
            run.state = RuleState::NotEvaluated;
            run.why = Some(format!("none of the context tables {} has rows", without.join(", ")));
        } else if !without.is_empty() {
            run.why = Some(format!("judged without {}, which is empty or not loaded", without.join(", ")));
        }
        State { rule, run, coverage: None, missing: HashMap::new(), unjudged: BTreeMap::new() }
    }

    /// Once for the whole period: a context table can be larger than the accesses of a slice.
    async fn read_coverage(
        &mut self,
        desk: &Desk,
        period: (i64, i64),
        zone: Tz,
    ) -> Result<(), DataFusionError> {
        if let Some(table) = &self.rule.covered_by {
            let window = self.rule.window;
            self.coverage = Some(Coverage::read(desk, table, window, period.0, period.1, zone).await?);
        }
        Ok(())
    }

    fn fail(&mut self, why: String) {
        self.run.state = RuleState::Failed;
        self.run.why = Some(why);
        self.run.rows = 0;
    }

    /// An absence is judged only when its source has been read past the time within which it could have ended.
    fn ripe(&mut self, hit: &Hit, read_to: &HashMap<String, i64>, window: Window) -> bool {
        let (Kind::Absence, Some(wait)) = (self.rule.kind, self.rule.settles()) else { return true };
        let ripe = read_to.get(&hit.source).is_some_and(|read| *read >= hit.at.saturating_add(wait.micros()));
        if !ripe && window.holds(hit.at) {
            self.run.waiting += 1;
        }
        ripe
    }

    fn unjudged(&mut self, unit: Option<&str>, at: i64, why: &str) {
        let key = (unit.map(str::to_owned), why.to_owned());
        let entry = self.unjudged.entry(key).or_insert((at, at, 0));
        *entry = (entry.0.min(at), entry.1.max(at), entry.2 + 1);
    }

    fn done(self) -> RuleRun {
        let mut run = self.run;
        let table = self.rule.covered_by.as_deref().unwrap_or_default();
        let why = format!("no rows of {table} for the unit in the calendar window");
        let missing: BTreeMap<_, _> = self.missing.into_iter().collect();
        let missing = missing.into_iter().map(|(unit, counts)| ((Some(unit), why.clone()), counts));
        for ((care_unit_id, why), (from, to, accesses)) in missing.chain(self.unjudged) {
            run.not_evaluated.push(NotEvaluated { care_unit_id, from, to, accesses, why });
        }
        run
    }
}

impl Window {
    /// Whether the instant is inside.
    pub fn holds(self, at: i64) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

/// Runs one rule over one slice; what comes back can be judged.
#[allow(clippy::too_many_arguments, reason = "one step of a run, called in one place")]
async fn judge(
    state: &mut State<'_>,
    number: usize,
    desk: &Desk,
    rows: &[RecordBatch],
    slice: (i64, i64),
    zone: Tz,
    context: &ContextState,
    limits: Limits,
    waiting: &mut Waiting<'_>,
) -> Result<Vec<Hit>, String> {
    let rule = state.rule;
    let rendered = sql::render(&rule.sql, &rule.params, slice).map_err(|f| f.what)?;
    let left = limits.rule_rows.saturating_sub(state.run.rows as usize);
    let answer = async {
        let frame = desk.ctx.sql(&rendered.sql).await?;
        frame.limit(0, Some(left + 1))?.collect().await
    };
    let batches = in_time(limits.rule_time, answer).await?;
    if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > left {
        return Err(format!(
            "stopped at {} rows, its limit; its parameters let too much through",
            limits.rule_rows
        ));
    }
    let mut found = hits::read(rule, number, &batches, zone).map_err(|e| plain(&e))?;
    found.retain(|hit| (slice.0..slice.1).contains(&hit.at));
    found.iter().for_each(|hit| waiting.name(hit));
    let too_old = rule.max_age_days.map(|days| i64::from(days) * 86_400_000_000);
    let there = rule.needs_one_of.iter().filter(|table| desk.rows(table).unwrap_or(0) > 0);
    let needed = rule.needs.iter().chain(there);
    let oldest = needed.filter_map(|t| context.loaded_at.get(t).map(|at| (*at, t))).min();
    if let (Some(age), Some((loaded, table))) = (too_old, oldest) {
        let why =
            format!("the context table {table} was loaded more than {} days before", age / 86_400_000_000);
        found.retain(|hit| {
            let window = CalendarWindow::of(rule.window, hit.at, zone);
            let fresh = window.from <= loaded.saturating_add(age);
            if !fresh {
                state.unjudged(hit.unit.as_deref(), hit.at, &why);
            }
            fresh
        });
    }
    if let (Some(table), Some(coverage)) = (&rule.covered_by, state.coverage.take()) {
        coverage.missing(desk, rows, slice, &mut state.missing).map_err(|e| plain(&e))?;
        let why = format!("the log names no unit, and no assignment of the person has rows of {table}");
        let homes = if found.iter().any(|h| h.unit.is_none()) {
            homes(desk).await.map_err(|e| plain(&e))?
        } else {
            HashMap::new()
        };
        found.retain(|hit| match &hit.unit {
            Some(unit) => coverage.covers(desk, unit, hit.at),
            None => {
                let covered = homes
                    .get(&hit.user)
                    .is_some_and(|units| units.iter().any(|u| coverage.covers(desk, u, hit.at)));
                if !covered {
                    state.unjudged(None, hit.at, &why);
                }
                covered
            }
        });
        state.coverage = Some(coverage);
    }
    state.run.rows += found.len() as u64;
    Ok(found)
}

/// The units that each person is assigned to, at any time.
async fn homes(desk: &Desk) -> Result<HashMap<String, Vec<String>>, DataFusionError> {
    let mut homes: HashMap<String, Vec<String>> = HashMap::new();
    let query = "select distinct user_id, care_unit_id from assigned where user_id is not null and care_unit_id is not null";
    for row in crate::desk::texts(&desk.ctx, query, 2).await? {
        if let [Some(user), Some(unit)] = row.as_slice() {
            homes.entry(user.clone()).or_default().push(unit.clone());
        }
    }
    Ok(homes)
}

/// What comes of it, or why nothing does: its error, or that it took longer than this.
pub(crate) async fn in_time<T>(
    limit: Time,
    work: impl Future<Output = Result<T, DataFusionError>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome.map_err(|error| plain(&error)),
        Err(_) => Err(format!("stopped after {} seconds, its time limit", limit.as_secs())),
    }
}

/// DataFusion's message without its back trace.
pub(crate) fn plain(error: &DataFusionError) -> String {
    error.strip_backtrace().lines().next().unwrap_or_default().to_owned()
}

/// What the lake holds for a period.
pub(crate) struct Stored {
    first: Option<i64>,
    last: Option<i64>,
    pub accesses: u64,
}

impl Stored {
    pub async fn read(source: &SessionContext, window: Window) -> Result<Stored, DataFusionError> {
        let mut query =
            "select min(occurred_at), max(occurred_at), count(*) from access_events where source <> 'insyn'"
                .to_owned();
        if let Some(from) = window.from {
            query += &format!(" and occurred_at >= {}", sql::timestamp(from));
        }
        if let Some(to) = window.to {
            query += &format!(" and occurred_at < {}", sql::timestamp(to));
        }
        let mut stored = Stored { first: None, last: None, accesses: 0 };
        for batch in source.sql(&query).await?.collect().await? {
            let at = |n: usize| {
                let column = batch.column(n).as_primitive::<TimestampMicrosecondType>();
                (batch.num_rows() > 0 && column.is_valid(0)).then(|| column.value(0))
            };
            (stored.first, stored.last) = (at(0), at(1));
            let count = batch.column(2).as_primitive::<arrow::datatypes::Int64Type>();
            stored.accesses = if batch.num_rows() > 0 { count.value(0).max(0) as u64 } else { 0 };
        }
        Ok(stored)
    }

    /// From the first access to after the last.
    pub fn touched(&self) -> Option<(i64, i64)> {
        Some((self.first?, self.last? + 1))
    }

    /// The period to judge: every calendar window that the accesses of the asked period touch, whole.
    fn period(&self, rules: &[&Rule], window: Window, zone: Tz) -> Option<(i64, i64)> {
        let (first, last) = (self.first?, self.last?);
        debug_assert!(window.holds(first) && window.holds(last));
        let sizes: BTreeSet<WindowSize> = rules.iter().map(|r| r.window).collect();
        let starts = sizes.iter().map(|size| CalendarWindow::of(*size, first, zone).from);
        let ends = sizes.iter().map(|size| CalendarWindow::of(*size, last, zone).to);
        Some((starts.min()?, ends.max()?))
    }
}

/// Cuts a period into `pieces` slices of one length, none shorter than a minute. Findings are made of all of them, so
/// that a cut may fall anywhere.
pub(crate) fn slices(period: (i64, i64), pieces: u64) -> Vec<(i64, i64)> {
    let pieces = i64::try_from(pieces.max(1)).unwrap_or(i64::MAX);
    let step = ((period.1 - period.0).div_euclid(pieces) + 1).max(60_000_000);
    let mut cuts = Vec::new();
    let mut from = period.0;
    while from < period.1 {
        let to = from.saturating_add(step).min(period.1);
        cuts.push((from, to));
        from = to;
    }
    cuts
}

/// What the rules must see to judge a slice: as far around it as they look, and whole windows where one counts.
pub(crate) fn sight(rules: &[&Rule], slice: (i64, i64), zone: Tz) -> (i64, i64) {
    let mut sight = slice;
    for rule in rules {
        let around = rule.looks_around.map_or(0, |around| around.micros());
        sight = (sight.0.min(slice.0 - around), sight.1.max(slice.1 + around));
        if !matches!(rule.kind, Kind::Match | Kind::Absence) {
            let first = CalendarWindow::of(rule.window, slice.0, zone).from;
            let last = CalendarWindow::of(rule.window, slice.1 - 1, zone).to;
            sight = (sight.0.min(first), sight.1.max(last));
        }
    }
    sight
}

/// How far each source has been read within these rows.
fn latest(rows: &[RecordBatch], read_to: &mut HashMap<String, i64>) -> Result<(), DataFusionError> {
    for batch in rows {
        let schema = batch.schema();
        let times =
            batch.column(schema.index_of("occurred_at")?).as_primitive::<TimestampMicrosecondType>().clone();
        let sources = crate::desk::text_array(batch, schema.index_of("source")?)?;
        for row in 0..batch.num_rows() {
            let at = times.value(row);
            match read_to.get_mut(sources.value(row)) {
                Some(last) => *last = (*last).max(at),
                None => {
                    read_to.insert(sources.value(row).to_owned(), at);
                }
            }
        }
    }
    Ok(())
}

/// How far each source has been read past the period, where some rule waits for that.
async fn later(
    source: &SessionContext,
    from: i64,
    rules: &[&Rule],
) -> Result<Vec<(String, i64)>, DataFusionError> {
    if !rules.iter().any(|r| r.kind == Kind::Absence) {
        return Ok(Vec::new());
    }
    let query = format!(
        "select source, max(occurred_at) from access_events where occurred_at >= {} group by source",
        sql::timestamp(from)
    );
    let mut found = Vec::new();
    for batch in source.sql(&query).await?.collect().await? {
        let sources = crate::desk::text_array(&batch, 0)?;
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        found.extend((0..batch.num_rows()).map(|row| (sources.value(row).to_owned(), times.value(row))));
    }
    Ok(found)
}
