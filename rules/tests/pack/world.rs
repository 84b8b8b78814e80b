//! Small worlds in memory, and a random one by seed.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use chrono::DateTime;
use chrono_tz::Tz;
use datafusion::prelude::SessionContext;
use insyn_engine::context;
use insyn_engine::event::{AccessEvent, EventBatch};

pub const ZONE: Tz = Tz::Europe__Stockholm;
pub const HOUR: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR;

/// The text of a rule of the pack, to be broken.
pub fn own_record() -> String {
    pack_file("own-record")
}

/// The text of any rule of the pack.
pub fn pack_file(rule: &str) -> String {
    file(&format!("pack/{rule}.toml"))
}

pub fn explanation_file(explanation: &str) -> String {
    file(&format!("explanations/{explanation}.toml"))
}

fn file(path: &str) -> String {
    let room = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    std::fs::read_to_string(room.join(path)).unwrap()
}

pub fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

/// One access of U at A about P.
pub fn access(id: usize, at: i64, user: &str, unit: Option<&str>, subject: &str) -> AccessEvent {
    AccessEvent {
        event_id: format!("e{id}"),
        source: "journal".into(),
        organisation_id: "O".into(),
        controller_id: "O".into(),
        occurred_at: at,
        year: DateTime::from_timestamp_micros(at).unwrap().format("%Y").to_string(),
        action: Some("R".into()),
        outcome: Some("success".into()),
        user_kind: Some("staff".into()),
        user_id: Some(user.into()),
        care_unit_id: unit.map(str::to_owned),
        subject_id: Some(subject.into()),
        segment: 1,
        seq: i32::try_from(id).unwrap(),
        ..AccessEvent::default()
    }
}

/// A value of a context row: text, or µs UTC.
#[derive(Clone)]
pub enum Cell {
    Text(String),
    Time(i64),
    Flag(bool),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<i64> for Cell {
    fn from(at: i64) -> Cell {
        Cell::Time(at)
    }
}

/// Rows of a context table; columns that a row lacks are null.
pub fn rows(table: &str, rows: &[Vec<(&str, Cell)>]) -> Vec<RecordBatch> {
    let schema = context::table(table).unwrap().schema();
    let arrays: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| {
            let cells: Vec<Option<&Cell>> = rows
                .iter()
                .map(|row| row.iter().find(|(name, _)| name == field.name()).map(|(_, cell)| cell))
                .collect();
            let some = cells.iter().flatten().next();
            match some {
                None => new_null_array(field.data_type(), rows.len()),
                Some(Cell::Text(_)) => Arc::new(
                    cells
                        .iter()
                        .map(|c| if let Some(Cell::Text(text)) = c { Some(text.as_str()) } else { None })
                        .collect::<StringArray>(),
                ),
                Some(Cell::Time(_)) => Arc::new(
                    cells
                        .iter()
                        .map(|c| if let Some(Cell::Time(at)) = c { Some(*at) } else { None })
                        .collect::<TimestampMicrosecondArray>()
                        .with_timezone("UTC"),
                ),
                Some(Cell::Flag(_)) => Arc::new(
                    cells
                        .iter()
                        .map(|c| if let Some(Cell::Flag(flag)) = c { Some(*flag) } else { None })
                        .collect::<BooleanArray>(),
                ),
            }
        })
        .collect();
    vec![RecordBatch::try_new(schema, arrays).unwrap()]
}

pub fn source(events: &[AccessEvent], tables: &[(&str, Vec<RecordBatch>)]) -> SessionContext {
    let mut batches = Vec::new();
    // Several batches, since no order of rows is promised.
    for events in events.chunks(7) {
        let mut batch = EventBatch::default();
        events.iter().for_each(|event| batch.push(event));
        batches.push(batch.finish().unwrap());
    }
    insyn_engine::session::in_memory(ZONE, batches, tables).unwrap()
}

/// A seeded generator: the same seed gives the same world on every machine.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// One relation of the random world.
#[derive(Debug, Clone)]
pub struct Relation {
    pub subject: String,
    pub unit: Option<String>,
    pub user: Option<String>,
    pub from: i64,
    pub to: Option<i64>,
}

/// A small clinic over the days when the clock is put back.
pub struct World {
    pub events: Vec<AccessEvent>,
    pub relations: Vec<Relation>,
    pub assignments: Vec<(String, String, i64, Option<i64>)>,
    /// (unit, parent)
    pub units: Vec<(String, Option<String>)>,
    pub other_numbers: Vec<(String, String)>,
}

