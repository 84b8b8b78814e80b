//! What is past its time goes from everywhere: the lake, the findings, the loads of context tables, the spool.

use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use insyn_engine::context::{self, Superseded};
use insyn_engine::lake::Survey;
use insyn_engine::retain::{Class, Fate, Plan, Row};
use insyn_ingest::spool;
use insyn_review::{Aged, Db};

use crate::house::{CommandLook, House, os_account};
use crate::retention;

/// What would go.
#[derive(Debug, Default)]
pub struct Due {
    pub survey: Survey,
    /// Their ids.
    pub findings: Vec<String>,
    /// Of context tables.
    pub superseded: Superseded,
    /// Files of own looks that the lake has.
    pub spool: Vec<PathBuf>,
}

impl Due {
    /// Whether anything goes that somebody had to decide.
    pub fn is_empty(&self) -> bool {
        self.survey.rows() == 0 && self.findings.is_empty() && self.superseded.is_empty()
    }

    /// As a sentence begins.
    pub fn told(&self) -> String {
        format!(
            "{} rows, {} findings, {} loads and {} earlier rows of context tables, {} files of the spool",
            self.survey.rows(),
            self.findings.len(),
            self.superseded.loads.len(),
            self.superseded.rows,
            self.spool.len()
        )
    }
}

/// What would go with this plan now.
pub async fn look(house: &House, db: &Db, plan: &Plan) -> anyhow::Result<Due> {
    let survey = house.lake.survey(plan).await?;
    let findings = db.aged_findings(plan.horizon(), &|finding| goes(plan, finding)).await?;
    let superseded = match all_before(plan) {
        Some(before) => context::aged(&house.lake, before).await?,
        None => Superseded::default(),
    };
    let day = retention::days_before(Utc::now().timestamp_micros(), house.config.retention.spool_days)?;
    let spool = spool::cleared(&house.lake, &house.config.path(&house.config.spool.dir), day).await?;
    Ok(Due { survey, findings, superseded, spool })
}

/// Removes it, after it is written down that and why. Gives what went of the lake.
pub async fn remove(house: &House, db: &Db, plan: &Plan, due: &Due) -> anyhow::Result<Survey> {
    let grounds: Vec<&str> = plan.grounds.iter().map(|ground| ground.name.as_str()).collect();
    if !due.is_empty() {
        house
            .looked(CommandLook {
                activity: "retain",
                reason: Some(grounds.join("; ")),
                query: Some(due.told()),
                subjects: Vec::new(),
                rows: due.survey.rows(),
            })
            .await?;
    }
    let gone = house.lake.remove(plan, &os_account()).await?;
    db.remove_findings(&due.findings).await?;
    context::forget(&house.lake, &due.superseded).await?;
    spool::clear(&house.config.path(&house.config.spool.dir), &due.spool)?;
    Ok(gone)
}

/// Sees to it that no file holds what was removed. False when others had the lake open for longer than `patience`.
pub async fn purge(house: &House, db: &Db, patience: Duration) -> anyhow::Result<bool> {
    let is_done = house.lake.purge(patience).await?.is_some();
    db.scrub().await?;
    Ok(is_done)
}

/// A finding goes when each of its accesses may.
fn goes(plan: &Plan, finding: &Aged) -> bool {
    let nowhere = [String::new()];
    let sources = if finding.sources.is_empty() { &nowhere[..] } else { &finding.sources };
    sources.iter().all(|source| {
        let row = Row {
            source,
            controller: finding.controller_id.as_deref().unwrap_or_default(),
            at: finding.last_at,
            subject: finding.subject_id.as_deref(),
            user: Some(&finding.user_id),
            ..Row::default()
        };
        matches!(plan.fate(&row), Fate::Goes(_))
    })
}

/// Before this instant everything may go, whatever it is: then nobody needs to know what was known then. None while
/// anything is held.
fn all_before(plan: &Plan) -> Option<i64> {
    let of_all = plan.grounds.iter().filter(|ground| ground.of == Class::default());
    let decided = of_all.map(|ground| ground.before).max()?;
    let shortest = plan.terms.iter().map(|term| term.shortest).min()?;
    plan.holds.is_empty().then_some(decided.min(shortest))
}
