//! `insyn rules list|check|test|run`, and what is measured of them.

mod backtest;
mod measures;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use insyn_rules::{FindingStore, Limits, Pack, RuleRun, RuleState, RunReport, Window};
use serde::Serialize;

use crate::cli::{Rules, RulesAction};
use crate::config::{Config, ConfigError};
use crate::house::{House, pack};
use crate::print;
use measures::Shown;

pub async fn run(config: &Path, arguments: Rules) -> anyhow::Result<ExitCode> {
    match arguments.action {
        RulesAction::List(format) => list(&pack(own_folder(config)?.as_deref())?, format.chosen()),
        RulesAction::Explanations { from, to, shares, totals, format } => {
            let shown = match (shares, totals) {
                (true, _) => Shown::Shares,
                (_, true) => Shown::Totals,
                _ => Shown::Each,
            };
            measures::explanations(config, from.as_deref(), to.as_deref(), shown, format.chosen()).await
        }
        RulesAction::Lift { from, to, format } => {
            measures::lift(config, from.as_deref(), to.as_deref(), format.chosen()).await
        }
        RulesAction::Check => check(&pack(own_folder(config)?.as_deref())?).await,
        RulesAction::Test { rules } => test(&pack(own_folder(config)?.as_deref())?, &rules).await,
        RulesAction::Run { from, to, set, format, .. } if !set.is_empty() => {
            backtest::run(config, from.as_deref(), to.as_deref(), &set, format.chosen()).await
        }
        RulesAction::Run { from, new: true, .. } => evaluate_news(config, from.as_deref()).await,
        RulesAction::Run { from, to, dry_run, .. } => {
            evaluate(config, from.as_deref(), to.as_deref(), dry_run).await
        }
    }
}

/// The organisation's own folder of rules, where a configuration names one. Listing, checking and testing the pack need
/// no installation, so a missing file is no fault here; a wrong one is.
fn own_folder(config: &Path) -> Result<Option<PathBuf>, ConfigError> {
    if !config.exists() {
        return Ok(None);
    }
    let config = Config::read(config)?;
    Ok(config.rules.dir.as_deref().map(|dir| config.path(dir)))
}

#[derive(Serialize)]
struct Line<'a> {
    rule_id: &'a str,
    rule_version: u32,
    level: &'a str,
    status: &'a str,
    schedule: Option<String>,
    title_sv: &'a str,
    title_en: &'a str,
    needs: &'a [String],
}

fn list(pack: &Pack, format: insyn_engine::output::Format) -> anyhow::Result<ExitCode> {
    let lines: Vec<Line<'_>> = pack
        .rules()
        .iter()
        .map(|rule| Line {
            rule_id: &rule.id,
            rule_version: rule.version,
            level: rule.level.as_str(),
            status: rule.status.as_str(),
            schedule: rule.schedule.as_ref().map(ToString::to_string),
            title_sv: &rule.title.sv,
            title_en: &rule.title.en,
            needs: &rule.needs,
        })
        .collect();
    print::records(format, &lines, chrono_tz::Europe::Stockholm)?;
    Ok(ExitCode::SUCCESS)
}

