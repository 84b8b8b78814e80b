//! Where in the order of a table its rows lie.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::utils::{Guarantee, LiteralGuarantee};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::stream::{self, StreamExt, TryStreamExt};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::footers::Footers;
use super::{LakeTable, OPENED_AT_ONCE};
use crate::file;
use crate::lake::LakeFile;

/// Some rows that lie beside one another in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Not above the key of any of them.
    pub(crate) least: String,
    /// How many.
    pub(crate) rows: u64,
}

impl LakeTable {
    /// How many rows are in files that `filters` do not leave out by what the Delta log says of them; none where rows of some
    /// persons, users or events alone are asked for, however many others lie beside them.
    pub(crate) fn rows_left(&self, filters: &[Expr]) -> u64 {
        let predicate = self.predicate_of(filters);
        if predicate.as_ref().is_some_and(|predicate| names_some(predicate)) {
            return 0;
        }
        let kept = predicate.and_then(|predicate| self.kept(&predicate).ok());
        kept.as_ref().unwrap_or(&self.files).iter().map(|file| file.rows).sum()
    }

    /// The row groups of files that `filters` do not leave out, each with its least key; those without a key are left out.
    pub(crate) async fn marks(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<Mark>> {
        let Some(key) = self.key else { return Ok(Vec::new()) };
        let runtime = state.runtime_env();
        let store = runtime.object_store(&self.url)?;
        let footers = Footers::new(store, runtime.cache_manager.get_file_metadata_cache(), true);
        let unseen = ExecutionPlanMetricsSet::new();
        let files = self.remaining(state, self.predicate_of(filters).as_deref()).await?;
        let each = stream::iter(files).map(|file| {
            let (footers, unseen) = (&footers, &unseen);
            async move {
                let footer = footer(footers, &file, unseen).await?;
                Ok::<_, DataFusionError>(of_groups(&footer, key))
            }
        });
        let marks: Vec<Vec<Mark>> = each.buffered(OPENED_AT_ONCE).try_collect().await?;
        Ok(marks.into_iter().flatten().collect())
    }
}

/// Whether a row must have one of some values, in a column that has many.
pub(super) fn names_some(predicate: &PruningPredicate) -> bool {
    let of_few_values = ["source", "year"];
    let named = |guarantee: &LiteralGuarantee| {
        guarantee.guarantee == Guarantee::In && !of_few_values.contains(&guarantee.column.name.as_str())
    };
    predicate.literal_guarantees().iter().any(named)
}

async fn footer(
    footers: &Footers,
    file: &LakeFile,
    metrics: &ExecutionPlanMetricsSet,
) -> Result<Arc<ParquetMetaData>> {
    let named = file::named(&file.path, file.size)?;
    let mut reader = footers.create_reader(0, named, None, metrics)?;
    Ok(reader.get_metadata(None).await?)
}

fn of_groups(footer: &ParquetMetaData, key: &str) -> Vec<Mark> {
    footer.row_groups().iter().filter_map(|group| of(group, key)).collect()
}

fn of(group: &RowGroupMetaData, key: &str) -> Option<Mark> {
    let column = group.columns().iter().find(|column| column.column_path().string() == key)?;
    let least = column.statistics()?.min_bytes_opt()?;
    let least = String::from_utf8_lossy(least).into_owned();
    Some(Mark { least, rows: u64::try_from(group.num_rows()).unwrap_or_default() })
}
