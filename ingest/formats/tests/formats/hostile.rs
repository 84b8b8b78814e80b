//! Records that are meant to hurt: each is a fault, none a panic, none a value in the fault's words.

use insyn_formats::{Cut, Format, FormatConfig, FormatName};

fn faults(format: FormatName, record: &str) -> String {
    let format = Format::compile(&FormatConfig::new(format), chrono_tz::UTC).unwrap();
    let reader = format.open(b"").unwrap();
    reader.parse(record.as_bytes()).unwrap_err().to_string()
}

#[test]
fn nesting_too_deep() {
    let deep = format!("{{\"resourceType\":\"AuditEvent\",\"agent\":{}", "[".repeat(100_000));
    assert!(faults(FormatName::FhirAuditEvent, &deep).contains("recursion limit"));
    let closed = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(faults(FormatName::FhirAuditEvent, &closed).contains("recursion limit"));
    let xml = format!("<log>{}{}</log>", "<a>".repeat(5000), "</a>".repeat(5000));
    assert_eq!(faults(FormatName::RivtaLog, &xml), "elements nested too deep");
    let xml = format!("<AuditMessage>{}", "<a>".repeat(5000));
    assert_eq!(faults(FormatName::DicomAudit, &xml), "elements nested too deep");
}

#[test]
fn entities_are_never_expanded() {
    let bomb = "<!DOCTYPE log [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;\"><!ENTITY f SYSTEM \"file:///etc/passwd\">]>";
    for entity in ["&b;", "&f;"] {
        let record = format!("<log><logId>{entity}</logId></log>");
        assert_eq!(faults(FormatName::RivtaLog, &record), "not valid XML: an entity that is not defined");
        let message =
            format!("<AuditMessage><EventIdentification EventDateTime=\"{entity}\"/></AuditMessage>");
        assert_eq!(faults(FormatName::DicomAudit, &message), "not valid XML: an entity that is not defined");
        // The declaration stands outside of the record and is passed over.
        let format = Format::compile(&FormatConfig::new(FormatName::RivtaLog), chrono_tz::UTC).unwrap();
        let document = format!("{bomb}{record}");
        let cut = format.open(document.as_bytes()).unwrap().cut(document.as_bytes(), 0, true);
        assert_eq!(cut, Cut::Record { skip: bomb.len(), len: record.len() });
    }
}

#[test]
fn numbers_times_and_signs_beyond_all_bounds() {
    let event = |recorded: &str| {
        format!("{{\"resourceType\":\"AuditEvent\",\"id\":1e999,\"recorded\":{recorded},\"agent\":[]}}")
    };
    assert!(faults(FormatName::FhirAuditEvent, &event("\"2026-08-31\"")).contains("number out of range"));
    for time in [
        "99999999999999999999",
        "\"+999999-01-01T00:00:00Z\"",
        "\"0000-00-00T00:00:00Z\"",
        "{}",
        "[]",
        "null",
    ] {
        let record = event(time).replace("1e999", "1");
        let fault = faults(FormatName::FhirAuditEvent, &record);
        assert!(fault.starts_with("occurred_at: "), "{fault}");
    }
    assert_eq!(faults(FormatName::RivtaLog, "<log><activity><startDate>\0</startDate></activity></log>"), {
        "occurred_at: not a time that can be read"
    });
    assert_eq!(
        faults(FormatName::FhirAuditEvent, ""),
        "not valid JSON: EOF while parsing a value at line 1 column 0"
    );
    assert_eq!(faults(FormatName::DicomAudit, ""), "no AuditMessage");
}

#[test]
fn shapes_that_no_schema_has_are_read_as_far_as_they_go() {
    let format = Format::compile(&FormatConfig::new(FormatName::FhirAuditEvent), chrono_tz::UTC).unwrap();
    let reader = format.open(b"{").unwrap();
    let record = r#"{"resourceType":"AuditEvent","id":17,"recorded":"2026-08-31T05:07:37Z","outcome":0,"action":["R"],
        "agent":{"who":"SE2321000016-3F7K","requestor":"true"},"entity":{"what":{"reference":{"reference":"Patient/1"}}},
        "source":[],"subtype":"read","extension":{"url":"","valueString":"x"},"purposeOfEvent":[null,{"coding":{}}]}"#;
    let rows = reader.parse(record.as_bytes()).unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row.event_id, "17");
    assert_eq!(row.user_id.as_deref(), Some("SE2321000016-3F7K"));
    assert_eq!(row.subject_id.as_deref(), Some("1"));
    assert_eq!((row.activity.as_deref(), row.action.as_deref()), (Some("read"), Some("R")));
    assert_eq!(row.outcome.as_deref(), Some("success"));
}

#[test]
fn a_stream_without_an_end_of_line_is_held_and_no_more() {
    for name in FormatName::ALL
        .into_iter()
        .filter(|n| !matches!(n, FormatName::Pattern | FormatName::Delimited | FormatName::Json))
    {
        let format = Format::compile(&FormatConfig::new(name), chrono_tz::UTC).unwrap();
        let mut reader = format.open(b"").unwrap();
        let noise = vec![b'x'; 200_000];
        assert_eq!(reader.cut(&noise, 0, false), Cut::More, "{name}");
        assert!(matches!(reader.cut(&noise, 0, true), Cut::Bad { len: 200_000, .. }), "{name}");
    }
}
