//! `insyn ingest`: every source to its end, or one source's kept records anew.

use std::path::Path;
use std::process::ExitCode;

use insyn_engine::lake::Window;
use insyn_ingest::{Again, AgainReport, Ingest};

use crate::cli;
use crate::commands::sources::named;
use crate::house::{House, os_account};
use crate::print;

pub async fn run(config: &Path, arguments: cli::Ingest) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let ingest = house.ingest()?;
    if let Some(source) = &arguments.again {
        return again(&house, &ingest, source, &arguments).await;
    }
    let report = ingest.once(&mut |_| {}).await?;
    if arguments.json {
        print::line(&serde_json::to_string(&report)?)?;
    } else {
        eprintln!(
            "{} events, {} records in quarantine, {} gaps, from {} sources",
            report.events,
            report.quarantined,
            report.gaps,
            report.sources.len()
        );
    }
    let mut faults =
        report.sources.iter().flat_map(|source| source.faults.iter().map(|why| (&source.name, why)));
    let failed = faults.clone().next().is_some();
    faults.by_ref().for_each(|(source, why)| eprintln!("source {source}: {why}"));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn again(
    house: &House,
    ingest: &Ingest,
    source: &str,
    arguments: &cli::Ingest,
) -> anyhow::Result<ExitCode> {
    named(&house.config.sources, source)?;
    let zone = house.config.organisation.timezone;
    let (from, to) = print::period(arguments.from.as_deref(), arguments.to.as_deref(), zone)?;
    let again = Again {
        source: source.to_owned(),
        window: Window { from, to },
        by: os_account(),
        reason: print::reason(arguments.reason.as_deref().unwrap_or_default())?,
        dry_run: arguments.dry_run,
    };
    let report = ingest.again(&again).await?;
    if arguments.json {
        print::line(&serde_json::to_string(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let AgainReport { replaced, events, mended, left, quarantined, .. } = report;
    let done = if again.dry_run { "would be replaced" } else { "replaced" };
    eprintln!(
        "{replaced} rows {done} by {events}; of what was in quarantine {mended} mended, {left} left; \
         {quarantined} records went to quarantine"
    );
    Ok(ExitCode::SUCCESS)
}
