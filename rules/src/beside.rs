//! Parts of rows, worked on beside one another.

use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::future;

/// What comes of each part, in order; when this is dropped, so is the work.
pub(crate) async fn each<T, W>(
    parts: Vec<SendableRecordBatchStream>,
    work: impl Fn(SendableRecordBatchStream) -> W,
) -> Result<Vec<T>, DataFusionError>
where
    T: Send + 'static,
    W: Future<Output = Result<T, DataFusionError>> + Send + 'static,
{
    let tasks = parts.into_iter().map(|rows| SpawnedTask::spawn(work(rows)).join());
    let done = future::join_all(tasks).await.into_iter();
    done.map(|part| part.map_err(|e| DataFusionError::External(Box::new(e)))?).collect()
}
