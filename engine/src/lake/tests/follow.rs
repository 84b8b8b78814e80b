//! How `user_accesses` follows `access_events`, and what is read until it has.

use std::collections::BTreeSet;

use super::runs::Zeal;
use super::upkeep::Next;
use super::users::{SOURCES, assert_answers, assert_tables, remove, settled, some_event, with_accounts};
use super::*;
use crate::trace::{Of, Query};

/// Batches of two sources over two years.
async fn some_lake(folder: &FsPath) -> (Lake, Oracle) {
    let lake = open(folder).await;
    with_accounts(&lake, folder).await;
    let mut oracle = Oracle::default();
    for n in 0..6_i64 {
        more(&lake, &mut oracle, n).await;
    }
    (lake, oracle)
}

async fn more(lake: &Lake, oracle: &mut Oracle, n: i64) {
    let source = SOURCES[n as usize % 2];
    let sequence = lake.progress(source).await.unwrap().sequence + 1;
    let events = (n * 30 + 1..n * 30 + 31).map(|n| some_event(source, n, 1)).collect();
    let given = SourceCommit { events, ..batch(source, sequence, 0..0) };
    oracle.add(&given);
    lake.commit(given).await.unwrap();
    settled(lake).await;
}

async fn reached(lake: &Lake) -> Reach {
    lake.reach(&lake.snapshot().await.unwrap()).await
}

fn of_user(user: &str) -> Query {
    Query { limit: Some(60), ..Query::new(Of::User(user.to_owned())) }
}

async fn assert_right(lake: &Lake, oracle: &Oracle) {
    let snapshot = lake.snapshot().await.unwrap();
    for user in ["SE1-1", "SE1-3"] {
        assert_answers(lake, snapshot.clone(), oracle, &of_user(user)).await;
    }
    assert_tables(lake, snapshot).await;
}

#[tokio::test]
async fn what_came_later_is_read_from_access_events_until_it_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut oracle) = some_lake(folder.path()).await;
    lake.inner.follow().await.unwrap().unwrap();
    let state = lake.inner.events().current().await.unwrap();
    let reach = reached(&lake).await;
    assert_eq!((reach.version, reach.later.len(), reach.whole.len()), (Some(state.version), 0, 0));
    assert_eq!(reach.followed.iter().map(|file| file.rows).sum::<u64>(), oracle.events.len() as u64);
    more(&lake, &mut oracle, 6).await;
    let reach = reached(&lake).await;
    assert_eq!(
        (reach.version, reach.later.len(), reach.whole.len()),
        (Some(state.version), 2, 0),
        "a file of each year"
    );
    assert_right(&lake, &oracle).await;
    // Merged with others, its rows are told from theirs by their segments.
    while let Next::Did(_) = lake.inner.merge(Table::AccessEvents, Zeal::All).await.unwrap() {}
    let reach = reached(&lake).await;
    let later: u64 = reach.later.iter().map(|file| file.rows).sum();
    assert!(later > 30 && reach.whole.is_empty(), "{later} rows, of which 30 came later");
    assert_right(&lake, &oracle).await;
    let followed = lake.inner.follow().await.unwrap().unwrap();
    assert_eq!(followed.rows, 30, "what it has is not written again");
    assert_eq!(reached(&lake).await.later.len(), 0);
    assert!(lake.inner.follow().await.unwrap().is_none(), "nothing came since");
    assert_right(&lake, &oracle).await;
}

#[tokio::test]
async fn files_that_are_merged_hold_what_they_held() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, oracle) = some_lake(folder.path()).await;
    lake.inner.follow().await.unwrap().unwrap();
    while let Next::Did(_) = lake.inner.merge(Table::AccessEvents, Zeal::All).await.unwrap() {}
    let reach = reached(&lake).await;
    assert!(reach.version.is_some() && reach.later.is_empty() && reach.whole.is_empty());
    assert!(lake.inner.follow().await.unwrap().is_none());
    assert_right(&lake, &oracle).await;
    // Another process reads the same out of the log.
    let other = open(folder.path()).await;
    assert!(reached(&other).await.later.is_empty());
    assert_right(&other, &oracle).await;
}

