//! How far each rule has judged, as the rules room gave it.

use insyn_rules::RuleMark;
use sqlx::{Row, Sqlite, Transaction};

use crate::{
    db::Db,
    error::{ReviewError, database},
};

impl Db {
    /// How far each rule has judged, by rule.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn marks(&self) -> Result<Vec<RuleMark>, ReviewError> {
        let failed = database("reading how far rules have judged");
        let rows = sqlx::query("SELECT body FROM rule_marks ORDER BY rule_id")
            .fetch_all(self.readers())
            .await
            .map_err(&failed)?;
        let mark = |row| {
            let body: String = sqlx::sqlite::SqliteRow::try_get(row, "body").map_err(&failed)?;
            serde_json::from_str(&body).map_err(|e| ReviewError::Stored {
                table: "rule_marks",
                column: "body",
                what: e.to_string(),
            })
        };
        rows.iter().map(mark).collect()
    }
}

/// Keeps how far rules have judged. A run that began before another one says nothing after it.
pub(crate) async fn put(
    tx: &mut Transaction<'static, Sqlite>,
    run_id: &str,
    marks: &[RuleMark],
) -> Result<(), ReviewError> {
    const DOING: &str = "recording how far rules have judged";
    for mark in marks {
        let body = serde_json::to_string(mark)
            .map_err(|e| ReviewError::Database { doing: DOING, what: e.to_string() })?;
        sqlx::query(
            "INSERT INTO rule_marks (rule_id, rule_version, setting, lake_version, judged_at, run_id, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (rule_id) DO UPDATE SET \
             rule_version = excluded.rule_version, setting = excluded.setting, lake_version = excluded.lake_version, \
             judged_at = excluded.judged_at, run_id = excluded.run_id, body = excluded.body \
             WHERE rule_marks.judged_at <= excluded.judged_at",
        )
        .bind(&mark.rule_id)
        .bind(i64::from(mark.rule_version))
        .bind(&mark.setting)
        .bind(i64::try_from(mark.lake.version()).unwrap_or(i64::MAX))
        .bind(mark.at)
        .bind(run_id)
        .bind(body)
        .execute(&mut **tx)
        .await
        .map_err(database(DOING))?;
    }
    Ok(())
}
