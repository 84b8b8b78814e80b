//! `fhir-audit-event`: FHIR AuditEvent, R4, R4B and R5, told apart by shape and not by where they lie; IHE BALP.
//!
//! * id → event_id. recorded → occurred_at; where period or occurred[x] tells when it happened, that is occurred_at, its
//!   end ended_at, and recorded is recorded_at.
//! * subtype, else code (R5), else type → activity, by display, else code; action → action; outcome, a code (R4) or a
//!   code with detail (R5), → outcome.
//! * purposeOfEvent, authorization and the user's purposeOfUse → purpose: its text, else Swedish for TREAT and its like,
//!   else display or code. BTG anywhere → emergency, otherwise it is false.
//! * The user is the agent with requestor = true, a person before a program: who.identifier (else the reference's id,
//!   else altId) → user_id, an altId that is an HSA-id before a number that is none; a personnummer →
//!   user_person_id too; name or who.display → user_name; role → user_role. Kind of user by what the agent refers to.
//! * Where from: the user's network, else that of the client (BALP: 110152 for reads, 110153 for all else; the codes
//!   swap).
//! * Care unit and provider: agents that are organisations (one with a bare organisation number, or called provider, is
//!   the provider), the user's location, and last source.site. source.observer → system_id, system_name.
//! * Patients: R5's patient, and entities with type 1 and role 1, or that refer to a Patient: one row each. All other
//!   entities are one group: types → resource_type, ids → resource_id, joined where they are many. A query, decoded,
//!   → activity_args; BALP's X-Request-Id → correlation_id.
//! * Extensions, and details of entities, that are named like a column (`care-unit-id`, `userTitle`, `accessGround`,
//!   `sessionId`, …) fill it where it is empty.
//!
//! A Bundle that stands where a record is expected gives the rows of all its entries.

mod agent;

use std::collections::HashMap;

use insyn_event::AccessEvent;

use super::dicom::decoded;
use super::tape::{Node, Tape};
use crate::columns::{self, fill_named, some};
use crate::error::Fault;
use crate::limits;
use crate::shape::Shape;

/// Purposes of use (v3-ActReason) that the Swedish contracts have a word for.
const PURPOSES: &[(&str, &str)] = &[
    ("TREAT", "Vård och behandling"),
    ("CAREMGT", "Vård och behandling"),
    ("HQUALIMP", "Kvalitetssäkring"),
    ("HOPERAT", "Administration"),
    ("HPAYMT", "Administration"),
    ("PATADMIN", "Administration"),
];

/// The words of the Swedish contracts.
const WORDS: &[&str] = &[
    "Vård och behandling",
    "Kvalitetssäkring",
    "Annan dokumentation enligt lag",
    "Statistik",
    "Administration",
    "Kvalitetsregister",
];

pub(crate) fn is_purpose(text: &str) -> bool {
    WORDS.contains(&text)
}

pub(crate) fn purpose_of(code: &str) -> Option<&'static str> {
    PURPOSES.iter().find(|(c, _)| *c == code).map(|(_, word)| *word)
}

pub(crate) fn parse(text: &str, shape: &Shape) -> Result<Vec<AccessEvent>, Fault> {
    let tape = Tape::read(text)?;
    let root = tape.root();
    let mut rows = Vec::with_capacity(1);
    resource(root, shape, &mut rows)?;
    Ok(rows)
}

fn resource(root: Node<'_>, shape: &Shape, rows: &mut Vec<AccessEvent>) -> Result<(), Fault> {
    match root.text_of("resourceType") {
        Some("AuditEvent") => audit_event(root, shape, rows),
        Some("Bundle") => {
            let mut held = 0;
            for entry in root.items_of("entry") {
                let resource =
                    entry.get("resource").ok_or_else(|| Fault::new("an entry without a resource"))?;
                let before = rows.len();
                audit_event(resource, shape, rows)?;
                held += rows[before..].iter_mut().map(columns::length).sum::<usize>();
                limits::at_most(limits::HELD, held, "bytes in the rows of one record")?;
            }
            if rows.is_empty() { Err(Fault::new("a Bundle without an entry")) } else { Ok(()) }
        }
        None if root.get("recorded").is_some() && root.get("agent").is_some() => {
            audit_event(root, shape, rows)
        }
        Some(_) => Err(Fault::new("the resource is no AuditEvent")),
        None => Err(Fault::new("resourceType is missing")),
    }
}

