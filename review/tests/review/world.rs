//! What the tests share: a database with a clock that they turn, people, findings.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use insyn_review::{Db, NewUser, Options, PasswordCost, Principal, Role, TotpSecret};
use insyn_rules::{Event, Finding, FindingStatus, Level, Outcome, RunRecord, Text, identity};
use tempfile::TempDir;

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const DAY: i64 = 24 * 60 * MINUTE;
pub const START: i64 = 1_790_000_000 * SECOND;
pub const PASSWORD: &str = "en lång ramsa 7";

pub struct World {
    pub db: Db,
    pub folder: TempDir,
    clock: Arc<AtomicI64>,
}

impl World {
    pub async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(START));
        let db = open(&folder, clock.clone()).await;
        World { db, folder, clock }
    }

    /// The same file through connections of its own, as another process has them.
    pub async fn again(&self) -> Db {
        open(&self.folder, self.clock.clone()).await
    }

    pub fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub fn wait(&self, micros: i64) {
        self.clock.fetch_add(micros, Ordering::SeqCst);
    }

    /// A person who signs in by password alone, as a principal.
    pub async fn person(&self, login: &str, role: Role, units: &[&str]) -> Principal {
        self.db.create_user(&user(login, role, units)).await.unwrap();
        self.db.sign_in(login, PASSWORD, "").await.unwrap().principal
    }
}

async fn open(folder: &TempDir, clock: Arc<AtomicI64>) -> Db {
    let options =
        Options { cost: PasswordCost::least(), clock: Arc::new(move || clock.load(Ordering::SeqCst)) };
    Db::open_with("sqlite://state.db", folder.path(), options).await.unwrap()
}

pub fn user(login: &str, role: Role, units: &[&str]) -> NewUser {
    NewUser {
        login: login.to_owned(),
        name: format!("{login} i test"),
        staff_user_id: Some(format!("SE1-{}", login.to_uppercase())),
        roles: vec![role],
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
        password: PASSWORD.to_owned(),
        without_second_factor: true,
        ..NewUser::default()
    }
}

pub fn with_codes(login: &str, role: Role) -> (NewUser, TotpSecret) {
    let secret = TotpSecret::generate();
    let new = NewUser { totp: Some(secret.clone()), without_second_factor: false, ..user(login, role, &[]) };
    (new, secret)
}

/// A finding of this rule about this user, with these events, each an event id that is its time in seconds too.
pub fn finding(rule: &str, user: &str, unit: &str, events: &[u32]) -> Finding {
    let mut events = events.to_vec();
    events.sort_unstable();
    let amount = format!("{} accesses", events.len());
    let mut reasons = vec![Text { sv: format!("{} öppningar", events.len()), en: amount }];
    reasons.extend(
        events.iter().map(|e| Text { sv: format!("Öppning {}", e % 3), en: format!("Look {}", e % 3) }),
    );
    let sum: u32 = events.iter().sum();
    Finding {
        finding_id: identity(rule, user, Some("191212121212"), "2026-09"),
        rule_id: rule.to_owned(),
        rule_version: 1,
        level: Level::High,
        score: u8::try_from(sum % 101).unwrap(),
        status: FindingStatus::New,
        outcome: Outcome::None,
        settles_at: None,
        user_id: user.to_owned(),
        subject_id: Some("191212121212".to_owned()),
        care_unit_id: Some(unit.to_owned()),
        controller_id: Some("N1".to_owned()),
        first_at: events.first().map_or(START, |e| START + i64::from(*e) * SECOND),
        last_at: events.last().map_or(START, |e| START + i64::from(*e) * SECOND),
        event_count: events.len() as u64,
        event_ids: events.iter().map(|e| format!("e{e}")).collect(),
        title_sv: "Ingen registrerad vårdrelation".to_owned(),
        title_en: "No registered care relation".to_owned(),
        reasons,
        created_at: START,
        evidence: serde_json::json!({
            "window": { "name": "2026-09" }, "parameters": {}, "context": { "staff": [{ "user_id": user }] },
            "events": events.iter().map(|e| row(*e, unit)).collect::<Vec<_>>(),
        }),
    }
}

/// An access as evidence keeps it: none of its finding's sentences is about it alone.
fn row(event: u32, unit: &str) -> Event {
    Event {
        event_id: format!("e{event}"),
        source: "journal".to_owned(),
        occurred_at: START + i64::from(event) * SECOND,
        activity: Some("Läsa".to_owned()),
        care_unit_id: Some(unit.to_owned()),
        level: Level::High,
        reasons: Vec::new(),
        explained: None,
    }
}

pub fn run(id: &str) -> RunRecord {
    RunRecord {
        run_id: id.to_owned(),
        started_at: START,
        finished_at: START + SECOND,
        from: None,
        to: Some(START),
        news: false,
        spent: insyn_rules::Spent::default(),
        notes: Vec::new(),
        marks: Vec::new(),
        shadow: Vec::new(),
        lake_version: 7,
        context_load: None,
        accesses: 3,
        rules: Vec::new(),
        explained: insyn_rules::Explained::default(),
        evaluated: insyn_rules::Evaluated::default(),
    }
}
