//! Small things that are set at run time. Every version is kept, with who set it and when.

use serde::Serialize;
use serde_json::Value;
use sqlx::Row;

use crate::{
    db::{Db, commit},
    error::{ReviewError, database},
};

/// A setting as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    pub key: String,
    /// 1, 2, 3, …
    pub version: i64,
    pub value: Value,
    /// µs UTC.
    pub changed_at: i64,
    pub changed_by: String,
}

impl Db {
    /// A setting's newest version; `None` when it was never set.
    pub async fn setting(&self, key: &str) -> Result<Option<Setting>, ReviewError> {
        Ok(self.setting_history(key).await?.pop())
    }

    /// All versions of a setting, oldest first.
    pub async fn setting_history(&self, key: &str) -> Result<Vec<Setting>, ReviewError> {
        const DOING: &str = "reading a setting";
        let rows = sqlx::query(
            "SELECT version, value, changed_at, changed_by FROM settings WHERE key = $1 ORDER BY version",
        )
        .bind(key)
        .fetch_all(self.readers())
        .await
        .map_err(database(DOING))?;
        let mut versions = Vec::with_capacity(rows.len());
        for row in rows {
            let text: String = row.try_get(1).map_err(database(DOING))?;
            versions.push(Setting {
                key: key.to_owned(),
                version: row.try_get(0).map_err(database(DOING))?,
                value: serde_json::from_str(&text).map_err(|e| ReviewError::Stored {
                    table: "settings",
                    column: "value",
                    what: e.to_string(),
                })?,
                changed_at: row.try_get(2).map_err(database(DOING))?,
                changed_by: row.try_get(3).map_err(database(DOING))?,
            });
        }
        Ok(versions)
    }

    /// Sets a setting and returns its new version. `expected` is the version that the change was made from (0: none yet);
    /// `None` does not ask.
    ///
    /// # Errors
    /// [`ReviewError::SettingChanged`] when somebody else was faster.
    pub async fn set_setting(
        &self,
        key: &str,
        value: &Value,
        expected: Option<i64>,
        changed_by: &str,
    ) -> Result<i64, ReviewError> {
        const DOING: &str = "changing a setting";
        let mut tx = self.write(DOING).await?;
        let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM settings WHERE key = $1")
            .bind(key)
            .fetch_one(&mut *tx)
            .await
            .map_err(database(DOING))?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(ReviewError::SettingChanged { key: key.to_owned(), found, expected });
        }
        sqlx::query(
            "INSERT INTO settings (key, version, value, changed_at, changed_by) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(key)
        .bind(found + 1)
        .bind(value.to_string())
        .bind(self.now())
        .bind(changed_by)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        commit(tx, DOING).await?;
        Ok(found + 1)
    }
}
