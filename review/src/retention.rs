//! Decisions that accesses may go, and what is held all the same. What they mean for a row is decided elsewhere.

use serde::{Deserialize, Serialize};
use sqlx::{Row, Sqlite, Transaction, sqlite::SqliteRow};

use crate::{
    db::{Db, commit},
    error::{Refusal, ReviewError, database},
};

/// What a decision is about: accesses that fit every part that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    pub controller_id: Option<String>,
    pub source: Option<String>,
    /// As `[[source]]` names it.
    pub legal_area: Option<String>,
    pub data_category: Option<String>,
    /// Accesses that are older than so many years may go.
    pub after_years: Option<u32>,
    /// Accesses before this day may go, as `2026-11-21`.
    pub before_day: Option<String>,
}

/// A decision as it is registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewDecision {
    /// Who decided.
    pub authority: String,
    /// Under which number.
    pub number: String,
    /// When, as `2026-11-21`.
    pub decided_on: String,
    pub covers: Covered,
}

/// A decision that accesses may go (gallringsbeslut). It names no person but who registered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub decision_id: String,
    pub authority: String,
    pub number: String,
    pub decided_on: String,
    #[serde(flatten)]
    pub covers: Covered,
    /// µs UTC.
    pub registered_at: i64,
    pub registered_by: String,
    /// µs UTC; none while it is in force.
    pub withdrawn_at: Option<i64>,
    pub withdrawn_by: Option<String>,
    pub withdrawn_why: Option<String>,
}

impl Decision {
    /// As removals name it: authority, number, date.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}, {}", self.authority, self.number, self.decided_on)
    }
}

/// Whom or what a hold is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Persons whose records were opened.
    pub subjects: Vec<String>,
    /// Users, by their id or an account.
    pub users: Vec<String>,
    /// Cases, by their number.
    pub cases: Vec<String>,
}

/// A hold: what it names stays until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub hold_id: String,
    pub reason: String,
    /// µs UTC.
    pub placed_at: i64,
    pub placed_by: String,
    /// Empty once it is released.
    #[serde(flatten)]
    pub held: Held,
    /// µs UTC; none while it is in force.
    pub released_at: Option<i64>,
    pub released_by: Option<String>,
    pub released_why: Option<String>,
}

const KINDS: [&str; 3] = ["subject", "user", "case"];
const DECISIONS: &str = "SELECT decision_id, authority, number, decided_on, controller_id, source, legal_area, \
     data_category, after_years, before_day, registered_at, registered_by, withdrawn_at, withdrawn_by, withdrawn_why \
     FROM retention_decisions ORDER BY registered_at, decision_id";
const READING: &str = "reading what may go";
const WRITING: &str = "registering what may go";

impl Db {
    /// Registers a decision, and gives its id.
    ///
    /// # Errors
    /// [`Refusal::BadDecision`] when it lacks who, number, a date, or from when accesses may go.
    pub async fn decide_retention(&self, new: &NewDecision, by: &str) -> Result<String, ReviewError> {
        check(new)?;
        let decision = Decision {
            decision_id: short_id(),
            authority: new.authority.trim().to_owned(),
            number: new.number.trim().to_owned(),
            decided_on: new.decided_on.clone(),
            covers: new.covers.clone(),
            registered_at: self.now(),
            registered_by: by.to_owned(),
            withdrawn_at: None,
            withdrawn_by: None,
            withdrawn_why: None,
        };
        let mut tx = self.write(WRITING).await?;
        put_decision(&mut tx, &decision).await?;
        commit(tx, WRITING).await?;
        Ok(decision.decision_id)
    }

    /// Every decision that was registered, the oldest first.
    pub async fn retention_decisions(&self) -> Result<Vec<Decision>, ReviewError> {
        let rows = sqlx::query(DECISIONS).fetch_all(self.readers()).await.map_err(database(READING))?;
        rows.iter().map(decision).collect()
    }

    /// Ends a decision: nothing goes on it any more.
    ///
    /// # Errors
    /// [`Refusal::UnknownDecision`] when there is none of that id in force.
    pub async fn withdraw_retention(
        &self,
        decision_id: &str,
        why: &str,
        by: &str,
    ) -> Result<(), ReviewError> {
        let mut tx = self.write(WRITING).await?;
        let done = sqlx::query(
            "UPDATE retention_decisions SET withdrawn_at = $1, withdrawn_by = $2, withdrawn_why = $3 \
             WHERE decision_id = $4 AND withdrawn_at IS NULL",
        )
        .bind(self.now())
        .bind(by)
        .bind(why)
        .bind(decision_id)
        .execute(&mut *tx)
        .await
        .map_err(database(WRITING))?;
        if done.rows_affected() == 0 {
            return Err(Refusal::UnknownDecision.into());
        }
        commit(tx, WRITING).await
    }

