//! A small care world in a temporary folder, and requests to it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use insyn_api::{App, AppParts, DemoAccount, PastTime, router};
use insyn_engine::{
    config::Organisation,
    context,
    event::AccessEvent,
    lake::{Lake, SourceCommit},
};
use insyn_ingest::spool::OwnLog;
use insyn_receive::Receivers;
use insyn_review::{Action, Db, NewToken, NewUser, Options, PasswordCost, Role};
use insyn_rules::{Finding, FindingStatus, FindingStore, Level, Outcome, Pack, RunRecord, Text, identity};
use tempfile::TempDir;
use tower::ServiceExt;

pub const ANNA: &str = "191212121212";
pub const BO: &str = "201212121212";
pub const UNIT: &str = "SE100-E1";
pub const OTHER_UNIT: &str = "SE100-E2";
const THIRD_UNIT: &str = "SE100-E3";
/// Whose record has more rows than a page holds.
pub const MANY: &str = "R1234567890";
pub const MANY_ROWS: usize = 205;
pub const CONTROLLER: &str = "SE100-HSN";
pub const PASSWORD: &str = "en lång hemlig fras";
/// 2026-08-31T05:07:37Z.
pub const START: i64 = 1_788_152_857_000_000;
const MINUTE: i64 = 60_000_000;

/// Every kind of asker that the roles tests know.
pub const ROLES: &[&str] =
    &["nobody", "dso", "coordinator", "reviewer", "investigator", "auditor", "operator", "program"];

pub struct House {
    pub router: Router,
    pub db: Db,
    pub spool: PathBuf,
    sessions: BTreeMap<&'static str, String>,
    token: String,
    _folder: TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The world, made once for a test.
pub async fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    let lake = Lake::open("lake", base).await.unwrap();
    lake.commit(SourceCommit {
        source: "journal".into(),
        sequence: 1,
        events: events(),
        state: "{\"next_file\":0,\"files\":[]}".into(),
        ..SourceCommit::default()
    })
    .await
    .unwrap();
    let organisation = Organisation {
        id: "SE100".into(),
        name: "Region Exempel".into(),
        timezone: chrono_tz::Tz::Europe__Stockholm,
    };
    let tables = base.join("context");
    std::fs::create_dir(&tables).unwrap();
    for (name, text) in TABLES {
        std::fs::write(tables.join(name), text).unwrap();
    }
    context::load(&lake, &tables, organisation.timezone).await.unwrap();

    let options = Options { cost: PasswordCost::least(), ..Options::default() };
    let db = Db::open_with("sqlite://state.db", base, options).await.unwrap();
    let mut sessions = BTreeMap::new();
    for (login, roles, staff) in [
        ("dso", vec![Role::Dso], None),
        ("coordinator", vec![Role::Coordinator], None),
        ("reviewer", vec![Role::Reviewer], Some("SE100-U9")),
        ("investigator", vec![Role::Investigator], None),
        ("auditor", vec![Role::Auditor], None),
        ("operator", vec![Role::Operator], None),
    ] {
        db.create_user(&NewUser {
            login: login.into(),
            name: format!("Test {login}"),
            staff_user_id: staff.map(Into::into),
            roles,
            units: vec![UNIT.into()],
            password: PASSWORD.into(),
            without_second_factor: true,
            ..NewUser::default()
        })
        .await
        .unwrap();
        sessions.insert(login, db.sign_in(login, PASSWORD, "").await.unwrap().token);
    }
    let token = db
        .create_token(&NewToken {
            name: "archive".into(),
            role: Role::Service,
            allow: vec![Action::Trace, Action::SeeHealth],
            controllers: Vec::new(),
            units: Vec::new(),
            expires_at: None,
            created_by: "test".into(),
        })
        .await
        .unwrap()
        .token;
    record(&db).await;
    let spool = base.join("spool");
    let app = App::new(AppParts {
        db: db.clone(),
        lake,
        organisation,
        pack: Arc::new(Pack::builtin().unwrap()),
        sources: vec![
            serde_json::from_value(serde_json::json!({
                "name": "journal", "format": "fhir-audit-event", "path": ["logs/*"], "legal_area": "health-care"
            }))
            .unwrap(),
        ],
        base: base.to_owned(),
        receivers: Receivers::open(&[], chrono_tz::Tz::UTC, &spool, 0).unwrap(),
        own: OwnLog::open(&spool).unwrap(),
        demo: vec![DemoAccount {
            login: "dso".into(),
            password: PASSWORD.into(),
            name: "Dana Demo".into(),
            what: Text { sv: "dataskyddsombud".into(), en: "data protection officer".into() },
            code: Arc::new(|| "123456".into()),
        }],
        count_past_time: Arc::new(|| Box::pin(async { Ok(PastTime { overdue: 7, removable: 3 }) })),
        secure: false,
    });
    House { router: router(app), db, spool, sessions, token, _folder: folder }
}

