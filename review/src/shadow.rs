//! What rules in the shadow would have found, as numbers by week and unit. Who and whose is in none of it.

use insyn_rules::Shadowed;
use serde::Serialize;
use sqlx::{QueryBuilder, Sqlite, Transaction, sqlite::SqliteRow};

use crate::{
    db::Db,
    error::{ReviewError, database},
    explained::within,
    findings::value,
    principal::Principal,
};

const DOING: &str = "reading what rules in the shadow found";

/// What a rule in the shadow would have found in a week on a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShadowWeek {
    /// Which rule.
    pub rule_id: String,
    /// The Monday, local, as 2026-03-02.
    pub week: String,
    /// Which unit; none where the log does not say, or where it is about several.
    pub care_unit_id: Option<String>,
    /// Findings.
    pub findings: u64,
}

impl Db {
    /// By week, the newest first, and unit; of one rule, or of all; of the controllers and, for a reviewer, the units of the
    /// principal.
    ///
    /// # Errors
    /// [`crate::error::Refusal::ForbiddenRole`].
    pub async fn shadow(
        &self,
        principal: &Principal,
        rule_id: Option<&str>,
    ) -> Result<Vec<ShadowWeek>, ReviewError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT rule_id, week, care_unit_id, count(*) AS findings FROM shadow_findings WHERE 1 = 1",
        );
        within(&mut query, principal)?;
        if let Some(rule_id) = rule_id {
            query.push(" AND rule_id = ").push_bind(rule_id.to_owned());
        }
        query.push(" GROUP BY 1, 2, 3 ORDER BY week DESC, rule_id, care_unit_id");
        let rows: Vec<SqliteRow> = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        let week = |row: &SqliteRow| {
            let unit: String = value(row, "care_unit_id")?;
            let findings: i64 = value(row, "findings")?;
            Ok(ShadowWeek {
                rule_id: value(row, "rule_id")?,
                week: value(row, "week")?,
                care_unit_id: (!unit.is_empty()).then_some(unit),
                findings: findings.unsigned_abs(),
            })
        };
        rows.iter().map(week).collect()
    }
}

/// Keeps what a run found in the shadow; what is there already stays as it is.
pub(crate) async fn put(
    tx: &mut Transaction<'static, Sqlite>,
    run_id: &str,
    shadow: &[Shadowed],
) -> Result<(), ReviewError> {
    for one in shadow {
        sqlx::query(
            "INSERT INTO shadow_findings \
             (finding_id, rule_id, rule_version, week, care_unit_id, controller_id, level, run_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (finding_id) DO NOTHING",
        )
        .bind(&one.finding_id)
        .bind(&one.rule_id)
        .bind(i64::from(one.rule_version))
        .bind(&one.week)
        .bind(one.care_unit_id.as_deref().unwrap_or_default())
        .bind(one.controller_id.as_deref().unwrap_or_default())
        .bind(one.level.as_str())
        .bind(run_id)
        .execute(&mut **tx)
        .await
        .map_err(database("recording what rules in the shadow found"))?;
    }
    Ok(())
}
