//! Trials: what another setting of a rule would have found, beside today's. Counts only, one trial at a time, in the
//! background; what came of it is kept in memory for a day.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use insyn_rules::{Backtest, Finding, Level, Pack, ParamValue, Rule, Status, Window};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    app::{App, now},
    guard::Caller,
    handles,
    look::{self, Seen},
    problem::Problem,
    rest,
};

/// A trial is stopped after so long.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Trials that run or wait at once.
const WAITING: usize = 4;
/// Trials that are kept, and for how long.
const KEPT: usize = 100;
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// A dry run waits so long for its turn.
const TURN: Duration = Duration::from_secs(60);

/// All trials of the process.
pub(crate) struct Trials {
    kept: Mutex<Vec<Arc<Trial>>>,
    /// Whoever holds it judges.
    turn: Arc<Semaphore>,
}

impl Default for Trials {
    fn default() -> Trials {
        Trials { kept: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

/// One trial.
pub(crate) struct Trial {
    pub(crate) id: String,
    /// The rule as it is tried.
    pub(crate) rule: Rule,
    pub(crate) window: Window,
    /// Who asked: their name.
    pub(crate) by: String,
    /// Whose findings are counted; none: everybody's. Those bound to others do not see it.
    controllers: Vec<String>,
    /// µs UTC.
    pub(crate) asked_at: i64,
    asked: Instant,
    state: Mutex<State>,
}

/// How far a trial is.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Waiting,
    Running,
    Done(Arc<Backtest>),
    /// Why.
    Failed(String),
}

/// What differs from today's setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change<'a> {
    pub(crate) name: &'a str,
    pub(crate) today: Value<'a>,
    pub(crate) tried: Value<'a>,
}

/// How something is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Level(Level),
    Status(Status),
    Param(&'a ParamValue),
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Level(level) => level.fmt(f),
            Value::Status(status) => status.fmt(f),
            Value::Param(value) => value.fmt(f),
        }
    }
}

impl State {
    /// The word that programs know it by.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Done(_) => "done",
            State::Failed(_) => "failed",
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, State::Done(_) | State::Failed(_))
    }
}

impl Trial {
    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// What is tried.
    pub(crate) fn changes<'a>(&'a self, today: &'a Rule) -> Vec<Change<'a>> {
        let tried = &self.rule;
        let params = tried.params.iter().filter_map(|(name, param)| {
            let (today, tried) = (&today.params.get(name)?.value, &param.value);
            Some(Change { name, today: Value::Param(today), tried: Value::Param(tried) })
        });
        let level =
            Change { name: "level", today: Value::Level(today.level), tried: Value::Level(tried.level) };
        let status =
            Change { name: "status", today: Value::Status(today.status), tried: Value::Status(tried.status) };
        params.chain([level, status]).filter(|change| change.today != change.tried).collect()
    }

    fn is_for(&self, caller: &Caller) -> bool {
        let own = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<String>>();
        own(&self.controllers) == own(&caller.principal.controllers)
    }
}

impl Trials {
    /// A trial that the caller may see.
    pub(crate) fn find(&self, caller: &Caller, id: &str) -> Option<Arc<Trial>> {
        self.kept().iter().find(|trial| trial.id == id && trial.is_for(caller)).cloned()
    }

    /// Those of a rule that the caller may see, the latest first.
    pub(crate) fn of_rule(&self, caller: &Caller, rule: &str) -> Vec<Arc<Trial>> {
        let kept = self.kept();
        let of_rule = kept.iter().filter(|trial| trial.rule.id == rule && trial.is_for(caller));
        of_rule.rev().cloned().collect()
    }

