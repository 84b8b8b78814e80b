//! An object store on local folders that says "stored" only when it is.
//!
//! A put writes a temporary file beside the final one, fsyncs it, then gives it its name (a hard link where it must
//! not exist before, a rename where it may be replaced) and fsyncs the folder; folders made on the way are fsynced
//! into their parents. Whoever crashes half-way leaves a temporary file, never half an object. Everything else is
//! [`LocalFileSystem`]'s, whose listings hide the temporary names (`name#digits`).

mod at_once;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::disk::{self, parent};
use crate::failpoint::crash_at;

/// The name under which this store's errors travel inside [`object_store::Error::Generic`].
pub(crate) const STORE: &str = "lake folder";

/// Temporary files younger than this may belong to a living writer and are left alone by [`sweep`].
pub(crate) const SWEEP_AFTER: Duration = Duration::from_secs(3600);

/// A durable object store on a local folder.
#[derive(Debug, Clone)]
pub(crate) struct DurableStore {
    inner: LocalFileSystem,
}

/// What could not be done with which file, in a sentence for an operator.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", path.display(), explain(source))]
pub(crate) struct StoreError {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) source: io::Error,
}

/// Why, in words, with the operating system's own beside.
pub(crate) fn explain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("the disk is full ({error})"),
        ErrorKind::PermissionDenied => format!("may not be written by this user ({error})"),
        ErrorKind::ReadOnlyFilesystem => format!("lies on a read-only file system ({error})"),
        ErrorKind::NotADirectory => format!("a file lies where a folder was expected ({error})"),
        _ => error.to_string(),
    }
}

impl DurableStore {
    /// The whole file system: paths are absolute paths without their first slash.
    pub(crate) fn whole() -> Self {
        DurableStore { inner: LocalFileSystem::new() }
    }

