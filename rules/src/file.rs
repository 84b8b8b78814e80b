//! Reading one rule file: TOML to [`Rule`], and where in the file each part stands.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::{Spanned, Value};

use crate::check::Problem;
use crate::pack::unknown;
use crate::rule::{
    Case, CaseValue, Duration, Explains, History, Kind, Level, Param, ParamValue, Rule, Status, Text,
    WindowSize,
};
use crate::schedule::Schedule;

/// No rule looks further back at what users did, in minutes: 400 days.
const FARTHEST: i64 = 400 * 1440;

/// What a file turned out to be.
pub(crate) enum Read {
    /// A whole rule.
    Rule(Box<Rule>, Places),
    /// Changes to a rule that another file states.
    Override(Override),
}

/// Where the parts of a rule that lint speaks of stand: byte ranges of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub text: String,
    pub id: Range<usize>,
    pub sql: Range<usize>,
    /// The SQL of each step of its history.
    pub history: Vec<Range<usize>>,
    pub needs: Vec<Range<usize>>,
    /// Each text for people: (key, range), as ("why.sv", …).
    pub words: Vec<(String, Range<usize>)>,
    pub params: BTreeMap<String, Range<usize>>,
}

/// `override = "no-care-relation"` in a user's own pack.
#[derive(Debug)]
pub(crate) struct Override {
    pub rule: String,
    pub rule_at: Range<usize>,
    pub level: Option<Level>,
    pub status: Option<Status>,
    pub lift: Option<f64>,
    pub schedule: Option<Schedule>,
    pub params: BTreeMap<String, (Range<usize>, ParamValue)>,
    pub file: String,
    pub text: String,
}

/// Reads `text`, the content of `file`.
pub(crate) fn read(file: &str, text: &str) -> Result<Read, Problem> {
    let problem =
        |span: Option<Range<usize>>, what: String| Problem::at(file, text, span.map_or(0, |s| s.start), what);
    let parse_error = |e: toml::de::Error| {
        let what = with_nearest(e.message());
        problem(e.span(), what)
    };
    let table: toml::Table = toml::from_str(text).map_err(parse_error)?;
    if table.contains_key("override") {
        let raw: RawOverride = toml::from_str(text).map_err(parse_error)?;
        let mut params = BTreeMap::new();
        for (name, value) in raw.parameters {
            let span = value.span();
            let value = param_value(value.into_inner()).map_err(|what| problem(Some(span.clone()), what))?;
            params.insert(name, (span, value));
        }
        return Ok(Read::Override(Override {
            rule_at: raw.r#override.span(),
            rule: raw.r#override.into_inner(),
            level: raw.level,
            status: raw.status,
            lift: raw.lift.map(lift).transpose().map_err(|(span, what)| problem(Some(span), what))?,
            schedule: raw
                .schedule
                .map(schedule)
                .transpose()
                .map_err(|(span, what)| problem(Some(span), what))?,
            params,
            file: file.to_owned(),
            text: text.to_owned(),
        }));
    }
    let raw: RawRule = toml::from_str(text).map_err(parse_error)?;
    let mut places =
        Places { text: text.to_owned(), id: raw.id.span(), sql: raw.sql.span(), ..Places::default() };
    places.needs = raw.needs.iter().chain(&raw.needs_one_of).map(Spanned::span).collect();
    let mut words = |key: &str, raw: RawText| {
        places.words.push((format!("{key}.sv"), raw.sv.span()));
        places.words.push((format!("{key}.en"), raw.en.span()));
        Text { sv: raw.sv.into_inner(), en: raw.en.into_inner() }
    };
    let title = words("title", raw.title);
    let description = words("description", raw.description);
    let why = words("why", raw.why);
    // An explanation makes no finding, and needs nothing that is said of one.
    let explains = raw.explains.is_some();
    let missing = |key: &str| problem(None, format!("missing field `{key}`"));
    let mut of_rule = |key: &str, text: Option<RawText>| match text {
        Some(text) => Ok(words(key, text)),
        None if explains => Ok(Text::default()),
        None => Err(missing(key)),
    };
    let ground = of_rule("ground", raw.ground)?;
    let runbook = of_rule("runbook", raw.runbook)?;
    let errs = words("errs", raw.errs);
    let level = raw.level.or(explains.then_some(Level::Informational)).ok_or_else(|| missing("level"))?;
    let window = raw.window.or(explains.then_some(WindowSize::Day)).ok_or_else(|| missing("window"))?;
    let mut params = BTreeMap::new();
    for (name, raw) in raw.parameters {
        let span = raw.span();
        let param = parameter(raw.into_inner())
            .map_err(|what| problem(Some(span.clone()), format!("parameter \"{name}\": {what}")))?;
        places.params.insert(name.clone(), span);
        params.insert(name, param);
    }
    let duration = |value: Option<Spanned<String>>| {
        value.map(|v| Duration::parse(v.as_ref()).map_err(|what| problem(Some(v.span()), what))).transpose()
    };
    let mut history = Vec::new();
    for raw in raw.history {
        let back = Duration::parse(raw.back.as_ref()).and_then(|back| match back.minutes <= FARTHEST {
            true => Ok(back),
            false => Err(format!("found \"{back}\", expected at most {} days", FARTHEST / 1440)),
        });
        let back = back.map_err(|what| problem(Some(raw.back.span()), what))?;
        places.history.push(raw.of.span());
        history.push(History { back, of: raw.of.into_inner() });
    }
    let mut cases = Vec::new();
    for raw in raw.case {
        let at = raw.span().start;
        let line = Problem::at(file, text, at, String::new()).line;
        cases.push(case(raw.into_inner(), line).map_err(|what| problem(Some(at..at), what))?);
    }
    if let Some(wait) = &raw.settles_after {
        settles(wait.as_ref(), &params).map_err(|what| problem(Some(wait.span()), what))?;
    }
    let rule = Rule {
        id: raw.id.into_inner(),
        version: raw.version,
        level,
        status: raw.status,
        kind: raw.kind,
        window,
        intrusive: raw.intrusive,
        never_cleared: raw.never_cleared,
        lift: raw.lift.map(lift).transpose().map_err(|(span, what)| problem(Some(span), what))?,
        explains: raw.explains,
        leans_on: None,
        most: None,
        held_back: None,
        title,
        description,
        why,
        ground,
        errs,
        runbook,
        needs: raw.needs.into_iter().map(Spanned::into_inner).collect(),
        needs_one_of: raw.needs_one_of.into_iter().map(Spanned::into_inner).collect(),
        evidence: raw.evidence,
        covered_by: raw.covered_by,
        max_age_days: raw.max_age_days,
        settles_after: raw.settles_after.map(Spanned::into_inner),
        looks_around: duration(raw.looks_around)?,
        looks_back: duration(raw.looks_back)?,
        reads: raw.reads,
        schedule: raw.schedule.map(schedule).transpose().map_err(|(span, what)| problem(Some(span), what))?,
        history,
        params,
        sql: raw.sql.into_inner(),
        cases,
        file: file.to_owned(),
    };
    Ok(Read::Rule(Box::new(rule), places))
}

