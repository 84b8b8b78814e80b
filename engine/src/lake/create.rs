//! The first commit of a table: its protocol and its columns, as plain a Delta table as can be.

use arrow::datatypes::{DataType, Schema};
use chrono::Utc;
use deltalake::kernel::Protocol;
use serde_json::{Value, json};

use super::error::LakeError;
use super::types::Table;

/// The first commit of `table`.
///
/// Reader version 1: every Delta reader can read it. Writer version 7 with `domainMetadata` alone: who writes must
/// carry the sources' positions along, and older writers must keep away.
pub(super) fn first_commit(table: Table) -> String {
    let now = Utc::now().timestamp_millis();
    let info = json!({ "commitInfo": {
        "timestamp": now,
        "operation": "CREATE TABLE",
        "engineInfo": concat!("insyn/", env!("CARGO_PKG_VERSION")),
    }});
    let protocol = json!({ "protocol": {
        "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["domainMetadata"],
    }});
    let metadata = json!({ "metaData": {
        "id": uuid::Uuid::new_v4().to_string(),
        "name": table.name(),
        "format": { "provider": "parquet", "options": {} },
        "schemaString": delta_schema(&table.schema()).to_string(),
        "partitionColumns": table.partition_columns(),
        "createdTime": now,
        "configuration": configuration(table),
    }});
    format!("{info}\n{protocol}\n{metadata}")
}

/// What the log says of a table with the columns and settings that it lacks; none where it lacks none.
pub(super) fn widened(table: Table, metadata: &Value) -> Option<Value> {
    let wanted = delta_schema(&table.schema());
    let found: Value = serde_json::from_str(metadata.get("schemaString")?.as_str()?).ok()?;
    let names = |schema: &Value| -> Vec<String> {
        let fields = schema.get("fields").and_then(Value::as_array).into_iter().flatten();
        fields.filter_map(|field| Some(field.get("name")?.as_str()?.to_owned())).collect()
    };
    let found = names(&found);
    let mut wide = metadata.clone();
    if !names(&wanted).iter().all(|name| found.contains(name)) {
        *wide.get_mut("schemaString")? = Value::String(wanted.to_string());
    }
    let settings = wide.get_mut("configuration")?.as_object_mut()?;
    settings.extend(configuration(table).as_object().cloned().unwrap_or_default());
    (wide != *metadata).then_some(wide)
}

fn configuration(table: Table) -> Value {
    json!({
        // Whoever else writes keeps to the columns that prune: statistics hold personal numbers.
        "delta.dataSkippingStatsColumns": match table {
            Table::AccessEvents => "subject_id,occurred_at,user_id",
            Table::UserAccesses => "user_id,occurred_at",
            _ => "source,sequence",
        },
        // Hours are enough for readers on their way; what counts survives in checkpoints.
        "delta.logRetentionDuration": "interval 24 hours",
        // What was replaced is gone after minutes: checkpoints need not name it for a week, commit after commit.
        "delta.deletedFileRetentionDuration": "interval 1 hours",
        "delta.enableExpiredLogCleanup": "true",
        "delta.checkpointInterval": super::CHECKPOINT_EVERY.to_string(),
    })
}

fn delta_schema(schema: &Schema) -> Value {
    let fields = schema.fields().iter().map(|field| {
        let kind = match field.data_type() {
            DataType::Boolean => "boolean",
            DataType::Int32 => "integer",
            DataType::Int64 => "long",
            DataType::Binary => "binary",
            DataType::Timestamp(..) => "timestamp",
            _ => "string",
        };
        json!({ "name": field.name(), "type": kind, "nullable": field.is_nullable(), "metadata": {} })
    });
    json!({ "type": "struct", "fields": fields.collect::<Vec<_>>() })
}

/// Refuses a table that needs what Insyn does not do: it would read or write it wrong.
pub(super) fn check_protocol(table: Table, version: u64, protocol: &Protocol) -> Result<(), LakeError> {
    let text = serde_json::to_value(protocol).map_err(|e| LakeError::delta(table, e))?;
    check_protocol_text(table, version, &text)
}

/// As [`check_protocol`], on the action as the log has it.
pub(super) fn check_protocol_text(table: Table, version: u64, protocol: &Value) -> Result<(), LakeError> {
    let reader = protocol.get("minReaderVersion").and_then(Value::as_i64).unwrap_or_default();
    let writer = protocol.get("minWriterVersion").and_then(Value::as_i64).unwrap_or_default();
    let features =
        |key| protocol.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let known = ["domainMetadata", "appendOnly", "invariants"];
    let foreign: Vec<_> =
        features("readerFeatures").chain(features("writerFeatures")).filter(|f| !known.contains(f)).collect();
    if reader <= 1
        && writer == 7
        && foreign.is_empty()
        && features("writerFeatures").any(|f| f == "domainMetadata")
    {
        return Ok(());
    }
    Err(LakeError::Unexpected {
        table: table.name(),
        version,
        found: format!("protocol reader {reader}, writer {writer}, features {}", foreign.join(", ")),
        expected: "reader 1, writer 7 with domainMetadata, as Insyn made it; another program changed the table",
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_an_older_version_gets_columns_and_settings_once() {
        let own = |configuration: Value, schema: Value| json!({ "schemaString": schema.to_string(), "configuration": configuration });
        let now = own(configuration(Table::Gaps), delta_schema(&Table::Gaps.schema()));
        assert_eq!(widened(Table::Gaps, &now), None);
        let older = own(json!({ "delta.appendOnly": "false" }), json!({ "type": "struct", "fields": [] }));
        let wide = widened(Table::Gaps, &older).unwrap();
        assert_eq!(wide["schemaString"], now["schemaString"]);
        assert_eq!(wide["configuration"]["delta.deletedFileRetentionDuration"], "interval 1 hours");
        assert_eq!(wide["configuration"]["delta.appendOnly"], "false", "what others set stays");
        assert_eq!(widened(Table::Gaps, &wide), None);
    }

    #[test]
    fn our_own_protocol_passes_and_others_do_not() {
        let own =
            json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["domainMetadata"] });
        check_protocol_text(Table::Gaps, 0, &own).unwrap();
        for other in [
            json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
                    "writerFeatures": ["deletionVectors", "domainMetadata"] }),
            json!({ "minReaderVersion": 1, "minWriterVersion": 2 }),
            json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["columnMapping", "domainMetadata"] }),
        ] {
            assert!(check_protocol_text(Table::Gaps, 3, &other).is_err(), "{other}");
        }
    }
}
