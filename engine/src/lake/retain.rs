//! Rows whose time is over are taken out: first a look at which, then step by step their files are written anew without
//! them, each step one commit on the newest version.
//!
//! Rows that stay keep their names and their order. A step is committed only if every file that it read is still live,
//! under the lake's one maintenance lease, so that nobody merges or amends meanwhile; what is added beside is not
//! touched. A crash leaves steps that were done and files that no commit names; the same again does the rest. Who,
//! on what ground and how many stand in the log, beside amendments.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use chrono::Utc;
use datafusion::error::DataFusionError;
use deltalake::kernel::{Action, Add};
use futures::TryStreamExt;
use object_store::ObjectStore;
use serde::Serialize;

use super::actions::{addition, domain as domain_line, removal, within};
use super::compact::{Names, reader};
use super::encode::{Encoded, SortedFile};
use super::error::LakeError;
use super::log::{Decision, TableState};
use super::retain_items;
use super::runs::{level_of, path_at};
use super::source::{AgainState, again_domain, domain};
use super::types::{Amended, LakeFile, Table};
use super::{Inner, Lake};
use crate::failpoint::crash_at;
use crate::file;
use crate::retain::{Fate, Plan, Row};
use crate::worker::Worker;

/// Bytes of files that one commit takes out; what they become is written before.
const STEP: u64 = 512 << 20;
/// Rows that are looked at together.
const ROWS: usize = 8_192;
/// As often it is looked again which rows go, when others have changed what a step rested on.
const ATTEMPTS: usize = 5;

/// How a removal is called among amendments.
pub const RETAINED: &str = "retained";

/// The columns that decide.
const COLUMNS: [&str; 10] = [
    "source",
    "controller_id",
    "data_category",
    "occurred_at",
    "subject_id",
    "user_id",
    "user_person_id",
    "access_ground",
    "file_id",
    "file_offset",
];

/// Rows of one store, source, controller and year.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// `access_events`, `quarantine` or `gaps`.
    pub store: &'static str,
    /// Of this source.
    pub source: String,
    /// Of this controller.
    pub controller: String,
    /// Of this UTC year: when it happened; of items, when they were met.
    pub year: String,
    /// Rows that go.
    pub rows: u64,
    /// Rows that would, and are held.
    pub held: u64,
    /// Rows past their longest time, on which nobody has decided.
    pub overdue: u64,
    /// The oldest of all of these, µs UTC.
    pub oldest: Option<i64>,
    /// On what grounds they go.
    pub grounds: BTreeSet<String>,
}

/// What goes, or went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// By store, source, controller and year.
    pub shares: Vec<Share>,
    /// Files of `access_events` that are written anew without some of their rows.
    pub rewritten: u64,
    /// Files of it of which nothing stays.
    pub dropped: u64,
    /// Bytes of both.
    pub bytes: u64,
}

impl Survey {
    /// Rows that go.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.shares.iter().map(|share| share.rows).sum()
    }

    /// Rows that are held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.shares.iter().map(|share| share.held).sum()
    }

    /// Rows past their longest time, on which nobody has decided.
    #[must_use]
    pub fn overdue(&self) -> u64 {
        self.shares.iter().map(|share| share.overdue).sum()
    }
}

