//! Which fields of a source's records were really there and usable, day by day.
//!
//! A value that configuration supplied, a value that was the same all day, and an id that nobody has are counted apart:
//! none of them says anything of the access.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;

use crate::error::EngineError;
use crate::session::{Session, instant};

/// A day with fewer values does not tell whether they are the same for a reason.
const MANY: u64 = 10;

/// A field that is asked for: any of its columns fulfils it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in the answer.
    pub name: String,
    /// Columns of `access_events`, the best first.
    pub columns: Vec<String>,
    /// What configuration puts into a column where the record says nothing.
    pub constants: BTreeMap<String, String>,
    /// Where its values can be looked up.
    pub register: Option<Register>,
}

/// Who knows an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Context tables `staff` and `accounts`.
    Users,
    /// Context table `units`.
    Units,
    /// A personal number that checks, or a number with its issuer.
    Persons,
    /// A time that is not doubtful.
    Clock,
}

/// One field of one day. `there`, `constant`, `one_value`, `unresolved` and `missing` together are `rows`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDay {
    /// The day in the organisation's zone, as `2026-08-31`.
    pub day: String,
    /// Which field.
    pub field: String,
    /// Rows of `access_events`.
    pub rows: u64,
    /// Of these, with a usable value from the record.
    pub there: u64,
    /// With nothing but what configuration supplied.
    pub constant: u64,
    /// With the one value that all of the day have.
    pub one_value: u64,
    /// With an id that nobody is known to have.
    pub unresolved: u64,
    /// Without a value.
    pub missing: u64,
}

/// Each field on each day between two instants (µs UTC, the second exclusive), by day and then as the fields are given.
///
/// # Errors
/// When the lake or its context tables cannot be read.
pub async fn of(
    session: &Session,
    source: &str,
    fields: &[Field],
    from: i64,
    to: i64,
) -> Result<Vec<FieldDay>, EngineError> {
    let known = Known::of(session);
    let batches = ask(session, &query(fields, &known), Some(source), from, to).await?;
    Ok(batches.iter().flat_map(|batch| days(batch, fields)).collect())
}

/// The answer to a query with `$from`, `$to` and, where a source is given, `$source`.
async fn ask(
    session: &Session,
    query: &str,
    source: Option<&str>,
    from: i64,
    to: i64,
) -> Result<Vec<RecordBatch>, EngineError> {
    let mut parameters = vec![("from", instant(from)), ("to", instant(to))];
    parameters.extend(source.map(|source| ("source", ScalarValue::from(source))));
    Ok(session.ask(query, parameters).await?.collect().await?)
}

/// Which registers are loaded: without one, nobody can be said to be unknown.
struct Known {
    users: bool,
    units: bool,
}

impl Known {
    fn of(session: &Session) -> Known {
        let load = session.context_load();
        let loaded = |name: &str| {
            load.is_some_and(|load| load.tables.iter().any(|table| table.table == name && table.rows > 0))
        };
        Known { users: loaded("staff"), units: loaded("units") }
    }
}

fn query(fields: &[Field], known: &Known) -> String {
    let (mut values, mut sums, mut joins) = (String::new(), String::new(), String::new());
    for (n, field) in fields.iter().enumerate() {
        let own = |column: &String| match field.constants.get(column) {
            Some(constant) => {
                format!("nullif(CAST({column} AS VARCHAR), '{}')", constant.replace('\'', "''"))
            }
            None => format!("CAST({column} AS VARCHAR)"),
        };
        let own: Vec<String> = field.columns.iter().map(own).collect();
        let any = field.columns.join(" IS NOT NULL OR ");
        values
            .push_str(&format!(", coalesce({}, NULL) AS v{n}, ({any} IS NOT NULL) AS a{n}", own.join(", ")));
        let unresolved = match field.register {
            Some(Register::Users) if known.users => {
                joins.push_str(&format!(
                    " LEFT JOIN (SELECT user_id AS id FROM staff UNION SELECT account_id FROM accounts \
                     WHERE source = $source OR source IS NULL) k{n} ON e.v{n} = k{n}.id"
                ));
                format!("k{n}.id IS NULL AND coalesce(e.user_kind, 'staff') = 'staff'")
            }
            Some(Register::Units) if known.units => {
                joins.push_str(&format!(
                    " LEFT JOIN (SELECT DISTINCT care_unit_id AS id FROM units) k{n} ON e.v{n} = k{n}.id"
                ));
                format!("k{n}.id IS NULL")
            }
            Some(Register::Persons) => "e.subject_id_type IS NULL".to_owned(),
            Some(Register::Clock) => "coalesce(e.time_ambiguous, false)".to_owned(),
            _ => "false".to_owned(),
        };
        sums.push_str(&format!(
            ", count(e.v{n}) AS given{n}, count(*) FILTER (WHERE e.a{n} AND e.v{n} IS NULL) AS constant{n}, \
             count(*) FILTER (WHERE e.v{n} IS NOT NULL AND ({unresolved})) AS unresolved{n}, \
             coalesce(min(e.v{n}) = max(e.v{n}), false) AS one{n}"
        ));
    }
    format!(
        "SELECT CAST(e.day AS VARCHAR) AS on_day, count(*) AS rows{sums} FROM \
         (SELECT local_date(occurred_at) AS day, user_kind, subject_id_type, time_ambiguous{values} FROM access_events \
         WHERE source = $source AND occurred_at >= $from AND occurred_at < $to) e{joins} GROUP BY e.day ORDER BY e.day"
    )
}

