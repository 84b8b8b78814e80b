//! Findings as an Arrow table: `findings` of `sql`, and the rows of `findings list`.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder, StructBuilder,
        TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
};

use crate::{
    db::Db,
    error::ReviewError,
    filter::{Filter, Scope},
    findings::FindingView,
};

/// The columns of a finding, in the order of the interfaces' list. Times are Timestamp(µs, UTC).
pub fn findings_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let time = |name: &str, nullable| {
        Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), nullable)
    };
    Arc::new(Schema::new(vec![
        text("finding_id", false),
        text("rule_id", false),
        Field::new("rule_version", DataType::Int64, false),
        text("level", false),
        Field::new("score", DataType::Int32, false),
        text("status", false),
        text("outcome", false),
        time("settles_at", true),
        text("user_id", false),
        text("subject_id", true),
        text("care_unit_id", true),
        text("controller_id", true),
        time("first_at", false),
        time("last_at", false),
        Field::new("event_count", DataType::Int64, false),
        Field::new("event_ids", DataType::List(Arc::new(item(DataType::Utf8))), false),
        text("title_sv", false),
        text("title_en", false),
        Field::new("reasons", DataType::List(Arc::new(item(DataType::Struct(reason_fields())))), false),
        time("created_at", false),
    ]))
}

impl Db {
    /// All findings that the filter leaves and the scope allows, in the order of [`Db::list`], as one batch; none is an
    /// empty batch. `limit` bounds the rows.
    pub async fn findings_table(
        &self,
        filter: &Filter,
        scope: &Scope,
        limit: Option<usize>,
    ) -> Result<(SchemaRef, RecordBatch), ReviewError> {
        let views = self.select(filter, scope, None, limit).await?;
        let batch = batch(&views)?;
        Ok((batch.schema(), batch))
    }
}

/// Findings as rows of [`findings_schema`].
pub fn batch(views: &[FindingView]) -> Result<RecordBatch, ReviewError> {
    let texts = |get: fn(&FindingView) -> Option<&str>| -> ArrayRef {
        let mut builder = StringBuilder::new();
        views.iter().for_each(|view| builder.append_option(get(view)));
        Arc::new(builder.finish())
    };
    let times = |get: fn(&FindingView) -> Option<i64>| -> ArrayRef {
        let mut builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        views.iter().for_each(|view| builder.append_option(get(view)));
        Arc::new(builder.finish())
    };
    let numbers = |get: fn(&FindingView) -> i64| -> ArrayRef {
        let mut builder = Int64Builder::new();
        views.iter().for_each(|view| builder.append_value(get(view)));
        Arc::new(builder.finish())
    };
    let mut score = Int32Builder::new();
    views.iter().for_each(|view| score.append_value(i32::from(view.finding.score)));
    let columns: Vec<ArrayRef> = vec![
        texts(|v| Some(&v.finding.finding_id)),
        texts(|v| Some(&v.finding.rule_id)),
        numbers(|v| i64::from(v.finding.rule_version)),
        texts(|v| Some(v.finding.level.as_str())),
        Arc::new(score.finish()),
        texts(|v| Some(v.finding.status.as_str())),
        texts(|v| Some(v.finding.outcome.as_str())),
        times(|v| v.finding.settles_at),
        texts(|v| Some(&v.finding.user_id)),
        texts(|v| v.finding.subject_id.as_deref()),
        texts(|v| v.finding.care_unit_id.as_deref()),
        texts(|v| v.finding.controller_id.as_deref()),
        times(|v| Some(v.finding.first_at)),
        times(|v| Some(v.finding.last_at)),
        numbers(|v| i64::try_from(v.finding.event_count).unwrap_or(i64::MAX)),
        event_ids(views),
        texts(|v| Some(&v.finding.title_sv)),
        texts(|v| Some(&v.finding.title_en)),
        reasons(views),
        times(|v| Some(v.finding.created_at)),
    ];
    RecordBatch::try_new(findings_schema(), columns)
        .map_err(|e| ReviewError::Database { doing: "making the findings table", what: e.to_string() })
}

fn event_ids(views: &[FindingView]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item(DataType::Utf8));
    for view in views {
        view.finding.event_ids.iter().for_each(|id| builder.values().append_value(id));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn reasons(views: &[FindingView]) -> ArrayRef {
    let field = item(DataType::Struct(reason_fields()));
    let mut builder = ListBuilder::new(StructBuilder::from_fields(reason_fields(), 0)).with_field(field);
    for view in views {
        for reason in &view.finding.reasons {
            let row = builder.values();
            for (column, text) in [&reason.sv, &reason.en].into_iter().enumerate() {
                // Both columns are text, by `reason_fields`.
                if let Some(texts) = row.field_builder::<StringBuilder>(column) {
                    texts.append_value(text);
                }
            }
            row.append(true);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn item(kind: DataType) -> Field {
    Field::new("item", kind, false)
}

fn reason_fields() -> Fields {
    Fields::from(vec![Field::new("sv", DataType::Utf8, false), Field::new("en", DataType::Utf8, false)])
}
