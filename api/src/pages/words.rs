//! The words of the interfaces, as people read them.

use insyn_review::{HistoryKind, Role};
use insyn_rules::{FindingStatus, Level, Outcome, Status, unjudged};

use crate::{
    lang::Lang,
    texts::{Texts, fill},
};

pub(crate) fn role(t: &Texts, role: Role) -> &'static str {
    match role {
        Role::Dso => t.role_dso,
        Role::Coordinator => t.role_coordinator,
        Role::Reviewer => t.role_reviewer,
        Role::Investigator => t.role_investigator,
        Role::Auditor => t.role_auditor,
        Role::Operator => t.role_operator,
        Role::Service => t.role_service,
    }
}

pub(crate) fn level(t: &Texts, level: Level) -> &'static str {
    match level {
        Level::Informational => t.level_informational,
        Level::Low => t.level_low,
        Level::Medium => t.level_medium,
        Level::High => t.level_high,
        Level::Critical => t.level_critical,
    }
}

pub(crate) fn status(t: &Texts, status: FindingStatus) -> &'static str {
    match status {
        FindingStatus::New => t.status_new,
        FindingStatus::Assigned => t.status_assigned,
        FindingStatus::Asked => t.status_asked,
        FindingStatus::Decided => t.status_decided,
        FindingStatus::Closed => t.status_closed,
    }
}

pub(crate) fn outcome(t: &Texts, outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::None => t.outcome_none,
        Outcome::Authorised => t.outcome_authorised,
        Outcome::AuthorisedWrongRoutine => t.outcome_authorised_wrong_routine,
        Outcome::MistakenOpening => t.outcome_mistaken_opening,
        Outcome::CannotTell => t.outcome_cannot_tell,
        Outcome::Suspected => t.outcome_suspected,
        Outcome::Confirmed => t.outcome_confirmed,
    }
}

pub(crate) fn maturity(t: &Texts, status: Status) -> &'static str {
    match status {
        Status::Experimental => t.status_experimental,
        Status::Stable => t.status_stable,
        Status::Shadow => t.status_shadow,
        Status::Deprecated => t.status_deprecated,
    }
}

pub(crate) fn history(t: &Texts, kind: HistoryKind) -> &'static str {
    match kind {
        HistoryKind::Made => t.history_made,
        HistoryKind::Joined => t.history_joined,
        HistoryKind::Assigned => t.history_assigned,
        HistoryKind::Asked => t.history_asked,
        HistoryKind::Decided => t.history_decided,
        HistoryKind::Closed => t.history_closed,
        HistoryKind::Settled => t.history_settled,
        HistoryKind::Covers => t.history_covers,
        HistoryKind::Reviewed => t.history_reviewed,
        HistoryKind::Covered => t.history_covered,
        HistoryKind::Uncovered => t.history_uncovered,
    }
}

/// The state of a source: the key for its colour, and the word.
pub(crate) fn source_state(t: &Texts, state: &str) -> (&'static str, String) {
    match state {
        "ok" => ("ok", t.state_ok.into()),
        "behind" => ("behind", t.state_behind.into()),
        "quiet" => ("quiet", t.state_quiet.into()),
        "error" => ("error", t.state_error.into()),
        "never" => ("never", t.state_never.into()),
        other => ("never", other.to_owned()),
    }
}

/// What has become of an item of quarantine or gaps.
pub(crate) fn item_state(t: &Texts, state: &str) -> &'static str {
    match state {
        "explained" => t.item_explained,
        "mended" => t.item_mended,
        _ => t.item_open,
    }
}

/// Why something was not judged, as a run kept it, in the reader's language.
pub(crate) fn why(lang: Lang, kept: &str) -> String {
    lang.of(&unjudged::in_both(kept)).to_owned()
}

/// The state of a rule in a run: the key for its colour, and the word.
pub(crate) fn run_state(t: &Texts, state: &str, partly: bool) -> (&'static str, String) {
    match state {
        "evaluated" if partly => ("partly", t.run_partly.into()),
        "evaluated" => ("done", t.run_done.into()),
        "not_evaluated" => ("not_evaluated", t.run_not_evaluated.into()),
        "failed" => ("failed", t.run_failed.into()),
        other => ("skipped", other.to_owned()),
    }
}

/// Success is the rule and says nothing.
pub(crate) fn event_outcome(t: &Texts, outcome: &str) -> &'static str {
    match outcome {
        "minor-failure" => t.outcome_minor,
        "serious-failure" | "major-failure" => t.outcome_serious,
        _ => "",
    }
}

/// A length of time in its largest fitting unit.
pub(crate) fn length(t: &Texts, seconds: f64) -> String {
    let (text, number) = match seconds {
        s if s < 90.0 => (t.seconds, s),
        s if s < 5400.0 => (t.minutes, s / 60.0),
        s if s < 172_800.0 => (t.hours, s / 3600.0),
        s => (t.days, s / 86_400.0),
    };
    fill(text, &[("n", &format!("{number:.0}"))])
}

/// `1 access`, `12 accesses`.
pub(crate) fn counted(lang: Lang, one: &str, many: &str, count: u64) -> String {
    if count == 1 { one.to_owned() } else { fill(many, &[("n", &lang.number(count))]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::{EN, SV};

    #[test]
    fn lengths_are_in_the_largest_fitting_unit() {
        for (seconds, sv, en) in [
            (4.0, "4 s", "4 s"),
            (600.0, "10 min", "10 min"),
            (7200.0, "2 tim", "2 h"),
            (260_000.0, "3 dygn", "3 days"),
        ] {
            assert_eq!(length(&SV, seconds), sv);
            assert_eq!(length(&EN, seconds), en);
        }
    }
}
