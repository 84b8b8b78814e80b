//! `insyn ingest --once`: every source to its end.

use std::path::Path;
use std::process::ExitCode;

use crate::cli;
use crate::house::House;
use crate::print;

pub async fn run(config: &Path, arguments: cli::Ingest) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let ingest = house.ingest()?;
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
