//! The rows of one Parquet file, batch by batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    DefaultParquetFileReaderFactory, ParquetFileReaderFactory,
};
use datafusion::error::Result;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};

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
    let readers = DefaultParquetFileReaderFactory::new(store);
    let reader: Box<dyn AsyncFileReader> =
        readers.create_reader(0, named(path, size)?, None, &ExecutionPlanMetricsSet::new())?;
    let options = ArrowReaderOptions::new().with_schema(schema);
    let mut builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
    if let Some(columns) = only {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    Ok(builder.with_batch_size(rows).build()?.map_err(Into::into).boxed())
}
