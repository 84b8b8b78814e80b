//! Who is asking: a person who signed in, or a program with a token.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::permission::Action;

/// What somebody is trusted with. What each may do stands in `permission.rs`, as a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Data protection officer (dataskyddsombud): reads, checks and reports inside its controllers.
    Dso,
    /// Samordnare, logghandläggare: plans, assigns, sets parameters.
    Coordinator,
    /// Verksamhetschef, enhetschef: judges what concerns the units given to them.
    Reviewer,
    /// Traces inside a case.
    Investigator,
    /// Runs, decisions, counts.
    Auditor,
    /// IT: sources, runs, health; no personal data.
    Operator,
    /// A program: what its token says.
    Service,
}

impl Role {
    /// Every role, in the order of the permission table's columns.
    pub const ALL: [Role; 7] = [
        Role::Dso,
        Role::Coordinator,
        Role::Reviewer,
        Role::Investigator,
        Role::Auditor,
        Role::Operator,
        Role::Service,
    ];

    /// The name in configuration, the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Dso => "dso",
            Role::Coordinator => "coordinator",
            Role::Reviewer => "reviewer",
            Role::Investigator => "investigator",
            Role::Auditor => "auditor",
            Role::Operator => "operator",
            Role::Service => "service",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
            format!("found role {text:?}, expected one of {}", names.join(", "))
        })
    }
}

/// A person at a page, or a program at the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Person,
    Program,
}

/// Who is asking, as everything else needs to know it. Read anew for each request, so that a change of roles, a
/// disabled user or a revoked token takes effect at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The user's id, or the token's.
    pub user_id: String,
    /// What a person signs in with; the token's name for a program.
    pub login: String,
    pub name: String,
    /// The id that access logs know this person by (HSA-id); `None` for programs and for people without one.
    pub staff_user_id: Option<String>,
    /// Further accounts of the same person in access logs.
    pub staff_accounts: Vec<String>,
    pub roles: Vec<Role>,
    /// `care_unit_id`s that a reviewer answers for. Empty means none.
    pub units: Vec<String>,
    /// `controller_id`s that this principal is bound to. Empty means all.
    pub controllers: Vec<String>,
    pub kind: Kind,
    /// What the token of a program with the role `service` allows; empty for everybody else.
    pub allow: Vec<Action>,
    /// Signed in by password alone and must first set up one-time codes; may do nothing else.
    pub enrolling: bool,
}

impl Principal {
    /// True when the principal holds the role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Every id under which this person's own accesses can stand, as [`account_key`]s.
    pub fn own_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> =
            self.staff_user_id.iter().chain(&self.staff_accounts).map(|id| account_key(id)).collect();
        keys.retain(|key| !key.is_empty());
        keys.sort();
        keys.dedup();
        keys
    }

    /// True when `user_id`, as an access log wrote it, is this very person.
    pub fn is_self(&self, user_id: &str) -> bool {
        self.own_keys().contains(&account_key(user_id))
    }
}

/// Account ids are compared without regard to case and outer blanks: HSA-ids are written both ways, and a person must
/// not slip past the ban on judging themself by the case of a letter.
pub(crate) fn account_key(id: &str) -> String {
    id.trim().to_uppercase()
}