impl House {
    /// A request as somebody of [`ROLES`], from elsewhere on the network.
    pub async fn ask(&self, who: &str, request: axum::http::request::Builder, body: &str) -> Answer {
        let from: SocketAddr = ([10, 0, 0, 7], 50_000).into();
        self.ask_from(from, who, request, body).await
    }

    pub async fn ask_from(
        &self,
        from: SocketAddr,
        who: &str,
        request: axum::http::request::Builder,
        body: &str,
    ) -> Answer {
        let request = match who {
            "nobody" => request,
            "program" => request.header(header::AUTHORIZATION, format!("Bearer {}", self.token)),
            who => request.header(header::COOKIE, format!("insyn_session={}", self.sessions[who])),
        };
        let mut request =
            request.header(header::HOST, "insyn.test").body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(ConnectInfo(from));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, who: &str, path: &str) -> Answer {
        self.ask(who, Request::builder().uri(path), "").await
    }

    pub async fn post_json(&self, who: &str, path: &str, body: serde_json::Value) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        self.ask(who, request, &body.to_string()).await
    }

    /// Posts a form as a page of ours would, with the session's own token in it.
    pub async fn post_form(&self, who: &str, path: &str, fields: &str) -> Answer {
        let csrf = self.csrf(who).await;
        self.post_form_raw(who, path, &format!("csrf={csrf}&{fields}")).await
    }

    pub async fn post_form_raw(&self, who: &str, path: &str, fields: &str) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(who, request, fields).await
    }

    pub async fn csrf(&self, who: &str) -> String {
        if who == "nobody" || who == "program" {
            return String::new();
        }
        let page = self.get(who, "/").await.text();
        between(&page, "name=\"csrf\" value=\"", "\"").expect("the page has a form").to_owned()
    }

    /// What was written to the spool, line by line.
    pub fn looks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut folders = vec![self.spool.clone()];
        while let Some(folder) = folders.pop() {
            // Before the first look there may be no folder.
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries.map(Result::unwrap) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
                    lines.extend(text.lines().filter(|line| line.starts_with('{')).map(str::to_owned));
                }
            }
        }
        lines
    }

    /// The id of the finding of a rule.
    pub fn finding(rule: &str) -> String {
        findings().into_iter().find(|finding| finding.rule_id == rule).unwrap().finding_id
    }
}

pub fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}

fn events() -> Vec<AccessEvent> {
    let event = |n: i64, user: &str, name: &str, subject: &str, unit: &str, minute: i64| AccessEvent {
        event_id: format!("e{n}"),
        source: "journal".into(),
        organisation_id: "SE100".into(),
        controller_id: CONTROLLER.into(),
        occurred_at: START + minute * MINUTE,
        action: Some("R".into()),
        activity: Some("Läsa".into()),
        activity_level: Some("Journaltext".into()),
        purpose: Some("Vård och behandling".into()),
        user_id: Some(user.into()),
        user_name: Some(name.into()),
        user_title: Some("Sjuksköterska".into()),
        care_unit_id: Some(unit.into()),
        subject_id: Some(subject.into()),
        record: Some(format!("{{\"n\":{n}}}")),
        file_id: "f1".into(),
        file_offset: n * 100,
        file_length: 100,
        session_id: Some(format!("s-{user}")),
        ingested_at: START + 1000 * MINUTE,
        ..AccessEvent::default()
    };
    let mut events = vec![
        event(1, "SE100-U1", "Ulla <b>Ek</b>", ANNA, UNIT, 0),
        event(2, "SE100-U1", "Ulla <b>Ek</b>", ANNA, UNIT, 5),
        event(3, "SE100-U2", "Nils Al", ANNA, OTHER_UNIT, 20),
        event(4, "SE100-U1", "Ulla <b>Ek</b>", ANNA, UNIT, 100),
        event(5, "SE100-U1", "Ulla <b>Ek</b>", BO, UNIT, 110),
    ];
    events[3].emergency = Some(true);
    // Three at one instant: pages must part them by their place.
    events.extend((6..9).map(|n| event(n, "SE100-U3", "Eva Ny", BO, OTHER_UNIT, 200)));
    // More than a page of a unit: one every minute, a week later.
    events.extend((0..MANY_ROWS as i64).map(|n| AccessEvent {
        event_id: format!("m{n}"),
        ..event(1000 + n, "SE100-U4", "Per Mo", MANY, THIRD_UNIT, 10_000 + n)
    }));
    events
}

const TABLES: &[(&str, &str)] = &[
    (
        "units.csv",
        "care_unit_id,name,care_provider_id,care_provider_name\nSE100-E1,Vårdcentralen Linden,SE100,Region Exempel\n\
         SE100-E2,Medicinkliniken,SE100,Region Exempel\n",
    ),
    (
        "staff.csv",
        "user_id,person_id,name,title,address,postcode,employed_from,employed_to\n\
         SE100-U1,,Ulla Ek,Sjuksköterska,,,2020-01-01,\nSE100-U2,,Nils Al,Läkare,,,2020-01-01,\n",
    ),
    (
        "subjects.csv",
        "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on\n\
         191212121212,Anna Alm,,,true,false,\n201212121212,Bo Björk,,,false,false,2026-08-10\n",
    ),
    // Of a unit that nobody has.
    ("places.csv", "address_range,care_unit_id\n10.9.0.0/24,SE100-E9\n"),
];

