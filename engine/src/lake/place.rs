//! Where a lake lies, opened: its stores, its locks, and who else has it open.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use super::error::LakeError;
use super::lease::Leases;
use super::location::{self, Location};
use super::lock::{Alone, LakeLock, Presence};
use super::types::Table;
use crate::bucket::Bucket;
use crate::config::LakeConfig;
use crate::store::{self, DurableStore};

/// Proves, by being refused to the second of two writers, that commits can be made.
const MARK: &str = ".insyn-lake";

/// A folder or a bucket that a lake can be in.
pub(super) enum Place {
    Folder {
        folder: PathBuf,
        presence: Presence,
    },
    Bucket {
        url: Url,
        bucket: Arc<dyn ObjectStore>,
        /// The lake's path in it.
        within: Path,
        leases: Arc<Leases>,
    },
}

/// Where one table lies.
pub(super) struct TablePlace {
    /// Paths in it are relative to the table.
    pub store: Arc<dyn ObjectStore>,
    /// Paths in it are those of urls.
    pub whole: Arc<dyn ObjectStore>,
    /// The table's; in a bucket as if nothing but the lake were there.
    pub url: Url,
}

impl Place {
    /// Makes it ready: folders are made and proved to be writable, a bucket is proved to keep its promises.
    pub(super) async fn open(config: &LakeConfig, base: &FsPath) -> Result<Place, LakeError> {
        match located(config, base)? {
            Location::Folder(folder) => {
                let prepared = tokio::task::spawn_blocking(move || prepare(&folder));
                let (folder, presence) = prepared
                    .await
                    .map_err(|e| LakeError::Io { path: base.to_path_buf(), what: e.to_string() })??;
                Ok(Place::Folder { folder, presence })
            }
            Location::Bucket { bucket: name, within } => {
                let bucket = bucket(config, &name, base)?;
                bucket.prove(&Path::from_iter(within.parts().chain([MARK.into()]))).await?;
                let url = url(&name, &within, config)?;
                // Leases have a client of their own, whose connections are on their own thread.
                let of_leases = PrefixStore::new(self::bucket(config, &name, base)?, within.clone());
                let leases = Leases::of(url.as_str().trim_end_matches('/'), Arc::new(of_leases));
                Ok(Place::Bucket { url, bucket: Arc::new(bucket), within, leases })
            }
        }
    }

    /// Its name, for people and as a key.
    pub(super) fn root(&self) -> String {
        match self {
            Place::Folder { folder, .. } => folder.display().to_string(),
            Place::Bucket { url, .. } => url.as_str().trim_end_matches('/').to_owned(),
        }
    }

    pub(super) fn folder(&self) -> Option<&FsPath> {
        match self {
            Place::Folder { folder, .. } => Some(folder),
            Place::Bucket { .. } => None,
        }
    }

    /// Its files; paths are relative to the lake.
    pub(super) fn store(&self) -> Result<Arc<dyn ObjectStore>, LakeError> {
        Ok(match self {
            Place::Folder { folder, .. } => Arc::new(DurableStore::at(folder)?),
            Place::Bucket { bucket, within, .. } => {
                Arc::new(PrefixStore::new(Arc::clone(bucket), within.clone()))
            }
        })
    }

    pub(super) fn table(&self, table: Table) -> Result<TablePlace, LakeError> {
        let fault = |what: String| LakeError::delta(table, what);
        match self {
            Place::Folder { folder, .. } => {
                let folder = folder.join(table.name());
                let url = Url::from_directory_path(&folder);
                Ok(TablePlace {
                    url: url.map_err(|()| fault(format!("{} is no absolute path", folder.display())))?,
                    store: Arc::new(DurableStore::at(&folder)?),
                    whole: Arc::new(DurableStore::whole()),
                })
            }
            Place::Bucket { .. } => {
                // Delta's kernel does not find everything where a path has a space: it is told of the lake alone.
                let whole = self.store()?;
                let store = Arc::new(PrefixStore::new(Arc::clone(&whole), table.name()));
                let url =
                    Url::parse(&format!("s3:///{}/", table.name())).map_err(|e| fault(e.to_string()))?;
                Ok(TablePlace { store, whole, url })
            }
        }
    }

    /// Takes it for `what`.
    pub(super) async fn lock(&self, holder: &str, what: &str) -> Result<LakeLock, LakeError> {
        match self {
            Place::Folder { folder, .. } => LakeLock::of_folder(folder, holder, what),
            Place::Bucket { leases, .. } => LakeLock::of_bucket(leases, holder, what).await,
        }
    }

