//! What all formats share once a record is read: the action that follows from the activity, words for outcomes,
//! personal numbers, what kind of user it was, and what configuration adds.
//!
//! * `[source.values]` turns values as written into values as stored, before anything below.
//! * `action`: `[source.values] action`, looked up by the activity; else what the record says; else by the activity:
//!   Läsa, Utskrift → R; Skriva → C; Signera, Vidimera → U; Radera → D; Nödöppning → R and `emergency`; and the
//!   interactions of FHIR's REST (read, search-type, create, update, patch, delete).
//! * `outcome`: 0, 4, 8, 12 become success, minor-failure, serious-failure, major-failure; other words stay.
//! * `subject_id`, `user_person_id`: see [`insyn_event::normalise`].
//! * HSA-ids of users, units, providers and systems stand in capitals: see [`insyn_event::hsa_id`].
//! * `user_kind`, where the record does not tell: staff who acted from a unit, in an assignment or with a title, or
//!   whose id is no personal number; subject where the user's id is the subject's; unknown otherwise.
//! * `constants` fill what is still empty.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono_tz::Tz;
use insyn_event::{AccessEvent, PersonalNumberKind, hsa_id, normalise};

use crate::columns::{self, Slot};
use crate::config::{FormatConfig, FormatName, Scalar};
use crate::error::{Fault, FormatError};
use crate::time::{Instant, Times};

/// What configuration says about every record of a source.
#[derive(Debug)]
pub struct Shape {
    pub(crate) times: Times,
    constants: Vec<(Slot, Scalar)>,
    values: Vec<(Slot, HashMap<String, String>)>,
    actions: HashMap<String, String>,
}

const ACTIONS: &[(&str, &str)] = &[
    ("läsa", "R"),
    ("utskrift", "R"),
    ("skriva", "C"),
    ("signera", "U"),
    ("vidimera", "U"),
    ("radera", "D"),
    ("nödöppning", "R"),
    ("read", "R"),
    ("vread", "R"),
    ("search", "R"),
    ("search-type", "R"),
    ("create", "C"),
    ("update", "U"),
    ("patch", "U"),
    ("delete", "D"),
];

const OUTCOMES: &[&str] = &["success", "minor-failure", "serious-failure", "major-failure"];
const KINDS: &[&str] = &["staff", "subject", "representative", "support", "system", "unknown"];

impl Shape {
    pub(crate) fn compile(config: &FormatConfig, zone: Tz) -> Result<Shape, FormatError> {
        let table = matches!(config.format, FormatName::Delimited | FormatName::Pattern | FormatName::Json);
        let mut constants = Vec::new();
        for (name, value) in &config.constants {
            let slot = columns::configured("constants", name)?;
            check_value(&format!("constants.{name}"), name, slot, value)?;
            constants.push((slot, value.clone()));
        }
        let mut values = Vec::new();
        let mut actions = HashMap::new();
        for (name, map) in &config.values {
            let slot = columns::configured("values", name)?;
            for (from, to) in map {
                check_value(&format!("values.{name}.{from}"), name, slot, to)?;
            }
            let words = map.iter().map(|(from, to)| (from.clone(), to.to_string())).collect();
            match slot {
                _ if name == "action" => actions = words,
                Slot::Flag(_) if !table => {
                    return Err(FormatError::new(
                        format!("values.{name}"),
                        format!("values of a flag in a source of format `{}`", config.format),
                        "them only with formats delimited, pattern and json",
                    ));
                }
                // The field itself knows its words.
                Slot::Flag(_) => {}
                slot => values.push((slot, words)),
            }
        }
        let times = Times::compile(config.time_format.as_deref(), zone)?;
        Ok(Shape { times, constants, values, actions })
    }

    /// Sets the time of the event. An unreadable one is a fault; whether it is absurd is for the caller.
    pub(crate) fn occurred(
        &self,
        event: &mut AccessEvent,
        raw: &str,
        at: Option<Instant>,
    ) -> Result<(), Fault> {
        let raw = raw.trim();
        if raw.is_empty() {
            return Err(Fault::of("occurred_at", "missing"));
        }
        let at = at.ok_or_else(|| Fault::of("occurred_at", "not a time that can be read"))?;
        event.occurred_at = at.micros;
        event.time_ambiguous = Some(at.ambiguous);
        event.occurred_at_raw = Some(raw.to_string());
        Ok(())
    }