fn audit_event(root: Node<'_>, shape: &Shape, rows: &mut Vec<AccessEvent>) -> Result<(), Fault> {
    for (key, most, what) in [
        ("agent", limits::PARTS, "agents"),
        ("contained", limits::PARTS, "contained resources"),
        ("entity", limits::ROWS, "entities"),
    ] {
        limits::at_most(most, root.items_of(key).count(), what)?;
    }
    let mut event =
        AccessEvent { event_id: root.text_of("id").unwrap_or("").to_string(), ..AccessEvent::default() };
    times(root, shape, &mut event)?;
    event.activity = ["subtype", "code", "type", "category"]
        .iter()
        .find_map(|key| concepts(root.get(key)).first().and_then(Concept::word))
        .and_then(some);
    event.action = root.text_of("action").and_then(some);
    event.outcome = outcome(root);
    agent::user(root, &mut event);
    purpose(root, &mut event);
    source(root, &mut event);
    extensions(root, &mut event);
    let subjects = entities(root, &mut event);
    limits::at_most(limits::ROWS, rows.len() + 1, limits::FROM_ONE)?;
    limits::rows_of(&mut event, subjects.len())?;
    let last = subjects.len().saturating_sub(1);
    let mut own = Vec::with_capacity(subjects.len());
    if subjects.is_empty() {
        shape.finish(&mut event);
        rows.push(event);
        return Ok(());
    }
    for (i, subject) in subjects.into_iter().enumerate() {
        let mut row = if i == last { std::mem::take(&mut event) } else { event.clone() };
        row.subject_id = some(subject.id);
        row.subject_id_type = subject.system.and_then(some);
        row.subject_name = subject.display.and_then(some);
        shape.finish(&mut row);
        own.push(row);
    }
    limits::distinct_subjects(&mut own);
    rows.append(&mut own);
    Ok(())
}

fn times(root: Node<'_>, shape: &Shape, event: &mut AccessEvent) -> Result<(), Fault> {
    let recorded = root.text_of("recorded").unwrap_or("");
    let period = root.get("period").or_else(|| root.get("occurredPeriod"));
    let started = period.and_then(|p| p.text_of("start")).or_else(|| root.text_of("occurredDateTime"));
    let happened = started.unwrap_or(recorded);
    shape.occurred(event, happened, shape.times.read_iso(happened))?;
    if started.is_some() {
        event.recorded_at = shape.times.read_iso(recorded).map(|i| i.micros);
    }
    let ended = period.and_then(|p| p.text_of("end"));
    event.ended_at = ended.and_then(|t| shape.times.read_iso(t)).map(|i| i.micros);
    Ok(())
}

fn outcome(root: Node<'_>) -> Option<String> {
    let outcome = root.get("outcome")?;
    if let Some(code) = outcome.text() {
        return some(code);
    }
    // R5: a Coding in `code`; some write a CodeableConcept there.
    let code = concepts(outcome.get("code").or(Some(outcome))).first().and_then(|c| c.code)?;
    some(match code {
        "information" => "success",
        "warning" => "minor-failure",
        "error" => "serious-failure",
        "fatal" => "major-failure",
        other => other,
    })
}

fn purpose(root: Node<'_>, event: &mut AccessEvent) {
    let user = agent::find(root);
    let mut all = concepts(root.get("purposeOfEvent"));
    all.extend(concepts(root.get("authorization")));
    for key in ["purposeOfUse", "authorization"] {
        all.extend(concepts(user.and_then(|u| u.get(key))));
    }
    // Whoever asked, a glass that was broken is broken.
    let anyone = root.items_of("agent").flat_map(|a| concepts(a.get("purposeOfUse")));
    event.emergency = Some(all.iter().copied().chain(anyone).any(|c| c.code == Some("BTG")));
    let first = all.iter().find(|c| c.code != Some("BTG")).or(all.first());
    event.purpose = first
        .and_then(|c| {
            let word = c.display.filter(|d| is_purpose(d)).or_else(|| c.code.and_then(purpose_of));
            c.text.or(word).or(c.display).or(c.code)
        })
        .and_then(some);
}

