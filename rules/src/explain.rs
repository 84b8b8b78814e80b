//! Explanations: the reasons to look that the organisation's own data give, and how much each of them explains.
//!
//! An explanation is a file like a rule's, of which the SQL names the looks that it has a reason for. What the user could
//! have made themself (`by_user`) is told, and alone explains nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::DataFusionError;
use insyn_engine::session::Session;
use serde::Serialize;

use crate::desk::{Desk, ready, text_array};
use crate::history::{self, UNEXPLAINED};
use crate::hits::{self, Placed};
use crate::pack::Pack;
use crate::rule::{Explains, Rule, Text};
use crate::run::{Limits, RunError, plain};
use crate::score::Grade;
use crate::sight::Sight;
use crate::standing::Standings;
use crate::{sql, views};

/// The table of explained looks.
pub(crate) const EXPLAINED: &str = "explained";
/// The column in which an explanation says that the user could have made it themself.
pub(crate) const BY_USER: &str = "by_user";
/// The column in which it says when it was made; null where that does not matter.
const MADE_AT: &str = "made_at";
/// What an explanation's SQL gives beside what a rule's does.
pub(crate) const COLUMNS: [&str; 2] = [BY_USER, MADE_AT];

/// The table of which a unit must have rows, so that something can be said of what happened there.
pub(crate) const RELATIONS: &str = "care_relations";
/// As near in time, µs: a week.
const AROUND: i64 = 7 * 86_400_000_000;
/// So long after it was loaded what is missing in it says something, µs: two weeks, as the rules have it.
const FRESH: i64 = 14 * 86_400_000_000;

/// A reason that an access has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Because {
    /// Which explanation.
    pub explanation: String,
    /// Whom it explains.
    pub explains: Explains,
    /// The user could have made it themself: alone it explains nothing.
    pub by_user: bool,
    /// What was seen, in a sentence.
    pub reason: Text,
}

/// What is to be explained.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The persons whose records were looked in, under any of their numbers.
    pub subjects: Vec<String>,
    /// From, µs UTC.
    pub from: i64,
    /// To, without it.
    pub to: i64,
}

/// The reasons of some accesses.
#[derive(Debug, Clone, Default)]
pub struct Reasons {
    /// By `segment` and `seq`, in order of the explanations.
    pub of: HashMap<(i64, i64), Vec<Because>>,
    /// The accesses that ask for a reason, by people at work in a known person's record; and whether the context holds
    /// anything of their unit then.
    looks: HashMap<(i64, i64), bool>,
    /// Explanations that could not be tried, and why.
    pub failed: Vec<(String, String)>,
    /// Context tables that explanations need and that nobody has loaded.
    pub missing: BTreeSet<String>,
    /// No table is loaded that could explain: nothing can be said.
    is_blind: bool,
    /// Of some of the accesses nothing can be said: the context holds nothing of their unit then.
    pub uncovered: bool,
}

/// How an access stands, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Something that the user could not have made explains it.
    Explained,
    /// Only the user's own doing would.
    OnlyByUser,
    /// Nothing does. That is no reproach: much that is right is not written down.
    Unexplained,
}

impl Standing {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Explained => "explained",
            Standing::OnlyByUser => "only_by_user",
            Standing::Unexplained => "unexplained",
        }
    }
}

impl Reasons {
    /// The reasons of the access at this place.
    pub fn at(&self, place: (i64, i64)) -> &[Because] {
        self.of.get(&place).map_or(&[][..], Vec::as_slice)
    }

    /// How the access at this place stands; none where it asks for no reason, or none could be known.
    pub fn standing(&self, place: (i64, i64)) -> Option<Standing> {
        let (reasons, covered) = (self.at(place), *self.looks.get(&place)?);
        let by_user = |reason: &Because| reason.by_user && reason.explains != Explains::Provider;
        if reasons.iter().any(|reason| reason.explains.is_enough(reason.by_user)) {
            Some(Standing::Explained)
        } else if self.is_blind || !self.failed.is_empty() || !covered {
            None
        } else if reasons.iter().any(by_user) {
            Some(Standing::OnlyByUser)
        } else {
            Some(Standing::Unexplained)
        }
    }
}

