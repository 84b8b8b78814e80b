//! A whole folder into the lake, or nothing of it.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::contradictions::{self, KnownIds};
use super::encode::{Reading, encode};
use super::find::find;
use super::history::{Earlier, Gone, Known};
use super::manifest::{self, GoneFile, History, Manifest, ManifestTable, TableHistory};
use super::tables::{Before, ContextTable};
use super::{ContextError, LoadReport, LoadedTable, forget};
use crate::failpoint::crash_at;
use crate::lake::Lake;

/// How files are read: another number, and what was read before counts as something else.
const READING: u32 = 1;

/// Reads every table of `dir` and makes them the current ones, atomically. A table whose file is absent is empty
/// from now on. Dates are read in `zone`. What contradicts itself is loaded and told of.
///
/// # Errors
/// At the first value, line or header that does not fit; nothing has changed then.
pub async fn load(lake: &Lake, dir: &Path, zone: Tz) -> Result<LoadReport, ContextError> {
    load_exported(lake, dir, zone, None).await
}

/// The same with tables that were exported at an instant (µs UTC) after the load before: they count from then on.
///
/// # Errors
/// As [`load`]; and when the instant is not between the load before and now.
pub async fn load_exported(
    lake: &Lake,
    dir: &Path,
    zone: Tz,
    exported: Option<i64>,
) -> Result<LoadReport, ContextError> {
    let store = lake.object_store();
    let _alone = lake.context_lease().await?;
    let found = find(dir)?;
    let before = manifest::current(store.as_ref()).await?;
    let made_at = Utc::now().timestamp_micros();
    let loaded_at = instant(exported, made_at, before.as_ref())?;
    let stamp = DateTime::from_timestamp_micros(loaded_at).unwrap_or_default();
    let id = new_id(stamp, manifest::ids(store.as_ref()).await?.last());
    let prints = prints(&found.files, zone).await?;
    let mut manifest = Manifest {
        id,
        loaded_at,
        made_at: (made_at != loaded_at).then_some(made_at),
        timezone: zone.name().to_owned(),
        tables: Vec::new(),
        history: Some(earlier_history(before.as_ref(), loaded_at, made_at)),
    };
    match before.as_ref().filter(|before| is_same(before, &found.files, &prints)) {
        Some(before) => manifest.tables.clone_from(&before.tables),
        None => tables(store.as_ref(), &found.files, &prints, zone, before.as_ref(), &mut manifest).await?,
    }
    crash_at("context-tables-put");
    manifest::publish(store.as_ref(), &manifest).await?;
    crash_at("context-published");
    forget::thin(store.as_ref(), &manifest).await?;
    let tables = manifest.tables.into_iter().map(|t| LoadedTable {
        table: t.table,
        file: t.file,
        rows: t.rows,
        notes: t.notes,
        contradictions: t.contradictions,
    });
    Ok(LoadReport {
        load: manifest.id,
        loaded_at: manifest.loaded_at,
        tables: tables.collect(),
        notes: found.notes,
    })
}

/// Of when the tables are.
fn instant(exported: Option<i64>, now: i64, before: Option<&Manifest>) -> Result<i64, ContextError> {
    match (exported, before.map(|before| before.loaded_at)) {
        (Some(at), Some(before)) if at <= before => Err(ContextError::Exported { at, before: Some(before) }),
        (Some(at), _) if at > now => Err(ContextError::Exported { at, before: None }),
        (Some(at), _) => Ok(at),
        // After the load before, also when the clock was set back.
        (None, before) => Ok(before.map_or(now, |before| now.max(before + 1))),
    }
}

/// What is known of earlier loads, before this one changes anything.
fn earlier_history(before: Option<&Manifest>, loaded_at: i64, made_at: i64) -> History {
    let mut history = match before {
        None => History { since: loaded_at, ..History::default() },
        Some(Manifest { history: Some(history), .. }) => history.clone(),
        // Loads were kept whole until now: what this one changes is told from the last of them on.
        Some(before) => History {
            since: before.loaded_at,
            tables: before
                .tables
                .iter()
                .map(|t| TableHistory { table: t.table.clone(), gone: Vec::new() })
                .collect(),
            late: Vec::new(),
        },
    };
    if made_at != loaded_at {
        history.late.push((loaded_at, made_at));
    }
    history
}

