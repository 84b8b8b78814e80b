//! A rule as evaluated: what its file says, checked and typed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::finding::words;
use crate::schedule::Schedule;
use crate::sql;

/// A text in both languages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Swedish.
    pub sv: String,
    /// English.
    pub en: String,
}

/// One rule of the pack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// Its name for ever, also its file's: lower case words with dashes.
    pub id: String,
    /// Counts up whenever what it finds may change.
    pub version: u32,
    /// The level of its findings, unless its SQL gives a column `level`.
    pub level: Level,
    /// How far it is to be trusted.
    pub status: Status,
    /// How it looks for what it looks for.
    pub kind: Kind,
    /// The calendar window, in the organisation's zone, that fixes a finding's identity.
    pub window: WindowSize,
    /// Rests on address, kin, name, schedule or volume: a mark for those who decide which rules run.
    pub intrusive: bool,
    /// No reason lowers its findings, and no decision keeps later ones out of the queue: own record, household, kin, protected
    /// identity, watch list.
    pub never_cleared: bool,
    /// How many times oftener than by chance it names somebody, where that has been measured.
    pub lift: Option<f64>,
    /// Whom it explains, where it is an explanation: a reason to look, not a reason to ask about a look.
    pub explains: Option<Explains>,
    /// The explanations that it leans on and how they are set, where it does.
    pub leans_on: Option<String>,
    /// What the organisation has lowered its level to: none of its findings has a higher one.
    pub most: Option<Level>,
    /// Why it is not judged, though what it needs may be there.
    pub held_back: Option<String>,
    /// What was seen, in a few words.
    pub title: Text,
    /// What it looks for.
    pub description: Text,
    /// The sentence of one hit, with `{column}` and `{parameter}`.
    pub why: Text,
    /// The law or routine that it rests on.
    pub ground: Text,
    /// How it errs: known false positives and what it cannot see.
    pub errs: Text,
    /// What the person who judges should look at.
    pub runbook: Text,
    /// Tables without which nothing is evaluated.
    pub needs: Vec<String>,
    /// Tables of which at least one must have rows.
    pub needs_one_of: Vec<String>,
    /// Context tables whose rows a finding keeps a copy of.
    pub evidence: Vec<String>,
    /// The table that must have rows of the access's unit in the calendar window; else that unit is not evaluated.
    pub covered_by: Option<String>,
    /// Days after a table was loaded for which it still counts.
    pub max_age_days: Option<u32>,
    /// How long late rows may still explain a finding; an absence is judged only when that has passed. A length of
    /// time, or `$parameter`: see [`Rule::settles`].
    pub settles_after: Option<String>,
    /// How far before and after the period its SQL must see accesses.
    pub looks_around: Option<Duration>,
    /// How far before the period it must see accesses, where none that comes later changes what it finds.
    pub looks_back: Option<Duration>,
    /// A condition that the accesses fulfil which its SQL reads around the period: others need not be there.
    pub reads: Option<String>,
    /// When it is judged on schedule; each time, where there is none.
    pub schedule: Option<Schedule>,
    /// Of whom it reads what they did before, and how far back: each step asks about fewer and looks further.
    pub history: Vec<History>,
    /// What an organisation may tune.
    pub params: BTreeMap<String, Param>,
    /// The SELECT, with `$parameter` for its parameters.
    pub sql: String,
    /// Its own tests.
    pub cases: Vec<Case>,
    /// Which file it was read from; `rules/pack/<id>.toml` for ours.
    pub file: String,
}

/// Of whom a rule reads what they did before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct History {
    /// How far back from what is judged.
    pub back: Duration,
    /// A SELECT that gives their `actor_id`. From the second step on it may read the `user_history` of the step before.
    pub of: String,
}

impl Rule {
    /// Its SQL: that of each step of [`Rule::history`], and the one that names accesses.
    pub(crate) fn queries(&self) -> impl Iterator<Item = &str> {
        self.history.iter().map(|step| step.of.as_str()).chain([self.sql.as_str()])
    }

    /// [`Rule::settles_after`] as it holds now.
    pub fn settles(&self) -> Option<Duration> {
        let text = self.settles_after.as_deref()?;
        match text.strip_prefix('$') {
            Some(name) => match self.params.get(name)?.value {
                ParamValue::Duration(duration) => Some(duration),
                _ => None,
            },
            None => Duration::parse(text).ok(),
        }
    }

