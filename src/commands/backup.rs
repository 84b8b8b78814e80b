//! `insyn backup` and `insyn restore`: lake, workflow database and spool as they belong together, copied while the
//! program goes on, and put back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{SecondsFormat, Utc};
use insyn_engine::disk;
use insyn_engine::failpoint::crash_at;
use insyn_engine::lake::Vacant;
use insyn_engine::retain::Plan;
use insyn_ingest::spool::Aside;
use insyn_review::Db;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::house::House;
use crate::record::{self, Record};
use crate::{removal, retention};

/// Written last: without it a folder is no backup.
const MANIFEST: &str = "manifest.json";
const LAKE: &str = "lake";
const STATE: &str = "state.db";
const SPOOL: &str = "spool";
/// What the workflow database's name ends with, where its file lies that says that a backup is being put back.
const UNFINISHED: &str = ".restoring";

/// What a backup holds.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    made_at: String,
    insyn: String,
    /// The version of `access_events`.
    lake_version: u64,
    files: Vec<Part>,
}

/// One file of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    path: String,
    bytes: u64,
    sha256: String,
}

pub async fn backup(config: &Path, to: &Path) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    if !is_empty(to)? {
        bail!("{} is not empty; a backup is a folder of its own", to.display());
    }
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    let spool = house.config.path(&house.config.spool.dir);
    fs::create_dir_all(&spool).with_context(|| format!("{} cannot be made", spool.display()))?;
    // In this order: what the database knows is then in the lake, and what the lake has not yet is then in the spool.
    let cannot_hold = || format!("the spool {} cannot be held", spool.display());
    let aside = Aside::hold(&spool).with_context(cannot_hold)?;
    house.db().await?.copy_to(&to.join(STATE)).await?;
    let lake_version = house.lake.copy_to(&to.join(LAKE)).await?;
    aside.hold_more().with_context(cannot_hold)?;
    aside.copy_to(&to.join(SPOOL)).context("the spool cannot be copied")?;
    fs::copy(&house.config.file, to.join("insyn.toml")).context("the configuration cannot be copied")?;
    let files = parts(to, Path::new("")).context("the copy cannot be read")?;
    let (count, bytes) = (files.len(), files.iter().map(|part| part.bytes).sum::<u64>());
    let manifest = Manifest {
        made_at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        insyn: env!("CARGO_PKG_VERSION").into(),
        lake_version,
        files,
    };
    write_durably(&to.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)
        .context("the manifest cannot be written")?;
    eprintln!("{count} files, {bytes} bytes in {}; keep it as safe as the lake itself", to.display());
    Ok(ExitCode::SUCCESS)
}

pub async fn restore(config: &Path, from: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::read(config)
        .context("the configuration says where to restore to; a copy of it lies in the backup")?;
    let text = fs::read(from.join(MANIFEST))
        .with_context(|| format!("{} is no backup: it has no {MANIFEST}", from.display()))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .with_context(|| format!("{} cannot be understood", from.join(MANIFEST).display()))?;
    verify(from, &manifest)?;
    // Before anything is written: without it nobody knows what must not come back.
    let record = Record::read(&record::file(&config))?;
    let places = Places::of(&config)?;
    places.clear().await?;
    for part in &manifest.files {
        let within = Path::new(&part.path);
        let bytes = || fs::read(from.join(within)).with_context(|| format!("{} cannot be read", part.path));
        let target = match within.components().next().map(|first| first.as_os_str().to_os_string()) {
            Some(first) if first == LAKE => {
                let path = within.strip_prefix(LAKE)?.to_str().context("a file's name is no text")?;
                places
                    .lake
                    .put(path, bytes()?)
                    .await
                    .with_context(|| format!("{path} cannot be put into {}", places.lake))?;
                continue;
            }
            Some(first) if first == SPOOL => places.spool.join(within.strip_prefix(SPOOL)?),
            Some(first) if first == STATE => places.state.clone(),
            _ => continue,
        };
        write_durably(&target, &bytes()?)
            .with_context(|| format!("{} cannot be written", target.display()))?;
    }
    crash_at("restored-files");
    let rows =
        remove_again(config, record).await.context("what was removed since cannot be removed again")?;
    crash_at("restored-removals");
    let mark = places.mark();
    fs::remove_file(&mark)
        .and_then(|()| disk::sync_folder(mark.parent().unwrap_or(Path::new("."))))
        .context("the mark stays")?;
    eprintln!(
        "{} files as of {} are back{}; what the logs hold since then is read when ingest starts",
        manifest.files.len(),
        manifest.made_at,
        if rows == 0 { String::new() } else { format!(", without {rows} rows that were removed") }
    );
    Ok(ExitCode::SUCCESS)
}

