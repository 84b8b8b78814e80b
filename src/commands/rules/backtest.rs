//! `insyn rules run --dry-run --set …`: what another setting would have found, beside today's. Counts only.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use insyn_rules::{Pack, Window};
use serde::Serialize;

use crate::house::House;
use crate::print;

/// What a rule finds in a week on a unit, by both settings.
#[derive(Serialize)]
struct Line<'a> {
    rule_id: &'a str,
    week: &'a str,
    care_unit_id: Option<&'a str>,
    today: u64,
    tried: u64,
}

pub(super) async fn run(
    file: &Path,
    from: Option<&str>,
    to: Option<&str>,
    settings: &[String],
    format: insyn_engine::output::Format,
) -> anyhow::Result<ExitCode> {
    let house = House::open(file).await?;
    let organisation = &house.config.organisation;
    let (from, to) = print::period(from, to, organisation.timezone)?;
    let today = house.pack()?;
    let mut tried = today.clone();
    for setting in settings {
        set(&mut tried, setting)?;
    }
    let session = house.session(false).await?;
    let window = Window { from, to };
    let which = insyn_rules::changed(&today, &tried);
    let compared =
        insyn_rules::backtest((&today, &tried), &which, &session, organisation, window, |_| true).await?;
    let lines: Vec<Line<'_>> = compared
        .iter()
        .flat_map(|one| {
            one.weeks.iter().map(|week| Line {
                rule_id: &one.rule_id,
                week: &week.week,
                care_unit_id: week.care_unit_id.as_deref(),
                today: week.today,
                tried: week.tried,
            })
        })
        .collect();
    print::records(format, &lines, organisation.timezone)?;
    for one in &compared {
        let failed = one.failed.as_deref().map(|why| format!("; not whole: {why}")).unwrap_or_default();
        eprintln!(
            "{}: {} findings today, {} as tried; {} new, {} gone{failed}",
            one.rule_id, one.found_today, one.found_tried, one.only_tried, one.only_today
        );
    }
    if compared.is_empty() {
        eprintln!("that is how the rules are set today");
    }
    Ok(if compared.iter().any(|one| one.failed.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Sets what "rule.parameter=value" says.
fn set(pack: &mut Pack, setting: &str) -> anyhow::Result<()> {
    let parts = setting.split_once('=').and_then(|(of, value)| Some((of.split_once('.')?, value)));
    let ((rule, name), value) = parts.ok_or_else(|| {
        anyhow!(
            "--set: found \"{setting}\", expected RULE.PARAMETER=VALUE, as no-care-relation.before=7 days"
        )
    })?;
    pack.tune(rule.trim(), name.trim(), value.trim())
        .map_err(|what| anyhow!(what))
        .with_context(|| format!("--set {setting}"))
}
