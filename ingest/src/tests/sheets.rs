//! Workbooks: as the rows that a person sees in them.

use std::io::{Cursor, Read, Write as _};

use zip::write::SimpleFileOptions;

use super::world::{LATER, World};
use crate::sheet::{RowStyle, SheetText};

/// Saved by a spreadsheet program's library, not by Insyn.
const SAVED: &[u8] = include_bytes!("data/export.xlsx");

fn text(workbook: &[u8]) -> std::io::Result<String> {
    let mut text = String::new();
    SheetText::of(Cursor::new(workbook.to_vec()), RowStyle::default())?.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn rows_are_as_a_person_sees_them() {
    let expected = "\u{feff}Tid;Vem;Personnummer;Anteckning;Akut\n\
        2026-03-02 08:00:00;anna;191212121212;\"öppnade; \"\"läste\"\"\";true\n\
        2026-03-02 08:15:59;bo;19121212-1212;\"rad 1\nrad 2\";\n\
        2026-03-02 09:30:00;cecilia;;;false\n\
        2026-03-29 01:59:59;dan;1.5;x;\n";
    assert_eq!(text(SAVED).unwrap(), expected);
}

#[tokio::test]
async fn a_workbook_is_an_export_like_any_other() {
    let format = "delivery = \"export\"\nencoding = \"windows-1252\"\nformat = \"delimited\"\ndelimiter = \";\"\n[fields]\n\
                  occurred_at = \"Tid\"\nuser_id = \"Vem\"\nsubject_id = \"Personnummer\"\n";
    let mut world = World::new(format, "read").await;
    std::fs::write(world.path("mars.xlsx"), SAVED).unwrap();
    let report = world.ingest(LATER).await;
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_eq!((report.events, report.quarantined), (4, 0));
    let times = "SELECT CAST(occurred_at AS VARCHAR) FROM access_events ORDER BY 1";
    let times: Vec<String> = world.counted(times).await.into_keys().collect();
    assert_eq!(times[1], "2026-03-02T07:15:59Z");
    let persons = world.counted("SELECT subject_id FROM access_events WHERE subject_id IS NOT NULL").await;
    assert_eq!(persons.get("191212121212"), Some(&2), "as a number and as text");
    // The same rows as text, by another hand: nothing is new but the last.
    world.append("mars.csv", "Vem;Tid;Personnummer\nanna;2026-03-02 08:00:00;191212121212\n");
    world.append("mars.csv", "bo;2026-03-02 08:15:59;19121212-1212\nerik;2026-03-02 10:00:00;\n");
    assert_eq!(world.ingest(LATER).await.events, 1);
    world.restart();
    world.rename("mars.xlsx", "gammal.xlsx");
    assert_eq!(world.ingest(LATER).await.events, 0);
}

/// A workbook whose sheet is this XML.
fn made(sheet: &[u8], strings: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let parts: [(&str, &[u8]); 6] = [
        ("_rels/.rels", b"<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' Target='xl/workbook.xml'/></Relationships>"),
        ("[Content_Types].xml", b"<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'/>"),
        ("xl/_rels/workbook.xml.rels", b"<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' Target='worksheets/sheet1.xml'/></Relationships>"),
        ("xl/workbook.xml", b"<workbook xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main' xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'><sheets><sheet name='A' sheetId='1' r:id='r1'/></sheets></workbook>"),
        ("xl/sharedStrings.xml", strings),
        ("xl/worksheets/sheet1.xml", sheet),
    ];
    for (name, bytes) in parts {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const STRINGS: &[u8] = b"<sst xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'/>";

fn sheet(rows: &str) -> Vec<u8> {
    let head = "<worksheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'><sheetData>";
    format!("{head}{rows}</sheetData></worksheet>").into_bytes()
}

#[test]
fn a_hostile_workbook_is_refused_and_fills_no_memory() {
    let good = made(&sheet("<row><c t='inlineStr'><is><t>a</t></is></c><c><v>1</v></c></row>"), STRINGS);
    assert_eq!(text(&good).unwrap(), "\u{feff}a;1\n");
    let spaces = vec![b' '; 70 << 20];
    let bomb = [b"<worksheet>".to_vec(), vec![b'x'; 2 << 20]].concat();
    let entity = [b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>".to_vec(), sheet("")].concat();
    let far = sheet("<row r='1'><c r='XFE1'><v>1</v></c><c r='A1'><v>2</v></c></row>");
    for (what, workbook) in [
        ("cut", good[..good.len() / 2].to_vec()),
        ("no ZIP", b"PK\x03\x04 and then nothing".to_vec()),
        ("no sheet", made(b"", STRINGS)),
        ("shared strings that fill the memory", made(&sheet(""), &spaces)),
        ("a cell that fills the memory", made(&bomb, STRINGS)),
    ] {
        let error = text(&workbook).unwrap_err().to_string();
        assert!(error.starts_with("not a workbook that can be read"), "{what}: {error}");
    }
    // What is odd and harmless is read as far as it says anything.
    assert_eq!(text(&made(&entity, STRINGS)).unwrap(), "\u{feff}");
    assert_eq!(text(&made(&far, STRINGS)).unwrap(), "\u{feff}2\n", "Excel has no such column");
}

#[tokio::test]
async fn a_workbook_that_cannot_be_read_is_a_fault_of_the_source() {
    let mut world = World::new(super::world::DELIMITED, "read").await;
    std::fs::write(world.path("a.xlsx"), &SAVED[..3000]).unwrap();
    let report = world.ingest(LATER).await;
    assert_eq!(report.events, 0);
    assert!(
        report.faults.iter().any(|fault| fault.contains("a.xlsx") && fault.contains("not a workbook")),
        "{report:?}"
    );
}