/// Why somebody looked: the reasons of each access to these persons' records in the period.
///
/// # Errors
/// When the tables that every explanation reads cannot be read; an explanation's own error is in the answer.
pub async fn explain(pack: &Pack, session: &Session, asked: &Asked) -> Result<Reasons, RunError> {
    ready(session, pack).await?;
    let explanations: Vec<&Rule> = pack.explanations().collect();
    let numbers: BTreeSet<String> = asked.subjects.iter().flat_map(|id| session.numbers_of(id)).collect();
    let desk = Desk::about(session.datafusion(), &explanations, Some(numbers.into_iter().collect())).await?;
    let around = around(&explanations);
    let sight = (asked.from.saturating_sub(around), asked.to.saturating_add(around));
    desk.lay(&Sight::of(sight.0, sight.1)).await?;
    desk.lay_history(sight).await?;
    let is_there = |table: &String| {
        session
            .context_load()
            .is_some_and(|load| load.tables.iter().any(|of| of.table == *table && of.rows > 0))
    };
    let explains = |rule: &&&Rule| rule.explains != Some(Explains::Provider) && !rule.needs.is_empty();
    let looks = looks(&desk, session, (asked.from, asked.to)).await?;
    let mut reasons = Reasons {
        uncovered: looks.values().any(|covered| !covered),
        looks,
        missing: explanations
            .iter()
            .flat_map(|rule| &rule.needs)
            .filter(|table| !is_there(table))
            .cloned()
            .collect(),
        is_blind: !explanations.iter().filter(explains).any(|rule| rule.needs.iter().all(is_there)),
        ..Reasons::default()
    };
    for rule in explanations {
        match reasons_of(rule, &desk, (asked.from, asked.to), session.zone()).await {
            Ok(found) => {
                for (place, because) in found {
                    let known = reasons.of.entry(place).or_default();
                    match known.iter_mut().find(|known| known.explanation == because.explanation) {
                        // One reason of a kind is enough; one that is not the user's own says more.
                        Some(known) if known.by_user && !because.by_user => *known = because,
                        Some(_) => {}
                        None => known.push(because),
                    }
                }
            }
            Err(why) => reasons.failed.push((rule.id.clone(), why)),
        }
    }
    Ok(reasons)
}

/// The looks of a period, and of each whether the relations that are loaded hold anything of its unit around then.
async fn looks(
    desk: &Desk,
    session: &Session,
    period: (i64, i64),
) -> Result<HashMap<(i64, i64), bool>, DataFusionError> {
    let (from, to) = (sql::timestamp(period.0), sql::timestamp(period.1));
    let query = format!(
        "select segment, seq, care_unit_id, cast(occurred_at as bigint) as at from looks \
         where occurred_at >= {from} and occurred_at < {to}"
    );
    let load = session.context_load();
    let relations = load.and_then(|load| load.tables.iter().find(|table| table.table == RELATIONS));
    let fresh_to = load.map_or(i64::MIN, |load| load.loaded_at.saturating_add(FRESH));
    let covers = |unit: &str, at: i64| {
        let units =
            relations.iter().flat_map(|table| &table.units).filter(|known| known.care_unit_id == unit);
        units.into_iter().any(|known| {
            known.from.is_none_or(|from| from <= at.saturating_add(AROUND))
                && known.to.is_none_or(|to| at.saturating_sub(AROUND) <= to)
        })
    };
    let mut places = HashMap::new();
    for batch in desk.ctx.sql(&query).await?.collect().await? {
        let (segment, seq, at) =
            (hits::long(&batch, "segment")?, hits::long(&batch, "seq")?, hits::long(&batch, "at")?);
        let unit = text_array(&batch, 2)?;
        for row in 0..batch.num_rows() {
            let (unit, at) = (unit.is_valid(row).then(|| unit.value(row)), at.value(row));
            let near = |unit: &str| covers(unit, at) || desk.near(unit).any(|near| covers(near, at));
            places.insert((segment.value(row), seq.value(row)), at <= fresh_to && unit.is_some_and(near));
        }
    }
    Ok(places)
}

/// How far around a look explanations look for its reasons, µs.
pub(crate) fn around(explanations: &[&Rule]) -> i64 {
    explanations.iter().filter_map(|rule| rule.looks_around).map(|around| around.micros()).max().unwrap_or(0)
}

