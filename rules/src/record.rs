//! The record of a run: what was judged, what was not and why, and where findings go.

use std::collections::BTreeMap;

use async_trait::async_trait;
use insyn_engine::lake::Mark;
use serde::{Deserialize, Serialize};

use crate::evaluated::Evaluated;
use crate::finding::{Finding, time};
use crate::rule::Level;
use crate::share::Explained;
use crate::spans::Spans;

/// Where findings go. Implemented above.
#[async_trait]
pub trait FindingStore: Send + Sync {
    /// The findings that nobody has judged and whose `settles_at` is later than `now` (µs UTC), under the ids that the
    /// store knows them by. Asked at the start of a run.
    async fn waiting(&self, now: i64) -> Result<Vec<Finding>, StoreError>;

    /// What is stated of these persons and records, of which an access lies in [from, to) (µs UTC): findings of whatever
    /// rule and status but those that are settled, each under the id that runs give it, with its evidence.
    async fn stated(&self, pairs: &[Pair], from: i64, to: i64) -> Result<Vec<Finding>, StoreError>;

    /// How far each rule has judged.
    async fn marks(&self) -> Result<Vec<RuleMark>, StoreError>;

    /// Stores the run, with how far its rules have judged, its findings, and that those of `settled` (ids out of
    /// [`FindingStore::waiting`]) are explained, all or nothing. A finding that is there already joins or changes nothing.
    /// Called once, at the end of a run.
    async fn record(
        &self,
        run: &RunRecord,
        findings: &[Finding],
        settled: &[String],
    ) -> Result<Recorded, StoreError>;
}

/// Who looked, and whose record it was; none where it is about many.
pub type Pair = (String, Option<String>);

/// How far a rule has judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMark {
    /// Which rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: u32,
    /// Version, parameters and the explanations that it leans on: what was judged by another setting is judged again.
    pub setting: String,
    /// How far it has read the lake.
    pub lake: Mark,
    /// The context tables that it was judged by, with a digest of each.
    pub context: BTreeMap<String, String>,
    /// What it has still to judge of what it has read.
    pub left: Spans,
    /// When it judged last, µs UTC.
    pub at: i64,
}

/// What became of a run's findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// Not seen before.
    pub new: u64,
    /// New evidence joined an open finding.
    pub joined: u64,
    /// Already there as they are.
    pub unchanged: u64,
    /// Waited, and are explained by what came late.
    pub settled: u64,
}

/// The store could not take them; nothing was kept.
#[derive(Debug, thiserror::Error)]
#[error("findings could not be stored: {0}")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// A UUID of version 7.
    pub run_id: String,
    /// When it started.
    #[serde(with = "time")]
    pub started_at: i64,
    /// When it ended.
    #[serde(with = "time")]
    pub finished_at: i64,
    /// The period that was asked for.
    #[serde(with = "crate::finding::optional_time")]
    pub from: Option<i64>,
    /// Its end.
    #[serde(with = "crate::finding::optional_time")]
    pub to: Option<i64>,
    /// No period was asked for but what came since the rules judged last: see each rule.
    pub news: bool,
    /// What is to be said of how it was known what came.
    pub notes: Vec<String>,
    /// The version of the lake that was judged.
    pub lake_version: u64,
    /// The context load that it was judged by.
    pub context_load: Option<String>,
    /// Accesses in the calendar windows that the period touches.
    pub accesses: u64,
    /// On what its time went.
    pub spent: Spent,
    /// Each rule, in order of id.
    pub rules: Vec<RuleRun>,
    /// How much is explained of the whole days that were judged; kept by itself, not in the run's own record.
    #[serde(skip)]
    pub explained: Explained,
    /// What could be judged and what not; kept by itself likewise.
    #[serde(skip)]
    pub evaluated: Evaluated,
    /// What rules in the shadow found; kept by itself.
    #[serde(skip)]
    pub shadow: Vec<Shadowed>,
    /// How far the rules have judged by now; kept by itself, too. None of a rule that stays where it was.
    #[serde(skip)]
    pub marks: Vec<RuleMark>,
}

/// What happened to one rule in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleRun {
    /// Which rule.
    pub rule_id: String,
    /// Its version; 0 when its file could not be read.
    pub version: u32,
    /// Whether it was judged.
    pub state: RuleState,
    /// Why not, or what it had to do without.
    pub why: Option<String>,
    /// Accesses that it named.
    pub rows: u64,
    /// Findings that they made.
    pub findings: u64,
    /// Accesses that wait: what would explain them may still come.
    pub waiting: u64,
    /// Findings of earlier runs that rows which came late explain.
    pub settled: u64,
    /// Units that could not be judged.
    pub not_evaluated: Vec<NotEvaluated>,
    /// Its parameters as judged.
    pub parameters: BTreeMap<String, String>,
    /// How long it took.
    pub milliseconds: u64,
    /// The version of the lake that it had read before, in a run of what came since.
    pub since: Option<u64>,
    /// What it judged.
    pub judged: Vec<Judged>,
}

/// On what a run's time went, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Reading accesses and context tables.
    pub laying: u64,
    /// Working out what explains them.
    pub explaining: u64,
    /// The rules' own queries.
    pub judging: u64,
    /// Making findings of what they named: scores, and copies of context rows.
    pub findings: u64,
}

/// A finding of a rule in the shadow: counted and shown to nobody. It says neither who nor whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shadowed {
    /// The id that the finding would have.
    pub finding_id: String,
    /// Which rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: u32,
    /// The Monday of its week, local, as 2026-03-02.
    pub week: String,
    /// From which unit.
    pub care_unit_id: Option<String>,
    /// Who answers for the records.
    pub controller_id: Option<String>,
    /// Its level.
    pub level: Level,
}

/// A time that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// From, with it.
    #[serde(with = "time")]
    pub from: i64,
    /// To, without it.
    #[serde(with = "time")]
    pub to: i64,
}

/// Whether a rule was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// It was, save for what `not_evaluated` lists.
    Evaluated,
    /// Something that it needs was not there.
    NotEvaluated,
    /// It stopped with an error.
    Failed,
}

/// A unit that a rule could not judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotEvaluated {
    /// Which; `None` where the log names no unit.
    pub care_unit_id: Option<String>,
    /// The first such access.
    #[serde(with = "time")]
    pub from: i64,
    /// The last such access.
    #[serde(with = "time")]
    pub to: i64,
    /// How many there are.
    pub accesses: u64,
    /// What was missing.
    pub why: String,
}

/// A run's record, its findings, and what the store made of them (`None` for a dry run).
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// What was judged.
    pub record: RunRecord,
    /// What was found, highest score first.
    pub findings: Vec<Finding>,
    /// What the store said.
    pub recorded: Option<Recorded>,
}

impl RuleRun {
    pub(crate) fn unread(problem: &crate::check::Problem) -> RuleRun {
        RuleRun {
            rule_id: problem.file.clone(),
            version: 0,
            state: RuleState::Failed,
            why: Some(problem.to_string()),
            rows: 0,
            findings: 0,
            waiting: 0,
            settled: 0,
            not_evaluated: Vec::new(),
            parameters: BTreeMap::new(),
            milliseconds: 0,
            since: None,
            judged: Vec::new(),
        }
    }
}
