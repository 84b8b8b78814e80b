//! One rule on its way through a run: what it judges, slice by slice, and what it could not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;

use crate::calendar::CalendarWindow;
use crate::coverage::{Coverage, Seen};
use crate::desk::Desk;
use crate::hits::{self, Hit};
use crate::record::{Judged, NotEvaluated, RuleRun, RuleState};
use crate::rule::{Kind, Rule, WindowSize};
use crate::run::{ContextState, Limits, Window, in_time, plain, within};
use crate::settle::Waiting;
use crate::spans::Spans;
use crate::sql;
use crate::unjudged;

/// What is known of the units of a table, by the size of windows.
pub(crate) type Coverages = HashMap<(String, WindowSize), Arc<Coverage>>;

/// One rule on its way through a run.
pub(crate) struct State<'a> {
    pub rule: &'a Rule,
    pub run: RuleRun,
    /// What it judges.
    pub spans: Spans,
    /// What it would judge, were nothing missing.
    pub due: Spans,
    /// Calendar windows that begin after this instant are not judged, since a table that it needs would be too old; and why.
    pub stale: Option<(i64, String)>,
    /// Days on which it waits for what may still come.
    pub waits: Vec<(i64, i64)>,
    coverage: Option<Arc<Coverage>>,
    missing: HashMap<String, (i64, i64, u64)>,
    unjudged: BTreeMap<(Option<String>, String), (i64, i64, u64)>,
}

impl<'a> State<'a> {
    /// `has` says whether a context table has rows.
    pub fn of(rule: &'a Rule, has: impl Fn(&String) -> bool, context: &ContextState) -> State<'a> {
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
            since: None,
            judged: Vec::new(),
        };
        let empty: Vec<&str> = rule.needs.iter().filter(|t| !has(t)).map(String::as_str).collect();
        let without: Vec<&str> = rule.needs_one_of.iter().filter(|t| !has(t)).map(String::as_str).collect();
        if let Some(why) = &rule.held_back {
            run.state = RuleState::NotEvaluated;
            run.why = Some(why.clone());
        } else if !empty.is_empty() {
            run.state = RuleState::NotEvaluated;
            run.why = Some(unjudged::EMPTY.kept(&[&empty.join(", ")]));
        } else if !without.is_empty() && without.len() == rule.needs_one_of.len() {
            run.state = RuleState::NotEvaluated;
            run.why = Some(unjudged::NONE_OF.kept(&[&without.join(", ")]));
        } else if !without.is_empty() {
            run.why = Some(unjudged::WITHOUT.kept(&[&without.join(", ")]));
        }
        State {
            rule,
            run,
            spans: Spans::default(),
            due: Spans::default(),
            stale: stale(rule, has, context),
            waits: Vec::new(),
            coverage: None,
            missing: HashMap::new(),
            unjudged: BTreeMap::new(),
        }
    }

    /// Whether it is to be judged, and has not failed yet.
    pub fn is_judged(&self) -> bool {
        self.run.state == RuleState::Evaluated && !self.spans.is_empty()
    }

    /// Whether it judges a piece of time, in which nothing that any rule judges begins or ends.
    pub fn judges(&self, piece: (i64, i64)) -> bool {
        self.is_judged() && self.spans.holds(piece.0)
    }

    /// Once for all that it judges, and for all rules that ask the same: a context table can be larger than the accesses
    /// of a slice.
    pub async fn read_coverage(
        &mut self,
        desk: &Desk,
        known: &mut Coverages,
        reach: (i64, i64),
        zone: Tz,
    ) -> Result<(), DataFusionError> {
        let Some(table) = &self.rule.covered_by else { return Ok(()) };
        let window = self.rule.window;
        let coverage = match known.get(&(table.clone(), window)) {
            Some(coverage) => Arc::clone(coverage),
            None => Arc::new(Coverage::read(desk, table, window, reach.0, reach.1, zone).await?),
        };
        known.insert((table.clone(), window), Arc::clone(&coverage));
        self.coverage = Some(coverage);
        Ok(())
    }

    pub fn fail(&mut self, why: String) {
        self.run.state = RuleState::Failed;
        self.run.why = Some(why);
        self.run.rows = 0;
    }

    /// An absence is judged only when its source has been read past the time within which it could have ended; what a
    /// source does not say, when some other one has been read so far.
    pub fn ripe(&mut self, hit: &Hit, read_to: &HashMap<String, i64>, window: Window, zone: Tz) -> bool {
        let Some(wait) = self.rule.settles() else { return true };
        let read = match self.rule.kind {
            Kind::Absence => read_to.get(&hit.source),
            Kind::Source => read_to.values().max(),
            _ => return true,
        };
        let ripe = read.is_some_and(|read| *read >= hit.at.saturating_add(wait.micros()));
        if !ripe && window.holds(hit.at) {
            self.run.waiting += 1;
            let day = CalendarWindow::of(WindowSize::Day, hit.at, zone);
            if self.waits.last() != Some(&(day.from, day.to)) {
                self.waits.push((day.from, day.to));
            }
        }
        ripe
    }

