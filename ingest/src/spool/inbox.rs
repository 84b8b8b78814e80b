//! What one sender of one source sends: written down, flushed, and only then acknowledged.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{NaiveDate, Utc};
use insyn_engine::failpoint::crash_at;
use insyn_formats::spool;

use super::writer::{Failed, Writer};
use crate::error::IngestError;

/// A file that has come so far is followed by another one.
const LONGEST: u64 = 64 << 20;

/// The files that one sender's records go to. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct Inbox {
    writer: Writer<Vec<Received>, Stored>,
}

/// A record as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its bytes.
    pub record: Vec<u8>,
    /// Why it is no event, as its sender is told: then it goes to quarantine.
    pub refused: Option<String>,
}

/// Where records lie that are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The file's id, as the rows will have it.
    pub file_id: Arc<str>,
    /// Where each record begins in it, in the order they were given.
    pub offsets: Vec<u64>,
}

impl Inbox {
    /// Writes below `folder`, to files whose ids begin with `name`. The first record begins a file.
    ///
    /// # Errors
    /// When the folder or the thread cannot be made.
    pub fn open(folder: &Path, name: &str) -> Result<Inbox, IngestError> {
        insyn_engine::disk::make_folders(folder)
            .map_err(|error| IngestError::io("cannot make the folder", folder)(error))?;
        let mut files = Files { folder: folder.to_owned(), name: name.to_owned(), open: None };
        let writer = Writer::start("insyn-inbox", move |groups| files.append(groups));
        Ok(Inbox { writer: writer.map_err(IngestError::io("cannot write in", folder))? })
    }

    /// Stores records, all or none. When this returns, they are on disk.
    ///
    /// # Errors
    /// When they cannot be written: then none of them is stored.
    pub async fn put(&self, records: Vec<Received>) -> Result<Stored, IngestError> {
        self.writer.write(records).await
    }
}

/// One file after the other.
struct Files {
    folder: PathBuf,
    name: String,
    open: Option<Open>,
}

struct Open {
    file: File,
    path: PathBuf,
    id: Arc<str>,
    len: u64,
    day: NaiveDate,
}

impl Files {
    fn append(&mut self, groups: &[Vec<Received>]) -> Result<Vec<Stored>, Failed> {
        let mut open = match self.open.take() {
            Some(open) if open.len < LONGEST && open.day == Utc::now().date_naive() => open,
            _ => self.begin().map_err(|error| Failed { path: self.folder.clone(), error })?,
        };
        let mut bytes = Vec::new();
        let mut stored = Vec::with_capacity(groups.len());
        for records in groups {
            let place = |received: &Received| {
                let Received { record, refused } = received;
                open.len + spool::push(&mut bytes, record, refused.as_deref()) as u64
            };
            let offsets = records.iter().map(place).collect();
            stored.push(Stored { file_id: Arc::clone(&open.id), offsets });
        }
        crash_at("inbox-before-write");
        let written = open.file.write_all(&bytes).and_then(|()| {
            crash_at("inbox-written");
            open.file.sync_data()
        });
        crash_at("inbox-fsynced");
        if let Err(error) = written {
            // What nobody was told of must not stay; where that fails too, nothing more is written after it.
            if open.file.set_len(open.len).is_ok() {
                let path = open.path.clone();
                self.open = Some(open);
                return Err(Failed { path, error });
            }
            return Err(Failed { path: open.path, error });
        }
        open.len += bytes.len() as u64;
        self.open = Some(open);
        Ok(stored)
    }

    /// A new file with its first line, and its name on disk.
    fn begin(&self) -> io::Result<Open> {
        let now = Utc::now();
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let id = format!(
            "{}-{}-{}",
            self.name,
            now.format("%Y%m%dT%H%M%S%3f"),
            unique.get(..8).unwrap_or(&unique)
        );
        let path = self.folder.join(format!("{id}.spool"));
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        // Held until the last record is in it: the reader takes a file that nobody holds to be whole.
        file.lock()?;
        let first = spool::header(&id);
        file.write_all(&first)?;
        crash_at("inbox-begun");
        file.sync_data()?;
        File::open(&self.folder)?.sync_all()?;
        Ok(Open { file, path, id: id.into(), len: first.len() as u64, day: now.date_naive() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn good(text: &str) -> Received {
        Received { record: text.into(), refused: None }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_record_lies_where_it_was_said_to() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(folder.path(), "journal-a").unwrap();
        let mut running = tokio::task::JoinSet::new();
        for n in 0..100 {
            let inbox = inbox.clone();
            running.spawn(async move {
                let records = vec![good(&format!("{{\n{n}}}")), good(&format!("{n} again"))];
                (records.clone(), inbox.put(records).await.unwrap())
            });
        }
        for (records, stored) in running.join_all().await {
            let path = folder.path().join(format!("{}.spool", stored.file_id));
            let file = std::fs::read(path).unwrap();
            assert_eq!(spool::id_of(&file), Some(&*stored.file_id));
            for (record, at) in records.iter().zip(stored.offsets) {
                assert!(file[at as usize..].starts_with(&record.record));
            }
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_said_and_mended_by_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("x");
        let inbox = Inbox::open(&place, "a").unwrap();
        std::fs::remove_dir(&place).unwrap();
        let error = inbox.put(vec![good("1")]).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
        std::fs::create_dir(&place).unwrap();
        inbox.put(vec![good("1")]).await.unwrap();
    }
}