/// Removes what was removed after the backup was made: as the record says, or, where there is none, as the decisions do
/// that the backup has. How many rows.
async fn remove_again(config: Config, record: Option<Record>) -> anyhow::Result<u64> {
    let house = House::put_back(config).await?;
    let db = house.db().await?;
    if let Some(record) = &record {
        db.take_over_retention(&record.decisions, &record.holds).await?;
    }
    let session = house.session(true).await?;
    let now = Utc::now().timestamp_micros();
    let (decisions, holds) = (db.retention_decisions().await?, db.holds().await?);
    let today = retention::plan(&house.config, &decisions, &holds, &session, now)?;
    drop(session);
    let plans = match record {
        // The last one covers most: the others find little.
        Some(record) => record.removals.into_iter().rev().map(|removal| removal.plan).collect(),
        None if today.grounds.is_empty() => Vec::new(),
        None => {
            eprintln!(
                "note: there is no {}: what was removed since the backup is taken from its decisions",
                record::file(&house.config).display()
            );
            vec![today.clone()]
        }
    };
    let mut rows = 0;
    for plan in &plans {
        let plan = Plan { holds: today.holds.clone(), ..plan.clone() };
        let due = removal::look(&house, &db, &plan).await?;
        rows += removal::remove(&house, &db, &plan, &due).await?.rows();
    }
    // Who else reads a bucket nobody knows: there it takes the ten minutes that whoever does has.
    let patience = if house.lake.is_in_bucket() { Duration::from_secs(11 * 60) } else { Duration::ZERO };
    if !plans.is_empty() && !removal::purge(&house, &db, patience).await? {
        bail!("another process has opened the lake; end it, and run `insyn restore` again");
    }
    Record::renewed(&house.config, &db).await?;
    db.close().await;
    Ok(rows)
}

/// Where a backup goes.
struct Places {
    lake: Vacant,
    state: PathBuf,
    spool: PathBuf,
}

impl Places {
    fn of(config: &Config) -> anyhow::Result<Places> {
        Ok(Places {
            lake: Vacant::at(&config.lake, &config.base)?,
            state: Db::file_of(&config.state.url, &config.base)?,
            spool: config.path(&config.spool.dir),
        })
    }

    /// While it is there nothing may be shown.
    fn mark(&self) -> PathBuf {
        beside(&self.state, UNFINISHED)
    }

    /// Where it is put, so that nothing else is cleared away.
    fn told(&self) -> String {
        format!("{}\n{}\n{}\n", self.lake, self.state.display(), self.spool.display())
    }

    /// Makes room, where nothing is but what an unfinished restore left.
    async fn clear(&self) -> anyhow::Result<()> {
        if let Ok(begun) = fs::read_to_string(self.mark()) {
            if begun != self.told() {
                bail!(
                    "{} says that a backup was being put back into {}, which is not where the configuration says now; \
                     finish that, or remove the file",
                    self.mark().display(),
                    begun.lines().next().unwrap_or_default()
                );
            }
            let cannot = || "what an unfinished restore left cannot be cleared away";
            for end in ["", "-wal", "-shm"] {
                absent(fs::remove_file(beside(&self.state, end))).with_context(cannot)?;
            }
            absent(fs::remove_dir_all(&self.spool)).with_context(cannot)?;
            self.lake.clear().await.with_context(cannot)?;
        }
        let not_empty = |what: &dyn std::fmt::Display| {
            anyhow::anyhow!("{what} is not empty; move what lies there away first")
        };
        if !self.lake.is_empty().await? {
            return Err(not_empty(&self.lake));
        }
        if !is_empty(&self.spool)? {
            return Err(not_empty(&self.spool.display()));
        }
        if self.state.exists() {
            bail!("{} exists; move it away first", self.state.display());
        }
        write_durably(&self.mark(), self.told().as_bytes()).context("the restore cannot be marked as begun")
    }
}

/// The file whose name is that of the other with this at its end.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

fn absent(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether a restore was begun here and not finished: what was removed since the backup may be there.
pub fn is_unfinished(config: &Config) -> bool {
    // A url that is no file is told of by whoever opens it.
    Db::file_of(&config.state.url, &config.base).is_ok_and(|state| beside(&state, UNFINISHED).exists())
}

/// Every file is there and is what it was, before anything is written.
fn verify(from: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    for part in &manifest.files {
        let path = Path::new(&part.path);
        if path.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            bail!("{MANIFEST} names {:?}, which is no file of a backup", part.path);
        }
        let found = part_of(from, path).with_context(|| format!("{} is not there", part.path))?;
        if found != *part {
            bail!("{} is not what was written: {} bytes, expected {}", part.path, found.bytes, part.bytes);
        }
    }
    Ok(())
}

/// Every file below a folder, in order of its path.
fn parts(root: &Path, within: &Path) -> io::Result<Vec<Part>> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(root.join(within))?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    let mut all = Vec::new();
    for path in entries {
        let within = path.strip_prefix(root).unwrap_or(&path);
        match path.is_dir() {
            true => all.extend(parts(root, within)?),
            false => all.push(part_of(root, within)?),
        }
    }
    Ok(all)
}

fn part_of(root: &Path, within: &Path) -> io::Result<Part> {
    let mut file = fs::File::open(root.join(within))?;
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut file, &mut hash)?;
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    file.sync_all()?;
    Ok(Part { path: within.display().to_string(), bytes, sha256 })
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    fs::write(path, bytes)?;
    fs::File::open(path)?.sync_all()?;
    fs::File::open(folder)?.sync_all()
}

fn is_empty(folder: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", folder.display())),
    }
}
