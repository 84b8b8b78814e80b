//! `insyn sources status`: how far each source is read.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::{Sources, SourcesAction};
use crate::house::House;
use crate::print;

pub async fn run(config: &Path, arguments: Sources) -> anyhow::Result<ExitCode> {
    let SourcesAction::Status(format) = arguments.action;
    let house = House::open(config).await?;
    let config = &house.config;
    let status =
        insyn_ingest::status::status(&house.lake, &config.organisation, &config.sources, &config.base)
            .await?;
    print::records(format.chosen(), &status, config.organisation.timezone)?;
    Ok(ExitCode::SUCCESS)
}
