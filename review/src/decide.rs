//! What people do with a finding: assign, ask, decide, close. Each step is one row of history that nobody changes.

use insyn_rules::{FindingStatus, Outcome};
use serde::Serialize;
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use crate::{
    db::{Db, commit},
    error::{Refusal, ReviewError, database},
    filter::Scope,
    findings::FindingView,
    permission::{Action, Concern, may, may_decide, may_handle},
    principal::Principal,
};

/// Characters of a comment, at most.
const LONGEST_COMMENT: usize = 4000;

/// What happened to a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryKind {
    Made,
    Joined,
    Assigned,
    Asked,
    Decided,
    Closed,
    /// A run found that what came late explains it.
    Settled,
    /// The decision was made to cover later findings.
    Covers,
    /// A second person reviewed that it covers later findings.
    Reviewed,
    /// An earlier decision covers it: it is kept out of the queue.
    Covered,
    /// No decision keeps it out of the queue any more, or it was drawn to be looked at all the same.
    Uncovered,
}

impl HistoryKind {
    const ALL: [HistoryKind; 11] = [
        HistoryKind::Made,
        HistoryKind::Joined,
        HistoryKind::Assigned,
        HistoryKind::Asked,
        HistoryKind::Decided,
        HistoryKind::Closed,
        HistoryKind::Settled,
        HistoryKind::Covers,
        HistoryKind::Reviewed,
        HistoryKind::Covered,
        HistoryKind::Uncovered,
    ];

    /// The word in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            HistoryKind::Made => "made",
            HistoryKind::Joined => "joined",
            HistoryKind::Assigned => "assigned",
            HistoryKind::Asked => "asked",
            HistoryKind::Decided => "decided",
            HistoryKind::Closed => "closed",
            HistoryKind::Settled => "settled",
            HistoryKind::Covers => "covers",
            HistoryKind::Reviewed => "reviewed",
            HistoryKind::Covered => "covered",
            HistoryKind::Uncovered => "uncovered",
        }
    }
}

/// One step in a finding's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    pub finding_id: String,
    /// 0, 1, 2, … within the finding.
    pub ordinal: i64,
    /// µs UTC.
    pub at: i64,
    pub kind: HistoryKind,
    /// `None` for a run.
    pub by_user_id: Option<String>,
    /// The person's name as it was then; a run's id for a run.
    pub by_name: String,
    pub to_user_id: Option<String>,
    pub outcome: Option<Outcome>,
    pub comment: Option<String>,
}

/// A step to be written down.
pub(crate) struct Step<'a> {
    pub kind: HistoryKind,
    pub by_user_id: Option<&'a str>,
    pub by_name: &'a str,
    pub to_user_id: Option<&'a str>,
    pub outcome: Option<Outcome>,
    pub comment: Option<&'a str>,
}

impl Db {
    /// Judges a finding. Only a reviewer of the unit (or one whom a coordinator gave it to) does, once, with a comment,
    /// and never on an access of their own.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`], [`Refusal::UnknownFinding`], [`Refusal::OtherController`], [`Refusal::OwnAccess`],
    /// [`Refusal::OtherUnit`], [`Refusal::OwnManager`], [`Refusal::AlreadyDecided`], [`Refusal::UnknownOutcome`],
    /// [`Refusal::ConfirmedNeedsCase`], [`Refusal::CommentMissing`], [`Refusal::CommentTooLong`], in this order.
    pub async fn decide(
        &self,
        principal: &Principal,
        finding_id: &str,
        outcome: Outcome,
        comment: &str,
    ) -> Result<FindingView, ReviewError> {
        const DOING: &str = "deciding a finding";
        if !may(principal, Action::Decide) {
            return Err(Refusal::ForbiddenRole.into());
        }
        let mut tx = self.write(DOING).await?;
        let held = held(&mut tx, finding_id).await?;
        may_decide(principal, held.concern())?;
        if held.is_done() {
            return Err(Refusal::AlreadyDecided.into());
        }
        match outcome {
            Outcome::None => return Err(Refusal::UnknownOutcome.into()),
            Outcome::Confirmed => return Err(Refusal::ConfirmedNeedsCase.into()),
            _ => {}
        }
        let comment = checked(comment)?;
        let now = self.now();
        sqlx::query(
            "UPDATE findings SET status = $1, outcome = $2, decided_at = $3, changed_at = $3 WHERE finding_id = $4",
        )
        .bind(FindingStatus::Decided.as_str())
        .bind(outcome.as_str())
        .bind(now)
        .bind(finding_id)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        let step = Step {
            outcome: Some(outcome),
            comment: Some(comment),
            ..Step::by(principal, HistoryKind::Decided)
        };
        write_down(&mut tx, finding_id, now, &step).await?;
        commit(tx, DOING).await?;
        self.get(finding_id, &Scope::host()).await
    }

