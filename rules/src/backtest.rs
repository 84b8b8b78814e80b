//! A backtest: what another setting would have found, beside what today's does, before anybody is flagged.

use std::collections::{BTreeMap, BTreeSet};

use insyn_engine::config::Organisation;
use insyn_engine::session::Session;
use serde::Serialize;

use crate::calendar::CalendarWindow;
use crate::finding::Finding;
use crate::pack::Pack;
use crate::record::{RuleRun, RuleState};
use crate::rule::{Rule, WindowSize};
use crate::run::{RunError, Window, run};

/// What one rule finds by two settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    /// Which rule.
    pub rule_id: String,
    /// Findings by today's setting.
    pub found_today: u64,
    /// By the one that is tried.
    pub found_tried: u64,
    /// Those that only the tried one makes.
    pub only_tried: u64,
    /// Those that only today's makes.
    pub only_today: u64,
    /// By week (the Monday, local) and unit: (today, tried).
    pub by_week: BTreeMap<(String, Option<String>), (u64, u64)>,
    /// Why one of the two could not judge.
    pub failed: Option<String>,
}

/// Judges the period by both packs, keeps nothing, and compares the rules that are not set alike.
///
/// # Errors
/// When the tables that every rule reads cannot be read.
pub async fn backtest(
    today: &Pack,
    tried: &Pack,
    session: &Session,
    organisation: &Organisation,
    window: Window,
) -> Result<Vec<Backtest>, RunError> {
    let changed: BTreeSet<&str> = tried
        .rules()
        .iter()
        .filter(|rule| today.rule(&rule.id).is_none_or(|old| setting(old) != setting(rule)))
        .map(|rule| rule.id.as_str())
        .collect();
    let judged = async |pack: &Pack| {
        let pack = pack.clone().only(|rule| changed.contains(rule.id.as_str()));
        let report = run(&pack, session, organisation, window, None).await?;
        let failed: BTreeMap<String, String> =
            report.record.rules.iter().filter_map(|run| Some((run.rule_id.clone(), why(run)?))).collect();
        let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for finding in report.findings {
            found.entry(finding.rule_id.clone()).or_default().push(finding);
        }
        Ok::<_, RunError>((found, failed))
    };
    let (now, now_failed) = judged(today).await?;
    let (then, then_failed) = judged(tried).await?;
    let compare = |rule: &Rule| {
        let findings = |of: &BTreeMap<String, Vec<Finding>>| of.get(&rule.id).cloned().unwrap_or_default();
        let (now, then) = (findings(&now), findings(&then));
        let ids = |of: &[Finding]| -> BTreeSet<String> {
            of.iter().map(|finding| finding.finding_id.clone()).collect()
        };
        let (now_ids, then_ids) = (ids(&now), ids(&then));
        let mut by_week: BTreeMap<(String, Option<String>), (u64, u64)> = BTreeMap::new();
        let week = |finding: &Finding| {
            let week = CalendarWindow::of(WindowSize::Week, finding.first_at, organisation.timezone);
            (week.name(), finding.care_unit_id.clone())
        };
        now.iter().for_each(|finding| by_week.entry(week(finding)).or_default().0 += 1);
        then.iter().for_each(|finding| by_week.entry(week(finding)).or_default().1 += 1);
        Backtest {
            rule_id: rule.id.clone(),
            found_today: now.len() as u64,
            found_tried: then.len() as u64,
            only_tried: then_ids.difference(&now_ids).count() as u64,
            only_today: now_ids.difference(&then_ids).count() as u64,
            by_week,
            failed: then_failed.get(&rule.id).or_else(|| now_failed.get(&rule.id)).cloned(),
        }
    };
    Ok(tried.rules().iter().filter(|rule| changed.contains(rule.id.as_str())).map(compare).collect())
}

fn why(run: &RuleRun) -> Option<String> {
    (run.state != RuleState::Evaluated).then(|| run.why.clone().unwrap_or_default())
}

/// All that decides what a rule finds and of which level.
fn setting(rule: &Rule) -> String {
    let params = rule.shown_params().into_iter().map(|(name, value)| format!(", {name} = {value}"));
    format!("version {}, {}, {}{}", rule.version, rule.status, rule.level, params.collect::<String>())
}