fn source(root: Node<'_>, event: &mut AccessEvent) {
    let Some(source) = root.get("source") else { return };
    if let Some(observer) = source.get("observer") {
        let observer = Reference::of(observer, root);
        event.system_id = some(observer.id);
        event.system_name = observer.display.and_then(some);
    }
    if event.care_unit_id.is_none()
        && let Some(site) = source.get("site")
    {
        let site = Reference::of(site, root);
        event.care_unit_id = some(site.id);
        event.care_unit_name = event.care_unit_name.take().or(site.display.and_then(some));
    }
}

/// The patients; what else the entities say goes into the event.
fn entities<'t>(root: Node<'t>, event: &mut AccessEvent) -> Vec<Reference<'t>> {
    let mut subjects: Vec<Reference<'t>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut add = |subject: Reference<'t>| match places.get(subject.id).and_then(|at| subjects.get_mut(*at)) {
        Some(known) => known.display = known.display.or(subject.display),
        None if subject.id.is_empty() && subject.display.is_none() => {}
        None => {
            places.insert(subject.id, subjects.len());
            subjects.push(subject);
        }
    };
    if let Some(patient) = root.get("patient") {
        add(Reference::of(patient, root));
    }
    let (mut kinds, mut ids): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for entity in root.items_of("entity") {
        let what = entity.get("what").map(|w| Reference::of(w, root)).unwrap_or_default();
        let types = concepts(entity.get("type"));
        let code = types.first().and_then(|c| c.code);
        let role = concepts(entity.get("role")).first().and_then(|c| c.code);
        if is_patient(&what, code, role) {
            add(Reference { display: what.display.or_else(|| entity.text_of("name")), ..what });
            continue;
        }
        if let Some(query) = entity.text_of("query") {
            event.activity_args.get_or_insert_with(|| decoded(query));
        }
        details(entity, event);
        if code.is_some_and(|c| c.eq_ignore_ascii_case("XrequestId")) {
            event.correlation_id = event.correlation_id.take().or(some(what.id));
            continue;
        }
        // The codes 1 to 4 of audit-entity-type say no more than that it is an object.
        let plain =
            types.iter().find(|t| !matches!(t.code, Some("1" | "2" | "3" | "4"))).and_then(Concept::word);
        let kind = what.kind.or(plain).or_else(|| types.first().and_then(|t| t.display));
        kinds.extend(kind);
        ids.extend(Some(what.id).filter(|id| !id.is_empty()));
    }
    limits::distinct(&mut kinds, |kind| *kind);
    limits::distinct(&mut ids, |id| *id);
    event.resource_type = some(&kinds.join(", "));
    event.resource_id = some(&ids.join(", "));
    subjects
}

fn is_patient(what: &Reference<'_>, code: Option<&str>, role: Option<&str>) -> bool {
    match what.kind {
        Some("Patient") => true,
        Some(_) => false,
        None => role == Some("1") && matches!(code, Some("1") | None) && !what.id.is_empty(),
    }
}

fn details(entity: Node<'_>, event: &mut AccessEvent) {
    for detail in entity.items_of("detail") {
        let kinds = concepts(detail.get("type"));
        let Some(kind) = kinds.first().and_then(|c| c.code.or(c.text)) else { continue };
        if let Some(value) = value_of(detail) {
            fill_named(event, kind, &value);
        }
    }
    extensions(entity, event);
}

fn extensions(node: Node<'_>, event: &mut AccessEvent) {
    for extension in node.items_of("extension") {
        if let (Some(url), Some(value)) = (extension.text_of("url"), value_of(extension)) {
            fill_named(event, url, &value);
        }
    }
}

