//! `dicom-audit`: DICOM PS3.15 A.5 audit messages and their forebear RFC 3881, bare or in a syslog frame.
//!
//! Codes are read as `csd-code` with `originalText` or as `code` with `displayName`, mixed or not.
//! EventID → activity (its own text, else the standard's), EventTypeCode, else the names of objects
//! that are no patients → activity_level; EventActionCode → action;
//! EventDateTime → occurred_at; EventOutcomeIndicator → outcome; PurposeOfUse → purpose, with BTG or an emergency
//! override (110127) → emergency. The user is the ActiveParticipant with UserIsRequestor, a person before an
//! application: UserID → user_id (AlternativeUserID where only that is an HSA-id), UserName → user_name, RoleIDCode →
//! user_role, NetworkAccessPointID → client_address. AuditSourceID → system_id, AuditEnterpriseSiteID → care_unit_id.
//! ParticipantObjectIdentification with TypeCode 1 and Role 1 is the patient, one row each; all others are one group:
//! their id types → resource_type, ids → resource_id, joined where they are many; a query → activity_args.
//! ParticipantObjectDetail that is named like a column fills it. The frame's own time → recorded_at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insyn_event::AccessEvent;
use quick_xml::events::{BytesStart, Event};

use super::xml::{self, attribute};
use crate::columns::{fill_named, some};
use crate::error::Fault;
use crate::limits;
use crate::shape::Shape;

/// EventIDs of PS3.16 CID 400: code, meaning, and the action where the message does not tell it.
const EVENTS: &[(&str, &str, &str)] = &[
    ("110100", "Application Activity", "E"),
    ("110101", "Audit Log Used", "R"),
    ("110102", "Begin Transferring DICOM Instances", "E"),
    ("110103", "DICOM Instances Accessed", "R"),
    ("110104", "DICOM Instances Transferred", "R"),
    ("110105", "DICOM Study Deleted", "D"),
    ("110106", "Export", "R"),
    ("110107", "Import", "C"),
    ("110108", "Network Entry", "E"),
    ("110109", "Order Record", "R"),
    ("110110", "Patient Record", "R"),
    ("110111", "Procedure Record", "R"),
    ("110112", "Query", "E"),
    ("110113", "Security Alert", "E"),
    ("110114", "User Authentication", "E"),
];

/// Roles that programs have: application, launcher, destination, source, and their media.
const PROGRAMS: &[&str] = &["110150", "110151", "110152", "110153", "110154", "110155"];

/// A namespace's prefix is not longer.
const LONGEST_PREFIX: usize = 64;

#[derive(Debug, Default)]
struct Code {
    code: Option<String>,
    text: Option<String>,
}

#[derive(Debug, Default)]
struct Participant {
    id: Option<String>,
    other_id: Option<String>,
    name: Option<String>,
    requestor: bool,
    address: Option<String>,
    roles: Vec<Code>,
}

#[derive(Debug, Default)]
struct Object {
    id: Option<String>,
    kind: Option<String>,
    role: Option<String>,
    id_type: Code,
    name: Option<String>,
    query: Option<String>,
}

#[derive(Debug, Default)]
struct Message {
    event: AccessEvent,
    at: String,
    event_id: Code,
    types: Vec<Code>,
    purposes: Vec<Code>,
    participants: Vec<Participant>,
    objects: Vec<Object>,
    details: Vec<(String, String)>,
}

pub(crate) fn parse(text: &str, shape: &Shape) -> Result<Vec<AccessEvent>, Fault> {
    let start = start_of_message(text).ok_or_else(|| Fault::new("no AuditMessage"))?;
    let (frame, body) = text.split_at(start);
    let mut message = Message::default();
    read(body, &mut message)?;
    let Message { mut event, at, event_id, types, purposes, participants, objects, details } = message;
    shape.occurred(&mut event, &at, shape.times.read_iso(&at))?;
    event.recorded_at =
        frame.split_ascii_whitespace().nth(1).and_then(|t| shape.times.read_iso(t)).map(|i| i.micros);
    let known = event_id.code.as_deref().and_then(|code| EVENTS.iter().find(|(c, ..)| *c == code));
    event.activity = event_id.text.or(known.map(|(_, name, _)| (*name).to_string())).or(event_id.code);
    event.action = event.action.or(known.map(|(.., action)| (*action).to_string()));
    let broke_glass =
        purposes.iter().chain(&types).any(|c| matches!(c.code.as_deref(), Some("BTG" | "110127")));
    event.emergency = Some(broke_glass);
    event.activity_level = join(types.into_iter().filter_map(word).collect());
    event.purpose = purpose(purposes);
    user(&mut event, participants);
    for (key, value) in &details {
        fill_named(&mut event, key, value);
    }
    rows(event, objects, shape)
}

