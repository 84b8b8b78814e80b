//! `[retention]`: how long accesses are kept; and what that, decisions and holds mean today, as the engine's plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use insyn_engine::lake::Survey;
use insyn_engine::retain::{Class, Ground, Holds, Plan, Term};
use insyn_engine::session::Session;
use insyn_ingest::{LegalArea, SourceConfig, nearest, spool};
use insyn_review::{Covered, Decision, Hold};
use serde::Deserialize;

use crate::config::Config;
use crate::house::House;

/// Logs that a law asks for are kept so many years at least.
const LEAST: u32 = 5;
/// Others, where a rule says so.
const LEAST_OF_OTHERS: u32 = 1;
/// More is a slip of the pen.
const MOST: u32 = 200;

/// `[retention]`. What no rule fits is kept as its own two keys say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSection {
    /// Accesses younger than so many years never go, whatever is decided.
    #[serde(default = "five")]
    pub shortest_years: u32,
    /// Accesses older than so many years are told of, where nobody has decided on them.
    #[serde(default = "ten")]
    pub longest_years: u32,
    /// Files of own looks that the lake has go from the spool after so many days.
    #[serde(default = "thirty")]
    pub spool_days: u32,
    /// Where decisions, holds and removals are written a second time, for a restore: outside of what a backup puts back.
    #[serde(default = "record")]
    pub record: PathBuf,
    /// The first that fits an access counts.
    #[serde(default)]
    pub rule: Vec<RetentionRule>,
}

/// `[[retention.rule]]`: how long some accesses are kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    pub controller: Option<String>,
    /// A source, or `insyn` for Insyn's own looks.
    pub source: Option<String>,
    pub legal_area: Option<LegalArea>,
    pub data_category: Option<String>,
    pub shortest_years: Option<u32>,
    pub longest_years: Option<u32>,
}

fn five() -> u32 {
    LEAST
}
fn ten() -> u32 {
    10
}
fn thirty() -> u32 {
    30
}
fn record() -> PathBuf {
    "retention.json".into()
}

