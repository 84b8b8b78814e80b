//! Findings whose accesses are gone go too, with all that was stated, decided and said of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{QueryBuilder, Row, Sqlite, Transaction, sqlite::SqliteRow};

use crate::{
    db::{Db, commit},
    error::{ReviewError, database},
    findings::{json, value},
};

/// What of a finding decides whether its time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    pub finding_id: String,
    pub controller_id: Option<String>,
    pub subject_id: Option<String>,
    pub user_id: String,
    /// Of its accesses, µs UTC.
    pub last_at: i64,
    /// Where its accesses were logged; empty where it does not say.
    pub sources: Vec<String>,
}

const READING: &str = "reading findings whose time may be over";
const REMOVING: &str = "removing findings";
/// What belongs to a finding, and at last itself.
const TABLES: [&str; 5] =
    ["suppressions", "finding_events", "finding_statements", "finding_history", "findings"];
/// Findings looked at, or removed, in one statement.
const CHUNK: usize = 200;
/// The database is waited for so long.
const PATIENCE: Duration = Duration::from_secs(20);

impl Db {
    /// The findings whose last access lies before `horizon` (µs UTC) and that `goes`, but only where all that follow one
    /// another go: one that stays says which it follows.
    ///
    /// # Errors
    /// [`ReviewError`] when the database cannot be read.
    pub async fn aged_findings(
        &self,
        horizon: i64,
        goes: &(dyn Fn(&Aged) -> bool + Sync),
    ) -> Result<Vec<String>, ReviewError> {
        // By what they follow one another in: how many there are, and those that go.
        let mut chains: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut after = String::new();
        loop {
            let rows: Vec<SqliteRow> = sqlx::query(
                "SELECT finding_id, identity, controller_id, subject_id, user_id, last_at, evidence FROM findings \
                 WHERE last_at < $1 AND finding_id > $2 ORDER BY finding_id LIMIT $3",
            )
            .bind(horizon)
            .bind(&after)
            .bind(CHUNK as i64)
            .fetch_all(self.readers())
            .await
            .map_err(database(READING))?;
            for row in &rows {
                let aged = aged(row)?;
                if goes(&aged) {
                    chains.entry(value(row, "identity")?).or_default().push(aged.finding_id.clone());
                }
                after = aged.finding_id;
            }
            if rows.len() < CHUNK {
                break;
            }
        }
        let mut whole = Vec::new();
        for (identity, ids) in chains {
            let all: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM findings WHERE identity = $1")
                .bind(&identity)
                .fetch_one(self.readers())
                .await
                .map_err(database(READING))?;
            if all == i64::try_from(ids.len()).unwrap_or(i64::MAX) {
                whole.extend(ids);
            }
        }
        Ok(whole)
    }

    /// Removes these findings with all that belongs to them, at once or not at all.
    ///
    /// # Errors
    /// [`ReviewError`] when the database cannot be written; then nothing is removed.
    pub async fn remove_findings(&self, finding_ids: &[String]) -> Result<(), ReviewError> {
        let mut tx = self.write(REMOVING).await?;
        // One may follow another that goes later.
        sqlx::query("PRAGMA defer_foreign_keys = ON").execute(&mut *tx).await.map_err(database(REMOVING))?;
        for ids in finding_ids.chunks(CHUNK) {
            // What a decision said of later accesses names persons too, and ends with it.
            for column in ["suppressed_by", "sampled_of"] {
                let of = format!(
                    "UPDATE findings SET {column} = NULL WHERE {column} IN \
                     (SELECT suppression_id FROM suppressions WHERE finding_id IN ("
                );
                execute(&mut tx, of, ids, "))").await?;
            }
            for table in TABLES {
                execute(&mut tx, format!("DELETE FROM {table} WHERE finding_id IN ("), ids, ")").await?;
            }
        }
        commit(tx, REMOVING).await
    }

    /// Writes the database's file anew, so that no free page and no journal holds what was removed.
    ///
    /// # Errors
    /// [`ReviewError::Busy`] when somebody reads it for too long: what was removed is gone all the same, but its bytes
    /// may not be yet.
    pub async fn scrub(&self) -> Result<(), ReviewError> {
        const DOING: &str = "writing its file anew";
        let failed = database(DOING);
        let mut writer = self.writer().acquire().await.map_err(&failed)?;
        sqlx::query("VACUUM").execute(&mut *writer).await.map_err(&failed)?;
        let begun = Instant::now();
        loop {
            let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writer).await;
            match row.and_then(|row| row.try_get::<i64, _>(0)) {
                Ok(0) => return Ok(()),
                Ok(_) if begun.elapsed() > PATIENCE => return Err(ReviewError::Busy { doing: DOING }),
                Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

async fn execute(
    tx: &mut Transaction<'static, Sqlite>,
    begins: String,
    ids: &[String],
    ends: &str,
) -> Result<(), ReviewError> {
    let mut query = QueryBuilder::<Sqlite>::new(begins);
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.clone());
    }
    query.push(ends);
    query.build().execute(&mut **tx).await.map_err(database(REMOVING))?;
    Ok(())
}

fn aged(row: &SqliteRow) -> Result<Aged, ReviewError> {
    let evidence: serde_json::Value = json(row, "evidence")?;
    let mut sources: Vec<String> =
        evidence["sources"].as_object().into_iter().flat_map(|map| map.keys().cloned()).collect();
    let of_event = |event: &serde_json::Value| event["source"].as_str().map(str::to_owned);
    sources.extend(evidence["events"].as_array().into_iter().flatten().filter_map(of_event));
    sources.sort();
    sources.dedup();
    Ok(Aged {
        finding_id: value(row, "finding_id")?,
        controller_id: value(row, "controller_id")?,
        subject_id: value(row, "subject_id")?,
        user_id: value(row, "user_id")?,
        last_at: value(row, "last_at")?,
        sources,
    })
}
