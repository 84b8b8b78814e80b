//! `user_accesses` follows `access_events`: what came later is added, years of which rows went are made anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use deltalake::kernel::{Action, Add};
use futures::TryStreamExt;
use object_store::ObjectStore;
use tokio::sync::mpsc;

use super::super::Inner;
use super::super::actions::{addition, domain, removal, within};
use super::super::compact::{self, Merged, Names};
use super::super::encode::{self, Encoded};
use super::super::error::LakeError;
use super::super::log::{Decision, TableLog, TableState};
use super::super::runs::path_at;
use super::super::types::{LakeFile, TRAIL, Table};
use super::{REACH, Reach, Reached, trail};
use crate::failpoint::crash_at;
use crate::file;
use crate::worker::Worker;

/// Rows of a file: they are held while they are brought in order.
const ROWS: usize = 1 << 19;
/// Rows that are read of a file at a time.
const READ: usize = 8192;
/// The columns of `access_events` that are read.
const READ_COLUMNS: [&str; 11] = [
    "user_id",
    "occurred_at",
    "subject_id",
    "care_unit_id",
    "source",
    "controller_id",
    "segment",
    "seq",
    "event_id",
    "file_id",
    "file_offset",
];
/// So many commits behind, it follows.
const BEHIND: u64 = 64;
/// So many bytes of files behind, too.
const BYTES_BEHIND: u64 = 32 << 20;

/// What following takes.
struct Work {
    users: Arc<TableState>,
    /// What is read.
    reach: Reach,
    /// Files of `user_accesses` that go.
    gone: Vec<Arc<LakeFile>>,
    /// What it has then.
    reached: Reached,
}

/// Whether so much came since that it is time to follow. Nothing is read for it.
pub(in super::super) fn is_due(users: &TableState, events: &TableState) -> bool {
    let reached = users.reached.as_ref().filter(|reached| reached.is_of(events));
    if reached.is_none() && events.files.is_empty() {
        return false;
    }
    let behind = events.version - reached.map_or(0, |reached| reached.version);
    let newest = usize::try_from(behind).unwrap_or(usize::MAX);
    let bytes: u64 = events.files.iter().rev().take(newest).map(|file| file.size).sum();
    behind >= BEHIND || bytes >= BYTES_BEHIND
}

impl Inner {
    /// Brings `user_accesses` to the newest version of `access_events`; none where it has all rows already. Whoever
    /// calls has the lake's maintenance.
    pub(in super::super) async fn follow(&self) -> Result<Option<Merged>, LakeError> {
        let log = self.tables.of(Table::UserAccesses);
        let Some(work) = self.work(log).await? else { return Ok(None) };
        let mut adds = Vec::new();
        crash_at("before-users-put");
        let rows = match write(log, self.events(), &work.reach, &mut adds).await {
            Ok(rows) => rows,
            Err(error) => {
                forget(log, &adds).await;
                return Err(error);
            }
        };
        crash_at("after-users-put");
        let mut followed = false;
        let outcome = log
            .transact(|state| {
                let live = |file: &Arc<LakeFile>| state.files.iter().any(|known| known.path == file.path);
                followed = state.reached == work.users.reached && work.gone.iter().all(live);
                if !followed {
                    return Ok(Decision::Nothing);
                }
                let mut actions = vec![domain(REACH, &work.reached)?];
                actions.extend(work.gone.iter().map(|file| removal(log.table, file, true)));
                actions.extend(adds.iter().cloned().map(Action::Add));
                Ok(Decision::Commit(actions))
            })
            .await;
        match outcome {
            Ok(_) if followed => {
                crash_at("after-users-commit");
                let replaced: Vec<_> = work.gone.iter().map(|file| (file.path.clone(), file.size)).collect();
                self.replaced(replaced.iter().cloned());
                Ok(Some(Merged { table: log.table, follows: true, replaced, files: adds.len(), rows }))
            }
            Ok(_) => {
                forget(log, &adds).await;
                Ok(None)
            }
            // The entry may have become durable: the files stay, and are swept one day if it did not.
            Err(error) => Err(error),
        }
    }

    /// What is to be done; none where nothing is.
    async fn work(&self, log: &TableLog) -> Result<Option<Work>, LakeError> {
        let users = match log.current().await {
            Ok(users) => users,
            // Its folder was taken away, or is no table any more where only the log was.
            Err(_) => log.revive().await?,
        };
        let events = self.events().current().await?;
        let known = users.reached.as_ref().filter(|reached| reached.is_of(&events));
        let since = match known {
            Some(reached) => {
                self.since(reached, events.version, u64::MAX).await?.map(|since| (reached, since))
            }
            None => None,
        };
        let (reach, gone): (Reach, Vec<_>) = match since {
            Some((reached, since)) => {
                let gone = users.files.iter().filter(|file| since.is_broken(file.year.as_deref()));
                let reach = Reach::of(reached, &since, &events.files, &users.files);
                let nothing = reach.later.is_empty() && since.broken().is_empty();
                // Commits without rows cost their looking through, every time.
                if nothing && events.version - reached.version < BEHIND {
                    return Ok(None);
                }
                (reach, gone.cloned().collect())
            }
            None => (Reach { whole: events.files.to_vec(), ..Reach::default() }, users.files.to_vec()),
        };
        if users.reached.is_none() && reach.whole.is_empty() {
            return Ok(None);
        }
        let entry = self.entry(events.version).await?.unwrap_or_default();
        let reached = Reached::all(&events, entry);
        Ok(Some(Work { users, reach, gone, reached }))
    }
}