/// Whether a load of files with these prints has what the one before has.
fn is_same(before: &Manifest, files: &[(&'static ContextTable, PathBuf)], prints: &[String]) -> bool {
    let of_before = |name: &str| before.table(name).and_then(|table| table.print.as_ref());
    before.history.is_some()
        && before.tables.len() == files.len()
        && files.iter().zip(prints).all(|((table, _), print)| of_before(table.name) == Some(print))
}

/// Reads the tables, puts those that changed, and what of them is gone, and describes them.
async fn tables(
    store: &dyn ObjectStore,
    files: &[(&'static ContextTable, PathBuf)],
    prints: &[String],
    zone: Tz,
    before: Option<&Manifest>,
    manifest: &mut Manifest,
) -> Result<(), ContextError> {
    let mut history = manifest.history.take().unwrap_or_default();
    let mut turns: Vec<_> = files.iter().zip(prints).collect();
    turns.sort_by_key(|((table, _), _)| contradictions::turn(table.name));
    let names: Vec<&str> = files.iter().map(|(table, _)| table.name).collect();
    let mut ids = KnownIds::of(&names);
    for ((table, path), print) in turns {
        let known = known(store, table, before, &history).await?;
        let earlier = before.and_then(|before| before.table(table.name));
        let is_same = earlier.is_some_and(|earlier| earlier.print.as_ref() == Some(print));
        let reading = Reading { table, path: path.clone(), zone, at: manifest.loaded_at, is_same };
        // Reading a file of a million rows takes a while: not on the threads that serve others.
        let joined = tokio::task::spawn_blocking(move || encode(&reading, known, ids)).await;
        let read = joined.map_err(|e| ContextError::Io { path: path.clone(), what: e.to_string() })??;
        ids = read.ids;
        let mut described = ManifestTable { print: Some(print.clone()), ..read.described };
        match (read.bytes, earlier, before) {
            (None, Some(earlier), Some(before)) => {
                described.path = Some(before.path(earlier).to_string());
                described.size = earlier.size;
                described.digest.clone_from(&earlier.digest);
            }
            (bytes, ..) => {
                let to = manifest::table_path(&manifest.id, table.name);
                store.put(&to, bytes.unwrap_or_default().into()).await?;
                described.path = Some(to.to_string());
            }
        }
        keep(store, table, read.gone, &mut history, &manifest.id).await?;
        manifest.tables.push(described);
    }
    for gone in before.iter().flat_map(|before| &before.tables).filter(|t| !names.contains(&t.table.as_str()))
    {
        let Some(table) = super::table(&gone.table) else { continue };
        let known = known(store, table, before, &history).await?;
        let at = manifest.loaded_at;
        let joined = tokio::task::spawn_blocking(move || Earlier::read(table, known, at)?.rest()).await;
        let rest = joined
            .map_err(|e| manifest_fault(&manifest.id, &e))?
            .map_err(|e| manifest_fault(&manifest.id, &e))?;
        keep(store, table, rest, &mut history, &manifest.id).await?;
    }
    manifest.tables.sort_by(|a, b| a.table.cmp(&b.table));
    manifest.history = Some(history);
    Ok(())
}

fn manifest_fault(load: &str, error: &dyn std::fmt::Display) -> ContextError {
    ContextError::Manifest { load: load.to_owned(), what: error.to_string() }
}

/// What the lake has of a table, to be held against a new load of it.
async fn known(
    store: &dyn ObjectStore,
    table: &ContextTable,
    before: Option<&Manifest>,
    history: &History,
) -> Result<Known, ContextError> {
    let of_table = history.tables.iter().find(|of| of.table == table.name);
    let mut known = Known { ever: of_table.is_some(), ..Known::default() };
    if let Some((manifest, earlier)) = before.and_then(|before| Some((before, before.table(table.name)?))) {
        known.now = Some(store.get(&manifest.path(earlier)).await?.bytes().await?);
        known.since = manifest.loaded_at;
        known.is_older = manifest.history.is_none();
    }
    // Which things were ever told of decides only where the first that is told of one counts.
    if matches!(table.before, Before::FirstOf(_)) {
        for gone in of_table.iter().flat_map(|of| &of.gone) {
            known.gone.push(store.get(&StorePath::from(gone.path.as_str())).await?.bytes().await?);
        }
    }
    Ok(known)
}

/// Puts what is gone of a table beside what went before, together with it where both are small.
async fn keep(
    store: &dyn ObjectStore,
    table: &'static ContextTable,
    gone: Option<Gone>,
    history: &mut History,
    load: &str,
) -> Result<(), ContextError> {
    let at = match history.tables.iter().position(|of| of.table == table.name) {
        Some(at) => at,
        None => {
            history.tables.push(TableHistory { table: table.name.to_owned(), gone: Vec::new() });
            history.tables.len() - 1
        }
    };
    let (Some(mut gone), files) = (gone, &mut history.tables[at].gone) else { return Ok(()) };
    while let Some(before) = files.pop_if(|before| gone.joins(before)) {
        let bytes = store.get(&StorePath::from(before.path.as_str())).await?.bytes().await?;
        let joined = tokio::task::spawn_blocking(move || gone.join(table, &before, bytes)).await;
        gone = joined.map_err(|e| manifest_fault(load, &e))?.map_err(|e| manifest_fault(load, &e))?;
    }
    files.push(put_gone(store, &manifest::gone_path(load, table.name), gone).await?);
    Ok(())
}

pub(super) async fn put_gone(
    store: &dyn ObjectStore,
    to: &StorePath,
    gone: Gone,
) -> Result<GoneFile, ContextError> {
    let Gone { bytes, rows, first, last } = gone;
    let size = bytes.len() as u64;
    store.put(to, bytes.into()).await?;
    Ok(GoneFile { path: to.to_string(), rows, size, first, last })
}

/// Of each file what it holds and how it is read.
async fn prints(files: &[(&'static ContextTable, PathBuf)], zone: Tz) -> Result<Vec<String>, ContextError> {
    let paths: Vec<PathBuf> = files.iter().map(|(_, path)| path.clone()).collect();
    let all = move || paths.iter().map(|path| print(path, zone)).collect::<Result<Vec<_>, _>>();
    let joined = tokio::task::spawn_blocking(all).await;
    joined.map_err(|e| ContextError::Io { path: PathBuf::new(), what: e.to_string() })?
}

fn print(path: &Path, zone: Tz) -> Result<String, ContextError> {
    let io = |e: std::io::Error| ContextError::Io { path: path.to_owned(), what: e.to_string() };
    let mut hash = Sha256::new();
    hash.update(format!("{READING} {} ", zone.name()));
    // A table in two forms is read in two ways.
    hash.update(path.extension().unwrap_or_default().as_encoded_bytes());
    std::io::copy(&mut std::fs::File::open(path).map_err(io)?, &mut hash).map_err(io)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Sorts by time, and after every load that is there already, also when the clock was set back.
fn new_id(now: DateTime<Utc>, last: Option<&String>) -> String {
    let mut stamp = now.format("%Y%m%dT%H%M%S%.6fZ").to_string();
    if let Some(last) = last
        && *last >= stamp
    {
        // `z` sorts after the `-` that ends a stamp.
        let base = last.split('-').next().unwrap_or(last);
        stamp = format!("{base}z");
    }
    format!("{stamp}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_also_when_the_clock_goes_back() {
        let now = Utc::now();
        let first = new_id(now, None);
        let second = new_id(now, Some(&first));
        let third = new_id(now - chrono::TimeDelta::days(1), Some(&second));
        let fourth = new_id(now - chrono::TimeDelta::days(1), Some(&third));
        assert!(first < second && second < third && third < fourth, "{first} {second} {third} {fourth}");
    }
}
