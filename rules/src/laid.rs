//! Rows that lie on the desk: in memory, and more than that in files which go with them.
//!
//! A day of a region has ten million accesses, and a rule reads some columns of them: in files these cost what they take,
//! whatever else the rows have.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::{SendableRecordBatchStream, SpillFile, SpillWriter};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_expr::PhysicalExpr;
use futures::StreamExt;

use crate::{beside, views};

/// Bytes of rows that one part of a table holds before it is laid in a file.
pub(crate) const HELD: usize = 192 << 20;
/// Rows of a group in a file: so many are held while it is written.
const GROUP: usize = 128 << 10;
/// Columns of which each row has a value of its own.
const UNLIKE: [&str; 3] = ["event_id", "segment", "seq"];

/// A table, and the files that its rows lie in: they go when this does.
pub(crate) struct Laid {
    pub table: Arc<dyn TableProvider>,
    _files: Vec<Arc<dyn SpillFile>>,
}

/// Lays rows under a schema of views, part beside part: those for which the condition holds, and the others. `held` is how many bytes of them each
/// part holds before it goes on in a file.
pub(crate) async fn lay(
    schema: &SchemaRef,
    parts: Vec<SendableRecordBatchStream>,
    condition: Arc<dyn PhysicalExpr>,
    disk: &Arc<DiskManager>,
    held: usize,
) -> Result<[Laid; 2], DataFusionError> {
    let parts = beside::each(parts, |mut rows| {
        let (condition, schema) = (Arc::clone(&condition), Arc::clone(schema));
        let new = || Part::new(&schema, disk, held);
        let mut laid = [new(), new()];
        async move {
            while let Some(batch) = rows.next().await {
                let batch = views::rows_of(&batch?, &schema)?;
                let holds = condition.evaluate(&batch)?.into_array(batch.num_rows())?;
                let holds = definitely(holds.as_boolean());
                let [yes, no] = &mut laid;
                // Mostly all are of one kind, and need not be copied.
                if holds.true_count() == batch.num_rows() {
                    yes.add(batch)?;
                    continue;
                }
                yes.add(filter_record_batch(&batch, &holds)?)?;
                no.add(filter_record_batch(&batch, &not(&holds)?)?)?;
            }
            Ok(laid)
        }
    })
    .await?;
    let (yes, no) = parts.into_iter().map(|[these, those]| (these, those)).unzip();
    Ok([table(schema, yes)?, table(schema, no)?])
}

/// What is not known does not hold.
fn definitely(holds: &BooleanArray) -> BooleanArray {
    match holds.nulls() {
        Some(known) => BooleanArray::new(holds.values() & known.inner(), None),
        None => holds.clone(),
    }
}

/// One part of a table that is being laid.
struct Part {
    schema: SchemaRef,
    disk: Arc<DiskManager>,
    held: Vec<RecordBatch>,
    bytes: usize,
    most: usize,
    written: Option<Written>,
}

/// The file that it goes on in.
struct Written {
    writer: ArrowWriter<Box<dyn SpillWriter>>,
    file: Arc<dyn SpillFile>,
}

impl Part {
    fn new(schema: &SchemaRef, disk: &Arc<DiskManager>, most: usize) -> Part {
        Part {
            schema: Arc::clone(schema),
            disk: Arc::clone(disk),
            held: Vec::new(),
            bytes: 0,
            most,
            written: None,
        }
    }

    fn add(&mut self, batch: RecordBatch) -> Result<(), DataFusionError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if let Some(written) = &mut self.written {
            return Ok(written.writer.write(&batch)?);
        }
        self.bytes += batch.get_array_memory_size();
        self.held.push(batch);
        if self.bytes > self.most {
            self.begin_file()?;
        }
        Ok(())
    }

    fn begin_file(&mut self) -> Result<(), DataFusionError> {
        let file = self.disk.create_tmp_file("laying accesses before the rules")?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_max_row_group_row_count(Some(GROUP));
        for column in UNLIKE {
            properties = properties.set_column_dictionary_enabled(column.into(), false);
        }
        let mut writer =
            ArrowWriter::try_new(file.open_writer()?, Arc::clone(&self.schema), Some(properties.build()))?;
        for batch in std::mem::take(&mut self.held) {
            writer.write(&batch)?;
        }
        self.written = Some(Written { writer, file });
        Ok(())
    }

    /// All of it, in a file.
    fn into_file(mut self) -> Result<Arc<dyn SpillFile>, DataFusionError> {
        if self.written.is_none() {
            self.begin_file()?;
        }
        let lost = || DataFusionError::Internal("rows were laid in no file".into());
        let Written { writer, file } = self.written.ok_or_else(lost)?;
        writer.into_inner()?.finish()?;
        Ok(file)
    }
}

