//! The demo's files as a stranger would read them: by the public promises only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, TimeZone};
use chrono_tz::Europe::Stockholm;
use chrono_tz::Tz;
use insyn_demo::{KINDS, LiveWriter, Scale, World, Written};
use serde_json::Value;
use tempfile::TempDir;

/// A noon in November, so that the period holds the doubled hour of October.
fn noon() -> DateTime<Tz> {
    Stockholm.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap()
}

fn small(seed: u64) -> World {
    World::generate(seed, 30, noon(), Scale::small())
}

/// One small world, written once for all tests that only read it.
struct Town {
    dir: TempDir,
    written: Written,
}

static TOWN: LazyLock<Town> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let written = small(7).write(dir.path(), "127.0.0.1:8089").unwrap();
    Town { dir, written }
});

impl Town {
    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn broken(&self, source: &str) -> usize {
        self.written.sources.iter().find(|one| one.name == source).unwrap().broken
    }

    fn records(&self, source: &str) -> usize {
        self.written.sources.iter().find(|one| one.name == source).unwrap().records
    }
}

/// Every file below a folder, unpacked, by its path.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let raw = fs::read(&path).unwrap();
            let mut bytes = raw.clone();
            if path.extension().is_some_and(|extension| extension == "gz") {
                bytes.clear();
                flate2::read::GzDecoder::new(raw.as_slice()).read_to_end(&mut bytes).unwrap();
            }
            found.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
        }
    }
    found
}

fn texts(below: &str) -> Vec<String> {
    files(&TOWN.path(below)).into_values().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
}

/// A CSV file of the context: header and rows, quotes understood.
fn csv(name: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let text = fs::read_to_string(TOWN.path(&format!("context/{name}.csv"))).unwrap();
    let mut rows = text.lines().map(|line| {
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        for letter in line.chars() {
            match letter {
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(std::mem::take(&mut field)),
                other => field.push(other),
            }
        }
        fields.push(field);
        fields
    });
    (rows.next().unwrap(), rows.collect())
}

fn column(name: &str, wanted: &str) -> Vec<String> {
    let (header, rows) = csv(name);
    let place = header.iter().position(|column| column == wanted).unwrap();
    rows.into_iter().map(|mut row| row.swap_remove(place)).collect()
}

#[test]
fn the_same_seed_writes_the_same_bytes_and_another_does_not() {
    let again = tempfile::tempdir().unwrap();
    small(7).write(again.path(), "127.0.0.1:8089").unwrap();
    assert_eq!(files(again.path()), files(TOWN.dir.path()));
    let other = tempfile::tempdir().unwrap();
    small(8).write(other.path(), "127.0.0.1:8089").unwrap();
    let subjects = |dir: &Path| fs::read(dir.join("context/subjects.csv")).unwrap();
    assert_ne!(subjects(other.path()), subjects(TOWN.dir.path()));
}

#[test]
fn context_tables_have_the_fixed_columns_and_whole_rows() {
    let fixed = [
        (
            "units",
            "care_unit_id,name,care_provider_id,care_provider_name,parent_unit_id,manager_user_id,deputy_user_id,controller_id",
        ),
        (
            "staff",
            "user_id,person_id,name,title,address,postcode,employed_from,employed_to,employer,protected_identity",
        ),
        ("accounts", "source,account_id,user_id,valid_from,valid_to"),
        ("identities", "subject_id,other_id,other_id_type,valid_from"),
        ("assignments", "user_id,care_unit_id,role,valid_from,valid_to,purpose"),
        (
            "subjects",
            "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on,protection_kind",
        ),
        ("watchlist", "subject_id,reason,decided_by,valid_from,valid_to"),
        ("care_relations", "subject_id,care_unit_id,user_id,kind,valid_from,valid_to,created_by,created_at"),
        ("schedule", "user_id,care_unit_id,starts_at,ends_at,kind"),
        ("kinship", "subject_id,related_id,kind,valid_from,valid_to"),
        (
            "consents",
            "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to,against_id,given_by,created_by,created_at,lifted_by,lifted_at",
        ),
        (
            "blocks",
            "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to,against_id,given_by,created_by,created_at,lifted_by,lifted_at",
        ),
        ("rights", "user_id,source,right,care_unit_id,valid_from,valid_to"),
        ("places", "address_range,care_unit_id"),
    ];
    for (name, columns) in fixed {
        let (header, rows) = csv(name);
        assert_eq!(header.join(","), columns, "{name}");
        assert!(!rows.is_empty(), "{name}");
        assert_eq!(TOWN.written.context[name], rows.len(), "{name}");
        for row in rows {
            assert_eq!(row.len(), header.len(), "{name}: {row:?}");
        }
    }
}

