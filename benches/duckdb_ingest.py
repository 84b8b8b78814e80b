"""The same work in DuckDB: the columns, the record kept, sorted by subject, one zstd Parquet file."""

import json
import sys

import duckdb

kind, target, *files = sys.argv[1:]
database = duckdb.connect()
database.execute("SET threads = 2")
if kind == "fhir-audit-event":
    columns = {
        "event_id": "$.id",
        "occurred": "$.recorded",
        "happened": "$.occurredDateTime",
        "action": "$.action",
        "activity": "$.subtype[0].display",
        "activity_r5": "$.code.coding[0].display",
        "outcome": "$.outcome",
        "purpose": "$.purposeOfEvent[0].text",
        "user_id": "$.agent[0].who.identifier.value",
        "user_name": "$.agent[0].who.display",
        "user_role": "$.agent[0].role[0].text",
        "address": "$.agent[0].network.address",
        "unit": "$.agent[1].who.identifier.value",
        "system": "$.source.observer.display",
        "subject_id": "$.entity[0].what.identifier.value",
        "subject_name": "$.entity[0].what.display",
        "resource": "$.entity[1].what.reference",
    }
    parts = ", ".join(f"json_extract_string(json, '{path}') AS {name}" for name, path in columns.items())
    source = f"SELECT {parts}, json::VARCHAR AS record FROM read_ndjson_objects($files, ignore_errors = true)"
elif kind == "json":
    with open(files[0], encoding="utf-8") as first:
        names = json.loads(first.readline())
    parts = ", ".join(f"json_extract_string(json, '$.\"{name}\"') AS \"{name}\"" for name in names)
    source = f"SELECT {parts}, json::VARCHAR AS record FROM read_ndjson_objects($files, ignore_errors = true)"
else:
    source = (
        "SELECT *, concat_ws(';', *COLUMNS(*)) AS record FROM read_csv($files, delim = ';', header = true, "
        "encoding = 'latin-1', all_varchar = true, ignore_errors = true)"
    )
subject = "subject_id" if kind == "fhir-audit-event" else '"Personnummer"'
database.execute(
    f"COPY (SELECT * FROM ({source}) ORDER BY {subject}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)",
    {"files": files},
)
