//! Reading findings: the worklist, one finding, counts. Rows of the table become `insyn_rules::Finding`s here.

use insyn_rules::{Finding, FindingStatus, Level, Pair};
use serde::Serialize;
use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};

use crate::{
    cursor::{MOST, Page, Place},
    db::Db,
    error::{Refusal, ReviewError, database},
    filter::{Filter, Scope},
    permission::Concern,
    principal::{Principal, account_key},
};

/// A finding, and where it stands in people's hands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FindingView {
    /// `evidence` is null in lists.
    #[serde(flatten)]
    pub finding: Finding,
    /// The decided finding of the same rule, person, record and window that this one follows.
    pub follows: Option<String>,
    /// The user id of who is to judge it.
    pub assigned_to: Option<String>,
    pub assigned_name: Option<String>,
    /// µs UTC.
    pub decided_at: Option<i64>,
    /// µs UTC: when what came late explained it. It is closed then, and nobody judged it.
    pub settled_at: Option<i64>,
    /// Whether they whose accesses it is about lead the unit, or one above it.
    pub user_leads_unit: bool,
    /// µs UTC: the last time anything about it changed.
    pub changed_at: i64,
}

impl FindingView {
    /// What access to it is judged by.
    pub fn concern(&self) -> Concern<'_> {
        Concern {
            user_id: Some(&self.finding.user_id),
            care_unit_id: self.finding.care_unit_id.as_deref(),
            controller_id: self.finding.controller_id.as_deref(),
            assigned_to: self.assigned_to.as_deref(),
            user_leads_unit: self.user_leads_unit,
        }
    }
}

/// How many findings there are of a level and status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    pub level: Level,
    pub status: FindingStatus,
    pub count: u64,
}

const COLUMNS: &str = "f.finding_id, f.rule_id, f.rule_version, f.level, f.score, f.status, f.outcome, f.settles_at, \
     f.user_id, f.subject_id, f.care_unit_id, f.controller_id, f.first_at, f.last_at, f.event_count, f.event_ids, \
     f.title_sv, f.title_en, f.reasons, f.created_at, f.follows, f.assigned_to, f.decided_at, f.settled_at, \
     f.user_leads_unit, f.changed_at, u.name AS assigned_name";
const FROM: &str = " FROM findings f LEFT JOIN users u ON u.user_id = f.assigned_to WHERE 1 = 1";
const DOING: &str = "reading findings";

impl Db {
    /// A page of findings, highest score first, then newest, then by id. At most `limit` of them, at most 1000; `cursor`
    /// is the `next` of the page before.
    ///
    /// # Errors
    /// [`Refusal::BadCursor`], [`Refusal::BadFilter`].
    pub async fn list(
        &self,
        filter: &Filter,
        scope: &Scope,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<FindingView>, ReviewError> {
        let place = cursor.map(Place::decode).transpose()?;
        let limit = limit.clamp(1, MOST);
        let mut items = self.select(filter, scope, place, Some(limit + 1)).await?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| {
            let finding = &last.finding;
            Place { score: i64::from(finding.score), at: finding.last_at, id: finding.finding_id.clone() }
                .encode()
        });
        Ok(Page { items, next })
    }

    /// One finding with its evidence.
    ///
    /// # Errors
    /// [`Refusal::UnknownFinding`], also when it lies outside the scope: who may not see it shall not learn that it is.
    pub async fn get(&self, finding_id: &str, scope: &Scope) -> Result<FindingView, ReviewError> {
        let mut query = QueryBuilder::<Sqlite>::new(format!("SELECT {COLUMNS}, f.evidence{FROM}"));
        query.push(" AND f.finding_id = ").push_bind(finding_id.to_owned());
        scope.push(&mut query);
        let row = query
            .build()
            .fetch_optional(self.readers())
            .await
            .map_err(database(DOING))?
            .ok_or(Refusal::UnknownFinding)?;
        let mut view = view(&row)?;
        view.finding.evidence = json(&row, "evidence")?;
        Ok(view)
    }

