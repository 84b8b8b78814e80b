//! A backtest: what another setting would have found, beside what today's does, before anybody is flagged.

use std::collections::{BTreeMap, BTreeSet};

use insyn_engine::config::Organisation;
use insyn_engine::session::Session;
use serde::Serialize;

use crate::calendar::CalendarWindow;
use crate::finding::Finding;
use crate::pack::Pack;
use crate::record::{RuleRun, RuleState};
use crate::rule::{Level, ParamValue, Rule, WindowSize};
use crate::run::{RunError, Window, run};

/// What one rule finds by two settings. Counts only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// By week and unit, in that order.
    pub weeks: Vec<BacktestWeek>,
    /// By level, the highest first; levels of which there is none are left out.
    pub levels: Vec<BacktestLevel>,
    /// Why one of the two could not judge.
    pub failed: Option<String>,
}

/// What both settings find in a week on a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BacktestWeek {
    /// Its Monday, as 2026-03-02, in the organisation's zone.
    pub week: String,
    /// From which unit; none where the log does not say.
    pub care_unit_id: Option<String>,
    /// Findings by today's setting.
    pub today: u64,
    /// By the one that is tried.
    pub tried: u64,
}

/// What both settings find of a level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BacktestLevel {
    /// Which level.
    pub level: Level,
    /// Findings by today's setting.
    pub today: u64,
    /// By the one that is tried.
    pub tried: u64,
}

/// The rules that are not set alike in the two packs.
pub fn changed(today: &Pack, tried: &Pack) -> BTreeSet<String> {
    let differs = |rule: &&Rule| today.rule(&rule.id).is_none_or(|old| setting(old) != setting(rule));
    tried.rules().iter().filter(differs).map(|rule| rule.id.clone()).collect()
}

/// Judges the period by both packs, keeps nothing, and compares the rules that `which` names. `mine` says which findings
/// the one who asks may count.
///
/// # Errors
/// When the tables that every rule reads cannot be read.
pub async fn backtest(
    (today, tried): (&Pack, &Pack),
    which: &BTreeSet<String>,
    session: &Session,
    organisation: &Organisation,
    window: Window,
    mine: impl Fn(&Finding) -> bool,
) -> Result<Vec<Backtest>, RunError> {
    let now = judged(today, which, session, organisation, window).await?;
    // The same setting twice gives the same twice.
    let differ = changed(today, tried);
    let then = match which.is_disjoint(&differ) {
        true => now.clone(),
        false => judged(tried, which, session, organisation, window).await?,
    };
    let week = |finding: &Finding| {
        let week = CalendarWindow::of(WindowSize::Week, finding.first_at, organisation.timezone);
        (week.first_day.to_string(), finding.care_unit_id.clone())
    };
    let compare = |rule: &Rule| {
        let findings = |of: &Judged| -> Vec<Finding> {
            of.findings.iter().filter(|one| one.rule_id == rule.id && mine(one)).cloned().collect()
        };
        let (today, tried) = (findings(&now), findings(&then));
        let ids = |of: &[Finding]| -> BTreeSet<String> {
            of.iter().map(|finding| finding.finding_id.clone()).collect()
        };
        let (today_ids, tried_ids) = (ids(&today), ids(&tried));
        let weeks = counted(&today, &tried, week).into_iter();
        let levels = counted(&today, &tried, |finding| finding.level).into_iter().rev();
        Backtest {
            rule_id: rule.id.clone(),
            found_today: today.len() as u64,
            found_tried: tried.len() as u64,
            only_tried: tried_ids.difference(&today_ids).count() as u64,
            only_today: today_ids.difference(&tried_ids).count() as u64,
            weeks: weeks
                .map(|((week, care_unit_id), [today, tried])| BacktestWeek {
                    week,
                    care_unit_id,
                    today,
                    tried,
                })
                .collect(),
            levels: levels.map(|(level, [today, tried])| BacktestLevel { level, today, tried }).collect(),
            failed: then.failed.get(&rule.id).or_else(|| now.failed.get(&rule.id)).cloned(),
        }
    };
    Ok(tried.rules().iter().filter(|rule| which.contains(&rule.id)).map(compare).collect())
}