/// TOML's messages say "unknown field `x`, expected one of `a`, `b`": adds which of them is nearest.
fn with_nearest(message: &str) -> String {
    let message = message.trim().replace('\n', " ");
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((found, known)) if message.starts_with("unknown") => match nearest(found, known.iter().copied())
        {
            Some(name) => format!("{message}; nearest: `{name}`"),
            None => message,
        },
        _ => message,
    }
}

/// The known name that is nearest to `found`, when it is near at all.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = found.to_lowercase();
    known
        .into_iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .min()
        .filter(|(d, name)| *d <= 1 + name.chars().count().max(lower.chars().count()) / 3)
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: Spanned<String>,
    version: u32,
    level: Option<Level>,
    status: Status,
    #[serde(default = "match_kind")]
    kind: Kind,
    window: Option<WindowSize>,
    #[serde(default)]
    intrusive: bool,
    #[serde(default)]
    never_cleared: bool,
    lift: Option<Spanned<f64>>,
    explains: Option<Explains>,
    title: RawText,
    description: RawText,
    why: RawText,
    ground: Option<RawText>,
    errs: RawText,
    runbook: Option<RawText>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    #[serde(default)]
    needs_one_of: Vec<Spanned<String>>,
    #[serde(default)]
    evidence: Vec<String>,
    covered_by: Option<String>,
    max_age_days: Option<u32>,
    settles_after: Option<Spanned<String>>,
    looks_around: Option<Spanned<String>>,
    looks_back: Option<Spanned<String>>,
    reads: Option<String>,
    schedule: Option<Spanned<String>>,
    #[serde(default)]
    history: Vec<RawHistory>,
    #[serde(default)]
    parameters: BTreeMap<String, Spanned<RawParam>>,
    sql: Spanned<String>,
    #[serde(default)]
    case: Vec<Spanned<RawCase>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistory {
    back: Spanned<String>,
    of: Spanned<String>,
}