/// What is wrong with a key: of which rule (none: of the section itself), which key, and what.
pub type Fault = (Option<usize>, &'static str, String);

impl RetentionSection {
    /// What serde cannot check.
    pub fn fault(&self, sources: &[SourceConfig]) -> Option<Fault> {
        if let Some((key, what)) = span_fault(self.shortest_years, self.longest_years, LEAST) {
            return Some((None, key, what));
        }
        self.rule.iter().enumerate().find_map(|(n, rule)| {
            let least = match (rule.legal_area, rule.source.as_deref()) {
                (_, Some(spool::SOURCE)) => LEAST,
                (Some(LegalArea::Other), _) => LEAST_OF_OTHERS,
                _ => LEAST,
            };
            let fault = span_fault(self.shortest_of(rule), self.longest_of(rule), least);
            let fault = fault.or_else(|| Some(("source", unknown_source(rule.source.as_deref()?, sources)?)));
            fault.map(|(key, what)| (Some(n), key, what))
        })
    }

    fn shortest_of(&self, rule: &RetentionRule) -> u32 {
        rule.shortest_years.unwrap_or(self.shortest_years)
    }

    fn longest_of(&self, rule: &RetentionRule) -> u32 {
        // A longer shortest time than the longest one of the section needs no second key.
        rule.longest_years.unwrap_or(self.longest_years.max(self.shortest_of(rule)))
    }
}

fn span_fault(shortest: u32, longest: u32, least: u32) -> Option<(&'static str, String)> {
    if shortest < least {
        let why = match least {
            LEAST => {
                "; logs that a law asks for are kept five years (less only in a rule for legal_area = \"other\")"
            }
            _ => "",
        };
        return Some(("shortest_years", format!("found {shortest}, expected at least {least}{why}")));
    }
    if longest < shortest || longest > MOST {
        let what =
            format!("found {longest}, expected at least shortest_years ({shortest}) and at most {MOST}");
        return Some(("longest_years", what));
    }
    None
}

/// What is wrong with a source's name, if anything is.
pub fn unknown_source(name: &str, sources: &[SourceConfig]) -> Option<String> {
    let names = || sources.iter().map(|source| source.name.as_str()).chain([spool::SOURCE]);
    if names().any(|known| known == name) {
        return None;
    }
    let near = nearest(name, names()).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    Some(format!("found \"{name}\", expected a configured source{near}"))
}

/// What may go by now, is held, or is past its time.
///
/// # Errors
/// When lake or database cannot be read.
pub async fn survey(house: &House) -> anyhow::Result<Survey> {
    let db = house.db().await?;
    let (decisions, holds) = (db.retention_decisions().await?, db.holds().await?);
    let session = house.session(true).await?;
    let plan = plan(&house.config, &decisions, &holds, &session, Utc::now().timestamp_micros())?;
    Ok(house.lake.survey(&plan).await?)
}

/// What may go at `now` (µs UTC), and what is held. Persons are held under every number and account that is theirs.
///
/// # Errors
/// When a decision that is registered cannot be understood.
pub fn plan(
    config: &Config,
    decisions: &[Decision],
    holds: &[Hold],
    session: &Session,
    now: i64,
) -> anyhow::Result<Plan> {
    let section = &config.retention;
    let zone = config.organisation.timezone;
    let term = |of: Class, shortest: u32, longest: u32| -> anyhow::Result<Term> {
        Ok(Term {
            of,
            shortest: years_before(now, shortest, zone)?,
            longest: Some(years_before(now, longest, zone)?),
        })
    };
    let mut terms = Vec::new();
    for rule in &section.rule {
        let of = class(
            config,
            rule.controller.as_deref(),
            rule.source.as_deref(),
            rule.legal_area,
            rule.data_category.as_deref(),
        );
        terms.push(term(of, section.shortest_of(rule), section.longest_of(rule))?);
    }
    terms.push(term(Class::default(), section.shortest_years, section.longest_years)?);
    let in_force = decisions.iter().filter(|decision| decision.withdrawn_at.is_none());
    let grounds = in_force.map(|decision| ground(config, decision, now)).collect::<anyhow::Result<_>>()?;
    let mut controllers: BTreeMap<String, String> = config
        .sources
        .iter()
        .map(|source| {
            (source.name.clone(), source.controller.clone().unwrap_or(config.organisation.id.clone()))
        })
        .collect();
    controllers.insert(spool::SOURCE.into(), config.organisation.id.clone());
    Ok(Plan { terms, grounds, holds: held(holds, session), controllers })
}

fn ground(config: &Config, decision: &Decision, now: i64) -> anyhow::Result<Ground> {
    let zone = config.organisation.timezone;
    let Covered { controller_id, source, legal_area, data_category, after_years, before_day } =
        &decision.covers;
    let cannot = || format!("the decision {} cannot be understood", decision.name());
    let area = legal_area.as_deref().map(area).transpose().with_context(cannot)?;
    let after = after_years.map(|years| years_before(now, years, zone)).transpose().with_context(cannot)?;
    let before = before_day.as_deref().map(|day| day_begins(day, zone)).transpose().with_context(cannot)?;
    let before = match (after, before) {
        (Some(after), Some(before)) => after.min(before),
        (after, before) => after.or(before).ok_or_else(|| anyhow!(cannot()))?,
    };
    let of = class(config, controller_id.as_deref(), source.as_deref(), area, data_category.as_deref());
    Ok(Ground { of, before, name: decision.name() })
}

/// A legal area by its name.
///
/// # Errors
/// When there is none of that name.
pub fn area(name: &str) -> anyhow::Result<LegalArea> {
    let names = || LegalArea::ALL.map(LegalArea::as_str);
    let found = LegalArea::ALL.into_iter().find(|area| area.as_str() == name);
    found.ok_or_else(|| anyhow!("found \"{name}\", expected one of {}", names().join(", ")))
}

fn class(
    config: &Config,
    controller: Option<&str>,
    source: Option<&str>,
    area: Option<LegalArea>,
    category: Option<&str>,
) -> Class {
    let fits = |of: &&SourceConfig| area.is_none_or(|area| of.legal_area == area);
    let by_area = || config.sources.iter().filter(fits).map(|of| of.name.clone());
    let sources: Option<BTreeSet<String>> = match (source, area) {
        (None, None) => None,
        (None, Some(_)) => Some(by_area().collect()),
        (Some(source), None) => Some(BTreeSet::from([source.to_owned()])),
        (Some(source), Some(_)) => Some(by_area().filter(|name| name == source).collect()),
    };
    Class { sources, controller: controller.map(str::to_owned), category: category.map(str::to_owned) }
}

fn held(holds: &[Hold], session: &Session) -> Holds {
    let mut held = Holds::default();
    for hold in holds.iter().filter(|hold| hold.released_at.is_none()) {
        held.subjects.extend(hold.held.subjects.iter().flat_map(|subject| session.numbers_of(subject)));
        held.cases.extend(hold.held.cases.iter().cloned());
        for user in &hold.held.users {
            let person = session.person_behind(user);
            let ids = person.accounts.into_iter().chain([person.user_id, user.clone()]);
            held.users.extend(ids.map(|id| id.to_uppercase()));
        }
    }
    held
}

/// When the day began that many years ago, µs UTC.
pub fn years_before(now: i64, years: u32, zone: Tz) -> anyhow::Result<i64> {
    let now = DateTime::from_timestamp_micros(now).context("the clock is out of range")?;
    let today = now.with_timezone(&zone).date_naive();
    let day = today.checked_sub_months(Months::new(years.saturating_mul(12)));
    begins(day.with_context(|| format!("{years} years ago is too far off"))?, zone)
}

/// When a day begins, µs UTC.
pub fn day_begins(day: &str, zone: Tz) -> anyhow::Result<i64> {
    let found = NaiveDate::parse_from_str(day, "%Y-%m-%d");
    begins(found.map_err(|_| anyhow!("found \"{day}\", expected a date as 2026-11-21"))?, zone)
}

fn begins(day: NaiveDate, zone: Tz) -> anyhow::Result<i64> {
    let midnight = zone.from_local_datetime(&day.and_time(NaiveTime::MIN)).earliest();
    Ok(midnight.with_context(|| format!("{day} has no midnight in {zone}"))?.timestamp_micros())
}

/// The UTC day so many days ago.
pub fn days_before(now: i64, days: u32) -> anyhow::Result<NaiveDate> {
    let now = DateTime::from_timestamp_micros(now).context("the clock is out of range")?;
    now.date_naive().checked_sub_days(Days::new(days.into())).context("too many days ago")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<Fault> {
        toml::from_str::<RetentionSection>(text).unwrap().fault(&[])
    }

    #[test]
    fn times_that_are_too_short_or_the_wrong_way_round_are_refused() {
        assert_eq!(fault(""), None);
        let says = |text: &str, rule: Option<usize>, key: &str, what: &str| {
            let found = fault(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.0, found.1), (rule, key), "{text}");
            assert!(found.2.contains(what), "{text}: {}", found.2);
        };
        says("shortest_years = 4", None, "shortest_years", "found 4, expected at least 5");
        says("longest_years = 4", None, "longest_years", "found 4, expected at least shortest_years (5)");
        says("longest_years = 2000", None, "longest_years", "at most 200");
        says("[[rule]]\n[[rule]]\nshortest_years = 2", Some(1), "shortest_years", "at least 5");
        says("[[rule]]\nsource = \"x\"", Some(0), "source", "found \"x\", expected a configured source");
        let own = "[[rule]]\nsource = \"insyn\"\nlegal_area = \"other\"\nshortest_years = 2";
        says(own, Some(0), "shortest_years", "at least 5");
        says("[[rule]]\nlegal_area = \"other\"\nshortest_years = 0", Some(0), "shortest_years", "at least 1");
        assert_eq!(fault("[[rule]]\nlegal_area = \"other\"\nshortest_years = 1"), None);
        assert_eq!(fault("[[rule]]\nshortest_years = 15"), None, "its longest time follows");
        assert_eq!(fault("[[rule]]\nsource = \"insyn\"\nshortest_years = 7"), None);
    }

    #[test]
    fn years_are_counted_by_the_local_calendar() {
        let zone = Tz::Europe__Stockholm;
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
        for (now, years, begins) in [
            ("2026-11-21T12:00:00Z", 5, "2021-11-21T00:00:00+01:00"),
            ("2026-07-01T22:30:00Z", 5, "2021-07-02T00:00:00+02:00"),
            ("2024-02-29T12:00:00Z", 5, "2019-02-28T00:00:00+01:00"),
        ] {
            assert_eq!(years_before(at(now), years, zone).unwrap(), at(begins), "{now}");
        }
        assert!(years_before(0, u32::MAX, zone).is_err());
        assert!(day_begins("2026-13-01", zone).is_err());
    }
}