    /// Holds what `held` names, and gives the hold's id.
    ///
    /// # Errors
    /// [`Refusal::BadHold`] when it names nothing.
    pub async fn hold(&self, held: &Held, reason: &str, by: &str) -> Result<String, ReviewError> {
        let all = [&held.subjects, &held.users, &held.cases];
        if all.iter().all(|values| values.is_empty())
            || all.iter().any(|values| values.iter().any(|v| v.trim().is_empty()))
        {
            return Err(Refusal::BadHold.into());
        }
        let hold = Hold {
            hold_id: short_id(),
            reason: reason.to_owned(),
            placed_at: self.now(),
            placed_by: by.to_owned(),
            held: held.clone(),
            released_at: None,
            released_by: None,
            released_why: None,
        };
        let mut tx = self.write(WRITING).await?;
        put_hold(&mut tx, &hold).await?;
        commit(tx, WRITING).await?;
        Ok(hold.hold_id)
    }

    /// Every hold that was placed, the oldest first.
    pub async fn holds(&self) -> Result<Vec<Hold>, ReviewError> {
        const HOLDS: &str = "SELECT hold_id, reason, placed_at, placed_by, released_at, released_by, released_why \
             FROM retention_holds ORDER BY placed_at, hold_id";
        let rows = sqlx::query(HOLDS).fetch_all(self.readers()).await.map_err(database(READING))?;
        let mut holds = rows.iter().map(hold).collect::<Result<Vec<Hold>, _>>()?;
        let held =
            sqlx::query("SELECT hold_id, kind, value FROM retention_held ORDER BY hold_id, kind, value")
                .fetch_all(self.readers())
                .await
                .map_err(database(READING))?;
        for row in &held {
            let (id, kind, value): (String, String, String) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            let Some(hold) = holds.iter_mut().find(|hold| hold.hold_id == id) else { continue };
            match kind.as_str() {
                "subject" => hold.held.subjects.push(value),
                "user" => hold.held.users.push(value),
                _ => hold.held.cases.push(value),
            }
        }
        Ok(holds)
    }

    /// Ends a hold, and forgets whom it was about. Gives whom it held.
    ///
    /// # Errors
    /// [`Refusal::UnknownHold`] when there is none of that id in force.
    pub async fn release(&self, hold_id: &str, why: &str, by: &str) -> Result<Held, ReviewError> {
        let known = self.holds().await?.into_iter().find(|hold| hold.hold_id == hold_id);
        let known = known.filter(|hold| hold.released_at.is_none()).ok_or(Refusal::UnknownHold)?;
        let mut tx = self.write(WRITING).await?;
        let done = sqlx::query(
            "UPDATE retention_holds SET released_at = $1, released_by = $2, released_why = $3 \
             WHERE hold_id = $4 AND released_at IS NULL",
        )
        .bind(self.now())
        .bind(by)
        .bind(why)
        .bind(hold_id)
        .execute(&mut *tx)
        .await
        .map_err(database(WRITING))?;
        if done.rows_affected() == 0 {
            return Err(Refusal::UnknownHold.into());
        }
        forget(&mut tx, hold_id).await?;
        commit(tx, WRITING).await?;
        Ok(known.held)
    }

    /// Takes over decisions and holds as they stand elsewhere. One that has ended on either side has ended.
    ///
    /// # Errors
    /// [`ReviewError`] when the database cannot be written.
    pub async fn take_over_retention(
        &self,
        decisions: &[Decision],
        holds: &[Hold],
    ) -> Result<(), ReviewError> {
        let mut tx = self.write(WRITING).await?;
        for decision in decisions {
            put_decision(&mut tx, decision).await?;
        }
        for hold in holds {
            put_hold(&mut tx, hold).await?;
        }
        commit(tx, WRITING).await
    }
}

fn check(new: &NewDecision) -> Result<(), Refusal> {
    let bad = |what, problem: &str| Err(Refusal::BadDecision { what, problem: problem.to_owned() });
    if new.authority.trim().is_empty() {
        return bad("authority", "found nothing, expected who decided");
    }
    if new.number.trim().is_empty() {
        return bad("number", "found nothing, expected the decision's number");
    }
    if !is_day(&new.decided_on) {
        return bad("date", &format!("found \"{}\", expected a date as 2026-11-21", new.decided_on));
    }
    if let Some(day) = new.covers.before_day.as_deref().filter(|day| !is_day(day)) {
        return bad("before", &format!("found \"{day}\", expected a date as 2026-11-21"));
    }
    if new.covers.after_years.is_none() && new.covers.before_day.is_none() {
        return bad("after or before", "found neither, expected a number of years, a day, or both");
    }
    Ok(())
}

/// `2026-11-21`, and a day that there is.
fn is_day(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut number = |digits: usize| -> Option<u32> {
        let part = parts.next().filter(|part| part.len() == digits)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
    };
    let (Some(year), Some(month), Some(day)) = (number(4), number(2), number(2)) else { return false };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

/// Short enough to type.
fn short_id() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(10).collect()
}

