//! Writing a run and its findings: one transaction, and the same again changes nothing.
//!
//! An identity (rule, who, whose, window) has a chain of findings, of which at most the last is open. What a run states
//! goes into the open one; events that were decided are left out first; where none is open and events are left, a new
//! finding is made that follows the last.

mod made;

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use insyn_rules::{
    Finding, FindingStatus, FindingStore, Pair, Recorded, RuleMark, RunRecord, StoreError, identity,
};
use serde::Serialize;
use sqlx::{QueryBuilder, Sqlite, Transaction, sqlite::SqliteRow};

use made::Made;

use crate::{
    db::{Db, commit, execute},
    decide::{HistoryKind, Step, write_down},
    error::{ReviewError, database},
    findings::{json, value, word},
    merge::{Join, Key, join, keys, less, shown},
    suppress::cover,
};

const DOING: &str = "recording findings";
/// Identities looked up in one statement.
const CHUNK: usize = 400;
/// Rows of the small tables that go in one statement.
const ROWS: usize = 2_000;

#[async_trait]
impl FindingStore for Db {
    async fn waiting(&self, now: i64) -> Result<Vec<Finding>, StoreError> {
        Db::waiting(self, now).await.map_err(|error| StoreError(Box::new(error)))
    }

    async fn stated(&self, pairs: &[Pair], from: i64, to: i64) -> Result<Vec<Finding>, StoreError> {
        Db::stated(self, pairs, from, to).await.map_err(|error| StoreError(Box::new(error)))
    }

    async fn marks(&self) -> Result<Vec<RuleMark>, StoreError> {
        Db::marks(self).await.map_err(|error| StoreError(Box::new(error)))
    }

    async fn record(
        &self,
        run: &RunRecord,
        findings: &[Finding],
        settled: &[String],
    ) -> Result<Recorded, StoreError> {
        self.record_run(run, findings, settled).await.map_err(|error| StoreError(Box::new(error)))
    }
}

impl Db {
    /// As [`FindingStore::record`], with this room's own errors.
    pub async fn record_run(
        &self,
        run: &RunRecord,
        findings: &[Finding],
        settled: &[String],
    ) -> Result<Recorded, ReviewError> {
        let mut tx = self.write(DOING).await?;
        let mut recorded = Recorded::default();
        for finding_id in settled {
            recorded.settled += u64::from(settle(&mut tx, run, self.now(), finding_id).await?);
        }
        // Several findings of one identity in one run would each have to see the one before, so they go one by one.
        for part in rounds(findings) {
            for chunk in part.chunks(CHUNK) {
                let ids: Vec<&str> = chunk.iter().map(|finding| finding.finding_id.as_str()).collect();
                let mut chains = chains(&mut tx, &ids).await?;
                let mut made = Vec::new();
                for finding in chunk {
                    let chain = chains.remove(finding.finding_id.as_str()).unwrap_or_default();
                    match record_one(&mut tx, run, self.now(), chain, finding).await? {
                        Became::Made(new) => made.push(*new),
                        Became::Joined => recorded.joined += 1,
                        Became::Nothing => recorded.unchanged += 1,
                    }
                }
                recorded.new += made.len() as u64;
                made::put(&mut tx, run, self.now(), &made).await?;
            }
        }
        crate::runs::put(&mut tx, run, recorded).await?;
        crate::explained::put(&mut tx, &run.explained).await?;
        crate::evaluated::put(&mut tx, &run.evaluated).await?;
        crate::marks::put(&mut tx, &run.run_id, &run.marks).await?;
        crate::shadow::put(&mut tx, &run.run_id, &run.shadow).await?;
        commit(tx, DOING).await?;
        tracing::info!(
            run = run.run_id,
            new = recorded.new,
            joined = recorded.joined,
            unchanged = recorded.unchanged,
            settled = recorded.settled,
            "findings recorded"
        );
        Ok(recorded)
    }
}

/// The findings of one identity, as far as a new statement has to know them.
#[derive(Default)]
struct Chain {
    /// How many there are.
    length: i64,
    /// The newest, if any, and whether it is still open.
    last: Option<(String, bool)>,
    /// What was stated of the open one.
    statements: Vec<Finding>,
    /// Events of all that people decided. What only settled can be found again, when what explained it is withdrawn.
    decided: BTreeSet<Key>,
}

/// Findings such that no round holds an identity twice; the order within an identity stays.
fn rounds(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut rounds: Vec<Vec<&Finding>> = Vec::new();
    let mut times: HashMap<&str, usize> = HashMap::new();
    for finding in findings {
        let round = times.entry(&finding.finding_id).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(finding);
        *round += 1;
    }
    rounds
}

