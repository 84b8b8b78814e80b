//! What can go wrong, each with a `code()` that stays the same for programs, and a sentence for people.
//!
//! No error carries a personal number, a password, a code or a comment.

use std::path::PathBuf;

/// Somebody may not do what they asked for, or not like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("none of your roles allows this")]
    ForbiddenRole,
    #[error("this finding is about your own accesses; somebody else has to judge it")]
    OwnAccess,
    #[error("this finding concerns a unit that is not among yours")]
    OtherUnit,
    #[error(
        "this finding is about somebody who leads your unit; a coordinator has to give it to a reviewer by name"
    )]
    OwnManager,
    #[error("this finding concerns a controller that is not among yours")]
    OtherController,
    #[error("this finding is already decided")]
    AlreadyDecided,
    #[error("this finding is not decided yet, and only a decided one can be closed")]
    NotDecided,
    #[error("this finding is closed")]
    Closed,
    #[error("a comment is needed: say in a few words what the decision rests on")]
    CommentMissing,
    #[error("the comment is too long: found {found} characters, expected at most {most}")]
    CommentTooLong { found: usize, most: usize },
    #[error(
        "found an unknown outcome, expected one of authorised, authorised_wrong_routine, mistaken_opening, cannot_tell, \
         suspected, confirmed"
    )]
    UnknownOutcome,
    #[error(
        "`confirmed` is not decided here: it takes two people, and a case of its own; record `suspected`, and go on with \
         the case by your organisation's routine"
    )]
    ConfirmedNeedsCase,
    #[error("there is no such finding, or it is not yours to see")]
    UnknownFinding,
    #[error("only a decision that somebody had reason to look (authorised) can cover later findings")]
    NotAuthorised,
    #[error(
        "later findings of this kind are never covered: own record, household, kin, protected identity, watch list, and \
         what names no record or unit"
    )]
    NeverCovered,
    #[error("a decision covers later findings for 1 to {most} months, found {found}")]
    BadMonths { found: u32, most: u32 },
    #[error(
        "this decision covers later findings already, or did; another one like it waits for a second person"
    )]
    AlreadyCovers,
    #[error("somebody else than the one who made it has to review it")]
    SamePerson,
    #[error("it has ended")]
    SuppressionEnded,
    #[error("there is no such suppression, or it is not yours to see")]
    UnknownSuppression,
    #[error("there is no such run")]
    UnknownRun,
    #[error("there is no such user, or the user is disabled")]
    UnknownUser,
    #[error("the person to assign to cannot judge this finding: {0}")]
    CannotAssign(String),
    #[error("the decision's {what}: {problem}")]
    BadDecision { what: &'static str, problem: String },
    #[error("there is no such decision in force")]
    UnknownDecision,
    #[error("a hold names at least one subject, user or case, and none that is empty")]
    BadHold,
    #[error("there is no such hold in force")]
    UnknownHold,
    #[error("the cursor was not made by this list")]
    BadCursor,
    #[error("{what}: {problem}")]
    BadFilter { what: &'static str, problem: String },
}

impl Refusal {
    /// A name for programs; never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::ForbiddenRole => "forbidden_role",
            Refusal::OwnAccess => "own_access",
            Refusal::OtherUnit => "other_unit",
            Refusal::OwnManager => "own_manager",
            Refusal::OtherController => "other_controller",
            Refusal::AlreadyDecided => "already_decided",
            Refusal::NotDecided => "not_decided",
            Refusal::Closed => "finding_closed",
            Refusal::CommentMissing => "comment_missing",
            Refusal::CommentTooLong { .. } => "comment_too_long",
            Refusal::UnknownOutcome => "unknown_outcome",
            Refusal::ConfirmedNeedsCase => "confirmed_needs_case",
            Refusal::UnknownFinding => "unknown_finding",
            Refusal::NotAuthorised => "not_authorised",
            Refusal::NeverCovered => "never_covered",
            Refusal::BadMonths { .. } => "bad_months",
            Refusal::AlreadyCovers => "already_covers",
            Refusal::SamePerson => "same_person",
            Refusal::SuppressionEnded => "suppression_ended",
            Refusal::UnknownSuppression => "unknown_suppression",
            Refusal::UnknownRun => "unknown_run",
            Refusal::UnknownUser => "unknown_user",
            Refusal::CannotAssign(_) => "cannot_assign",
            Refusal::BadDecision { .. } => "bad_decision",
            Refusal::UnknownDecision => "unknown_decision",
            Refusal::BadHold => "bad_hold",
            Refusal::UnknownHold => "unknown_hold",
            Refusal::BadCursor => "bad_cursor",
            Refusal::BadFilter { .. } => "bad_filter",
        }
    }
}

