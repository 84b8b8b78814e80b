//! What could be judged, and what not, as the runs told it last of each day. Numbers, rules and units; no persons.

mod keep;

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use crate::{
    cursor::{MOST, Place},
    db::Db,
    error::{Refusal, ReviewError, database},
    explained::{one_of, within},
    findings::value,
    permission::{Action, may, reads_all_units},
    principal::Principal,
};

pub(crate) use keep::put;

const DOING: &str = "reading what could be judged";

/// Which days are asked for, and of which rule; `None`: of each.
#[derive(Debug, Clone, Copy)]
pub struct EvaluatedAsk<'a> {
    pub from: NaiveDate,
    /// With it.
    pub to: NaiveDate,
    pub rule: Option<&'a str>,
}

/// What could be judged of some days.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// In order of day, source and unit.
    pub places: Vec<EvaluatedPlace>,
    /// In order of rule and day.
    pub rules: Vec<RuleStretch>,
    /// Where the places go on; `None` at the end.
    pub next: Option<String>,
    /// What is said of parts of a day, by unit ('' where the log names none) and rule.
    gaps: HashMap<String, BTreeMap<String, Vec<Gap>>>,
}

/// Accesses of a day, source and unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvaluatedPlace {
    /// As 2026-03-04, in the organisation's zone.
    pub day: String,
    pub source: String,
    /// None where the log does not say.
    pub care_unit_id: Option<String>,
    pub accesses: u64,
}

/// What became of a rule from one day to another, but for what is said of units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleStretch {
    pub rule_id: String,
    pub first_day: String,
    pub last_day: String,
    /// `evaluated`, `not_evaluated` or `failed`.
    pub state: String,
    pub why: Option<String>,
}

/// What became of a rule in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceJudged<'a> {
    pub rule_id: &'a str,
    /// `evaluated`, `partly`, `not_evaluated` or `failed`.
    pub state: &'a str,
    /// Accesses of which the rule could say nothing.
    pub not_evaluated: u64,
    pub why: Option<&'a str>,
}

#[derive(Debug)]
struct Gap {
    first_day: String,
    last_day: String,
    /// None: of each.
    source: Option<String>,
    /// So many a day; none: all.
    accesses: Option<u64>,
    why: Option<String>,
}

impl Evaluated {
    /// What became of each rule on a day; of one that no run has judged yet nothing is said.
    pub fn on<'a>(&'a self, day: &str) -> Vec<&'a RuleStretch> {
        let holds = |of: &&RuleStretch| of.first_day.as_str() <= day && day <= of.last_day.as_str();
        self.rules.iter().filter(holds).collect()
    }

    /// The same in a place, `of_day` being what is said of its day.
    pub fn at<'a>(&'a self, place: &EvaluatedPlace, of_day: &[&'a RuleStretch]) -> Vec<PlaceJudged<'a>> {
        let gaps = self.gaps.get(place.care_unit_id.as_deref().unwrap_or_default());
        of_day.iter().map(|stretch| judged(stretch, place, gaps)).collect()
    }
}

fn judged<'a>(
    stretch: &'a RuleStretch,
    place: &EvaluatedPlace,
    gaps: Option<&'a BTreeMap<String, Vec<Gap>>>,
) -> PlaceJudged<'a> {
    let (rule_id, state, why) = (&stretch.rule_id, &stretch.state, stretch.why.as_deref());
    if state != "evaluated" {
        return PlaceJudged { rule_id, state, not_evaluated: place.accesses, why };
    }
    let of_rule = gaps.and_then(|gaps| gaps.get(rule_id)).map_or(&[][..], Vec::as_slice);
    let here = of_rule.iter().filter(|gap| {
        gap.first_day <= place.day
            && place.day <= gap.last_day
            && gap.source.as_ref().is_none_or(|source| *source == place.source)
    });
    let (mut not_evaluated, mut why) = (0, None);
    for gap in here {
        not_evaluated += gap.accesses.unwrap_or(place.accesses);
        why = gap.why.as_deref();
    }
    let not_evaluated = not_evaluated.min(place.accesses);
    let state = match not_evaluated {
        0 => "evaluated",
        n if n < place.accesses => "partly",
        _ => "not_evaluated",
    };
    PlaceJudged { rule_id, state, not_evaluated, why }
}

impl Db {
    /// What could be judged, within what the principal counts; all places, or a page of them.
    ///
    /// # Errors
    /// [`Refusal::ForbiddenRole`], [`Refusal::BadCursor`].
    pub async fn evaluated(
        &self,
        principal: &Principal,
        ask: EvaluatedAsk<'_>,
        page: Option<(Option<&str>, usize)>,
    ) -> Result<Evaluated, ReviewError> {
        let mut found = Evaluated::default();
        self.read_places(principal, ask, page, &mut found).await?;
        self.read_rules(principal, ask, &mut found).await?;
        Ok(found)
    }

