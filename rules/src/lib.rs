//! Rules: which looks need a person's eyes, and why.
//!
//! For: the pack (rule files that a data protection officer can read, each with its own test cases), their lint, and
//! their evaluation over a session of the engine into findings.
//!
//! Promises: a finding has one identity (rule, who, whose record, calendar window in the organisation's zone), so that
//! the same data give the same findings however they are cut into runs; what could not be judged is reported as not
//! evaluated, with the reason, never as zero findings and never as findings; one rule's error never stops the others;
//! no sentence calls a look wrong, which is for people to decide.
//!
//! Must not know: formats of logs, HTTP, how a finding is stored or shown.

mod backtest;
mod beside;
mod calendar;
mod cases;
mod check;
mod counted;
mod coverage;
mod desk;
mod evaluated;
mod evidence;
mod explain;
mod file;
mod finding;
mod group;
mod history;
mod hits;
mod judge;
mod known;
mod laid;
mod lift;
mod measure;
mod opened;
mod pack;
mod plan;
mod record;
mod rest;
mod rule;
mod run;
mod schedule;
mod score;
mod sentence;
mod settle;
mod shadow;
mod share;
mod sight;
mod spans;
mod sql;
mod standing;
mod stored;
pub mod unjudged;
mod usual;
mod views;
mod why;
mod written;

pub use backtest::{Backtest, BacktestLevel, BacktestWeek, as_override, backtest, changed};
pub use cases::{CaseResult, RuleTest, TestReport, test};
pub use check::{Problem, check};
pub use evaluated::{Evaluated, Place, RuleDays, Which};
pub use explain::{Asked, Because, Reasons, Standing, explain};
pub use finding::{Event, Finding, FindingStatus, Outcome, identity};
pub use lift::{Lift, lift};
pub use measure::{Measured, MeasuredExplanation, Share, measure};
pub use pack::{Pack, PackError};
pub use record::{
    FindingStore, Judged, NotEvaluated, Pair, Recorded, RuleMark, RuleRun, RuleState, RunRecord, RunReport,
    Shadowed, Spent, StoreError,
};
pub use rule::{
    Case, Duration, Explains, History, Kind, Level, Param, ParamValue, Rule, Status, Text, WindowSize,
};
pub use run::{ContextState, Limits, RunError, Window, evaluate, run, run_news};
pub use schedule::{Schedule, is_due};
pub use score::{Grade, Of, Part};
pub use share::{Explained, ExplainedDay};
pub use spans::Spans;
pub use why::{WHY_NEEDS, with_why};
