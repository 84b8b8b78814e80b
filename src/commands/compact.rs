//! `insyn compact`: the files of the lake come to lie in sorted runs.

use std::path::Path;
use std::process::ExitCode;

use crate::house::House;

pub async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let (mut files, mut rows, mut written, mut followed) = (0, 0, 0, 0);
    while let Some(merged) = house.lake.compact().await? {
        if merged.follows {
            followed += merged.rows;
            continue;
        }
        files += merged.replaced.len();
        rows += merged.rows;
        written += merged.files;
    }
    if followed > 0 {
        eprintln!("{followed} rows were added to user_accesses");
    }
    let removed = house.lake.sweep().await?;
    eprintln!(
        "{files} files of {rows} rows became {written}; {removed} that nobody reads any more are removed"
    );
    Ok(ExitCode::SUCCESS)
}
