//! `insyn sources`: how far each source is read, and what its records hold.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use chrono::Utc;
use insyn_engine::exports;
use insyn_ingest::{Explanation, SourceConfig, explain, law, nearest, status};

use crate::cli::{FormatOption, Sources, SourcesAction};
use crate::house::{House, os_account};
use crate::print;

/// How far back coverage goes unless told, in µs.
const DAYS_BACK: i64 = 14 * 86_400_000_000;

pub async fn run(config: &Path, arguments: Sources) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    match arguments.action {
        SourcesAction::Status(format) => status_of(&house, &format).await?,
        SourcesAction::Coverage { source, from, to, format } => {
            coverage(&house, source.as_deref(), from.as_deref(), to.as_deref(), &format).await?;
        }
        SourcesAction::Exports { source, format } => {
            if let Some(name) = &source {
                named(&house.config.sources, name)?;
            }
            let days = exports::stated_days(&house.session(true).await?, source.as_deref()).await?;
            print::records(format.chosen(), &days, house.config.organisation.timezone)?;
        }
        SourcesAction::Explain { source, quarantine, gaps, file, offset, reason } => {
            named(&house.config.sources, &source)?;
            let reason = print::reason(&reason)?;
            let said = Explanation { source, quarantine, gaps, file, offset, by: os_account(), reason };
            let done = explain(&house.lake, house.config.organisation.timezone, &said).await?;
            eprintln!("{} explained", done.explained);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn status_of(house: &House, format: &FormatOption) -> anyhow::Result<()> {
    let config = &house.config;
    let recent = house.recent().await?;
    let status =
        status::status(&house.lake, &config.organisation, &config.sources, &config.base, &recent).await?;
    print::records(format.chosen(), &status, config.organisation.timezone)
}

async fn coverage(
    house: &House,
    source: Option<&str>,
    from: Option<&str>,
    to: Option<&str>,
    format: &FormatOption,
) -> anyhow::Result<()> {
    let config = &house.config;
    let zone = config.organisation.timezone;
    let now = Utc::now().timestamp_micros();
    let (from, to) = print::period(from, to, zone)?;
    let (from, to) = (from.unwrap_or(now - DAYS_BACK), to.unwrap_or(i64::MAX / 2));
    let chosen: Vec<SourceConfig> = match source {
        None => config.sources.clone(),
        Some(name) => vec![named(&config.sources, name)?.clone()],
    };
    let rows = law::coverage(&house.session(true).await?, &chosen, from, to).await?;
    print::records(format.chosen(), &rows, zone)
}

pub fn named<'a>(sources: &'a [SourceConfig], name: &str) -> anyhow::Result<&'a SourceConfig> {
    if let Some(source) = sources.iter().find(|source| source.name == name) {
        return Ok(source);
    }
    match nearest(name, sources.iter().map(|source| source.name.as_str())) {
        Some(near) => bail!("no source is called \"{name}\"; did you mean \"{near}\"?"),
        None => bail!("no source is called \"{name}\""),
    }
}
