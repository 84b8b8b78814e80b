//! Context loads: all or nothing, kept with their history, with errors that lead to the place.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use expect_test::{Expect, expect};
use insyn_engine::context::{self, ContextError};

use crate::world::{World, ZONE, at};

async fn load(world: &World, files: &[(&str, &[u8])]) -> Result<context::LoadReport, ContextError> {
    let dir = world.path().join("context");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    context::load(&world.lake, &dir, ZONE).await
}

async fn check_error(files: &[(&str, &[u8])], expected: Expect) {
    let world = World::new().await;
    let error = load(&world, files).await.unwrap_err().to_string();
    expected.assert_eq(&error.replace(&world.path().display().to_string(), "DIR"));
    assert!(context::status(&world.lake).await.unwrap().iter().all(|t| t.load.is_none()), "half a load");
}

#[tokio::test]
async fn a_bad_row_names_its_place_and_never_its_value() {
    let good: (&str, &[u8]) = ("places.csv", b"address_range,care_unit_id\n10.0.0.0/8,U1\n");
    check_error(
        &[good, ("subjects.csv", b"subject_id,name,address,postcode,protected_identity,public_figure,deceased_on\n191212121212,T,,,nej,nej,\n191212121212,\"T\nT\",,,nej,nej,SECRET\n")],
        expect!["DIR/context/subjects.csv, line 3, column deceased_on: found text, expected a date (2026-08-31)"],
    )
    .await;
    check_error(
        &[
            good,
            (
                "rights.csv",
                "\u{feff}user_id,source,right,care_unit_id,valid_from,valid_to\n,s,r,u,,\n".as_bytes(),
            ),
        ],
        expect![
            "DIR/context/rights.csv, line 2, column user_id: found nothing, expected a value in every row"
        ],
    )
    .await;
    check_error(
        &[("watchlist.csv", b"subject_id,reason,decided_by,valid_from,valid_to\n191212121212,r,d,2026-08-31 10:00:00,\n")],
        expect!["DIR/context/watchlist.csv, line 2, column valid_from: found a time without zone, expected RFC 3339 with a zone (2026-08-31T05:07:37Z) or a date (2026-08-31)"],
    )
    .await;
    check_error(
        &[("places.csv", b"address_range,care_unit_id\n10.0.0.0/8\n")],
        expect!["DIR/context/places.csv, line 2: found 1 fields, expected 2 as in the header"],
    )
    .await;
    check_error(
        &[("places.csv", b"address_range,care_unit_id\n10.0.0.0/8,\xc5\n")],
        expect!["DIR/context/places.csv, line 2: found bytes that are not UTF-8, expected UTF-8"],
    )
    .await;
}