    fn unjudged(&mut self, unit: Option<&str>, at: i64, why: &str) {
        let key = (unit.map(str::to_owned), why.to_owned());
        let entry = self.unjudged.entry(key).or_insert((at, at, 0));
        *entry = (entry.0.min(at), entry.1.max(at), entry.2 + 1);
    }

    pub fn done(self) -> RuleRun {
        let mut run = self.run;
        if run.state == RuleState::Evaluated {
            run.judged = self.spans.iter().map(|(from, to)| Judged { from, to }).collect();
        }
        let table = self.rule.covered_by.as_deref().unwrap_or_default();
        let why = unjudged::UNCOVERED.kept(&[table]);
        let missing: BTreeMap<_, _> = self.missing.into_iter().collect();
        let missing = missing.into_iter().map(|(unit, counts)| ((Some(unit), why.clone()), counts));
        for ((care_unit_id, why), (from, to, accesses)) in missing.chain(self.unjudged) {
            run.not_evaluated.push(NotEvaluated { care_unit_id, from, to, accesses, why });
        }
        run
    }
}

/// Runs one rule over one slice; what comes back can be judged.
#[allow(clippy::too_many_arguments, reason = "one step of a run, called in one place")]
pub(crate) async fn judge(
    state: &mut State<'_>,
    number: usize,
    desk: &Desk,
    seen: &[Seen],
    slice: (i64, i64),
    zone: Tz,
    limits: Limits,
    waiting: &mut Waiting<'_>,
) -> Result<Vec<Hit>, String> {
    let rule = state.rule;
    within(limits.rule_time, desk.look_back(rule, slice, zone)).await?;
    let rendered = sql::render(&rule.sql, &rule.params, slice).map_err(|f| f.what)?;
    let left = limits.rule_rows.saturating_sub(state.run.rows as usize);
    let answer = async {
        let frame = desk.ctx.sql(&rendered.sql).await?;
        frame.limit(0, Some(left + 1))?.collect().await
    };
    let batches = in_time(limits.rule_time, answer).await?;
    if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > left {
        return Err(unjudged::TOO_MANY.kept(&[&limits.rule_rows.to_string()]));
    }
    let mut found = hits::read(rule, number, &batches, zone).map_err(|e| plain(&e))?;
    found.retain(|hit| (slice.0..slice.1).contains(&hit.at));
    found.iter().for_each(|hit| waiting.name(hit));
    if let Some((until, why)) = state.stale.clone() {
        found.retain(|hit| {
            let fresh = CalendarWindow::of(rule.window, hit.at, zone).from <= until;
            if !fresh {
                state.unjudged(hit.unit.as_deref(), hit.at, &why);
            }
            fresh
        });
    }
    if let (Some(table), Some(coverage)) = (&rule.covered_by, state.coverage.clone()) {
        coverage.missing(desk, seen, &mut state.missing);
        let why = unjudged::HOMELESS.kept(&[table]);
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
    }
    state.run.rows += found.len() as u64;
    Ok(found)
}

/// After when a table that the rule needs is too old, and why.
fn stale(rule: &Rule, has: impl Fn(&String) -> bool, context: &ContextState) -> Option<(i64, String)> {
    let days = rule.max_age_days?;
    let there = rule.needs_one_of.iter().filter(|table| has(table));
    let loaded =
        rule.needs.iter().chain(there).filter_map(|table| Some((context.loaded_at.get(table)?, table)));
    let (loaded_at, table) = loaded.min()?;
    let why = unjudged::STALE.kept(&[table, &days.to_string()]);
    Some((loaded_at.saturating_add(i64::from(days) * 86_400_000_000), why))
}

/// The units that each person is assigned to, at any time.
pub(crate) async fn homes(desk: &Desk) -> Result<HashMap<String, Vec<String>>, DataFusionError> {
    let mut homes: HashMap<String, Vec<String>> = HashMap::new();
    let query = "select distinct user_id, care_unit_id from assigned where user_id is not null and care_unit_id is not null";
    for row in crate::desk::texts(&desk.ctx, query, 2).await? {
        if let [Some(user), Some(unit)] = row.as_slice() {
            homes.entry(user.clone()).or_default().push(unit.clone());
        }
    }
    Ok(homes)
}
