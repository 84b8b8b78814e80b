//! The connection to the workflow database: where it lies, how it is opened, one writer and several readers.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{
    Connection, QueryBuilder, Sqlite, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Semaphore;

use crate::{
    error::{ReviewError, SQLITE_NOTADB, database, primary_code},
    password::PasswordCost,
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for another process (`insyn rules run` beside `insyn serve`) before it gives up.
const BUSY: Duration = Duration::from_secs(20);
const READERS: u32 = 4;
/// KiB of pages that the one connection which writes may hold; it takes them as it needs them.
const WRITER_CACHE: u32 = 64 << 10;
/// Each argon2id evaluation takes some 19 MiB and a core: more at once would only be a way to exhaust the machine.
const HASHINGS_AT_ONCE: usize = 2;

/// Now, in µs since 1970, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What may differ between an installation and a test.
#[derive(Clone)]
pub struct Options {
    pub cost: PasswordCost,
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Options { cost: PasswordCost::default(), clock: Arc::new(system_clock) }
    }
}

/// The workflow database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// One connection: within a process, writes queue here instead of failing on each other's locks.
    writer: SqlitePool,
    readers: SqlitePool,
    options: Options,
    hashing: Semaphore,
    /// A hash that no password fits, so that an unknown login costs what a known one does.
    decoy: String,
}

impl Db {
    /// Opens the database at `url` (`sqlite://state.db`, relative to `base`, or `sqlite:///absolute/path`), creates it and
    /// its folder when absent, and brings its tables up to date.
    ///
    /// # Errors
    /// [`ReviewError::Url`] for a wrong address, [`ReviewError::Open`] when folder or file cannot be made, read or
    /// written, [`ReviewError::Schema`] when the file was written by a newer program, [`ReviewError::DiskFull`].
    pub async fn open(url: &str, base: &Path) -> Result<Db, ReviewError> {
        Db::open_with(url, base, Options::default()).await
    }

    /// As [`Db::open`], with a clock and a price of passwords of one's own.
    pub async fn open_with(url: &str, base: &Path, options: Options) -> Result<Db, ReviewError> {
        let path = locate(url, base)?;
        prepare(&path)?;
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is removed is overwritten.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY);
        // A run writes findings by the ten thousand in one go, each into indexes in no order: pages that do not fit are
        // written out and read again and again.
        let writes = connect.clone().pragma("cache_size", format!("-{WRITER_CACHE}"));
        let writer = connect_pool(writes, 1, &path).await?;
        migrate(&writer, &path).await?;
        probe(&writer, &path).await?;
        let readers = connect_pool(connect.pragma("query_only", "ON"), READERS, &path).await?;
        let decoy = options.cost.decoy()?;
        let hashing = Semaphore::new(HASHINGS_AT_ONCE);
        Ok(Db { inner: Arc::new(Inner { path, writer, readers, options, hashing, decoy }) })
    }

    /// The file that holds it.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The file that `url` names, without opening it.
    ///
    /// # Errors
    /// [`ReviewError::Url`] for a wrong address.
    pub fn file_of(url: &str, base: &Path) -> Result<PathBuf, ReviewError> {
        locate(url, base)
    }

    /// Copies what is committed now to a new file, whole, while others go on.
    ///
    /// # Errors
    /// [`ReviewError`] when the database cannot be read or the file cannot be written.
    pub async fn copy_to(&self, file: &Path) -> Result<(), ReviewError> {
        let copying = || database("a copy of the database");
        let mut reader = self.inner.writer.acquire().await.map_err(copying())?;
        sqlx::query("VACUUM INTO ?")
            .bind(file.display().to_string())
            .execute(&mut *reader)
            .await
            .map_err(copying())?;
        #[cfg(unix)]
        let _ = fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600));
        Ok(())
    }

    /// Ends all connections; what was committed stays. Dropping the last clone does the same, less tidily.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    /// Answers whether the database can be read, for readiness.
    pub async fn ping(&self) -> Result<(), ReviewError> {
        sqlx::query("SELECT 1").execute(self.readers()).await.map_err(database("a sign of life"))?;
        Ok(())
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.inner.writer
    }

    /// A transaction that holds the write lock from its start, so that what it reads cannot change before it writes.
    /// Rolls back when dropped. (On PostgreSQL this would be `BEGIN ISOLATION LEVEL SERIALIZABLE`.)
    pub(crate) async fn write(
        &self,
        doing: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, ReviewError> {
        self.inner.writer.begin_with("BEGIN IMMEDIATE").await.map_err(database(doing))
    }

    pub(crate) fn now(&self) -> i64 {
        (self.inner.options.clock)()
    }

    pub(crate) fn cost(&self) -> PasswordCost {
        self.inner.options.cost
    }

    pub(crate) fn hashing(&self) -> &Semaphore {
        &self.inner.hashing
    }

    pub(crate) fn decoy(&self) -> &str {
        &self.inner.decoy
    }
}

