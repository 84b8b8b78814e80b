//! Records that are meant to hurt. A folder under `tests/hostile` for each format: `source.toml`, logs that are called by
//! what is wrong with them, and `expected.txt`, which says where each byte went.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use insyn_formats::{Cut, FieldRule, Format, FormatConfig, FormatName, Reader};

use crate::fuzz::{Piece, Source, cut_all, gaps, within};
use crate::records::show;

/// What is wrong, and the formats that know no such thing.
const CLASSES: [(&str, &[&str]); 8] = [
    ("cut", &[]),
    ("deep", &[]),
    ("bomb", &[]),
    ("external", &[]),
    ("number", &[]),
    ("nul", &[]),
    ("utf8", &[]),
    ("namespace", &["delimited", "json", "pattern"]),
];

fn folder(of: &str) -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("tests/hostile").join(of)
}

/// Names of files and folders, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !matches!(name.as_str(), ".gitattributes" | "source.toml" | "expected.txt"));
    names.sort();
    names
}

#[test]
fn every_format_has_every_class() {
    let formats = names(&folder(""));
    for name in FormatName::ALL.map(FormatName::as_str).into_iter().chain(["dicom-syslog"]) {
        let known = |format: &&String| name.starts_with(format.as_str());
        let format = formats.iter().rfind(known).unwrap_or_else(|| panic!("{name} has no folder"));
        let cases = names(&folder(format));
        for (class, _) in CLASSES.iter().filter(|(_, without)| !without.contains(&format.as_str())) {
            assert!(cases.iter().any(|case| case.starts_with(class)), "{format} has no case of {class}");
        }
    }
}

#[test]
fn each_goes_where_it_should_and_no_byte_is_gone() {
    for format in names(&folder("")) {
        let source = Source::new(&fs::read_to_string(folder(&format).join("source.toml")).unwrap());
        let mut text = String::new();
        for case in names(&folder(&format)) {
            let log = fs::read(folder(&format).join(&case)).unwrap();
            source.check(&log);
            writeln!(text, "# {case}").unwrap();
            report(&source, &log, &mut text);
        }
        expect_file![folder(&format).join("expected.txt")].assert_eq(&text);
    }
}

/// Says what became of each byte, in their order.
fn report(source: &Source, log: &[u8], text: &mut String) {
    let mut reader = match source.format.open(log) {
        Err(fault) => return writeln!(text, "cannot be opened: {fault}").unwrap(),
        Ok(reader) => reader,
    };
    let pieces = cut_all(&mut reader, log, 0, || log.len());
    let passed = gaps(log, &pieces).into_iter().map(|(at, gap)| (at, passed_over(at, gap)));
    let mut lines: Vec<(usize, String)> = passed.collect();
    lines.extend(pieces.iter().map(|piece| (piece.offset(), became(&reader, log, piece))));
    lines.sort();
    lines.iter().for_each(|(_, line)| text.push_str(line));
}

fn passed_over(at: usize, gap: &[u8]) -> String {
    let gap = String::from_utf8_lossy(gap);
    if gap.trim().is_empty() { String::new() } else { format!("-- {at} passed over: {:?}\n", gap.trim()) }
}

fn became(reader: &Reader, log: &[u8], piece: &Piece) -> String {
    let (offset, end) = (piece.offset(), piece.end());
    let mut text = format!("== {offset}+{}", end - offset);
    let parsed = reader.parse(&log[offset..end]).map_err(|fault| fault.to_string());
    match (piece, parsed) {
        (Piece::Bad { why, .. }, _) => writeln!(text, " bad: {why}").unwrap(),
        (_, Err(fault)) => {
            let value = ["1946", "SE1", "Berit", "passwd", "aaaa", "9999", "evil"]
                .iter()
                .find(|v| fault.contains(**v));
            assert_eq!(value, None, "a fault never shows a value: {fault}");
            writeln!(text, " fault: {fault}").unwrap();
        }
        (_, Ok(rows)) => {
            text.push('\n');
            for row in &rows {
                let mut lines = String::new();
                show(row, &mut lines);
                let columns: Vec<&str> = lines.lines().map(str::trim).collect();
                writeln!(text, "  {}", columns.join(" ").trim_end()).unwrap();
            }
        }
    }
    text
}

fn reader_of(name: FormatName) -> Reader {
    let mut config = FormatConfig::new(name);
    let fields: &[(&str, &str)] = match name {
        FormatName::Json => &[("occurred_at", "/t"), ("subject_id", "/p")],
        FormatName::Delimited => &[("occurred_at", "t")],
        _ => &[],
    };
    for (column, place) in fields {
        let rule = FieldRule { column: (*place).to_owned(), ..FieldRule::default() };
        config.fields.insert((*column).to_owned(), rule);
    }
    config.pattern = (name == FormatName::Pattern).then(|| "(?P<occurred_at>.*)".to_owned());
    Format::compile(&config, chrono_tz::UTC).unwrap().open(b"t,p\n").unwrap()
}

