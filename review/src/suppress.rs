//! Suppression with memory: a decision that somebody had reason to look can cover later findings like it.
//!
//! What is covered is found and counted all the same, one in ten is looked at all the same, and a second person reviews each
//! suppression: within thirty days, or what it kept out comes back into the queue. None lasts longer than twelve months, covers a
//! finding of a higher level than the one that was judged, or one of a rule that nothing clears (own record, household, kin,
//! protected identity, watch list).

use insyn_rules::{Finding, FindingStatus, Level, Outcome};
use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Row, Sqlite, Transaction, sqlite::SqliteRow};

use crate::{
    db::{Db, commit},
    decide::{HistoryKind, Step, checked, held, write_down},
    error::{Refusal, ReviewError, database},
    filter::Scope,
    findings::{FindingView, value, word},
    permission::{Action, may, may_decide, may_handle},
    principal::{Principal, account_key},
};

const DAY: i64 = 86_400_000_000;
/// So long it holds without a second person's review.
const REVIEWED_WITHIN: i64 = 30 * DAY;
/// The most that one lasts.
const MOST_MONTHS: u32 = 12;
/// One of so many is looked at all the same.
const SAMPLED: u32 = 10;
const DOING: &str = "reading suppressions";

/// What a suppression covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// Whatever rule finds about the same user and record, from the same unit.
    Person,
    /// What the same rule finds on the same unit.
    Unit,
}

impl Covers {
    fn as_str(self) -> &'static str {
        match self {
            Covers::Person => "person",
            Covers::Unit => "unit",
        }
    }
}

impl std::str::FromStr for Covers {
    type Err = String;
    fn from_str(word: &str) -> Result<Covers, String> {
        [Covers::Person, Covers::Unit]
            .into_iter()
            .find(|covers| covers.as_str() == word)
            .ok_or_else(|| format!("covers: found \"{word}\", expected one of person, unit"))
    }
}

/// How a suppression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionStanding {
    /// It holds until somebody else has looked at it, thirty days at most.
    AwaitsReview,
    /// It holds.
    Holds,
    /// Its time is over.
    Expired,
    /// A second person ended it.
    Ended,
    /// Nobody reviewed it in time.
    Lapsed,
}

/// A suppression.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suppression {
    pub suppression_id: String,
    /// The decided finding that it rests on.
    pub finding_id: String,
    pub covers: Covers,
    /// `None`: any rule.
    pub rule_id: Option<String>,
    pub user_id: Option<String>,
    pub subject_id: Option<String>,
    pub care_unit_id: Option<String>,
    pub controller_id: Option<String>,
    /// No finding of a higher level is covered.
    pub level: Level,
    pub because: String,
    /// µs UTC.
    pub made_at: i64,
    pub made_by: String,
    pub made_by_name: String,
    /// µs UTC.
    pub expires_at: i64,
    pub reviewed_at: Option<i64>,
    pub reviewed_by_name: Option<String>,
    pub review_comment: Option<String>,
    pub standing: SuppressionStanding,
    /// Findings that it covers, those of `sampled` left out.
    pub covered: u64,
    /// Findings that it would cover, had they not been drawn to be looked at.
    pub sampled: u64,
}

