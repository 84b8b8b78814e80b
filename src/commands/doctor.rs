//! `insyn doctor`: what is wrong with this installation, one line a check.

use std::path::Path;
use std::process::ExitCode;

use insyn_engine::context;
use insyn_ingest::health::Recent;
use insyn_ingest::status::{SourceStatus, status};

use crate::config::Config;
use crate::house::House;
use crate::record::{self, Record};
use crate::{print, retention};

struct Check {
    what: String,
    fault: Option<String>,
    /// Nothing wrong, and perhaps not what was meant.
    note: Option<String>,
}

impl Check {
    fn of(what: impl Into<String>, fault: Option<String>) -> Check {
        Check { what: what.into(), fault, note: None }
    }
}

pub async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::read(config)?;
    let mut checks = vec![Check::of(format!("configuration {}", config.file.display()), None)];
    match House::of(config).await {
        Ok(house) => examine(&house, &mut checks).await,
        Err(error) => checks.push(Check::of("lake", Some(print::sentence(&error)))),
    }
    for check in &checks {
        match (&check.fault, &check.note) {
            (Some(fault), _) => print::line(&format!("WRONG  {}: {fault}", check.what))?,
            (None, Some(note)) => print::line(&format!("look   {}: {note}", check.what))?,
            (None, None) => print::line(&format!("ok     {}", check.what))?,
        }
    }
    let wrong = checks.iter().filter(|check| check.fault.is_some()).count();
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(house: &House, checks: &mut Vec<Check>) {
    let config = &house.config;
    checks.push(Check::of(format!("lake {}", config.lake.url), None));
    checks.push(by_user(house).await);
    checks.push(Check::of("workflow database", fault(house.db().await)));
    checks.push(Check::of("spool", fault(house.own_log())));
    checks.push(Check::of("rule pack", fault(house.pack())));
    checks.push(Check::of(format!("{} sources", config.sources.len()), fault(house.ingest())));
    checks.push(context_tables(house).await);
    // Whether a log has gone quiet is not a fault of the installation.
    let recent = Recent::default();
    match status(&house.lake, &config.organisation, &config.sources, &config.base, &recent).await {
        Err(error) => checks.push(Check::of("state of the sources", Some(error.to_string()))),
        Ok(sources) => checks.extend(sources.into_iter().map(|source| Check {
            what: format!("source {}", source.name),
            note: to_look_at(&source),
            fault: (source.state == "error").then(|| source.why.unwrap_or_default()),
        })),
    }
    let folder = config.path(&config.context.dir);
    let note = match context::missing(&house.lake, &folder).await {
        Ok(missing) if missing.is_empty() => None,
        Ok(missing) => Some(missing.sentence(&folder)),
        Err(_) => {
            Some(format!("{} cannot be read: rules that need context are not evaluated", folder.display()))
        }
    };
    checks.push(Check { what: "context folder".into(), fault: None, note });
    let what = "retention".to_owned();
    checks.push(match retention(house).await {
        Ok(note) => Check { what, fault: None, note },
        Err(error) => Check { what, fault: Some(print::sentence(&error)), note: None },
    });
}

/// Whether they can be read, and how often they contradict themselves or each other.
async fn context_tables(house: &House) -> Check {
    let what = "context tables".to_owned();
    match context::status(&house.lake).await {
        Err(error) => Check { what, fault: Some(error.to_string()), note: None },
        Ok(status) => {
            let tables = status.iter().filter(|table| table.contradictions > 0);
            let told: Vec<String> =
                tables.map(|table| format!("{} {}", table.contradictions, table.table)).collect();
            let note = (!told.is_empty()).then(|| {
                format!("rows contradict themselves or others: {} (insyn context status)", told.join(", "))
            });
            Check { what, fault: None, note }
        }
    }
}

/// What is past its time.
async fn retention(house: &House) -> anyhow::Result<Option<String>> {
    let survey = retention::survey(house).await?;
    let mut told = Vec::new();
    if survey.overdue() > 0 {
        told.push(format!(
            "{} rows are past their longest time, and nobody has decided on them (insyn retain decide)",
            survey.overdue()
        ));
    }
    if survey.rows() > 0 {
        told.push(format!("{} rows may go (insyn retain)", survey.rows()));
    }
    if !Record::read(&record::file(&house.config))?.is_none_or(|record| record.is_finished()) {
        told.push("files still hold what was removed (insyn retain)".to_owned());
    }
    Ok((!told.is_empty()).then(|| told.join("; ")))
}

/// How far the rows in order of users reach. Without them answers are the same.
async fn by_user(house: &House) -> Check {
    let snapshot = match house.lake.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return Check::of("access events", Some(error.to_string())),
    };
    let reach = house.lake.reach(&snapshot).await;
    Check::of(
        match reach.version {
            Some(version) => format!("user_accesses reaches version {version} of {}", snapshot.version()),
            None => "user_accesses is not made yet: access_events tells what users did".to_owned(),
        },
        None,
    )
}

fn to_look_at(source: &SourceStatus) -> Option<String> {
    let SourceStatus { quarantine_open: records, gaps_open: gaps, .. } = source;
    match (records, gaps) {
        (0, 0) if source.files == 0 && source.state == "never" => {
            Some("no file matches its path, and nothing was received yet".to_owned())
        }
        (0, 0) => None,
        (records, 0) => Some(format!("{records} records in quarantine that nobody has explained or mended")),
        (0, gaps) => Some(format!("{gaps} gaps that nobody has explained")),
        (records, gaps) => Some(format!(
            "{records} records in quarantine and {gaps} gaps that nobody has explained or mended"
        )),
    }
}

fn fault<T, E: Into<anyhow::Error>>(outcome: Result<T, E>) -> Option<String> {
    outcome.err().map(|error| print::sentence(&error.into()))
}
