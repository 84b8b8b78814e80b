//! How far each source is read.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use insyn_engine::config::Organisation;
use insyn_engine::lake::Lake;
use serde::Serialize;

use crate::error::IngestError;
use crate::health::Recent;
use crate::reader::{SourceReader, Unread};
use crate::{Delivery, SourceConfig};

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
    /// Of the records in quarantine, those that nobody has explained and no later reading mended.
    pub quarantine_open: u64,
    /// Likewise of the gaps.
    pub gaps_open: u64,
    /// Events in the last whole hour that all records of should have come.
    pub events_hour: u64,
    /// What that hour of the week usually has; none while fewer than two weeks are known.
    pub usual_hour: Option<u64>,
    /// Of the numbers by which the source counts its records, how many of the last week are missing; none where it does
    /// not count them (`numbered`).
    pub missing_numbers: Option<u64>,
    /// Of the records of the last two days, how many have an id that another one has too.
    pub repeated_ids: u64,
    /// How many of them lay more than a minute ahead of the clock here when they were read.
    pub events_ahead: u64,
    /// By how many seconds at most.
    pub most_ahead_seconds: u64,
    /// The latest access, RFC 3339.
    pub last_event: Option<String>,
    /// `ok`, `behind`, `never` (nothing was read yet), `quiet` (nearly nothing came where it usually does) or `error`.
    pub state: String,
    /// Files that hold what another one holds, each as `copy = original`; whether they are read is the source's `copies`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copy_of: Vec<String>,
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
    recent: &Recent,
) -> Result<Vec<SourceStatus>, IngestError> {
    let organisation = Arc::new(organisation.clone());
    let mut all = Vec::new();
    for config in sources {
        let progress = lake.progress(&config.name).await?;
        let reader = SourceReader::new(
            config.clone(),
            progress.state.as_deref(),
            Arc::clone(&organisation),
            base.to_owned(),
        );
        let looked = tokio::task::spawn_blocking(move || reader.map(|reader| reader.unread())).await;
        let unread = match looked {
            Ok(Ok(unread)) => unread,
            Ok(Err(error)) => Unread { faults: vec![error.to_string()], ..Unread::default() },
            Err(error) => Unread { faults: vec![error.to_string()], ..Unread::default() },
        };
        let now = Utc::now().timestamp_micros();
        let health = recent.health(&config.name, config.late_hours, now);
        let odd = recent.odd(&config.name);
        let quiet = health.quiet && config.delivery == Delivery::Stream;
        let state = match (unread.faults.is_empty(), unread.bytes, progress.sequence) {
            (false, ..) => "error",
            (true, 1.., _) => "behind",
            (true, 0, 0) => "never",
            _ if quiet => "quiet",
            _ => "ok",
        };
        all.push(SourceStatus {
            name: config.name.clone(),
            format: config.format.format.to_string(),
            files: unread.files,
            bytes_behind: unread.bytes,
            seconds_behind: unread.oldest.map_or(0, |at| now.saturating_sub(at).max(0) as u64 / 1_000_000),
            events: progress.events,
            quarantined: progress.quarantined,
            gaps: progress.gaps,
            quarantine_open: progress.quarantine_open,
            gaps_open: progress.gaps_open,
            events_hour: health.events_hour,
            usual_hour: health.usual_hour,
            repeated_ids: odd.repeated,
            events_ahead: odd.ahead,
            most_ahead_seconds: u64::try_from(odd.most_ahead).unwrap_or_default() / 1_000_000,
            missing_numbers: recent.missing(&config.name).map(|missing| missing.count),
            last_event: progress.last_event.and_then(DateTime::from_timestamp_micros).map(rfc3339),
            state: state.into(),
            copy_of: unread
                .copies
                .iter()
                .map(|(copy, of)| format!("{} = {}", copy.display(), of.display()))
                .collect(),
            why: (!unread.faults.is_empty()).then(|| unread.faults.join("; ")),
        });
    }
    Ok(all)
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