async fn forget(log: &TableLog, adds: &[Add]) {
    for add in adds {
        log.forget_file(&add.path).await;
    }
}

/// Puts files with the rows that are to be added; `adds` names them. How many rows. One is made while another is put.
async fn write(
    log: &TableLog,
    events: &TableLog,
    reach: &Reach,
    adds: &mut Vec<Add>,
) -> Result<u64, LakeError> {
    static FOLLOWER: Worker = Worker::giving_way("insyn-users");
    let (give, mut taken) = mpsc::channel::<(String, Encoded)>(1);
    let runtime = tokio::runtime::Handle::current();
    let (store, reach) = (events.store(), reach.clone());
    let writing = FOLLOWER.run(move || runtime.block_on(write_sorted(store, &reach, give)));
    let putting = async {
        while let Some((year, encoded)) = taken.recv().await {
            let add = addition(path_at(&year, 0), Some(year), &encoded);
            adds.push(add.clone());
            log.put_file(&add.path, encoded.bytes).await?;
        }
        Ok(())
    };
    let (written, put) = tokio::join!(writing, putting);
    let rows = written.map_err(|e| LakeError::encode(log.table, e))?;
    put.and(rows)
}

/// Reads year by year, and gives one file in order of users after the other, proved to hold the same rows.
async fn write_sorted(
    store: Arc<dyn ObjectStore>,
    reach: &Reach,
    give: mpsc::Sender<(String, Encoded)>,
) -> Result<u64, LakeError> {
    let table = Table::UserAccesses;
    let (read, written) = (Names::default(), Names::default());
    let give = async |year: &str, rows: &mut Vec<RecordBatch>| -> Result<(), LakeError> {
        let encoded = encode::merged(table, rows)?;
        rows.clear();
        for batch in compact::read(table, encoded.bytes.clone(), Some(&["segment", "seq"]))? {
            written.count(table, &batch)?;
        }
        // Nobody takes it when putting has failed, which is told there.
        let _ = give.send((year.to_owned(), encoded)).await;
        Ok(())
    };
    let mut years: BTreeMap<&str, Vec<(&Arc<LakeFile>, bool)>> = BTreeMap::new();
    let files =
        reach.later.iter().map(|file| (file, true)).chain(reach.whole.iter().map(|file| (file, false)));
    for (file, only_later) in files {
        years.entry(file.year.as_deref().unwrap_or_default()).or_default().push((file, only_later));
    }
    for (year, files) in years {
        let (mut held, mut rows) = (Vec::new(), 0);
        for (file, only_later) in files {
            let path = within(Table::AccessEvents, &file.path);
            let schema = Table::AccessEvents.file_schema();
            let open = file::batches(Arc::clone(&store), path, file.size, schema, Some(&READ_COLUMNS), READ);
            let fault = |e| LakeError::encode(table, crate::error::plain(&e));
            let mut batches = open.await.map_err(fault)?;
            while let Some(batch) = batches.try_next().await.map_err(fault)? {
                let batch = if only_later { beyond(&batch, &reach.beyond)? } else { batch };
                read.count(table, &batch)?;
                rows += batch.num_rows();
                held.push(narrow(&batch)?);
                if rows >= ROWS {
                    give(year, &mut held).await?;
                    rows = 0;
                }
            }
        }
        if rows > 0 {
            give(year, &mut held).await?;
        }
    }
    if read.sum() != written.sum() {
        let what =
            format!("{} rows were written, expected the {} that were read", written.sum().0, read.sum().0);
        return Err(LakeError::encode(table, what));
    }
    Ok(written.sum().0)
}

/// The rows in segments of `ranges`.
fn beyond(batch: &RecordBatch, ranges: &[(i64, i64)]) -> Result<RecordBatch, LakeError> {
    let segments = Table::AccessEvents.column(batch, "segment")?.as_primitive::<Int64Type>();
    let is_beyond = |segment: &i64| ranges.iter().any(|(first, last)| (first..=last).contains(&segment));
    let kept: BooleanArray = segments.values().iter().map(|segment| Some(is_beyond(segment))).collect();
    filter_record_batch(batch, &kept).map_err(|e| LakeError::encode(Table::UserAccesses, e))
}

/// Rows of `access_events` as `user_accesses` has them.
fn narrow(batch: &RecordBatch) -> Result<RecordBatch, LakeError> {
    let of = |name: &str| Table::AccessEvents.column(batch, name);
    let (events, files) = (of("event_id")?.as_string::<i32>(), of("file_id")?.as_string::<i32>());
    let offsets = of("file_offset")?.as_primitive::<Int64Type>();
    let trails =
        (0..batch.num_rows()).map(|row| trail(events.value(row), files.value(row), offsets.value(row)));
    let trails: ArrayRef = Arc::new(Int64Array::from_iter_values(trails));
    let schema = Table::UserAccesses.file_schema();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        TRAIL => Ok(Arc::clone(&trails)),
        name => of(name).map(Arc::clone),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns).map_err(|e| LakeError::encode(Table::UserAccesses, e))
}