/// Counts of rows by store, source, controller and year.
#[derive(Default, Clone)]
pub(super) struct Shares(BTreeMap<(&'static str, String, String, String), Count>);

#[derive(Default, Clone)]
struct Count {
    rows: u64,
    held: u64,
    overdue: u64,
    oldest: Option<i64>,
    grounds: BTreeSet<usize>,
}

impl Shares {
    pub(super) fn count(&mut self, table: Table, row: &Row<'_>, year: &str, fate: Fate) {
        if fate == Fate::Stays {
            return;
        }
        let key = (table.name(), row.source.to_owned(), row.controller.to_owned(), year.to_owned());
        let count = self.0.entry(key).or_default();
        match fate {
            Fate::Stays => {}
            Fate::Overdue => count.overdue += 1,
            Fate::Held => count.held += 1,
            Fate::Goes(ground) => {
                count.rows += 1;
                count.grounds.insert(ground);
            }
        }
        count.oldest = Some(count.oldest.map_or(row.at, |oldest| oldest.min(row.at)));
    }

    pub(super) fn take_in(&mut self, other: &Shares) {
        for (key, more) in &other.0 {
            let count = self.0.entry(key.clone()).or_default();
            count.rows += more.rows;
            count.held += more.held;
            count.overdue += more.overdue;
            count.oldest = [count.oldest, more.oldest].into_iter().flatten().min();
            count.grounds.extend(&more.grounds);
        }
    }

    /// Only what is told of rows that do not go.
    fn that_stay(&self) -> Shares {
        let stay = self.0.iter().filter(|(_, count)| count.held + count.overdue > 0);
        let told = |count: &Count| Count { rows: 0, grounds: BTreeSet::new(), ..count.clone() };
        Shares(stay.map(|(key, count)| (key.clone(), told(count))).collect())
    }

    pub(super) fn rows(&self) -> u64 {
        self.0.values().map(|count| count.rows).sum()
    }

    /// How many rows go of each source, and on what grounds.
    pub(super) fn by_source(&self) -> BTreeMap<&str, (u64, BTreeSet<usize>)> {
        let mut sources: BTreeMap<&str, (u64, BTreeSet<usize>)> = BTreeMap::new();
        for ((_, source, ..), count) in self.0.iter().filter(|(_, count)| count.rows > 0) {
            let (rows, grounds) = sources.entry(source).or_default();
            *rows += count.rows;
            grounds.extend(&count.grounds);
        }
        sources
    }

    fn told(self, plan: &Plan) -> Vec<Share> {
        let name = |ground: usize| plan.grounds.get(ground).map(|ground| ground.name.clone());
        let shares = self.0.into_iter().map(|((store, source, controller, year), count)| Share {
            store,
            source,
            controller,
            year,
            rows: count.rows,
            held: count.held,
            overdue: count.overdue,
            oldest: count.oldest,
            grounds: count.grounds.into_iter().filter_map(name).collect(),
        });
        shares.collect()
    }
}

/// A file with rows that go.
struct Due {
    file: Arc<LakeFile>,
    shares: Shares,
}

impl Due {
    fn is_whole(&self) -> bool {
        self.shares.rows() == self.file.rows
    }
}

/// What a look at the rows found.
#[derive(Default)]
struct Found {
    due: Vec<Due>,
    shares: Shares,
    stays: Arc<HashSet<u64>>,
    /// The latest row that stays, of sources that have none after the horizon.
    latest: BTreeMap<String, Option<i64>>,
}

/// Who takes out what.
pub(super) struct Run {
    pub plan: Arc<Plan>,
    pub by: String,
    pub at: i64,
}

impl Lake {
    /// Which rows would go, are held, or are past their longest time, of what counts now. Changes nothing.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn survey(&self, plan: &Plan) -> Result<Survey, LakeError> {
        let snapshot = self.snapshot().await?;
        let state = self.inner.events().current().await?;
        let plan = Arc::new(plan.clone());
        let found = self.inner.look(&plan, snapshot.files(Table::AccessEvents), &state).await?;
        let mut shares = found.shares;
        for source in state.sources.keys() {
            shares.take_in(&retain_items::look(&self.inner, &snapshot, source, &plan).await?.shares);
        }
        let whole = found.due.iter().filter(|due| due.is_whole()).count() as u64;
        Ok(Survey {
            shares: shares.told(&plan),
            rewritten: found.due.len() as u64 - whole,
            dropped: whole,
            bytes: found.due.iter().map(|due| due.file.size).sum(),
        })
    }

    /// Takes out what goes, for `by`. When this returns no version from now on has the rows; their bytes go with
    /// [`Lake::purge`]. Gives what went.
    ///
    /// # Errors
    /// [`LakeError::Locked`] when another process keeps the lake's maintenance to itself; when files cannot be read or
    /// written. Steps that were committed before stay done.
    pub async fn remove(&self, plan: &Plan, by: &str) -> Result<Survey, LakeError> {
        let _lease = self.lease().await?;
        let plan = Arc::new(plan.clone());
        let run = Run { plan: Arc::clone(&plan), by: by.to_owned(), at: Utc::now().timestamp_micros() };
        self.inner.clean_items().await?;
        let mut shares = Shares::default();
        let mut gone = Survey::default();
        for attempt in 1.. {
            let state = self.inner.events().current().await?;
            let found = self.inner.look(&plan, &state.files, &state).await?;
            let mut held = true;
            for step in steps(&found.due) {
                held = self.inner.take_out(&run, &found, step, &state).await?;
                if !held {
                    break;
                }
                for due in step {
                    shares.take_in(&due.shares);
                    gone.bytes += due.file.size;
                    *if due.is_whole() { &mut gone.dropped } else { &mut gone.rewritten } += 1;
                }
            }
            if held {
                shares.take_in(&found.shares.that_stay());
                break;
            }
            if attempt == ATTEMPTS {
                return Err(LakeError::Contended { table: Table::AccessEvents.name(), attempts: ATTEMPTS });
            }
        }
        let state = self.inner.events().current().await?;
        for source in state.sources.keys() {
            shares.take_in(&retain_items::take_out(self, &run, source).await?);
        }
        // What users opened lies there once more.
        self.inner.follow().await?;
        gone.shares = shares.told(&plan);
        Ok(gone)
    }
}

impl Inner {
    /// Looks at every row that may be concerned.
    async fn look(
        &self,
        plan: &Arc<Plan>,
        files: &[Arc<LakeFile>],
        state: &TableState,
    ) -> Result<Found, LakeError> {
        let horizon = plan.horizon();
        let may_hold = |file: &&Arc<LakeFile>| file.occurred_at.min.is_none_or(|min| min < horizon);
        let files: Vec<Arc<LakeFile>> = files.iter().filter(may_hold).cloned().collect();
        let ended = state.sources.iter().filter(|(_, of)| of.last_event.is_some_and(|last| last < horizon));
        let latest = ended.map(|(source, _)| (source.clone(), None)).collect();
        let (store, plan) = (self.events().store(), Arc::clone(plan));
        worked(move || async move { look(&store, &files, &plan, latest).await }).await
    }

    /// One commit: these files without what goes. Whether they were all live still.
    async fn take_out(
        &self,
        run: &Run,
        found: &Found,
        step: &[Due],
        seen: &TableState,
    ) -> Result<bool, LakeError> {
        let log = self.events();
        let mut adds: Vec<Add> = Vec::new();
        crash_at("before-retained-put");
        let written = async {
            for due in step.iter().filter(|due| !due.is_whole()) {
                let encoded = self.without(run, &found.stays, due).await?;
                let year = due.file.year.clone().unwrap_or_default();
                let add = addition(path_at(&year, level_of(&due.file.path)), Some(year), &encoded);
                adds.push(add.clone());
                log.put_file(&add.path, encoded.bytes).await?;
            }
            Ok(())
        };
        if let Err(error) = written.await {
            for add in &adds {
                log.forget_file(&add.path).await;
            }
            return Err(error);
        }
        crash_at("after-retained-put");
        let mut shares = Shares::default();
        step.iter().for_each(|due| shares.take_in(&due.shares));
        let mut live = false;
        let outcome = log.transact(|state| {
            let known: HashSet<&str> = state.files.iter().map(|file| file.path.as_str()).collect();
            live = step.iter().all(|due| known.contains(due.file.path.as_str()));
            if !live {
                return Ok(Decision::Nothing);
            }
            let mut actions = Vec::new();
            for (source, (rows, grounds)) in shares.by_source() {
                let mut progress = state.sources.get(source).cloned().unwrap_or_default();
                progress.events = progress.events.saturating_sub(rows);
                let before = seen.sources.get(source).and_then(|of| of.last_event);
                if let Some(latest) = found.latest.get(source)
                    && (progress.last_event == before || progress.last_event == *latest)
                {
                    progress.last_event = *latest;
                }
                let mut again = state.again.get(source).cloned().unwrap_or_default();
                run.told(&mut again, &grounds).removed += rows;
                actions.push(domain_line(&domain(source), &progress)?);
                actions.push(domain_line(&again_domain(source), &again)?);
            }
            actions.extend(step.iter().map(|due| removal(log.table, &due.file, true)));
            actions.extend(adds.iter().cloned().map(Action::Add));
            Ok(Decision::Commit(actions))
        });
        // After an error the entry may have become durable: the files stay, and are swept one day if it did not.
        outcome.await?;
        if live {
            crash_at("after-retained-commit");
            self.replaced(step.iter().map(|due| (due.file.path.clone(), due.file.size)));
        } else {
            for add in &adds {
                log.forget_file(&add.path).await;
            }
        }
        Ok(live)
    }

    /// A file's rows that stay, proved to be those.
    async fn without(&self, run: &Run, stays: &Arc<HashSet<u64>>, due: &Due) -> Result<Encoded, LakeError> {
        let bytes = self.events().read_file(within(Table::AccessEvents, &due.file.path)).await?;
        let (plan, stays) = (Arc::clone(&run.plan), Arc::clone(stays));
        let expected = due.file.rows - due.shares.rows();
        worked(move || async move {
            const TABLE: Table = Table::AccessEvents;
            let fault = |e: arrow::error::ArrowError| LakeError::encode(TABLE, e);
            let (kept, written) = (Names::default(), Names::default());
            let mut file = SortedFile::new(TABLE)?;
            for batch in reader(TABLE, bytes, None)? {
                let batch = batch.map_err(fault)?;
                let columns = Columns::of(&batch)?;
                let stay = (0..batch.num_rows())
                    .map(|n| !matches!(columns.fate(&plan, &stays, n), Fate::Goes(_)))
                    .collect::<Vec<bool>>();
                let rest = filter_record_batch(&batch, &BooleanArray::from(stay)).map_err(fault)?;
                kept.count(TABLE, &rest)?;
                if rest.num_rows() > 0 {
                    file.write(&rest)?;
                }
            }
            let encoded = file.finish()?;
            for batch in reader(TABLE, encoded.bytes.clone(), Some(&["segment", "seq"]))? {
                written.count(TABLE, &batch.map_err(fault)?)?;
            }
            if kept.sum() != written.sum() || written.sum().0 != expected {
                let what = format!("{} rows stay of a file, expected {expected}", written.sum().0);
                return Err(LakeError::encode(Table::AccessEvents, what));
            }
            Ok(encoded)
        })
        .await
    }
}

impl Run {
    /// A new entry of this run for a source's history.
    pub(super) fn entry(&self, again: &AgainState) -> Amended {
        let sequence = again.sequence();
        Amended { kind: RETAINED.into(), by: self.by.clone(), at: self.at, sequence, ..Amended::default() }
    }

    /// The entry of this run in a source's history, with these grounds.
    pub(super) fn told<'a>(&self, again: &'a mut AgainState, grounds: &BTreeSet<usize>) -> &'a mut Amended {
        if again.history.last().is_none_or(|last| last.kind != RETAINED || last.at != self.at) {
            again.history.push(self.entry(again));
        }
        let end = again.history.len() - 1;
        let entry = &mut again.history[end];
        for ground in grounds.iter().filter_map(|ground| self.plan.grounds.get(*ground)) {
            entry.to = entry.to.max(Some(ground.before));
            if !entry.reason.split("; ").any(|known| known == ground.name) {
                let before = std::mem::take(&mut entry.reason);
                let parts = [before.as_str(), &ground.name];
                entry.reason =
                    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
            }
        }
        entry
    }
}

