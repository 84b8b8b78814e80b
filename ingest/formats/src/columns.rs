//! The columns of `access_events` that a record may fill, by name.

use insyn_event::AccessEvent;

use crate::error::FormatError;
use crate::nearest;

type Text = fn(&mut AccessEvent) -> &mut Option<String>;
type Time = fn(&mut AccessEvent) -> &mut Option<i64>;
type Flag = fn(&mut AccessEvent) -> &mut Option<bool>;

/// A column's place in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    EventId,
    OccurredAt,
    Text(Text),
    Time(Time),
    Flag(Flag),
}

macro_rules! texts {
    ($($name:ident)*) => { &[$((stringify!($name), |e| &mut e.$name),)*] };
}

const TEXTS: &[(&str, Text)] = texts!(
    system_id system_name action activity activity_level activity_args outcome purpose user_kind user_id user_name
    user_person_id user_title user_role user_assignment care_provider_id care_provider_name care_unit_id care_unit_name
    care_process_id access_ground subject_id subject_id_type subject_name resource_type resource_id
    resource_care_provider_id resource_care_unit_id data_category data_origin session_id correlation_id client_address
);

const OTHERS: &[(&str, Slot)] = &[
    ("event_id", Slot::EventId),
    ("occurred_at", Slot::OccurredAt),
    ("ended_at", Slot::Time(|e| &mut e.ended_at)),
    ("recorded_at", Slot::Time(|e| &mut e.recorded_at)),
    ("emergency", Slot::Flag(|e| &mut e.emergency)),
];

/// Names that records use for columns without a field of their own in the standard.
const ALSO: &[(&str, &str)] = &[
    ("careunit", "care_unit_id"),
    ("unit", "care_unit_id"),
    ("careprovider", "care_provider_id"),
    ("careprocess", "care_process_id"),
    ("assignment", "user_assignment"),
    ("title", "user_title"),
    ("accessground", "access_ground"),
    ("ground", "access_ground"),
    ("session", "session_id"),
    ("category", "data_category"),
    ("origin", "data_origin"),
    ("resourcecareunit", "resource_care_unit_id"),
    ("resourcecareprovider", "resource_care_provider_id"),
    ("userpersonid", "user_person_id"),
    ("case", "access_ground"),
];

/// Columns that an extension or a detail may fill; those that a standard has a field for are not among them.
const EXTRA: &[&str] = &[
    "activity_level",
    "user_person_id",
    "user_title",
    "user_assignment",
    "care_provider_id",
    "care_provider_name",
    "care_unit_id",
    "care_unit_name",
    "care_process_id",
    "access_ground",
    "resource_care_provider_id",
    "resource_care_unit_id",
    "data_category",
    "data_origin",
    "session_id",
    "correlation_id",
];

pub(crate) fn slot(name: &str) -> Option<Slot> {
    text(name).map(Slot::Text).or_else(|| OTHERS.iter().find(|(n, _)| *n == name).map(|(_, slot)| *slot))
}

pub(crate) fn text(name: &str) -> Option<Text> {
    TEXTS.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// The place of a column that configuration names under `key`.
pub(crate) fn configured(key: &str, name: &str) -> Result<Slot, FormatError> {
    slot(name).ok_or_else(|| {
        let names = TEXTS.iter().map(|(n, _)| *n).chain(OTHERS.iter().map(|(n, _)| *n));
        let expected = match nearest(name, names) {
            Some(near) => {
                format!("a column of access_events that a record may fill (did you mean `{near}`?)")
            }
            None => "a column of access_events that a record may fill".to_string(),
        };
        FormatError::new(format!("{key}.{name}"), format!("`{name}`"), expected)
    })
}

/// Fills the column that a detail or extension called `key` means, if it is one and still empty. Of a URL the last
/// part counts, and neither case nor punctuation does.
pub(crate) fn fill_named(event: &mut AccessEvent, key: &str, value: &str) {
    let value = value.trim();
    let last = key.rsplit(['/', ':', '#']).next().unwrap_or(key);
    let plain: String =
        last.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    let same = |name: &str| name.bytes().filter(|b| *b != b'_').eq(plain.bytes());
    let name = EXTRA
        .iter()
        .copied()
        .find(|n| same(n))
        .or_else(|| ALSO.iter().find(|(also, _)| *also == plain).map(|(_, name)| *name));
    if let Some(text) = name.and_then(text)
        && !value.is_empty()
    {
        text(event).get_or_insert_with(|| value.to_string());
    }
}

/// Bytes of all texts.
pub(crate) fn length(event: &mut AccessEvent) -> usize {
    TEXTS.iter().map(|(_, text)| text(event).as_ref().map_or(0, String::len)).sum()
}

/// Text with something in it.
pub(crate) fn some(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_string())
}
