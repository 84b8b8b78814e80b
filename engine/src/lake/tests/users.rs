//! `user_accesses` against `access_events` and against plain vectors: the same answers, however far it follows.

use std::collections::BTreeSet;

use arrow::array::{Array, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use chrono_tz::Tz;
use deltalake::kernel::Action as DeltaAction;
use proptest::prelude::*;

use super::compact::TINY;
use super::runs::{Zeal, level_of, path_at};
use super::*;
use crate::lake::log::Decision;
use crate::lake::{actions, compact as merging, encode};
use crate::session::{OWN_SOURCE, Scope, Session};
use crate::trace::{self, Of, Query};

const ZONE: Tz = Tz::Europe__Stockholm;
const HOUR: i64 = 3_600_000_000;
pub(super) const SOURCES: [&str; 3] = ["journal", "omsorg", OWN_SOURCE];

#[derive(Debug, Clone)]
enum Action {
    Commit {
        source: usize,
        events: u8,
        years: i64,
    },
    /// Rows of a period are replaced.
    Amend {
        source: usize,
        from: i64,
        rows: u8,
        whole: bool,
    },
    /// One person's rows are removed from one file, or all of it, as by a decision.
    Remove {
        file: usize,
        subject: i64,
        whole: bool,
    },
    Follow,
    /// So many steps of the plan, whatever they are.
    Compact {
        steps: u8,
    },
    /// Files of `access_events` are merged, and `user_accesses` does not know.
    Merge,
    Reopen,
    Checkpoint,
    /// The folder of `user_accesses` is taken away.
    Lose,
    Ask {
        user: i64,
        from: i64,
        hours: i64,
        limit: usize,
    },
    /// What is pinned now is asked in the end.
    Pin,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0..3_usize, 0..50_u8, 0..3_i64).prop_map(|(source, events, years)| Action::Commit { source, events, years }),
        2 => (0..3_usize, 0..300_i64, 0..9_u8, any::<bool>())
            .prop_map(|(source, from, rows, whole)| Action::Amend { source, from, rows, whole }),
        2 => (0..9_usize, 0..50_i64, any::<bool>()).prop_map(|(file, subject, whole)| Action::Remove { file, subject, whole }),
        4 => Just(Action::Follow),
        3 => (1..6_u8).prop_map(|steps| Action::Compact { steps }),
        3 => Just(Action::Merge),
        1 => Just(Action::Reopen),
        1 => Just(Action::Checkpoint),
        1 => Just(Action::Lose),
        3 => (0..11_i64, 0..400_i64, 1..500_i64, 1..40_usize)
            .prop_map(|(user, from, hours, limit)| Action::Ask { user, from, hours, limit }),
        1 => Just(Action::Pin),
    ]
}

/// An event that may be told of by two records, or be about several persons; hours and years lie apart.
pub(super) fn some_event(source: &str, n: i64, years: i64) -> AccessEvent {
    let same_record = n % 10 == 1;
    AccessEvent {
        event_id: match (n % 9, same_record) {
            (0, _) => format!("{source}-again{}", n / 40),
            (_, true) => format!("{source}-{}", n - 1),
            _ => format!("{source}-{n}"),
        },
        occurred_at: JULY_2026 + n * 7919 % 400 * HOUR + n % 3 * 600_000_000 - n % (years + 1) * YEAR,
        care_unit_id: (n % 4 != 0).then(|| format!("U{}", n % 3)),
        controller_id: format!("SE1-{}", n % 2),
        file_offset: if same_record { (n - 1) * 100 } else { n * 100 },
        ..event(source, n)
    }
}

pub(super) async fn with_accounts(lake: &Lake, folder: &FsPath) {
    let context = folder.join("context");
    std::fs::create_dir_all(&context).unwrap();
    let half = "2026-07-10T00:00:00Z";
    let accounts = format!(
        "source,account_id,user_id,valid_from,valid_to\njournal,SE1-3,SE1-1,,{half}\njournal,SE1-3,SE1-2,{half},\n,SE1-4,SE1-1,,\n"
    );
    std::fs::write(context.join("accounts.csv"), accounts).unwrap();
    let identities = format!("subject_id,other_id,other_id_type,valid_from\n1912{:08},1912{:08},x,\n", 2, 9);
    std::fs::write(context.join("identities.csv"), identities).unwrap();
    crate::context::load(lake, &context, ZONE).await.unwrap();
}