    /// The value of each parameter as sentences and evidence show it.
    pub fn shown_params(&self) -> BTreeMap<&str, String> {
        let params = self.params.iter().map(|(name, param)| (name.as_str(), param.value.to_string()));
        params.chain(self.leans_on.iter().map(|set| ("explanations", set.clone()))).collect()
    }

    /// How far before and after the period its SQL must see accesses, µs.
    pub(crate) fn sees(&self) -> (i64, i64) {
        let micros = |around: Option<Duration>| around.map_or(0, Duration::micros);
        let around = micros(self.looks_around);
        (around.max(micros(self.looks_back)), around)
    }

    /// Whether it judges accesses together with others of their calendar window. An absence of a day does, too.
    pub(crate) fn sees_windows(&self) -> bool {
        match self.kind {
            Kind::Match | Kind::NewValue | Kind::Source => false,
            Kind::Absence => self.window == WindowSize::Day,
            _ => true,
        }
    }

    /// The words of its SQL that could be names of columns or tables, lower case.
    pub(crate) fn words(&self) -> Vec<String> {
        self.queries().chain(self.reads.as_deref()).flat_map(sql::words).collect()
    }

    /// Its name with version and parameters: what it finds follows from these.
    pub(crate) fn setting(&self) -> String {
        let params = self.params.iter().map(|(name, param)| format!(" {name}={}", param.value));
        format!("{} {}{}", self.id, self.version, params.collect::<String>())
    }
}

words! {
    /// How much a finding asks for a person's eyes.
    Level, "level" {
        /// For the record and for full review.
        Informational = "informational",
        /// Seldom more than noise by itself.
        Low = "low",
        /// Worth asking about.
        Medium = "medium",
        /// To be judged soon.
        High = "high",
        /// To be judged at once.
        Critical = "critical",
    }
}

words! {
    /// How far a rule is to be trusted.
    Status, "status" {
        /// New; its figures are not known.
        Experimental = "experimental",
        /// In use.
        Stable = "stable",
        /// Judged and counted, by week and unit; its findings reach nobody.
        Shadow = "shadow",
        /// Kept for old findings; not evaluated.
        Deprecated = "deprecated",
    }
}

words! {
    /// Whom an explanation explains.
    Explains, "explains" {
        /// The user in person has to do with the record.
        Person = "person",
        /// The user's unit has.
        Unit = "unit",
        /// The user's care provider has: no more than that the record may be there to be read.
        Provider = "provider",
    }
}

words! {
    /// How a rule looks.
    Kind, "kind" {
        /// Each access by itself, against the context.
        Match = "match",
        /// Many accesses.
        Count = "count",
        /// Many different values.
        Distinct = "distinct",
        /// Something for the first time.
        NewValue = "new_value",
        /// One thing after another.
        Ordered = "ordered",
        /// Something that did not follow.
        Absence = "absence",
        /// What a source says or does not say, and nothing about who looked.
        Source = "source",
    }
}

words! {
    /// A calendar window in the organisation's zone.
    WindowSize, "window" {
        /// A local day.
        Day = "day",
        /// A week from Monday.
        Week = "week",
        /// A month.
        Month = "month",
    }
}

impl Explains {
    /// Whether a reason is enough. A provider's says that the record may be there to be read, not why it was; what the user
    /// could have made themself is told, and no more.
    pub(crate) fn is_enough(self, by_user: bool) -> bool {
        !by_user && self != Explains::Provider
    }
}

/// A parameter: its value, and within what an organisation may set it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Param {
    /// What holds now: the default, or the override of the organisation's own pack.
    pub value: ParamValue,
    /// What the rule's author chose.
    pub default: ParamValue,
    /// The least that is allowed.
    pub min: Option<ParamValue>,
    /// The most that is allowed.
    pub max: Option<ParamValue>,
    /// What it does.
    pub about: Text,
}

/// A typed value of a parameter.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A length of time, as "30 days" or "24 hours".
    Duration(Duration),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