    /// Gives a finding to a reviewer, of its unit or another: a unit's manager is not judged by their own unit.
    pub async fn assign(
        &self,
        principal: &Principal,
        finding_id: &str,
        to_user_id: &str,
        comment: &str,
    ) -> Result<FindingView, ReviewError> {
        const DOING: &str = "assigning a finding";
        if !may(principal, Action::Assign) {
            return Err(Refusal::ForbiddenRole.into());
        }
        let to = self.principal(to_user_id).await?.ok_or(Refusal::UnknownUser)?;
        let mut tx = self.write(DOING).await?;
        let held = held(&mut tx, finding_id).await?;
        may_handle(principal, Action::Assign, held.concern())?;
        if held.is_done() {
            return Err(Refusal::AlreadyDecided.into());
        }
        may_decide(&to, Concern { assigned_to: Some(to_user_id), ..held.concern() })
            .map_err(|refusal| Refusal::CannotAssign(refusal.to_string()))?;
        let comment = optional(comment)?;
        // Whom was asked stays asked: handing a finding on takes no question back.
        let status = if held.status == FindingStatus::New { FindingStatus::Assigned } else { held.status };
        let now = self.now();
        sqlx::query(
            "UPDATE findings SET status = $1, assigned_to = $2, changed_at = $3 WHERE finding_id = $4",
        )
        .bind(status.as_str())
        .bind(to_user_id)
        .bind(now)
        .bind(finding_id)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        let step =
            Step { to_user_id: Some(to_user_id), comment, ..Step::by(principal, HistoryKind::Assigned) };
        write_down(&mut tx, finding_id, now, &step).await?;
        commit(tx, DOING).await?;
        self.get(finding_id, &Scope::host()).await
    }

    /// Notes that the person concerned, or their manager, was asked; `comment` says whom and what.
    pub async fn ask(
        &self,
        principal: &Principal,
        finding_id: &str,
        comment: &str,
    ) -> Result<FindingView, ReviewError> {
        self.move_on(principal, Action::Ask, HistoryKind::Asked, finding_id, comment).await
    }

    /// Puts a decided finding away.
    pub async fn close_finding(
        &self,
        principal: &Principal,
        finding_id: &str,
        comment: &str,
    ) -> Result<FindingView, ReviewError> {
        self.move_on(principal, Action::Close, HistoryKind::Closed, finding_id, comment).await
    }

    /// Everything that happened to a finding, oldest first.
    ///
    /// # Errors
    /// [`Refusal::UnknownFinding`] as [`Db::get`].
    pub async fn history(&self, finding_id: &str, scope: &Scope) -> Result<Vec<HistoryEntry>, ReviewError> {
        const DOING: &str = "reading a finding's history";
        self.get(finding_id, scope).await?;
        let rows = sqlx::query(
            "SELECT finding_id, ordinal, at, kind, by_user_id, by_name, to_user_id, outcome, comment \
             FROM finding_history WHERE finding_id = $1 ORDER BY ordinal",
        )
        .bind(finding_id)
        .fetch_all(self.readers())
        .await
        .map_err(database(DOING))?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            let unreadable = |column: &'static str| ReviewError::Stored {
                table: "finding_history",
                column,
                what: "unknown word".into(),
            };
            let kind: String = row.try_get("kind").map_err(database(DOING))?;
            let outcome: Option<String> = row.try_get("outcome").map_err(database(DOING))?;
            entries.push(HistoryEntry {
                finding_id: row.try_get("finding_id").map_err(database(DOING))?,
                ordinal: row.try_get("ordinal").map_err(database(DOING))?,
                at: row.try_get("at").map_err(database(DOING))?,
                kind: HistoryKind::ALL
                    .into_iter()
                    .find(|known| known.as_str() == kind)
                    .ok_or_else(|| unreadable("kind"))?,
                by_user_id: row.try_get("by_user_id").map_err(database(DOING))?,
                by_name: row.try_get("by_name").map_err(database(DOING))?,
                to_user_id: row.try_get("to_user_id").map_err(database(DOING))?,
                outcome: outcome.map(|word| word.parse().map_err(|_| unreadable("outcome"))).transpose()?,
                comment: row.try_get("comment").map_err(database(DOING))?,
            });
        }
        Ok(entries)
    }

    async fn move_on(
        &self,
        principal: &Principal,
        action: Action,
        kind: HistoryKind,
        finding_id: &str,
        comment: &str,
    ) -> Result<FindingView, ReviewError> {
        const DOING: &str = "moving a finding on";
        if !may(principal, action) {
            return Err(Refusal::ForbiddenRole.into());
        }
        let mut tx = self.write(DOING).await?;
        let held = held(&mut tx, finding_id).await?;
        may_handle(principal, action, held.concern())?;
        let status = match (kind, held.status) {
            (_, FindingStatus::Closed) => return Err(Refusal::Closed.into()),
            (HistoryKind::Closed, FindingStatus::Decided) => FindingStatus::Closed,
            (HistoryKind::Closed, _) => return Err(Refusal::NotDecided.into()),
            (_, FindingStatus::Decided) => return Err(Refusal::AlreadyDecided.into()),
            _ => FindingStatus::Asked,
        };
        let comment = checked(comment)?;
        let now = self.now();
        sqlx::query("UPDATE findings SET status = $1, changed_at = $2 WHERE finding_id = $3")
            .bind(status.as_str())
            .bind(now)
            .bind(finding_id)
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        let step = Step { comment: Some(comment), ..Step::by(principal, kind) };
        write_down(&mut tx, finding_id, now, &step).await?;
        commit(tx, DOING).await?;
        self.get(finding_id, &Scope::host()).await
    }
}