/// Work on many rows, on a thread that gives way to others.
async fn worked<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T, LakeError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, LakeError>>,
{
    static RETAINER: Worker = Worker::giving_way("insyn-retain");
    let runtime = tokio::runtime::Handle::current();
    let done = RETAINER.run(move || runtime.block_on(work()));
    done.await.map_err(|e| LakeError::encode(Table::AccessEvents, e))?
}

/// Files that are taken out together.
fn steps(due: &[Due]) -> Vec<&[Due]> {
    let mut steps = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (n, one) in due.iter().enumerate() {
        bytes += one.file.size;
        if bytes > STEP && n > from {
            steps.push(&due[from..n]);
            (from, bytes) = (n, one.file.size);
        }
    }
    steps.push(&due[from..]);
    steps.retain(|step| !step.is_empty());
    steps
}

async fn look(
    store: &Arc<dyn ObjectStore>,
    files: &[Arc<LakeFile>],
    plan: &Plan,
    mut latest: BTreeMap<String, Option<i64>>,
) -> Result<Found, LakeError> {
    let mut stays = HashSet::new();
    if plan.parts_records() {
        for file in files {
            let mut rows = opened(store, file).await?;
            while let Some(batch) = rows.try_next().await.map_err(fault)? {
                let columns = Columns::of(&batch)?;
                for n in 0..batch.num_rows() {
                    let row = columns.row(n);
                    if !matches!(plan.fate(&row), Fate::Goes(_)) && plan.another_may_go(&row) {
                        stays.insert(columns.record(n));
                    }
                }
            }
        }
    }
    let mut found = Found { stays: Arc::new(stays), ..Found::default() };
    for file in files {
        let mut shares = Shares::default();
        let year = file.year.as_deref().unwrap_or_default();
        let mut rows = opened(store, file).await?;
        while let Some(batch) = rows.try_next().await.map_err(fault)? {
            let columns = Columns::of(&batch)?;
            for n in 0..batch.num_rows() {
                let (row, fate) = (columns.row(n), columns.fate(plan, &found.stays, n));
                match fate {
                    Fate::Goes(_) => shares.count(Table::AccessEvents, &row, year, fate),
                    _ => {
                        found.shares.count(Table::AccessEvents, &row, year, fate);
                        if let Some(latest) = latest.get_mut(row.source) {
                            *latest = (*latest).max(Some(row.at));
                        }
                    }
                }
            }
        }
        if shares.rows() > 0 {
            found.shares.take_in(&shares);
            found.due.push(Due { file: Arc::clone(file), shares });
        }
    }
    found.latest = latest;
    Ok(found)
}