async fn chains(
    tx: &mut Transaction<'static, Sqlite>,
    identities: &[&str],
) -> Result<HashMap<String, Chain>, ReviewError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT identity, finding_id, status, settled_at, event_ids FROM findings WHERE identity IN (",
    );
    let mut list = query.separated(", ");
    for id in identities {
        list.push_bind((*id).to_owned());
    }
    query.push(") ORDER BY identity, ordinal");
    let rows: Vec<SqliteRow> = query.build().fetch_all(&mut **tx).await.map_err(database(DOING))?;
    let mut chains: HashMap<String, Chain> = HashMap::new();
    let mut decided: HashMap<String, Vec<String>> = HashMap::new();
    let mut open: HashMap<String, String> = HashMap::new();
    for row in &rows {
        let (identity, finding_id): (String, String) = (value(row, "identity")?, value(row, "finding_id")?);
        let is_open = !matches!(word(row, "status")?, FindingStatus::Decided | FindingStatus::Closed);
        if is_open {
            open.insert(finding_id.clone(), identity.clone());
        } else if value::<Option<i64>>(row, "settled_at")?.is_none() {
            decided.entry(identity.clone()).or_default().extend(json::<Vec<String>>(row, "event_ids")?);
        }
        let chain = chains.entry(identity).or_default();
        chain.length += 1;
        chain.last = Some((finding_id, is_open));
    }
    for (identity, events) in decided {
        chains.entry(identity).or_default().decided = keys(&events);
    }
    if !open.is_empty() {
        statements(tx, &open, &mut chains).await?;
    }
    Ok(chains)
}

async fn statements(
    tx: &mut Transaction<'static, Sqlite>,
    open: &HashMap<String, String>,
    chains: &mut HashMap<String, Chain>,
) -> Result<(), ReviewError> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT finding_id, body FROM finding_statements WHERE finding_id IN (");
    let mut list = query.separated(", ");
    for id in open.keys() {
        list.push_bind(id.clone());
    }
    query.push(") ORDER BY finding_id, ordinal");
    let rows: Vec<SqliteRow> = query.build().fetch_all(&mut **tx).await.map_err(database(DOING))?;
    for row in &rows {
        let finding_id: String = value(row, "finding_id")?;
        if let Some(identity) = open.get(&finding_id) {
            chains.entry(identity.clone()).or_default().statements.push(json(row, "body")?);
        }
    }
    Ok(())
}

/// What became of one statement.
enum Became {
    /// A finding, which is to be written.
    Made(Box<Made>),
    Joined,
    Nothing,
}

async fn record_one(
    tx: &mut Transaction<'static, Sqlite>,
    run: &RunRecord,
    now: i64,
    chain: Chain,
    stated: &Finding,
) -> Result<Became, ReviewError> {
    let Some(rest) = less(stated, &chain.decided) else { return Ok(Became::Nothing) };
    if let Some((finding_id, true)) = &chain.last {
        let Join::Changed { statements, new_events } = join(&chain.statements, rest) else {
            return Ok(Became::Nothing);
        };
        let Some(finding) = shown(&statements) else { return Ok(Became::Nothing) };
        update(tx, finding_id, &finding, now).await?;
        put_parts(tx, finding_id, &finding, &statements).await?;
        let comment = format!("+{new_events}");
        let step = Step { comment: Some(&comment), ..Step::by_run(&run.run_id, HistoryKind::Joined) };
        write_down(tx, finding_id, now, &step).await?;
        cover(tx, &run.run_id, finding_id, &finding, (now, false)).await?;
        return Ok(Became::Joined);
    }
    // Decided, and nothing to be about that was not: a finding without events is decided once.
    if chain.last.is_some() && rest.event_ids.is_empty() {
        return Ok(Became::Nothing);
    }
    let base = &stated.finding_id;
    let finding_id = match chain.length {
        0 => base.clone(),
        n => identity("follows", base, None, &n.to_string()),
    };
    let statement = [rest];
    let Some(finding) = shown(&statement) else { return Ok(Became::Nothing) };
    let [statement] = statement;
    Ok(Became::Made(Box::new(Made {
        finding_id,
        identity: base.clone(),
        ordinal: chain.length,
        follows: chain.last.map(|(id, _)| id),
        finding,
        statement,
    })))
}

/// Closes a finding that is explained, unless somebody took it up meanwhile.
async fn settle(
    tx: &mut Transaction<'static, Sqlite>,
    run: &RunRecord,
    now: i64,
    finding_id: &str,
) -> Result<bool, ReviewError> {
    let done = sqlx::query(
        "UPDATE findings SET status = $1, settled_at = $2, changed_at = $2 WHERE finding_id = $3 AND status IN ($4, $5)",
    )
    .bind(FindingStatus::Closed.as_str())
    .bind(now)
    .bind(finding_id)
    .bind(FindingStatus::New.as_str())
    .bind(FindingStatus::Assigned.as_str())
    .execute(&mut **tx)
    .await
    .map_err(database(DOING))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    write_down(tx, finding_id, now, &Step::by_run(&run.run_id, HistoryKind::Settled)).await?;
    Ok(true)
}

