//! Which findings: what is asked for, and what the one who asks may see. Both become one `WHERE`, with every value bound.

use insyn_rules::{FindingStatus, Level, Outcome};
use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Sqlite};

use crate::{
    error::Refusal,
    permission::{Action, may, reads_all_units},
    principal::{Principal, account_key},
    suppress::holds,
};

/// What is asked for. Everything that is not set asks for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    pub rule: Option<String>,
    /// Any of these.
    pub level: Vec<Level>,
    /// Any of these.
    pub status: Vec<FindingStatus>,
    /// Any of these.
    pub outcome: Vec<Outcome>,
    pub user: Option<String>,
    pub subject: Option<String>,
    pub unit: Option<String>,
    pub controller: Option<String>,
    /// µs UTC: findings with accesses at this time or later.
    pub from: Option<i64>,
    /// µs UTC: findings with accesses before this time.
    pub to: Option<i64>,
    pub min_score: Option<u8>,
    /// A user's id: findings given to them.
    pub assigned_to: Option<String>,
    /// Findings that an access is part of.
    pub event: Option<String>,
    /// Words in title, reasons, rule or ids; all have to be there.
    pub q: Option<String>,
    /// True: those that an earlier decision keeps out of the queue; false: the others.
    pub covered: Option<bool>,
}

/// What the one who asks may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `None`: all.
    controllers: Option<Vec<String>>,
    /// `None`: all units.
    reviewer: Option<Reviewer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reviewer {
    user_id: String,
    units: Vec<String>,
    own_keys: Vec<String>,
}

impl Scope {
    /// Everything: for a command on the host, where the operating system decides who may run it.
    pub fn host() -> Scope {
        Scope { controllers: None, reviewer: None }
    }

    /// What a principal may see of the worklist: a reviewer what concerns their units (but for those who lead them) or
    /// was given to them, and is not about themself; data protection officers and coordinators what their controllers answer for.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`] for a principal who may read no findings.
    pub fn of(principal: &Principal) -> Result<Scope, Refusal> {
        if !may(principal, Action::ReadFindings) {
            return Err(Refusal::ForbiddenRole);
        }
        Ok(Scope::reading(principal))
    }

    /// What a principal may see as numbers: an auditor, who reads no findings, counts them all the same.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`] for a principal who may see no counts.
    pub fn of_counts(principal: &Principal) -> Result<Scope, Refusal> {
        if !may(principal, Action::SeeCounts) {
            return Err(Refusal::ForbiddenRole);
        }
        let mut scope = Scope::reading(principal);
        if !may(principal, Action::ReadFindings) {
            scope.reviewer = None;
        }
        Ok(scope)
    }

    fn reading(principal: &Principal) -> Scope {
        Scope {
            controllers: (!principal.controllers.is_empty()).then(|| principal.controllers.clone()),
            reviewer: (!reads_all_units(principal)).then(|| Reviewer {
                user_id: principal.user_id.clone(),
                units: principal.units.clone(),
                own_keys: principal.own_keys(),
            }),
        }
    }

    /// Adds ` AND …` to a query over `findings f`.
    pub(crate) fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        if let Some(controllers) = &self.controllers {
            query.push(" AND f.controller_id");
            push_in(query, controllers.iter().cloned());
        }
        if let Some(reviewer) = &self.reviewer {
            query
                .push(" AND (f.assigned_to = ")
                .push_bind(reviewer.user_id.clone())
                .push(" OR f.care_unit_id");
            push_in(query, reviewer.units.iter().cloned());
            query.push(" AND f.user_leads_unit = 0)");
            if !reviewer.own_keys.is_empty() {
                query.push(" AND f.user_key NOT");
                push_in(query, reviewer.own_keys.iter().cloned());
            }
        }
    }
}

impl Filter {
    /// Says what in the filter cannot be.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Refusal::BadFilter {
                what: "to",
                problem: "expected a time after `from`".to_owned(),
            });
        }
        if self.q.as_ref().is_some_and(|q| q.chars().count() > 200) {
            return Err(Refusal::BadFilter {
                what: "q",
                problem: "expected at most 200 characters".to_owned(),
            });
        }
        Ok(())
    }

    /// Adds ` AND …` to a query over `findings f`.
    pub(crate) fn push(&self, query: &mut QueryBuilder<Sqlite>, now: i64) {
        let texts = [
            ("f.rule_id", self.rule.clone()),
            ("f.user_key", self.user.as_deref().map(account_key)),
            ("f.subject_id", self.subject.clone()),
            ("f.care_unit_id", self.unit.clone()),
            ("f.controller_id", self.controller.clone()),
            ("f.assigned_to", self.assigned_to.clone()),
        ];
        for (column, value) in texts {
            if let Some(value) = value {
                query.push(format_args!(" AND {column} = ")).push_bind(value);
            }
        }
        let numbers = [
            ("f.last_at >= ", self.from),
            ("f.first_at < ", self.to),
            ("f.score >= ", self.min_score.map(i64::from)),
        ];
        for (test, value) in numbers {
            if let Some(value) = value {
                query.push(format_args!(" AND {test}")).push_bind(value);
            }
        }
        let words = [
            ("f.level", self.level.iter().map(|w| w.as_str()).collect::<Vec<_>>()),
            ("f.status", self.status.iter().map(|w| w.as_str()).collect()),
            ("f.outcome", self.outcome.iter().map(|w| w.as_str()).collect()),
        ];
        for (column, any) in words {
            if !any.is_empty() {
                query.push(format_args!(" AND {column}"));
                push_in(query, any.into_iter().map(str::to_owned));
            }
        }
        if let Some(event) = &self.event {
            query
                .push(" AND f.finding_id IN (SELECT e.finding_id FROM finding_events e WHERE e.event_id = ")
                .push_bind(event.clone())
                .push(")");
        }
        if let Some(covered) = self.covered {
            // What somebody has taken up is theirs to see.
            query.push(if covered { " AND (" } else { " AND NOT (" });
            query.push("f.status = ").push_bind(FindingStatus::New.as_str());
            query.push(
                " AND EXISTS (SELECT 1 FROM suppressions s WHERE s.suppression_id = f.suppressed_by AND ",
            );
            holds(query, now);
            query.push("))");
        }
        for word in self.q.iter().flat_map(|q| q.split_whitespace()) {
            query.push(" AND f.words LIKE ").push_bind(like(word)).push(" ESCAPE '!'");
        }
    }
}

/// Pushes ` IN (…)`; of nothing, a list that holds nothing.
fn push_in(query: &mut QueryBuilder<Sqlite>, values: impl Iterator<Item = String>) {
    query.push(" IN (");
    let mut any = false;
    for value in values {
        if any {
            query.push(", ");
        }
        query.push_bind(value);
        any = true;
    }
    if !any {
        query.push("NULL");
    }
    query.push(")");
}

fn like(word: &str) -> String {
    let mut pattern = String::from("%");
    for c in word.to_lowercase().chars() {
        if matches!(c, '!' | '%' | '_') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_as_they_are() {
        assert_eq!(like("50%_Åh!"), "%50!%!_åh!!%");
    }
}
