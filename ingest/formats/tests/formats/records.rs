use std::fmt::Write as _;

use expect_test::expect_file;
use insyn_event::AccessEvent;

use crate::corpus::{Piece, cases, cut_all};

/// `UPDATE_EXPECT=1 cargo test --workspace --test formats` writes the expectations anew.
#[test]
fn records_become_the_expected_rows() {
    for case in cases() {
        let mut text = String::new();
        match case.format.open(&case.log) {
            Err(fault) => writeln!(text, "cannot be opened: {fault}").unwrap(),
            Ok(mut reader) => {
                let pieces = cut_all(&mut reader, &case.log, 0, || usize::MAX / 2);
                for piece in pieces {
                    match piece {
                        Piece::Bad { offset, len, why } => {
                            writeln!(text, "== {offset}+{len} bad: {why}").unwrap()
                        }
                        Piece::Record { offset, len } => {
                            write!(text, "== {offset}+{len}").unwrap();
                            match reader.parse(&case.log[offset..offset + len]) {
                                Err(fault) => writeln!(text, " fault: {fault}").unwrap(),
                                Ok(rows) => {
                                    writeln!(text).unwrap();
                                    rows.iter().for_each(|row| show(row, &mut text));
                                }
                            }
                        }
                    }
                }
            }
        }
        expect_file![case.dir.join("expected.txt")].assert_eq(&text);
    }
}

/// The columns that hold something, one a line; the record itself only by its length.
pub fn show(row: &AccessEvent, text: &mut String) {
    let record = row.record.as_ref().map(String::len);
    let row = AccessEvent { record: None, ..row.clone() };
    let debug = format!("{row:#?}").replace("Some(\n        ", "").replace(",\n    ),", ",");
    for line in debug.lines().skip(1) {
        let line = line.trim().trim_end_matches(',');
        let empty = [": None", ": \"\"", ": 0", "}"].iter().any(|e| line.ends_with(e));
        if !empty {
            writeln!(text, "  {line}").unwrap();
        }
    }
    writeln!(text, "  record: {record:?} bytes\n").unwrap();
}

#[test]
fn copies_of_a_large_record_stand_on_its_first_row_only() {
    let format =
        crate::corpus::compile("format = \"json\"\n[fields]\noccurred_at = \"/t\"\nsubject_id = \"/p\"");
    let reader = format.open(b"{").unwrap();
    let record = |padding: usize| {
        let text = format!(r#"{{"t":"2026-08-31T05:07:37Z","p":["a","b"],"x":"{}"}}"#, "x".repeat(padding));
        reader.parse(text.as_bytes()).unwrap().iter().map(|r| r.record.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(record(10), [true, true]);
    assert_eq!(record(40_000), [true, false]);
}

#[test]
fn a_fault_never_shows_a_value() {
    for case in cases() {
        let Ok(mut reader) = case.format.open(&case.log) else { continue };
        for piece in cut_all(&mut reader, &case.log, 0, || 1000) {
            let text = match piece {
                Piece::Bad { why, .. } => why,
                Piece::Record { offset, len } => match reader.parse(&case.log[offset..offset + len]) {
                    Err(fault) => fault.to_string(),
                    Ok(_) => continue,
                },
            };
            for value in ["1946", "Ek", "igår", "31/8", "bomb", "Lindgren", "SE2321"] {
                assert!(!text.contains(value), "{}: {text}", case.name);
            }
        }
    }
}
