//! What a person who starts the demo is told: whom to sign in as, and what to look at first.

use serde::Serialize;

use crate::World;
use crate::staff::Staff;
use crate::units::{self, UNITS};

/// An account for the demo's pages. Whoever creates it chooses password and second factor.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct DemoAccount {
    /// What to sign in as.
    pub login: String,
    /// The person's name.
    pub name: String,
    /// Their own id in the logs: nobody judges their own looks.
    pub staff_user_id: Option<String>,
    /// `dso`, `coordinator`, `reviewer`, `investigator` or `operator`.
    pub roles: Vec<String>,
    /// Care units that a reviewer judges.
    pub units: Vec<String>,
    /// Boards whose information the account reaches.
    pub controllers: Vec<String>,
}

/// Something planted that is worth a look: a finding should be there.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Hint {
    /// The kind of what was planted; see [`crate::KINDS`].
    pub kind: &'static str,
    /// The rule of the built-in pack that should have found it.
    pub rule_id: &'static str,
    /// Who looked (HSA-id).
    pub user_id: String,
    /// Their name.
    pub user_name: String,
    /// Whose record.
    pub subject_id: String,
    /// The user's unit.
    pub care_unit_id: String,
    /// One sentence in Swedish.
    pub sv: String,
    /// The same in English.
    pub en: String,
}

impl World {
    /// The accounts that the demo needs, one a role.
    pub fn demo_accounts(&self) -> Vec<DemoAccount> {
        let boards = vec![units::HEALTH_BOARD.to_owned(), units::WELFARE_BOARD.to_owned()];
        let officer = |title: &str| self.staff.iter().find(|one| one.title == title);
        let reviewer = self.staff.iter().find(|one| one.chief && one.unit == units::HERO);
        let [dso, coordinator, investigator, operator] = crate::staff::OFFICERS.map(officer);
        let wanted = [
            ("dso", "dso", dso, vec![], boards.clone()),
            ("samordnare", "coordinator", coordinator, vec![], boards.clone()),
            (
                "granskare",
                "reviewer",
                reviewer,
                vec![UNITS[units::HERO].id.to_owned()],
                vec![boards[0].clone()],
            ),
            ("utredare", "investigator", investigator, vec![], boards),
            ("drift", "operator", operator, vec![], vec![]),
        ];
        wanted
            .into_iter()
            .filter_map(|(login, role, person, units, controllers)| {
                let person: &Staff = person?;
                Some(DemoAccount {
                    login: login.to_owned(),
                    name: person.name(),
                    staff_user_id: Some(person.user_id.clone()),
                    roles: vec![role.to_owned()],
                    units,
                    controllers,
                })
            })
            .collect()
    }

    /// Three planted cases that tell most, at the reviewer's unit where there is one.
    pub fn worth_a_look(&self) -> Vec<Hint> {
        ["serial", "relative_on_own_unit", "protected_identity"]
            .into_iter()
            .filter_map(|kind| self.hint(kind))
            .collect()
    }

    fn hint(&self, kind: &'static str) -> Option<Hint> {
        let of_kind = |plan: &&crate::misuse::Plan| plan.kind == kind;
        let at_hero = |plan: &&crate::misuse::Plan| self.staff[plan.staff as usize].unit == units::HERO;
        let plan =
            self.plans.iter().filter(of_kind).find(at_hero).or_else(|| self.plans.iter().find(of_kind))?;
        let user = &self.staff[plan.staff as usize];
        let unit = &UNITS[user.unit];
        let name = user.name();
        let (rule_id, sv, en) = match kind {
            "serial" => {
                let case = self.plans.iter().position(|other| std::ptr::eq(other, plan))? + 1;
                let visits = self.visits(case as u16);
                (
                    "no-care-relation",
                    format!(
                        "{name}, {}, har öppnat en och samma persons journal {visits} gånger utan registrerad vårdrelation.",
                        unit.name
                    ),
                    format!(
                        "{name}, {}, opened one person's record {visits} times with no registered care relation.",
                        unit.name
                    ),
                )
            }
            "relative_on_own_unit" => (
                "same-household",
                format!(
                    "{name} har läst om en närstående som vårdades på den egna enheten, {}: det finns en vårdrelation, men inte till den som läste.",
                    unit.name
                ),
                format!(
                    "{name} read about someone close who was a patient on their own unit, {}: the unit has a care relation, the reader has none of their own.",
                    unit.name
                ),
            ),
            _ => (
                "protected-identity",
                format!("En person med skyddade uppgifter har öppnats av {name}, {}.", unit.name),
                format!(
                    "The record of a person with a protected identity was opened by {name}, {}.",
                    unit.name
                ),
            ),
        };
        Some(Hint {
            kind,
            rule_id,
            user_id: user.user_id.clone(),
            user_name: name,
            subject_id: self.people.subjects[plan.subject as usize].id.clone(),
            care_unit_id: unit.id.to_owned(),
            sv,
            en,
        })
    }

    /// Separate openings of a planted case: looks more than half an hour apart.
    fn visits(&self, case: u16) -> usize {
        let mut last = i64::MIN / 2;
        let mut visits = 0;
        for access in self.accesses.iter().filter(|access| access.planted == case) {
            visits += usize::from(access.at - last > 1_800);
            last = access.at;
        }
        visits
    }
}
