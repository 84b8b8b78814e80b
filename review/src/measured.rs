//! What was measured of rules and explanations, kept with the time of it. Counts of the whole installation: whoever is bound
//! to some controllers or units learns shares alone.

use insyn_rules::{Lift, Measured, Window};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use crate::{
    db::{Db, commit},
    error::{Refusal, ReviewError, database},
    findings::value,
    permission::{Action, may, reads_all_units},
    principal::Principal,
};

/// Measurements of a kind that are kept; the oldest go.
const KEPT: i64 = 60;
const RULES: &str = "rules";
const EXPLANATIONS: &str = "explanations";
const DOING: &str = "reading what was measured";

/// Something measured: when, by whom, of which period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement<T> {
    /// µs UTC.
    #[serde(skip)]
    pub measured_at: i64,
    pub measured_by: String,
    /// µs UTC; none: from the first access.
    #[serde(skip)]
    pub from: Option<i64>,
    /// µs UTC, without it; none: to the last access.
    #[serde(skip)]
    pub to: Option<i64>,
    pub items: T,
}

/// How much oftener than by chance a rule names somebody, and how much of what it names has a reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleMeasure {
    pub rule_id: String,
    /// None where chance names nobody, and where it was not measured.
    pub lift: Option<f64>,
    /// Of the accesses that it names, the share that something explains which the user could not have made.
    pub explained_share: Option<f64>,
    /// Pairs of user and person; none for whoever is bound to controllers or units, like the counts below.
    pub pairs: Option<u64>,
    pub by_chance: Option<u64>,
    pub accesses: Option<u64>,
    pub explained: Option<u64>,
    /// Why it could not be tried.
    pub failed: Option<String>,
}

/// What the explanations explain, together and each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explaining {
    /// Accesses to a known person's record; none for whoever is bound to controllers or units.
    pub looks: Option<u64>,
    /// Of them explained by what the user could not have made.
    pub explained_share: Option<f64>,
    /// Only by the user's own doing.
    pub only_by_user_share: Option<f64>,
    /// Explained in the fake log.
    pub by_chance_share: Option<f64>,
    pub explanations: Vec<ExplanationMeasure>,
}

/// What one explanation explains, as shares of all looks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplanationMeasure {
    pub explanation: String,
    /// Looks that it has a reason for.
    pub support_share: Option<f64>,
    /// Of these, where the user could have made it.
    pub by_user_share: Option<f64>,
    /// Looks that it explains and no other does.
    pub alone_share: Option<f64>,
    /// Looks of the fake log that it has a reason for.
    pub by_chance_share: Option<f64>,
    /// Of what it explains in both logs, the part in the real one: 0.5 is no better than chance.
    pub precision: Option<f64>,
    /// Looks that it has a reason for, in numbers; none for whoever is bound to controllers or units.
    pub looks: Option<u64>,
    /// Why it could not be tried.
    pub failed: Option<String>,
}

