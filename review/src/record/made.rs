//! Findings that a run makes: many at once, some statements for hundreds of them.

use insyn_rules::{Finding, FindingStatus, Outcome, RunRecord};
use sqlx::{QueryBuilder, Sqlite, Transaction};

use super::{DOING, count, put_events, put_statements, text, user_leads_unit, words};
use crate::{
    db::execute,
    decide::HistoryKind,
    error::ReviewError,
    principal::account_key,
    suppress::{are_any_in_force, cover},
};

/// A finding that is not there yet.
pub(super) struct Made {
    pub finding_id: String,
    pub identity: String,
    /// Its place in the chain of its identity.
    pub ordinal: i64,
    pub follows: Option<String>,
    /// As it is shown.
    pub finding: Finding,
    /// As the run states it.
    pub statement: Finding,
}

/// Writes them with their events, their statement and how they came, and says which suppression covers them.
pub(super) async fn put(
    tx: &mut Transaction<'static, Sqlite>,
    run: &RunRecord,
    now: i64,
    made: &[Made],
) -> Result<(), ReviewError> {
    if made.is_empty() {
        return Ok(());
    }
    put_findings(tx, now, made).await?;
    let events = made
        .iter()
        .flat_map(|one| one.finding.event_ids.iter().map(|event| (one.finding_id.as_str(), event.as_str())));
    put_events(tx, events.collect()).await?;
    let statements = made.iter().map(|one| (one.finding_id.as_str(), 0, &one.statement));
    put_statements(tx, statements.collect()).await?;
    put_history(tx, run, now, made).await?;
    if are_any_in_force(tx, now).await? {
        for one in made {
            cover(tx, &run.run_id, &one.finding_id, &one.finding, (now, true)).await?;
        }
    }
    Ok(())
}

async fn put_findings(
    tx: &mut Transaction<'static, Sqlite>,
    now: i64,
    made: &[Made],
) -> Result<(), ReviewError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO findings (finding_id, identity, ordinal, follows, rule_id, rule_version, level, score, status, \
         outcome, settles_at, user_id, user_key, subject_id, care_unit_id, controller_id, first_at, last_at, \
         event_count, event_ids, title_sv, title_en, reasons, evidence, words, created_at, changed_at, \
         user_leads_unit) ",
    );
    let mut texts = Vec::with_capacity(made.len());
    for one in made {
        let finding = &one.finding;
        texts.push((text(&finding.event_ids)?, text(&finding.reasons)?, text(&finding.evidence)?));
    }
    query.push_values(made.iter().zip(texts), |mut row, (one, (event_ids, reasons, evidence))| {
        let finding = &one.finding;
        row.push_bind(one.finding_id.clone()).push_bind(one.identity.clone());
        row.push_bind(one.ordinal).push_bind(one.follows.clone());
        row.push_bind(finding.rule_id.clone()).push_bind(i64::from(finding.rule_version));
        row.push_bind(finding.level.as_str()).push_bind(i64::from(finding.score));
        row.push_bind(FindingStatus::New.as_str()).push_bind(Outcome::None.as_str());
        row.push_bind(finding.settles_at);
        row.push_bind(finding.user_id.clone()).push_bind(account_key(&finding.user_id));
        row.push_bind(finding.subject_id.clone()).push_bind(finding.care_unit_id.clone());
        row.push_bind(finding.controller_id.clone());
        row.push_bind(finding.first_at).push_bind(finding.last_at).push_bind(count(finding));
        row.push_bind(event_ids);
        row.push_bind(finding.title_sv.clone()).push_bind(finding.title_en.clone());
        row.push_bind(reasons).push_bind(evidence).push_bind(words(finding));
        row.push_bind(finding.created_at).push_bind(now).push_bind(user_leads_unit(finding));
    });
    execute(tx, query, DOING).await
}

async fn put_history(
    tx: &mut Transaction<'static, Sqlite>,
    run: &RunRecord,
    now: i64,
    made: &[Made],
) -> Result<(), ReviewError> {
    let mut query =
        QueryBuilder::<Sqlite>::new("INSERT INTO finding_history (finding_id, ordinal, at, kind, by_name) ");
    query.push_values(made, |mut row, one| {
        row.push_bind(one.finding_id.clone()).push_bind(0_i64).push_bind(now);
        row.push_bind(HistoryKind::Made.as_str()).push_bind(run.run_id.clone());
    });
    execute(tx, query, DOING).await
}