/// The table of these parts: of files, as soon as one of them is one.
fn table(schema: &SchemaRef, parts: Vec<Part>) -> Result<Laid, DataFusionError> {
    if parts.iter().all(|part| part.written.is_none()) {
        let mut held: Vec<Vec<RecordBatch>> = parts.into_iter().map(|part| part.held).collect();
        if held.is_empty() {
            held.push(Vec::new());
        }
        let table = Arc::new(MemTable::try_new(Arc::clone(schema), held)?);
        return Ok(Laid { table, _files: Vec::new() });
    }
    let files: Vec<_> = parts.into_iter().map(Part::into_file).collect::<Result<_, _>>()?;
    let paths = files.iter().map(|file| {
        let path = file.path().and_then(Path::to_str);
        let nowhere = || DataFusionError::Internal("rows were laid in a file without a path".into());
        ListingTableUrl::parse(path.ok_or_else(nowhere)?)
    });
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
    let config = ListingTableConfig::new_with_multi_paths(paths.collect::<Result<_, _>>()?)
        .with_listing_options(options)
        .with_schema(Arc::clone(schema));
    Ok(Laid { table: Arc::new(ListingTable::try_new(config)?), _files: files })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::common::DFSchema;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn batch(schema: &SchemaRef, numbers: std::ops::Range<i64>) -> RecordBatch {
        // Every third name is not known: of it the condition does not hold.
        let names = numbers.clone().map(|n| (n % 3 != 0).then(|| format!("n{}", n % 7)));
        let names: StringArray = names.collect();
        RecordBatch::try_new(
            Arc::clone(schema),
            vec![Arc::new(Int64Array::from_iter_values(numbers)), Arc::new(names)],
        )
        .unwrap()
    }

    async fn numbers(ctx: &SessionContext, laid: &Laid) -> Vec<i64> {
        let batches = ctx.read_table(Arc::clone(&laid.table)).unwrap().collect().await.unwrap();
        let mut all: Vec<i64> =
            batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        all.sort_unstable();
        all
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_does_not_fit_lies_in_files_that_go_with_the_table() {
        let field = |name, kind, nulls| Field::new(name, kind, nulls);
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            field("n", DataType::Int64, false),
            field("name", DataType::Utf8, true),
        ]));
        let ctx = SessionContext::new();
        let columns = DFSchema::try_from(Arc::clone(&schema)).unwrap();
        let condition = ctx.parse_sql_expr("name <> 'n2'", &columns).unwrap();
        let condition = ctx.create_physical_expr(condition, &columns).unwrap();
        let holds = |n: &i64| n % 3 != 0 && n % 7 != 2;
        // Nothing is held, some of it is, all is.
        for (held, in_files) in [(0, true), (10_000, true), (usize::MAX, false)] {
            let part = |from: i64, to: i64| -> SendableRecordBatchStream {
                let batches: Vec<_> =
                    (from..to).map(|n| Ok(batch(&schema, n * 500..(n + 1) * 500))).collect();
                Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), futures::stream::iter(batches)))
            };
            // One part is much longer than the other, and one is empty.
            let parts = vec![part(0, 9), part(9, 10), part(10, 10)];
            let disk = &ctx.runtime_env().disk_manager;
            let laid = lay(&schema, parts, Arc::clone(&condition), disk, held).await.unwrap();
            let wanted: [Vec<i64>; 2] =
                [(0..5_000).filter(holds).collect(), (0..5_000).filter(|n| !holds(n)).collect()];
            for (laid, wanted) in laid.iter().zip(&wanted) {
                let known = ctx.read_table(Arc::clone(&laid.table)).unwrap().count().await.unwrap();
                assert_eq!((numbers(&ctx, laid).await, known), (wanted.clone(), wanted.len()));
            }
            let files: Vec<_> =
                laid.iter().flat_map(|l| &l._files).map(|f| f.path().unwrap().to_owned()).collect();
            assert_eq!(!files.is_empty(), in_files, "{held}");
            assert!(files.iter().all(|file| file.exists()));
            drop(laid);
            assert!(files.iter().all(|file| !file.exists()));
        }
    }
}
