//! `rivta-log`: RIV-TA `informationsecurity:auditing:log` 2.0 and `ehr:log` 1.x.
//!
//! Elements are known by local name, whatever their prefix and namespace, and in both spellings (`logId`, `LogId`);
//! what is not known is an extension and passed over. `logId` → event_id; `system` → system_id, system_name;
//! `activity` → activity, activity_level, activity_args, occurred_at (`startDate`, Swedish local time without a zone),
//! purpose; `user` → user_id, user_name, user_person_id (`personId`, as `root` and `extension` or as text), user_title,
//! user_assignment, care_provider_*, care_unit_*; each `resource` → resource_type, subject_id and its type and name,
//! resource_care_provider_id, resource_care_unit_id.
//!
//! One row for each (patient, resource group): resources of a record that say the same count once. A record without
//! resources gives one row without a subject. An `accessLog` of GetAccessLogs answers gives a row too; whose record it
//! was stands in the question, not in the answer. `emergency` is true for the activity Nödöppning and false otherwise.

use insyn_event::AccessEvent;
use quick_xml::events::Event;

use super::xml;
use crate::columns::some;
use crate::error::Fault;
use crate::limits;
use crate::shape::Shape;

#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
struct Resource {
    kind: Option<String>,
    patient: Option<String>,
    issuer: Option<String>,
    name: Option<String>,
    provider: Option<String>,
    unit: Option<String>,
}

#[derive(Default)]
struct Record {
    event: AccessEvent,
    started: String,
    person_root: Option<String>,
    resource: Resource,
    resources: Vec<Resource>,
}

pub(crate) fn parse(text: &str, shape: &Shape) -> Result<Vec<AccessEvent>, Fault> {
    let mut record = Record::default();
    read(text, &mut record)?;
    let Record { mut event, started, person_root, resources, .. } = record;
    shape.occurred(&mut event, &started, shape.times.read_iso(&started))?;
    // An id without an extension stands in its root.
    event.user_person_id = event.user_person_id.or(person_root);
    event.emergency = Some(false);
    let mut groups = resources;
    limits::distinct(&mut groups, Resource::clone);
    if groups.is_empty() {
        groups.push(Resource::default());
    }
    limits::rows_of(&mut event, groups.len())?;
    let last = groups.len() - 1;
    let mut rows: Vec<AccessEvent> = Vec::with_capacity(groups.len());
    for (i, group) in groups.into_iter().enumerate() {
        let mut row = if i == last { std::mem::take(&mut event) } else { event.clone() };
        row.resource_type = group.kind.or(row.resource_type);
        (row.subject_id, row.subject_id_type) = match (group.patient, group.issuer) {
            (Some(patient), issuer) => (Some(patient), issuer),
            (None, root) => (root, None),
        };
        row.subject_name = group.name;
        row.resource_care_provider_id = group.provider;
        row.resource_care_unit_id = group.unit;
        shape.finish(&mut row);
        rows.push(row);
    }
    // One person, written in two ways, is one.
    limits::distinct(&mut rows, |row| Resource {
        kind: row.resource_type.clone(),
        patient: row.subject_id.clone(),
        issuer: row.subject_id_type.clone(),
        name: row.subject_name.clone(),
        provider: row.resource_care_provider_id.clone(),
        unit: row.resource_care_unit_id.clone(),
    });
    Ok(rows)
}