pub fn random(seed: u64, accesses: usize) -> World {
    let mut dice = Dice(seed);
    let start = at("2026-10-12T00:00:00+02:00");
    let unit = |n: u64| format!("A{n}");
    let units = vec![
        ("A0".into(), None),
        ("A1".into(), Some("A0".into())),
        ("A2".into(), Some("A0".into())),
        ("A3".into(), Some("A1".into())),
    ];
    let other_numbers = vec![("P1".to_owned(), "R1".to_owned()), ("P2".to_owned(), "R2".to_owned())];
    let subject = |dice: &mut Dice| match dice.below(10) {
        8 => "R1".to_owned(),
        9 => "R2".to_owned(),
        n => format!("P{n}"),
    };
    let mut events = Vec::new();
    for id in 0..accesses {
        let when = start + dice.below(28 * 24 * 12) as i64 * 5 * 60_000_000;
        let at_unit = (dice.below(12) > 0).then(|| unit(dice.below(5)));
        let user = format!("U{}", dice.below(6));
        let mut event = access(id, when, &user, at_unit.as_deref(), &subject(&mut dice));
        match dice.below(20) {
            0 => event.user_kind = Some("subject".into()),
            1 => event.outcome = Some("minor-failure".into()),
            2 => event.emergency = Some(true),
            3 => event.action = Some("C".into()),
            // Two sources may give the same id to different things.
            4 => event.source = "portal".into(),
            5 => event.activity = Some("Utskrift".into()),
            6 | 7 => event.resource_care_unit_id = Some("A2".into()),
            _ => {}
        }
        event.client_address = Some(format!("10.0.{}.{}", id % 2, id % 3));
        if id % 4 == 0 && event.activity.is_none() {
            event.activity = Some("Sökning".into());
            event.activity_args = Some("Berg".into());
        }
        events.push(event);
    }
    let relations = (0..14)
        .map(|_| {
            let from = start + (dice.below(40) as i64 - 20) * DAY;
            Relation {
                subject: subject(&mut dice),
                unit: (dice.below(6) > 0).then(|| unit(dice.below(5))),
                user: (dice.below(3) == 0).then(|| format!("U{}", dice.below(6))),
                from,
                to: (dice.below(5) > 0).then(|| from + dice.below(6) as i64 * DAY),
            }
        })
        .collect();
    let assignments = (0..8)
        .map(|_| {
            let from = start + (dice.below(30) as i64 - 10) * DAY;
            let to = (dice.below(2) == 0).then(|| from + dice.below(20) as i64 * DAY);
            (format!("U{}", dice.below(6)), unit(dice.below(5)), from, to)
        })
        .collect();
    World { events, relations, assignments, units, other_numbers }
}

impl World {
    pub fn source(&self) -> SessionContext {
        self.source_of(&self.events)
    }

    pub fn source_of(&self, events: &[AccessEvent]) -> SessionContext {
        source(events, &self.tables(events))
    }

    /// The context tables, as files of a folder.
    pub fn write(&self, folder: &Path) {
        for (table, rows) in self.tables(&self.events) {
            let mut writer = arrow::csv::Writer::new(Vec::new());
            rows.iter().for_each(|batch| writer.write(batch).unwrap());
            std::fs::write(folder.join(format!("{table}.csv")), writer.into_inner()).unwrap();
        }
    }

