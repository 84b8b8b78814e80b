//! Bounded guessing: ten failures at a login lock it for a quarter of an hour, whether the login exists or not.

use sqlx::Row;

use crate::{
    db::{Db, commit},
    error::{ReviewError, database},
    token::hash,
};

/// Failures that are free.
pub(crate) const FREE: i64 = 10;
/// How long a lock holds, and after how long without attempts the count starts anew. µs.
pub(crate) const LOCK: i64 = 15 * 60 * 1_000_000;

const DOING: &str = "counting sign-in attempts";

impl Db {
    /// Counts an attempt before it is made, so that many at once gain nothing. [`Db::forget_attempts`] after a success.
    pub(crate) async fn reserve_attempt(&self, login: &str) -> Result<(), ReviewError> {
        let now = self.now();
        let login_hash = hash(login);
        let mut tx = self.write(DOING).await?;
        // What is past its time tells nobody anything; without this the table would grow with every mistyped login.
        sqlx::query("DELETE FROM sign_in_attempts WHERE last_at < $1 AND locked_until <= $2")
            .bind(now - LOCK)
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        let row = sqlx::query("SELECT failures, locked_until FROM sign_in_attempts WHERE login_hash = $1")
            .bind(&login_hash)
            .fetch_optional(&mut *tx)
            .await
            .map_err(database(DOING))?;
        let (mut failures, locked_until) = match row {
            Some(row) => (
                row.try_get::<i64, _>(0).map_err(database(DOING))?,
                row.try_get::<i64, _>(1).map_err(database(DOING))?,
            ),
            None => (0, 0),
        };
        if locked_until > now {
            let seconds = u64::try_from((locked_until - now) / 1_000_000).unwrap_or(0) + 1;
            return Err(ReviewError::TooManyAttempts { seconds });
        }
        if locked_until > 0 {
            failures = 0;
        }
        failures += 1;
        let lock = if failures >= FREE { now + LOCK } else { 0 };
        sqlx::query(
            "INSERT INTO sign_in_attempts (login_hash, failures, last_at, locked_until) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (login_hash) DO UPDATE SET failures = excluded.failures, last_at = excluded.last_at, \
             locked_until = excluded.locked_until",
        )
        .bind(&login_hash)
        .bind(failures)
        .bind(now)
        .bind(lock)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        commit(tx, DOING).await
    }

    pub(crate) async fn forget_attempts(&self, login: &str) -> Result<(), ReviewError> {
        let mut tx = self.write(DOING).await?;
        sqlx::query("DELETE FROM sign_in_attempts WHERE login_hash = $1")
            .bind(hash(login))
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        commit(tx, DOING).await
    }
}
