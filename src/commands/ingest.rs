//! `insyn ingest --once`: every source to its end.

use std::path::Path;
use std::process::ExitCode;

use crate::cli;
use crate::house::House;
use crate::print;

pub async fn run(config: &Path, arguments: cli::Ingest) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let mut ingest = house.ingest().await?;
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
    Ok(ExitCode::SUCCESS)
}
