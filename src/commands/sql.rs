//! `insyn sql`: guarded, read-only; the query is a look of its own.

use std::path::Path;
use std::process::ExitCode;

use insyn_engine::context::Moment;
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
    let zone = house.config.organisation.timezone;
    let as_of = print::moment("--as-of", arguments.as_of.as_deref(), zone)?;
    let moment = Moment { known: arguments.known.known(zone)?, as_of };
    let session = house.session_at(arguments.own, &moment).await?;
    let session = session.with_table("findings", schema, vec![findings])?;
    let config = &house.config;
    let known = Known {
        lake: &house.lake,
        organisation: &config.organisation,
        sources: &config.sources,
        base: &config.base,
    };
    let session = with_tables(session, &arguments.query, &known, house.recent()).await?;
    let answer = session.sql(&arguments.query).await?;
    let as_of = arguments.as_of.map(|at| format!(" (as of {at})")).unwrap_or_default();
    house
        .looked(CommandLook {
            activity: "sql",
            reason: arguments.reason,
            query: Some(format!("{}{as_of}{}", arguments.query, arguments.known.said())),
            subjects: answer.subjects(),
            rows: answer.rows() as u64,
        })
        .await?;
    print::rows(arguments.format.chosen(), &answer.schema, &answer.batches, zone)?;
    Ok(ExitCode::SUCCESS)
}
