//! What ran, what was skipped and why: the record of each run as the rules room gave it.

use insyn_rules::{Recorded, RunRecord};
use serde::Serialize;
use serde_json::Value;
use sqlx::{QueryBuilder, Row, Sqlite, Transaction, sqlite::SqliteRow};

use crate::{
    cursor::{MOST, Page, Place},
    db::Db,
    error::{Refusal, ReviewError, database},
};

/// A run. It names no person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunView {
    pub run_id: String,
    /// `insyn_rules::RunRecord`, serialised.
    pub record: Value,
    pub recorded: Recorded,
    /// µs UTC.
    #[serde(skip)]
    pub started_at: i64,
}

const DOING: &str = "reading runs";

impl Db {
    /// A page of runs, newest first.
    ///
    /// # Errors
    /// [`Refusal::BadCursor`].
    pub async fn runs(&self, cursor: Option<&str>, limit: usize) -> Result<Page<RunView>, ReviewError> {
        let place = cursor.map(Place::decode).transpose()?;
        let limit = limit.clamp(1, MOST);
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT run_id, started_at, body, made, joined, unchanged, settled FROM runs WHERE 1 = 1",
        );
        if let Some(place) = place {
            query.push(" AND (started_at < ").push_bind(place.at);
            query.push(" OR (started_at = ").push_bind(place.at);
            query.push(" AND run_id > ").push_bind(place.id).push("))");
        }
        query.push(" ORDER BY started_at DESC, run_id LIMIT ");
        query.push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        let more = rows.len() > limit;
        let items = rows.iter().take(limit).map(view).collect::<Result<Vec<_>, _>>()?;
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Place { score: 0, at: last.started_at, id: last.run_id.clone() }.encode());
        Ok(Page { items, next })
    }

    /// One run.
    ///
    /// # Errors
    /// [`Refusal::UnknownRun`].
    pub async fn run(&self, run_id: &str) -> Result<RunView, ReviewError> {
        let row = sqlx::query(
            "SELECT run_id, started_at, body, made, joined, unchanged, settled FROM runs WHERE run_id = $1",
        )
        .bind(run_id)
        .fetch_optional(self.readers())
        .await
        .map_err(database(DOING))?
        .ok_or(Refusal::UnknownRun)?;
        view(&row)
    }
}

/// Keeps a run. One that is there already stays as it was.
pub(crate) async fn put(
    tx: &mut Transaction<'static, Sqlite>,
    run: &RunRecord,
    recorded: Recorded,
) -> Result<(), ReviewError> {
    const DOING: &str = "recording a run";
    let body = serde_json::to_string(run)
        .map_err(|e| ReviewError::Database { doing: DOING, what: e.to_string() })?;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO runs (run_id, started_at, body, made, joined, unchanged, settled) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (run_id) DO NOTHING",
    )
    .bind(&run.run_id)
    .bind(run.started_at)
    .bind(body)
    .bind(number(recorded.new))
    .bind(number(recorded.joined))
    .bind(number(recorded.unchanged))
    .bind(number(recorded.settled))
    .execute(&mut **tx)
    .await
    .map_err(database(DOING))?;
    Ok(())
}

fn view(row: &SqliteRow) -> Result<RunView, ReviewError> {
    let failed = database(DOING);
    let number = |column: &'static str| -> Result<u64, ReviewError> {
        Ok(u64::try_from(row.try_get::<i64, _>(column).map_err(&failed)?).unwrap_or(0))
    };
    let body: String = row.try_get("body").map_err(&failed)?;
    Ok(RunView {
        run_id: row.try_get("run_id").map_err(&failed)?,
        record: serde_json::from_str(&body).map_err(|e| ReviewError::Stored {
            table: "runs",
            column: "body",
            what: e.to_string(),
        })?,
        recorded: Recorded {
            new: number("made")?,
            joined: number("joined")?,
            unchanged: number("unchanged")?,
            settled: number("settled")?,
        },
        started_at: row.try_get("started_at").map_err(&failed)?,
    })
}
