//! A table of the lake for the query engine: a pinned list of files, of which a query opens as few as it can.
//!
//! What a query does not need is left out in three steps: files by what the Delta log says of them (here), row
//! groups and pages by Parquet's own statistics, rows by the filters themselves while they are read (both by the
//! query engine). The plan that comes out is a plain Parquet scan, which can be sent to other machines.

mod footers;
mod fresh;
mod marks;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::utils::Guarantee;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::MetricValue;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::file;
use crate::lake::LakeFile;
use footers::Footers;
pub(crate) use fresh::Fresh;
pub(crate) use marks::Mark;

/// `IN (…)` up to this length still leaves out files, row groups and pages.
pub(crate) const LONGEST_IN_LIST: usize = 256;

/// Fresh files of which the subjects are read at once.
const OPENED_AT_ONCE: usize = 8;

/// A table that is a fixed list of Parquet files in one object store.
#[derive(Debug)]
pub struct LakeTable {
    schema: SchemaRef,
    scanned: TableSchema,
    url: ObjectStoreUrl,
    files: Vec<Arc<LakeFile>>,
    known: FileStatistics,
    fresh: Option<Arc<Fresh>>,
    key: Option<&'static str>,
}

impl LakeTable {
    /// A table with the columns of `schema`; the ones of `partition` (at most `year`) are not in the files.
    /// `url` is where the session's runtime has the store that the files' paths are in.
    pub fn new(schema: SchemaRef, partition: &[&str], url: ObjectStoreUrl, files: &[Arc<LakeFile>]) -> Self {
        let (apart, within): (Vec<_>, Vec<_>) =
            schema.fields().iter().cloned().partition(|f| partition.contains(&f.name().as_str()));
        let within = Arc::new(arrow::datatypes::Schema::new(within));
        let scanned = TableSchema::builder(within).with_table_partition_cols(apart).build();
        LakeTable {
            schema,
            scanned,
            url,
            files: files.to_vec(),
            known: FileStatistics::of(files),
            fresh: None,
            key: None,
        }
    }

    /// Leaves out fresh files of `access_events` by the subjects that they hold.
    pub(crate) fn with_fresh(self, fresh: Arc<Fresh>) -> Self {
        LakeTable { fresh: Some(fresh), ..self }
    }

    /// With the column that the rows of each file lie in order of; null comes last.
    pub(crate) fn in_order_of(self, key: &'static str) -> Self {
        LakeTable { key: Some(key), ..self }
    }

