//! A database of an older version is brought up to date, and a second start changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use insyn_review::{Db, Filter, HistoryKind, Role, Scope};
use insyn_rules::{FindingStatus, FindingStore, Outcome, Recorded};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::world::{START, World, finding, run};

fn migrations() -> Vec<PathBuf> {
    let folder = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("migrations");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A database as the program left it when it knew the first `known` migrations: a finding of that time in it, decided or
/// not, with evidence that keeps no accesses.
async fn old_database(folder: &Path, known: usize, status: &str, outcome: &str) {
    let of_then = folder.join("migrations");
    fs::create_dir(&of_then).unwrap();
    for file in migrations().into_iter().take(known) {
        fs::copy(&file, of_then.join(file.file_name().unwrap())).unwrap();
    }
    let options = SqliteConnectOptions::new().filename(folder.join("state.db")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    Migrator::new(of_then).await.unwrap().run(&pool).await.unwrap();
    let mut stated = finding("no-relation", "U1", "E1", &[1, 2]);
    stated.evidence = serde_json::json!({ "window": { "name": "2026-09" } });
    sqlx::query(
        "INSERT INTO findings (finding_id, identity, ordinal, rule_id, rule_version, level, score, status, outcome, \
         user_id, user_key, subject_id, care_unit_id, controller_id, first_at, last_at, event_count, event_ids, title_sv, \
         title_en, reasons, evidence, words, created_at, changed_at) \
         VALUES ($1, $1, 0, $2, 1, 'high', 3, $3, $4, 'U1', 'U1', $5, 'E1', 'N1', $6, $7, 2, $8, 't', 't', $9, $10, 'w', \
         $6, $6)",
    )
    .bind(&stated.finding_id)
    .bind(&stated.rule_id)
    .bind(status)
    .bind(outcome)
    .bind(&stated.subject_id)
    .bind(stated.first_at)
    .bind(stated.last_at)
    .bind(json(&stated.event_ids))
    .bind(json(&stated.reasons))
    .bind(json(&stated.evidence))
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("INSERT INTO finding_statements (finding_id, ordinal, body) VALUES ($1, 0, $2)")
        .bind(&stated.finding_id)
        .bind(json(&stated))
        .execute(&pool)
        .await
        .unwrap();
    let record = serde_json::json!({ "run_id": "old" }).to_string();
    sqlx::query(
        "INSERT INTO runs (run_id, started_at, body, made, joined, unchanged) VALUES ('old', 1, $1, 1, 0, 0)",
    )
    .bind(record)
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[tokio::test]
async fn an_older_database_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    old_database(folder.path(), 2, "new", "none").await;
    let db = Db::open("sqlite://state.db", folder.path()).await.unwrap();
    let found = db.list(&Filter::default(), &Scope::host(), None, 10).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].settled_at, found[0].user_leads_unit), (None, false));
    assert_eq!(db.run("old").await.unwrap().recorded, Recorded { new: 1, ..Recorded::default() });
    // A run of today states more of it: times and rows of today, and the old statement is covered.
    let fuller = finding("no-relation", "U1", "E1", &[1, 2, 9]);
    let recorded = db.record(&run("r"), std::slice::from_ref(&fuller), &[]).await.unwrap();
    assert_eq!((recorded.joined, recorded.new), (1, 0));
    let now = db.get(&fuller.finding_id, &Scope::host()).await.unwrap().finding;
    assert_eq!((now.event_ids.as_slice(), now.events().len()), (fuller.event_ids.as_slice(), 3));
    db.close().await;

    let again = Db::open("sqlite://state.db", folder.path()).await.unwrap();
    assert_eq!(again.get(&fuller.finding_id, &Scope::host()).await.unwrap().finding, now, "a second start");
}

#[tokio::test]
async fn what_an_older_version_decided_stays_decided() {
    let folder = tempfile::tempdir().unwrap();
    old_database(folder.path(), 2, "decided", "authorised").await;
    let db = Db::open("sqlite://state.db", folder.path()).await.unwrap();
    let more = finding("no-relation", "U1", "E1", &[1, 2, 9]);
    let recorded = db.record(&run("r"), std::slice::from_ref(&more), &[]).await.unwrap();
    assert_eq!((recorded.new, recorded.joined), (1, 0));
    let chain = db.chain(&more.finding_id, &Scope::host()).await.unwrap();
    assert_eq!(chain[0].finding.outcome, Outcome::Authorised);
    assert_eq!(
        (chain[1].finding.event_ids.as_slice(), chain[1].finding.status),
        (&["e9".to_owned()][..], FindingStatus::New)
    );
}

#[tokio::test]
async fn a_second_start_keeps_everything() {
    let world = World::new().await;
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    let stated = finding("no-relation", "U1", "E1", &[1]);
    world.db.record(&run("r"), std::slice::from_ref(&stated), &[]).await.unwrap();
    world.db.decide(&anna, &stated.finding_id, Outcome::CannotTell, "Minns inte.").await.unwrap();
    let before = world.db.get(&stated.finding_id, &Scope::host()).await.unwrap();
    let second = world.again().await;
    assert_eq!(second.get(&stated.finding_id, &Scope::host()).await.unwrap(), before);
    let history = second.history(&stated.finding_id, &Scope::host()).await.unwrap();
    assert_eq!(history.last().map(|step| step.kind), Some(HistoryKind::Decided));
    assert!(before.changed_at >= START);
}

/// What SQLite alone understands would have to be unlearned on the day of another database.
#[test]
fn the_tables_are_made_in_words_that_postgresql_shares() {
    for file in migrations() {
        let text = fs::read_to_string(&file).unwrap().to_uppercase();
        let statements: String = text.lines().map(|line| line.split("--").next().unwrap()).collect();
        for word in [
            "AUTOINCREMENT",
            "WITHOUT ROWID",
            "INTEGER PRIMARY",
            "STRICT",
            "PRAGMA",
            " OR REPLACE",
            "DATETIME",
            "BLOB",
        ] {
            assert!(!statements.contains(word), "{}: {word}", file.display());
        }
    }
}
