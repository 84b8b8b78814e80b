//! The review room: findings' life, decisions, runs, people and their roles, in one workflow database.
//!
//! It answers: what waits to be judged, who may judge it, who judged it and why. It promises that a run's findings are
//! written in one transaction, that writing them again changes nothing, that a decision is taken once, by a reviewer
//! of the unit and never on an access of their own, and that what was decided stays readable: history is only
//! added to, and goes as a whole when the time of its accesses is over. Secrets are kept as hashes (passwords argon2id, session and program tokens SHA-256); only the shared
//! secrets of one-time codes must be kept as they are, so the file is readable by its owner alone.
//!
//! It must not know how a rule is evaluated, how a page looks, what the lake is, or anything of HTTP. The SQL here
//! keeps to what SQLite and PostgreSQL share: text ids, 64-bit integers for times (µs since 1970, UTC), `ON CONFLICT`.

mod attempts;
mod cursor;
mod db;
mod decide;
mod error;
mod evaluated;
mod explained;
mod filter;
mod findings;
mod forget;
mod marks;
mod measured;
mod merge;
mod password;
mod people;
mod permission;
mod principal;
mod record;
mod retention;
mod runs;
mod session;
mod settings;
mod shadow;
mod suppress;
mod table;
mod token;
mod totp;
mod verdicts;

pub use cursor::Page;
pub use db::{Clock, Db, Options};
pub use decide::{HistoryEntry, HistoryKind};
pub use error::{Refusal, ReviewError};
pub use evaluated::{Evaluated, EvaluatedAsk, EvaluatedPlace, PlaceJudged, RuleStretch};
pub use explained::ExplainedMonth;
pub use filter::{Filter, Scope};
pub use findings::{Count, FindingView};
pub use forget::Aged;
pub use measured::{Explaining, ExplanationMeasure, Measurement, RuleMeasure};
pub use password::PasswordCost;
pub use people::{NewUser, User};
pub use permission::{
    Action, Concern, Purpose, hidden_columns, may, may_decide, may_handle, may_read, purpose,
};
pub use principal::{Kind, Principal, Role};
pub use retention::{Covered, Decision, Held, Hold, NewDecision};
pub use runs::RunView;
pub use session::SignedIn;
pub use settings::Setting;
pub use shadow::ShadowWeek;
pub use suppress::{Covers, Suppression, SuppressionStanding};
pub use table::{batch as findings_batch, findings_schema};
pub use token::{NewToken, Token, TokenView};
pub use totp::{Enrolment, TotpSecret};
pub use verdicts::Verdicts;