fn read(text: &str, record: &mut Record) -> Result<(), Fault> {
    let mut reader = xml::reader(text);
    let mut path: Vec<&[u8]> = Vec::with_capacity(8);
    let mut value = String::new();
    loop {
        match reader.read_event().map_err(xml::fault)? {
            Event::Start(tag) => {
                if path.len() == xml::DEEPEST {
                    return Err(Fault::new("elements nested too deep"));
                }
                value.clear();
                path.push(local_name(text, &tag));
            }
            Event::Empty(_) => value.clear(),
            Event::Text(part) => value.push_str(&part.decode().map_err(|e| xml::fault(e.into()))?),
            Event::CData(part) => value.push_str(&part.decode().map_err(|e| xml::fault(e.into()))?),
            Event::GeneralRef(part) => xml::reference(&part, &mut value)?,
            Event::End(_) => {
                record.take(&path, &value);
                limits::at_most(limits::ROWS, record.resources.len(), "resources")?;
                value.clear();
                path.pop();
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err(Fault::new("not valid XML: an element that does not end")),
            _ => {}
        }
    }
}

/// The tag's local name as a part of the text, which outlives the tag.
fn local_name<'t>(text: &'t str, tag: &quick_xml::events::BytesStart<'_>) -> &'t [u8] {
    let name = tag.local_name();
    let name = name.as_ref();
    let start = (name.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    text.as_bytes().get(start..start.saturating_add(name.len())).unwrap_or(b"")
}

impl Record {
    /// Takes the text of the element at the end of `path`.
    fn take(&mut self, path: &[&[u8]], value: &str) {
        let is =
            |at: usize, name: &str| path.get(at).is_some_and(|p| p.eq_ignore_ascii_case(name.as_bytes()));
        let Some(leaf) = path.last() else { return };
        let leaf_is = |name: &str| leaf.eq_ignore_ascii_case(name.as_bytes());
        let depth = path.len();
        if depth == 2 {
            self.take_plain(&leaf_is, value);
        }
        if depth == 3 && is(1, "system") {
            if leaf_is("systemId") {
                fill(&mut self.event.system_id, value);
            } else if leaf_is("systemName") {
                fill(&mut self.event.system_name, value);
            }
        } else if depth == 3 && is(1, "activity") {
            self.take_activity(&leaf_is, value);
        } else if is(1, "user") && depth > 2 {
            self.take_user(&path[2..], value);
        } else {
            let base = if is(1, "resources") && is(2, "resource") { 2 } else { 1 };
            if is(base, "resource") {
                if depth == base + 1 {
                    self.resources.push(std::mem::take(&mut self.resource));
                } else {
                    self.take_resource(&path[base + 1..], value);
                }
            }
        }
    }

    /// What stands directly in the record: its id, and in access logs everything.
    fn take_plain(&mut self, leaf_is: &dyn Fn(&str) -> bool, value: &str) {
        let event = &mut self.event;
        let fields = [
            ("purpose", &mut event.purpose),
            ("userId", &mut event.user_id),
            ("userName", &mut event.user_name),
            ("userTitle", &mut event.user_title),
            ("resourceType", &mut event.resource_type),
            ("careProviderId", &mut event.care_provider_id),
            ("careProviderName", &mut event.care_provider_name),
            ("careUnitId", &mut event.care_unit_id),
            ("careUnitName", &mut event.care_unit_name),
        ];
        for (name, column) in fields {
            if leaf_is(name) {
                fill(column, value);
                return;
            }
        }
        if leaf_is("logId") && event.event_id.is_empty() {
            event.event_id = value.trim().to_string();
        } else if leaf_is("accessDate") && self.started.is_empty() {
            self.started = value.trim().to_string();
        }
    }

    fn take_activity(&mut self, leaf_is: &dyn Fn(&str) -> bool, value: &str) {
        let event = &mut self.event;
        if leaf_is("activityType") {
            fill(&mut event.activity, value);
        } else if leaf_is("activityLevel") {
            fill(&mut event.activity_level, value);
        } else if leaf_is("activityArgs") {
            fill(&mut event.activity_args, value);
        } else if leaf_is("startDate") && self.started.is_empty() {
            self.started = value.trim().to_string();
        } else if leaf_is("purpose") {
            fill(&mut event.purpose, value);
        }
    }

    fn take_user(&mut self, path: &[&[u8]], value: &str) {
        let is =
            |at: usize, name: &str| path.get(at).is_some_and(|p| p.eq_ignore_ascii_case(name.as_bytes()));
        let event = &mut self.event;
        match path.len() {
            1 if is(0, "userId") => fill(&mut event.user_id, value),
            1 if is(0, "name") => fill(&mut event.user_name, value),
            1 if is(0, "title") => fill(&mut event.user_title, value),
            1 if is(0, "assignment") => fill(&mut event.user_assignment, value),
            1 if is(0, "personId") => fill(&mut event.user_person_id, value),
            2 if is(0, "personId") && is(1, "extension") => fill(&mut event.user_person_id, value),
            2 if is(0, "personId") && is(1, "root") => fill(&mut self.person_root, value),
            2 if is(1, "careProviderId") => fill(&mut event.care_provider_id, value),
            2 if is(1, "careProviderName") => fill(&mut event.care_provider_name, value),
            2 if is(1, "careUnitId") => fill(&mut event.care_unit_id, value),
            2 if is(1, "careUnitName") => fill(&mut event.care_unit_name, value),
            _ => {}
        }
    }

    fn take_resource(&mut self, path: &[&[u8]], value: &str) {
        let is =
            |at: usize, name: &str| path.get(at).is_some_and(|p| p.eq_ignore_ascii_case(name.as_bytes()));
        let resource = &mut self.resource;
        match path.len() {
            1 if is(0, "resourceType") => fill(&mut resource.kind, value),
            2 if is(0, "patient") && is(1, "patientId") => fill(&mut resource.patient, value),
            2 if is(0, "patient") && is(1, "patientName") => fill(&mut resource.name, value),
            3 if is(1, "patientId") && is(2, "extension") => fill(&mut resource.patient, value),
            3 if is(1, "patientId") && is(2, "root") => fill(&mut resource.issuer, value),
            2 if is(1, "careProviderId") => fill(&mut resource.provider, value),
            2 if is(1, "careUnitId") => fill(&mut resource.unit, value),
            _ => {}
        }
    }
}

/// The contracts have each element once and extensions last: an element of another namespace that has the same name
/// takes nobody's place.
fn fill(column: &mut Option<String>, value: &str) {
    if column.is_none() {
        *column = some(value);
    }
}
