//! `insyn context load|status`: what the organisation already knows of its people, units and care.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use insyn_engine::context;

use crate::cli::{Context, ContextAction};
use crate::house::House;
use crate::print;

pub async fn run(config: &Path, arguments: Context) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let zone = house.config.organisation.timezone;
    match arguments.action {
        ContextAction::Load { allow_missing, exported } => {
            let exported = print::moment("--exported", exported.as_deref(), zone)?;
            let folder = house.config.path(&house.config.context.dir);
            let missing = context::missing(&house.lake, &folder).await?;
            if !missing.is_empty() && !allow_missing {
                bail!("{}; or load with --allow-missing", missing.sentence(&folder));
            }
            let report = context::load_exported(&house.lake, &folder, zone, exported).await?;
            for table in &report.tables {
                eprintln!("{:<16} {:>9} rows", table.table, table.rows);
                for note in &table.notes {
                    eprintln!("note: {}: {note}", table.file);
                }
                for found in &table.contradictions {
                    eprintln!("note: {}: {}", table.file, found.sentence());
                }
            }
            for note in &report.notes {
                eprintln!("note: {note}");
            }
        }
        ContextAction::Status(format) => {
            let status = context::status(&house.lake).await?;
            print::records(format.chosen(), &status, zone)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