/// Executes a statement of a transaction.
pub(crate) async fn execute(
    tx: &mut Transaction<'static, Sqlite>,
    mut query: QueryBuilder<Sqlite>,
    doing: &'static str,
) -> Result<(), ReviewError> {
    query.build().execute(&mut **tx).await.map_err(database(doing))?;
    Ok(())
}

pub(crate) async fn commit(tx: Transaction<'static, Sqlite>, doing: &'static str) -> Result<(), ReviewError> {
    tx.commit().await.map_err(database(doing))
}

fn system_clock() -> i64 {
    // A clock before 1970 is a broken clock; sessions then look expired, which is the safe side.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn locate(url: &str, base: &Path) -> Result<PathBuf, ReviewError> {
    const EXPECTED: &str =
        "sqlite://FILE, relative to the folder of the configuration, or sqlite:///ABSOLUTE/FILE";
    let wrong = || ReviewError::Url { found: without_password(url), expected: EXPECTED };
    let rest = url.strip_prefix("sqlite:").ok_or_else(wrong)?;
    let file = rest.strip_prefix("//").unwrap_or(rest);
    if file.is_empty() || file.starts_with(':') || file.ends_with('/') || file.contains(['?', '#', '\0']) {
        return Err(wrong());
    }
    Ok(base.join(file))
}

/// An address of another kind of database may carry a password; it does not belong in a message.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://…{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

/// Makes folder and file, readable by the owner alone: the file holds hashes, secrets and who looked at whom. SQLite
/// gives its journal the same rights as the file.
fn prepare(path: &Path) -> Result<(), ReviewError> {
    let fault = |what: String| ReviewError::Open { path: path.to_owned(), what };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| fault(format!("the folder {}: {e}", folder.display())))?;
    }
    if path.is_dir() {
        return Err(fault("found a folder, expected a file".to_owned()));
    }
    let mut open = fs::OpenOptions::new();
    open.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    open.open(path).map_err(|e| fault(e.to_string()))?;
    Ok(())
}

async fn connect_pool(
    options: SqliteConnectOptions,
    size: u32,
    path: &Path,
) -> Result<SqlitePool, ReviewError> {
    SqlitePoolOptions::new()
        .max_connections(size)
        // On a full disk SQLite ends the transaction by itself; the driver then cannot roll back and would hold the
        // connection for ever inside a transaction that is none. Such a connection is thrown away.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .acquire_timeout(BUSY + Duration::from_secs(10))
        .connect_with(options)
        .await
        .map_err(|error| match primary_code(&error) {
            Some(SQLITE_NOTADB) => ReviewError::Open {
                path: path.to_owned(),
                what: "found something else than an SQLite database in the file".to_owned(),
            },
            _ => match database("opening")(error) {
                ReviewError::Database { what, .. } => ReviewError::Open { path: path.to_owned(), what },
                other => other,
            },
        })
}