fn days(batch: &RecordBatch, fields: &[Field]) -> Vec<FieldDay> {
    let number = |name: &str, row: usize| {
        let column = batch.column_by_name(name).map(|column| column.as_primitive::<Int64Type>());
        column.map_or(0, |column| column.value(row) as u64)
    };
    let mut days = Vec::new();
    for row in 0..batch.num_rows() {
        let day = batch.column(0);
        let day = day.as_string_opt::<i32>().map(|day| day.value(row).to_owned());
        let day = day.or_else(|| Some(batch.column(0).as_string_view_opt()?.value(row).to_owned()));
        let rows = number("rows", row);
        for (n, field) in fields.iter().enumerate() {
            let of = |what: &str| number(&format!("{what}{n}"), row);
            let (given, constant, unresolved) = (of("given"), of("constant"), of("unresolved"));
            let one = batch.column_by_name(&format!("one{n}")).is_some_and(|one| one.as_boolean().value(row));
            let resolved = given.saturating_sub(unresolved);
            let one_value = if one && given >= MANY { resolved } else { 0 };
            days.push(FieldDay {
                day: day.clone().unwrap_or_default(),
                field: field.name.clone(),
                rows,
                there: resolved - one_value,
                constant,
                one_value,
                unresolved,
                missing: rows.saturating_sub(given + constant),
            });
        }
    }
    days
}

/// How many events of a source happened in each hour between two instants (µs UTC; the second exclusive). Hours without
/// any are left out.
///
/// # Errors
/// When the lake cannot be read.
pub async fn hours(session: &Session, from: i64, to: i64) -> Result<Vec<(String, i64, u64)>, EngineError> {
    let query = "SELECT source, date_trunc('hour', occurred_at) AS hour, count(*) AS events FROM access_events \
                 WHERE occurred_at >= $from AND occurred_at < $to GROUP BY 1, 2 ORDER BY 1, 2";
    let mut hours = Vec::new();
    for batch in ask(session, query, None, from, to).await? {
        let sources = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        let at = arrow::compute::cast(
            batch.column(1),
            &arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
        )?;
        for row in 0..batch.num_rows() {
            hours.push((
                sources.as_string::<i32>().value(row).to_owned(),
                at.as_primitive::<TimestampMicrosecondType>().value(row),
                batch.column(2).as_primitive::<Int64Type>().value(row) as u64,
            ));
        }
    }
    Ok(hours)
}

/// What a source's own ids and clock say of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Log records.
    pub records: u64,
    /// Of these, more than their ids: a record with an id that another one has. Both are kept.
    pub repeated: u64,
    /// Rows of events that lie more than a minute after they were read.
    pub ahead: u64,
    /// The farthest of them, in µs.
    pub most_ahead: i64,
}

/// Ids that are used twice and clocks that run ahead, between two instants (µs UTC; the second exclusive).
///
/// # Errors
/// When the lake cannot be read.
pub async fn oddities(session: &Session, source: &str, from: i64, to: i64) -> Result<Oddities, EngineError> {
    let query = "SELECT count(DISTINCT file_id || ':' || CAST(file_offset AS VARCHAR)) AS records, \
                 count(DISTINCT event_id) AS ids, count(*) FILTER (WHERE ahead > 60000000) AS ahead, \
                 coalesce(max(ahead), 0) AS most FROM (SELECT event_id, file_id, file_offset, \
                 CAST(occurred_at AS BIGINT) - CAST(ingested_at AS BIGINT) AS ahead FROM access_events \
                 WHERE source = $source AND occurred_at >= $from AND occurred_at < $to)";
    let batches = ask(session, query, Some(source), from, to).await?;
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Ok(Oddities::default());
    };
    let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
    let (records, ids) = (number(0) as u64, number(1) as u64);
    Ok(Oddities {
        records,
        repeated: records.saturating_sub(ids),
        ahead: number(2) as u64,
        most_ahead: number(3).max(0),
    })
}

/// Numbers by which a source counts its records, and that no record has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub count: u64,
    /// The longest runs of them, first and last; at most twenty.
    pub runs: Vec<(i64, i64)>,
}

/// A record may have been counted so much earlier, or later, than it happened, µs.
const COUNTED_APART: i64 = 30 * 86_400_000_000;

/// Which numbers are missing among the event ids between two instants (µs UTC). Ids that are no numbers are passed over.
///
/// # Errors
/// When the lake cannot be read.
pub async fn missing(session: &Session, source: &str, from: i64, to: i64) -> Result<Missing, EngineError> {
    let numbers =
        "SELECT DISTINCT TRY_CAST(event_id AS BIGINT) AS number FROM access_events WHERE source = $source";
    // What lies outside of the period only tells that a number is not missing.
    let wide = format!("INTERVAL '{} seconds'", COUNTED_APART / 1_000_000);
    let query = format!(
        "WITH near AS ({numbers} AND occurred_at >= $from - {wide} AND occurred_at < $to + {wide}), \
         within AS ({numbers} AND occurred_at >= $from AND occurred_at < $to), \
         ends AS (SELECT min(number) AS first, max(number) AS last FROM within), \
         stepped AS (SELECT number, lead(number) OVER (ORDER BY number) AS next FROM near, ends \
                     WHERE number BETWEEN first AND last) \
         SELECT number + 1, next - 1 FROM stepped WHERE next > number + 1 ORDER BY next - number DESC, number"
    );
    let mut missing = Missing::default();
    for batch in ask(session, &query, Some(source), from, to).await? {
        let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        for (first, last) in numbers(0).values().iter().zip(numbers(1).values()) {
            missing.count += last.abs_diff(*first) + 1;
            if missing.runs.len() < RUNS {
                missing.runs.push((*first, *last));
            }
        }
    }
    Ok(missing)
}

/// So many runs are named.
const RUNS: usize = 20;