impl Db {
    /// Lets the decision that a finding was authorised cover later ones, for so many months.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`] and what [`Db::decide`] refuses, [`Refusal::NotAuthorised`], [`Refusal::NeverCovered`],
    /// [`Refusal::BadMonths`], [`Refusal::CommentMissing`], [`Refusal::CommentTooLong`], [`Refusal::AlreadyCovers`].
    pub async fn suppress(
        &self,
        principal: &Principal,
        finding_id: &str,
        covers: Covers,
        months: u32,
        because: &str,
    ) -> Result<String, ReviewError> {
        const DOING: &str = "covering later findings";
        let mut tx = self.write(DOING).await?;
        let held = held(&mut tx, finding_id).await?;
        match covers {
            Covers::Person => may_decide(principal, held.concern())?,
            // For everybody on a unit: within what coordinators set.
            Covers::Unit => may_handle(principal, Action::SetParameters, held.concern())?,
        }
        let view = self.get(finding_id, &Scope::host()).await?;
        let finding = &view.finding;
        if finding.outcome != Outcome::Authorised {
            return Err(Refusal::NotAuthorised.into());
        }
        let whose = match covers {
            Covers::Person => finding.subject_id.is_some(),
            Covers::Unit => finding.care_unit_id.is_some(),
        };
        if never_covered(finding) || !whose {
            return Err(Refusal::NeverCovered.into());
        }
        if !(1..=MOST_MONTHS).contains(&months) {
            return Err(Refusal::BadMonths { found: months, most: MOST_MONTHS }.into());
        }
        let because = checked(because)?;
        let (now, of_person) = (self.now(), covers == Covers::Person);
        if is_covered_already(&mut tx, principal, finding, covers, now).await? {
            return Err(Refusal::AlreadyCovers.into());
        }
        let id = uuid::Uuid::now_v7().to_string();
        sqlx::query(
            "INSERT INTO suppressions (suppression_id, finding_id, covers, rule_id, user_id, user_key, subject_id, \
             care_unit_id, controller_id, level, because, made_at, made_by, made_by_name, made_by_keys, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        )
        .bind(&id)
        .bind(finding_id)
        .bind(covers.as_str())
        .bind((!of_person).then_some(&finding.rule_id))
        .bind(of_person.then_some(&finding.user_id))
        .bind(of_person.then(|| account_key(&finding.user_id)))
        .bind(finding.subject_id.as_ref().filter(|_| of_person))
        .bind(&finding.care_unit_id)
        .bind(&finding.controller_id)
        .bind(finding.level.as_str())
        .bind(because)
        .bind(now)
        .bind(&principal.user_id)
        .bind(&principal.name)
        .bind(keys_text(principal))
        // A month is counted as 30 days, a year never as more than 365.
        .bind(now + (i64::from(months) * 30 * DAY).min(365 * DAY))
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        let step = Step { comment: Some(because), ..Step::by(principal, HistoryKind::Covers) };
        write_down(&mut tx, finding_id, now, &step).await?;
        commit(tx, DOING).await?;
        Ok(id)
    }

    /// A second person's review: it goes on, or it ends and what it kept out comes back.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`], [`Refusal::UnknownSuppression`], what [`Db::decide`] refuses, [`Refusal::SamePerson`], [`Refusal::SuppressionEnded`], [`Refusal::CommentMissing`].
    pub async fn review_suppression(
        &self,
        principal: &Principal,
        suppression_id: &str,
        keep: bool,
        comment: &str,
    ) -> Result<(), ReviewError> {
        const DOING: &str = "reviewing a suppression";
        if !may(principal, Action::Decide) && !may(principal, Action::Assign) {
            return Err(Refusal::ForbiddenRole.into());
        }
        let mut tx = self.write(DOING).await?;
        let row = sqlx::query(
            "SELECT finding_id, made_by, kept, expires_at FROM suppressions WHERE suppression_id = $1",
        )
        .bind(suppression_id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(database(DOING))?
        .ok_or(Refusal::UnknownSuppression)?;
        let finding_id: String = value(&row, "finding_id")?;
        let held = held(&mut tx, &finding_id).await?;
        // As somebody who could have judged it, or given it to another.
        if may_handle(principal, Action::Assign, held.concern()).is_err() {
            may_decide(principal, held.concern())?;
        }
        if value::<String>(&row, "made_by")? == principal.user_id {
            return Err(Refusal::SamePerson.into());
        }
        let now = self.now();
        let expired = value::<i64>(&row, "expires_at")? <= now;
        if value::<Option<i64>>(&row, "kept")? == Some(0) || keep && expired {
            return Err(Refusal::SuppressionEnded.into());
        }
        let comment = checked(comment)?;
        sqlx::query(
            "UPDATE suppressions SET kept = $1, reviewed_at = $2, reviewed_by = $3, reviewed_by_name = $4, \
             reviewed_by_keys = $5, review_comment = $6 WHERE suppression_id = $7",
        )
        .bind(i64::from(keep))
        .bind(now)
        .bind(&principal.user_id)
        .bind(&principal.name)
        .bind(keys_text(principal))
        .bind(comment)
        .bind(suppression_id)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        let step = Step { comment: Some(comment), ..Step::by(principal, HistoryKind::Reviewed) };
        write_down(&mut tx, &finding_id, now, &step).await?;
        if !keep {
            let released =
                sqlx::query("SELECT finding_id FROM findings WHERE suppressed_by = $1 AND status = $2")
                    .bind(suppression_id)
                    .bind(FindingStatus::New.as_str())
                    .fetch_all(&mut *tx)
                    .await
                    .map_err(database(DOING))?;
            for row in &released {
                let step = Step::by(principal, HistoryKind::Uncovered);
                write_down(&mut tx, &value::<String>(row, "finding_id")?, now, &step).await?;
            }
        }
        commit(tx, DOING).await
    }

    /// The suppressions that a principal may see, those that wait for a second person first, then the newest.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`].
    pub async fn suppressions(&self, principal: &Principal) -> Result<Vec<Suppression>, ReviewError> {
        if !may(principal, Action::ReadFindings) {
            return Err(Refusal::ForbiddenRole.into());
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT s.*, (SELECT COUNT(*) FROM findings c WHERE c.suppressed_by = s.suppression_id) AS covered, \
             (SELECT COUNT(*) FROM findings c WHERE c.sampled_of = s.suppression_id) AS sampled \
             FROM suppressions s JOIN findings f ON f.finding_id = s.finding_id WHERE 1 = 1",
        );
        Scope::of(principal)?.push(&mut query);
        query.push(" ORDER BY s.made_at DESC, s.suppression_id LIMIT 1000");
        let rows: Vec<SqliteRow> = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        let now = self.now();
        let mut all = rows.iter().map(|row| suppression(row, now)).collect::<Result<Vec<_>, _>>()?;
        all.sort_by_key(|one| one.standing != SuppressionStanding::AwaitsReview);
        Ok(all)
    }
}

/// Whether there is one of the same finding already, or one like it by the same person that nobody has agreed to: who was
/// told no does not ask again.
async fn is_covered_already(
    tx: &mut Transaction<'static, Sqlite>,
    principal: &Principal,
    finding: &Finding,
    covers: Covers,
    now: i64,
) -> Result<bool, ReviewError> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT COUNT(*) AS found FROM suppressions s WHERE s.covers = ");
    query.push_bind(covers.as_str()).push(" AND (s.finding_id = ").push_bind(finding.finding_id.clone());
    query.push(" OR (s.made_by = ").push_bind(principal.user_id.clone());
    query.push(" AND (s.kept IS NULL OR s.kept = 0) AND s.expires_at > ").push_bind(now);
    match covers {
        Covers::Person => {
            query.push(" AND s.user_key = ").push_bind(account_key(&finding.user_id));
            query.push(" AND s.subject_id = ").push_bind(finding.subject_id.clone());
        }
        Covers::Unit => {
            query.push(" AND s.rule_id = ").push_bind(finding.rule_id.clone());
        }
    }
    query
        .push(" AND s.care_unit_id IS NOT DISTINCT FROM ")
        .push_bind(finding.care_unit_id.clone())
        .push("))");
    let row = query.build().fetch_one(&mut **tx).await.map_err(database("covering later findings"))?;
    Ok(value::<i64>(&row, "found")? > 0)
}

/// A person's own accounts, as text: one on each line.
fn keys_text(principal: &Principal) -> String {
    principal.own_keys().join("\n")
}

/// Says of a new finding which suppression covers it, if one does; of one that evidence joined (`is_new` is false), whether the
/// one that covered it still does. What somebody has taken up, or what was there before, nothing covers afterwards.
pub(crate) async fn cover(
    tx: &mut Transaction<'static, Sqlite>,
    run_id: &str,
    finding_id: &str,
    finding: &Finding,
    (now, is_new): (i64, bool),
) -> Result<(), ReviewError> {
    const DOING: &str = "covering findings";
    let by = match never_covered(finding) || leads_unit(finding) {
        true => None,
        false => covering(tx, finding, now).await?,
    };
    let (suppressed, sampled) = match is_sampled(finding_id) {
        true => (None, by),
        false => (by, None),
    };
    let changed = sqlx::query(
        "UPDATE findings SET suppressed_by = $1, sampled_of = $2 WHERE finding_id = $3 AND status = $4 \
         AND ($5 = 1 OR suppressed_by IS NOT NULL OR sampled_of IS NOT NULL) \
         AND (suppressed_by IS DISTINCT FROM $1 OR sampled_of IS DISTINCT FROM $2)",
    )
    .bind(&suppressed)
    .bind(&sampled)
    .bind(finding_id)
    .bind(FindingStatus::New.as_str())
    .bind(i64::from(is_new))
    .execute(&mut **tx)
    .await
    .map_err(database(DOING))?;
    if changed.rows_affected() > 0 {
        let kind = if suppressed.is_some() { HistoryKind::Covered } else { HistoryKind::Uncovered };
        write_down(tx, finding_id, now, &Step::by_run(run_id, kind)).await?;
    }
    Ok(())
}

/// Whether there is a suppression at all that could cover something.
pub(crate) async fn are_any_in_force(
    tx: &mut Transaction<'static, Sqlite>,
    now: i64,
) -> Result<bool, ReviewError> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT count(*) AS found FROM suppressions s WHERE s.expires_at > ");
    query.push_bind(now).push(" AND ");
    holds(&mut query, now);
    let row = query.build().fetch_one(&mut **tx).await.map_err(database("covering findings"))?;
    Ok(value::<i64>(&row, "found")? > 0)
}