async fn run(actions: &[Action]) {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = open_tiny(folder.path()).await;
    with_accounts(&lake, folder.path()).await;
    let mut oracle = Oracle::default();
    let mut pinned: Option<(Snapshot, Oracle)> = None;
    let mut next = 1_i64;
    for action in actions {
        match *action {
            Action::Commit { source, events, years } => {
                let source = SOURCES[source];
                let sequence = lake.progress(source).await.unwrap().sequence + 1;
                let events = (next..next + i64::from(events)).map(|n| some_event(source, n, years));
                let given = SourceCommit { events: events.collect(), ..batch(source, sequence, 0..0) };
                next += given.events.len() as i64;
                oracle.add(&given);
                lake.commit(given).await.unwrap();
                settled(&lake).await;
            }
            Action::Amend { source, from, rows, whole } => {
                let source = SOURCES[source];
                let Ok(mut amendment) = lake.amend(source).await else { continue };
                let events: Vec<_> =
                    (next..next + i64::from(rows)).map(|n| some_event(source, n, 1)).collect();
                next += i64::from(rows);
                if !events.is_empty() {
                    amendment.put(events.clone()).await.unwrap();
                }
                let at = JULY_2026 + from * HOUR;
                let window = Window { from: Some(at), to: Some(at + 90 * HOUR) };
                let changes = Changes {
                    replaces: Some(if whole { Window::default() } else { window }),
                    kind: "again",
                    ..Changes::default()
                };
                oracle.amend(source, &events, &changes);
                amendment.commit(changes).await.unwrap();
            }
            Action::Remove { file, subject, whole } => {
                let gone = remove(&lake, file, &format!("1912{:08}", subject), whole).await;
                oracle.events.retain(|event| !gone.contains(&(event.segment, event.seq)));
            }
            Action::Follow => drop(lake.inner.follow().await.unwrap()),
            Action::Compact { steps } => {
                for _ in 0..steps {
                    if lake.compact().await.unwrap().is_none() {
                        break;
                    }
                }
            }
            Action::Merge => drop(lake.inner.merge(Table::AccessEvents, Zeal::All).await.unwrap()),
            Action::Reopen => lake = open_tiny(folder.path()).await,
            Action::Checkpoint => drop(lake.checkpoint().await.unwrap()),
            // It may have been lost before; and who has it pinned has lost it too.
            Action::Lose => {
                drop(std::fs::remove_dir_all(folder.path().join("lake/user_accesses")));
                pinned = None;
            }
            Action::Ask { user, from, hours, limit } => {
                let mut query = Query::new(Of::User(format!("SE1-{user}")));
                query.from = Some(JULY_2026 + from * HOUR + 1);
                query.to = query.from.map(|from| from + hours * HOUR);
                query.limit = Some(limit);
                query.own = hours % 2 == 0;
                query.gap = if hours % 3 == 0 { HOUR } else { trace::VISIT_GAP };
                if limit % 5 == 0 {
                    query.filters = vec![("care_unit_id".into(), "U1".into())];
                }
                if limit % 7 == 0 {
                    query.controllers = vec!["SE1-1".into()];
                }
                let snapshot = lake.snapshot().await.unwrap();
                assert_answers(&lake, snapshot, &oracle, &query).await;
            }
            Action::Pin => pinned = Some((lake.snapshot().await.unwrap(), oracle.clone())),
        }
    }
    let snapshot = lake.snapshot().await.unwrap();
    for (snapshot, oracle) in [(snapshot, oracle)].into_iter().chain(pinned) {
        for (user, limit) in [("SE1-1", 40), ("SE1-3", 7), ("SE1-9", 3)] {
            let query = Query { limit: Some(limit), ..Query::new(Of::User(user.to_owned())) };
            assert_answers(&lake, snapshot.clone(), &oracle, &query).await;
        }
        assert_tables(&lake, snapshot).await;
    }
}

async fn open_tiny(folder: &FsPath) -> Lake {
    let mut lake = open(folder).await;
    Arc::get_mut(&mut lake.inner).unwrap().upkeep.bounds = TINY;
    lake
}

