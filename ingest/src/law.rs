//! What the law asks an access log to hold: a data file, with who checked what and when.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use insyn_engine::coverage::{Field, FieldDay, Register};
use insyn_engine::error::EngineError;
use insyn_engine::session::Session;
use serde::{Deserialize, Serialize};

use crate::{LegalArea, SourceConfig};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Law {
    act: Vec<Act>,
    field: Vec<Demand>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    areas: Vec<LegalArea>,
    act: String,
    paragraph: String,
    #[allow(dead_code, reason = "for whoever keeps the file")]
    in_force: String,
    checked: String,
    fields: Vec<String>,
}

/// A field that a law asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Demand {
    name: String,
    columns: Vec<String>,
    #[serde(default)]
    register: Option<Known>,
    sv: String,
    en: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Known {
    Users,
    Units,
    Persons,
    Clock,
}

static LAW: LazyLock<Law> = LazyLock::new(|| {
    // A test reads the file; what cannot be read then asks for nothing.
    toml::from_str(include_str!("../law/fields.toml")).unwrap_or(Law { act: Vec::new(), field: Vec::new() })
});

impl Act {
    fn of(area: LegalArea) -> Option<&'static Act> {
        LAW.act.iter().find(|act| act.areas.contains(&area))
    }

    /// As it may be printed: no paragraph that nobody has read in force.
    fn cited(&self) -> String {
        match self.checked.as_str() {
            "" => self.act.clone(),
            _ => format!("{} {}", self.act, self.paragraph),
        }
    }
}

/// One field of one source on one day. Counts of rows; no personal data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// The source.
    pub source: String,
    /// The day, in the organisation's zone.
    pub day: String,
    /// Which law asks, as the source states it.
    pub legal_area: String,
    /// The act that asks for the field.
    pub act: String,
    /// Which field: `action`, `unit`, `provider`, `time`, `user` or `subject`.
    pub field: String,
    /// All rows.
    pub rows: u64,
    /// With a usable value.
    pub there: u64,
    /// With nothing but what configuration supplied.
    pub constant: u64,
    /// With the one value that all of the day have.
    pub one_value: u64,
    /// With an id that nobody is known to have; of the time, doubtful ones.
    pub unresolved: u64,
    /// Without a value.
    pub missing: u64,
}

/// Which of the fields that each source's law asks for were there, by source and day, between two instants (µs UTC).
///
/// # Errors
/// When the lake or its context tables cannot be read.
pub async fn coverage(
    session: &Session,
    sources: &[SourceConfig],
    from: i64,
    to: i64,
) -> Result<Vec<Coverage>, EngineError> {
    let mut all = Vec::new();
    for source in sources {
        let Some(act) = Act::of(source.legal_area) else { continue };
        let days = insyn_engine::coverage::of(session, &source.name, &fields(source, act), from, to).await?;
        all.extend(days.into_iter().map(|day| row(source, act, day)));
    }
    Ok(all)
}

/// The act of an area as it may be printed, and the fields that it asks for with the columns that fulfil each.
#[must_use]
pub fn demands(area: LegalArea) -> (String, Vec<(String, Vec<String>)>) {
    let Some(act) = Act::of(area) else { return Default::default() };
    let asked = LAW.field.iter().filter(|demand| act.fields.contains(&demand.name));
    (act.cited(), asked.map(|demand| (demand.name.clone(), demand.columns.clone())).collect())
}

/// What a field is called, in Swedish and English.
#[must_use]
pub fn name_of(field: &str) -> Option<(&'static str, &'static str)> {
    LAW.field.iter().find(|demand| demand.name == field).map(|demand| (&*demand.sv, &*demand.en))
}

fn fields(source: &SourceConfig, act: &Act) -> Vec<Field> {
    let constants: BTreeMap<String, String> =
        source.format.constants.iter().map(|(column, value)| (column.clone(), value.to_string())).collect();
    let demanded = |demand: &&Demand| act.fields.contains(&demand.name);
    let field = |demand: &Demand| Field {
        name: demand.name.clone(),
        columns: demand.columns.clone(),
        constants: constants.clone(),
        register: demand.register.map(|known| match known {
            Known::Users => Register::Users,
            Known::Units => Register::Units,
            Known::Persons => Register::Persons,
            Known::Clock => Register::Clock,
        }),
    };
    LAW.field.iter().filter(demanded).map(field).collect()
}

fn row(source: &SourceConfig, act: &Act, day: FieldDay) -> Coverage {
    let FieldDay { day, field, rows, there, constant, one_value, unresolved, missing } = day;
    let legal_area = source.legal_area.as_str().to_owned();
    let source = source.name.clone();
    Coverage {
        source,
        day,
        legal_area,
        act: act.cited(),
        field,
        rows,
        there,
        constant,
        one_value,
        unresolved,
        missing,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_data_file_names_columns_and_fields_that_there_are() {
        let law: Law = toml::from_str(include_str!("../law/fields.toml")).unwrap();
        for area in LegalArea::ALL {
            assert_eq!(law.act.iter().filter(|act| act.areas.contains(&area)).count(), 1, "{area:?}");
        }
        for act in &law.act {
            for field in &act.fields {
                assert!(law.field.iter().any(|demand| demand.name == *field), "{field}");
            }
            let is_day = |day: &str| chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok();
            assert!(is_day(&act.in_force) && (act.checked.is_empty() || is_day(&act.checked)), "{act:?}");
        }
        for demand in &law.field {
            for column in &demand.columns {
                assert!(insyn_event::COLUMNS.iter().any(|known| known.name == column), "{column}");
            }
        }
    }

    #[test]
    fn no_paragraph_is_printed_that_nobody_has_read() {
        let act = |checked: &str| Act {
            areas: Vec::new(),
            act: "HSLF-FS 2016:40".into(),
            paragraph: "4 kap. 9 a §".into(),
            in_force: String::new(),
            checked: checked.into(),
            fields: Vec::new(),
        };
        assert_eq!(act("").cited(), "HSLF-FS 2016:40");
        assert_eq!(act("2026-11-20").cited(), "HSLF-FS 2016:40 4 kap. 9 a §");
    }
}
