//! How much of what was looked at is explained, as the runs counted it. Numbers only.

use insyn_rules::Explained;
use serde::Serialize;
use sqlx::{QueryBuilder, Sqlite, Transaction, sqlite::SqliteRow};

use crate::{
    db::Db,
    error::{Refusal, ReviewError, database},
    findings::value,
    permission::{Action, may, reads_all_units},
    principal::Principal,
};

const DOING: &str = "reading how much is explained";

/// Of the looks of a month, source and unit: how they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedMonth {
    /// As 2026-03, in the organisation's zone.
    pub month: String,
    /// Which source.
    pub source: String,
    /// Which unit; none where the log does not say.
    pub care_unit_id: Option<String>,
    /// Accesses by people at work in a known person's record.
    pub looks: u64,
    /// Those that something explains which the user could not have made.
    pub explained: u64,
    /// Those that only the user's own doing would.
    pub only_by_user: u64,
    /// Those of which nothing can be said: no relations of the unit are known of that month.
    pub unknown: u64,
}

impl Db {
    /// By month, source and unit, of the days (as 2026-03-04) from `from` to `to`, both with them; of the controllers and, for a reviewer,
    /// the units of the principal.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`].
    pub async fn explained(
        &self,
        principal: &Principal,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Vec<ExplainedMonth>, ReviewError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT substr(day, 1, 7) AS month, source, care_unit_id, sum(looks) AS looks, sum(explained) AS explained, \
             sum(only_by_user) AS only_by_user, sum(unknown) AS unknown FROM explained_days WHERE 1 = 1",
        );
        if let Some(from) = from {
            query.push(" AND day >= ").push_bind(from.to_owned());
        }
        if let Some(to) = to {
            query.push(" AND day <= ").push_bind(to.to_owned());
        }
        within(&mut query, principal)?;
        query.push(" GROUP BY 1, 2, 3 ORDER BY 1, 2, 3");
        let rows: Vec<SqliteRow> = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        rows.iter().map(month).collect()
    }
}

/// Nothing but what the principal counts: as findings, those who read them within units count within units; an auditor reads
/// none and counts all.
pub(crate) fn within(query: &mut QueryBuilder<Sqlite>, principal: &Principal) -> Result<(), Refusal> {
    if !may(principal, Action::SeeCounts) {
        return Err(Refusal::ForbiddenRole);
    }
    if !principal.controllers.is_empty() {
        one_of(query, "controller_id", &principal.controllers);
    }
    if may(principal, Action::ReadFindings) && !reads_all_units(principal) {
        one_of(query, "care_unit_id", &principal.units);
    }
    Ok(())
}

/// One of these; of an empty list, none.
pub(crate) fn one_of(query: &mut QueryBuilder<Sqlite>, column: &str, ids: &[String]) {
    query.push(format!(" AND {column} IN ("));
    let mut list = query.separated(", ");
    if ids.is_empty() {
        list.push("NULL");
    }
    for id in ids {
        list.push_bind(id.clone());
    }
    query.push(")");
}

fn month(row: &SqliteRow) -> Result<ExplainedMonth, ReviewError> {
    let number = |name: &'static str| Ok::<u64, ReviewError>(value::<i64>(row, name)?.unsigned_abs());
    let unit: String = value(row, "care_unit_id")?;
    Ok(ExplainedMonth {
        month: value(row, "month")?,
        source: value(row, "source")?,
        care_unit_id: (!unit.is_empty()).then_some(unit),
        looks: number("looks")?,
        explained: number("explained")?,
        only_by_user: number("only_by_user")?,
        unknown: number("unknown")?,
    })
}

/// Writes the days that a run judged, in place of what was known of them.
pub(crate) async fn put(
    tx: &mut Transaction<'static, Sqlite>,
    explained: &Explained,
) -> Result<(), ReviewError> {
    const DOING: &str = "recording how much is explained";
    for (first, last) in &explained.days {
        sqlx::query("DELETE FROM explained_days WHERE day >= $1 AND day <= $2")
            .bind(first)
            .bind(last)
            .execute(&mut **tx)
            .await
            .map_err(database(DOING))?;
    }
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for row in &explained.rows {
        sqlx::query(
            "INSERT INTO explained_days (day, source, care_unit_id, controller_id, looks, explained, only_by_user, unknown) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&row.day)
        .bind(&row.source)
        .bind(row.care_unit_id.as_deref().unwrap_or_default())
        .bind(row.controller_id.as_deref().unwrap_or_default())
        .bind(number(row.looks))
        .bind(number(row.explained))
        .bind(number(row.only_by_user))
        .bind(number(row.unknown))
        .execute(&mut **tx)
        .await
        .map_err(database(DOING))?;
    }
    Ok(())
}
