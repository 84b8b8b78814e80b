//! What the law asks for, counted over a real lake.

use insyn_engine::context;
use insyn_engine::session::{Scope, Session};

use super::world::{LATER, World};
use crate::law::{Coverage, coverage};

const FORMAT: &str = r#"legal_area = "health-care"
format = "delimited"
delimiter = ";"
time_format = "%Y-%m-%d %H:%M:%S"
constants = { care_provider_id = "P" }
[fields]
event_id = "Id"
occurred_at = "Tid"
user_id = "Vem"
care_unit_id = "Enhet"
activity = "Vad"
subject_id = "Person"
"#;

/// `there`, `constant`, `one_value`, `unresolved`, `missing`.
fn counts(rows: &[Coverage], day: &str, field: &str) -> [u64; 5] {
    let row = rows.iter().find(|row| row.day == day && row.field == field).expect("the day is there");
    let counts = [row.there, row.constant, row.one_value, row.unresolved, row.missing];
    assert_eq!(counts.iter().sum::<u64>(), row.rows, "{row:?}");
    counts
}

#[tokio::test]
async fn what_is_really_there_is_told_from_what_only_looks_so() {
    let mut world = World::new(FORMAT, "read").await;
    let mut text = "Id;Tid;Vem;Enhet;Vad;Person\n".to_owned();
    for n in 0..40 {
        // Every other one has no user, every fifth an unknown one; the unit is one; every fourth person is none.
        let user = match n {
            n if n % 2 == 0 => "".to_owned(),
            n if n % 5 == 0 => format!("ghost-{n}"),
            n => format!("U{n}"),
        };
        let person = if n % 4 == 0 { "nobody" } else { "19121212-1212" };
        let what = if n < 30 { "Läsa" } else { "" };
        text.push_str(&format!("a{n};2026-03-02 08:00:{n:02};{user};E1;{what};{person}\n"));
    }
    // The hour that comes twice; five rows do not tell whether a value is the same for a reason.
    for n in 0..5 {
        text.push_str(&format!(
            "b{n};2026-10-25 02:30:0{n};U1;{};Läsa;19121212-1212\n",
            if n < 2 { "P" } else { "E1" }
        ));
    }
    world.append("a.csv", &text);
    world.ingest(LATER).await;
    let look = async |world: &World| {
        let session = Session::open(&world.lake, chrono_tz::Europe::Stockholm, Scope::All).await.unwrap();
        coverage(&session, std::slice::from_ref(world.source()), 0, i64::MAX / 2).await.unwrap()
    };
    let rows = look(&world).await;
    let of = |field| counts(&rows, "2026-03-02", field);
    assert_eq!(of("action"), [0, 0, 30, 0, 10]);
    assert_eq!(of("unit"), [0, 0, 40, 0, 0]);
    assert_eq!(of("provider"), [0, 40, 0, 0, 0]);
    assert_eq!(of("time"), [40, 0, 0, 0, 0]);
    assert_eq!(of("user"), [20, 0, 0, 0, 20], "without a register nobody is unknown");
    assert_eq!(of("subject"), [30, 0, 0, 10, 0]);
    let of = |field| counts(&rows, "2026-10-25", field);
    assert_eq!(of("time"), [0, 0, 0, 5, 0]);
    assert_eq!(of("unit"), [5, 0, 0, 0, 0]);
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|row| row.act == "HSLF-FS 2016:40" && row.source == "s"));

    let folder = world.folder.path().join("context");
    std::fs::create_dir(&folder).unwrap();
    let users: String = (0..40).map(|n| format!("U{n},19121212121{},N,T,,,,\n", n % 10)).collect();
    let head = "user_id,person_id,name,title,address,postcode,employed_from,employed_to\n";
    std::fs::write(folder.join("staff.csv"), format!("{head}{users}")).unwrap();
    std::fs::write(
        folder.join("units.csv"),
        "care_unit_id,name,care_provider_id,care_provider_name\nE1,E,P,P\n",
    )
    .unwrap();
    context::load(&world.lake, &folder, chrono_tz::Europe::Stockholm).await.unwrap();
    let rows = look(&world).await;
    assert_eq!(counts(&rows, "2026-03-02", "user"), [16, 0, 0, 4, 20]);
    assert_eq!(counts(&rows, "2026-10-25", "unit"), [3, 0, 0, 2, 0]);
}

#[tokio::test]
async fn ids_used_twice_and_clocks_that_run_ahead_are_told() {
    let mut world = World::new(FORMAT, "read").await;
    let later = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Stockholm) + chrono::Duration::hours(2);
    let later = later.format("%Y-%m-%d %H:%M:%S");
    world.append(
        "a.csv",
        &format!(
            "Id;Tid;Vem;Enhet;Vad;Person\n1;2026-03-02 08:00:00;U;E;Läsa;19121212-1212\n\
             1;2026-03-02 08:00:00;U;E;Läsa;19121212-1212\n2;2026-03-02 08:00:00;U;E;Läsa;19121212-1212\n\
             3;{later};U;E;Läsa;19121212-1212\n"
        ),
    );
    world.ingest(LATER).await;
    let session = Session::open(&world.lake, chrono_tz::Europe::Stockholm, Scope::All).await.unwrap();
    let odd = insyn_engine::coverage::oddities(&session, "s", 0, i64::MAX / 2).await.unwrap();
    assert_eq!((odd.records, odd.repeated, odd.ahead), (4, 1, 1));
    let hours = odd.most_ahead as f64 / 3.6e9;
    assert!((1.9..2.1).contains(&hours), "{hours}");
    let none = insyn_engine::coverage::oddities(&session, "other", 0, i64::MAX / 2).await.unwrap();
    assert_eq!(none, insyn_engine::coverage::Oddities::default());
}

#[tokio::test]
async fn holes_in_a_sources_own_numbering_are_told() {
    let mut world = World::new(FORMAT, "read").await;
    let row = |id: &str, day: u32| format!("{id};2026-03-{day:02} 08:00:00;U;E;Läsa;19121212-1212\n");
    // 5 and 6 never came, nor did 9; 7 happened long before and was counted late; x is no number.
    let ids = [
        ("1", 2),
        ("2", 2),
        ("3", 2),
        ("4", 2),
        ("8", 2),
        ("10", 2),
        ("2", 2),
        ("x", 2),
        ("7", 1),
        ("40", 9),
    ];
    let rows: String = ids.iter().map(|(id, day)| row(id, *day)).collect();
    world.append("a.csv", &format!("Id;Tid;Vem;Enhet;Vad;Person\n{rows}"));
    world.ingest(LATER).await;
    let session = Session::open(&world.lake, chrono_tz::Europe::Stockholm, Scope::All).await.unwrap();
    let day = |day: i64| {
        (chrono::DateTime::parse_from_rfc3339("2026-03-01T23:00:00Z").unwrap().timestamp_micros())
            + (day - 2) * 86_400_000_000
    };
    let missing = insyn_engine::coverage::missing(&session, "s", day(2), day(3)).await.unwrap();
    assert_eq!((missing.count, missing.runs), (3, vec![(5, 6), (9, 9)]));
    let all = insyn_engine::coverage::missing(&session, "s", day(1), day(10)).await.unwrap();
    assert_eq!((all.count, all.runs[0]), (32, (11, 39)));
    let none = insyn_engine::coverage::missing(&session, "other", day(1), day(10)).await.unwrap();
    assert_eq!(none, insyn_engine::coverage::Missing::default());
}