fn fault(error: DataFusionError) -> LakeError {
    LakeError::encode(Table::AccessEvents, crate::error::plain(&error))
}

async fn opened(
    store: &Arc<dyn ObjectStore>,
    file: &LakeFile,
) -> Result<futures::stream::BoxStream<'static, Result<RecordBatch, DataFusionError>>, LakeError> {
    let (path, schema) = (within(Table::AccessEvents, &file.path), Table::AccessEvents.file_schema());
    let rows = file::batches(Arc::clone(store), path, file.size, schema, Some(&COLUMNS), ROWS).await;
    rows.map_err(fault)
}

/// What decides, of rows that are read.
struct Columns<'a> {
    texts: [&'a StringArray; 8],
    at: &'a TimestampMicrosecondArray,
    offset: &'a arrow::array::Int64Array,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Columns<'a>, LakeError> {
        let table = Table::AccessEvents;
        let text = |name: &str| table.column(batch, name).map(|column| column.as_string::<i32>());
        Ok(Columns {
            texts: [
                text("source")?,
                text("controller_id")?,
                text("data_category")?,
                text("subject_id")?,
                text("user_id")?,
                text("user_person_id")?,
                text("access_ground")?,
                text("file_id")?,
            ],
            at: table.column(batch, "occurred_at")?.as_primitive::<TimestampMicrosecondType>(),
            offset: table.column(batch, "file_offset")?.as_primitive::<Int64Type>(),
        })
    }

    fn row(&self, n: usize) -> Row<'a> {
        let [source, controller, category, subject, user, person, case, _] = self.texts;
        let some = |column: &'a StringArray| column.is_valid(n).then(|| column.value(n));
        Row {
            source: source.value(n),
            controller: controller.value(n),
            category: some(category),
            at: self.at.value(n),
            subject: some(subject),
            user: some(user),
            person: some(person),
            case: some(case),
        }
    }

    /// Which record the row is from. Two that are taken for one stay both, if either does.
    fn record(&self, n: usize) -> u64 {
        let [source, .., file] = self.texts;
        let mut hasher = DefaultHasher::new();
        (source.value(n), file.value(n), self.offset.value(n)).hash(&mut hasher);
        hasher.finish()
    }

    fn fate(&self, plan: &Plan, stays: &HashSet<u64>, n: usize) -> Fate {
        match plan.fate(&self.row(n)) {
            Fate::Goes(_) if !stays.is_empty() && stays.contains(&self.record(n)) => Fate::Held,
            fate => fate,
        }
    }
}