async fn covering(
    tx: &mut Transaction<'static, Sqlite>,
    finding: &Finding,
    now: i64,
) -> Result<Option<String>, ReviewError> {
    let key = account_key(&finding.user_id);
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT s.suppression_id, s.level, s.made_by_keys, s.reviewed_by_keys FROM suppressions s \
         WHERE ((s.covers = 'person' AND s.user_key = ",
    );
    query.push_bind(key.clone()).push(" AND s.subject_id = ").push_bind(finding.subject_id.clone());
    query.push(") OR (s.covers = 'unit' AND s.rule_id = ").push_bind(finding.rule_id.clone());
    query.push(")) AND s.care_unit_id IS NOT DISTINCT FROM ").push_bind(finding.care_unit_id.clone());
    query.push(" AND s.controller_id IS NOT DISTINCT FROM ").push_bind(finding.controller_id.clone());
    query.push(" AND s.expires_at > ").push_bind(finding.last_at.max(now)).push(" AND ");
    holds(&mut query, now);
    query.push(" ORDER BY s.made_at, s.suppression_id");
    let rows: Vec<SqliteRow> =
        query.build().fetch_all(&mut **tx).await.map_err(database("covering findings"))?;
    for row in &rows {
        let level: Level = word(row, "level")?;
        let own = |column| {
            Ok::<bool, ReviewError>(
                value::<Option<String>>(row, column)?.is_some_and(|keys| keys.lines().any(|own| own == key)),
            )
        };
        // Nobody's own accesses are kept out by their own decision.
        if finding.level <= level && !own("made_by_keys")? && !own("reviewed_by_keys")? {
            return Ok(Some(value(row, "suppression_id")?));
        }
    }
    Ok(None)
}

/// The condition on `suppressions s` that a second person keeps it, or still has time to.
pub(crate) fn holds(query: &mut QueryBuilder<Sqlite>, now: i64) {
    query.push("(s.kept = 1 OR (s.kept IS NULL AND s.made_at > ");
    query.push_bind(now - REVIEWED_WITHIN).push("))");
}

/// Whether this is one of those that are looked at all the same: the same each time, and nobody chooses.
fn is_sampled(finding_id: &str) -> bool {
    let sum = finding_id.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    sum.is_multiple_of(SAMPLED)
}

fn leads_unit(finding: &Finding) -> bool {
    finding.evidence["user_leads_unit"].as_bool() == Some(true)
}

fn never_covered(finding: &Finding) -> bool {
    finding.evidence["never_cleared"].as_bool() != Some(false)
}

impl FindingView {
    /// Whether a decision about it may cover later findings at all.
    pub fn may_cover(&self) -> bool {
        self.finding.outcome == Outcome::Authorised
            && self.finding.status != FindingStatus::New
            && !never_covered(&self.finding)
    }
}

fn suppression(row: &SqliteRow, now: i64) -> Result<Suppression, ReviewError> {
    let number = |name| Ok::<u64, ReviewError>(value::<i64>(row, name)?.unsigned_abs());
    let (made_at, expires_at): (i64, i64) = (value(row, "made_at")?, value(row, "expires_at")?);
    let covers: String = row.try_get("covers").map_err(database(DOING))?;
    let standing = match value::<Option<i64>>(row, "kept")? {
        Some(0) => SuppressionStanding::Ended,
        _ if expires_at <= now => SuppressionStanding::Expired,
        Some(_) => SuppressionStanding::Holds,
        None if made_at <= now - REVIEWED_WITHIN => SuppressionStanding::Lapsed,
        None => SuppressionStanding::AwaitsReview,
    };
    Ok(Suppression {
        suppression_id: value(row, "suppression_id")?,
        finding_id: value(row, "finding_id")?,
        covers: covers.parse().map_err(|what| ReviewError::Stored {
            table: "suppressions",
            column: "covers",
            what,
        })?,
        rule_id: value(row, "rule_id")?,
        user_id: value(row, "user_id")?,
        subject_id: value(row, "subject_id")?,
        care_unit_id: value(row, "care_unit_id")?,
        controller_id: value(row, "controller_id")?,
        level: word(row, "level")?,
        because: value(row, "because")?,
        made_at,
        made_by: value(row, "made_by")?,
        made_by_name: value(row, "made_by_name")?,
        expires_at,
        reviewed_at: value(row, "reviewed_at")?,
        reviewed_by_name: value(row, "reviewed_by_name")?,
        review_comment: value(row, "review_comment")?,
        standing,
        covered: number("covered")?,
        sampled: number("sampled")?,
    })
}