    /// The column that the rows of each file lie in order of, where there is one.
    pub(crate) fn key(&self) -> Option<&'static str> {
        self.key
    }

    /// How many files the table has.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// By which files are left out that hold no row for which all of `filters` are true, if any can be.
    fn predicate_of(&self, filters: &[Expr]) -> Option<Arc<PruningPredicate>> {
        let columns = DFSchema::try_from(Arc::clone(&self.schema)).ok()?;
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let filter = conjunction(filters.iter().cloned())?;
        self.predicate(create_physical_expr(&filter, &columns, &props, &context).ok()?)
    }

    /// The files that may hold rows for which it is true.
    async fn remaining(
        &self,
        state: &dyn Session,
        predicate: Option<&PruningPredicate>,
    ) -> Result<Vec<Arc<LakeFile>>> {
        let Some(predicate) = predicate else { return Ok(self.files.clone()) };
        let kept = self.kept(predicate)?;
        let subjects = subjects_of(predicate);
        match (&self.fresh, subjects.is_empty()) {
            (Some(fresh), false) => self.with_subjects(state, fresh, kept, &subjects).await,
            _ => Ok(kept),
        }
    }

    /// By which files are left out, if any can be.
    fn predicate(&self, filter: Arc<dyn PhysicalExpr>) -> Option<Arc<PruningPredicate>> {
        PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.schema))
            .with_max_in_list_size(LONGEST_IN_LIST)
            .build(filter)
    }

    /// The files that `predicate` does not leave out by what the Delta log says of them.
    fn kept(&self, predicate: &PruningPredicate) -> Result<Vec<Arc<LakeFile>>> {
        let keep = predicate.prune(&self.known)?;
        let kept = self.files.iter().zip(keep).filter(|(_, keep)| *keep);
        Ok(kept.map(|(file, _)| Arc::clone(file)).collect())
    }

    /// Those of the files that may hold one of the subjects.
    async fn with_subjects(
        &self,
        state: &dyn Session,
        fresh: &Fresh,
        files: Vec<Arc<LakeFile>>,
        subjects: &[String],
    ) -> Result<Vec<Arc<LakeFile>>> {
        let store = state.runtime_env().object_store(&self.url)?;
        let looked = stream::iter(files).map(|file| {
            let store = &store;
            async move {
                let is_left = !file.is_fresh() || {
                    let holds = fresh.subjects(store, &file, &self.files).await?;
                    subjects.iter().any(|subject| holds.may_hold(subject))
                };
                Ok::<_, DataFusionError>(is_left.then_some(file))
            }
        });
        let left: Vec<Option<_>> = looked.buffered(OPENED_AT_ONCE).try_collect().await?;
        Ok(left.into_iter().flatten().collect())
    }

    /// A file of a scan; `says_of_columns`: with what need not be read of it.
    fn partitioned(&self, file: &LakeFile, says_of_columns: bool) -> Result<PartitionedFile> {
        let schema = self.scanned.file_schema();
        let mut statistics = Statistics::new_unknown(schema);
        let rows = usize::try_from(file.rows).unwrap_or(usize::MAX);
        statistics.num_rows = Precision::Exact(rows);
        if says_of_columns {
            for place in file.empty.places() {
                if let Some(column) = statistics.column_statistics.get_mut(place) {
                    column.null_count = Precision::Exact(rows);
                }
            }
            if let (Some(source), Ok(place)) = (&file.source, schema.index_of("source")) {
                let column = &mut statistics.column_statistics[place];
                let source = Precision::Exact(ScalarValue::Utf8(Some(source.clone())));
                (column.min_value, column.max_value) = (source.clone(), source);
                column.null_count = Precision::Exact(0);
            }
        }
        let mut partitioned = file::named(&file.path, file.size)?;
        if !self.scanned.table_partition_cols().is_empty() {
            partitioned = partitioned.with_partition_values(vec![ScalarValue::Utf8(file.year.clone())]);
        }
        Ok(partitioned.with_statistics(Arc::new(statistics)))
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Inexact: the filter node stays in the plan, from where the optimizer moves it into the Parquet scan as a
        // row filter; here it only chooses files.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Exact(self.files.iter().map(|f| f.rows as usize).sum());
        Some(statistics)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = self.predicate_of(filters);
        let files = self.remaining(state, predicate.as_deref()).await?;
        if files.is_empty() {
            let projected = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(projected)));
        }
        let mut statistics = Statistics::new_unknown(self.scanned.table_schema());
        statistics.num_rows = Precision::Exact(files.iter().map(|f| f.rows as usize).sum());
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        // The scan has its partition columns last, the table has them where its schema says.
        let columns = projection
            .unwrap_or(&all)
            .iter()
            .map(|i| self.scanned.table_schema().index_of(self.schema.field(*i).name()));
        let columns: Vec<usize> = columns.collect::<Result<_, _>>()?;

        let runtime = state.runtime_env();
        let store = runtime.object_store(&self.url)?;
        let readers =
            Footers::new(store, runtime.cache_manager.get_file_metadata_cache(), !filters.is_empty());
        // Of few rows of each file it costs more to ask what it says of columns than to read them.
        let says_of_columns = !predicate.is_some_and(|predicate| marks::names_some(&predicate));
        let mut options = state.table_options().parquet.clone();
        options.global = state.config_options().execution.parquet.clone();
        let source = ParquetSource::new(self.scanned.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let files = files
            .iter()
            .map(|f| self.partitioned(f, says_of_columns))
            .collect::<Result<_>>()
            .map(FileGroup::new)?;
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(files.split_files(state.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(Some(columns))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// The subjects of which a row must have one; empty where it may have any.
fn subjects_of(predicate: &PruningPredicate) -> Vec<String> {
    let asked = predicate
        .literal_guarantees()
        .iter()
        .filter(|guarantee| guarantee.column.name == "subject_id" && guarantee.guarantee == Guarantee::In);
    let texts = asked.map(|guarantee| guarantee.literals.iter().map(text_of).collect::<Option<Vec<_>>>());
    texts.flatten().min_by_key(Vec::len).unwrap_or_default()
}

fn text_of(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => text.clone(),
        _ => None,
    }
}

/// What the Delta log says of each file, as the pruning of the query engine asks for it.
#[derive(Debug)]
struct FileStatistics {
    files: usize,
    rows: ArrayRef,
    columns: Vec<(&'static str, ColumnBounds)>,
}

#[derive(Debug)]
struct ColumnBounds {
    min: ArrayRef,
    max: ArrayRef,
    nulls: ArrayRef,
}

impl FileStatistics {
    fn of(files: &[Arc<LakeFile>]) -> Self {
        let texts = |of: fn(&LakeFile) -> Option<&str>| {
            Arc::new(files.iter().map(|f| of(f)).collect::<StringArray>()) as ArrayRef
        };
        let times = |of: fn(&LakeFile) -> Option<i64>| {
            let times = files.iter().map(|f| of(f)).collect::<TimestampMicrosecondArray>();
            Arc::new(times.with_timezone("UTC")) as ArrayRef
        };
        let numbers = |of: fn(&LakeFile) -> Option<u64>| {
            Arc::new(files.iter().map(|f| of(f)).collect::<UInt64Array>()) as ArrayRef
        };
        let columns = vec![
            (
                "subject_id",
                ColumnBounds {
                    min: texts(|f| f.subject_id.min.as_deref()),
                    max: texts(|f| f.subject_id.max.as_deref()),
                    nulls: numbers(|f| f.subject_id.nulls),
                },
            ),
            (
                "user_id",
                ColumnBounds {
                    min: texts(|f| f.user_id.min.as_deref()),
                    max: texts(|f| f.user_id.max.as_deref()),
                    nulls: numbers(|f| f.user_id.nulls),
                },
            ),
            (
                "occurred_at",
                ColumnBounds {
                    min: times(|f| f.occurred_at.min.or(year_bounds(f).map(|y| y.0))),
                    max: times(|f| f.occurred_at.max.or(year_bounds(f).map(|y| y.1))),
                    nulls: numbers(|f| f.occurred_at.nulls),
                },
            ),
            (
                "year",
                ColumnBounds {
                    min: texts(|f| f.year.as_deref()),
                    max: texts(|f| f.year.as_deref()),
                    nulls: numbers(|f| f.year.as_ref().map(|_| 0)),
                },
            ),
            (
                "source",
                ColumnBounds {
                    min: texts(|f| f.source.as_deref()),
                    max: texts(|f| f.source.as_deref()),
                    nulls: numbers(|f| f.source.as_ref().map(|_| 0)),
                },
            ),
        ];
        FileStatistics { files: files.len(), rows: numbers(|f| Some(f.rows)), columns }
    }

    fn column(&self, column: &Column) -> Option<&ColumnBounds> {
        self.columns.iter().find(|(name, _)| *name == column.name).map(|(_, bounds)| bounds)
    }
}

/// A file without statistics still lies in a year.
fn year_bounds(file: &LakeFile) -> Option<(i64, i64)> {
    let year: i32 = file.year.as_deref()?.parse().ok()?;
    let start = |year| {
        let first = chrono::NaiveDate::from_ymd_opt(year, 1, 1)?.and_time(chrono::NaiveTime::MIN);
        Some(first.and_utc().timestamp_micros())
    };
    Some((start(year)?, start(year + 1)? - 1))
}

impl PruningStatistics for FileStatistics {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column).map(|b| Arc::clone(&b.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column).map(|b| Arc::clone(&b.max))
    }

    fn num_containers(&self) -> usize {
        self.files
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column).map(|b| Arc::clone(&b.nulls))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::clone(&self.rows))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// What reading cost, counted on a plan that has run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Files that were left when planning was done.
    pub files_planned: usize,
    /// Files of which anything was read.
    pub files_opened: usize,
    /// Row groups that statistics left out.
    pub row_groups_pruned: usize,
    /// Row groups that were read.
    pub row_groups_read: usize,
    /// Pages that the page index left out.
    pub pages_pruned: usize,
    /// Bytes that were asked of the store.
    pub bytes_scanned: usize,
}

impl Counters {
    /// Of all Parquet scans in `plan`.
    pub fn of(plan: &dyn ExecutionPlan) -> Counters {
        let mut counters = Counters::default();
        let mut opened = HashSet::new();
        counters.add(plan, &mut opened);
        counters.files_opened = opened.len();
        counters
    }

    fn add(&mut self, plan: &dyn ExecutionPlan, opened: &mut HashSet<String>) {
        if let Some(scan) = (plan as &dyn std::any::Any).downcast_ref::<DataSourceExec>()
            && let Some((config, _)) = scan.downcast_to_file_source::<ParquetSource>()
        {
            let files: HashSet<_> =
                config.file_groups.iter().flat_map(FileGroup::iter).map(PartitionedFile::path).collect();
            self.files_planned += files.len();
            for metric in plan.metrics().unwrap_or_default().iter() {
                let file = metric.labels().iter().find(|l| l.name() == "filename");
                match metric.value() {
                    MetricValue::PruningMetrics { name, pruning_metrics } => match name.as_ref() {
                        "row_groups_pruned_statistics" => {
                            self.row_groups_pruned += pruning_metrics.pruned();
                            self.row_groups_read += pruning_metrics.matched();
                        }
                        "page_index_pages_pruned" => self.pages_pruned += pruning_metrics.pruned(),
                        _ => {}
                    },
                    MetricValue::Count { name, count } if name == "bytes_scanned" => {
                        self.bytes_scanned += count.value();
                        if let (Some(file), true) = (file, count.value() > 0) {
                            opened.insert(file.value().to_owned());
                        }
                    }
                    _ => {}
                }
            }
        }
        for child in plan.children() {
            self.add(child.as_ref(), opened);
        }
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.files_planned += other.files_planned;
        self.files_opened += other.files_opened;
        self.row_groups_pruned += other.row_groups_pruned;
        self.row_groups_read += other.row_groups_read;
        self.pages_pruned += other.pages_pruned;
        self.bytes_scanned += other.bytes_scanned;
    }
}
