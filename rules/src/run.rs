//! A run: rules over what they have to judge, into findings and a record of what was and was not judged.
//!
//! By hand a period is judged, or everything. A run of news judges, rule by rule, the local days that commits touched since
//! the rule judged last (see [`crate::plan`]); what earlier runs stated of the rest of a finding's window comes from
//! the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration as Time, Instant};

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::Utc;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use insyn_engine::config::Organisation;
use insyn_engine::error::EngineError;
use insyn_engine::session::Session;

use crate::calendar::CalendarWindow;
use crate::coverage::Seen;
use crate::desk::{self, Desk, ready};
use crate::evaluated::{Evaluated, Tally};
use crate::explain;
use crate::finding::Finding;
use crate::group;
use crate::hits::{self, Hit, Placed};
use crate::judge::{Coverages, State, judge};
use crate::known;
use crate::pack::Pack;
use crate::plan::{self, Plan};
use crate::record::{FindingStore, RuleRun, RuleState, RunRecord, RunReport, Spent, StoreError};
use crate::rule::{Kind, Rule, Status, WindowSize};
use crate::settle::Waiting;
use crate::shadow;
use crate::share::{Counting, Explained};
use crate::sight::Sight;
use crate::spans::Spans;
use crate::sql;
use crate::stored::Stored;
use crate::unjudged;

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
    /// About how many accesses are laid before the rules at once; a longer period is judged slice by slice.
    pub slice_rows: u64,
    /// How many rows a rule may give in one run before it is stopped.
    pub rule_rows: usize,
    /// About how many accesses a run of news judges by each rule, the newest days first; the rest is for the next run.
    pub news_rows: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rule_time: Time::from_secs(300),
            slice_rows: 16_000_000,
            rule_rows: 1_000_000,
            news_rows: 20_000_000,
        }
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
    /// What came since the last run could not be read.
    #[error("what came since the rules ran last could not be read: {0}")]
    News(#[from] EngineError),
    /// The findings could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Evaluates the pack over a period of a session's accesses, and stores the findings when there is a store. Findings of
/// the store that late rows explain are settled. A run over everything is the one that later runs of news go on from.
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
    ready(session, pack).await?;
    let context = context_of(session);
    let waiting = match store {
        Some(store) => store.waiting(Utc::now().timestamp_micros()).await?,
        None => Vec::new(),
    };
    let task = Task {
        pack,
        source: session.datafusion(),
        zone: organisation.timezone,
        context: &context,
        limits: Limits::default(),
        waiting: &waiting,
        window,
        news: None,
    };
    let mut judged = judge_all(&task).await?;
    judged.record.lake_version = session.version();
    let recorded = match store {
        Some(store) => {
            if window == Window::default() {
                judged.record.marks = plan::marks(pack, session, &judged, None).await?;
            }
            Some(store.record(&judged.record, &judged.findings, &judged.settled).await?)
        }
        None => None,
    };
    Ok(RunReport { record: judged.record, findings: judged.findings, recorded })
}

/// Evaluates the pack over what came since it ran last, and stores the findings: how long that takes grows with what is
/// new and not with what is stored. What a rule could not judge, or waits for, it judges in a later run. What happened before
/// `from` (µs UTC) counts as judged.
///
/// # Errors
/// As [`run`], and when what is new cannot be read.
pub async fn run_news(
    pack: &Pack,
    session: &Session,
    organisation: &Organisation,
    from: Option<i64>,
    store: &dyn FindingStore,
    limits: Limits,
) -> Result<RunReport, RunError> {
    ready(session, pack).await?;
    let context = context_of(session);
    let waiting = store.waiting(Utc::now().timestamp_micros()).await?;
    let plan = plan::news(pack, session, store.marks().await?, from, &waiting, limits).await?;
    let task = Task {
        pack,
        source: session.datafusion(),
        zone: organisation.timezone,
        context: &context,
        limits,
        waiting: &waiting,
        window: Window::default(),
        news: Some((&plan, store)),
    };
    let mut judged = judge_all(&task).await?;
    judged.record.lake_version = session.version();
    judged.record.marks = plan::marks(pack, session, &judged, Some(&plan)).await?;
    let recorded = store.record(&judged.record, &judged.findings, &judged.settled).await?;
    Ok(RunReport { record: judged.record, findings: judged.findings, recorded: Some(recorded) })
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
    let task = Task { pack, source, zone, context, limits, waiting: &[], window, news: None };
    let judged = judge_all(&task).await?;
    Ok((judged.record, judged.findings))
}