async fn reasons_of(
    rule: &Rule,
    desk: &Desk,
    period: (i64, i64),
    zone: chrono_tz::Tz,
) -> Result<Vec<((i64, i64), Because)>, String> {
    let batches =
        answer(rule, desk, &sql::render(&rule.sql, &rule.params, period).map_err(|f| f.what)?.sql).await?;
    let hits = hits::read(rule, 0, &batches, zone).map_err(|e| plain(&e))?;
    let by_user = batches.iter().map(by_user).collect::<Result<Vec<_>, _>>().map_err(|e| plain(&e))?;
    let found = hits.into_iter().zip(by_user.into_iter().flatten());
    let within = found.filter(|(hit, _)| (period.0..period.1).contains(&hit.at));
    Ok(within
        .map(|(hit, by_user)| {
            let explains = rule.explains.unwrap_or(Explains::Provider);
            (hit.place, Because { explanation: rule.id.clone(), explains, by_user, reason: hit.reason })
        })
        .collect())
}

async fn answer(rule: &Rule, desk: &Desk, query: &str) -> Result<Vec<RecordBatch>, String> {
    let limits = Limits::default();
    let asked = async { desk.ctx.sql(query).await?.collect().await };
    match tokio::time::timeout(limits.rule_time, asked).await {
        Ok(answer) => answer.map_err(|error| plain(&error)),
        Err(_) => {
            Err(format!("{} stopped after {} seconds, its time limit", rule.id, limits.rule_time.as_secs()))
        }
    }
}

/// What the column says, row by row.
fn by_user(batch: &RecordBatch) -> Result<Vec<bool>, DataFusionError> {
    let lacks = || DataFusionError::Plan(format!("the SQL gives no column \"{BY_USER}\""));
    let column = cast(batch.column_by_name(BY_USER).ok_or_else(lacks)?, &DataType::Boolean)?;
    let column = column.as_boolean();
    // What is not known to be another's may be the user's own.
    Ok((0..batch.num_rows()).map(|row| column.is_null(row) || column.value(row)).collect())
}

/// Puts the table of explained looks on the desk, and that of the others: those of `whole`, whatever else lies there. An
/// explanation that asks what was done before and after is asked only about the looks that the others leave. An explanation
/// with a fault leaves no table: a rule that leans on it then says so, and accuses nobody for want of it. Gives how each look stands.
///
/// One explanation after the other: each holds the looks for a join with its table, and no more than one at a time does.
pub(crate) async fn lay(
    explanations: &[&Rule],
    desk: &Desk,
    whole: (i64, i64),
) -> Result<Arc<Standings>, String> {
    let (later, first): (Vec<&Rule>, Vec<&Rule>) =
        explanations.iter().copied().partition(|rule| history::asks(rule));
    let schema = explained_schema();
    let limit = Limits::default().rule_time;
    let put = async {
        let mut laid: Vec<Vec<RecordBatch>> = Vec::new();
        let mut standings = Arc::new(Standings::default());
        for rule in first {
            add(&mut laid, Arc::make_mut(&mut standings), rule, desk, whole, &schema).await?;
        }
        let put = |laid| desk.put(EXPLAINED, Arc::clone(&schema), laid).map_err(|e| plain(&e));
        put(laid.clone())?;
        let left = desk.narrow("looks", whole, &standings).await.map_err(|e| plain(&e))?;
        desk.lay_history(whole).await.map_err(|e| plain(&e))?;
        if left > 0 && !later.is_empty() {
            for rule in later {
                add(&mut laid, Arc::make_mut(&mut standings), rule, desk, whole, &schema).await?;
            }
            put(laid)?;
            desk.narrow(UNEXPLAINED, whole, &standings).await.map_err(|e| plain(&e))?;
        }
        Ok(standings)
    };
    match tokio::time::timeout(limit, put).await {
        Ok(put) => put,
        Err(_) => {
            Err(format!("the explanations were stopped after {} seconds, their time limit", limit.as_secs()))
        }
    }
}

