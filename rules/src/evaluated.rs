//! What could be judged, and what not, by local day, source and unit. Numbers only: one missing feed must neither accuse a
//! clinic nor pass for a clinic where nothing happened.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Int64Type};
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;

use crate::calendar::{CalendarWindow, midnight};
use crate::desk::{Desk, text_array};
use crate::judge::{Coverages, State, homes};
use crate::record::RuleState;
use crate::rule::WindowSize;
use crate::run::Window;
use crate::spans::{Spans, day_of};
use crate::sql;
use crate::unjudged;

/// What a run could judge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluated {
    /// Days whose accesses were counted: from the first to the last of each.
    pub days: Vec<(NaiveDate, NaiveDate)>,
    /// How many accesses there are of those days.
    pub accesses: BTreeMap<Place, u64>,
    /// What became of the rules, each in order of its days.
    pub rules: Vec<RuleDays>,
}

/// Accesses of one local day, source, unit and controller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// In the organisation's zone.
    pub day: NaiveDate,
    /// Which source.
    pub source: String,
    /// Which unit, where the log says.
    pub care_unit_id: Option<String>,
    /// Who answers for the record.
    pub controller_id: Option<String>,
}

/// What became of a rule on some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleDays {
    /// Which rule.
    pub rule_id: String,
    /// The first day.
    pub first: NaiveDate,
    /// The last day, with it.
    pub last: NaiveDate,
    /// Of which accesses of those days.
    pub of: Which,
    /// Whether they were judged.
    pub state: RuleState,
    /// Why not.
    pub why: Option<String>,
}

/// Some of the accesses of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All, but for what is said of parts.
    All,
    /// Those at a unit.
    AtUnit(String),
    /// Of those that name no unit, so many a day.
    NoUnit {
        /// Of which source.
        source: String,
        /// Who answers for the records.
        controller_id: Option<String>,
        /// How many.
        accesses: u64,
    },
}

/// A table and a size of windows, by which rules say that units are covered.
type Key = (String, WindowSize);

/// Where a table says nothing.
#[derive(Default)]
struct Gaps {
    units: BTreeMap<String, Spans>,
    /// Accesses that name no unit, by people of none of whose units it says anything.
    without_unit: BTreeMap<Place, u64>,
}

/// Counts slice by slice.
pub(crate) struct Tally {
    zone: Tz,
    counted: Vec<(i64, i64)>,
    accesses: BTreeMap<Place, u64>,
    gaps: HashMap<Key, Gaps>,
    /// Read when it is first asked for.
    homes: Option<HashMap<String, Vec<String>>>,
}

impl Tally {
    pub fn new(zone: Tz) -> Tally {
        Tally { zone, counted: Vec::new(), accesses: BTreeMap::new(), gaps: HashMap::new(), homes: None }
    }