    /// None where another has the lake open, or nobody can know.
    pub(super) fn alone(&self) -> Result<Option<Alone<'_>>, LakeError> {
        match self {
            Place::Folder { presence, .. } => presence.alone(),
            Place::Bucket { .. } => Ok(None),
        }
    }
}

/// A place for a lake that is put back there.
pub struct Vacant {
    name: String,
    into: Into,
}

enum Into {
    Folder(PathBuf),
    Bucket(Arc<dyn ObjectStore>),
}

impl Vacant {
    /// The place that the configuration names; nothing is made there yet.
    ///
    /// # Errors
    /// When the url is neither a folder nor a bucket, or what is said of the bucket does not suffice.
    pub fn at(config: &LakeConfig, base: &FsPath) -> Result<Vacant, LakeError> {
        Ok(match located(config, base)? {
            Location::Folder(folder) => {
                Vacant { name: folder.display().to_string(), into: Into::Folder(folder) }
            }
            Location::Bucket { bucket: name, within } => {
                let store = PrefixStore::new(bucket(config, &name, base)?, within.clone());
                Vacant { name: url(&name, &within, config)?.into(), into: Into::Bucket(Arc::new(store)) }
            }
        })
    }

    /// Whether nothing lies there. The mark and the leases in a bucket are nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn is_empty(&self) -> Result<bool, LakeError> {
        match &self.into {
            Into::Folder(folder) => match std::fs::read_dir(folder) {
                Ok(mut entries) => Ok(entries.next().is_none()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
                Err(error) => Err(LakeError::io(folder, &error)),
            },
            Into::Bucket(store) => {
                let mut listed = store.list(None);
                while let Some(found) = listed.try_next().await? {
                    if !found.location.as_ref().starts_with(".insyn-") {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Removes what lies there: what was put there and not to its end.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn clear(&self) -> Result<(), LakeError> {
        match &self.into {
            Into::Folder(folder) => match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(LakeError::io(folder, &error))
                }
                _ => Ok(()),
            },
            Into::Bucket(store) => {
                let found: Vec<_> = store.list(None).try_collect().await?;
                for object in found.iter().filter(|found| !found.location.as_ref().starts_with(".insyn-")) {
                    store.delete(&object.location).await?;
                }
                Ok(())
            }
        }
    }

    /// Puts a file; `path` is relative to the lake. It is durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), LakeError> {
        let path = Path::parse(path).map_err(object_store::Error::from)?;
        let put = match &self.into {
            Into::Folder(folder) => {
                store::make_folders(folder)?;
                DurableStore::at(folder)?.put(&path, bytes.into()).await
            }
            Into::Bucket(store) => store.put(&path, bytes.into()).await,
        };
        put?;
        Ok(())
    }
}

impl std::fmt::Display for Vacant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl std::fmt::Debug for Vacant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vacant({})", self.name)
    }
}

fn located(config: &LakeConfig, base: &FsPath) -> Result<Location, LakeError> {
    match Location::of(&config.url, base)? {
        Location::Folder(_) if config.s3.is_some() => Err(location::fault(
            &config.url,
            "is a folder, and [lake.s3] says how a bucket is reached".into(),
        )),
        location => Ok(location),
    }
}

fn bucket(config: &LakeConfig, name: &str, base: &FsPath) -> Result<Bucket, LakeError> {
    let of = config.s3.clone().unwrap_or_default();
    Bucket::of(name, &of, base).map_err(|found| location::fault(&config.url, found))
}

/// The lake's url, which ends with a slash.
fn url(bucket: &str, within: &Path, config: &LakeConfig) -> Result<Url, LakeError> {
    let fault = |e: String| location::fault(&config.url, e);
    let mut url = Url::parse(&format!("s3://{bucket}/")).map_err(|e| fault(e.to_string()))?;
    let mut parts = url.path_segments_mut().map_err(|()| fault("has no path".into()))?;
    parts.pop_if_empty().extend(within.parts().map(|part| part.as_ref().to_owned())).push("");
    drop(parts);
    Ok(url)
}

/// Makes the folders, proves that they can be written, and removes what a crash left.
fn prepare(folder: &FsPath) -> Result<(PathBuf, Presence), LakeError> {
    for table in Table::ALL {
        store::make_folders(&folder.join(table.name()))?;
    }
    let folder = folder.canonicalize().map_err(|e| LakeError::io(folder, &e))?;
    let presence = Presence::enter(&folder)?;
    let swept = store::sweep(&folder, store::SWEEP_AFTER);
    if swept > 0 {
        tracing::info!(files = swept, "removed temporary files that a crash had left");
    }
    Ok((folder, presence))
}