    /// Waits for the turn to judge something that is not kept.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match tokio::time::timeout(TURN, Arc::clone(&self.turn).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "trial_busy",
                "another trial is being judged: try again later",
            )),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Arc<Trial>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|trial| trial.asked.elapsed() < KEPT_FOR || !trial.state().is_over());
        kept
    }

    fn keep(&self, trial: &Arc<Trial>) -> Result<(), Problem> {
        let mut kept = self.kept();
        if kept.iter().filter(|trial| !trial.state().is_over()).count() >= WAITING {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_trials",
                format!("found {WAITING} trials that run or wait, expected fewer: try again later"),
            ));
        }
        if kept.len() >= KEPT
            && let Some(oldest) = kept.iter().position(|trial| trial.state().is_over())
        {
            kept.remove(oldest);
        }
        kept.push(Arc::clone(trial));
        Ok(())
    }
}

/// The pack with a rule set otherwise; which setting cannot be, and why.
pub(crate) fn set(app: &App, rule: &str, settings: &[(String, String)]) -> Result<Pack, (String, String)> {
    let mut tried = (*app.pack).clone();
    for (name, value) in settings {
        tried.tune(rule, name, value.trim()).map_err(|what| (name.clone(), what))?;
    }
    Ok(tried)
}

/// Starts a trial, and writes down that it was asked for.
pub(crate) async fn start(
    app: &App,
    caller: &Caller,
    rule: &str,
    tried: Pack,
    window: Window,
) -> Result<Arc<Trial>, Problem> {
    let (Some(today), Some(rule)) = (app.pack.rule(rule), tried.rule(rule).cloned()) else {
        return Err(Problem::not_found("rule"));
    };
    let trial = Arc::new(Trial {
        id: handles::random(),
        rule,
        window,
        by: caller.principal.name.clone(),
        controllers: caller.principal.controllers.clone(),
        asked_at: now(),
        asked: Instant::now(),
        state: Mutex::new(State::Waiting),
    });
    let changes: Vec<String> =
        trial.changes(today).iter().map(|change| format!(", {} = {}", change.name, change.tried)).collect();
    let query = Some(format!("rule {}{}", trial.rule.id, changes.concat()));
    app.trials().keep(&trial)?;
    if let Err(problem) = look::look(app, caller, Seen { activity: "trial", query, ..Seen::default() }).await
    {
        trial.set(State::Failed("it could not be written down that it was asked for".into()));
        return Err(problem);
    }
    tokio::spawn(judge(app.clone(), Arc::clone(&trial), tried));
    Ok(trial)
}

/// Judges when its turn has come. Whatever happens, the trial comes to an end.
async fn judge(app: App, trial: Arc<Trial>, tried: Pack) {
    let Ok(_turn) = Arc::clone(&app.trials().turn).acquire_owned().await else { return };
    trial.set(State::Running);
    let work = tokio::spawn(compared(app.clone(), Arc::clone(&trial), tried));
    let stop = work.abort_handle();
    trial.set(match tokio::time::timeout(LONGEST, work).await {
        Ok(Ok(Ok(found))) => State::Done(Arc::new(found)),
        Ok(Ok(Err(problem))) => State::Failed(problem.detail),
        Ok(Err(fault)) => State::Failed(Problem::internal("the trial", &fault).detail),
        Err(_) => {
            stop.abort();
            State::Failed(format!(
                "it was stopped after {} minutes: try a shorter period",
                LONGEST.as_secs() / 60
            ))
        }
    });
}

async fn compared(app: App, trial: Arc<Trial>, tried: Pack) -> Result<Backtest, Problem> {
    let session = rest::session(&app).await?;
    let which = BTreeSet::from([trial.rule.id.clone()]);
    let controllers = &trial.controllers;
    let mine = |finding: &Finding| {
        controllers.is_empty() || finding.controller_id.as_ref().is_some_and(|id| controllers.contains(id))
    };
    let packs = (app.pack.as_ref(), &tried);
    let found = insyn_rules::backtest(packs, &which, &session, &app.organisation, trial.window, mine).await;
    let found = found.map_err(|fault| Problem::internal("the trial", &fault))?;
    found.into_iter().next().ok_or_else(|| Problem::not_found("rule"))
}