    /// The findings that what comes late may still explain: nobody has judged them or asked about them, and their
    /// `settles_at` is later than `now`. Of their evidence only `parameters` is there.
    pub async fn waiting(&self, now: i64) -> Result<Vec<Finding>, ReviewError> {
        const CHUNK: usize = 500;
        let mut found: Vec<Finding> = Vec::new();
        loop {
            let mut query = QueryBuilder::<Sqlite>::new(format!("SELECT {COLUMNS}, f.evidence{FROM}"));
            query.push(" AND f.status IN (").push_bind(FindingStatus::New.as_str());
            query.push(", ").push_bind(FindingStatus::Assigned.as_str());
            query.push(") AND f.settles_at > ").push_bind(now);
            query.push(" AND f.finding_id > ");
            query.push_bind(found.last().map(|f| f.finding_id.clone()).unwrap_or_default());
            query.push(" ORDER BY f.finding_id LIMIT ").push_bind(CHUNK as i64);
            let rows = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
            for row in &rows {
                let evidence: serde_json::Value = json(row, "evidence")?;
                let mut finding = view(row)?.finding;
                finding.evidence = serde_json::json!({ "parameters": evidence["parameters"] });
                found.push(finding);
            }
            if rows.len() < CHUNK {
                return Ok(found);
            }
        }
    }

    /// What is stated of these persons and records with an access in [from, to) (µs UTC), save what is settled. Each is under
    /// the id that runs give it, which several have where one follows another.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stated(&self, pairs: &[Pair], from: i64, to: i64) -> Result<Vec<Finding>, ReviewError> {
        // Each is three variables, of which a statement may have some thousands.
        const CHUNK: usize = 500;
        let mut found = Vec::new();
        for pairs in pairs.chunks(CHUNK) {
            let mut query = QueryBuilder::<Sqlite>::new("WITH asked (user_key, user_id, subject_id) AS (");
            query.push_values(pairs, |mut row, (user, subject)| {
                row.push_bind(account_key(user)).push_bind(user.clone()).push_bind(subject.clone());
            });
            // Crossed, so that each pair is looked up by its user, and not each finding among the pairs.
            query.push(format!(
                ") SELECT {COLUMNS}, f.evidence, f.identity FROM asked a CROSS JOIN findings f \
                 LEFT JOIN users u ON u.user_id = f.assigned_to \
                 WHERE f.user_key = a.user_key AND f.user_id = a.user_id AND f.subject_id IS a.subject_id \
                 AND f.settled_at IS NULL AND f.last_at >= "
            ));
            query.push_bind(from).push(" AND f.first_at < ").push_bind(to);
            query.push(" ORDER BY f.identity, f.ordinal");
            let rows = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
            for row in &rows {
                let mut finding = view(row)?.finding;
                finding.finding_id = value(row, "identity")?;
                finding.evidence = json(row, "evidence")?;
                found.push(finding);
            }
        }
        Ok(found)
    }

    /// The findings that came of the same rule, person, record and window as this one, oldest first: the one that it
    /// follows, and those that follow it, itself among them.
    pub async fn chain(&self, finding_id: &str, scope: &Scope) -> Result<Vec<FindingView>, ReviewError> {
        let mut query = QueryBuilder::<Sqlite>::new(format!("SELECT {COLUMNS}{FROM}"));
        query
            .push(" AND f.identity = (SELECT i.identity FROM findings i WHERE i.finding_id = ")
            .push_bind(finding_id.to_owned())
            .push(")");
        scope.push(&mut query);
        query.push(" ORDER BY f.ordinal");
        let rows = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        rows.iter().map(view).collect()
    }

    /// Findings by level and status, highest level first, for the start page; without those that earlier decisions cover.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`].
    pub async fn counts(&self, principal: &Principal) -> Result<Vec<Count>, ReviewError> {
        let queue = Filter { covered: Some(false), ..Filter::default() };
        self.counts_of(&queue, &Scope::of_counts(principal)?).await
    }

    /// As [`Db::counts`], of what the filter leaves.
    pub async fn counts_of(&self, filter: &Filter, scope: &Scope) -> Result<Vec<Count>, ReviewError> {
        filter.check()?;
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT f.level, f.status, COUNT(*) AS found FROM findings f WHERE 1 = 1",
        );
        filter.push(&mut query, self.now());
        scope.push(&mut query);
        query.push(" GROUP BY f.level, f.status");
        let rows = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        let mut counts = Vec::with_capacity(rows.len());
        for row in &rows {
            counts.push(Count {
                level: word(row, "level")?,
                status: word(row, "status")?,
                count: unsigned(row, "found")?,
            });
        }
        counts.sort_by(|a, b| b.level.cmp(&a.level).then(a.status.cmp(&b.status)));
        Ok(counts)
    }

    pub(crate) async fn select(
        &self,
        filter: &Filter,
        scope: &Scope,
        after: Option<Place>,
        limit: Option<usize>,
    ) -> Result<Vec<FindingView>, ReviewError> {
        filter.check()?;
        let mut query = QueryBuilder::<Sqlite>::new(format!("SELECT {COLUMNS}{FROM}"));
        filter.push(&mut query, self.now());
        scope.push(&mut query);
        if let Some(place) = after {
            // (score, last_at, finding_id) are ordered falling, falling, rising, so no row comparison fits.
            query.push(" AND (f.score < ").push_bind(place.score);
            query.push(" OR (f.score = ").push_bind(place.score);
            query.push(" AND (f.last_at < ").push_bind(place.at);
            query.push(" OR (f.last_at = ").push_bind(place.at);
            query.push(" AND f.finding_id > ").push_bind(place.id).push("))))");
        }
        query.push(" ORDER BY f.score DESC, f.last_at DESC, f.finding_id");
        if let Some(limit) = limit {
            query.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        let rows = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        rows.iter().map(view).collect()
    }
}

