//! Who may do what: one table, and pure functions over it. Nothing here reads the database.
//!
//! The rules come from the law as much as from habit: a data protection officer neither decides nor sets parameters
//! (GDPR art. 38.6, C-453/21); nobody judges their own access; IT keeps the machine going without reading whom it is
//! about; a program decides nothing. Administration of users has no action: it is done by command, on the host.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    error::Refusal,
    principal::{Kind, Principal, Role},
};

/// Something that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Findings by level and status, as numbers.
    SeeCounts,
    /// The worklist and each finding, within the principal's scope.
    ReadFindings,
    /// Judge a finding.
    Decide,
    /// Ask the user concerned for their account of it.
    Ask,
    /// Give a finding to somebody.
    Assign,
    /// Close a decided finding.
    Close,
    /// Who decided what, when and why, without whose records.
    SeeDecisions,
    /// Any person's or user's accesses.
    Trace,
    /// The accesses around a finding that the principal may read.
    TraceFinding,
    /// Free, read-only SQL.
    Sql,
    /// The rule pack.
    SeeRules,
    /// Run rules and keep what they find.
    RunRules,
    /// Run rules and keep nothing.
    TryRules,
    /// Switch rules on and off, set their parameters.
    SetParameters,
    /// What ran, what was skipped and why.
    SeeRuns,
    /// State of the sources.
    SeeSources,
    /// Age and coverage of the context tables.
    SeeContext,
    /// Metrics and readiness in detail.
    SeeHealth,
    /// Hand in log records.
    SendLogs,
    /// Change one's own password and one-time codes.
    ManageSelf,
}

const PEOPLE_ONLY: &[Action] =
    &[Action::Decide, Action::Ask, Action::Assign, Action::Close, Action::SetParameters, Action::ManageSelf];

/// The table. Columns: dso, coordinator, reviewer, investigator, auditor, operator, service. For `service` an `x` says
/// that a token can allow it.
const TABLE: &[(Action, [bool; 7])] = {
    const X: bool = true;
    const O: bool = false;
    &[
        //                        dso coo rev inv aud ope ser
        (Action::SeeCounts, /*     */ [X, X, X, O, X, O, X]),
        (Action::ReadFindings, /*  */ [X, X, X, O, O, O, X]),
        (Action::Decide, /*        */ [O, O, X, O, O, O, O]),
        (Action::Ask, /*           */ [O, X, X, O, O, O, O]),
        (Action::Assign, /*        */ [O, X, O, O, O, O, O]),
        (Action::Close, /*         */ [O, X, O, O, O, O, O]),
        (Action::SeeDecisions, /*  */ [X, X, O, O, X, O, O]),
        (Action::Trace, /*         */ [X, O, O, X, O, O, X]),
        (Action::TraceFinding, /*  */ [X, X, X, O, O, O, O]),
        (Action::Sql, /*           */ [X, O, O, X, O, O, X]),
        (Action::SeeRules, /*      */ [X, X, X, X, X, X, X]),
        (Action::RunRules, /*      */ [O, X, O, O, O, O, X]),
        (Action::TryRules, /*      */ [X, X, O, O, O, O, O]),
        (Action::SetParameters, /* */ [O, X, O, O, O, O, O]),
        (Action::SeeRuns, /*       */ [X, X, O, O, X, X, X]),
        (Action::SeeSources, /*    */ [X, X, X, X, X, X, X]),
        (Action::SeeContext, /*    */ [X, X, O, O, X, X, X]),
        (Action::SeeHealth, /*     */ [O, O, O, O, O, X, X]),
        (Action::SendLogs, /*      */ [O, O, O, O, O, O, X]),
        (Action::ManageSelf, /*    */ [X, X, X, X, X, X, O]),
    ]
};

/// Columns that a program never sees in free SQL: texts of the logs as they stand, and names of people. Whoever answers for
/// looking is a person.
const NOT_FOR_PROGRAMS: &[&str] =
    &["record", "bytes", "activity_args", "user_name", "subject_name", "name", "address", "postcode"];

/// Columns that the principal does not see in free SQL, by name, in whatever table.
#[must_use]
pub fn hidden_columns(principal: &Principal) -> &'static [&'static str] {
    match principal.kind {
        Kind::Person => &[],
        Kind::Program => NOT_FOR_PROGRAMS,
    }
}