/// What a pack makes of the period.
#[derive(Clone)]
struct Judged {
    findings: Vec<Finding>,
    /// Of rules that could not judge: why.
    failed: BTreeMap<String, String>,
}

async fn judged(
    pack: &Pack,
    which: &BTreeSet<String>,
    session: &Session,
    organisation: &Organisation,
    window: Window,
) -> Result<Judged, RunError> {
    let pack = pack.clone().only(|rule| which.contains(&rule.id)).out_of_the_shadow();
    let report = run(&pack, session, organisation, window, None).await?;
    let failed = report.record.rules.iter().filter_map(|run| Some((run.rule_id.clone(), why(run)?)));
    Ok(Judged { failed: failed.collect(), findings: report.findings })
}

/// How many of both there are, by what `key` says.
fn counted<K: Ord>(
    today: &[Finding],
    tried: &[Finding],
    key: impl Fn(&Finding) -> K,
) -> BTreeMap<K, [u64; 2]> {
    let mut counts: BTreeMap<K, [u64; 2]> = BTreeMap::new();
    today.iter().for_each(|finding| counts.entry(key(finding)).or_default()[0] += 1);
    tried.iter().for_each(|finding| counts.entry(key(finding)).or_default()[1] += 1);
    counts
}

fn why(run: &RuleRun) -> Option<String> {
    (run.state != RuleState::Evaluated).then(|| run.why.clone().unwrap_or_default())
}

/// All that decides what a rule finds and of which level.
fn setting(rule: &Rule) -> String {
    let params = rule.shown_params().into_iter().map(|(name, value)| format!(", {name} = {value}"));
    format!("version {}, {}, {}{}", rule.version, rule.status, rule.level, params.collect::<String>())
}

/// The file in an organisation's own folder of rules that sets the rule as it was tried.
pub fn as_override(tried: &Rule, today: &Rule) -> String {
    let mut lines = vec![format!("override = {}", quoted(&tried.id))];
    if tried.level != today.level || tried.most.is_some() {
        lines.push(format!("level = {}", quoted(tried.level.as_str())));
    }
    if tried.status != today.status {
        lines.push(format!("status = {}", quoted(tried.status.as_str())));
    }
    let set = tried.params.iter().filter(|(_, param)| param.value != param.default);
    let set: Vec<String> = set.map(|(name, param)| format!("{name} = {}", written(&param.value))).collect();
    if !set.is_empty() {
        lines.push("[parameters]".into());
        lines.extend(set);
    }
    lines.join("\n") + "\n"
}

/// As TOML writes it.
fn written(value: &ParamValue) -> String {
    match value {
        ParamValue::Flag(flag) => flag.to_string(),
        ParamValue::Integer(n) => n.to_string(),
        // With its point: a whole number would be read as one.
        ParamValue::Number(n) => format!("{n:?}"),
        ParamValue::Duration(duration) => quoted(&duration.to_string()),
        ParamValue::Text(text) => quoted(text),
        ParamValue::Texts(texts) => {
            format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_can_be_set_by_a_file() {
        let today = Pack::builtin().unwrap();
        let mut tried = today.clone();
        let mut set = 0;
        for rule in today.rules() {
            tried.tune(&rule.id, "level", "low").unwrap();
            tried.tune(&rule.id, "status", "experimental").unwrap();
            for (name, param) in &rule.params {
                // The bound that the default is not, else the default.
                let other = [&param.min, &param.max].into_iter().flatten().find(|v| **v != param.default);
                tried.tune(&rule.id, name, &other.unwrap_or(&param.default).to_string()).unwrap();
                set += usize::from(other.is_some());
            }
        }
        assert!(set > 20, "only {set} parameters differ");
        let folder = tempfile::tempdir().unwrap();
        for rule in today.rules() {
            let text = as_override(tried.rule(&rule.id).unwrap(), rule);
            std::fs::write(folder.path().join(format!("{}.toml", rule.id)), text).unwrap();
        }
        let loaded = Pack::load(folder.path()).unwrap();
        assert!(loaded.problems().is_empty(), "{:?}", loaded.problems());
        assert_eq!(changed(&tried, &loaded), BTreeSet::new());
        assert!(!changed(&today, &loaded).is_empty());
    }
}