impl<'a> Step<'a> {
    pub(crate) fn by(principal: &'a Principal, kind: HistoryKind) -> Step<'a> {
        Step {
            kind,
            by_user_id: Some(&principal.user_id),
            by_name: &principal.name,
            to_user_id: None,
            outcome: None,
            comment: None,
        }
    }

    pub(crate) fn by_run(run_id: &'a str, kind: HistoryKind) -> Step<'a> {
        Step { kind, by_user_id: None, by_name: run_id, to_user_id: None, outcome: None, comment: None }
    }
}

/// Adds a step to a finding's history, after all that are there.
pub(crate) async fn write_down(
    tx: &mut Transaction<'static, Sqlite>,
    finding_id: &str,
    at: i64,
    step: &Step<'_>,
) -> Result<(), ReviewError> {
    sqlx::query(
        "INSERT INTO finding_history (finding_id, ordinal, at, kind, by_user_id, by_name, to_user_id, outcome, comment) \
         SELECT $1, COALESCE(MAX(ordinal) + 1, 0), $2, $3, $4, $5, $6, $7, $8 FROM finding_history WHERE finding_id = $1",
    )
    .bind(finding_id)
    .bind(at)
    .bind(step.kind.as_str())
    .bind(step.by_user_id)
    .bind(step.by_name)
    .bind(step.to_user_id)
    .bind(step.outcome.map(Outcome::as_str))
    .bind(step.comment)
    .execute(&mut **tx)
    .await
    .map_err(database("writing down what happened to a finding"))?;
    Ok(())
}

/// A finding as a decision needs it, read under the write lock.
pub(crate) struct Held {
    status: FindingStatus,
    user_id: String,
    care_unit_id: Option<String>,
    controller_id: Option<String>,
    assigned_to: Option<String>,
    user_leads_unit: bool,
}

impl Held {
    pub(crate) fn concern(&self) -> Concern<'_> {
        Concern {
            user_id: Some(&self.user_id),
            care_unit_id: self.care_unit_id.as_deref(),
            controller_id: self.controller_id.as_deref(),
            assigned_to: self.assigned_to.as_deref(),
            user_leads_unit: self.user_leads_unit,
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.status, FindingStatus::Decided | FindingStatus::Closed)
    }
}

pub(crate) async fn held(connection: &mut SqliteConnection, finding_id: &str) -> Result<Held, ReviewError> {
    let failed = database("reading a finding");
    let row = sqlx::query(
        "SELECT status, user_id, care_unit_id, controller_id, assigned_to, user_leads_unit FROM findings \
         WHERE finding_id = $1",
    )
    .bind(finding_id)
    .fetch_optional(connection)
    .await
    .map_err(&failed)?
    .ok_or(Refusal::UnknownFinding)?;
    Ok(Held {
        status: crate::findings::word(&row, "status")?,
        user_id: row.try_get("user_id").map_err(&failed)?,
        care_unit_id: row.try_get("care_unit_id").map_err(&failed)?,
        controller_id: row.try_get("controller_id").map_err(&failed)?,
        assigned_to: row.try_get("assigned_to").map_err(&failed)?,
        user_leads_unit: row.try_get::<i64, _>("user_leads_unit").map_err(&failed)? != 0,
    })
}

pub(crate) fn checked(comment: &str) -> Result<&str, Refusal> {
    optional(comment)?.ok_or(Refusal::CommentMissing)
}

fn optional(comment: &str) -> Result<Option<&str>, Refusal> {
    let comment = comment.trim();
    let found = comment.chars().count();
    if found > LONGEST_COMMENT {
        return Err(Refusal::CommentTooLong { found, most: LONGEST_COMMENT });
    }
    Ok((!comment.is_empty()).then_some(comment))
}
