//! `insyn init`: a commented configuration to begin from.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

const TEMPLATE: &str = include_str!("../insyn.toml");

pub fn run(dir: &Path) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(dir).with_context(|| format!("the folder {} cannot be made", dir.display()))?;
    let file = dir.join("insyn.toml");
    if file.exists() {
        bail!("{} exists already; it is left as it is", file.display());
    }
    std::fs::write(&file, TEMPLATE).with_context(|| format!("{} cannot be written", file.display()))?;
    eprintln!("wrote {}; edit it, then run `insyn doctor`", file.display());
    Ok(ExitCode::SUCCESS)
}
