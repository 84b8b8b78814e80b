//! Keeping what a run could judge: in place of what earlier runs said of the same days, and of no others.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use insyn_rules::{Evaluated, Place, RuleDays, RuleState, Spans, Which};
use sqlx::{QueryBuilder, Sqlite, Transaction, sqlite::SqliteRow};

use crate::{
    db::execute,
    error::{ReviewError, database},
    findings::value,
};

const DOING: &str = "recording what could be judged";
/// Rows written by one statement.
const CHUNK: usize = 400;

/// What is said of each of some days.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    state: String,
    care_unit_id: Option<String>,
    source: Option<String>,
    controller_id: Option<String>,
    accesses: Option<i64>,
    why: Option<String>,
}

/// By what is said: of which days, as numbers.
type Stretches = BTreeMap<Said, Spans>;

pub(crate) async fn put(
    tx: &mut Transaction<'static, Sqlite>,
    evaluated: &Evaluated,
) -> Result<(), ReviewError> {
    for (first, last) in &evaluated.days {
        let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM access_days WHERE day >= ");
        query.push_bind(first.to_string()).push(" AND day <= ").push_bind(last.to_string());
        execute(tx, query, DOING).await?;
    }
    let counted = |day: NaiveDate| evaluated.days.iter().any(|(first, last)| *first <= day && day <= *last);
    let accesses: Vec<(&Place, &u64)> =
        evaluated.accesses.iter().filter(|(place, _)| counted(place.day)).collect();
    for chunk in accesses.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO access_days (day, source, care_unit_id, controller_id, accesses) ",
        );
        query.push_values(chunk, |mut row, (place, accesses)| {
            row.push_bind(place.day.to_string()).push_bind(place.source.clone());
            row.push_bind(place.care_unit_id.clone().unwrap_or_default());
            row.push_bind(place.controller_id.clone().unwrap_or_default());
            row.push_bind(i64::try_from(**accesses).unwrap_or(i64::MAX));
        });
        execute(tx, query, DOING).await?;
    }
    let mut by_rule: BTreeMap<&str, Vec<&RuleDays>> = BTreeMap::new();
    evaluated.rules.iter().for_each(|said| by_rule.entry(&said.rule_id).or_default().push(said));
    for (rule_id, said) in by_rule {
        put_rule(tx, rule_id, &said).await?;
    }
    Ok(())
}

async fn put_rule(
    tx: &mut Transaction<'static, Sqlite>,
    rule_id: &str,
    said: &[&RuleDays],
) -> Result<(), ReviewError> {
    let told: Spans =
        said.iter().filter(|of| of.of == Which::All).map(|of| span(of.first, of.last)).collect();
    let Some((from, to)) = told.reach() else { return Ok(()) };
    // With what touches them, so that one day after the other becomes one stretch.
    let around = (day(from - 1), day(to));
    let before = read(tx, rule_id, &around).await?;
    let mut after: Stretches =
        before.iter().map(|(said, days)| (said.clone(), days.without(&told))).collect();
    for of in said {
        let days = after.entry(as_stored(of)).or_default();
        *days = days.with(&Spans::from(vec![span(of.first, of.last)]));
    }
    after.retain(|_, days| !days.is_empty());
    if after == before {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM rule_days");
    touching(&mut query, rule_id, &around);
    execute(tx, query, DOING).await?;
    let rows: Vec<(&Said, (i64, i64))> =
        after.iter().flat_map(|(said, days)| days.iter().map(move |days| (said, days))).collect();
    for chunk in rows.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO rule_days (rule_id, first_day, last_day, state, care_unit_id, source, controller_id, accesses, why) ",
        );
        query.push_values(chunk, |mut row, (said, (from, to))| {
            row.push_bind(rule_id.to_owned()).push_bind(day(*from)).push_bind(day(to - 1));
            row.push_bind(said.state.clone()).push_bind(said.care_unit_id.clone());
            row.push_bind(said.source.clone()).push_bind(said.controller_id.clone());
            row.push_bind(said.accesses).push_bind(said.why.clone());
        });
        execute(tx, query, DOING).await?;
    }
    Ok(())
}

async fn read(
    tx: &mut Transaction<'static, Sqlite>,
    rule_id: &str,
    around: &(String, String),
) -> Result<Stretches, ReviewError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT first_day, last_day, state, care_unit_id, source, controller_id, accesses, why FROM rule_days",
    );
    touching(&mut query, rule_id, around);
    let rows: Vec<SqliteRow> = query.build().fetch_all(&mut **tx).await.map_err(database(DOING))?;
    let mut stretches: BTreeMap<Said, Vec<(i64, i64)>> = BTreeMap::new();
    for row in &rows {
        let said = Said {
            state: value(row, "state")?,
            care_unit_id: value(row, "care_unit_id")?,
            source: value(row, "source")?,
            controller_id: value(row, "controller_id")?,
            accesses: value(row, "accesses")?,
            why: value(row, "why")?,
        };
        let days = (date(row, "first_day")?, date(row, "last_day")?);
        stretches.entry(said).or_default().push(span(days.0, days.1));
    }
    Ok(stretches.into_iter().map(|(said, days)| (said, Spans::from(days))).collect())
}

fn touching(query: &mut QueryBuilder<Sqlite>, rule_id: &str, (first, last): &(String, String)) {
    query.push(" WHERE rule_id = ").push_bind(rule_id.to_owned());
    query
        .push(" AND first_day <= ")
        .push_bind(last.clone())
        .push(" AND last_day >= ")
        .push_bind(first.clone());
}

fn as_stored(of: &RuleDays) -> Said {
    let (care_unit_id, source, controller_id, accesses) = match &of.of {
        Which::All => (None, None, None, None),
        Which::AtUnit(unit) => (Some(unit.clone()), None, None, None),
        Which::NoUnit { source, controller_id, accesses } => (
            Some(String::new()),
            Some(source.clone()),
            Some(controller_id.clone().unwrap_or_default()),
            Some(i64::try_from(*accesses).unwrap_or(i64::MAX)),
        ),
    };
    let state = match of.state {
        RuleState::Evaluated => "evaluated",
        RuleState::NotEvaluated => "not_evaluated",
        RuleState::Failed => "failed",
    };
    Said { state: state.to_owned(), care_unit_id, source, controller_id, accesses, why: of.why.clone() }
}

fn span(first: NaiveDate, last: NaiveDate) -> (i64, i64) {
    (number(first), number(last) + 1)
}

fn number(day: NaiveDate) -> i64 {
    (day - NaiveDate::default()).num_days()
}

fn day(number: i64) -> String {
    let epoch = NaiveDate::default();
    let days = Days::new(number.unsigned_abs());
    let day = if number < 0 { epoch.checked_sub_days(days) } else { epoch.checked_add_days(days) };
    day.unwrap_or(epoch).to_string()
}

fn date(row: &SqliteRow, column: &'static str) -> Result<NaiveDate, ReviewError> {
    let text: String = value(row, column)?;
    text.parse().map_err(|_| ReviewError::Stored {
        table: "rule_days",
        column,
        what: format!("expected a day, found {text:?}"),
    })
}
