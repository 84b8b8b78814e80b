//! One look in a record, before it is written in any format.

use serde::Serialize;

use crate::World;
use crate::units::{self, Kind};

/// The five systems that log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The region's journal: FHIR AuditEvent.
    Journal,
    /// The national service for shared records: RIV-TA StoreLog.
    National,
    /// The image archive: DICOM audit over syslog.
    Imaging,
    /// The municipality's social system: a nightly CSV export.
    Social,
    /// The web portal of pupil health and home nursing: a web server's log.
    Portal,
}

impl Source {
    pub(crate) const ALL: [Source; 5] =
        [Source::Journal, Source::National, Source::Imaging, Source::Social, Source::Portal];

    /// The name in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Journal => "journal",
            Source::National => "npo",
            Source::Imaging => "bild",
            Source::Social => "omsorg",
            Source::Portal => "portal",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Read,
    Write,
    Sign,
    Print,
}

impl Activity {
    /// The word that Swedish logs use.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Activity::Read => "Läsa",
            Activity::Write => "Skriva",
            Activity::Sign => "Signera",
            Activity::Print => "Utskrift",
        }
    }
}

/// One look.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// Seconds since 1970, UTC.
    pub at: i64,
    pub source: Source,
    pub staff: u32,
    /// The unit from which the user acted.
    pub unit: u16,
    pub subject: u32,
    /// A second person in the same record (a list was opened); the national source only.
    pub second: Option<u32>,
    pub activity: Activity,
    /// Which part of the record: an index into the source's own list.
    pub part: u8,
    pub emergency: bool,
    /// Quality follow-up instead of care.
    pub quality: bool,
    /// The attempt was refused.
    pub refused: bool,
    /// Its number within its source, from 1 in order of time.
    pub number: u32,
    /// Which planted case it belongs to: 0 none, else index + 1.
    pub planted: u16,
    /// Which piece of known noise it belongs to: 0 none, else index + 1.
    pub noise: u16,
}

/// The parts of a record as each source calls them.
pub(crate) fn parts(source: Source) -> &'static [&'static str] {
    match source {
        Source::Journal => &[
            "Journalanteckningar",
            "Läkemedelslista",
            "Provsvar",
            "Diagnoser",
            "Uppmärksamhetsinformation",
            "Remisser",
            "Vårdplan",
        ],
        Source::National => {
            &["Vårddokumentation", "Läkemedel", "Diagnos", "Undersökningsresultat", "Vårdkontakt"]
        }
        Source::Imaging => &["Lungor", "Skelett", "Buk", "Hjärna", "Ultraljud"],
        Source::Social => {
            &["Genomförandeplan", "Social dokumentation", "Beslut", "Utredning", "Insatser", "Kontakter"]
        }
        Source::Portal => &["anteckning", "vaccination", "halsobesok", "lakemedel", "vardplan"],
    }
}

impl World {
    /// The id that the record carries in its source; `None` where the format has none (DICOM).
    pub(crate) fn event_id(&self, source: Source, number: u32) -> Option<String> {
        match source {
            Source::Journal | Source::National => Some(self.uuid(source, number)),
            Source::Imaging => None,
            Source::Social => Some(format!("{}", 70_000_000 + number)),
            Source::Portal => Some(format!("p{:07x}", number * 16 + (number % 7))),
        }
    }

    /// A version-4 shaped UUID that depends on seed, source and number only.
    pub(crate) fn uuid(&self, source: Source, number: u32) -> String {
        let high = mix(self.seed ^ (u64::from(number) << 3) ^ source.index() as u64);
        let low = mix(high ^ 0x9e37_79b9_7f4a_7c15);
        let mut out = String::with_capacity(36);
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        for (place, byte) in bytes.into_iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                out.push('-');
            }
            let byte = match place {
                6 => byte & 0x0f | 0x40,
                8 => byte & 0x3f | 0x80,
                _ => byte,
            };
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
        out
    }

    /// The workstation that a member of staff sits at in a unit.
    pub(crate) fn address_of(&self, access: &Access) -> String {
        format!("10.20.{}.{}", 10 + access.unit, 20 + (access.staff * 7) % 180)
    }
}

/// Whether a unit looks at shared records and images besides its own journal.
pub(crate) fn reads_shared(unit: usize) -> bool {
    matches!(
        units::UNITS[unit].kind,
        Kind::Emergency | Kind::Ward | Kind::Clinic | Kind::Primary | Kind::HomeNursing
    )
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A bijective scramble of 64 bits (the finaliser of SplitMix64).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What was planted, or what was honest noise: one case.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Case {
    /// Which kind of misuse, or of noise; see [`crate::KINDS`].
    pub kind: &'static str,
    /// The configured name of the log source.
    pub source: &'static str,
    /// The source's ids of its records, in order of time; none where its format has no ids (DICOM).
    pub event_ids: Vec<String>,
    /// When each look was, RFC 3339, in the same order.
    pub occurred_at: Vec<String>,
    /// The staff member (the id of `staff.csv`, not the account's).
    pub user_id: String,
    /// Whose record: the current id of `subjects.csv`.
    pub subject_id: String,
}