async fn check(pack: &Pack) -> anyhow::Result<ExitCode> {
    let problems = insyn_rules::check(pack).await;
    for problem in &problems {
        eprintln!("{}:{}:{}: {}", problem.file, problem.line, problem.column, problem.what);
    }
    eprintln!(
        "{} rules, {} explanations, {} problems",
        pack.rules().len(),
        pack.explanations().count(),
        problems.len()
    );
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn test(pack: &Pack, named: &[String]) -> anyhow::Result<ExitCode> {
    for name in named {
        let known = || pack.rules().iter().chain(pack.explanations()).map(|rule| rule.id.as_str());
        if !known().any(|id| id == name) {
            let all = known().collect::<Vec<_>>().join(", ");
            anyhow::bail!("found \"{name}\", expected ids of rules or explanations: {all}");
        }
    }
    let report = insyn_rules::test(pack, named).await;
    for rule in &report.rules {
        for case in &rule.cases {
            match &case.failure {
                None => print::line(&format!("ok     {}: {}", rule.rule_id, case.name))?,
                Some(fault) => print::line(&format!("WRONG  {}: {}: {fault}", rule.rule_id, case.name))?,
            }
        }
    }
    let failed = report.failures().count();
    let cases: usize = report.rules.iter().map(|rule| rule.cases.len()).sum();
    eprintln!(
        "{} rules and explanations, {} cases passed, {} failed",
        report.rules.len(),
        cases - failed,
        failed
    );
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn evaluate(
    file: &Path,
    from: Option<&str>,
    to: Option<&str>,
    dry_run: bool,
) -> anyhow::Result<ExitCode> {
    let house = House::open(file).await?;
    let organisation = &house.config.organisation;
    let (from, to) = print::period(from, to, organisation.timezone)?;
    let window = Window { from, to };
    let db = house.db().await?;
    let store = (!dry_run).then_some(&db as &dyn FindingStore);
    let pack = house.pack()?;
    let report = insyn_rules::run(&pack, &house.session(false).await?, organisation, window, store).await?;
    tell(&report)?;
    let failed = report.record.rules.iter().any(|rule| rule.state == RuleState::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// On what the time went, and the rules that took most of it.
fn times(report: &RunReport) -> String {
    let spent = report.record.spent;
    let mut rules: Vec<_> = report.record.rules.iter().collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.milliseconds));
    let slowest: Vec<String> =
        rules.iter().take(3).map(|rule| format!("{} {}", rule.rule_id, rule.milliseconds)).collect();
    format!(
        "{} accesses: laid out in {} ms, explained in {} ms, judged in {} ms (most by {}), findings made in {} ms",
        report.record.accesses,
        spent.laying,
        spent.explaining,
        spent.judging,
        slowest.join(", "),
        spent.findings
    )
}

/// What came since the rules judged last, by the pack as it runs on schedule.
async fn evaluate_news(file: &Path, from: Option<&str>) -> anyhow::Result<ExitCode> {
    let house = House::open(file).await?;
    let organisation = &house.config.organisation;
    let (from, _) = print::period(from, None, organisation.timezone)?;
    let db = house.db().await?;
    let (pack, session) = (house.scheduled_pack()?, house.session(false).await?);
    let report = insyn_rules::run_news(&pack, &session, organisation, from, &db, Limits::default()).await?;
    tell(&report)?;
    report.record.notes.iter().for_each(|note| eprintln!("{note}"));
    let failed = report.record.rules.iter().any(|rule| rule.state == RuleState::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Counts only: what a run says must not hold personal data.
fn tell(report: &RunReport) -> anyhow::Result<()> {
    let in_shadow = |rule: &RuleRun| report.record.shadow.iter().any(|found| found.rule_id == rule.rule_id);
    for rule in &report.record.rules {
        let state = match rule.state {
            RuleState::Evaluated if in_shadow(rule) => format!("{} findings in the shadow", rule.findings),
            RuleState::Evaluated => format!("{} findings", rule.findings),
            RuleState::NotEvaluated => "not evaluated".into(),
            RuleState::Failed => "FAILED".into(),
        };
        let why = rule.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let units = rule.not_evaluated.iter().filter(|unit| unit.care_unit_id.is_some()).count();
        let without = if units == 0 { String::new() } else { format!(" ({units} units not evaluated)") };
        let waiting = match rule.waiting {
            0 => String::new(),
            n => format!(" ({n} wait for what may still come)"),
        };
        print::line(&format!("{:<28} {state}{waiting}{without}{why}", rule.rule_id))?;
    }
    eprintln!("{}", times(report));
    match &report.recorded {
        Some(kept) => {
            eprintln!(
                "{} new findings, {} joined, {} unchanged, {} settled",
                kept.new, kept.joined, kept.unchanged, kept.settled
            )
        }
        None => eprintln!("dry run: {} findings, none kept", report.findings.len()),
    }
    Ok(())
}