#[tokio::test]
async fn a_year_of_which_rows_went_is_made_anew_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut oracle) = some_lake(folder.path()).await;
    while lake.compact().await.unwrap().is_some() {}
    let old: BTreeSet<String> = reached(&lake).await.followed.iter().map(|file| file.path.clone()).collect();
    let state = lake.inner.events().current().await.unwrap();
    let at = state.files.iter().position(|file| file.year.as_deref() == Some("2025")).unwrap();
    let subject = state.files[at].subject_id.min.clone().unwrap();
    let gone = remove(&lake, at, &subject, false).await;
    assert!(!gone.is_empty());
    oracle.events.retain(|event| !gone.contains(&(event.segment, event.seq)));
    let reach = reached(&lake).await;
    assert!(!reach.whole.is_empty() && reach.whole.iter().all(|file| file.year.as_deref() == Some("2025")));
    assert!(reach.followed.iter().all(|file| file.year.as_deref() == Some("2026")));
    assert_right(&lake, &oracle).await;
    lake.inner.follow().await.unwrap().unwrap();
    let reach = reached(&lake).await;
    assert!(reach.whole.is_empty() && reach.later.is_empty());
    for file in &reach.followed {
        assert_eq!(old.contains(&file.path), file.year.as_deref() == Some("2026"), "{}", file.path);
    }
    assert_right(&lake, &oracle).await;
}

#[tokio::test]
async fn taken_away_it_is_made_anew_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, oracle) = some_lake(folder.path()).await;
    while lake.compact().await.unwrap().is_some() {}
    std::fs::remove_dir_all(folder.path().join("lake/user_accesses")).unwrap();
    for lake in [&lake, &open(folder.path()).await] {
        assert_eq!(reached(lake).await.version, None);
        assert_right(lake, &oracle).await;
    }
    let merged = lake.compact().await.unwrap().unwrap();
    assert_eq!((merged.table, merged.rows), (Table::UserAccesses, oracle.events.len() as u64));
    assert!(reached(&lake).await.version.is_some());
    assert_right(&lake, &oracle).await;
}

#[tokio::test]
async fn another_history_is_not_taken_for_the_one_that_was_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut oracle) = some_lake(folder.path()).await;
    lake.inner.follow().await.unwrap().unwrap();
    // An older state of access_events is put back by hand, and goes on otherwise.
    drop(lake);
    let log = folder.path().join("lake/access_events/_delta_log");
    let mut entries: Vec<_> = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    std::fs::remove_file(entries.last().unwrap()).unwrap();
    let lake = open(folder.path()).await;
    oracle.events.truncate(150);
    *oracle.progress.get_mut("omsorg").unwrap() = (2, String::new());
    assert_eq!(reached(&lake).await.version, None, "it is ahead");
    more(&lake, &mut oracle, 7).await;
    assert_eq!(reached(&lake).await.version, None, "it is of another history");
    assert_right(&lake, &oracle).await;
    lake.inner.follow().await.unwrap().unwrap();
    assert!(reached(&lake).await.version.is_some());
    assert_right(&lake, &oracle).await;
}

#[tokio::test]
async fn a_lake_that_is_followed_by_line_is_followed_by_user_too() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    with_accounts(&lake, folder.path()).await;
    let mut oracle = Oracle::default();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut n = 0;
    while reached(&lake).await.version.is_none() {
        assert!(Instant::now() < deadline, "nobody made user_accesses");
        more(&lake, &mut oracle, n).await;
        n += 1;
    }
    assert_right(&lake, &oracle).await;
}

/// The process that is killed; alone, this test does nothing.
#[tokio::test]
async fn child() {
    let Some(folder) = child_folder() else { return };
    open(&folder).await.inner.follow().await.unwrap();
}

#[tokio::test]
async fn killed_at_any_step_it_is_the_old_one_or_the_new_one() {
    for point in crate::failpoint::USERS {
        let folder = tempfile::tempdir().unwrap();
        let (lake, mut oracle) = some_lake(folder.path()).await;
        lake.inner.follow().await.unwrap().unwrap();
        let before = reached(&lake).await.version;
        more(&lake, &mut oracle, 6).await;
        let gone = remove(&lake, 0, "", true).await;
        oracle.events.retain(|event| !gone.contains(&(event.segment, event.seq)));
        assert!(!run_child(module_path!(), folder.path(), point), "the process lived through {point}");
        for lake in [&lake, &open(folder.path()).await] {
            let is_old = reached(lake).await.version == before;
            assert_eq!(is_old, point != "after-users-commit", "{point}");
            assert_right(lake, &oracle).await;
        }
        while lake.compact().await.unwrap().is_some() {}
        assert_right(&lake, &oracle).await;
        let live = lake.inner.users().await.files.iter().map(|file| file.rows).sum::<u64>();
        assert_eq!(live, oracle.events.len() as u64);
    }
}