async fn put_decision(tx: &mut Transaction<'static, Sqlite>, of: &Decision) -> Result<(), ReviewError> {
    sqlx::query(
        "INSERT INTO retention_decisions (decision_id, authority, number, decided_on, controller_id, source, legal_area, \
         data_category, after_years, before_day, registered_at, registered_by, withdrawn_at, withdrawn_by, withdrawn_why) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (decision_id) DO UPDATE SET withdrawn_at = COALESCE(retention_decisions.withdrawn_at, $13), \
         withdrawn_by = COALESCE(retention_decisions.withdrawn_by, $14), \
         withdrawn_why = COALESCE(retention_decisions.withdrawn_why, $15)",
    )
    .bind(&of.decision_id)
    .bind(&of.authority)
    .bind(&of.number)
    .bind(&of.decided_on)
    .bind(&of.covers.controller_id)
    .bind(&of.covers.source)
    .bind(&of.covers.legal_area)
    .bind(&of.covers.data_category)
    .bind(of.covers.after_years.map(i64::from))
    .bind(&of.covers.before_day)
    .bind(of.registered_at)
    .bind(&of.registered_by)
    .bind(of.withdrawn_at)
    .bind(&of.withdrawn_by)
    .bind(&of.withdrawn_why)
    .execute(&mut **tx)
    .await
    .map_err(database(WRITING))?;
    Ok(())
}

async fn put_hold(tx: &mut Transaction<'static, Sqlite>, hold: &Hold) -> Result<(), ReviewError> {
    sqlx::query(
        "INSERT INTO retention_holds (hold_id, reason, placed_at, placed_by, released_at, released_by, released_why) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (hold_id) DO UPDATE SET released_at = COALESCE(retention_holds.released_at, $5), \
         released_by = COALESCE(retention_holds.released_by, $6), \
         released_why = COALESCE(retention_holds.released_why, $7)",
    )
    .bind(&hold.hold_id)
    .bind(&hold.reason)
    .bind(hold.placed_at)
    .bind(&hold.placed_by)
    .bind(hold.released_at)
    .bind(&hold.released_by)
    .bind(&hold.released_why)
    .execute(&mut **tx)
    .await
    .map_err(database(WRITING))?;
    forget(tx, &hold.hold_id).await?;
    for (kind, values) in KINDS.into_iter().zip([&hold.held.subjects, &hold.held.users, &hold.held.cases]) {
        for value in values {
            sqlx::query(
                "INSERT INTO retention_held (hold_id, kind, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(&hold.hold_id)
            .bind(kind)
            .bind(value.trim())
            .execute(&mut **tx)
            .await
            .map_err(database(WRITING))?;
        }
    }
    // What ended here goes on nowhere.
    let released: Option<i64> =
        sqlx::query_scalar("SELECT released_at FROM retention_holds WHERE hold_id = $1")
            .bind(&hold.hold_id)
            .fetch_one(&mut **tx)
            .await
            .map_err(database(WRITING))?;
    if released.is_some() {
        forget(tx, &hold.hold_id).await?;
    }
    Ok(())
}

async fn forget(tx: &mut Transaction<'static, Sqlite>, hold_id: &str) -> Result<(), ReviewError> {
    sqlx::query("DELETE FROM retention_held WHERE hold_id = $1")
        .bind(hold_id)
        .execute(&mut **tx)
        .await
        .map_err(database(WRITING))?;
    Ok(())
}

fn get<'r, T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>>(
    row: &'r SqliteRow,
    at: usize,
) -> Result<T, ReviewError> {
    row.try_get(at).map_err(database(READING))
}

fn decision(row: &SqliteRow) -> Result<Decision, ReviewError> {
    let years: Option<i64> = get(row, 8)?;
    Ok(Decision {
        decision_id: get(row, 0)?,
        authority: get(row, 1)?,
        number: get(row, 2)?,
        decided_on: get(row, 3)?,
        covers: Covered {
            controller_id: get(row, 4)?,
            source: get(row, 5)?,
            legal_area: get(row, 6)?,
            data_category: get(row, 7)?,
            after_years: years.and_then(|years| u32::try_from(years).ok()),
            before_day: get(row, 9)?,
        },
        registered_at: get(row, 10)?,
        registered_by: get(row, 11)?,
        withdrawn_at: get(row, 12)?,
        withdrawn_by: get(row, 13)?,
        withdrawn_why: get(row, 14)?,
    })
}

fn hold(row: &SqliteRow) -> Result<Hold, ReviewError> {
    Ok(Hold {
        hold_id: get(row, 0)?,
        reason: get(row, 1)?,
        placed_at: get(row, 2)?,
        placed_by: get(row, 3)?,
        held: Held::default(),
        released_at: get(row, 4)?,
        released_by: get(row, 5)?,
        released_why: get(row, 6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::is_day;

    #[test]
    fn days_that_there_are() {
        for day in ["2026-11-21", "2024-02-29", "2000-02-29", "2026-12-31"] {
            assert!(is_day(day), "{day}");
        }
        for none in [
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-1-1",
            "i går",
            "2026-11-31",
            "",
            "--",
        ] {
            assert!(!is_day(none), "{none}");
        }
    }
}