/// Where the message's start tag is: a program in the frame's header may have the same name.
fn start_of_message(text: &str) -> Option<usize> {
    text.match_indices("AuditMessage").find_map(|(at, _)| {
        let before = &text.as_bytes()[..at];
        let prefix = before.iter().rev().take(LONGEST_PREFIX).position(|b| *b == b'<')?;
        let is_name = prefix == 0 || before.ends_with(b":") && !before[at - prefix..].contains(&b' ');
        is_name.then(|| at - prefix - 1)
    })
}

fn rows(mut event: AccessEvent, objects: Vec<Object>, shape: &Shape) -> Result<Vec<AccessEvent>, Fault> {
    let is_patient = |o: &Object| o.kind.as_deref() == Some("1") && o.role.as_deref() == Some("1");
    let (mut subjects, others): (Vec<Object>, Vec<Object>) = objects.into_iter().partition(is_patient);
    let (mut kinds, mut ids, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for object in others {
        if let Some(query) = object.query {
            event.activity_args.get_or_insert_with(|| decoded(&query));
        }
        kinds.extend(word(object.id_type));
        ids.extend(object.id);
        names.extend(object.name);
    }
    event.activity_level = event.activity_level.or(join(names));
    event.resource_type = join(kinds);
    event.resource_id = join(ids);
    limits::distinct(&mut subjects, |subject| subject.id.clone());
    if subjects.is_empty() {
        subjects.push(Object::default());
    }
    limits::rows_of(&mut event, subjects.len())?;
    let last = subjects.len() - 1;
    let mut rows: Vec<AccessEvent> = Vec::with_capacity(subjects.len());
    for (i, subject) in subjects.into_iter().enumerate() {
        let mut row = if i == last { std::mem::take(&mut event) } else { event.clone() };
        row.subject_id = subject.id;
        row.subject_name = subject.name;
        shape.finish(&mut row);
        rows.push(row);
    }
    limits::distinct_subjects(&mut rows);
    Ok(rows)
}

fn user(event: &mut AccessEvent, participants: Vec<Participant>) {
    let is_program = |p: &Participant| {
        p.roles.iter().any(|r| r.code.as_deref().is_some_and(|code| PROGRAMS.contains(&code)))
    };
    let rank = |p: &Participant| {
        i32::from(p.requestor) * 2 + i32::from(!is_program(p)) + i32::from(p.name.is_some())
    };
    // The first of the best: `max_by_key` would give the last.
    let best = participants.into_iter().rev().max_by_key(rank);
    let Some(user) = best else { return };
    if is_program(&user) && user.name.is_none() {
        event.user_kind = Some("system".to_string());
    }
    event.user_id = match (user.id, user.other_id) {
        (Some(id), Some(other)) if !is_hsa_id(&id) && is_hsa_id(&other) => Some(other),
        (id, other) => id.or(other),
    };
    event.user_name = user.name;
    event.client_address = user.address;
    event.user_role = user.roles.into_iter().next().and_then(word);
}

/// `SE`, an organisation number, a dash: staff and units in the national catalogue.
pub(crate) fn is_hsa_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    bytes.len() > 13
        && bytes[..2].eq_ignore_ascii_case(b"SE")
        && bytes[2..12].iter().all(u8::is_ascii_digit)
        && bytes[12] == b'-'
}

fn purpose(purposes: Vec<Code>) -> Option<String> {
    let broke = |c: &Code| c.code.as_deref() == Some("BTG");
    let (btg, others): (Vec<Code>, Vec<Code>) = purposes.into_iter().partition(broke);
    let code = others.into_iter().chain(btg).next()?;
    // The source's own text, if it is one of the words that the contracts have; else the code in Swedish.
    let is_word = |text: &String| super::fhir::is_purpose(text);
    let canonical = code
        .code
        .as_deref()
        .and_then(super::fhir::purpose_of)
        .filter(|_| !code.text.as_ref().is_some_and(is_word));
    canonical.map(str::to_string).or_else(|| word(code))
}

fn word(code: Code) -> Option<String> {
    code.text.or(code.code)
}

fn join(mut words: Vec<String>) -> Option<String> {
    limits::distinct(&mut words, String::clone);
    (!words.is_empty()).then(|| words.join(", "))
}