#[test]
fn context_rows_name_staff_units_and_subjects_that_exist() {
    let staff: HashSet<String> = column("staff", "user_id").into_iter().collect();
    let units: HashSet<String> = column("units", "care_unit_id").into_iter().collect();
    let subjects: HashSet<String> = column("subjects", "subject_id").into_iter().collect();
    assert_eq!(staff.len(), column("staff", "user_id").len(), "HSA-ids are unique");
    assert_eq!(subjects.len(), column("subjects", "subject_id").len(), "numbers are unique");
    for (table, name, known) in [
        ("accounts", "user_id", &staff),
        ("assignments", "user_id", &staff),
        ("schedule", "user_id", &staff),
        ("assignments", "care_unit_id", &units),
        ("care_relations", "care_unit_id", &units),
        ("care_relations", "subject_id", &subjects),
        ("kinship", "related_id", &subjects),
        ("consents", "subject_id", &subjects),
        ("blocks", "subject_id", &subjects),
        ("identities", "subject_id", &subjects),
    ] {
        for value in column(table, name) {
            assert!(known.contains(&value), "{table}.{name}: {value}");
        }
    }
    let kinds: BTreeSet<String> = column("care_relations", "kind").into_iter().collect();
    let wanted = [
        "admission",
        "booking",
        "case",
        "decision",
        "enrolment",
        "home_care",
        "investigation",
        "referral",
        "registration",
        "visit",
    ];
    assert_eq!(kinds, wanted.map(str::to_owned).into());
}

#[test]
fn an_account_belongs_to_one_person_at_a_time_and_some_are_used_again() {
    let (_, rows) = csv("accounts");
    let mut holders: BTreeMap<(String, String), Vec<(String, String)>> = BTreeMap::new();
    for row in rows {
        let [source, account, _, from, to] = <[String; 5]>::try_from(row).unwrap();
        holders.entry((source, account)).or_default().push((from, to));
    }
    let mut reused = 0;
    for ((source, account), mut periods) in holders {
        periods.sort();
        reused += usize::from(periods.len() > 1);
        for pair in periods.windows(2) {
            assert!(!pair[0].1.is_empty() && pair[0].1 < pair[1].0, "{source} {account}: {pair:?}");
        }
    }
    assert!(reused > 0);
}

/// The rule of the check digit, written again so that the generator's own is not its judge.
fn luhn(number: &str) -> bool {
    let sum: u32 = number[2..]
        .bytes()
        .zip([2, 1].into_iter().cycle())
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    sum.is_multiple_of(10)
}

#[test]
fn numbers_are_valid_and_of_the_test_series() {
    let people = column("subjects", "subject_id").into_iter().chain(column("staff", "person_id"));
    let (mut lettered, mut coordinated) = (0, 0);
    for number in people {
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            lettered += 1;
            continue;
        }
        assert_eq!(number.len(), 12);
        assert!(luhn(&number), "{number}");
        assert!(["238", "239"].contains(&&number[8..11]), "{number}");
        let day: u32 = number[6..8].parse().unwrap();
        coordinated += usize::from(day > 60);
        let date = format!("{}{:02}", &number[..6], if day > 60 { day - 60 } else { day });
        assert!(chrono::NaiveDate::parse_from_str(&date, "%Y%m%d").is_ok(), "{number}");
    }
    assert!(lettered > 2 && coordinated > 5);
}

