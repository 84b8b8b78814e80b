//! Somebody says why an item of `quarantine` or `gaps` is nothing that is missed.

use std::collections::HashMap;

use insyn_engine::kept;
use insyn_engine::lake::{Amended, Changes, Lake, Settled, Table};
use insyn_engine::session::{Scope, Session};

use crate::error::IngestError;

/// Which items, who explains them, and how.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    /// Which source.
    pub source: String,
    /// Items of `quarantine`.
    pub quarantine: bool,
    /// Items of `gaps`.
    pub gaps: bool,
    /// Only of this file.
    pub file: Option<String>,
    /// Only the item that begins here.
    pub offset: Option<i64>,
    /// Who.
    pub by: String,
    /// What they say.
    pub reason: String,
}

/// Marks what is open as explained.
///
/// # Errors
/// When nothing is open there, or the lake fails.
pub async fn explain(lake: &Lake, zone: chrono_tz::Tz, said: &Explanation) -> Result<Amended, IngestError> {
    let amendment = lake.amend(&said.source).await?;
    let session = Session::over(lake, amendment.snapshot().clone(), zone, Scope::All).await?;
    let mut changes =
        Changes { kind: "explain", by: said.by.clone(), reason: said.reason.clone(), ..Changes::default() };
    if said.quarantine {
        changes.quarantine_states = open_items(&session, said, Table::Quarantine).await?;
    }
    if said.gaps {
        changes.gap_states = open_items(&session, said, Table::Gaps).await?;
    }
    if changes.quarantine_states.is_empty() && changes.gap_states.is_empty() {
        return Err(IngestError::NothingOpen { name: said.source.clone() });
    }
    Ok(amendment.commit(changes).await?)
}

async fn open_items(
    session: &Session,
    said: &Explanation,
    table: Table,
) -> Result<HashMap<(String, i64), Settled>, IngestError> {
    let items = kept::open_items(session, table, &said.source).await?;
    let asked = |(file, place): &(String, i64)| {
        said.file.as_ref().is_none_or(|wanted| wanted == file)
            && said.offset.is_none_or(|wanted| wanted == *place)
    };
    Ok(items.into_iter().filter(asked).map(|item| (item, Settled::Explained)).collect())
}
