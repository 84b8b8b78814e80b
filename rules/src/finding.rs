//! A finding: what was seen between one person and one record in one calendar window.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::rule::{Level, Text};
use crate::score::Grade;

/// One finding, as `findings list` and the API print it. Times are µs UTC here and RFC 3339 when serialised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The same for the same rule, person, record and calendar window, in every run and installation.
    pub finding_id: String,
    /// The rule's id.
    pub rule_id: String,
    /// The rule's version when it judged.
    pub rule_version: u32,
    /// How much it asks for a person's eyes.
    pub level: Level,
    /// 0–100; its parts are in `evidence.score`.
    pub score: u8,
    /// Where it is in its life; a rule only makes [`FindingStatus::New`].
    pub status: FindingStatus,
    /// What people decided; a rule only gives [`Outcome::None`].
    pub outcome: Outcome,
    /// Until then late bookings and notes may still explain it.
    #[serde(with = "optional_time", default)]
    pub settles_at: Option<i64>,
    /// Who looked (resolved through `accounts`).
    pub user_id: String,
    /// Whose record (resolved through `identities`); `None` where it is about many.
    pub subject_id: Option<String>,
    /// From which unit; the one with most of the accesses when there were several.
    pub care_unit_id: Option<String>,
    /// Who answers for the record.
    pub controller_id: Option<String>,
    /// The first of the accesses.
    #[serde(with = "time")]
    pub first_at: i64,
    /// The last of the accesses.
    #[serde(with = "time")]
    pub last_at: i64,
    /// Distinct `event_id` within a source.
    pub event_count: u64,
    /// Their ids, by time.
    pub event_ids: Vec<String>,
    /// What was seen, in Swedish.
    pub title_sv: String,
    /// What was seen, in English.
    pub title_en: String,
    /// One sentence each.
    pub reasons: Vec<Text>,
    /// When the run that made it started.
    #[serde(with = "time")]
    pub created_at: i64,
    /// What it rested on: `window` {name, from, to}, `parameters`, `score` [{points, of, sv, en}], `events`
    /// [[`Event`], …] in the order of `event_ids`, `sources` {source: events}, `context` {table: [row, …]},
    /// `user_leads_unit`, `never_cleared`; everything but `created_at` of a finding is a function of data and pack.
    #[serde(default)]
    pub evidence: serde_json::Value,
}

/// One access that a finding rests on, as `evidence.events` keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id in its source.
    pub event_id: String,
    /// Where it was logged.
    pub source: String,
    /// When.
    #[serde(with = "time")]
    pub occurred_at: i64,
    /// What was done, in the source's own word.
    pub activity: Option<String>,
    /// From which unit.
    pub care_unit_id: Option<String>,
    /// How much this one access asks for a person's eyes.
    pub level: Level,
    /// Which of the finding's sentences are about it, by place.
    pub reasons: Vec<usize>,
    /// How good a reason it has for all that; none where it has none, or where reasons do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<Grade>,
}

/// The identity of a finding: an id from rule, who, whose record, and the calendar window's first local day.
///
/// The same input gives the same id for ever; it is a UUID of version 8 over a SHA-256.
pub fn identity(rule: &str, user: &str, subject: Option<&str>, window: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"insyn finding 1");
    for part in [rule, user, subject.unwrap_or(""), window] {
        // Lengths keep ("a", "bc") and ("ab", "c") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The word used in tables, files and the API.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == word).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("{}: found \"{word}\", expected one of {}", $what, known.join(", "))
                })
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Where a finding is in its life.
    FindingStatus, "status" {
        /// Nobody has taken it.
        New = "new",
        /// Somebody is to judge it.
        Assigned = "assigned",
        /// The person or their manager has been asked.
        Asked = "asked",
        /// Judged.
        Decided = "decided",
        /// Done with.
        Closed = "closed",
    }
}

words! {
    /// What people decided about a finding.
    Outcome, "outcome" {
        /// Nothing yet.
        None = "none",
        /// The person needed it for the work.
        Authorised = "authorised",
        /// Needed, yet not by the routine.
        AuthorisedWrongRoutine = "authorised_wrong_routine",
        /// The wrong record was opened.
        MistakenOpening = "mistaken_opening",
        /// Cannot be told.
        CannotTell = "cannot_tell",
        /// One person holds it for likely that it was not authorised.
        Suspected = "suspected",
        /// Two people decided so, inside a case.
        Confirmed = "confirmed",
    }
}

/// `2026-08-31T05:07:37Z`, with a fraction only when there is one.
pub(crate) fn rfc3339(micros: i64) -> String {
    match DateTime::from_timestamp_micros(micros) {
        Some(t) if micros.rem_euclid(1_000_000) == 0 => t.to_rfc3339_opts(SecondsFormat::Secs, true),
        Some(t) => t.to_rfc3339_opts(SecondsFormat::Micros, true),
        None => micros.to_string(),
    }
}

/// µs UTC as RFC 3339.
pub(crate) mod time {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(micros: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::rfc3339(*micros))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        chrono::DateTime::parse_from_rfc3339(&text).map(|t| t.timestamp_micros()).map_err(D::Error::custom)
    }
}

/// As [`time`], and null for none.
pub(crate) mod optional_time {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(micros: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        match micros {
            Some(micros) => serializer.serialize_some(&super::rfc3339(*micros)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        chrono::DateTime::parse_from_rfc3339(&text)
            .map(|t| Some(t.timestamp_micros()))
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn identity_tells_every_part_apart_and_never_changes() {
        let id = identity("own-record", "U1", Some("191212121212"), "2026-W10");
        assert_eq!(id, identity("own-record", "U1", Some("191212121212"), "2026-W10"));
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 8);
        for other in [
            identity("own-recor", "dU1", Some("191212121212"), "2026-W10"),
            identity("own-record", "U2", Some("191212121212"), "2026-W10"),
            identity("own-record", "U1", None, "2026-W10"),
            identity("own-record", "U1", Some("191212121212"), "2026-W11"),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn times_are_rfc_3339_outside() {
        assert_eq!(rfc3339(1_788_152_857_000_000), "2026-08-31T05:07:37Z");
        assert_eq!(rfc3339(1_788_152_857_250_000), "2026-08-31T05:07:37.250000Z");
    }
}