/// Until nothing is merged beside any more.
pub(super) async fn settled(lake: &Lake) {
    while lake.inner.upkeep.merging.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Takes a person's rows out of a file, or the whole file, as any other part of Insyn may; which rows went.
pub(super) async fn remove(lake: &Lake, file: usize, subject: &str, whole: bool) -> BTreeSet<(i64, i32)> {
    let log = lake.inner.events();
    let state = log.current().await.unwrap();
    let Some(file) = state.files.get(file) else { return BTreeSet::new() };
    let table = Table::AccessEvents;
    let bytes = log.read_file(actions::within(table, &file.path)).await.unwrap();
    let (mut gone, mut kept) = (BTreeSet::new(), Vec::new());
    for batch in merging::read(table, bytes, None).unwrap() {
        let subjects = table.column(&batch, "subject_id").unwrap().as_string::<i32>();
        let stays: BooleanArray = (0..batch.num_rows())
            .map(|row| Some(!whole && (subjects.is_null(row) || subjects.value(row) != subject)))
            .collect();
        for row in (0..batch.num_rows()).filter(|row| !stays.value(*row)) {
            let segment = table.column(&batch, "segment").unwrap().as_primitive::<Int64Type>().value(row);
            let seq =
                table.column(&batch, "seq").unwrap().as_primitive::<arrow::datatypes::Int32Type>().value(row);
            gone.insert((segment, seq));
        }
        kept.push(filter_record_batch(&batch, &stays).unwrap());
    }
    if gone.is_empty() {
        return gone;
    }
    let year = file.year.clone().unwrap();
    let mut changes = vec![actions::removal(table, file, true)];
    if kept.iter().any(|batch| batch.num_rows() > 0) {
        let encoded = encode::merged(table, &kept).unwrap();
        let add = actions::addition(path_at(&year, level_of(&file.path)), Some(year), &encoded);
        log.put_file(&add.path, encoded.bytes).await.unwrap();
        changes.push(DeltaAction::Add(add));
    }
    log.transact(|_| Ok(Decision::Commit(changes.clone()))).await.unwrap();
    gone
}

/// Day, subject and unit, as they are ordered: null comes last.
type DayKey = (i32, bool, String, bool, String);

/// What the vectors say of a question by day.
fn days_of(oracle: &Oracle, query: &Query) -> Vec<(String, String, i32, i64, i64, i64)> {
    let Of::User(user) = &query.of else { unreachable!() };
    let half = chrono::DateTime::parse_from_rfc3339("2026-07-10T00:00:00Z").unwrap().timestamp_micros();
    let actor = |event: &AccessEvent| {
        let id = event.user_id.clone()?;
        Some(match (event.source.as_str(), id.as_str()) {
            // The later holding wins where both cover the instant.
            ("journal", "SE1-3") if event.occurred_at >= half => "SE1-2".to_owned(),
            ("journal", "SE1-3") => "SE1-1".to_owned(),
            (_, "SE1-4") => "SE1-1".to_owned(),
            _ => id,
        })
    };
    let window = Window { from: query.from, to: query.to };
    // Whoever asks for an account asks for those who held it in the period.
    let mut people = BTreeSet::from([user.clone()]);
    let (from, to) = (query.from.unwrap_or(i64::MIN), query.to.unwrap_or(i64::MAX));
    if user == "SE1-3" {
        people.extend((from <= half).then(|| "SE1-1".to_owned()));
        people.extend((half < to).then(|| "SE1-2".to_owned()));
    }
    if user == "SE1-4" {
        people.insert("SE1-1".to_owned());
    }
    let mut found: BTreeMap<DayKey, (i64, i64, i64)> = BTreeMap::new();
    for event in &oracle.events {
        let is_theirs =
            event.user_id.as_ref() == Some(user) || actor(event).is_some_and(|actor| people.contains(&actor));
        let passes = query.filters.iter().all(|(_, unit)| event.care_unit_id.as_ref() == Some(unit));
        let controlled = query.controllers.is_empty() || query.controllers.contains(&event.controller_id);
        if !is_theirs
            || !passes
            || !controlled
            || !window.holds(event.occurred_at)
            || (!query.own && event.source == OWN_SOURCE)
        {
            continue;
        }
        let local = chrono::DateTime::from_timestamp_micros(event.occurred_at).unwrap().with_timezone(&ZONE);
        let day = Date32Type::from_naive_date(local.date_naive());
        let (subject, unit) = (event.subject_id.clone(), event.care_unit_id.clone());
        let key =
            (day, subject.is_none(), subject.unwrap_or_default(), unit.is_none(), unit.unwrap_or_default());
        let at = event.occurred_at;
        let count = found.entry(key).or_insert((0, at, at));
        *count = (count.0 + 1, count.1.min(at), count.2.max(at));
    }
    found
        .into_iter()
        .map(|((day, _, subject, _, unit), (n, first, last))| (subject, unit, day, n, first, last))
        .collect()
}

fn days_in(batches: &[RecordBatch]) -> Vec<(String, String, i32, i64, i64, i64)> {
    let mut rows = Vec::new();
    for batch in batches {
        let text = |i: usize, row: usize| {
            let column = batch.column(i).as_string::<i32>();
            if column.is_null(row) { String::new() } else { column.value(row).to_owned() }
        };
        let time =
            |i: usize, row: usize| batch.column(i).as_primitive::<TimestampMicrosecondType>().value(row);
        rows.extend((0..batch.num_rows()).map(|row| {
            let day = batch.column(2).as_primitive::<Date32Type>().value(row);
            let n = batch.column(3).as_primitive::<Int64Type>().value(row);
            (text(0, row), text(1, row), day, n, time(4, row), time(5, row))
        }));
    }
    rows
}

pub(super) async fn assert_answers(lake: &Lake, snapshot: Snapshot, oracle: &Oracle, query: &Query) {
    let session = Session::over(lake, snapshot.clone(), ZONE, Scope::All).await.unwrap();
    let alone = Session::without_user_accesses(lake, snapshot, ZONE, Scope::All).await.unwrap();
    // Day by day, page after page, against the vectors.
    let expected = days_of(oracle, query);
    let (mut found, mut asked) = (Vec::new(), query.clone());
    loop {
        let page = trace::days::days(&session, &asked).await.unwrap();
        let mut rest: Vec<_> = expected.iter().skip(found.len()).cloned().collect();
        assert_eq!(page.summary.counts, rest.len() as u64, "{asked:?}");
        assert_eq!(page.summary.rows, rest.iter().map(|row| row.3.unsigned_abs()).sum::<u64>());
        assert_eq!(page.summary.days, rest.iter().map(|row| row.2).collect::<BTreeSet<_>>().len() as u64);
        assert_eq!(page.summary.last, rest.iter().map(|row| row.5).max());
        let rows = days_in(&page.batches);
        rest.truncate(rows.len());
        assert_eq!(rows, rest);
        found.extend(rows);
        match page.next {
            next @ Some(_) => asked.after = next,
            None => break,
        }
    }
    assert_eq!(found.len(), expected.len());
    // The rows themselves, and what they come to, against access_events alone.
    let (one, other) =
        (trace::trace(&session, query).await.unwrap(), trace::trace(&alone, query).await.unwrap());
    assert_eq!(one.summary, other.summary, "{query:?}");
    assert_eq!(one.summary.rows, expected.iter().map(|row| row.3.unsigned_abs()).sum::<u64>());
    assert_eq!((&one.subjects, &one.last, &one.joined), (&other.subjects, &other.last, &other.joined));
    let whole = |found: &trace::Trace| concat_batches(&found.schema, &found.batches).unwrap();
    assert_eq!(whole(&one), whole(&other));
    let mut streamed = trace::stream(&session, query).await.unwrap();
    assert_eq!(streamed.summary, trace::stream(&alone, query).await.unwrap().summary);
    let mut rows = 0;
    while let Some(batch) = streamed.next().await.unwrap() {
        rows += batch.num_rows() as u64;
    }
    assert_eq!(rows, streamed.summary.rows);
}

/// The tables that SQL sees, against `access_events`.
pub(super) async fn assert_tables(lake: &Lake, snapshot: Snapshot) {
    let session = Session::over(lake, snapshot, ZONE, Scope::All).await.unwrap();
    for (one, other) in [
        (
            "SELECT user_id, count(*) n, count(DISTINCT subject_id) s, min(occurred_at) f, sum(seq) q, max(year) y \
             FROM user_accesses GROUP BY user_id ORDER BY user_id",
            "SELECT user_id, count(*) n, count(DISTINCT subject_id) s, min(occurred_at) f, sum(seq) q, max(year) y \
             FROM access_events GROUP BY user_id ORDER BY user_id",
        ),
        (
            "SELECT user_id, count(DISTINCT subject_id) s, sum(n) n, max(last) l FROM user_days GROUP BY user_id ORDER BY user_id",
            "SELECT user_id, count(DISTINCT subject_id) s, count(*) n, max(occurred_at) l FROM access_events GROUP BY user_id \
             ORDER BY user_id",
        ),
        (
            "SELECT count(*) n FROM user_days",
            "SELECT count(*) n FROM (SELECT DISTINCT user_id, source, controller_id, subject_id, care_unit_id, \
             local_date(occurred_at) FROM access_events) AS d",
        ),
    ] {
        let (one, other) = (session.sql(one).await.unwrap(), session.sql(other).await.unwrap());
        let whole =
            |answer: &crate::session::Answer| concat_batches(&answer.schema, &answer.batches).unwrap();
        assert_eq!(whole(&one).columns(), whole(&other).columns());
    }
}

/// Each asks a lake some hundred questions.
fn sequences() -> u32 {
    std::env::var("INSYN_SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sequences(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_answers_are_those_of_access_events_alone(actions in prop::collection::vec(action(), 1..24)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(&actions));
    }
}
