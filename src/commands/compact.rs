//! `insyn compact`: the files of the lake come to lie in sorted runs.

use std::path::Path;
use std::process::ExitCode;

use crate::house::House;

pub async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let (mut files, mut rows, mut written) = (0, 0, 0);
    while let Some(merged) = house.lake.compact().await? {
        files += merged.replaced.len();
        rows += merged.rows;
        written += merged.files;
    }
    let removed = house.lake.sweep().await?;
    eprintln!(
        "{files} files of {rows} rows became {written}; {removed} that nobody reads any more are removed"
    );
    Ok(ExitCode::SUCCESS)
}