impl Db {
    /// Keeps what was measured of rules.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_lifts(&self, by: &str, window: Window, lifts: &[Lift]) -> Result<(), ReviewError> {
        self.keep(RULES, by, window, &lifts).await
    }

    /// Keeps what was measured of explanations, without its shares by unit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_explaining(
        &self,
        by: &str,
        window: Window,
        measured: &Measured,
    ) -> Result<(), ReviewError> {
        self.keep(EXPLANATIONS, by, window, &Measured { shares: Vec::new(), ..measured.clone() }).await
    }

    /// What was measured of rules, the latest first, at most `limit` times.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`].
    pub async fn lifts(
        &self,
        principal: &Principal,
        limit: usize,
    ) -> Result<Vec<Measurement<Vec<RuleMeasure>>>, ReviewError> {
        let counts = counts(principal)?;
        let kept = self.measurements::<Vec<Lift>>(RULES, limit).await?;
        let view = |lift: Lift| RuleMeasure {
            lift: lift.lift,
            explained_share: share(lift.explained, lift.accesses),
            pairs: counts.then_some(lift.pairs),
            by_chance: counts.then_some(lift.by_chance),
            accesses: counts.then_some(lift.accesses),
            explained: counts.then_some(lift.explained),
            rule_id: lift.rule_id,
            failed: lift.failed,
        };
        Ok(kept.into_iter().map(|one| one.map(|lifts| lifts.into_iter().map(view).collect())).collect())
    }

    /// What was measured of explanations last; none where nothing was.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`].
    pub async fn explaining(
        &self,
        principal: &Principal,
    ) -> Result<Option<Measurement<Explaining>>, ReviewError> {
        let counts = counts(principal)?;
        let kept = self.measurements::<Measured>(EXPLANATIONS, 1).await?;
        Ok(kept.into_iter().next().map(|one| one.map(|measured| explaining(measured, counts))))
    }

    async fn keep(
        &self,
        kind: &'static str,
        by: &str,
        window: Window,
        what: &impl Serialize,
    ) -> Result<(), ReviewError> {
        const DOING: &str = "keeping what was measured";
        let body = serde_json::to_string(what)
            .map_err(|e| ReviewError::Database { doing: DOING, what: e.to_string() })?;
        let mut tx = self.write(DOING).await?;
        sqlx::query(
            "INSERT INTO measurements (kind, measured_at, measured_by, from_at, to_at, body) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (kind, measured_at) DO NOTHING",
        )
        .bind(kind)
        .bind(self.now())
        .bind(by)
        .bind(window.from)
        .bind(window.to)
        .bind(body)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        sqlx::query(
            "DELETE FROM measurements WHERE kind = $1 AND measured_at NOT IN \
             (SELECT measured_at FROM measurements WHERE kind = $1 ORDER BY measured_at DESC LIMIT $2)",
        )
        .bind(kind)
        .bind(KEPT)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        commit(tx, DOING).await
    }

    async fn measurements<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        limit: usize,
    ) -> Result<Vec<Measurement<T>>, ReviewError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT measured_at, measured_by, from_at, to_at, body FROM measurements WHERE kind = ",
        );
        query.push_bind(kind).push(" ORDER BY measured_at DESC LIMIT ");
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<SqliteRow> = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        rows.iter().map(measurement).collect()
    }
}

impl<T> Measurement<T> {
    fn map<U>(self, to: impl FnOnce(T) -> U) -> Measurement<U> {
        Measurement {
            measured_at: self.measured_at,
            measured_by: self.measured_by,
            from: self.from,
            to: self.to,
            items: to(self.items),
        }
    }
}

/// Whether the principal learns counts of the whole installation.
fn counts(principal: &Principal) -> Result<bool, Refusal> {
    if !may(principal, Action::SeeCounts) {
        return Err(Refusal::ForbiddenRole);
    }
    let within_units = may(principal, Action::ReadFindings) && !reads_all_units(principal);
    Ok(principal.controllers.is_empty() && !within_units)
}

fn explaining(measured: Measured, counts: bool) -> Explaining {
    let of_all = |part: u64| share(part, measured.looks);
    Explaining {
        looks: counts.then_some(measured.looks),
        explained_share: of_all(measured.explained),
        only_by_user_share: of_all(measured.only_by_user),
        by_chance_share: of_all(measured.by_chance),
        explanations: measured
            .explanations
            .iter()
            .map(|one| ExplanationMeasure {
                explanation: one.explanation.clone(),
                support_share: of_all(one.looks),
                by_user_share: of_all(one.by_user),
                alone_share: of_all(one.alone),
                by_chance_share: of_all(one.by_chance),
                precision: one.precision,
                looks: counts.then_some(one.looks),
                failed: one.failed.clone(),
            })
            .collect(),
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn measurement<T: DeserializeOwned>(row: &SqliteRow) -> Result<Measurement<T>, ReviewError> {
    let body: String = value(row, "body")?;
    Ok(Measurement {
        measured_at: value(row, "measured_at")?,
        measured_by: value(row, "measured_by")?,
        from: value(row, "from_at")?,
        to: value(row, "to_at")?,
        items: serde_json::from_str(&body).map_err(|e| ReviewError::Stored {
            table: "measurements",
            column: "body",
            what: e.to_string(),
        })?,
    })
}