impl ParamValue {
    /// Reads a text as a value of the same kind as `other`.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub(crate) fn like(other: &ParamValue, text: &str) -> Result<ParamValue, String> {
        let wrong = |_| format!("found \"{text}\", expected a value like \"{other}\"");
        Ok(match other {
            ParamValue::Flag(_) => ParamValue::Flag(text.parse().map_err(|_| wrong(()))?),
            ParamValue::Integer(_) => ParamValue::Integer(text.parse().map_err(|_| wrong(()))?),
            ParamValue::Number(_) => {
                let number: f64 = text.parse().map_err(|_| wrong(()))?;
                number.is_finite().then_some(ParamValue::Number(number)).ok_or_else(|| wrong(()))?
            }
            ParamValue::Duration(_) => ParamValue::Duration(Duration::parse(text).map_err(|_| wrong(()))?),
            ParamValue::Text(_) => ParamValue::Text(text.to_owned()),
            ParamValue::Texts(_) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                ParamValue::Texts(parts.map(str::to_owned).collect())
            }
        })
    }
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamValue::Flag(flag) => write!(f, "{flag}"),
            ParamValue::Integer(n) => write!(f, "{n}"),
            ParamValue::Number(n) => write!(f, "{n}"),
            ParamValue::Duration(d) => write!(f, "{d}"),
            ParamValue::Text(text) => f.write_str(text),
            ParamValue::Texts(texts) => f.write_str(&texts.join(", ")),
        }
    }
}

/// A length of time in whole minutes; a day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    /// Minutes, never negative.
    pub minutes: i64,
}

impl Duration {
    /// Reads "30 days", "1 day", "24 hours", "90 minutes".
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let wrong = || {
            format!(
                "found \"{text}\", expected a length of time as \"30 days\", \"24 hours\" or \"90 minutes\""
            )
        };
        let (number, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let unit = match unit.trim().trim_end_matches('s') {
            "day" => 24 * 60,
            "hour" => 60,
            "minute" => 1,
            _ => return Err(wrong()),
        };
        match number.checked_mul(unit) {
            // A century is past every retention, and keeps sums with timestamps in range.
            Some(minutes) if (0..=100 * 366 * 24 * 60).contains(&minutes) => Ok(Duration { minutes }),
            _ => Err(wrong()),
        }
    }

    /// In µs.
    pub fn micros(self) -> i64 {
        self.minutes * 60_000_000
    }

    /// For a sentence in Swedish.
    pub fn sv(self) -> String {
        match self.minutes {
            // One day is said as the hours it is: "within a day" reads as a calendar day.
            m if m % 1440 == 0 && m != 1440 => format!("{} dagar", m / 1440),
            60 => "1 timme".into(),
            m if m % 60 == 0 => format!("{} timmar", m / 60),
            1 => "1 minut".into(),
            m => format!("{m} minuter"),
        }
    }

    /// For a sentence in English.
    pub fn en(self) -> String {
        let (n, unit) = match self.minutes {
            m if m % 1440 == 0 && m != 1440 => (m / 1440, "day"),
            m if m % 60 == 0 => (m / 60, "hour"),
            m => (m, "minute"),
        };
        format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.en())
    }
}

impl Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One test of a rule: a few rows, and which accesses the rule should name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The `event_id` of each access that must be hit; empty for a negative case.
    pub hits: Vec<String>,
    /// Part of a sentence that some finding must say, in either language.
    pub says: Option<String>,
    /// The level that the findings must have.
    pub level: Option<Level>,
    /// How many findings the hits must make, when stated.
    pub findings: Option<usize>,
    /// True when the case shows that something is not evaluated.
    pub not_evaluated: bool,
    /// Parameters that differ from the defaults.
    pub set: BTreeMap<String, ParamValue>,
    /// Rows by table: column → value; columns left out take their defaults.
    pub rows: BTreeMap<String, Vec<BTreeMap<String, CaseValue>>>,
    /// Line of the file where it starts, from 1.
    pub line: usize,
}

/// A value in a case's row, as written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CaseValue {
    /// Text, a time or a date.
    Text(String),
    /// A flag.
    Flag(bool),
    /// A number.
    Integer(i64),
}

impl Case {
    /// Whether something is to be found: what is about a source hits no access.
    pub(crate) fn finds(&self) -> bool {
        !self.hits.is_empty() || self.findings.is_some_and(|findings| findings > 0)
    }
}

impl Level {
    /// What the level gives to a score.
    pub fn points(self) -> i32 {
        match self {
            Level::Informational => 10,
            Level::Low => 25,
            Level::Medium => 45,
            Level::High => 65,
            Level::Critical => 80,
        }
    }
}