    fn tables(&self, events: &[AccessEvent]) -> Vec<(&'static str, Vec<RecordBatch>)> {
        let text =
            |name: &'static str, value: &Option<String>| value.as_deref().map(|v| (name, Cell::from(v)));
        let relations: Vec<Vec<(&str, Cell)>> = self
            .relations
            .iter()
            .map(|r| {
                let mut row =
                    vec![("subject_id", Cell::from(r.subject.as_str())), ("valid_from", Cell::from(r.from))];
                row.extend(text("care_unit_id", &r.unit));
                row.extend(text("user_id", &r.user));
                row.extend(r.to.map(|to| ("valid_to", Cell::from(to))));
                row
            })
            .collect();
        let assignments: Vec<Vec<(&str, Cell)>> = self
            .assignments
            .iter()
            .map(|(user, unit, from, to)| {
                let mut row = vec![
                    ("user_id", Cell::from(user.as_str())),
                    ("care_unit_id", Cell::from(unit.as_str())),
                    ("valid_from", Cell::from(*from)),
                ];
                row.extend(to.map(|to| ("valid_to", Cell::from(to))));
                row
            })
            .collect();
        let units: Vec<Vec<(&str, Cell)>> = self
            .units
            .iter()
            .map(|(unit, parent)| {
                let mut row = vec![("care_unit_id", Cell::from(unit.as_str()))];
                row.extend(text("parent_unit_id", parent));
                row.push(("manager_user_id", Cell::from("U4")));
                row
            })
            .collect();
        let numbers: Vec<Vec<(&str, Cell)>> = self
            .other_numbers
            .iter()
            .map(|(now, other)| {
                vec![("subject_id", Cell::from(now.as_str())), ("other_id", Cell::from(other.as_str()))]
            })
            .collect();
        let staff: Vec<Vec<(&str, Cell)>> = (0..6)
            .map(|n| {
                let mut row = vec![("user_id", Cell::from(format!("U{n}").as_str()))];
                row.push(("person_id", Cell::from(format!("P{n}").as_str())));
                row.push(("title", Cell::from("Sjuksköterska")));
                if n == 5 {
                    row.push(("employed_to", Cell::from(at("2026-10-20T00:00:00+02:00"))));
                }
                row
            })
            .collect();
        let subjects = vec![
            vec![("subject_id", Cell::from("P3")), ("protected_identity", Cell::Flag(true))],
            vec![("subject_id", Cell::from("P4")), ("name", Cell::from("Anna Ek"))],
            vec![("subject_id", Cell::from("P5")), ("name", Cell::from("Bo Åberg"))],
            vec![("subject_id", Cell::from("P6")), ("name", Cell::from("Cecilia Öhman"))],
        ];
        let places =
            vec![vec![("address_range", Cell::from("10.0.0.0/24")), ("care_unit_id", Cell::from("A0"))]];
        let kinship = vec![
            vec![("subject_id", Cell::from("P0")), ("related_id", Cell::from("P7"))],
            vec![
                ("subject_id", Cell::from("P1")),
                ("related_id", Cell::from("P6")),
                ("valid_to", Cell::from(at("2026-10-15T00:00:00+02:00"))),
            ],
        ];
        let watchlist = vec![vec![
            ("subject_id", Cell::from("P6")),
            ("valid_from", Cell::from(at("2026-10-18T00:00:00+02:00"))),
            ("valid_to", Cell::from(at("2026-10-29T00:00:00+01:00"))),
        ]];
        let blocks = vec![vec![
            ("subject_id", Cell::from("P5")),
            ("care_unit_id", Cell::from("A2")),
            ("lifted_at", Cell::from(at("2026-11-02T12:00:00+01:00"))),
        ]];
        // What each user registered is about whom they looked at last before it.
        let consents: Vec<Vec<(&str, Cell)>> = events
            .iter()
            .filter(|event| event.seq % 16 == 0)
            .map(|event| {
                vec![
                    ("subject_id", Cell::from(event.subject_id.as_deref().unwrap())),
                    ("created_by", Cell::from(event.user_id.as_deref().unwrap())),
                    ("created_at", Cell::from(event.occurred_at - 60_000_000)),
                ]
            })
            .collect();
        let morning = at("2026-10-12T07:00:00+02:00");
        let schedule: Vec<Vec<(&str, Cell)>> = (0..28)
            .flat_map(|day| ["A0", "A1", "A2"].map(|unit| (day, unit)))
            .map(|(day, unit)| {
                let starts = morning + day * DAY;
                vec![
                    ("user_id", Cell::from("U3")),
                    ("care_unit_id", Cell::from(unit)),
                    ("starts_at", Cell::from(starts)),
                    ("ends_at", Cell::from(starts + DAY / 3)),
                    ("kind", Cell::from(if day % 7 == 6 { "leave" } else { "shift" })),
                ]
            })
            .collect();
        let tables = [
            ("care_relations", relations),
            ("assignments", assignments),
            ("units", units),
            ("identities", numbers),
            ("staff", staff),
            ("subjects", subjects),
            ("kinship", kinship),
            ("watchlist", watchlist),
            ("blocks", blocks),
            ("consents", consents),
            ("schedule", schedule),
            ("places", places),
        ];
        tables.into_iter().map(|(table, of)| (table, rows(table, &of))).collect()
    }
}
