//! The national service for shared records: RIV-TA StoreLog 2.0, times in Swedish local time without a zone.

use super::{Line, put};
use crate::access::parts;
use crate::units::{MUNICIPALITY, PRIVATE, PRIVATE_UNIT, PROVIDERS, REGION, UNITS};

pub(super) const OPEN: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
    "<sl:StoreLog xmlns:sl=\"urn:riv:informationsecurity:auditing:log:StoreLogResponder:2\" ",
    "xmlns:log=\"urn:riv:informationsecurity:auditing:log:2\">\n"
);
pub(super) const CLOSE: &str = "</sl:StoreLog>\n";

pub(super) fn record(line: &Line<'_>, out: &mut String) {
    let provider = PROVIDERS[line.unit.provider];
    let activity = if line.access.emergency { "Nödöppning" } else { line.access.activity.word() };
    let part = parts(line.access.source)[usize::from(line.access.part)];
    put!(out; "<sl:log><log:logId>", &line.event_id,
        "</log:logId><log:system><log:systemId>SE2120009999-S010</log:systemId><log:systemName>Granvik NPÖ</log:systemName></log:system>",
        "<log:activity><log:activityType>", activity, "</log:activityType><log:activityLevel>", part,
        "</log:activityLevel><log:startDate>");
    line.wall.put_iso(out);
    put!(out; "</log:startDate><log:purpose>", line.purpose, "</log:purpose></log:activity><log:user><log:userId>",
        &line.user.user_id, "</log:userId><log:name>", &line.user_name, "</log:name>");
    // One system in three tells the user's own number too.
    if line.access.staff.is_multiple_of(3) {
        put!(out; "<log:personId><log:root>", crate::numbers::OID_PERSONNUMMER, "</log:root><log:extension>",
            &line.user.person_id, "</log:extension></log:personId>");
    }
    put!(out; "<log:assignment>Vård och behandling, ", line.unit.name, "</log:assignment><log:title>", line.user.title,
        "</log:title><log:careProvider><log:careProviderId>", provider.0, "</log:careProviderId><log:careProviderName>",
        provider.1, "</log:careProviderName></log:careProvider><log:careUnit><log:careUnitId>", line.unit.id,
        "</log:careUnitId><log:careUnitName>", line.unit.name, "</log:careUnitName></log:careUnit></log:user><log:resources>");
    put_resource(line, part, line.subject_id, line.id_type, &line.subject_name, out);
    if let Some(second) = line.access.second {
        let second = &line.world.people.subjects[second as usize];
        let (number, root) = second.number_at(line.access.at);
        put_resource(line, part, number, root, &super::shown_name(second), out);
    }
    out.push_str("</log:resources></sl:log>\n");
}

/// Another provider's record: the municipality's for the region, the private clinic's at times, the region's for the municipality.
fn owner(line: &Line<'_>) -> (usize, (&'static str, &'static str)) {
    if line.access.subject.is_multiple_of(5) {
        return (PRIVATE, PRIVATE_UNIT);
    }
    let unit = |number: usize| (UNITS[number].id, UNITS[number].name);
    if line.unit.provider == REGION {
        (MUNICIPALITY, unit(crate::units::HOME_NURSING))
    } else {
        (REGION, unit(crate::units::HERO))
    }
}

fn put_resource(line: &Line<'_>, part: &str, number: &str, root: &str, name: &str, out: &mut String) {
    let (provider, unit) = owner(line);
    put!(out; "<log:resource><log:resourceType>", part, "</log:resourceType><log:patient><log:patientId><log:root>", root,
        "</log:root><log:extension>", number, "</log:extension></log:patientId><log:patientName>", name,
        "</log:patientName></log:patient><log:careProvider><log:careProviderId>", PROVIDERS[provider].0,
        "</log:careProviderId><log:careProviderName>", PROVIDERS[provider].1,
        "</log:careProviderName></log:careProvider><log:careUnit><log:careUnitId>", unit.0,
        "</log:careUnitId><log:careUnitName>", unit.1, "</log:careUnitName></log:careUnit></log:resource>");
}
