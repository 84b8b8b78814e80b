//! The rows of one Parquet file, batch by batch.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    DefaultParquetFileReaderFactory, ParquetFileReaderFactory,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    RowSelection,
};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::PageIndexPolicy;

/// Rows of which the bytes are held at a time where many files are read beside one another.
const SLICE: usize = 32_768;

/// So much of a file's end is read at once: mostly its whole footer, in one request where each has its price.
const FOOTER: usize = 32 << 10;

/// A file that is no larger is read by one request: as of a commit of some rows, of which thousands may be read one after the
/// other. Footer, index and each column by themselves would be a dozen.
const AT_ONCE: u64 = 128 << 10;

/// A file in a store, as the Delta log names it.
///
/// # Errors
/// When it has no such path.
pub(crate) fn named(path: &str, size: u64) -> Result<PartitionedFile> {
    let mut file = PartitionedFile::new(path, size);
    // Not `new`'s own reading of the path: what the log says is already a path of the store.
    file.object_meta.location = Path::parse(path).map_err(object_store::Error::from)?;
    Ok(file)
}

/// Opens a file of `size` bytes whose columns are those of `schema`, to read these of them, so many rows at a time.
///
/// # Errors
/// When it cannot be read, or has other columns.
pub(crate) async fn batches(
    store: Arc<dyn ObjectStore>,
    path: &str,
    size: u64,
    schema: SchemaRef,
    only: Option<&[&str]>,
    rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    if size <= AT_ONCE {
        return at_once(store, path, size, schema, only, rows).await;
    }
    let reader = reader(store, path, size)?;
    let options = ArrowReaderOptions::new().with_schema(schema);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
    Ok(of_columns(builder, only).with_batch_size(rows).build()?.map_err(Into::into).boxed())
}

/// The same of all columns, with no more bytes of the file held than those of a slice of rows: for many files beside one
/// another.
///
/// # Errors
/// When it cannot be read, or has other columns.
pub(crate) async fn in_slices(
    store: Arc<dyn ObjectStore>,
    path: &str,
    size: u64,
    schema: SchemaRef,
    rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    if size <= AT_ONCE {
        return at_once(store, path, size, schema, None, rows).await;
    }
    let mut first = reader(Arc::clone(&store), path, size)?;
    let options =
        ArrowReaderOptions::new().with_schema(schema).with_page_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load_async(&mut first, options).await?;
    let groups: Vec<usize> =
        metadata.metadata().row_groups().iter().map(|group| group.num_rows() as usize).collect();
    let slices = groups.into_iter().enumerate().flat_map(|(group, of)| {
        (0..of).step_by(SLICE).map(move |from| (group, from..(from + SLICE).min(of), of))
    });
    let path = path.to_owned();
    let read = move |(group, slice, of): (usize, Range<usize>, usize)| {
        let reader = reader(Arc::clone(&store), &path, size);
        let metadata = metadata.clone();
        async move {
            let selection = RowSelection::from_consecutive_ranges(std::iter::once(slice), of);
            let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader?, metadata)
                .with_row_groups(vec![group])
                .with_row_selection(selection)
                .with_batch_size(rows);
            Ok::<_, DataFusionError>(builder.build()?.map_err(DataFusionError::from))
        }
    };
    Ok(stream::iter(slices).then(read).try_flatten().boxed())
}

/// The same of a small file, whole.
async fn at_once(
    store: Arc<dyn ObjectStore>,
    path: &str,
    size: u64,
    schema: SchemaRef,
    only: Option<&[&str]>,
    rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let place = named(path, size)?.object_meta.location;
    let bytes = store.get(&place).await?.bytes().await?;
    let reader = in_memory(bytes, schema, only)?.with_batch_size(rows).build()?;
    Ok(stream::iter(reader.map(|batch| batch.map_err(DataFusionError::from))).boxed())
}

/// Opens the bytes of a file, to read these of its columns.
///
/// # Errors
/// When they are no such file.
pub(crate) fn in_memory(
    bytes: Bytes,
    schema: SchemaRef,
    only: Option<&[&str]>,
) -> parquet::errors::Result<ParquetRecordBatchReaderBuilder<Bytes>> {
    let options = ArrowReaderOptions::new().with_schema(schema);
    Ok(of_columns(ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)?, only))
}

fn of_columns<T>(builder: ArrowReaderBuilder<T>, only: Option<&[&str]>) -> ArrowReaderBuilder<T> {
    let Some(columns) = only else { return builder };
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    builder.with_projection(mask)
}

fn reader(store: Arc<dyn ObjectStore>, path: &str, size: u64) -> Result<Box<dyn AsyncFileReader>> {
    let readers = DefaultParquetFileReaderFactory::new(store);
    Ok(readers.create_reader(0, named(path, size)?, Some(FOOTER), &ExecutionPlanMetricsSet::new())?)
}