/// Rewrites what was seen; what people did with it (status, outcome, who has it) stays, and so does when it was made.
async fn update(
    tx: &mut Transaction<'static, Sqlite>,
    finding_id: &str,
    finding: &Finding,
    now: i64,
) -> Result<(), ReviewError> {
    sqlx::query(
        "UPDATE findings SET rule_version = $1, level = $2, score = $3, settles_at = $4, care_unit_id = $5, \
         controller_id = $6, first_at = $7, last_at = $8, event_count = $9, event_ids = $10, title_sv = $11, \
         title_en = $12, reasons = $13, evidence = $14, words = $15, changed_at = $16, user_leads_unit = $17 \
         WHERE finding_id = $18",
    )
    .bind(i64::from(finding.rule_version))
    .bind(finding.level.as_str())
    .bind(i64::from(finding.score))
    .bind(finding.settles_at)
    .bind(&finding.care_unit_id)
    .bind(&finding.controller_id)
    .bind(finding.first_at)
    .bind(finding.last_at)
    .bind(count(finding))
    .bind(text(&finding.event_ids)?)
    .bind(&finding.title_sv)
    .bind(&finding.title_en)
    .bind(text(&finding.reasons)?)
    .bind(text(&finding.evidence)?)
    .bind(words(finding))
    .bind(now)
    .bind(user_leads_unit(finding))
    .bind(finding_id)
    .execute(&mut **tx)
    .await
    .map_err(database(DOING))?;
    Ok(())
}

async fn put_parts(
    tx: &mut Transaction<'static, Sqlite>,
    finding_id: &str,
    finding: &Finding,
    statements: &[Finding],
) -> Result<(), ReviewError> {
    put_events(tx, finding.event_ids.iter().map(|event| (finding_id, event.as_str())).collect()).await?;
    sqlx::query("DELETE FROM finding_statements WHERE finding_id = $1")
        .bind(finding_id)
        .execute(&mut **tx)
        .await
        .map_err(database(DOING))?;
    put_statements(tx, (0..).zip(statements).map(|(at, statement)| (finding_id, at, statement)).collect())
        .await
}

/// Events of findings, each once. They only ever join, so those that are there stay.
async fn put_events(
    tx: &mut Transaction<'static, Sqlite>,
    events: BTreeSet<(&str, &str)>,
) -> Result<(), ReviewError> {
    for chunk in Vec::from_iter(events).chunks(ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO finding_events (finding_id, event_id) ");
        query.push_values(chunk, |mut row, (finding_id, event)| {
            row.push_bind((*finding_id).to_owned()).push_bind((*event).to_owned());
        });
        query.push(" ON CONFLICT (finding_id, event_id) DO NOTHING");
        execute(tx, query, DOING).await?;
    }
    Ok(())
}

/// What runs stated of findings, each with its place.
async fn put_statements(
    tx: &mut Transaction<'static, Sqlite>,
    statements: Vec<(&str, i64, &Finding)>,
) -> Result<(), ReviewError> {
    for chunk in statements.chunks(ROWS) {
        let bodies: Vec<String> =
            chunk.iter().map(|(_, _, stated)| text(stated)).collect::<Result<_, _>>()?;
        let mut query =
            QueryBuilder::<Sqlite>::new("INSERT INTO finding_statements (finding_id, ordinal, body) ");
        query.push_values(chunk.iter().zip(bodies), |mut row, ((finding_id, ordinal, _), body)| {
            row.push_bind((*finding_id).to_owned()).push_bind(*ordinal).push_bind(body);
        });
        execute(tx, query, DOING).await?;
    }
    Ok(())
}

fn user_leads_unit(finding: &Finding) -> i64 {
    i64::from(finding.evidence["user_leads_unit"] == true)
}

fn count(finding: &Finding) -> i64 {
    i64::try_from(finding.event_count).unwrap_or(i64::MAX)
}

/// What searching looks in.
fn words(finding: &Finding) -> String {
    let mut words = vec![&finding.rule_id, &finding.title_sv, &finding.title_en, &finding.user_id];
    words.extend(&finding.subject_id);
    words.extend(&finding.care_unit_id);
    words.extend(finding.reasons.iter().flat_map(|reason| [&reason.sv, &reason.en]));
    words.into_iter().map(|word| word.to_lowercase()).collect::<Vec<_>>().join("\n")
}

fn text(value: &impl Serialize) -> Result<String, ReviewError> {
    serde_json::to_string(value).map_err(|e| ReviewError::Database { doing: DOING, what: e.to_string() })
}
