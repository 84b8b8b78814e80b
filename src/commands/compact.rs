//! `insyn compact`: small files of the lake become large ones.

use std::path::Path;
use std::process::ExitCode;

use crate::house::House;

pub async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let (mut files, mut rows, mut merges) = (0, 0, 0);
    while let Some(merged) = house.lake.compact().await? {
        files += merged.replaced.len();
        rows += merged.rows;
        merges += 1;
    }
    let removed = house.lake.sweep().await?;
    eprintln!(
        "{files} files of {rows} rows became {merges}; {removed} that nobody reads any more are removed"
    );
    Ok(ExitCode::SUCCESS)
}