/// A `value[x]` as text.
fn value_of(node: Node<'_>) -> Option<String> {
    let (key, value) = node.members().find(|(key, _)| key.starts_with("value"))?;
    if key == "valueBase64Binary" {
        return value.text().map(decoded);
    }
    let inner = || concepts(Some(value)).first().and_then(Concept::word);
    let text = value.text().or_else(|| value.text_of("value")).or_else(inner);
    text.or_else(|| value.text_of("reference").map(|r| r.rsplit('/').next().unwrap_or(r))).and_then(some)
}

/// A code, whether written as text, as Coding or as CodeableConcept.
#[derive(Debug, Clone, Copy, Default)]
struct Concept<'t> {
    code: Option<&'t str>,
    display: Option<&'t str>,
    text: Option<&'t str>,
}

impl<'t> Concept<'t> {
    fn word(&self) -> Option<&'t str> {
        self.text.or(self.display).or(self.code)
    }
}

fn concepts(node: Option<Node<'_>>) -> Vec<Concept<'_>> {
    let mut all = Vec::new();
    for item in node.into_iter().flat_map(Node::items) {
        if let Some(code) = item.text() {
            all.push(Concept { code: Some(code), ..Concept::default() });
            continue;
        }
        // R5's CodeableReference holds its concept inside.
        let item = item.get("concept").unwrap_or(item);
        let text = item.text_of("text");
        let before = all.len();
        for coding in item.items_of("coding") {
            all.push(Concept { code: coding.text_of("code"), display: coding.text_of("display"), text });
        }
        if all.len() == before {
            all.push(Concept { code: item.text_of("code"), display: item.text_of("display"), text });
        }
    }
    all
}

/// Whom or what a Reference means.
#[derive(Debug, Clone, Copy, Default)]
struct Reference<'t> {
    /// The identifier's value, else the id in the reference; empty where there is none.
    id: &'t str,
    system: Option<&'t str>,
    display: Option<&'t str>,
    /// The type of resource.
    kind: Option<&'t str>,
}

impl<'t> Reference<'t> {
    fn of(node: Node<'t>, root: Node<'t>) -> Reference<'t> {
        if let Some(text) = node.text() {
            return Reference { id: text, ..Reference::default() };
        }
        let link = node.text_of("reference").unwrap_or("");
        let contained = link
            .strip_prefix('#')
            .and_then(|id| root.items_of("contained").find(|c| c.text_of("id") == Some(id)));
        // R5's CodeableReference, and what some write into `who`, keep the reference one step inside.
        if let Some(inner) = node.get("reference").filter(|r| r.is_object()) {
            return Reference::of(inner, root);
        }
        let identifier =
            node.items_of("identifier").chain(contained.into_iter().flat_map(|c| c.items_of("identifier")));
        let identifier = identifier.into_iter().find(|i| i.text_of("value").is_some());
        let (kind, id, base) = split_link(link);
        let kind =
            node.text_of("type").or_else(|| contained.and_then(|c| c.text_of("resourceType"))).or(kind);
        let kind = kind.map(|k| k.rsplit('/').next().unwrap_or(k));
        let display = node.text_of("display").or_else(|| contained.and_then(name_of));
        match identifier {
            Some(found) => Reference {
                id: found.text_of("value").unwrap_or(""),
                system: found.text_of("system"),
                display,
                kind,
            },
            None => Reference { id, system: base, display, kind },
        }
    }
}

/// `https://host/fhir/Patient/123` → Patient, 123 and the server; `urn:…` stays whole.
fn split_link(link: &str) -> (Option<&str>, &str, Option<&str>) {
    let link = link.split_once("/_history").map_or(link, |(head, _)| head);
    if link.starts_with("urn:") || link.starts_with('#') {
        return (None, link.trim_start_matches('#'), None);
    }
    match link.rsplit_once('/') {
        None => (None, link, None),
        Some((rest, id)) => match rest.rsplit_once('/') {
            None => (Some(rest), id, None),
            Some((base, kind)) => (Some(kind), id, Some(base)),
        },
    }
}

/// A contained resource's name: plain, or a HumanName's text.
fn name_of(resource: Node<'_>) -> Option<&str> {
    resource.items_of("name").find_map(|n| n.text().or_else(|| n.text_of("text")))
}
