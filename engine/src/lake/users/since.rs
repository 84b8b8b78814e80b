//! What became of the files of `access_events` since a version, by the log.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::Mutex;

use super::super::error::LakeError;
use super::super::log::Line;
use super::super::types::Table;
use super::super::{Inner, actions::within};
use super::{Reached, sum};

/// Entries of the log that are read at once.
const AT_ONCE: usize = 16;

/// What commits after a version did to the files that were live then.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Since {
    /// The last commit that was looked at.
    upto: u64,
    /// Files, relative to the table, that may hold rows which came later.
    later: HashSet<String>,
    /// Years of which rows went.
    broken: BTreeSet<String>,
}

impl Since {
    /// Nothing is known yet of what came after a version.
    pub(super) fn from(version: u64) -> Since {
        Since { upto: version, ..Since::default() }
    }

    pub(super) fn is_later(&self, path: &str) -> bool {
        self.later.contains(within(Table::AccessEvents, path))
    }

    /// Whether rows of that year went. A file without a year may hold any.
    pub(super) fn is_broken(&self, year: Option<&str>) -> bool {
        year.is_none_or(|year| self.broken.contains(year))
    }

    pub(super) fn broken(&self) -> &BTreeSet<String> {
        &self.broken
    }

    /// Takes in the commit after the last.
    fn take(&mut self, lines: &[Line]) {
        self.upto += 1;
        let (mut removes, mut holds_later) = (0, false);
        for gone in lines.iter().filter_map(|line| line.remove.as_ref()) {
            removes += 1;
            holds_later |= self.later.remove(&gone.path);
            if gone.data_change {
                self.broken.insert(year_of(&gone.path).to_owned());
            }
        }
        for add in lines.iter().filter_map(|line| line.add.as_ref()) {
            // Files that were written anew of files without later rows have none.
            if add.data_change || holds_later || removes == 0 {
                self.later.insert(add.path.clone());
            }
        }
    }
}

/// The year in a path, relative to its table.
fn year_of(path: &str) -> &str {
    let folder = path.split('/').next().unwrap_or_default();
    folder.strip_prefix("year=").unwrap_or_default()
}

/// What is known since the version that was asked for last.
#[derive(Debug, Default)]
pub(in super::super) struct Known(Mutex<Option<(Arc<Reached>, Arc<Since>)>>);

impl Inner {
    /// What happened from there to `version`; none where the log does not tell, or there are more commits than `most`.
    pub(super) async fn since(
        &self,
        reached: &Arc<Reached>,
        version: u64,
        most: u64,
    ) -> Result<Option<Arc<Since>>, LakeError> {
        if version.checked_sub(reached.version).is_none_or(|behind| behind > most) {
            return Ok(None);
        }
        let mut known = self.since.0.lock().await;
        let before = known.as_ref().filter(|(of, since)| of == reached && since.upto <= version);
        let mut since = match before {
            Some((_, since)) if since.upto == version => return Ok(Some(Arc::clone(since))),
            Some((_, since)) => Since::clone(since),
            None if self.entry(reached.version).await?.is_some_and(|found| found != reached.entry) => {
                return Ok(None);
            }
            None => Since::from(reached.version),
        };
        if !self.walk(&mut since, version).await? {
            return Ok(None);
        }
        let since = Arc::new(since);
        *known = Some((Arc::clone(reached), Arc::clone(&since)));
        Ok(Some(since))
    }

    /// Takes in the commits up to `version`; whether the log has them all.
    pub(super) async fn walk(&self, since: &mut Since, version: u64) -> Result<bool, LakeError> {
        // Beside one another: in a bucket each answer takes a while.
        let entries = (since.upto + 1..=version).map(|at| self.events().read_entry(at));
        let mut entries = futures::stream::iter(entries).buffered(AT_ONCE);
        while let Some(lines) = entries.next().await {
            let Some(lines) = lines? else { return Ok(false) };
            since.take(&lines);
        }
        Ok(true)
    }

    /// A sum over a commit of `access_events`; none where it is gone.
    pub(super) async fn entry(&self, version: u64) -> Result<Option<u64>, LakeError> {
        Ok(self.events().entry_bytes(version).await?.map(|bytes| sum(bytes.iter().copied())))
    }
}
