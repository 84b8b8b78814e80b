//! `insyn rules explanations` and `insyn rules lift`: what is measured of explanations and rules. Counts only.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use insyn_rules::Window;
use serde::Serialize;

use crate::house::{House, os_account};
use crate::print;

/// Pages show what was measured last, and how it drifts.
const UNKEPT: &str = "what was measured could not be kept";

#[derive(Serialize)]
struct Explaining<'a> {
    explanation: &'a str,
    title_sv: &'a str,
    title_en: &'a str,
    explains: &'a str,
    looks: u64,
    by_user: u64,
    alone: u64,
    by_chance: u64,
    precision: Option<f64>,
    failed: Option<&'a str>,
}

/// Of what the explanations explain.
pub(super) enum Shown {
    Each,
    Shares,
    Totals,
}

#[derive(Serialize)]
struct Totals {
    looks: u64,
    explained: u64,
    only_by_user: u64,
    by_chance: u64,
}

/// Counts only, as those of a run: how much each explanation explains, and how much of that it would by chance.
pub(super) async fn explanations(
    file: &Path,
    from: Option<&str>,
    to: Option<&str>,
    shown: Shown,
    format: insyn_engine::output::Format,
) -> anyhow::Result<ExitCode> {
    let house = House::open(file).await?;
    let zone = house.config.organisation.timezone;
    let (from, to) = print::period(from, to, zone)?;
    let session = house.session(false).await?;
    let window = Window { from, to };
    let measured = insyn_rules::measure(&house.pack()?, &session, window).await?;
    house.db().await?.keep_explaining(&os_account(), window, &measured).await.context(UNKEPT)?;
    let lines: Vec<Explaining<'_>> = measured
        .explanations
        .iter()
        .map(|one| Explaining {
            explanation: &one.explanation,
            title_sv: &one.title.sv,
            title_en: &one.title.en,
            explains: one.explains.as_str(),
            looks: one.looks,
            by_user: one.by_user,
            alone: one.alone,
            by_chance: one.by_chance,
            precision: one.precision.map(|part| (part * 1000.0).round() / 1000.0),
            failed: one.failed.as_deref(),
        })
        .collect();
    let totals = Totals {
        looks: measured.looks,
        explained: measured.explained,
        only_by_user: measured.only_by_user,
        by_chance: measured.by_chance,
    };
    match shown {
        Shown::Each => print::records(format, &lines, zone)?,
        Shown::Shares => print::records(format, &measured.shares, zone)?,
        Shown::Totals => print::records(format, &[totals], zone)?,
    }
    let share = |part: u64| 100.0 * part as f64 / measured.looks.max(1) as f64;
    eprintln!(
        "{} accesses to a known person's record; {} ({:.1} %) explained, {} only by the user's own doing; by chance \
         {:.1} % would be",
        measured.looks,
        measured.explained,
        share(measured.explained),
        measured.only_by_user,
        share(measured.by_chance)
    );
    Ok(if lines.iter().any(|line| line.failed.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[derive(Serialize)]
struct Lifted<'a> {
    rule_id: &'a str,
    title_sv: &'a str,
    title_en: &'a str,
    status: &'a str,
    pairs: u64,
    by_chance: u64,
    lift: Option<f64>,
    accesses: u64,
    explained: u64,
    failed: Option<&'a str>,
}

/// How much oftener than by chance each rule names somebody.
pub(super) async fn lift(
    file: &Path,
    from: Option<&str>,
    to: Option<&str>,
    format: insyn_engine::output::Format,
) -> anyhow::Result<ExitCode> {
    let house = House::open(file).await?;
    let zone = house.config.organisation.timezone;
    let (from, to) = print::period(from, to, zone)?;
    let session = house.session(false).await?;
    let window = Window { from, to };
    let lifts = insyn_rules::lift(&house.pack()?, &session, window).await?;
    house.db().await?.keep_lifts(&os_account(), window, &lifts).await.context(UNKEPT)?;
    let lines: Vec<Lifted<'_>> = lifts
        .iter()
        .map(|one| Lifted {
            rule_id: &one.rule_id,
            title_sv: &one.title.sv,
            title_en: &one.title.en,
            status: one.status.as_str(),
            pairs: one.pairs,
            by_chance: one.by_chance,
            lift: one.lift.map(|lift| (lift * 10.0).round() / 10.0),
            accesses: one.accesses,
            explained: one.explained,
            failed: one.failed.as_deref(),
        })
        .collect();
    print::records(format, &lines, zone)?;
    Ok(if lines.iter().any(|line| line.failed.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