async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), ReviewError> {
    // Two processes can start on a fresh file at once: the second then finds the first one's tables half-made, and
    // whole a moment later.
    const ATTEMPTS: u32 = 5;
    let mut attempt = 1;
    loop {
        match MIGRATIONS.run(writer).await {
            Ok(()) => return Ok(()),
            Err(
                sqlx::migrate::MigrateError::Execute(error)
                | sqlx::migrate::MigrateError::ExecuteMigration(error, _),
            ) if primary_code(&error).is_some_and(|code| matches!(code, 8 | 13 | 26)) => {
                return Err(database("making its tables")(error));
            }
            Err(
                sqlx::migrate::MigrateError::Execute(_) | sqlx::migrate::MigrateError::ExecuteMigration(..),
            ) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => {
                return Err(ReviewError::Schema { path: path.to_owned(), what: error.to_string() });
            }
        }
    }
}

/// An existing file that cannot be written is found out now and not at the first decision.
async fn probe(writer: &SqlitePool, path: &Path) -> Result<(), ReviewError> {
    let tx =
        writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| match database("opening")(error) {
            ReviewError::ReadOnly { .. } => {
                ReviewError::Open { path: path.to_owned(), what: "it may only be read".to_owned() }
            }
            other => other,
        })?;
    tx.rollback().await.map_err(database("opening"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn urls() {
        let base = Path::new("/srv/insyn");
        for (url, path) in [
            ("sqlite://state.db", "/srv/insyn/state.db"),
            ("sqlite:state.db", "/srv/insyn/state.db"),
            ("sqlite://./var/state.db", "/srv/insyn/./var/state.db"),
            ("sqlite:///var/lib/state.db", "/var/lib/state.db"),
        ] {
            assert_eq!(locate(url, base).unwrap(), Path::new(path), "{url}");
        }
        for url in [
            "state.db",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite://a?mode=ro",
            "sqlite://folder/",
            "",
        ] {
            assert_eq!(locate(url, base).unwrap_err().code(), "state_url", "{url}");
        }
    }

    #[test]
    fn a_password_in_a_wrong_address_stays_out_of_the_message() {
        let error = locate("postgres://insyn:hemligt@db/insyn", Path::new("/")).unwrap_err().to_string();
        assert!(!error.contains("hemligt"), "{error}");
        assert!(error.contains("postgres://…@db/insyn"), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_opened_says_why() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"x").unwrap();
        fs::create_dir(folder.path().join("dir.db")).unwrap();
        fs::write(
            folder.path().join("text.db"),
            "this is no database, and long enough to be looked at".repeat(40),
        )
        .unwrap();
        for (url, word) in [
            ("sqlite://file/state.db", "folder"),
            ("sqlite://dir.db", "folder"),
            ("sqlite://text.db", "SQLite"),
        ] {
            let error = Db::open(url, folder.path()).await.err().expect("must fail");
            assert_eq!(error.code(), "state_open", "{url}: {error}");
            assert!(error.to_string().contains(word), "{url}: {error}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_is_its_owners_alone_and_opens_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open("sqlite://deep/er/state.db", folder.path()).await.unwrap();
        db.ping().await.unwrap();
        assert_eq!(fs::metadata(db.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let second = Db::open("sqlite://deep/er/state.db", folder.path()).await.unwrap();
        second.ping().await.unwrap();
        db.close().await;
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_leaves_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open("sqlite://state.db", folder.path()).await.unwrap();
        // SQLite answers the same when it may take no more pages as when the disk gives none.
        sqlx::query("PRAGMA max_page_count = 1").execute(&db.inner.writer).await.unwrap();
        let large = serde_json::Value::String("x".repeat(1_000_000));
        let error = db.set_setting("large", &large, None, "test").await.unwrap_err();
        assert_eq!(error.code(), "disk_full", "{error}");
        assert!(!error.is_refusal());
        assert_eq!(db.setting("large").await.unwrap(), None);
        // The limit went with the connection, as a full disk goes with what somebody removes.
        assert_eq!(db.set_setting("large", &large, None, "test").await.unwrap(), 1);
    }
}
