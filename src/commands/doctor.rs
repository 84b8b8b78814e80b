//! `insyn doctor`: what is wrong with this installation, one line a check.

use std::path::Path;
use std::process::ExitCode;

use insyn_engine::context;
use insyn_ingest::health::Hours;
use insyn_ingest::status::status;

use crate::config::Config;
use crate::house::House;
use crate::print;

struct Check {
    what: String,
    fault: Option<String>,
}

pub async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::read(config)?;
    let mut checks = vec![Check { what: format!("configuration {}", config.file.display()), fault: None }];
    match House::of(config).await {
        Ok(house) => examine(&house, &mut checks).await,
        Err(error) => checks.push(Check { what: "lake".into(), fault: Some(print::sentence(&error)) }),
    }
    for check in &checks {
        match &check.fault {
            None => print::line(&format!("ok     {}", check.what))?,
            Some(fault) => print::line(&format!("WRONG  {}: {fault}", check.what))?,
        }
    }
    let wrong = checks.iter().filter(|check| check.fault.is_some()).count();
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(house: &House, checks: &mut Vec<Check>) {
    let config = &house.config;
    checks.push(Check { what: format!("lake {}", config.lake.url), fault: None });
    checks.push(Check { what: "workflow database".into(), fault: fault(house.db().await) });
    checks.push(Check { what: "spool".into(), fault: fault(house.own_log()) });
    checks.push(Check { what: "rule pack".into(), fault: fault(house.pack()) });
    checks.push(Check { what: format!("{} sources", config.sources.len()), fault: fault(house.ingest()) });
    checks.push(Check { what: "context tables".into(), fault: fault(context::status(&house.lake).await) });
    // Whether a log has gone quiet is not a fault of the installation.
    let hours = Hours::default();
    match status(&house.lake, &config.organisation, &config.sources, &config.base, &hours).await {
        Err(error) => {
            checks.push(Check { what: "state of the sources".into(), fault: Some(error.to_string()) })
        }
        Ok(sources) => checks.extend(sources.into_iter().map(|source| Check {
            what: format!("source {}", source.name),
            fault: (source.state == "error").then(|| source.why.unwrap_or_default()),
        })),
    }
}

fn fault<T, E: Into<anyhow::Error>>(outcome: Result<T, E>) -> Option<String> {
    outcome.err().map(|error| print::sentence(&error.into()))
}