/// Whether the principal may do this at all. For a finding see [`may_read`] and [`may_decide`] as well.
pub fn may(principal: &Principal, action: Action) -> bool {
    if principal.enrolling {
        return action == Action::ManageSelf;
    }
    if principal.kind == Kind::Program && PEOPLE_ONLY.contains(&action) {
        return false;
    }
    // A data protection officer who also held another role would still be one.
    if principal.has(Role::Dso) && !in_table(Role::Dso, action) && is_judging(action) {
        return false;
    }
    // Free SQL sees every controller's rows, so it is not for those who are bound to some.
    if action == Action::Sql && !principal.controllers.is_empty() {
        return false;
    }
    principal
        .roles
        .iter()
        .any(|role| in_table(*role, action) && (*role != Role::Service || principal.allow.contains(&action)))
}

/// What has to be stated before the answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Nothing,
    /// A reason in words, or the number of a case.
    ReasonOrCase,
}

/// What the principal has to state before this action. A look around a finding needs nothing: the finding is the reason.
pub fn purpose(action: Action) -> Purpose {
    match action {
        Action::Trace | Action::Sql => Purpose::ReasonOrCase,
        _ => Purpose::Nothing,
    }
}

/// What a finding is about, as far as access to it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concern<'a> {
    /// Whose accesses it is about.
    pub user_id: Option<&'a str>,
    pub care_unit_id: Option<&'a str>,
    pub controller_id: Option<&'a str>,
    /// The user that a coordinator gave it to.
    pub assigned_to: Option<&'a str>,
    /// Whether they whose accesses it is about lead the unit, or one above it.
    pub user_leads_unit: bool,
}

/// Whether the principal may read this finding. A finding without a controller is seen only by those bound to none.
pub fn may_read(principal: &Principal, concern: Concern<'_>) -> Result<(), Refusal> {
    if !may(principal, Action::ReadFindings) {
        return Err(Refusal::ForbiddenRole);
    }
    if !within_controllers(principal, concern.controller_id) {
        return Err(Refusal::OtherController);
    }
    if reads_all_units(principal) {
        return Ok(());
    }
    as_reviewer(principal, concern)
}

/// Whether the principal may judge this finding: a reviewer, of its unit or given it by name, never on an access of
/// their own. Nobody judges whom they work for by the unit alone; a coordinator chooses who does.
pub fn may_decide(principal: &Principal, concern: Concern<'_>) -> Result<(), Refusal> {
    if !may(principal, Action::Decide) {
        return Err(Refusal::ForbiddenRole);
    }
    if !within_controllers(principal, concern.controller_id) {
        return Err(Refusal::OtherController);
    }
    as_reviewer(principal, concern)
}

/// Whether the principal may move this finding along ([`Action::Assign`], [`Action::Ask`], [`Action::Close`]): those who
/// may read it, by their role, and never one about themself.
pub fn may_handle(principal: &Principal, action: Action, concern: Concern<'_>) -> Result<(), Refusal> {
    if !may(principal, action) {
        return Err(Refusal::ForbiddenRole);
    }
    may_read(principal, concern)?;
    if concern.user_id.is_some_and(|user| principal.is_self(user)) {
        return Err(Refusal::OwnAccess);
    }
    Ok(())
}

/// True when the principal's reading is not bound to units.
pub(crate) fn reads_all_units(principal: &Principal) -> bool {
    [Role::Dso, Role::Coordinator].iter().any(|role| principal.has(*role))
        || (principal.has(Role::Service)
            && principal.allow.contains(&Action::ReadFindings)
            && principal.units.is_empty())
}

fn as_reviewer(principal: &Principal, concern: Concern<'_>) -> Result<(), Refusal> {
    if concern.user_id.is_some_and(|user| principal.is_self(user)) {
        return Err(Refusal::OwnAccess);
    }
    // What a coordinator gave somebody is theirs too: else nobody could judge the accesses of a unit's only manager.
    let given = concern.assigned_to.is_some_and(|user| user == principal.user_id);
    let own_unit = concern.care_unit_id.is_some_and(|unit| principal.units.iter().any(|own| own == unit));
    match (given, own_unit, concern.user_leads_unit) {
        (true, ..) | (_, true, false) => Ok(()),
        (false, true, true) => Err(Refusal::OwnManager),
        (false, false, _) => Err(Refusal::OtherUnit),
    }
}

fn within_controllers(principal: &Principal, controller: Option<&str>) -> bool {
    principal.controllers.is_empty()
        || controller.is_some_and(|id| principal.controllers.iter().any(|own| own == id))
}

fn is_judging(action: Action) -> bool {
    matches!(
        action,
        Action::Decide
            | Action::Ask
            | Action::Assign
            | Action::Close
            | Action::SetParameters
            | Action::RunRules
    )
}

fn in_table(role: Role, action: Action) -> bool {
    let column = role as usize;
    TABLE.iter().any(|(row, cells)| *row == action && cells[column])
}