#[tokio::test]
async fn a_wrong_header_says_what_is_missing() {
    check_error(
        &[("places.csv", b"adress_range,care_unit_id\n")],
        expect![[
            r#"DIR/context/places.csv, line 1: column "address_range" is missing (found "adress_range")"#
        ]],
    )
    .await;
    check_error(
        &[("places.csv", b"address_range,care_unit_id,care_unit_id\n")],
        expect![[r#"DIR/context/places.csv, line 1: column "care_unit_id" stands there twice"#]],
    )
    .await;
    check_error(
        &[("places.csv", b"")],
        expect!["DIR/context/places.csv, line 1: found an empty file, expected a header"],
    )
    .await;
    check_error(
        &[("places.csv", b"address_range,care_unit_id\n"), ("places.parquet", b"")],
        expect!["DIR/context: places is there as .csv and as .parquet, expected one of them"],
    )
    .await;
    check_error(&[("places.parquet", b"no parquet")], expect!["DIR/context/places.parquet: unreadable Parquet: Parquet error: Invalid Parquet file. Corrupt footer"]).await;
}

#[tokio::test]
async fn what_has_no_place_is_left_out_with_a_note() {
    let world = World::new().await;
    let report = load(
        &world,
        &[
            ("places.csv", b"care_unit_id,address_range,colour,valid_form\nU1,10.0.0.0/8,blue,2026\n"),
            ("plces.csv", b"x\n"),
            ("readme.txt", b""),
        ],
    )
    .await
    .unwrap();
    assert_eq!(report.notes, ["plces.csv is no context table and was left out (did you mean places?)"]);
    assert_eq!(
        report.tables[0].notes,
        [
            "column \"colour\" is none of places's and was left out",
            "column \"valid_form\" is none of places's and was left out (did you mean valid_from?)"
        ]
    );
    let rows = world.session().await.sql("SELECT * FROM places").await.unwrap();
    assert_eq!(rows.rows(), 1);
}

#[tokio::test]
async fn a_failed_load_leaves_the_one_before() {
    let world = World::new().await;
    load(&world, &[("places.csv", b"address_range,care_unit_id\n10.0.0.0/8,U1\n")]).await.unwrap();
    let files: [(&str, &[u8]); 2] =
        [("places.csv", b"address_range,care_unit_id\na,b\nc,d\n"), ("rights.csv", b"user_id\n")];
    load(&world, &files).await.unwrap_err();
    assert_eq!(world.session().await.sql("SELECT * FROM places").await.unwrap().rows(), 1);
    // A load that was broken off between its tables and its manifest is none.
    let broken = world.path().join("lake/context/99991231T000000.000000Z-broken");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("places.parquet"), b"half").unwrap();
    assert_eq!(world.session().await.sql("SELECT * FROM places").await.unwrap().rows(), 1);
    // The next load still becomes the current one.
    load(&world, &files[..1]).await.unwrap();
    assert_eq!(world.session().await.sql("SELECT * FROM places").await.unwrap().rows(), 2);
}

#[tokio::test]
async fn parquet_reads_as_csv_does() {
    let world = World::new().await;
    let subjects = RecordBatch::try_from_iter(vec![
        ("subject_id", Arc::new(StringArray::from(vec!["121212-1212"])) as ArrayRef),
        ("name", Arc::new(StringArray::from(vec![None::<&str>]))),
        ("address", Arc::new(StringArray::from(vec!["Storg 1"]))),
        ("postcode", Arc::new(arrow::array::Int32Array::from(vec![12345]))),
        ("protected_identity", Arc::new(BooleanArray::from(vec![true]))),
        ("public_figure", Arc::new(StringArray::from(vec!["nej"]))),
        ("deceased_on", Arc::new(Date32Array::from(vec![20_000]))),
        ("valid_from", Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC"))),
    ])
    .unwrap();
    let parquet = |batch: &RecordBatch| {
        let mut bytes = Vec::new();
        insyn_engine::output::write(
            insyn_engine::output::Format::Parquet,
            &batch.schema(),
            std::slice::from_ref(batch),
            ZONE,
            &mut bytes,
        )
        .unwrap();
        bytes
    };
    load(&world, &[("subjects.parquet", &parquet(&subjects))]).await.unwrap();
    let answer = world.session().await.sql("SELECT subject_id, postcode, protected_identity, public_figure, deceased_on, valid_from FROM subjects").await.unwrap();
    let mut text = Vec::new();
    insyn_engine::output::write(
        insyn_engine::output::Format::Ndjson,
        &answer.schema,
        &answer.batches,
        ZONE,
        &mut text,
    )
    .unwrap();
    expect![[r#"
        {"subject_id":"201212121212","postcode":"12345","protected_identity":true,"public_figure":false,"deceased_on":"2024-10-04","valid_from":"1970-01-01T00:00:00Z"}
    "#]]
    .assert_eq(&String::from_utf8(text).unwrap());

    let naive = RecordBatch::try_from_iter(vec![
        ("user_id", Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
        ("care_unit_id", Arc::new(StringArray::from(vec!["u"]))),
        ("starts_at", Arc::new(TimestampMicrosecondArray::from(vec![0]))),
        ("ends_at", Arc::new(TimestampMicrosecondArray::from(vec![0]))),
    ])
    .unwrap();
    let error = load(&world, &[("schedule.parquet", &parquet(&naive))]).await.unwrap_err().to_string();
    assert!(error.contains("line 1, column starts_at: found a time without zone"), "{error}");
}

#[tokio::test]
async fn status_says_age_rows_and_period_by_unit() {
    let world = World::new().await;
    let header = "user_id,care_unit_id,role,valid_from,valid_to\n";
    let rows = "a,U1,r,2026-01-01,2026-01-31\nb,U1,r,2026-01-15,2026-02-28\nc,U2,r,2026-03-01,\n";
    let report = load(&world, &[("assignments.csv", format!("{header}{rows}").as_bytes())]).await.unwrap();
    let status = context::status(&world.lake).await.unwrap();
    assert_eq!(status.len(), 14);
    let table = status.iter().find(|t| t.table == "assignments").unwrap();
    assert_eq!(table.load.as_deref(), Some(report.load.as_str()));
    assert_eq!(table.loaded_at, Some(report.loaded_at));
    assert_eq!((table.rows, table.from, table.to), (3, Some(at("2025-12-31T23:00:00Z")), None));
    let units: Vec<_> = table.units.iter().map(|u| (u.care_unit_id.as_str(), u.rows, u.from, u.to)).collect();
    assert_eq!(
        units,
        [
            ("U1", 2, Some(at("2025-12-31T23:00:00Z")), Some(at("2026-02-28T22:59:59.999999Z"))),
            ("U2", 1, Some(at("2026-02-28T23:00:00Z")), None),
        ]
    );
    assert!(status.iter().filter(|t| t.table != "assignments").all(|t| t.rows == 0 && t.load.is_none()));
}

#[tokio::test]
async fn a_folder_that_is_not_there_says_so() {
    let world = World::new().await;
    let error = context::load(&world.lake, Path::new("/nowhere/context"), ZONE).await.unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/context: "), "{error}");
}

#[tokio::test]
async fn what_contradicts_is_loaded_and_told_of_by_its_lines() {
    let world = World::new().await;
    let subjects =
        "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on,valid_from,valid_to\n";
    let files: [(&str, String); 8] = [
        ("units.csv", "care_unit_id,name,care_provider_id,care_provider_name,parent_unit_id,manager_user_id\nA,a,p,p,B,U1\nB,b,p,p,A,U9\nC,c,p,p,X,\nC,d,p,p,,\n".into()),
        ("staff.csv", "user_id,person_id,name,title,address,postcode,employed_from,employed_to\nU1,191212121212,n,t,,,2026-02-01,2026-01-01\nU2,,n,t,,,,\nU2,,n,t2,,,,\n".into()),
        ("accounts.csv", "source,account_id,user_id,valid_from,valid_to\n,x,U1,2026-01-01,2026-01-31\n,x,U2,2026-01-31,\n,y,U1,,2026-01-31\n,y,U2,2026-02-01,\n".into()),
        ("subjects.csv", format!("{subjects}191212121212,n,,,,,,,2026-01-31\n191212121212,m,,,,,,2026-02-01,\n201212121212,n,,,,,,,\n")),
        ("identities.csv", "subject_id,other_id,other_id_type,valid_from\n191212121212,R1,x,2026-01-01\n201212121212,R1,x,2026-01-01\n201212121212,R1,x,2026-01-02\n".into()),
        ("kinship.csv", "subject_id,related_id,kind,valid_from,valid_to\n191212121212,197010632391,child,,\nR1,201212121212,child,2026-02-01,2026-01-01\n".into()),
        ("schedule.csv", "user_id,care_unit_id,starts_at,ends_at,kind\nU1,A,2026-01-01,2026-01-01,shift\nU1,B,2026-01-01,2026-01-01,\nU1,C,2026-01-01,2026-01-01,on_call\nx,A,2026-01-02,2026-01-02,shift\n".into()),
        ("places.csv", "address_range,care_unit_id\n10.0.0.0/8,A\n10.0.0.0/8,Z\n".into()),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let report = load(&world, &files).await.unwrap();
    let told: Vec<String> = report
        .tables
        .iter()
        .flat_map(|t| t.contradictions.iter().map(|found| format!("{}: {}\n", t.table, found.sentence())))
        .collect();
    expect![[r#"
        accounts: 1 row that at the same time say something else of the same source, account_id (line 3)
        identities: 1 row that at the same time say something else of the same other_id (line 3)
        kinship: 1 row whose valid_to is before its start (line 3)
        kinship: 1 row whose related_id is not in subjects or identities (line 2)
        places: 1 row whose care_unit_id is not in units (line 3)
        schedule: 1 row that at the same time say something else of the same user_id (line 3)
        staff: 1 row whose employed_to is before its start (line 2)
        units: 1 row that at the same time say something else of the same care_unit_id (line 5)
        units: 1 row whose parent_unit_id is not in units (line 4)
        units: 1 row whose manager_user_id is not in staff or accounts (line 3)
        units: 2 rows whose parent_unit_id leads back to themselves (line 2, 3)
    "#]]
    .assert_eq(&told.concat());
    let status = context::status(&world.lake).await.unwrap();
    let units = status.iter().find(|t| t.table == "units").unwrap();
    assert_eq!((units.rows, units.contradictions, units.contradicting.len()), (4, 5, 4));
    // The same again is told of again, though nothing of it is read.
    let again = load(&world, &files).await.unwrap();
    assert_eq!(again.tables.iter().map(|t| t.contradictions.len()).sum::<usize>(), told.len());
}

#[tokio::test]
async fn of_many_lines_the_first_are_named_and_without_staff_nobody_is_unknown() {
    let world = World::new().await;
    let rows: String = (0..40).map(|n| format!("U{n},A,r,2026-01-02,2026-01-01\n")).collect();
    let assignments = format!("user_id,care_unit_id,role,valid_from,valid_to\n{rows}");
    let report = load(&world, &[("assignments.csv", assignments.as_bytes())]).await.unwrap();
    let [found] = report.tables[0].contradictions.as_slice() else { panic!("{report:?}") };
    assert_eq!((found.rows, found.lines.clone()), (40, (2..12).collect()));
    assert!(found.sentence().ends_with("(line 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …)"), "{}", found.sentence());
    let rows = world.session().await.sql("SELECT * FROM assignments").await.unwrap();
    assert_eq!(rows.rows(), 40);
}
