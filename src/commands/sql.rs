//! `insyn sql`: guarded, read-only; the query is a look of its own.

use std::path::Path;
use std::process::ExitCode;

use insyn_ingest::tables::{Known, with_tables};
use insyn_review::{Filter, Scope};

use crate::cli::Sql;
use crate::house::{CommandLook, House};
use crate::print;

pub async fn run(config: &Path, arguments: Sql) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    house.may_show_personal_data(arguments.reason.as_deref())?;
    let (schema, findings) =
        house.db().await?.findings_table(&Filter::default(), &Scope::host(), None).await?;
    let session = house.session(arguments.own).await?.with_table("findings", schema, vec![findings])?;
    let config = &house.config;
    let known = Known {
        lake: &house.lake,
        organisation: &config.organisation,
        sources: &config.sources,
        base: &config.base,
    };
    let session = with_tables(session, &arguments.query, &known, house.recent()).await?;
    let answer = session.sql(&arguments.query).await?;
    house
        .looked(CommandLook {
            activity: "sql",
            reason: arguments.reason,
            query: Some(arguments.query),
            subjects: answer.subjects(),
            rows: answer.rows() as u64,
        })
        .await?;
    print::rows(
        arguments.format.chosen(),
        &answer.schema,
        &answer.batches,
        house.config.organisation.timezone,
    )?;
    Ok(ExitCode::SUCCESS)
}