#[test]
fn journal_lines_are_json_in_two_versions_but_for_the_broken() {
    let (mut read, mut broken, mut newer) = (0, 0, 0);
    let mut ids = HashSet::new();
    for text in texts("logs/journal-fhir") {
        for line in text.lines() {
            let event = serde_json::from_str::<Value>(line).ok();
            let time = event.as_ref().and_then(|event| event["recorded"].as_str().map(str::to_owned));
            let (Some(event), Some(time)) = (event, time) else {
                broken += 1;
                continue;
            };
            if DateTime::parse_from_rfc3339(&time).is_err() {
                broken += 1;
                continue;
            }
            assert!(DateTime::parse_from_rfc3339(&time).unwrap() < noon() + TimeDelta::seconds(1));
            read += 1;
            newer += usize::from(event.get("patient").is_some());
            assert!(ids.insert(event["id"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(read, TOWN.records("journal"));
    assert_eq!(broken, TOWN.broken("journal"));
    assert!(newer * 30 > read && newer * 3 < read, "{newer} of {read} are R5");
}

#[test]
fn the_national_log_is_well_formed_xml() {
    let (mut logs, mut bad_times) = (0, 0);
    for text in texts("logs/nationell-rivta") {
        let mut reader = quick_xml::Reader::from_str(&text);
        reader.config_mut().check_end_names = true;
        let mut open = 0;
        loop {
            match reader.read_event().expect("well-formed") {
                quick_xml::events::Event::Start(start) => {
                    open += 1;
                    logs += usize::from(start.local_name().as_ref() == b"log");
                }
                quick_xml::events::Event::End(_) => open -= 1,
                quick_xml::events::Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(open, 0);
        bad_times += text.matches("startDate>den ").count();
    }
    assert_eq!(logs, TOWN.records("npo") + TOWN.broken("npo"));
    assert_eq!(bad_times, TOWN.broken("npo"));
}

#[test]
fn the_image_archive_writes_syslog_with_xml_inside() {
    let (mut read, mut broken, mut over_lines) = (0, 0, 0);
    for text in texts("logs/bild-atna") {
        for record in text.split("<85>1 ").skip(1) {
            let (_, xml) = record.split_once(" IHE+RFC-3881 - ").unwrap();
            let mut reader = quick_xml::Reader::from_str(xml.trim_start_matches('\u{feff}').trim_end());
            let mut whole = false;
            while let Ok(event) = reader.read_event() {
                if let quick_xml::events::Event::End(end) = &event {
                    whole |= end.name().as_ref() == b"AuditMessage";
                }
                if event == quick_xml::events::Event::Eof {
                    break;
                }
            }
            read += usize::from(whole);
            broken += usize::from(!whole);
            over_lines += usize::from(whole && record.trim_end().contains('\n'));
        }
    }
    assert_eq!(read, TOWN.records("bild"));
    assert_eq!(broken, TOWN.broken("bild"));
    assert!(over_lines > 0);
}

#[test]
fn the_social_export_is_windows_1252_and_loses_nothing() {
    let (mut read, mut broken) = (0, 0);
    for bytes in files(&TOWN.path("logs/omsorg-csv")).into_values() {
        let text = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&bytes).0.into_owned();
        assert_eq!(encoding_rs::WINDOWS_1252.encode(&text).0.as_ref(), bytes);
        assert!(std::str::from_utf8(&bytes).is_err(), "Swedish letters are single bytes");
        let mut lines = text.lines();
        let header = "LoggId;Tidpunkt;Användare;Namn;Yrkesroll;Enhet;Enhetsnamn;Åtgärd;Syfte;Personnummer;Klient;Del;Nödöppning;IP";
        assert_eq!(lines.next(), Some(header));
        for line in lines {
            let fields: Vec<&str> = line.split(';').collect();
            let whole =
                fields.len() == 14 && DateTime::parse_from_str(fields[1], "%Y-%m-%d %H:%M:%S%z").is_ok();
            read += usize::from(whole);
            broken += usize::from(!whole);
        }
    }
    assert_eq!(read, TOWN.records("omsorg"));
    assert_eq!(broken, TOWN.broken("omsorg"));
}

/// The pattern as the configuration has it.
fn portal_pattern() -> regex::Regex {
    let config = fs::read_to_string(TOWN.path("insyn.toml")).unwrap();
    let pattern = config.split("pattern = '''").nth(1).unwrap().split("'''").next().unwrap();
    regex::Regex::new(pattern).unwrap()
}

#[test]
fn portal_lines_match_the_pattern_of_the_configuration() {
    let pattern = portal_pattern();
    let (mut read, mut broken) = (0, 0);
    for text in texts("logs/portal-web") {
        for line in text.lines() {
            let Some(found) = pattern.captures(line) else {
                broken += 1;
                continue;
            };
            read += 1;
            DateTime::parse_from_str(&found["occurred_at"], "%d/%b/%Y:%H:%M:%S %z").unwrap();
            assert!(["GET", "POST", "PUT"].contains(&&found["activity"]));
            assert!(["200", "403"].contains(&&found["outcome"]));
        }
    }
    assert_eq!(read, TOWN.records("portal"));
    assert_eq!(broken, TOWN.broken("portal"));
}

fn truth(name: &str) -> Vec<Value> {
    serde_json::from_slice(&fs::read(TOWN.path(&format!("truth/{name}.json"))).unwrap()).unwrap()
}

#[test]
fn the_truth_covers_every_kind_and_its_events_are_in_the_logs() {
    let mut logs = BTreeMap::new();
    for (source, folder) in [("journal", "journal-fhir"), ("omsorg", "omsorg-csv"), ("portal", "portal-web")]
    {
        let all: Vec<u8> = files(&TOWN.path(&format!("logs/{folder}"))).into_values().flatten().collect();
        logs.insert(source.to_owned(), String::from_utf8_lossy(&all).into_owned());
    }
    let staff: HashSet<String> = column("staff", "user_id").into_iter().collect();
    let subjects: HashSet<String> = column("subjects", "subject_id").into_iter().collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut images: BTreeMap<String, usize> = BTreeMap::new();
    for case in truth("planted") {
        *seen.entry(case["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        assert!(staff.contains(case["user_id"].as_str().unwrap()));
        assert!(subjects.contains(case["subject_id"].as_str().unwrap()));
        let (events, times) =
            (case["event_ids"].as_array().unwrap(), case["occurred_at"].as_array().unwrap());
        if case["source"] == "bild" {
            // The format has no ids of its own.
            assert!(events.is_empty() && !times.is_empty(), "{case}");
            *images.entry(case["kind"].as_str().unwrap().to_owned()).or_default() += 1;
            continue;
        }
        assert!(!events.is_empty() && events.len() == times.len(), "{case}");
        for event in events {
            assert!(logs[case["source"].as_str().unwrap()].contains(event.as_str().unwrap()), "{event}");
        }
    }
    for kind in KINDS {
        assert!(seen.get(*kind).is_some_and(|count| *count > 1), "{kind}: {seen:?}");
    }
    let each_once = BTreeMap::from([("no_relation".to_owned(), 1), ("own_record".to_owned(), 1)]);
    assert_eq!(images, each_once, "planted in the image archive");
    let written: Vec<Value> =
        serde_json::from_slice(&fs::read(TOWN.path("truth/written.json")).unwrap()).unwrap();
    assert_eq!(
        written,
        TOWN.written.sources.iter().map(|s| serde_json::to_value(s).unwrap()).collect::<Vec<_>>()
    );
    assert!(truth("noise").iter().all(|case| case["kind"] == "mistaken_opening"));
}

#[test]
fn the_demo_is_as_large_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let written = World::generate(1, 30, noon(), Scale::default()).write(dir.path(), "127.0.0.1:0").unwrap();
    assert!((92_000..112_000).contains(&written.events), "{:?}", written.sources);
    assert_eq!(written.broken, 20);
    assert!((480..580).contains(&written.context["staff"]), "{}", written.context["staff"]);
    assert!((8_000..8_010).contains(&written.context["subjects"]));
    assert!(written.sources.iter().all(|source| source.events > 2_500), "{:?}", written.sources);
    assert!(written.planted.values().all(|count| *count > 1), "{:?}", written.planted);
}

#[test]
fn accounts_and_hints_point_at_what_is_there() {
    let roles: Vec<&str> =
        TOWN.written.accounts.iter().flat_map(|one| &one.roles).map(String::as_str).collect();
    assert_eq!(roles, ["dso", "coordinator", "reviewer", "investigator", "operator"]);
    let staff: HashSet<String> = column("staff", "user_id").into_iter().collect();
    let units: HashSet<String> = column("units", "care_unit_id").into_iter().collect();
    for account in &TOWN.written.accounts {
        assert!(account.staff_user_id.as_ref().is_some_and(|id| staff.contains(id)));
        assert!(account.units.iter().all(|id| units.contains(id)));
    }
    let reviewer = &TOWN.written.accounts[2];
    assert_eq!(TOWN.written.worth_a_look.len(), 3);
    let planted = truth("planted");
    for hint in &TOWN.written.worth_a_look {
        let of_case = |case: &&Value| case["kind"] == hint.kind && case["user_id"] == hint.user_id.as_str();
        assert!(planted.iter().any(|case| of_case(&case)), "{hint:?}");
        assert!(hint.sv.contains(&hint.user_name) && hint.en.contains(&hint.user_name));
        assert_ne!(Some(&hint.user_id), reviewer.staff_user_id.as_ref(), "nobody judges their own");
    }
    let at_home = |hint: &&insyn_demo::Hint| reviewer.units.contains(&hint.care_unit_id);
    assert!(TOWN.written.worth_a_look.iter().filter(at_home).count() >= 2);
}

#[test]
fn a_short_world_and_an_odd_hour_do_no_harm() {
    for (days, hour) in [(1, 3), (2, 0), (5, 23)] {
        let dir = tempfile::tempdir().unwrap();
        let end = Stockholm.with_ymd_and_hms(2026, 3, 29, hour, 30, 0).unwrap();
        let written = World::generate(3, days, end, Scale::small()).write(dir.path(), "127.0.0.1:0").unwrap();
        assert!(written.config.exists());
    }
}

#[test]
fn the_live_writer_appends_readable_lines_to_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(7);
    world.write(dir.path(), "127.0.0.1:0").unwrap();
    let before = files(&dir.path().join("logs"));
    let mut live = LiveWriter::new(world, dir.path());
    let appended: usize = (1..240).map(|turn| live.step(noon() + TimeDelta::seconds(turn)).unwrap()).sum();
    assert!((300..900).contains(&appended), "{appended}");
    let after = files(&dir.path().join("logs"));
    let mut grown = BTreeSet::new();
    let pattern = portal_pattern();
    for (path, bytes) in &after {
        let old = before.get(path).map_or(&[][..], Vec::as_slice);
        assert!(bytes.starts_with(old), "{}: what was written stays", path.display());
        if bytes.len() == old.len() {
            continue;
        }
        let source = path.parent().unwrap().to_str().unwrap().to_owned();
        let fresh = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&bytes[old.len()..]).0.into_owned();
        match source.as_str() {
            "journal-fhir" => assert!(fresh.lines().all(|line| serde_json::from_str::<Value>(line).is_ok())),
            "omsorg-csv" => assert!(fresh.lines().all(|line| line.split(';').count() == 14)),
            "portal-web" => assert!(fresh.lines().all(|line| pattern.is_match(line)), "{fresh}"),
            "nationell-rivta" => assert!(fresh.starts_with("<?xml") && fresh.ends_with("</sl:StoreLog>\n")),
            _ => assert!(fresh.lines().any(|line| line.starts_with("<85>1 2026-11-20T12:0"))),
        }
        grown.insert(source);
    }
    assert_eq!(grown.len(), 5, "{grown:?}");
    assert!(dir.path().join("truth/live.ndjson").exists());
}

#[test]
fn the_live_writer_begins_new_files_on_a_new_day() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::generate(7, 5, noon(), Scale::small());
    world.write(dir.path(), "127.0.0.1:0").unwrap();
    let mut live = LiveWriter::new(world, dir.path());
    // The next day is a Saturday; home care and the wards work on.
    for turn in 1..180 {
        live.step(noon() + TimeDelta::days(1) + TimeDelta::seconds(turn)).unwrap();
    }
    let journal = dir.path().join("logs/journal-fhir/audit-2026-11-21.ndjson");
    assert!(fs::read_to_string(journal).unwrap().lines().count() > 10);
    let social = fs::read(dir.path().join("logs/omsorg-csv/omsorg-2026-11-21.csv")).unwrap();
    assert!(social.starts_with(b"LoggId;"));
    assert_eq!(social.windows(7).filter(|window| window == b"LoggId;").count(), 1);
}

#[test]
fn a_second_live_writer_gives_no_id_twice_and_writes_weeks_later_too() {
    let dir = tempfile::tempdir().unwrap();
    small(7).write(dir.path(), "127.0.0.1:0").unwrap();
    for weeks in [0, 0, 3] {
        let mut live = LiveWriter::new(small(7), dir.path());
        let begin = noon() + TimeDelta::weeks(weeks);
        let appended: usize = (1..60).map(|turn| live.step(begin + TimeDelta::seconds(turn)).unwrap()).sum();
        assert!(appended > 40, "{appended} after {weeks} weeks");
    }
    let mut seen = HashSet::new();
    for bytes in files(&dir.path().join("logs/omsorg-csv")).into_values() {
        let text = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&bytes).0.into_owned();
        for line in text.lines().filter(|line| line.split(';').count() == 14 && line.starts_with('7')) {
            let id = line.split(';').next().unwrap().to_owned();
            let spoilt = line.contains("31/11 kl 8");
            assert!(spoilt || seen.insert(id), "{line}");
        }
    }
}
