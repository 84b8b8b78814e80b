//! How each system writes a look down.

mod dicom;
mod fhir;
mod lines;
mod rivta;

use crate::World;
use crate::access::{Access, Source};
use crate::clock::Wall;
use crate::people::Subject;
use crate::staff::Staff;
use crate::units::{Kind, UNITS, Unit};

/// Appends string pieces; far quicker than `write!` where nothing is optimised, and a log is a hundred thousand lines.
macro_rules! put {
    ($out:expr; $($piece:expr),+ $(,)?) => {{ $($out.push_str($piece);)+ }};
}
pub(crate) use put;

/// A look with everything that a line may need beside it.
pub(crate) struct Line<'a> {
    pub world: &'a World,
    pub access: &'a Access,
    pub user: &'a Staff,
    pub user_name: String,
    pub unit: &'a Unit,
    pub subject: &'a Subject,
    pub subject_name: String,
    /// The number as it was at the time, and its issuer.
    pub subject_id: &'a str,
    pub id_type: &'static str,
    pub event_id: String,
    pub address: String,
    pub wall: Wall,
    pub purpose: &'static str,
}

impl<'a> Line<'a> {
    pub(crate) fn new(world: &'a World, access: &'a Access) -> Line<'a> {
        let user = &world.staff[access.staff as usize];
        let subject = &world.people.subjects[access.subject as usize];
        let (subject_id, id_type) = subject.number_at(access.at);
        Line {
            world,
            access,
            user,
            user_name: user.name(),
            unit: &UNITS[usize::from(access.unit)],
            subject,
            subject_name: shown_name(subject),
            subject_id,
            id_type,
            event_id: world.event_id(access.source, access.number).unwrap_or_default(),
            address: world.address_of(access),
            wall: world.clock.wall(access.at),
            purpose: purpose(access),
        }
    }
}

/// Why, in the words of the unit's own system.
fn purpose(access: &Access) -> &'static str {
    match UNITS[usize::from(access.unit)].kind {
        _ if access.quality => "Kvalitetssäkring",
        Kind::Social | Kind::Assessment => "Handläggning",
        Kind::HomeCare | Kind::Residence => "Genomförande av insats",
        _ => "Vård och behandling",
    }
}

/// A protected person's name is not written in any log.
fn shown_name(subject: &Subject) -> String {
    if subject.protected.is_some() { "Skyddade personuppgifter".to_owned() } else { subject.name() }
}

/// Writes one look's record, its line end included.
pub(crate) fn record(world: &World, access: &Access, out: &mut String) {
    let line = Line::new(world, access);
    match access.source {
        Source::Journal => fhir::record(&line, out),
        Source::National => rivta::record(&line, out),
        Source::Imaging => dicom::record(&line, out),
        Source::Social => lines::social(&line, out),
        Source::Portal => lines::portal(&line, out),
    }
}

/// What a file of that source begins and ends with.
pub(crate) fn envelope(source: Source) -> (&'static str, &'static str) {
    match source {
        Source::National => (rivta::OPEN, rivta::CLOSE),
        Source::Social => (lines::SOCIAL_HEADER, ""),
        _ => ("", ""),
    }
}

/// A spoilt copy of a record, as crashes, upgrades and full disks leave them: it must end in quarantine.
pub(crate) fn spoilt(source: Source, record: &str, turn: usize) -> String {
    match (source, turn % 3) {
        (Source::Journal, 0) => format!("{}\n", cut(record, 55)),
        // R5 tells when in two places, and either would do for a reader.
        (Source::Journal, 1) => record.replacen("\"recorded\":\"20", "\"recorded\":\"i går 20", 1).replacen(
            "\"occurredDateTime\":\"20",
            "\"occurredDateTime\":\"i går 20",
            1,
        ),
        (Source::Journal, _) => "-- log rotated: no space left on device --\n".to_owned(),
        (Source::National, _) => record.replacen("startDate>20", "startDate>den 20", 1),
        (Source::Imaging, _) => format!("{}\n", cut(&record.replace('\n', " "), 60)),
        (Source::Social, 0) => format!("{}\r\n", record.split(';').take(5).collect::<Vec<_>>().join(";")),
        (Source::Social, _) => {
            let mut fields: Vec<&str> = record.split(';').collect();
            if let Some(time) = fields.get_mut(1) {
                *time = "31/11 kl 8";
            }
            fields.join(";")
        }
        (Source::Portal, 0) => "10.20.31.9 - - [] \"\" 408 0 \"-\" \"-\"\n".to_owned(),
        (Source::Portal, _) => format!("{}\n", cut(record, 35)),
    }
}

/// The first `percent` of a text, cut between letters.
fn cut(text: &str, percent: usize) -> &str {
    let mut end = text.len() * percent / 100;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