fn match_kind() -> Kind {
    Kind::Match
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    sv: Spanned<String>,
    en: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParam {
    default: Value,
    min: Option<Value>,
    max: Option<Value>,
    sv: String,
    en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverride {
    r#override: Spanned<String>,
    level: Option<Level>,
    status: Option<Status>,
    lift: Option<Spanned<f64>>,
    schedule: Option<Spanned<String>>,
    #[serde(default)]
    parameters: BTreeMap<String, Spanned<Value>>,
}

#[derive(Deserialize)]
struct RawCase {
    name: String,
    #[serde(default)]
    hits: Vec<String>,
    says: Option<String>,
    level: Option<Level>,
    findings: Option<usize>,
    #[serde(default)]
    not_evaluated: bool,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    #[serde(flatten)]
    tables: BTreeMap<String, Value>,
}

/// How many times oftener than by chance: a number from 0 on.
fn lift(raw: Spanned<f64>) -> Result<f64, (Range<usize>, String)> {
    let (span, lift) = (raw.span(), raw.into_inner());
    match lift.is_finite() && lift >= 0.0 {
        true => Ok(lift),
        false => Err((span, format!("lift: found {lift}, expected how many times oftener than by chance"))),
    }
}

fn schedule(raw: Spanned<String>) -> Result<Schedule, (Range<usize>, String)> {
    Schedule::parse(raw.as_ref()).map_err(|what| (raw.span(), what))
}

fn settles(text: &str, params: &BTreeMap<String, Param>) -> Result<(), String> {
    let Some(name) = text.strip_prefix('$') else { return Duration::parse(text).map(|_| ()) };
    match params.get(name).map(|p| &p.value) {
        Some(ParamValue::Duration(_)) => Ok(()),
        Some(other) => Err(format!("found parameter \"{name}\" = {other}, expected a length of time")),
        None => Err(unknown("parameter", name, params.keys().map(String::as_str))),
    }
}

fn parameter(raw: RawParam) -> Result<Param, String> {
    let value = param_value(raw.default)?;
    let bound = |bound: Option<Value>| bound.map(param_value).transpose();
    let (min, max) = (bound(raw.min)?, bound(raw.max)?);
    let param = Param { default: value.clone(), value, min, max, about: Text { sv: raw.sv, en: raw.en } };
    allowed(&param, &param.value)?;
    Ok(param)
}

/// Whether `value` may stand in `param`'s place.
pub(crate) fn allowed(param: &Param, value: &ParamValue) -> Result<(), String> {
    for bound in [Some(&param.default), param.min.as_ref(), param.max.as_ref()].into_iter().flatten() {
        if std::mem::discriminant(bound) != std::mem::discriminant(value) {
            return Err(format!("found \"{value}\", expected a value like \"{bound}\""));
        }
    }
    if param.min.as_ref().is_some_and(|min| value < min) || param.max.as_ref().is_some_and(|max| value > max)
    {
        let shown =
            |bound: &Option<ParamValue>| bound.as_ref().map_or("no bound".to_owned(), ToString::to_string);
        return Err(format!(
            "found \"{value}\", expected between {} and {}",
            shown(&param.min),
            shown(&param.max)
        ));
    }
    Ok(())
}

/// A text that reads as a length of time is one: parameters of that kind become intervals in SQL.
fn param_value(value: Value) -> Result<ParamValue, String> {
    Ok(match value {
        Value::Boolean(flag) => ParamValue::Flag(flag),
        Value::Integer(n) => ParamValue::Integer(n),
        Value::Float(n) if n.is_finite() => ParamValue::Number(n),
        Value::String(text) => match Duration::parse(&text) {
            Ok(duration) => ParamValue::Duration(duration),
            Err(_) => ParamValue::Text(text),
        },
        Value::Array(values) => ParamValue::Texts(
            values
                .into_iter()
                .map(|v| match v {
                    Value::String(text) => Ok(text),
                    other => Err(format!("found a list with {}, expected a list of texts", other.type_str())),
                })
                .collect::<Result<_, _>>()?,
        ),
        other => {
            return Err(format!(
                "found {}, expected a flag, number, text, length of time or list of texts",
                other.type_str()
            ));
        }
    })
}

fn case(raw: RawCase, line: usize) -> Result<Case, String> {
    let mut rows = BTreeMap::new();
    for (table, value) in raw.tables {
        let Value::Array(list) = value else {
            return Err(format!(
                "case \"{}\": found {} under \"{table}\", expected a list of rows",
                raw.name,
                value.type_str()
            ));
        };
        let mut all = Vec::new();
        for row in list {
            let Value::Table(row) = row else {
                return Err(format!(
                    "case \"{}\": found {} in \"{table}\", expected a row as {{ column = value }}",
                    raw.name,
                    row.type_str()
                ));
            };
            let mut columns = BTreeMap::new();
            for (column, value) in row {
                let value = match value {
                    Value::String(text) => CaseValue::Text(text),
                    Value::Boolean(flag) => CaseValue::Flag(flag),
                    Value::Integer(n) => CaseValue::Integer(n),
                    Value::Datetime(time) => CaseValue::Text(time.to_string()),
                    other => {
                        return Err(format!(
                            "case \"{}\": {table}.{column} is {}, expected text, flag, number or time",
                            raw.name,
                            other.type_str()
                        ));
                    }
                };
                columns.insert(column, value);
            }
            all.push(columns);
        }
        rows.insert(table, all);
    }
    let mut set = BTreeMap::new();
    for (name, value) in raw.set {
        set.insert(name, param_value(value)?);
    }
    Ok(Case {
        name: raw.name,
        hits: raw.hits,
        says: raw.says,
        level: raw.level,
        findings: raw.findings,
        not_evaluated: raw.not_evaluated,
        set,
        rows,
        line,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_or_none_is() {
        assert_eq!(nearest("care_relation", ["staff", "care_relations", "units"]), Some("care_relations"));
        assert_eq!(nearest("subjekt_key", ["subject_key", "subject_id"]), Some("subject_key"));
        assert_eq!(nearest("weather", ["staff", "units"]), None);
    }

    #[test]
    fn distance_is_that_of_levenshtein() {
        for (a, b, d) in
            [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("åäö", "aäö", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
        }
    }
}
