//! `insyn source try`: what a file would give, before anything is stored.

use std::path::Path;
use std::process::ExitCode;

use insyn_engine::output;
use insyn_ingest::trial::{Trial, trial};
use insyn_ingest::{LegalArea, SourceConfig};

use super::sources::named;
use crate::cli::{Source, SourceAction};
use crate::config::{Config, ConfigError};
use crate::print;

pub async fn run(config: &Path, arguments: Source) -> anyhow::Result<ExitCode> {
    let SourceAction::Try { file, source, legal_area, json } = arguments.action;
    let config = Config::read(config)?;
    let source: Option<SourceConfig> =
        source.map(|name| named(&config.sources, &name).cloned()).transpose()?;
    let area = area(&legal_area)?;
    let organisation = config.organisation.clone();
    let tried =
        tokio::task::spawn_blocking(move || trial(&file, source.as_ref(), area, &organisation)).await??;
    if json {
        print::line(&serde_json::to_string(&tried)?)?;
    } else {
        show(&tried, config.organisation.timezone)?;
    }
    Ok(if tried.events == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(tried: &Trial, zone: chrono_tz::Tz) -> anyhow::Result<()> {
    if let Some(block) = &tried.source {
        print::line(block)?;
    }
    for note in &tried.notes {
        eprintln!("look at: {note}");
    }
    print::line(&format!("{} records gave {} rows; nothing is stored", tried.records, tried.events))?;
    for (why, count) in &tried.refused {
        print::line(&format!("{count} would go to quarantine: {why}"))?;
    }
    if !tried.rows.is_empty() {
        print::line("")?;
        print::records(output::Format::Table, &tried.rows, zone)?;
        print::line("")?;
        print::records(output::Format::Table, &tried.coverage, zone)?;
    }
    Ok(())
}

fn area(text: &str) -> Result<LegalArea, ConfigError> {
    LegalArea::ALL.into_iter().find(|area| area.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = LegalArea::ALL.into_iter().map(LegalArea::as_str).collect();
        ConfigError::Usage(format!("--legal-area: found \"{text}\", expected one of {}", names.join(", ")))
    })
}
