//! `retention.json`: decisions, holds and removals written down a second time, outside of what a backup puts back. A
//! restore learns from it what has been removed since, and what must not be.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::Utc;
use insyn_engine::disk;
use insyn_engine::retain::{Holds, Plan};
use insyn_review::{Db, Decision, Hold};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// What the file says. It names the persons of holds that are in force, and nobody else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub decisions: Vec<Decision>,
    pub holds: Vec<Hold>,
    /// The oldest first.
    pub removals: Vec<Removal>,
}

/// What was removed: begun at least.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// µs UTC.
    pub at: i64,
    pub by: String,
    /// Without whom was held: that is asked anew each time.
    pub plan: Plan,
    /// Nothing is left of it in any file.
    pub finished: bool,
}

/// Where the file lies.
pub fn file(config: &Config) -> PathBuf {
    config.path(&config.retention.record)
}

impl Record {
    /// What the file says; none where there is none.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(file: &Path) -> anyhow::Result<Option<Record>> {
        let text = match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("{} cannot be read", file.display()))?,
        };
        let record = serde_json::from_slice(&text);
        record.map(Some).with_context(|| format!("{} cannot be understood", file.display()))
    }

    /// The record with decisions and holds as the database has them now.
    ///
    /// # Errors
    /// When file or database cannot be read.
    pub async fn of(config: &Config, db: &Db) -> anyhow::Result<Record> {
        let removals = Record::read(&file(config))?.unwrap_or_default().removals;
        Ok(Record { decisions: db.retention_decisions().await?, holds: db.holds().await?, removals })
    }

    /// The same, written down if that is news. One process at a time does this.
    ///
    /// # Errors
    /// When the file cannot be written, besides.
    pub async fn renewed(config: &Config, db: &Db) -> anyhow::Result<Record> {
        let record = Record::of(config, db).await?;
        if Record::read(&file(config))?.unwrap_or_default() != record {
            record.write(&file(config))?;
        }
        Ok(record)
    }

    /// Writes down that a removal begins.
    ///
    /// # Errors
    /// When the file cannot be written: then nothing must be removed.
    pub fn begin(&mut self, config: &Config, plan: &Plan, by: &str) -> anyhow::Result<()> {
        let plan = Plan { holds: Holds::default(), ..plan.clone() };
        let at = Utc::now().timestamp_micros();
        self.removals.push(Removal { at, by: by.to_owned(), plan, finished: false });
        self.write(&file(config))
    }

    /// Writes down that nothing is left of what was removed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&mut self, config: &Config) -> anyhow::Result<()> {
        if self.is_finished() {
            return Ok(());
        }
        self.removals.iter_mut().for_each(|removal| removal.finished = true);
        self.write(&file(config))
    }

    /// Whether nothing is left of what was removed, in any file.
    pub fn is_finished(&self) -> bool {
        self.removals.iter().all(|removal| removal.finished)
    }

    fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let written = || -> io::Result<()> {
            let folder = disk::parent(file);
            disk::make_folders(folder)?;
            let fresh = file.with_extension("json-new");
            let mut target = fs::File::create(&fresh)?;
            target.write_all(&text)?;
            target.sync_all()?;
            fs::rename(&fresh, file)?;
            disk::sync_folder(folder)
        };
        written().with_context(|| format!("{} cannot be written", file.display()))
    }
}