/// A finding for the reviewer's unit, one about the reviewer, one of another unit.
pub fn findings() -> Vec<Finding> {
    let finding = |rule: &str, user: &str, unit: &str, level: Level, score: u8, events: &[&str]| Finding {
        finding_id: identity(rule, user, Some(ANNA), "2026-08-31"),
        rule_id: rule.into(),
        rule_version: 1,
        level,
        score,
        status: FindingStatus::New,
        outcome: Outcome::None,
        settles_at: None,
        user_id: user.into(),
        subject_id: Some(ANNA.into()),
        care_unit_id: Some(unit.into()),
        controller_id: Some(CONTROLLER.into()),
        first_at: START,
        last_at: START + 100 * MINUTE,
        event_count: events.len() as u64,
        event_ids: events.iter().map(|id| (*id).to_owned()).collect(),
        title_sv: format!("Ingen registrerad vårdrelation ({rule})"),
        title_en: format!("No registered care relation ({rule})"),
        reasons: vec![Text { sv: "Ingen bokning finns.".into(), en: "There is no booking.".into() }],
        created_at: START,
        evidence: serde_json::json!({ "never_cleared": false }),
    };
    vec![
        finding("test-unit", "SE100-U1", UNIT, Level::High, 80, &["e1", "e2", "e4"]),
        finding("test-own", "SE100-U9", UNIT, Level::Critical, 90, &["e1"]),
        finding("test-other", "SE100-U2", OTHER_UNIT, Level::Low, 20, &["e3"]),
    ]
}

/// Of ten looks on a unit in a day, eight are explained; of the other two nothing is known on the other unit.
fn explained(unit: &str) -> insyn_rules::ExplainedDay {
    insyn_rules::ExplainedDay {
        day: "2026-08-31".into(),
        source: "journal".into(),
        care_unit_id: Some(unit.into()),
        controller_id: Some(CONTROLLER.into()),
        looks: 10,
        explained: 8,
        only_by_user: if unit == UNIT { 1 } else { 0 },
        unknown: if unit == UNIT { 0 } else { 2 },
    }
}

/// Of a day when the other unit had no relations and the schedule was missing.
fn evaluated() -> insyn_rules::Evaluated {
    use insyn_rules::{Place, RuleDays, RuleState, Which};
    let day = chrono::NaiveDate::from_ymd_opt(2026, 8, 31).unwrap();
    let place = |unit: &str| Place {
        day,
        source: "journal".into(),
        care_unit_id: Some(unit.into()),
        controller_id: Some(CONTROLLER.into()),
    };
    let said = |rule: &str, of: Which, state: RuleState, why: Option<&str>| RuleDays {
        rule_id: rule.into(),
        first: day,
        last: day,
        of,
        state,
        why: why.map(str::to_owned),
    };
    let lacks = Some("no rows of care_relations for the unit in the calendar window");
    let empty = Some("the context table schedule is empty or not loaded");
    insyn_rules::Evaluated {
        days: vec![(day, day)],
        accesses: [UNIT, OTHER_UNIT].map(|unit| (place(unit), 10)).into(),
        rules: vec![
            said("no-care-relation", Which::All, RuleState::Evaluated, None),
            said("no-care-relation", Which::AtUnit(OTHER_UNIT.into()), RuleState::NotEvaluated, lacks),
            said("outside-schedule", Which::All, RuleState::NotEvaluated, empty),
            said("own-record", Which::All, RuleState::Evaluated, None),
        ],
    }
}

async fn record(db: &Db) {
    let run = RunRecord {
        run_id: "run-1".into(),
        started_at: START,
        finished_at: START,
        from: None,
        to: None,
        news: false,
        spent: insyn_rules::Spent::default(),
        notes: Vec::new(),
        marks: Vec::new(),
        shadow: Vec::new(),
        lake_version: 1,
        context_load: None,
        accesses: 8,
        explained: insyn_rules::Explained {
            days: vec![("2026-08-31".into(), "2026-08-31".into())],
            rows: [UNIT, OTHER_UNIT].map(explained).to_vec(),
        },
        evaluated: evaluated(),
        rules: vec![insyn_rules::RuleRun {
            rule_id: "test-unit".into(),
            version: 1,
            state: insyn_rules::RuleState::NotEvaluated,
            why: Some("the context table schedule is empty".into()),
            rows: 0,
            findings: 0,
            waiting: 0,
            settled: 0,
            not_evaluated: Vec::new(),
            parameters: BTreeMap::new(),
            milliseconds: 3,
            since: None,
            judged: Vec::new(),
        }],
    };
    db.record(&run, &findings(), &[]).await.unwrap();
}