impl Action {
    /// Every action, in the order of the table's rows.
    pub fn all() -> impl Iterator<Item = Action> {
        TABLE.iter().map(|(action, _)| *action)
    }

    /// The name in tokens and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::SeeCounts => "see_counts",
            Action::ReadFindings => "read_findings",
            Action::Decide => "decide",
            Action::Ask => "ask",
            Action::Assign => "assign",
            Action::Close => "close",
            Action::SeeDecisions => "see_decisions",
            Action::Trace => "trace",
            Action::TraceFinding => "trace_finding",
            Action::Sql => "sql",
            Action::SeeRules => "see_rules",
            Action::RunRules => "run_rules",
            Action::TryRules => "try_rules",
            Action::SetParameters => "set_parameters",
            Action::SeeRuns => "see_runs",
            Action::SeeSources => "see_sources",
            Action::SeeContext => "see_context",
            Action::SeeHealth => "see_health",
            Action::SendLogs => "send_logs",
            Action::ManageSelf => "manage_self",
        }
    }

    /// True when a token of the role `service` can allow it.
    pub fn is_for_programs(self) -> bool {
        in_table(Role::Service, self)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Action, String> {
        Action::all().find(|action| action.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Action::all().map(Action::as_str).collect();
            format!("found action {text:?}, expected one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn principal(kind: Kind, roles: &[Role]) -> Principal {
        Principal {
            user_id: "u1".into(),
            login: "anna".into(),
            name: "Anna".into(),
            staff_user_id: Some("SE1-ANNA".into()),
            staff_accounts: vec!["annand".into()],
            roles: roles.to_vec(),
            units: vec!["E1".into()],
            controllers: Vec::new(),
            kind,
            allow: Vec::new(),
            enrolling: false,
        }
    }

    fn allowed(principal: &Principal) -> String {
        Action::all()
            .filter(|action| may(principal, *action))
            .map(Action::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Written out a second time, from the sentences of the specification and not from the table.
    #[test]
    fn each_role_may_do_this_and_nothing_else() {
        for (role, person, program) in [
            (
                Role::Dso,
                "see_counts read_findings see_decisions trace trace_finding sql see_rules try_rules see_runs see_sources \
                 see_context manage_self",
                "see_counts read_findings see_decisions trace trace_finding sql see_rules try_rules see_runs see_sources \
                 see_context",
            ),
            (
                Role::Coordinator,
                "see_counts read_findings ask assign close see_decisions trace_finding see_rules run_rules try_rules \
                 set_parameters see_runs see_sources see_context manage_self",
                "see_counts read_findings see_decisions trace_finding see_rules run_rules try_rules see_runs see_sources \
                 see_context",
            ),
            (
                Role::Reviewer,
                "see_counts read_findings decide ask trace_finding see_rules see_sources manage_self",
                "see_counts read_findings trace_finding see_rules see_sources",
            ),
            (
                Role::Investigator,
                "trace sql see_rules see_sources manage_self",
                "trace sql see_rules see_sources",
            ),
            (
                Role::Auditor,
                "see_counts see_decisions see_rules see_runs see_sources see_context manage_self",
                "see_counts see_decisions see_rules see_runs see_sources see_context",
            ),
            (
                Role::Operator,
                "see_rules see_runs see_sources see_context see_health manage_self",
                "see_rules see_runs see_sources see_context see_health",
            ),
            (Role::Service, "", ""),
        ] {
            assert_eq!(allowed(&principal(Kind::Person, &[role])), person, "a person as {role}");
            assert_eq!(allowed(&principal(Kind::Program, &[role])), program, "a program as {role}");
            let enrolling = Principal { enrolling: true, ..principal(Kind::Person, &[role]) };
            assert_eq!(allowed(&enrolling), "manage_self", "{role} before one-time codes are set up");
        }
    }

    #[test]
    fn a_service_may_what_its_token_says_and_never_what_people_decide() {
        let mut service = principal(Kind::Program, &[Role::Service]);
        service.allow = vec![Action::SendLogs, Action::SeeSources, Action::Decide, Action::SetParameters];
        assert_eq!(allowed(&service), "see_sources send_logs");
        service.allow = Action::all().collect();
        for action in PEOPLE_ONLY {
            assert!(!may(&service, *action), "{action}");
        }
    }

    #[test]
    fn a_data_protection_officer_never_decides_whatever_else_they_are() {
        let both = principal(Kind::Person, &Role::ALL);
        for action in [
            Action::Decide,
            Action::Ask,
            Action::Assign,
            Action::Close,
            Action::SetParameters,
            Action::RunRules,
        ] {
            assert!(!may(&both, action), "{action}");
        }
        assert!(may(&both, Action::ReadFindings));
    }

    #[test]
    fn free_sql_is_not_for_those_bound_to_a_controller() {
        let mut dso = principal(Kind::Person, &[Role::Dso]);
        assert!(may(&dso, Action::Sql));
        dso.controllers = vec!["N1".into()];
        assert!(!may(&dso, Action::Sql) && may(&dso, Action::Trace));
    }

    #[test]
    fn findings_are_read_and_judged_within_bounds() {
        use Refusal::{ForbiddenRole, OtherController, OtherUnit, OwnAccess, OwnManager};
        let concern = |user, unit, controller, assigned| Concern {
            user_id: user,
            care_unit_id: unit,
            controller_id: controller,
            assigned_to: assigned,
            user_leads_unit: false,
        };
        let by_manager =
            |assigned| Concern { user_leads_unit: true, ..concern(Some("X"), Some("E1"), None, assigned) };
        let plain = concern(Some("X"), Some("E1"), Some("N1"), None);
        let ok: Result<(), Refusal> = Ok(());
        for (role, bound, finding, read, decide) in [
            (Role::Reviewer, "", plain, ok.clone(), ok.clone()),
            (Role::Reviewer, "N1", plain, ok.clone(), ok.clone()),
            (Role::Reviewer, "N2", plain, Err(OtherController), Err(OtherController)),
            (
                Role::Reviewer,
                "N1",
                concern(Some("X"), Some("E1"), None, None),
                Err(OtherController),
                Err(OtherController),
            ),
            (Role::Reviewer, "", concern(Some("X"), Some("E2"), None, None), Err(OtherUnit), Err(OtherUnit)),
            (Role::Reviewer, "", concern(Some("X"), None, None, None), Err(OtherUnit), Err(OtherUnit)),
            (Role::Reviewer, "", concern(Some("X"), Some("E2"), None, Some("u1")), ok.clone(), ok.clone()),
            (
                Role::Reviewer,
                "",
                concern(Some("X"), Some("E2"), None, Some("u2")),
                Err(OtherUnit),
                Err(OtherUnit),
            ),
            (
                Role::Reviewer,
                "",
                concern(Some("se1-anna "), Some("E1"), None, None),
                Err(OwnAccess),
                Err(OwnAccess),
            ),
            (
                Role::Reviewer,
                "",
                concern(Some("ANNAND"), Some("E1"), None, Some("u1")),
                Err(OwnAccess),
                Err(OwnAccess),
            ),
            (Role::Reviewer, "", by_manager(None), Err(OwnManager), Err(OwnManager)),
            (Role::Reviewer, "", by_manager(Some("u2")), Err(OwnManager), Err(OwnManager)),
            (Role::Reviewer, "", by_manager(Some("u1")), ok.clone(), ok.clone()),
            (Role::Coordinator, "", by_manager(None), ok.clone(), Err(ForbiddenRole)),
            (Role::Dso, "", concern(Some("X"), Some("E2"), None, None), ok.clone(), Err(ForbiddenRole)),
            (Role::Dso, "N2", plain, Err(OtherController), Err(ForbiddenRole)),
            (Role::Coordinator, "N1", plain, ok, Err(ForbiddenRole)),
            (Role::Investigator, "", plain, Err(ForbiddenRole), Err(ForbiddenRole)),
            (Role::Auditor, "", plain, Err(ForbiddenRole), Err(ForbiddenRole)),
            (Role::Operator, "", plain, Err(ForbiddenRole), Err(ForbiddenRole)),
        ] {
            let mut anna = principal(Kind::Person, &[role]);
            anna.controllers.extend((!bound.is_empty()).then(|| bound.to_owned()));
            assert_eq!(may_read(&anna, finding), read, "{role} of {bound:?} reads {finding:?}");
            assert_eq!(may_decide(&anna, finding), decide, "{role} of {bound:?} decides {finding:?}");
        }
        let coordinator = principal(Kind::Person, &[Role::Coordinator]);
        let own = concern(Some("SE1-ANNA"), Some("E1"), None, None);
        assert_eq!(may_handle(&coordinator, Action::Assign, own), Err(OwnAccess));
        assert_eq!(may_handle(&coordinator, Action::Assign, plain), Ok(()));
    }

    #[test]
    fn names_go_there_and_back() {
        for action in Action::all() {
            assert_eq!(action.as_str().parse::<Action>(), Ok(action));
        }
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>(), Ok(role));
        }
        assert!("admin".parse::<Role>().is_err() && "all".parse::<Action>().is_err());
    }
}
