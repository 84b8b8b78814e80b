//! A run is written whole or not at all: abandoned in the middle, out of disk, killed.

use std::{
    future::Future,
    io::{BufRead, BufReader},
    pin::pin,
    process::{Command, Stdio},
    task::{Context, Poll, Waker},
    time::Duration,
};

use insyn_review::{Db, Filter, Scope};
use insyn_rules::{Finding, FindingStore};

use crate::world::{World, finding, run};

const IN_A_RUN: usize = 25;

fn findings(of: &str) -> Vec<Finding> {
    (0..IN_A_RUN).map(|n| finding("rule", &format!("{of}-{n}"), "E1", &[1, 2, 3])).collect()
}

async fn stored(db: &Db) -> usize {
    let (mut stored, mut cursor) = (0, None);
    loop {
        let page = db.list(&Filter::default(), &Scope::host(), cursor.as_deref(), 1000).await.unwrap();
        stored += page.items.len();
        match page.next {
            Some(next) => cursor = Some(next),
            None => return stored,
        }
    }
}

#[tokio::test]
async fn abandoned_at_any_point_nothing_is_half_there() {
    let world = World::new().await;
    let mut seen = 0;
    for polls in 0..60 {
        let name = format!("U{polls}");
        let (record, findings) = (run(&name), findings(&name));
        {
            let mut writing = pin!(world.db.record(&record, &findings, &[]));
            for _ in 0..polls {
                // The database works on a thread of its own, so each poll comes somewhere else in the run.
                if let Poll::Ready(done) = writing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    done.unwrap();
                    break;
                }
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        // A commit that nobody waits for any more may still be on its way: one writer, so the next write comes after it.
        world.db.set_setting("barrier", &serde_json::json!(polls), None, "test").await.unwrap();
        let now = stored(&world.db).await;
        let made = now - seen;
        assert!(made == 0 || made == IN_A_RUN, "{polls} polls left {made} of {IN_A_RUN}");
        assert_eq!(
            made == IN_A_RUN,
            world.db.run(&name).await.is_ok(),
            "the run stands there with its findings"
        );
        seen = now;
    }
    assert_eq!(world.db.record(&run("last"), &findings("last"), &[]).await.unwrap().new, IN_A_RUN as u64);
}

/// Not a test by itself: what the next one kills. Writes runs until somebody ends it.
#[tokio::test]
async fn child_that_records() {
    let Ok(folder) = std::env::var("INSYN_REVIEW_TEST_FOLDER") else { return };
    let db = Db::open("sqlite://state.db", folder.as_ref()).await.unwrap();
    for n in 0..2000 {
        db.record(&run(&format!("r{n:04}")), &findings(&format!("U{n:04}")), &[]).await.unwrap();
        #[allow(clippy::print_stdout, reason = "how the parent learns that it is acknowledged")]
        {
            println!("\nrecorded r{n:04}");
        }
    }
}

#[tokio::test]
async fn killed_at_any_moment_what_was_acknowledged_is_there_whole() {
    for acknowledged in [0, 1, 4] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_that_records", "--nocapture"])
            .env("INSYN_REVIEW_TEST_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said: Vec<String> = lines
            .map_while(Result::ok)
            .filter(|line| line.starts_with("recorded "))
            .take(acknowledged)
            .collect();
        assert_eq!(said.len(), acknowledged);
        child.kill().unwrap();
        child.wait().unwrap();

        let db = Db::open("sqlite://state.db", folder.path()).await.unwrap();
        let runs = db.runs(None, 1000).await.unwrap().items.len();
        assert!(runs >= acknowledged, "{runs} of {acknowledged}");
        assert_eq!(stored(&db).await, runs * IN_A_RUN);
        assert_eq!(db.record(&run("after"), &findings("after"), &[]).await.unwrap().new, IN_A_RUN as u64);
    }
}