/// What a run is to do.
struct Task<'a> {
    pack: &'a Pack,
    source: &'a SessionContext,
    zone: Tz,
    context: &'a ContextState,
    limits: Limits,
    waiting: &'a [Finding],
    /// Findings with an access in it are given.
    window: Window,
    /// What each rule judges, and who knows what was stated before; none: the whole windows that the period touches.
    news: Option<(&'a Plan, &'a dyn FindingStore)>,
}

/// What came of it.
pub(crate) struct Judged {
    pub record: RunRecord,
    pub findings: Vec<Finding>,
    /// Which of those that wait are explained.
    pub settled: Vec<String>,
    /// By rule: days on which it waits for what may still come.
    pub waits: BTreeMap<String, Spans>,
}

/// The rules that are evaluated at all.
pub(crate) fn evaluated(pack: &Pack) -> Vec<&Rule> {
    pack.rules().iter().filter(|r| r.status != Status::Deprecated).collect()
}

async fn judge_all(task: &Task<'_>) -> Result<Judged, RunError> {
    let started_at = Utc::now().timestamp_micros();
    let (zone, window) = (task.zone, task.window);
    let rules = evaluated(task.pack);
    let mut explanations: Vec<&Rule> = match rules.iter().any(|rule| rule.leans_on.is_some()) {
        true => task.pack.explanations().collect(),
        false => Vec::new(),
    };
    let all: Vec<&Rule> = rules.iter().chain(&explanations).copied().collect();
    let rows = desk::counts(task.source, &all).await?;
    let has = |table: &String| rows.get(table).is_some_and(|rows| *rows > 0);
    // Without a row of what it needs it has no reason for anything.
    explanations.retain(|rule| rule.needs.iter().all(has));
    let mut states: Vec<State<'_>> = rules.iter().map(|rule| State::of(rule, has, task.context)).collect();
    let (stored, nothing) = what_to_judge(task, &rules, &mut states).await?;
    let mut read: Vec<&Rule> = states.iter().filter(|s| s.is_judged()).map(|s| s.rule).collect();
    let mut bench = Bench {
        shares: Explained::default(),
        tally: Some(Tally::new(zone)),
        hits: Vec::new(),
        spent: Spent::default(),
    };
    let mut waiting = Waiting::of(task.waiting, &rules);
    let mut findings = Vec::new();
    if read.is_empty() {
        for state in states.iter_mut().filter(|s| s.run.state == RuleState::Evaluated) {
            if task.news.is_none() {
                state.run.state = RuleState::NotEvaluated;
            }
            state.run.why = Some(nothing.kept(&[]));
        }
    } else {
        read.extend(&explanations);
        let clock = Instant::now();
        let desk = Desk::over(task.source, &read).await?;
        bench.spent.laying += millis(clock);
        bench.judge(task, &desk, &stored, &explanations, &mut states, &mut waiting).await?;
        let read_to = read_to(task.source, &bench.hits, &states).await?;
        bench.hits.retain(|hit| states[hit.rule].ripe(hit, &read_to, window, zone));
        // A rule that failed half-way gives nothing: half a judgement would look like a whole one.
        bench.hits.retain(|hit| states[hit.rule].run.state == RuleState::Evaluated);
        let before = match task.news {
            Some((_, store)) => known::stated(store, &states, &bench.hits, zone).await?,
            None => Vec::new(),
        };
        let clock = Instant::now();
        findings = group::findings(&rules, bench.hits, before, &desk, zone, window, started_at).await?;
        bench.spent.findings += millis(clock);
    }
    let mut settled = Vec::new();
    for (rule, finding_id) in waiting.settled(|rule| states[rule].run.state == RuleState::Evaluated) {
        states[rule].run.settled += 1;
        settled.push(finding_id);
    }
    let (shadow, findings) = shadow::parted(&rules, findings, zone);
    for id in findings.iter().map(|finding| &finding.rule_id).chain(shadow.iter().map(|one| &one.rule_id)) {
        if let Some(state) = states.iter_mut().find(|s| s.run.rule_id == *id) {
            state.run.findings += 1;
        }
    }
    let evaluated = bench.tally.map_or_else(Evaluated::default, |tally| tally.done(&states, window));
    let waits = states.iter_mut().map(|s| (s.rule.id.clone(), std::mem::take(&mut s.waits).into())).collect();
    let mut runs: Vec<RuleRun> = states.into_iter().map(State::done).collect();
    runs.extend(task.pack.problems().iter().map(RuleRun::unread));
    let record = RunRecord {
        run_id: uuid::Uuid::now_v7().to_string(),
        started_at,
        finished_at: Utc::now().timestamp_micros(),
        from: window.from,
        to: window.to,
        news: task.news.is_some(),
        notes: task.news.map(|(plan, _)| plan.notes.clone()).unwrap_or_default(),
        lake_version: 0,
        context_load: task.context.load.clone(),
        accesses: stored.accesses,
        rules: runs,
        spent: bench.spent,
        explained: bench.shares,
        evaluated,
        shadow,
        marks: Vec::new(),
    };
    Ok(Judged { record, findings, settled, waits })
}

