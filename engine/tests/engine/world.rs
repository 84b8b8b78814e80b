//! A small lake to ask.

use std::path::Path;

use chrono::DateTime;
use chrono_tz::Tz;
use insyn_engine::context;
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::{Gap, Lake, Quarantined, SourceCommit};
use insyn_engine::session::{Scope, Session};
use tempfile::TempDir;

pub const ZONE: Tz = Tz::Europe__Stockholm;

/// A lake in a folder that goes with it.
pub struct World {
    pub folder: TempDir,
    pub lake: Lake,
}

impl World {
    pub async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open("lake", folder.path()).await.unwrap();
        World { folder, lake }
    }

    /// Commits events, those of each source as its next batch.
    pub async fn commit(&self, events: &[AccessEvent]) {
        let mut sources: Vec<&str> = events.iter().map(|e| e.source.as_str()).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            let events = events.iter().filter(|e| e.source == source).cloned().collect();
            self.batch(SourceCommit { source: source.to_owned(), events, ..SourceCommit::default() }).await;
        }
    }

    pub async fn batch(&self, commit: SourceCommit) {
        let sequence = self.lake.progress(&commit.source).await.unwrap().sequence + 1;
        self.lake.commit(SourceCommit { sequence, state: "{}".to_owned(), ..commit }).await.unwrap();
    }

    /// Loads these tables (name, CSV) as the context.
    pub async fn load(&self, tables: &[(&str, &str)]) {
        let dir = self.folder.path().join("context");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        for (name, csv) in tables {
            std::fs::write(dir.join(format!("{name}.csv")), csv).unwrap();
        }
        context::load(&self.lake, &dir, ZONE).await.unwrap();
    }

    pub async fn session(&self) -> Session {
        Session::open(&self.lake, ZONE, Scope::All).await.unwrap()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// RFC 3339 as µs UTC.
pub fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

pub fn event(id: &str, source: &str, when: &str, user: &str, subject: &str) -> AccessEvent {
    AccessEvent {
        event_id: id.to_owned(),
        source: source.to_owned(),
        organisation_id: "SE2321000016".to_owned(),
        controller_id: "SE2321000016-HSN".to_owned(),
        occurred_at: at(when),
        action: Some("R".to_owned()),
        activity: Some("Läsa".to_owned()),
        user_id: (!user.is_empty()).then(|| user.to_owned()),
        user_kind: Some("staff".to_owned()),
        subject_id: (!subject.is_empty()).then(|| subject.to_owned()),
        record: Some(format!("<record of {id}>")),
        file_id: format!("file-{source}"),
        ingested_at: at("2026-09-01T00:00:00Z"),
        ..AccessEvent::default()
    }
}

/// Tolvan (who had a number before), Agda and Beata; nurse A with two accounts, of which B has one later.
pub async fn small() -> World {
    let world = World::new().await;
    let mut events = vec![
        event("j1", "journal", "2026-03-01T08:00:00Z", "SE-A", "191212121212"),
        event("j2", "journal", "2026-03-01T08:10:00Z", "SE-A", "191212121212"),
        event("j3", "journal", "2026-03-01T08:40:00Z", "SE-A", "191212121212"),
        event("j4", "journal", "2026-03-29T00:30:00Z", "SE-B", "191212121212"),
        event("j5", "journal", "2026-03-29T01:30:00Z", "SE-B", "197010632391"),
        event("j6", "journal", "2025-12-31T23:30:00Z", "SE-A", "R99120012AB"),
        event("j7", "journal", "2026-08-01T10:00:00Z", "SE-C", ""),
        event("o1", "omsorg", "2026-03-02T09:00:00Z", "anka01", "191212121212"),
        event("o2", "omsorg", "2026-07-02T09:00:00Z", "anka01", "197010632391"),
        event("o3", "omsorg", "2026-07-02T09:05:00Z", "bia", "197010632391"),
        event("i1", "insyn", "2026-08-01T10:00:00Z", "granskare", "191212121212"),
    ];
    events[2].emergency = Some(true);
    // At one unit, and at another one in a system that counts its sessions from one as well.
    const OTHER: &str = "SE2321000016-E2";
    for (event, unit, session) in
        [(0, "U1", "s1"), (1, "U1", "s1"), (2, "U1", "s2"), (7, OTHER, "s1"), (8, OTHER, "s9")]
    {
        events[event].care_unit_id = Some(unit.to_owned());
        events[event].session_id = Some(session.to_owned());
    }
    events[4].correlation_id = Some("req-1".to_owned());
    let mut other = event("n1", "npo", "2026-03-29T01:30:02Z", "SE-B", "197010632391");
    other.correlation_id = Some("req-1".to_owned());
    other.controller_id = "SE5560000000".to_owned();
    events.push(other);
    let mut far = event("n2", "npo", "2026-06-29T01:30:02Z", "SE-B", "191212121212");
    far.correlation_id = Some("req-1".to_owned());
    far.controller_id = "SE5560000000".to_owned();
    events.push(far);
    world.commit(&events).await;
    world
        .batch(SourceCommit {
            source: "omsorg".to_owned(),
            quarantine: vec![Quarantined {
                source: "omsorg".to_owned(),
                file_id: "file-omsorg".to_owned(),
                file_offset: 17,
                bytes: b"bad;line".to_vec(),
                reason: "occurred_at: found text, expected a time".to_owned(),
                ingested_at: at("2026-09-01T00:00:00Z"),
            }],
            gaps: vec![Gap {
                source: "omsorg".to_owned(),
                file_id: "file-omsorg".to_owned(),
                from_offset: 100,
                to_offset: None,
                reason: "the file was cut short".to_owned(),
                noticed_at: at("2026-09-01T00:00:00Z"),
            }],
            ..SourceCommit::default()
        })
        .await;
    world
        .load(&[
            (
                "accounts",
                "source,account_id,user_id,valid_from,valid_to\n\
                 omsorg,anka01,SE-A,2026-01-01,2026-05-31\n\
                 omsorg,anka01,SE-B,2026-06-01,\n\
                 ,bia,SE-B,,\n",
            ),
            (
                "identities",
                "subject_id,other_id,other_id_type,valid_from\n191212121212,R99120012AB,reserv,2026-01-05\n",
            ),
            (
                "staff",
                "user_id,person_id,name,title,address,postcode,employed_from,employed_to\n\
                 SE-A,19701063-2391,Anna Kask,Sjuksköterska,Storg 1,12345,2020-01-01,\n",
            ),
            (
                "subjects",
                "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on\n\
                 191212121212,Tolvan,STORG 1 ,123 45,nej,nej,\n\
                 201212121212,Agda,Storg 1,12345,ja,nej,\n",
            ),
            (
                "kinship",
                "subject_id,related_id,kind,valid_from,valid_to\n201212121212,R99120012AB,child,2026-01-01,2026-03-31\n",
            ),
            (
                "units",
                "care_unit_id,name,care_provider_id,care_provider_name,colour\nU1,Vårdcentralen,P1,Regionen,blue\n",
            ),
        ])
        .await;
    world
}
