//! `insyn findings list`: what the rules found. The look is written down before the answer leaves.

use std::path::Path;
use std::process::ExitCode;

use insyn_engine::event::normalise;
use insyn_review::{Filter, Scope};

use crate::cli::{Findings, FindingsAction, FindingsList};
use crate::config::ConfigError;
use crate::house::{CommandLook, House, subjects_in};
use crate::print;

pub async fn run(config: &Path, arguments: Findings) -> anyhow::Result<ExitCode> {
    let FindingsAction::List(list) = arguments.action;
    let house = House::open(config).await?;
    house.may_show_personal_data(list.reason.as_deref())?;
    let zone = house.config.organisation.timezone;
    let (from, to) = print::period(list.from.as_deref(), list.to.as_deref(), zone)?;
    let filter = Filter {
        rule: list.rule.clone(),
        level: words("--level", list.level.as_deref())?,
        status: words("--status", list.status.as_deref())?,
        user: match &list.user {
            Some(id) => Some(house.session(true).await?.person_behind(id).user_id),
            None => None,
        },
        subject: list.subject.as_deref().map(as_stored),
        from,
        to,
        ..Filter::default()
    };
    let (schema, rows) = house.db().await?.findings_table(&filter, &Scope::host(), list.limit).await?;
    house
        .looked(CommandLook {
            activity: "findings list",
            reason: list.reason.clone(),
            query: Some(question(&list)),
            subjects: subjects_in(std::slice::from_ref(&rows)),
            rows: rows.num_rows() as u64,
        })
        .await?;
    print::rows(list.format.chosen(), &schema, &[rows], zone)?;
    Ok(ExitCode::SUCCESS)
}

/// A word of a fixed list, as typed; wrong usage when it is none of them.
fn words<T: std::str::FromStr<Err: std::fmt::Display>>(
    option: &str,
    text: Option<&str>,
) -> Result<Vec<T>, ConfigError> {
    let one = |text: &str| text.parse().map_err(|what| ConfigError::Usage(format!("{option}: {what}")));
    text.map(one).transpose().map(|word| word.into_iter().collect())
}

/// A personal number in the form in which findings keep it.
fn as_stored(written: &str) -> String {
    normalise(written, None, chrono::Utc::now().timestamp_micros()).id
}

fn question(list: &FindingsList) -> String {
    let parts = [
        ("rule", &list.rule),
        ("level", &list.level),
        ("status", &list.status),
        ("user", &list.user),
        ("subject", &list.subject),
        ("from", &list.from),
        ("to", &list.to),
    ];
    let asked = parts.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_deref()?)));
    asked.collect::<Vec<_>>().join(" ")
}