/// Says of each rule what it judges; gives what is stored of that, and what to say where that is nothing.
async fn what_to_judge(
    task: &Task<'_>,
    rules: &[&Rule],
    states: &mut [State<'_>],
) -> Result<(Stored, unjudged::Sentence), RunError> {
    let zone = task.zone;
    let mut all = Spans::default();
    if let Some((plan, _)) = task.news {
        for state in states.iter_mut() {
            state.run.since = plan.since.get(&state.rule.id).copied();
            state.spans = plan.spans.get(&state.rule.id).cloned().unwrap_or_default();
            if state.is_judged() {
                all = all.with(&state.spans);
            }
        }
        for state in states.iter_mut() {
            state.due = match (state.run.state, &state.rule.held_back) {
                (RuleState::NotEvaluated, None) => plan.due(&state.rule.id),
                // Nobody plans for it: it would judge what the others do.
                (RuleState::NotEvaluated, Some(_)) => all.clone(),
                _ => state.spans.clone(),
            };
        }
        return Ok((Stored::of(task.source, &all, zone).await?, unjudged::NOTHING_NEW));
    }
    let mut stored = Stored::read(task.source, task.window).await?;
    if let Some(period) = period(&stored, rules, zone) {
        for state in states.iter_mut() {
            state.spans = Spans::from(vec![period]);
            state.due = state.spans.clone();
        }
        if task.window != Window::default() {
            stored = Stored::of(task.source, &Spans::from(vec![period]), zone).await?;
        }
    }
    Ok((stored, unjudged::NOTHING_STORED))
}

/// The period to judge: every calendar window that the accesses of the asked period touch, whole.
fn period(stored: &Stored, rules: &[&Rule], zone: Tz) -> Option<(i64, i64)> {
    let (first, after) = stored.touched()?;
    let sizes: BTreeSet<WindowSize> = rules.iter().map(|r| r.window).collect();
    let starts = sizes.iter().map(|size| CalendarWindow::of(*size, first, zone).from);
    let ends = sizes.iter().map(|size| CalendarWindow::of(*size, after - 1, zone).to);
    Some((starts.min()?, ends.max()?))
}

/// What rules named, slice by slice.
struct Bench {
    hits: Vec<Hit>,
    shares: Explained,
    /// None once it could not count.
    tally: Option<Tally>,
    spent: Spent,
}

impl Bench {
    async fn judge(
        &mut self,
        task: &Task<'_>,
        desk: &Desk,
        stored: &Stored,
        explanations: &[&Rule],
        states: &mut [State<'_>],
        waiting: &mut Waiting<'_>,
    ) -> Result<(), RunError> {
        let (zone, limits) = (task.zone, task.limits);
        let pieces = pieces(states);
        let Some(reach) = pieces.iter().copied().collect::<Spans>().reach() else { return Ok(()) };
        let mut known = Coverages::new();
        for state in states.iter_mut().filter(|s| s.is_judged()) {
            if let Err(error) = state.read_coverage(desk, &mut known, reach, zone).await {
                state.fail(plain(&error));
            }
        }
        let mut counting = match explanations.is_empty() {
            true => None,
            false => Some(Counting::of(desk, &known, reach, zone).await?),
        };
        for piece in pieces {
            let here: Vec<&Rule> = states.iter().filter(|s| s.judges(piece)).map(|s| s.rule).collect();
            if here.is_empty() {
                continue;
            }
            let leans = here.iter().any(|rule| rule.leans_on.is_some());
            let read: Vec<&Rule> = here.iter().chain(explanations).copied().collect();
            for slice in stored.slices(piece, limits.slice_rows, zone) {
                let clock = Instant::now();
                let sight = Sight::new(&read, slice, zone);
                if desk.lay(&sight).await.is_err() {
                    // A condition with a fault: then all that could be read is there.
                    desk.lay(&sight.without_conditions()).await?;
                }
                self.spent.laying += millis(clock);
                let clock = Instant::now();
                let explained = explain::lay(explanations, desk, sight.whole).await;
                self.spent.explaining += millis(clock);
                waiting.see(desk, slice, |rule| states[rule].judges(piece)).await?;
                let seen = Seen::of(desk, slice).await?;
                let before = self.hits.len();
                for (n, state) in states.iter_mut().enumerate().filter(|(_, s)| s.judges(piece)) {
                    let clock = Instant::now();
                    if let (Some(_), Err(why)) = (&state.rule.leans_on, &explained) {
                        state.fail(why.clone());
                        continue;
                    }
                    match judge(state, n, desk, &seen, slice, zone, limits, waiting).await {
                        Ok(found) => self.hits.extend(found),
                        Err(why) => state.fail(why),
                    }
                    state.run.milliseconds += millis(clock);
                    self.spent.judging += millis(clock);
                }
                let mut placed = Placed::on(desk, &mut self.hits[before..])?;
                hits::name_activities(&mut placed, desk).await?;
                if explained.is_ok() && !explanations.is_empty() {
                    let graded = in_time(limits.rule_time, explain::grade(&mut placed, desk)).await;
                    // What a score says beside is not worth a run.
                    if let Err(why) = graded {
                        tracing::warn!("reasons do not count in the scores of a part of the period: {why}");
                    }
                }
                if let Some(tally) = &mut self.tally
                    && let Err(why) = in_time(limits.rule_time, tally.add(desk, &known, slice)).await
                {
                    tracing::warn!("what could be judged is not told: {why}");
                    self.tally = None;
                }
                // What an explanation with a fault would have explained is not known of any day.
                counting = counting.filter(|_| explained.is_ok());
                if let (Some(counted), Ok(standings)) = (counting.as_mut().filter(|_| leans), &explained)
                    && let Err(why) = in_time(limits.rule_time, counted.add(desk, slice, standings)).await
                {
                    tracing::warn!("how much is explained is not counted: {why}");
                    counting = None;
                }
            }
            if let Some(counted) = counting.as_mut().filter(|_| leans) {
                counted.counted(piece);
            }
            if let Some(tally) = &mut self.tally {
                tally.counted(piece);
            }
        }
        if let Some(tally) = &mut self.tally {
            tally.find_gaps(desk, &known);
        }
        self.shares = counting.map(|counting| counting.done(desk)).unwrap_or_default();
        Ok(())
    }
}

fn millis(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// All that is judged, cut where a rule begins or ends to judge.
fn pieces(states: &[State<'_>]) -> Vec<(i64, i64)> {
    let judged = || states.iter().filter(|state| state.is_judged());
    let all = judged().fold(Spans::default(), |all, state| all.with(&state.spans));
    let edges: BTreeSet<i64> =
        judged().flat_map(|state| state.spans.iter()).flat_map(|(from, to)| [from, to]).collect();
    let cut = |(from, to): (i64, i64)| {
        let edges: Vec<i64> = edges.range(from..=to).copied().collect();
        edges.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()
    };
    all.iter().flat_map(cut).collect()
}

impl Window {
    /// Whether the instant is inside.
    pub fn holds(self, at: i64) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

/// What comes of it, or why nothing does: its error, or that it took longer than this.
pub(crate) async fn in_time<T>(
    limit: Time,
    work: impl Future<Output = Result<T, DataFusionError>>,
) -> Result<T, String> {
    within(limit, async { work.await.map_err(|error| plain(&error)) }).await
}

/// The same of what says itself why nothing came of it.
pub(crate) async fn within<T>(
    limit: Time,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let late = |_| unjudged::LATE.kept(&[&limit.as_secs().to_string()]);
    tokio::time::timeout(limit, work).await.map_err(late)?
}

/// DataFusion's message without its back trace.
pub(crate) fn plain(error: &DataFusionError) -> String {
    error.strip_backtrace().lines().next().unwrap_or_default().to_owned()
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

/// How far each source has been read, where an absence or a silence that was named waits for that.
async fn read_to(
    source: &SessionContext,
    hits: &[Hit],
    states: &[State<'_>],
) -> Result<HashMap<String, i64>, DataFusionError> {
    let waits = |hit: &&Hit| matches!(states[hit.rule].rule.kind, Kind::Absence | Kind::Source);
    let mut found = HashMap::new();
    let Some(from) = hits.iter().filter(waits).map(|hit| hit.at).min() else { return Ok(found) };
    let query = format!(
        "select source, max(occurred_at) from access_events where occurred_at >= {} group by source",
        sql::timestamp(from)
    );
    for batch in source.sql(&query).await?.collect().await? {
        let sources = desk::text_array(&batch, 0)?;
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        found.extend((0..batch.num_rows()).map(|row| (sources.value(row).to_owned(), times.value(row))));
    }
    Ok(found)
}