/// Adds the looks that one explanation has a reason for.
async fn add(
    laid: &mut Vec<Vec<RecordBatch>>,
    standings: &mut Standings,
    rule: &Rule,
    desk: &Desk,
    whole: (i64, i64),
    schema: &SchemaRef,
) -> Result<(), String> {
    let fault = |what: String| format!("the explanation {}: {what}", rule.id);
    let frame = desk.ctx.sql(&part(rule, whole)?).await.map_err(|e| fault(plain(&e)))?;
    let parts = frame.collect_partitioned().await.map_err(|e| fault(plain(&e)))?;
    for (n, batches) in parts.into_iter().enumerate() {
        if laid.len() <= n {
            laid.push(Vec::new());
        }
        for batch in batches {
            let rows = views::rows_of(&batch, schema).map_err(|e| fault(e.to_string()))?;
            standings.add(&rows).map_err(|e| fault(plain(&e)))?;
            laid[n].push(rows);
        }
    }
    Ok(())
}

/// The columns of the table of explained looks.
fn explained_schema() -> SchemaRef {
    let word = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = [
        ("segment", DataType::Int64),
        ("seq", DataType::Int32),
        ("explanation", word()),
        ("explains", word()),
        (BY_USER, DataType::Boolean),
        (MADE_AT, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ];
    Arc::new(Schema::new(fields.map(|(name, kind)| Field::new(name, kind, true)).to_vec()))
}

/// Says of each hit the best reason that its access has, out of the table of explained looks.
pub(crate) async fn grade(placed: &mut Placed<'_>, desk: &Desk) -> Result<(), DataFusionError> {
    let query = format!(
        "select distinct segment, seq, cast(explains as varchar) as explains, {BY_USER} \
         from {EXPLAINED} join placed on segment = at_segment and seq = at_seq"
    );
    placed
        .ask(desk, &query, |batch, row, hit| {
            let explains: Explains =
                batch.column(2).as_string::<i32>().value(row).parse().map_err(DataFusionError::Plan)?;
            let own = batch.column(3).as_boolean().value(row);
            hit.explained = hit.explained.max(Some(Grade::of(explains, own)));
            Ok(())
        })
        .await
}

/// A word of few that is said in very many rows.
fn word(text: &str) -> String {
    format!("arrow_cast({}, 'Dictionary(Int32, Utf8)')", sql::quoted(text))
}

/// The looks that one explanation has a reason for, as rows of the table.
fn part(rule: &Rule, period: (i64, i64)) -> Result<String, String> {
    let rendered = sql::render(&rule.sql, &rule.params, period);
    let rendered = rendered.map_err(|fault| format!("the explanation {}: {}", rule.id, fault.what))?.sql;
    let explains = rule.explains.unwrap_or(Explains::Provider);
    Ok(format!(
        "select segment, seq, {} as explanation, {} as explains, coalesce({BY_USER}, true) as {BY_USER}, \
         {MADE_AT} from ({rendered}\n) as x where occurred_at >= {} and occurred_at < {}",
        word(&rule.id),
        word(explains.as_str()),
        sql::timestamp(period.0),
        sql::timestamp(period.1)
    ))
}

/// Which places an explanation has a reason for, and whether only by the user's own doing.
pub(crate) async fn places(
    rule: &Rule,
    desk: &Desk,
    period: (i64, i64),
) -> Result<BTreeMap<(i64, i64), bool>, String> {
    let rendered = sql::render(&rule.sql, &rule.params, period).map_err(|f| f.what)?.sql;
    let (from, to) = (sql::timestamp(period.0), sql::timestamp(period.1));
    let query = format!(
        "select segment, seq, bool_and(coalesce({BY_USER}, true)) as {BY_USER} from ({rendered}\n) as x \
         where occurred_at >= {from} and occurred_at < {to} group by segment, seq"
    );
    let mut places = BTreeMap::new();
    for batch in answer(rule, desk, &query).await? {
        let own = by_user(&batch).map_err(|e| plain(&e))?;
        let segment = hits::long(&batch, "segment").map_err(|e| plain(&e))?;
        let seq = hits::long(&batch, "seq").map_err(|e| plain(&e))?;
        let place = |row: usize| (segment.value(row), seq.value(row));
        places.extend(own.into_iter().enumerate().map(|(row, own)| (place(row), own)));
    }
    Ok(places)
}