/// Base64 of text as that text, anything else as it is.
pub(crate) fn decoded(value: &str) -> String {
    let compact: String = value.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(compact).ok();
    bytes.and_then(|b| String::from_utf8(b).ok()).unwrap_or_else(|| value.to_string())
}

fn read(text: &str, message: &mut Message) -> Result<(), Fault> {
    let mut reader = xml::reader(text);
    let mut value = String::new();
    let mut depth = 0usize;
    loop {
        match reader.read_event().map_err(xml::fault)? {
            Event::Start(tag) => {
                depth += 1;
                if depth > xml::DEEPEST {
                    return Err(Fault::new("elements nested too deep"));
                }
                value.clear();
                message.open(&tag)?;
            }
            Event::Empty(tag) => {
                value.clear();
                message.open(&tag)?;
                if depth == 0 {
                    return alone(text, reader.buffer_position());
                }
            }
            Event::Text(part) => value.push_str(&part.decode().map_err(|e| xml::fault(e.into()))?),
            Event::CData(part) => value.push_str(&part.decode().map_err(|e| xml::fault(e.into()))?),
            Event::GeneralRef(part) => xml::reference(&part, &mut value)?,
            Event::End(tag) => {
                message.close(tag.local_name().as_ref(), &value);
                value.clear();
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return alone(text, reader.buffer_position());
                }
            }
            Event::Eof => {
                return if depth == 0 { Ok(()) } else { Err(Fault::new("not valid XML: it ends too early")) };
            }
            _ => {}
        }
    }
}

/// A datagram or a line may hold two messages: then it says more than one row can.
fn alone(text: &str, end: u64) -> Result<(), Fault> {
    match usize::try_from(end).ok().and_then(|end| text.get(end..)).is_some_and(|rest| rest.contains('<')) {
        true => Err(Fault::new("something follows the audit message")),
        false => Ok(()),
    }
}

impl Message {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), Fault> {
        match tag.local_name().as_ref() {
            b"EventIdentification" => {
                self.event.action = attribute(tag, "EventActionCode")?;
                self.at = attribute(tag, "EventDateTime")?.unwrap_or_default();
                self.event.outcome = attribute(tag, "EventOutcomeIndicator")?;
            }
            b"EventID" => self.event_id = code(tag)?,
            b"EventTypeCode" => self.types.push(code(tag)?),
            b"PurposeOfUse" => self.purposes.push(code(tag)?),
            b"ActiveParticipant" => self.participants.push(Participant {
                id: attribute(tag, "UserID")?,
                other_id: attribute(tag, "AlternativeUserID")?,
                name: attribute(tag, "UserName")?,
                requestor: attribute(tag, "UserIsRequestor")?
                    .is_some_and(|v| v.eq_ignore_ascii_case("true") || v == "1"),
                address: attribute(tag, "NetworkAccessPointID")?,
                roles: Vec::new(),
            }),
            b"RoleIDCode" => {
                let code = code(tag)?;
                if let Some(participant) = self.participants.last_mut() {
                    participant.roles.push(code);
                }
            }
            b"AuditSourceIdentification" => {
                self.event.system_id = attribute(tag, "AuditSourceID")?;
                self.event.care_unit_id = attribute(tag, "AuditEnterpriseSiteID")?;
            }
            b"ParticipantObjectIdentification" => {
                limits::at_most(limits::ROWS, self.objects.len() + 1, "objects")?;
                self.objects.push(Object {
                    id: attribute(tag, "ParticipantObjectID")?,
                    kind: attribute(tag, "ParticipantObjectTypeCode")?,
                    role: attribute(tag, "ParticipantObjectTypeCodeRole")?,
                    ..Object::default()
                });
            }
            b"ParticipantObjectIDTypeCode" => {
                let code = code(tag)?;
                if let Some(object) = self.objects.last_mut() {
                    object.id_type = code;
                }
            }
            b"ParticipantObjectDetail" => {
                if let (Some(kind), Some(value)) = (attribute(tag, "type")?, attribute(tag, "value")?) {
                    self.details.push((kind, decoded(&value)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &[u8], value: &str) {
        let Some(object) = self.objects.last_mut() else { return };
        match name {
            b"ParticipantObjectName" => object.name = some(value),
            b"ParticipantObjectQuery" => object.query = some(value),
            _ => {}
        }
    }
}

fn code(tag: &BytesStart<'_>) -> Result<Code, Fault> {
    let code = match attribute(tag, "csd-code")? {
        None => attribute(tag, "code")?,
        code => code,
    };
    let text = match attribute(tag, "originalText")? {
        None => attribute(tag, "displayName")?,
        text => text,
    };
    Ok(Code { code, text })
}
