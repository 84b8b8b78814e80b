//! How the findings of each rule were judged, month by month: whether a rule points at what people then find worth asking
//! about, and whether that drifts. It counts rules, never people.

use insyn_rules::{FindingStatus, Outcome};
use serde::Serialize;
use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use crate::{
    db::Db,
    error::{ReviewError, database},
    filter::Scope,
    findings::{value, word},
    principal::Principal,
    suppress::holds,
};

const DOING: &str = "reading how findings were judged";

/// How the findings of a rule stand whose accesses began in a month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    pub rule_id: String,
    /// As the caller called it.
    pub month: String,
    /// All of them.
    pub found: u64,
    /// Judged to be suspected, or confirmed by two.
    pub suspected: u64,
    /// Judged to be justified, by the routine or not.
    pub justified: u64,
    /// Judged to be a mistaken opening.
    pub mistaken: u64,
    /// Judged, and it cannot be told.
    pub cannot_tell: u64,
    /// Left: nobody has judged them.
    pub left: u64,
    /// Explained by what came late, before anybody judged.
    pub settled: u64,
    /// Kept out of the queue by an earlier decision.
    pub covered: u64,
}

impl Verdicts {
    /// Those that people judged.
    pub fn judged(&self) -> u64 {
        self.suspected + self.justified + self.mistaken + self.cannot_tell
    }

    /// Adds the counts of another month of the rule.
    pub fn add(&mut self, other: &Verdicts) {
        self.found += other.found;
        self.suspected += other.suspected;
        self.justified += other.justified;
        self.mistaken += other.mistaken;
        self.cannot_tell += other.cannot_tell;
        self.left += other.left;
        self.settled += other.settled;
        self.covered += other.covered;
    }

    fn count(&mut self, outcome: Outcome, is_settled: bool, is_covered: bool, n: u64) {
        self.found += n;
        let of = match outcome {
            Outcome::Suspected | Outcome::Confirmed => &mut self.suspected,
            Outcome::Authorised | Outcome::AuthorisedWrongRoutine => &mut self.justified,
            Outcome::MistakenOpening => &mut self.mistaken,
            Outcome::CannotTell => &mut self.cannot_tell,
            Outcome::None if is_settled => &mut self.settled,
            Outcome::None if is_covered => &mut self.covered,
            Outcome::None => &mut self.left,
        };
        *of += n;
    }
}

impl Db {
    /// By rule and month, in order of both; of the findings that the principal counts. `months` are names and when each
    /// begins (µs UTC), in order of time; what was before the first is left out, and the last has no end.
    ///
    /// # Errors
    /// [`crate::Refusal::ForbiddenRole`].
    pub async fn verdicts(
        &self,
        principal: &Principal,
        months: &[(String, i64)],
    ) -> Result<Vec<Verdicts>, ReviewError> {
        let scope = Scope::of_counts(principal)?;
        let Some((_, first)) = months.first() else { return Ok(Vec::new()) };
        let mut query = QueryBuilder::<Sqlite>::new("SELECT f.rule_id AS rule_id, CASE");
        for (number, (_, begins)) in months.iter().enumerate().rev() {
            query.push(" WHEN f.first_at >= ").push_bind(*begins);
            query.push(format_args!(" THEN {number}"));
        }
        query.push(" END AS month, f.outcome AS outcome, ");
        query.push("CASE WHEN f.settled_at IS NULL THEN 0 ELSE 1 END AS settled, CASE WHEN f.status = ");
        query.push_bind(FindingStatus::New.as_str());
        query.push(" AND EXISTS (SELECT 1 FROM suppressions s WHERE s.suppression_id = f.suppressed_by AND ");
        holds(&mut query, self.now());
        query.push(") THEN 1 ELSE 0 END AS covered, COUNT(*) AS found FROM findings f WHERE f.first_at >= ");
        query.push_bind(*first);
        scope.push(&mut query);
        query.push(" GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2");
        let rows: Vec<SqliteRow> = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        let mut all: Vec<Verdicts> = Vec::new();
        for row in &rows {
            let rule_id: String = value(row, "rule_id")?;
            let number = usize::try_from(value::<i64>(row, "month")?).unwrap_or(usize::MAX);
            let Some((month, _)) = months.get(number) else { continue };
            if all.last().is_none_or(|last| last.rule_id != rule_id || last.month != *month) {
                all.push(Verdicts { rule_id, month: month.clone(), ..Verdicts::default() });
            }
            if let Some(last) = all.last_mut() {
                let (settled, covered) =
                    (value::<i64>(row, "settled")? != 0, value::<i64>(row, "covered")? != 0);
                let found = value::<i64>(row, "found")?.unsigned_abs();
                last.count(word(row, "outcome")?, settled, covered, found);
            }
        }
        Ok(all)
    }
}
