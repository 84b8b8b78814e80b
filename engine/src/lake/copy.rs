//! A copy of the lake as it was at one moment, made while others go on adding to it.

use std::path::Path as FsPath;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreFault, ObjectStore, ObjectStoreExt};

use super::error::LakeError;
use super::log::TableLog;
use super::{Lake, Table};
use crate::context;
use crate::store::{self, DurableStore};

/// Log clean-up may take an entry away while it is copied; then it is begun again.
const ATTEMPTS: usize = 5;

/// Whatever `access_events` counts must be in the others, so it comes first. What is made of it is made again.
const COPIED: [Table; 5] =
    [Table::AccessEvents, Table::Quarantine, Table::Gaps, Table::Exports, Table::Lacking];

impl Lake {
    /// Copies the newest version of every table and the context loads to an empty folder. What it gives when it returns
    /// is on disk there. Nobody merges or amends meanwhile. Gives the version of `access_events`.
    ///
    /// # Errors
    /// When the lake cannot be read, the folder not be written, or another process keeps the lake's maintenance to itself.
    pub async fn copy_to(&self, folder: &FsPath) -> Result<u64, LakeError> {
        let _lease = self.lease().await?;
        let to = folder.to_owned();
        let made = tokio::task::spawn_blocking(move || {
            COPIED.iter().try_for_each(|table| store::make_folders(&to.join(table.name())))
        });
        made.await.map_err(|e| LakeError::Io { path: folder.to_path_buf(), what: e.to_string() })??;
        let to = DurableStore::at(folder)?;
        let mut version = 0;
        for table in COPIED {
            let copied = copy_table(self.inner.tables.of(table), &to).await?;
            if table == Table::AccessEvents {
                version = copied;
            }
        }
        copy_context(self.inner.store.as_ref(), &to).await?;
        Ok(version)
    }
}

/// One table: its newest checkpoint, the entries after it, and the files that they name. Its version.
async fn copy_table(log: &TableLog, to: &DurableStore) -> Result<u64, LakeError> {
    let table = log.table.name();
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let state = log.current().await?;
        match log.entries(state.version).await {
            Ok(entries) => {
                for (name, bytes) in entries {
                    to.put(&Path::from(format!("{table}/_delta_log/{name}")), bytes.into()).await?;
                }
                for file in state.files.iter() {
                    let within = super::actions::within(log.table, &file.path);
                    let bytes = log.read_file(within).await?;
                    to.put(&Path::from(file.path.as_str()), bytes.into()).await?;
                }
                return Ok(state.version);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(LakeError::Contended { table, attempts: ATTEMPTS }))
}

/// The loads of context tables: a load never changes once it has its manifest, which is put last here too.
async fn copy_context(from: &dyn ObjectStore, to: &DurableStore) -> Result<(), LakeError> {
    let listed: Vec<_> = from.list(Some(&Path::from(context::FOLDER))).try_collect().await?;
    let mut paths: Vec<Path> = listed.into_iter().map(|found| found.location).collect();
    paths.sort_by_key(|path| (path.filename() == Some(context::MANIFEST), path.clone()));
    for path in paths {
        match from.get(&path).await {
            Ok(found) => {
                to.put(&path, found.bytes().await?.into()).await?;
            }
            Err(StoreFault::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