    async fn read_places(
        &self,
        principal: &Principal,
        ask: EvaluatedAsk<'_>,
        page: Option<(Option<&str>, usize)>,
        found: &mut Evaluated,
    ) -> Result<(), ReviewError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT day, source, care_unit_id, sum(accesses) AS accesses FROM access_days WHERE day >= ",
        );
        query.push_bind(ask.from.to_string()).push(" AND day <= ").push_bind(ask.to.to_string());
        within(&mut query, principal)?;
        if let Some(cursor) = page.and_then(|(cursor, _)| cursor) {
            let (day, source, unit) = place_of(cursor)?;
            query.push(" AND (day, source, care_unit_id) > (").push_bind(day).push(", ");
            query.push_bind(source).push(", ").push_bind(unit).push(")");
        }
        query.push(" GROUP BY day, source, care_unit_id ORDER BY day, source, care_unit_id");
        let limit = page.map(|(_, limit)| limit.clamp(1, MOST));
        if let Some(limit) = limit {
            query.push(" LIMIT ").push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
        }
        let rows: Vec<SqliteRow> = query.build().fetch_all(self.readers()).await.map_err(database(DOING))?;
        let limit = limit.unwrap_or(rows.len());
        found.places = rows.iter().take(limit).map(place).collect::<Result<_, _>>()?;
        found.next = found.places.last().filter(|_| rows.len() > limit).map(cursor_after);
        Ok(())
    }

    async fn read_rules(
        &self,
        principal: &Principal,
        ask: EvaluatedAsk<'_>,
        found: &mut Evaluated,
    ) -> Result<(), ReviewError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT rule_id, first_day, last_day, state, care_unit_id, source, accesses, why FROM rule_days WHERE last_day >= ",
        );
        query.push_bind(ask.from.to_string()).push(" AND first_day <= ").push_bind(ask.to.to_string());
        if let Some(rule) = ask.rule {
            query.push(" AND rule_id = ").push_bind(rule.to_owned());
        }
        if may(principal, Action::ReadFindings) && !reads_all_units(principal) {
            query.push(" AND (care_unit_id IS NULL OR (1 = 1");
            one_of(&mut query, "care_unit_id", &principal.units);
            query.push("))");
        }
        if !principal.controllers.is_empty() {
            query.push(" AND (controller_id IS NULL OR (1 = 1");
            one_of(&mut query, "controller_id", &principal.controllers);
            query.push("))");
        }
        query.push(" ORDER BY rule_id, first_day");
        for row in query.build().fetch_all(self.readers()).await.map_err(database(DOING))? {
            match value::<Option<String>>(&row, "care_unit_id")? {
                None => found.rules.push(stretch(&row, principal)?),
                Some(unit) => {
                    let of_unit = found.gaps.entry(unit).or_default();
                    of_unit.entry(value(&row, "rule_id")?).or_default().push(gap(&row)?);
                }
            }
        }
        Ok(())
    }
}

fn place(row: &SqliteRow) -> Result<EvaluatedPlace, ReviewError> {
    let unit: String = value(row, "care_unit_id")?;
    Ok(EvaluatedPlace {
        day: value(row, "day")?,
        source: value(row, "source")?,
        care_unit_id: (!unit.is_empty()).then_some(unit),
        accesses: value::<i64>(row, "accesses")?.unsigned_abs(),
    })
}

fn stretch(row: &SqliteRow, principal: &Principal) -> Result<RuleStretch, ReviewError> {
    let state: String = value(row, "state")?;
    // What an error says is for those who see what ran.
    let tells = state != "failed" || may(principal, Action::SeeRuns);
    Ok(RuleStretch {
        rule_id: value(row, "rule_id")?,
        first_day: value(row, "first_day")?,
        last_day: value(row, "last_day")?,
        why: value::<Option<String>>(row, "why")?.filter(|_| tells),
        state,
    })
}

fn gap(row: &SqliteRow) -> Result<Gap, ReviewError> {
    Ok(Gap {
        first_day: value(row, "first_day")?,
        last_day: value(row, "last_day")?,
        source: value(row, "source")?,
        accesses: value::<Option<i64>>(row, "accesses")?.map(i64::unsigned_abs),
        why: value(row, "why")?,
    })
}

/// What parts a source from a unit in a cursor: neither has it.
const BETWEEN: char = '\u{1f}';

fn cursor_after(place: &EvaluatedPlace) -> String {
    let unit = place.care_unit_id.as_deref().unwrap_or_default();
    let id = [&place.day, place.source.as_str(), unit].join(&BETWEEN.to_string());
    Place { score: 0, at: 0, id }.encode()
}

fn place_of(cursor: &str) -> Result<(String, String, String), Refusal> {
    let id = Place::decode(cursor)?.id;
    let mut parts = id.splitn(3, BETWEEN).map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(day), Some(source), Some(unit)) => Ok((day, source, unit)),
        _ => Err(Refusal::BadCursor),
    }
}
