//! Wrong settings are mended from what the lake has kept, without the files.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use insyn_engine::lake::Window;
use proptest::prelude::*;

use super::world::{DELIMITED, HEADER, JSON, LATER, World, json, row};
use crate::{Again, AgainReport, Explanation, IngestError, explain};

/// Everything of the rows but where the lake keeps them.
const ALL: &str =
    "SELECT * EXCEPT (segment, seq) FROM access_events ORDER BY file_id, file_offset, subject_id";

fn asked(reason: &str) -> Again {
    Again {
        source: "s".into(),
        window: Window::default(),
        by: "os:anna".into(),
        reason: reason.into(),
        dry_run: false,
    }
}

impl World {
    async fn again(&self) -> Result<AgainReport, IngestError> {
        self.installation().again(&asked("the columns were mixed up")).await
    }

    async fn rows(&self, query: &str) -> RecordBatch {
        let answer = self.sql(query).await;
        arrow::compute::concat_batches(&answer.schema, &answer.batches).unwrap()
    }

    async fn texts(&self, query: &str) -> Vec<String> {
        let rows = self.rows(query).await;
        let column = arrow::compute::cast(rows.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        let column = column.as_any().downcast_ref::<arrow::array::StringArray>().unwrap().clone();
        column.iter().map(|text| text.unwrap_or("-").to_owned()).collect()
    }

    /// Which bytes lie open in quarantine, whatever pieces they are in; white space apart.
    async fn open_bytes(&self) -> BTreeMap<i64, u8> {
        let rows = self.rows("SELECT file_offset, bytes FROM quarantine WHERE state = 'open'").await;
        let (offsets, pieces) =
            (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_binary::<i32>());
        let pieces = offsets.values().iter().zip(pieces.iter().flatten());
        let bytes = pieces.flat_map(|(offset, piece)| (*offset..).zip(piece.iter().copied()));
        bytes.filter(|(_, byte)| !byte.is_ascii_whitespace()).collect()
    }

    fn forget_files(&self) {
        for file in std::fs::read_dir(self.folder.path().join("logs")).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

/// Files of every format, each with what its framing has to be careful with; the last records are broken.
fn files() -> Vec<(&'static str, String, Vec<u8>)> {
    let utf16 = |text: &str| {
        [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    let quoted = "Id;Tid;Person\n\"a\";2026-03-02 08:00:00;\"1912\n1212\"\n\nId;Tid;Person\nb;2026-03-02 08:01:00;\nc;no time;\nd;\"open\n";
    let log = "<log><logId>%</logId><system><systemId>S</systemId></system><activity><activityType>Läsa</activityType>\
<startDate>2026-03-02T08:00:00</startDate><purpose>Vård</purpose></activity><user><userId>U</userId>\
<careProvider><careProviderId>P</careProviderId></careProvider></user><resources/></log>";
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<logs>\n{}\n<log>nothing</log>{}</logs>",
        log.replace('%', "1"),
        log.replace('%', "2")
    );
    let latin = |text: &str| text.chars().map(|c| u32::from(c) as u8).collect::<Vec<u8>>();
    let pattern = "format = \"pattern\"\nstart_pattern = '^\\d{4}-'\npattern = '(?s)^(?P<occurred_at>\\S+) (?P<user_id>\\S+)(?P<activity_args>.*)$'\n";
    vec![
        ("delimited", DELIMITED.into(), quoted.into()),
        ("utf-16", DELIMITED.into(), utf16(quoted)),
        (
            "windows-1252",
            format!("encoding = \"windows-1252\"\n{DELIMITED}"),
            latin("Id;Tid;Person\nå;2026-03-02 08:00:00;ö\nö;;\n"),
        ),
        (
            "json",
            JSON.into(),
            format!("[{},\n {}, {{\"id\": 1}}]", json("a").trim(), json("b").trim()).into(),
        ),
        ("rivta", "format = \"rivta-log\"\n".into(), latin(&xml)),
        (
            "pattern",
            pattern.into(),
            "x\n2026-03-02T08:00:00Z anna\n more\n\n2026-03-02T08:01:00Z bo\nyes\nno".into(),
        ),
    ]
}

#[tokio::test]
async fn with_the_same_settings_every_row_is_the_same() {
    for (name, format, bytes) in files() {
        let mut world = World::new(&format, "read").await;
        std::fs::write(world.path("a.log"), &bytes).unwrap();
        world.ingest(LATER).await;
        world.rename("a.log", "a.log.1");
        world.ingest(LATER).await;
        world.forget_files();
        world.ingest(LATER).await;
        let pieces = "SELECT file_id FROM quarantine WHERE state = 'open'";
        let (rows, quarantine, left) =
            (world.rows(ALL).await, world.open_bytes().await, world.texts(pieces).await.len() as u64);
        assert!(rows.num_rows() > 0, "{name}");
        let report = world.again().await.unwrap();
        assert_eq!(world.rows(ALL).await, rows, "{name}");
        assert_eq!(world.open_bytes().await, quarantine, "{name}");
        let same = (report.replaced, report.events, report.mended, report.quarantined, report.left);
        assert_eq!(same, (rows.num_rows() as u64, rows.num_rows() as u64, 0, 0, left), "{name}");
    }
}

#[tokio::test]
async fn a_column_that_was_taken_for_another_is_put_right() {
    let wrong = DELIMITED.replace("\"Person\"", "\"Id\"");
    let mut world = World::new(&wrong, "read").await;
    world.append("a.csv", &format!("{HEADER}{}{}", row("a"), row("b")));
    world.ingest(LATER).await;
    world.forget_files();
    world.ingest(LATER).await;
    let place =
        "SELECT event_id, file_id, file_offset, file_length, ingested_at FROM access_events ORDER BY 3";
    let before = world.rows(place).await;
    assert_eq!(world.texts("SELECT subject_id FROM access_events").await, ["a", "b"]);
    world.configure(DELIMITED);
    let report = world.again().await.unwrap();
    assert_eq!((report.replaced, report.events, report.mended), (2, 2, 0));
    assert_eq!(world.texts("SELECT subject_id FROM access_events").await, ["191212121212"; 2]);
    assert_eq!(world.rows(place).await, before);
    let told = "SELECT concat_ws(' ', source, kind, amended_by, reason, removed, added) FROM amendments";
    assert_eq!(world.texts(told).await, ["s again os:anna the columns were mixed up 2 2"]);
    let progress = world.lake.progress("s").await.unwrap();
    assert_eq!((progress.events, progress.quarantined), (2, 0));
    // Reading goes on where it was.
    world.append("b.csv", &format!("{HEADER}{}", row("c")));
    world.ingest(LATER).await;
    assert_eq!(world.events().await.len(), 3);
}

#[tokio::test]
async fn what_was_in_quarantine_becomes_rows_and_is_mended() {
    let line = "Id;Tid;Person\nå;2026-03-02 08:00:00;ö\nb;2026-03-02 09:00:00;c\n";
    let bytes: Vec<u8> = line.chars().map(|c| u32::from(c) as u8).collect();
    let mut world = World::new(DELIMITED, "read").await;
    std::fs::write(world.path("a.csv"), &bytes).unwrap();
    world.ingest(LATER).await;
    world.forget_files();
    world.ingest(LATER).await;
    assert_eq!(
        world.texts("SELECT reason FROM quarantine").await,
        ["not valid UTF-8; this looks like windows-1252"]
    );
    world.configure(&format!("encoding = \"windows-1252\"\n{DELIMITED}"));
    let dry = Again { dry_run: true, ..asked("to see") };
    let told = world.installation().again(&dry).await.unwrap();
    assert_eq!(world.texts("SELECT event_id FROM access_events").await, ["b"], "nothing is changed");
    let report = world.again().await.unwrap();
    assert_eq!(report, told);
    assert_eq!((report.read, report.mended, report.left, report.events), (2, 1, 0, 2));
    assert_eq!(world.texts("SELECT event_id FROM access_events ORDER BY file_offset").await, ["å", "b"]);
    let state = "SELECT concat_ws(' ', state, state_by, state_reason) FROM quarantine";
    assert_eq!(world.texts(state).await, ["mended os:anna the columns were mixed up"]);
    let progress = world.lake.progress("s").await.unwrap();
    assert_eq!((progress.events, progress.quarantined, progress.quarantine_open), (2, 1, 0));
    // Once more: what is mended is not read again.
    assert_eq!(world.again().await.unwrap().read, 2);
    assert_eq!(world.events().await.values().sum::<usize>(), 2);
}

#[tokio::test]
async fn lines_that_belong_together_are_joined() {
    let lines = "format = \"pattern\"\npattern = '(?s)^(?P<occurred_at>\\S+) (?P<user_id>\\S+)(?P<activity_args>.*)$'\n";
    let mut world = World::new(lines, "read").await;
    world.append("a.log", "2026-03-02T08:00:00Z anna\n  read\n  all\n2026-03-02T08:01:00Z bo\n");
    world.ingest(LATER).await;
    assert_eq!((world.events().await.len(), world.quarantine().await.len()), (2, 2));
    world.configure(&lines.replace("pattern\"\n", "pattern\"\nstart_pattern = '^\\d{4}'\n"));
    let report = world.again().await.unwrap();
    assert_eq!((report.replaced, report.events, report.mended, report.left), (2, 2, 2, 0));
    assert_eq!(
        world.texts("SELECT activity_args FROM access_events ORDER BY file_offset").await,
        ["read\n  all", "-"]
    );
}

#[tokio::test]
async fn only_the_period_that_was_asked_for() {
    let at = |time: &str| format!("{{\"id\":\"{time}\",\"at\":\"2026-{time}T08:00:00Z\",\"who\":\"x\"}}\n");
    let mut world = World::new(JSON, "read").await;
    let broken = "{\"id\":\"no time\"}";
    world.append("a.json", &format!("{}{}{}{broken}\n", at("03-02"), at("05-02"), at("06-02")));
    world.ingest(LATER).await;
    world.configure(&format!("{JSON}user_id = \"/who\"\n"));
    let micros = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
    let window =
        Window { from: Some(micros("2026-05-01T00:00:00Z")), to: Some(micros("2026-06-01T00:00:00Z")) };
    let report = world.installation().again(&Again { window, ..asked("May") }).await.unwrap();
    assert_eq!((report.replaced, report.events, report.left), (1, 1, 1));
    assert_eq!(world.texts("SELECT user_id FROM access_events ORDER BY event_id").await, ["-", "x", "-"]);
}

#[tokio::test]
async fn what_cannot_be_read_again_changes_nothing_and_is_named() {
    let mut world = World::new(DELIMITED, "read").await;
    world.append("a.csv", &format!("{HEADER}{}", row("a")));
    world.ingest(LATER).await;
    let before = world.rows(ALL).await;
    world.configure(&DELIMITED.replace("\"Person\"", "\"Patient\""));
    let error = world.again().await.unwrap_err().to_string();
    assert!(error.contains("s-000001") && error.contains("no column `Patient`"), "{error}");
    let unknown = Again { source: "t".into(), ..asked("?") };
    assert!(matches!(world.installation().again(&unknown).await, Err(IngestError::Unknown { .. })));
    let own = Again { source: "insyn".into(), ..asked("?") };
    assert!(matches!(world.installation().again(&own).await, Err(IngestError::Unknown { .. })));
    assert_eq!(world.rows(ALL).await, before);
    assert_eq!(world.texts("SELECT reason FROM amendments").await, [""; 0]);
}

#[tokio::test]
async fn settings_that_read_nearly_nothing_change_nothing() {
    let lines = "format = \"pattern\"\npattern = '^(?P<occurred_at>\\S+) (?P<user_id>\\S+) .*$'\n";
    let mut world = World::new(lines, "read").await;
    let line = format!("2026-03-02T08:00:00Z anna {}\n", "x".repeat(1000));
    world.append("a.log", &line.repeat(2000));
    world.ingest(LATER).await;
    world.configure(&lines.replace("occurred_at", "user_role").replace("user_id", "occurred_at"));
    let dry = Again { dry_run: true, ..asked("to see") };
    assert_eq!(world.installation().again(&dry).await.unwrap().quarantined, 2000);
    let error = world.again().await.unwrap_err().to_string();
    assert!(
        error.contains("would go to quarantine; the first: file s-000001, offset 0: occurred_at"),
        "{error}"
    );
    assert_eq!(world.texts("SELECT user_id FROM access_events").await, vec!["anna"; 2000]);
    assert_eq!(world.lake.progress("s").await.unwrap().quarantined, 0);
}

#[tokio::test]
async fn what_is_open_is_explained_by_people_and_mended_when_it_comes_back() {
    let mut world = World::new(JSON, "read").await;
    world.append("a.json", &format!("{}{{\"torn\n", json("a")));
    world.ingest(LATER).await;
    // Bytes that were seen and never read: the file goes while its last line is not whole.
    world.append("a.json", &json("b")[..20]);
    world.ingest(LATER).await;
    let whole = std::fs::read(world.path("a.json")).unwrap();
    world.remove("a.json");
    world.ingest(LATER).await;
    let status = |world: &World| {
        let lake = world.lake.clone();
        async move {
            let progress = lake.progress("s").await.unwrap();
            (progress.quarantine_open, progress.gaps_open)
        }
    };
    assert_eq!(status(&world).await, (1, 1));
    let zone = chrono_tz::Tz::UTC;
    let said = Explanation {
        source: "s".into(),
        quarantine: true,
        by: "os:bo".into(),
        reason: "a test of the vendor's".into(),
        ..Explanation::default()
    };
    let elsewhere = Explanation { offset: Some(7), file: Some("s-000001".into()), ..said.clone() };
    assert!(matches!(explain(&world.lake, zone, &elsewhere).await, Err(IngestError::NothingOpen { .. })));
    assert_eq!(explain(&world.lake, zone, &said).await.unwrap().explained, 1);
    assert_eq!(status(&world).await, (0, 1));
    assert_eq!(world.texts("SELECT state FROM quarantine").await, ["explained"]);
    // The file comes back, whole.
    std::fs::write(world.path("a.json"), [whole, json("b").as_bytes()[20..].to_vec()].concat()).unwrap();
    world.ingest(LATER).await;
    assert_eq!(world.events().await.len(), 2);
    assert_eq!(status(&world).await, (0, 0));
    assert_eq!(world.texts("SELECT concat_ws(' ', state, state_by) FROM gaps").await, ["mended insyn"]);
    assert_eq!(world.texts("SELECT kind FROM amendments ORDER BY amended_at").await, ["explain", "returned"]);
}

/// More when asked for.
fn cases() -> u32 {
    std::env::var("INSYN_SEQUENCES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

/// Settings that differ in what they read, how they cut, and into what.
const SETTINGS: [&str; 5] = [
    "format = \"pattern\"\npattern = '^(?P<occurred_at>\\S+) (?P<user_id>\\S+)'\n",
    "format = \"pattern\"\npattern = '^(?P<occurred_at>\\S+) (?P<subject_id>\\S+)'\n",
    "format = \"pattern\"\nstart_pattern = '^2026'\npattern = '(?s)^(?P<occurred_at>\\S+) (?P<user_id>\\S+)'\n",
    "format = \"pattern\"\nencoding = \"windows-1252\"\npattern = '^(?P<occurred_at>\\S+) (?P<user_id>\\S+)'\n",
    "format = \"json\"\n[fields]\noccurred_at = \"/at\"\nuser_id = \"/who\"\n",
];

fn line() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![
        Just(b"2026-03-02T08:00:00Z anna".as_slice()),
        Just(b"2026-03-02T08:00:00Z \xc3\xa5sa".as_slice()),
        Just(b"2026-03-02T08:00:00Z \xe5sa".as_slice()),
        Just(b"2026-03-02T08:00:00Z".as_slice()),
        Just(b" goes on".as_slice()),
        Just(b"{\"at\":\"2026-03-02T08:00:00Z\",\"who\":\"bo\"}".as_slice()),
        Just(b"\r".as_slice()),
        Just(b"".as_slice()),
        Just(b"{ \x00".as_slice()),
        Just(b" \t".as_slice()),
        Just(b"2026-03-02T08:00:00Z eva\r".as_slice()),
        Just(b" said so\r".as_slice()),
    ]
}

/// However settings changed in between, the last ones decide: the same as if the file had been read with them at first.
async fn last_settings_decide(lines: &[&[u8]], settings: &[usize]) {
    let text = [lines.join(&b'\n'), b"\n".to_vec()].concat();
    let last = SETTINGS[*settings.last().unwrap()];
    let query = "SELECT event_id, user_id, subject_id, file_offset, file_length, record FROM access_events ORDER BY file_offset";
    let mut expected = World::new(last, "read").await;
    std::fs::write(expected.path("a.log"), &text).unwrap();
    expected.ingest(LATER).await;
    expected.rename("a.log", "b.log");
    expected.ingest(LATER).await;

    let mut world = World::new(SETTINGS[settings[0]], "read").await;
    std::fs::write(world.path("a.log"), &text).unwrap();
    if !world.ingest(LATER).await.faults.is_empty() {
        return;
    }
    world.rename("a.log", "b.log");
    world.ingest(LATER).await;
    for n in settings {
        world.configure(SETTINGS[*n]);
        world.again().await.unwrap();
    }
    let [found, wanted] = [world.rows(query).await, expected.rows(query).await];
    assert_eq!(found, wanted, "{settings:?} {}", String::from_utf8_lossy(&text).escape_debug());
    assert_eq!(world.open_bytes().await, expected.open_bytes().await, "{settings:?}");
}

#[tokio::test]
async fn a_record_that_many_become_has_the_bytes_that_lay_between_them() {
    let anna: &[u8] = b"2026-03-02T08:00:00Z anna";
    let eva: &[u8] = b"2026-03-02T08:00:00Z eva\r";
    let cases: [(&[&[u8]], &[usize]); 7] = [
        (&[anna, b" goes on", b"\r", b"{ \x00"], &[0, 2]),
        (&[eva, b" said so\r", b"\r", b" and went\r", eva], &[0, 2]),
        (&[eva, b" said so\r", b" \t", b" and went\r", eva], &[0, 2, 0, 2]),
        (&[anna, b"\r", b" goes on"], &[2, 0, 2]),
        (&[anna, b" \t"], &[0, 2]),
        (&[anna, b"{ \x00", b" said so\r"], &[2, 0, 2]),
        (&[b" goes on", b"\r", b"{ \x00", anna], &[2, 4, 2]),
    ];
    for (lines, settings) in cases {
        last_settings_decide(lines, settings).await;
    }
}

#[tokio::test]
async fn bytes_that_nobody_kept_are_not_made_up() {
    let mut world = World::new(SETTINGS[0], "read").await;
    let line = "2026-03-02T08:00:00Z anna\n";
    world.append("a.log", &format!("{line}{}{line} goes on\n", " \r\n".repeat(100)));
    world.ingest(LATER).await;
    let before = world.rows(ALL).await;
    world.configure(&SETTINGS[2].replace("^2026", "^Z"));
    let error = world.again().await.unwrap_err().to_string();
    assert!(error.contains("file s-000001, offset 0: what lay between two records was not kept"), "{error}");
    assert_eq!(world.rows(ALL).await, before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_last_settings_decide(
        lines in prop::collection::vec(line(), 1..12),
        settings in prop::collection::vec(0..SETTINGS.len(), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(last_settings_decide(&lines, &settings));
    }
}