fn view(row: &SqliteRow) -> Result<FindingView, ReviewError> {
    let finding = Finding {
        finding_id: value(row, "finding_id")?,
        rule_id: value(row, "rule_id")?,
        rule_version: unsigned(row, "rule_version")?,
        level: word(row, "level")?,
        score: unsigned(row, "score")?,
        status: word(row, "status")?,
        outcome: word(row, "outcome")?,
        settles_at: value(row, "settles_at")?,
        user_id: value(row, "user_id")?,
        subject_id: value(row, "subject_id")?,
        care_unit_id: value(row, "care_unit_id")?,
        controller_id: value(row, "controller_id")?,
        first_at: value(row, "first_at")?,
        last_at: value(row, "last_at")?,
        event_count: unsigned(row, "event_count")?,
        event_ids: json(row, "event_ids")?,
        title_sv: value(row, "title_sv")?,
        title_en: value(row, "title_en")?,
        reasons: json(row, "reasons")?,
        created_at: value(row, "created_at")?,
        evidence: serde_json::Value::Null,
    };
    Ok(FindingView {
        finding,
        follows: value(row, "follows")?,
        assigned_to: value(row, "assigned_to")?,
        assigned_name: value(row, "assigned_name")?,
        decided_at: value(row, "decided_at")?,
        settled_at: value(row, "settled_at")?,
        user_leads_unit: value::<i64>(row, "user_leads_unit")? != 0,
        changed_at: value(row, "changed_at")?,
    })
}

pub(crate) fn value<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T, ReviewError>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(column).map_err(|error| unreadable(column, error.to_string()))
}

pub(crate) fn word<T: std::str::FromStr<Err = String>>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<T, ReviewError> {
    value::<String>(row, column)?.parse().map_err(|what| unreadable(column, what))
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<T, ReviewError> {
    let text: String = value(row, column)?;
    // The position is enough to find the fault; the text itself may name a person.
    serde_json::from_str(&text).map_err(|e| unreadable(column, format!("no JSON at column {}", e.column())))
}

fn unsigned<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, ReviewError> {
    T::try_from(value::<i64>(row, column)?)
        .map_err(|_| unreadable(column, "found a number out of bounds".to_owned()))
}

fn unreadable(column: &'static str, what: String) -> ReviewError {
    ReviewError::Stored { table: "findings", column, what }
}
