//! Footers of Parquet files, each read once and kept, with what they say of pages.
//!
//! The query engine asks for a footer without its page index, looks which row groups are left, and then reads the page index
//! itself, each time anew: of every page of every column. For a question about one person that is much of what it costs.
//! Here a footer comes with its page index where pages can be left out, and both are kept together.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetFileReaderFactory, ParquetFileReaderFactory,
};
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

/// Opens the files of one scan.
pub(super) struct Footers {
    readers: CachedParquetFileReaderFactory,
    /// Whether the scan can leave out pages.
    with_pages: bool,
}

impl Footers {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        kept: Arc<FileMetadataCache>,
        with_pages: bool,
    ) -> Footers {
        Footers { readers: CachedParquetFileReaderFactory::new(store, kept), with_pages }
    }
}

impl fmt::Debug for Footers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Footers(with_pages: {})", self.with_pages)
    }
}

impl ParquetFileReaderFactory for Footers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        footer_size: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let reader = self.readers.create_reader(partition, file, footer_size, metrics)?;
        Ok(if self.with_pages { Box::new(WithPages(reader)) } else { reader })
    }
}

/// A file of which the footer comes with its page index, asked for or not.
struct WithPages(Box<dyn AsyncFileReader + Send>);

impl AsyncFileReader for WithPages {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.0.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        self.0.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let options = options.cloned().unwrap_or_default().with_page_index_policy(PageIndexPolicy::Optional);
        async move { self.0.get_metadata(Some(&options)).await }.boxed()
    }
}