    /// Adds the accesses of a slice.
    pub async fn add(
        &mut self,
        desk: &Desk,
        known: &Coverages,
        slice: (i64, i64),
    ) -> Result<(), DataFusionError> {
        let (from, to) = (sql::timestamp(slice.0), sql::timestamp(slice.1));
        let query = format!(
            "select cast(local_date(occurred_at) as date) as day, source, care_unit_id, controller_id, \
             case when care_unit_id is null then actor_id end as who, count(*) from accesses \
             where occurred_at >= {from} and occurred_at < {to} group by 1, 2, 3, 4, 5"
        );
        for batch in desk.ctx.sql(&query).await?.collect().await? {
            let days = batch.column(0).as_primitive::<Date32Type>();
            let texts = (1..5).map(|n| text_array(&batch, n)).collect::<Result<Vec<_>, _>>()?;
            let counts = batch.column(5).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let Some(day) = days.value_as_date(row) else { continue };
                let text = |n: usize| texts[n].is_valid(row).then(|| texts[n].value(row).to_owned());
                let [source, care_unit_id, controller_id, who] = [0, 1, 2, 3].map(text);
                let place = Place { day, source: source.unwrap_or_default(), care_unit_id, controller_id };
                let count = counts.value(row).unsigned_abs();
                if place.care_unit_id.is_none() {
                    self.add_without_unit(desk, known, &place, who, count).await?;
                }
                *self.accesses.entry(place).or_default() += count;
            }
        }
        Ok(())
    }

    async fn add_without_unit(
        &mut self,
        desk: &Desk,
        known: &Coverages,
        place: &Place,
        who: Option<String>,
        count: u64,
    ) -> Result<(), DataFusionError> {
        if self.homes.is_none() {
            self.homes = Some(homes(desk).await?);
        }
        let at = midnight(place.day, self.zone);
        let homes = who.and_then(|who| self.homes.as_ref()?.get(&who)).map_or(&[][..], Vec::as_slice);
        for (key, coverage) in known {
            if !homes.iter().any(|unit| coverage.covers(desk, unit, at)) {
                let gaps = self.gaps.entry(key.clone()).or_default();
                *gaps.without_unit.entry(place.clone()).or_default() += count;
            }
        }
        Ok(())
    }

    /// Notes that all of these whole days was added.
    pub fn counted(&mut self, piece: (i64, i64)) {
        self.counted.push(piece);
    }

    /// Finds where the units that were seen are not covered.
    pub fn find_gaps(&mut self, desk: &Desk, known: &Coverages) {
        let units: BTreeSet<&String> =
            self.accesses.keys().filter_map(|place| place.care_unit_id.as_ref()).collect();
        for (key, coverage) in known {
            let gaps = self.gaps.entry(key.clone()).or_default();
            let spans = units.iter().map(|unit| ((*unit).clone(), coverage.uncovered(desk, unit)));
            gaps.units = spans.filter(|(_, spans)| !spans.is_empty()).collect();
        }
    }

    /// What became of the rules on the whole days of the period that was asked for.
    pub fn done(self, states: &[State<'_>], window: Window) -> Evaluated {
        let rules = states.iter().flat_map(|state| self.of_rule(state, window)).collect();
        let days = Spans::from(self.counted).iter().map(|span| days(span, self.zone)).collect();
        Evaluated { days, accesses: self.accesses, rules }
    }

    fn of_rule(&self, state: &State<'_>, window: Window) -> Vec<RuleDays> {
        let due = whole_days(&state.due, window, self.zone);
        let say = |span: (i64, i64), of: Which, state_is: RuleState, why: Option<&str>| {
            let (first, last) = days(span, self.zone);
            let (rule_id, why) = (state.rule.id.clone(), why.map(str::to_owned));
            RuleDays { rule_id, first, last, of, state: state_is, why }
        };
        if state.run.state != RuleState::Evaluated {
            let why = state.run.why.as_deref();
            return due.iter().map(|span| say(span, Which::All, state.run.state, why)).collect();
        }
        let stale = due.both(&self.stale(state));
        let fresh = due.without(&stale);
        let why = state.stale.as_ref().map(|(_, why)| why.as_str());
        let mut said: Vec<RuleDays> = stale
            .iter()
            .map(|span| say(span, Which::All, RuleState::NotEvaluated, why))
            .chain(fresh.iter().map(|span| say(span, Which::All, RuleState::Evaluated, None)))
            .collect();
        let Some(table) = &state.rule.covered_by else { return said };
        let Some(gaps) = self.gaps.get(&(table.clone(), state.rule.window)) else { return said };
        let why = unjudged::UNCOVERED.kept(&[table]);
        for (unit, spans) in &gaps.units {
            let spans = fresh.both(spans);
            let of = || Which::AtUnit(unit.clone());
            said.extend(spans.iter().map(|span| say(span, of(), RuleState::NotEvaluated, Some(&why))));
        }
        let why = unjudged::HOMELESS.kept(&[table]);
        for (place, accesses) in &gaps.without_unit {
            let begins = midnight(place.day, self.zone);
            if fresh.holds(begins) {
                let (source, controller_id) = (place.source.clone(), place.controller_id.clone());
                let of = Which::NoUnit { source, controller_id, accesses: *accesses };
                said.push(say((begins, begins + 1), of, RuleState::NotEvaluated, Some(&why)));
            }
        }
        said
    }

    /// When a table that the rule needs is too old.
    fn stale(&self, state: &State<'_>) -> Spans {
        let Some((until, _)) = &state.stale else { return Spans::default() };
        let from = CalendarWindow::of(state.rule.window, *until, self.zone).to;
        Spans::from(vec![(from, i64::MAX)])
    }
}

/// Those of the days of which all lies in the period.
fn whole_days(days: &Spans, window: Window, zone: Tz) -> Spans {
    let asked = (window.from.unwrap_or(i64::MIN), window.to.unwrap_or(i64::MAX));
    let beside = days.without(&Spans::from(vec![asked]));
    days.without(&beside.whole(WindowSize::Day, zone))
}

/// The first and the last local day.
fn days(span: (i64, i64), zone: Tz) -> (NaiveDate, NaiveDate) {
    (day_of(span.0, zone), day_of(span.1 - 1, zone))
}
