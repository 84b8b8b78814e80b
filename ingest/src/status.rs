//! How far each source is read.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use insyn_engine::config::Organisation;
use insyn_engine::lake::Lake;
use serde::Serialize;

use crate::SourceConfig;
use crate::error::IngestError;
use crate::once::parse_state;
use crate::reader::SourceReader;

/// One source, as `sources status` prints it. No personal data.
#[derive(Debug, Clone, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Its format.
    pub format: String,
    /// Files that are there.
    pub files: u64,
    /// Bytes that are not read yet.
    pub bytes_behind: u64,
    /// How long the oldest unread bytes have lain there.
    pub seconds_behind: u64,
    /// Rows of `access_events`.
    pub events: u64,
    /// Records in quarantine.
    pub quarantined: u64,
    /// Rows of `gaps`.
    pub gaps: u64,
    /// The latest access, RFC 3339.
    pub last_event: Option<String>,
    /// `ok`, `behind`, `never` (nothing was read yet) or `error`.
    pub state: String,
    /// What is wrong, when something is.
    pub why: Option<String>,
}

/// The state of every configured source.
///
/// # Errors
/// When the lake cannot be read. A source that cannot be read is in state `error`.
pub async fn status(
    lake: &Lake,
    organisation: &Organisation,
    sources: &[SourceConfig],
    base: &Path,
    _spool: &Path,
) -> Result<Vec<SourceStatus>, IngestError> {
    let organisation = Arc::new(organisation.clone());
    let mut all = Vec::new();
    for config in sources {
        let progress = lake.progress(&config.name).await?;
        let looked = parse_state(&config.name, progress.state.as_deref())
            .and_then(|state| {
                SourceReader::new(config.clone(), state, Arc::clone(&organisation), base.to_owned(), None)
            })
            .and_then(|mut reader| tokio::task::block_in_place(|| reader.behind()));
        let (files, bytes, oldest, why) = match looked {
            Ok((files, bytes, oldest)) => (files as u64, bytes, oldest, None),
            Err(error) => (0, 0, None, Some(error.to_string())),
        };
        let state = match (&why, bytes, progress.sequence) {
            (Some(_), ..) => "error",
            (None, 1.., _) => "behind",
            (None, 0, 0) => "never",
            _ => "ok",
        };
        let now = Utc::now().timestamp_micros();
        all.push(SourceStatus {
            name: config.name.clone(),
            format: config.format.format.to_string(),
            files,
            bytes_behind: bytes,
            seconds_behind: oldest.map_or(0, |at| now.saturating_sub(at).max(0) as u64 / 1_000_000),
            events: progress.events,
            quarantined: progress.quarantined,
            gaps: progress.gaps,
            last_event: progress.last_event.and_then(DateTime::from_timestamp_micros).map(rfc3339),
            state: state.into(),
            why,
        });
    }
    Ok(all)
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