    /// The last touch to a row whose columns hold what the record wrote. `occurred_at` is set.
    pub(crate) fn finish(&self, event: &mut AccessEvent) {
        for (slot, words) in &self.values {
            if let Slot::Text(column) = slot
                && let Some(value) = column(event)
                && let Some(word) = words.get(value.as_str())
            {
                *value = word.clone();
            }
        }
        for id in [
            &mut event.user_id,
            &mut event.care_provider_id,
            &mut event.care_unit_id,
            &mut event.resource_care_provider_id,
            &mut event.resource_care_unit_id,
            &mut event.system_id,
        ] {
            if let Some(Cow::Owned(one)) = id.as_deref().map(hsa_id) {
                *id = Some(one);
            }
        }
        self.act(event);
        if let Some(outcome) = &mut event.outcome
            && let Some(word) = outcome_of(outcome)
        {
            *outcome = word.to_string();
        }
        if let Some(number) = &event.user_person_id {
            event.user_person_id = Some(normalise(number, None, event.occurred_at).id);
        }
        if let Some(number) = event.subject_id.take() {
            let number = normalise(&number, event.subject_id_type.as_deref(), event.occurred_at);
            event.subject_id_type = number.id_type.or(event.subject_id_type.take());
            event.subject_id = columns::some(&number.id);
        }
        // Before constants: what is the same for all says nothing about this user.
        let kind = if event.user_kind.is_none() { kind_of(event) } else { "" };
        for (slot, value) in &self.constants {
            match (slot, value) {
                (Slot::Text(column), value) => {
                    column(event).get_or_insert_with(|| value.to_string());
                }
                (Slot::Flag(column), Scalar::Flag(value)) => {
                    column(event).get_or_insert(*value);
                }
                _ => {}
            }
        }
        event.user_kind.get_or_insert_with(|| kind.to_string());
    }

    fn act(&self, event: &mut AccessEvent) {
        let Some(activity) = &event.activity else { return };
        let lower = activity.to_lowercase();
        if lower == "nödöppning" {
            event.emergency = Some(true);
        }
        let configured = self.actions.get(activity.as_str());
        if let Some(action) = configured.or_else(|| self.actions.get(event.action.as_deref().unwrap_or(""))) {
            event.action = Some(action.clone());
        } else if event.action.is_none() {
            let known = ACTIONS.iter().find(|(word, _)| *word == lower);
            event.action = known.map(|(_, action)| (*action).to_string());
        }
    }
}

/// Outcome codes of FHIR R4 and DICOM, and words that differ only in case.
fn outcome_of(written: &str) -> Option<&'static str> {
    let codes = ["0", "4", "8", "12"];
    let at = codes.iter().position(|c| *c == written);
    let at = at.or_else(|| OUTCOMES.iter().position(|o| o.eq_ignore_ascii_case(written)))?;
    OUTCOMES.get(at).copied()
}

/// A person who reads about themself in a portal is no employee: but an employee's id may be a personal number too, so
/// whoever acted from a unit, in an assignment or with a title is staff.
fn kind_of(event: &AccessEvent) -> &'static str {
    let Some(user) = &event.user_id else { return "unknown" };
    let from_work = [&event.care_unit_id, &event.care_provider_id, &event.user_title, &event.user_assignment];
    if from_work.iter().any(|column| column.is_some()) {
        return "staff";
    }
    let number = normalise(user, None, event.occurred_at);
    match number.kind {
        PersonalNumberKind::Other => "staff",
        _ if event.subject_id.as_deref() == Some(&number.id) => "subject",
        _ => "unknown",
    }
}

fn check_value(key: &str, name: &str, slot: Slot, value: &Scalar) -> Result<(), FormatError> {
    let written = value.to_string();
    let expected = match (slot, value) {
        (Slot::EventId | Slot::OccurredAt | Slot::Time(_), _) => {
            "another column: this one is told by each record".into()
        }
        (Slot::Flag(_), Scalar::Flag(_)) => return Ok(()),
        (Slot::Flag(_), _) => "true or false".to_string(),
        (Slot::Text(_), _) => match name {
            "action" if !matches!(written.as_str(), "C" | "R" | "U" | "D" | "E") => {
                "C, R, U, D or E".to_string()
            }
            "outcome" if outcome_of(&written).is_none() => OUTCOMES.join(", "),
            "user_kind" if !KINDS.contains(&written.as_str()) => KINDS.join(", "),
            _ => return Ok(()),
        },
    };
    Err(FormatError::new(key, format!("`{written}`"), expected))
}
