//! `insyn rules list|check|test|run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use insyn_rules::{FindingStore, Pack, RuleState, RunReport, Window};
use serde::Serialize;

use crate::cli::{Rules, RulesAction};
use crate::config::{Config, ConfigError};
use crate::house::{House, pack};
use crate::print;

pub async fn run(config: &Path, arguments: Rules) -> anyhow::Result<ExitCode> {
    match arguments.action {
        RulesAction::List(format) => list(&pack(own_folder(config)?.as_deref())?, format.chosen()),
        RulesAction::Explanations { from, to, shares, totals, format } => {
            let shown = match (shares, totals) {
                (true, _) => Shown::Shares,
                (_, true) => Shown::Totals,
                _ => Shown::Each,
            };
            measure(config, from.as_deref(), to.as_deref(), shown, format.chosen()).await
        }
        RulesAction::Check => check(&pack(own_folder(config)?.as_deref())?).await,
        RulesAction::Test => test(&pack(own_folder(config)?.as_deref())?).await,
        RulesAction::Run { from, to, dry_run } => {
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

async fn test(pack: &Pack) -> anyhow::Result<ExitCode> {
    let report = insyn_rules::test(pack).await;
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

#[derive(Serialize)]
struct Explaining<'a> {
    explanation: &'a str,
    title_sv: &'a str,
    title_en: &'a str,
    explains: &'a str,
    looks: u64,
    by_user: u64,
    alone: u64,
    by_chance: u64,
    precision: Option<f64>,
    failed: Option<&'a str>,
}

/// Of what the explanations explain.
enum Shown {
    Each,
    Shares,
    Totals,
}

#[derive(Serialize)]
struct Totals {
    looks: u64,
    explained: u64,
    only_by_user: u64,
    by_chance: u64,
}

/// Counts only, as those of a run: how much each explanation explains, and how much of that it would by chance.
async fn measure(
    file: &Path,
    from: Option<&str>,
    to: Option<&str>,
    shown: Shown,
    format: insyn_engine::output::Format,
) -> anyhow::Result<ExitCode> {
    let house = House::open(file).await?;
    let zone = house.config.organisation.timezone;
    let (from, to) = print::period(from, to, zone)?;
    let session = house.session(false).await?;
    let measured = insyn_rules::measure(&house.pack()?, &session, Window { from, to }).await?;
    let lines: Vec<Explaining<'_>> = measured
        .explanations
        .iter()
        .map(|one| Explaining {
            explanation: &one.explanation,
            title_sv: &one.title.sv,
            title_en: &one.title.en,
            explains: one.explains.as_str(),
            looks: one.looks,
            by_user: one.by_user,
            alone: one.alone,
            by_chance: one.by_chance,
            precision: one.precision.map(|part| (part * 1000.0).round() / 1000.0),
            failed: one.failed.as_deref(),
        })
        .collect();
    let totals = Totals {
        looks: measured.looks,
        explained: measured.explained,
        only_by_user: measured.only_by_user,
        by_chance: measured.by_chance,
    };
    match shown {
        Shown::Each => print::records(format, &lines, zone)?,
        Shown::Shares => print::records(format, &measured.shares, zone)?,
        Shown::Totals => print::records(format, &[totals], zone)?,
    }
    let share = |part: u64| 100.0 * part as f64 / measured.looks.max(1) as f64;
    eprintln!(
        "{} accesses to a known person's record; {} ({:.1} %) explained, {} only by the user's own doing; by chance \
         {:.1} % would be",
        measured.looks,
        measured.explained,
        share(measured.explained),
        measured.only_by_user,
        share(measured.by_chance)
    );
    Ok(if lines.iter().any(|line| line.failed.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Counts only: what a run says must not hold personal data.
fn tell(report: &RunReport) -> anyhow::Result<()> {
    for rule in &report.record.rules {
        let state = match rule.state {
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
