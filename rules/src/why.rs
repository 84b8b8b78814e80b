//! Reasons as columns beside the rows of a trace.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::explain::{Because, Reasons, Standing};
use crate::hits;
use crate::rule::Text;

/// The columns by which the reasons of a row are found.
pub const WHY_NEEDS: [&str; 2] = ["segment", "seq"];

/// The same rows with how each stands (`explained`, `only_by_user`, `unexplained`; null where it asks for no reason, or none
/// could be known), and its reasons in both languages, each a sentence; `hidden` columns are left out.
///
/// # Errors
/// When the rows lack `segment` or `seq`.
pub fn with_why(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    reasons: &Reasons,
    hidden: &[&str],
) -> Result<(SchemaRef, Vec<RecordBatch>), DataFusionError> {
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|column| !hidden.contains(&schema.field(*column).name().as_str()))
        .collect();
    let of_rows = kept.iter().map(|column| schema.field(*column).clone());
    let of_reasons = ["standing", "why_sv", "why_en"].map(|name| Field::new(name, DataType::Utf8, true));
    let shown = Arc::new(Schema::new(of_rows.chain(of_reasons).collect::<Vec<_>>()));
    let batches = batches.iter().map(|batch| {
        let (segment, seq) = (hits::long(batch, "segment")?, hits::long(batch, "seq")?);
        let places = || (0..batch.num_rows()).map(|row| (segment.value(row), seq.value(row)));
        let standing: StringArray =
            places().map(|place| reasons.standing(place).map(Standing::as_str)).collect();
        let why = |of: fn(&Text) -> &str| -> StringArray {
            places().map(|place| said(reasons.at(place), of)).collect()
        };
        let mut columns: Vec<ArrayRef> =
            kept.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        columns.extend([
            Arc::new(standing) as ArrayRef,
            Arc::new(why(|text| &text.sv)),
            Arc::new(why(|text| &text.en)),
        ]);
        RecordBatch::try_new(Arc::clone(&shown), columns).map_err(|e: ArrowError| e.into())
    });
    let batches = batches.collect::<Result<_, DataFusionError>>()?;
    Ok((shown, batches))
}

fn said(reasons: &[Because], of: fn(&Text) -> &str) -> Option<String> {
    let all: Vec<&str> = reasons.iter().map(|because| of(&because.reason)).collect();
    (!all.is_empty()).then(|| all.join(" "))
}