/// Records of megabytes that would take gigabytes or hours if nothing bounded them. [`within`] asserts the memory.
#[test]
fn what_one_record_may_ask_for_is_bounded() {
    use FormatName::{Delimited, DicomAudit, FhirAuditEvent, Json, RivtaLog};
    let repeat = |times: usize, part: &dyn Fn(usize) -> String| (0..times).map(part).collect::<String>();
    let json = |members: String| {
        format!("{{\"recorded\":\"2026-08-31\",\"agent\":[],\"t\":\"2026-08-31\",{members}}}")
    };
    let list = |key: &str, item: &str, times: usize| {
        json(format!("\"{key}\":[{}null]", repeat(times, &|_| format!("{item},"))))
    };
    let patients = |times: usize| {
        let patient = |n| format!("{{\"what\":{{\"reference\":\"Patient/{n}\"}}}},");
        format!("\"entity\":[{}null]", repeat(times, &patient))
    };
    let bundle = |event: &str, times: usize| {
        let entries = repeat(times, &|_| format!("{{\"resource\":{event}}},"));
        format!("{{\"resourceType\":\"Bundle\",\"entry\":[{entries}{{}}]}}")
    };
    let log = |purpose: &str, times: usize| {
        let resource = |n| format!("<resource><patient><patientId>{n}</patientId></patient></resource>");
        let activity = format!("<startDate>2026-08-31</startDate><purpose>{purpose}</purpose>");
        let resources = repeat(times, &resource);
        format!("<log><activity>{activity}</activity><resources>{resources}</resources></log>")
    };
    let message = |part: &str, times: usize| {
        let parts = part.repeat(times);
        format!("<AuditMessage><EventIdentification EventDateTime=\"2026-08-31\"/>{parts}</AuditMessage>")
    };
    let long = "x".repeat(1 << 20);
    for (name, record, expected) in [
        (FhirAuditEvent, list("x", "1", 1_000_000), "more than 1000000 values"),
        (FhirAuditEvent, list("x", "1e308", 900_000), ""),
        (FhirAuditEvent, list("entity", "{}", 50_001), "more than 50000 entities"),
        (FhirAuditEvent, list("contained", "{}", 5_001), "more than 5000 contained resources"),
        (FhirAuditEvent, json(format!("\"action\":\"{long}\",{}", patients(100))), "more than 32 MiB"),
        (FhirAuditEvent, json(patients(20_000)), ""),
        (
            FhirAuditEvent,
            bundle(&json(format!("\"action\":\"{}\",{}", &long[..99_999], patients(300))), 8),
            "bytes in",
        ),
        (Json, list("p", "1", 50_001), "more than 50000 rows"),
        (Json, list("p", "1", 20_000), ""),
        (RivtaLog, log("", 50_001), "more than 50000 resources"),
        (RivtaLog, log(&long, 100), "more than 32 MiB"),
        (RivtaLog, log("", 5_000), ""),
        (DicomAudit, message("<ParticipantObjectIdentification/>", 50_001), "more than 50000 objects"),
        (DicomAudit, message("<EventTypeCode code=\"1\"/>", 100_000), ""),
        (Delimited, ",".repeat(1 << 20), "more than 10000 fields"),
    ] {
        let read = within(record.len(), || reader_of(name).parse(record.as_bytes()));
        let fault = read.err().map(|fault| fault.to_string()).unwrap_or_default();
        assert!(fault.contains(expected), "{name}: {fault:?}, expected {expected:?}");
        assert_eq!(fault.is_empty(), expected.is_empty(), "{name}: {fault:?}");
    }
}

/// A line without an end is held by whoever reads, 16 MiB of it at most; cutting adds nothing to that.
#[test]
fn a_line_of_100_megabytes_is_held_once() {
    let noise = vec![b'x'; 100 << 20];
    for name in FormatName::ALL {
        let mut reader = reader_of(name);
        assert_eq!(within(0, || reader.cut(&noise, 4, false)), Cut::More, "{name}");
    }
}

#[test]
fn shapes_that_no_schema_has_are_read_as_far_as_they_go() {
    let record = r#"{"resourceType":"AuditEvent","id":17,"recorded":"2026-08-31T05:07:37Z","outcome":0,"action":["R"],
        "agent":{"who":"SE2321000016-3F7K","requestor":"true"},"entity":{"what":{"reference":{"reference":"Patient/1"}}},
        "source":[],"subtype":"read","extension":{"url":"","valueString":"x"},"purposeOfEvent":[null,{"coding":{}}]}"#;
    let rows = reader_of(FormatName::FhirAuditEvent).parse(record.as_bytes()).unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row.event_id, "17");
    assert_eq!(row.user_id.as_deref(), Some("SE2321000016-3F7K"));
    assert_eq!(row.subject_id.as_deref(), Some("1"));
    assert_eq!((row.activity.as_deref(), row.action.as_deref()), (Some("read"), Some("R")));
    assert_eq!(row.outcome.as_deref(), Some("success"));
}