    /// A store whose root is `folder`, which must exist.
    pub(crate) fn at(folder: &FsPath) -> Result<Self> {
        Ok(DurableStore { inner: LocalFileSystem::new_with_prefix(folder)? })
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let replace = match opts.mode {
            PutMode::Create => false,
            PutMode::Overwrite => true,
            PutMode::Update(_) => return Err(not_implemented("put with mode Update")),
        };
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || {
            let mut staged = Staged::create(&path)?;
            for part in payload.iter() {
                staged.write(part)?;
            }
            staged.publish(replace)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let staged = blocking(move || Staged::create(&path)).await?;
        Ok(Box::new(Upload {
            staged: Arc::new(Mutex::new(Parts { staged: Some(staged), next: 0, early: Vec::new() })),
            parts: 0,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match at_once::read(&self.inner.path_to_filesystem(location)?, ranges) {
            Some(held) => Ok(held),
            None => self.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.settle(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.settle(to).await
    }
}

impl DurableStore {
    /// Fsyncs a file that got its name by other means, and its folder.
    async fn settle(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || {
            File::open(&path).and_then(|file| file.sync_all()).map_err(|e| failed(&path, e))?;
            sync_folder(parent(&path))
        })
        .await
    }
}

/// A temporary file on its way to its name. Dropped before that, it goes away.
#[derive(Debug)]
struct Staged {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Staged {
    fn create(target: &FsPath) -> Result<Staged> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            // Digits after `#`: the form that LocalFileSystem hides from listings and refuses as an object's name.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let mut name = target.as_os_str().to_owned();
            name.push(format!("#{}{number:08}", std::process::id()));
            let temporary = PathBuf::from(name);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    return Ok(Staged { file, temporary, target: target.to_path_buf(), published: false });
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == ErrorKind::NotFound => make_folders(parent(target))?,
                Err(e) => return Err(failed(&temporary, e)),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| failed(&self.target, e))
    }

    fn publish(mut self, replace: bool) -> Result<()> {
        crash_at("store-written");
        self.file.sync_all().map_err(|e| failed(&self.target, e))?;
        crash_at("store-fsynced");
        if replace {
            fs::rename(&self.temporary, &self.target).map_err(|e| failed(&self.target, e))?;
            self.published = true;
        } else {
            // The link is the moment of truth; the temporary name is removed when `self` is dropped.
            fs::hard_link(&self.temporary, &self.target).map_err(|e| failed(&self.target, e))?;
        }
        crash_at("store-named");
        sync_folder(parent(&self.target))?;
        crash_at("store-folder-fsynced");
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // A name that stays behind is harmless: it is hidden, and swept when the lake is next opened.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[derive(Debug)]
struct Upload {
    staged: Arc<Mutex<Parts>>,
    parts: usize,
}

/// Parts may finish in any order; what comes early waits for those before it.
#[derive(Debug)]
struct Parts {
    staged: Option<Staged>,
    next: usize,
    early: Vec<(usize, PutPayload)>,
}

impl Parts {
    fn add(&mut self, index: usize, payload: PutPayload) -> Result<()> {
        self.early.push((index, payload));
        while let Some(at) = self.early.iter().position(|(i, _)| *i == self.next) {
            let (_, payload) = self.early.swap_remove(at);
            let staged = self.staged.as_mut().ok_or_else(ended)?;
            for part in payload.iter() {
                staged.write(part)?;
            }
            self.next += 1;
        }
        Ok(())
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let index = self.parts;
        self.parts += 1;
        let staged = Arc::clone(&self.staged);
        blocking(move || staged.lock().unwrap_or_else(PoisonError::into_inner).add(index, payload)).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = Arc::clone(&self.staged);
        let expected = self.parts;
        blocking(move || {
            let mut parts = staged.lock().unwrap_or_else(PoisonError::into_inner);
            if parts.next != expected {
                return Err(ended());
            }
            parts.staged.take().ok_or_else(ended)?.publish(true)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).staged.take();
        Ok(())
    }
}

/// Makes `folder` and what is missing above it, durably.
///
/// # Errors
/// When a folder cannot be made or fsynced.
pub(crate) fn make_folders(folder: &FsPath) -> Result<()> {
    disk::make_folders(folder).map_err(|e| failed(folder, e))
}

/// Removes the temporary files below `folder` that a crash left: those that are older than `age`, since another process
/// may be writing one.
pub(crate) fn sweep(folder: &FsPath, age: Duration) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut removed = 0;
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            removed += sweep(&entry.path(), age);
        } else if is_temporary(&entry.file_name().to_string_lossy()) && is_older(&entry, age) {
            removed += u64::from(fs::remove_file(entry.path()).is_ok());
        }
    }
    removed
}

fn is_temporary(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn is_older(entry: &fs::DirEntry, age: Duration) -> bool {
    let modified = entry.metadata().and_then(|m| m.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|since| since > age))
}

fn sync_folder(folder: &FsPath) -> Result<()> {
    disk::sync_folder(folder).map_err(|e| failed(folder, e))
}

fn failed(path: &FsPath, source: io::Error) -> Error {
    match source.kind() {
        ErrorKind::AlreadyExists => {
            Error::AlreadyExists { path: path.display().to_string(), source: source.into() }
        }
        _ => {
            Error::Generic { store: STORE, source: Box::new(StoreError { path: path.to_path_buf(), source }) }
        }
    }
}

fn ended() -> Error {
    Error::Generic { store: STORE, source: "the upload has ended, or a part of it failed".into() }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.into(), implementer: STORE.into() }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    fn create() -> PutOptions {
        PutMode::Create.into()
    }

    #[tokio::test]
    async fn a_put_makes_folders_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::at(folder.path()).unwrap();
        let path = Path::from("a/b/c.json");
        store.put_opts(&path, "one".into(), create()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        let names: Vec<_> =
            fs::read_dir(folder.path().join("a/b")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["c.json"]);
    }

    #[tokio::test]
    async fn create_never_replaces_and_overwrite_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::at(folder.path()).unwrap();
        let path = Path::from("x");
        store.put_opts(&path, "one".into(), create()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), create()).await.unwrap_err();
        assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn of_many_creators_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::at(folder.path()).unwrap();
        let path = Path::from("log/0.json");
        let puts = (0..16).map(|i| store.put_opts(&path, i.to_string().into(), create()));
        let won = futures::future::join_all(puts).await.into_iter().filter(|r| r.is_ok()).count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn a_multipart_upload_is_whole_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::at(folder.path()).unwrap();
        let path = Path::from("big");
        let mut upload = store.put_multipart(&path).await.unwrap();
        // Polled in the opposite order: the parts still lie as they were given.
        let first = upload.put_part("first ".into());
        let second = upload.put_part("second".into());
        second.await.unwrap();
        assert!(store.get(&path).await.is_err());
        assert!(
            store.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty(),
            "temporary names are hidden"
        );
        first.await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first second");

        let mut upload = store.put_multipart(&Path::from("other")).await.unwrap();
        upload.put_part("x".into()).await.unwrap();
        upload.abort().await.unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_where_a_folder_should_be_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let store = DurableStore::at(folder.path()).unwrap();
        let error = store.put(&Path::from("a/b"), "x".into()).await.unwrap_err().to_string();
        assert!(error.contains("/a") && error.contains("folder was expected"), "{error}");
    }

    #[test]
    fn what_a_crash_left_is_swept_once_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("t/_delta_log");
        fs::create_dir_all(&below).unwrap();
        let long_ago = SystemTime::now() - SWEEP_AFTER - Duration::from_secs(60);
        for (name, old) in [("1.json#42", true), ("2.json#43", false), ("3.json", true), ("4#x", true)] {
            let file = File::create(below.join(name)).unwrap();
            if old {
                file.set_modified(long_ago).unwrap();
            }
        }
        assert_eq!(sweep(folder.path(), SWEEP_AFTER), 1);
        assert!(!below.join("1.json#42").exists());
        assert_eq!(fs::read_dir(&below).unwrap().count(), 3);
    }

    #[test]
    fn a_full_disk_is_said_in_words() {
        let text = explain(&io::Error::from(ErrorKind::StorageFull));
        assert!(text.starts_with("the disk is full"), "{text}");
    }
}