/// Anything that the review room can fail with.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error(transparent)]
    Refused(#[from] Refusal),

    #[error("the sign-in did not succeed: check login, password and code")]
    SignInRefused,
    #[error("too many attempts: try again after {seconds} seconds")]
    TooManyAttempts { seconds: u64 },
    #[error("not signed in, or signed out after a time without use")]
    NoSession,
    #[error("the token is unknown, expired or revoked")]
    BadToken,
    #[error("the one-time code is wrong or already used")]
    BadCode,
    #[error("there is no enrolment of one-time codes to confirm")]
    NoEnrolment,
    #[error("the password is too weak: {0}")]
    WeakPassword(&'static str),
    #[error("{what}: {problem}")]
    BadUser { what: &'static str, problem: String },
    #[error("the login is taken")]
    LoginTaken,
    #[error("a token with this name exists")]
    TokenNameTaken,
    #[error("setting {key}: somebody else changed it meanwhile; found version {found}, expected {expected}")]
    SettingChanged { key: String, found: i64, expected: i64 },

    #[error("state.url: found {found:?}, expected {expected}")]
    Url { found: String, expected: &'static str },
    #[error("the workflow database {} cannot be opened: {what}", path.display())]
    Open { path: PathBuf, what: String },
    #[error("the workflow database {} is newer than this program or damaged: {what}", path.display())]
    Schema { path: PathBuf, what: String },
    #[error("the disk is full: the workflow database could not be written ({doing})")]
    DiskFull { doing: &'static str },
    #[error("the workflow database may only be read: {doing} failed")]
    ReadOnly { doing: &'static str },
    #[error("the workflow database is busy with another process: {doing} gave up waiting")]
    Busy { doing: &'static str },
    #[error("the workflow database failed: {doing}: {what}")]
    Database { doing: &'static str, what: String },
    #[error("the workflow database holds something unreadable: {table}.{column}: {what}")]
    Stored { table: &'static str, column: &'static str, what: String },
}

impl ReviewError {
    /// A name for programs; never changes.
    pub fn code(&self) -> &'static str {
        match self {
            ReviewError::Refused(refusal) => refusal.code(),
            ReviewError::SignInRefused => "sign_in_refused",
            ReviewError::TooManyAttempts { .. } => "too_many_attempts",
            ReviewError::NoSession => "no_session",
            ReviewError::BadToken => "bad_token",
            ReviewError::BadCode => "bad_code",
            ReviewError::NoEnrolment => "no_enrolment",
            ReviewError::WeakPassword(_) => "weak_password",
            ReviewError::BadUser { .. } => "bad_user",
            ReviewError::LoginTaken => "login_taken",
            ReviewError::TokenNameTaken => "token_name_taken",
            ReviewError::SettingChanged { .. } => "setting_changed",
            ReviewError::Url { .. } => "state_url",
            ReviewError::Open { .. } => "state_open",
            ReviewError::Schema { .. } => "state_schema",
            ReviewError::DiskFull { .. } => "disk_full",
            ReviewError::ReadOnly { .. } => "state_read_only",
            ReviewError::Busy { .. } => "state_busy",
            ReviewError::Database { .. } => "state_failed",
            ReviewError::Stored { .. } => "state_unreadable",
        }
    }

    /// True when the one who asked is at fault, and not the installation.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            ReviewError::Url { .. }
                | ReviewError::Open { .. }
                | ReviewError::Schema { .. }
                | ReviewError::DiskFull { .. }
                | ReviewError::ReadOnly { .. }
                | ReviewError::Busy { .. }
                | ReviewError::Database { .. }
                | ReviewError::Stored { .. }
        )
    }
}

/// Turns what the driver says into what a person can act on. `doing` is a phrase such as "recording findings".
pub(crate) fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> ReviewError {
    move |error| match primary_code(&error) {
        Some(SQLITE_FULL) => ReviewError::DiskFull { doing },
        Some(SQLITE_READONLY) => ReviewError::ReadOnly { doing },
        Some(SQLITE_BUSY | SQLITE_LOCKED) => ReviewError::Busy { doing },
        _ => ReviewError::Database { doing, what: error.to_string() },
    }
}

pub(crate) const SQLITE_BUSY: i32 = 5;
pub(crate) const SQLITE_LOCKED: i32 = 6;
pub(crate) const SQLITE_READONLY: i32 = 8;
pub(crate) const SQLITE_FULL: i32 = 13;
pub(crate) const SQLITE_NOTADB: i32 = 26;

/// SQLite's primary result code; the driver gives the extended one, whose low byte it is.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|extended| extended & 0xff)
}

pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|inner| inner.is_unique_violation())
}
