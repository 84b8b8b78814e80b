//! The region's journal: FHIR AuditEvent as IHE Basic Audit Log Patterns shape it, one a line.
//! Two clinics run a newer version that writes R5.

use super::{Line, put};
use crate::access::{Activity, parts};
use crate::clock::digits;
use crate::units::{self, PROVIDERS, UNITS};

const HSA: &str = "urn:oid:1.2.752.29.4.19";

pub(super) fn record(line: &Line<'_>, out: &mut String) {
    let unit = usize::from(line.access.unit);
    if matches!(unit, units::CHILDREN | units::WOMEN) {
        r5(line, out)
    } else {
        r4(line, out)
    }
    out.push('\n');
}

/// REST interaction, AuditEvent.action, and the profile's name.
fn interaction(activity: Activity) -> (&'static str, &'static str, &'static str) {
    match activity {
        Activity::Read | Activity::Print => ("read", "R", "PatientRead"),
        Activity::Write => ("create", "C", "PatientCreate"),
        Activity::Sign => ("update", "U", "PatientUpdate"),
    }
}

/// v3-ActReason: code and the word shown.
fn reason(line: &Line<'_>) -> (&'static str, &'static str) {
    match (line.access.emergency, line.access.quality) {
        (true, _) => ("BTG", "Nödöppning"),
        (_, true) => ("HQUALIMP", "Kvalitetssäkring"),
        _ => ("TREAT", "Vård och behandling"),
    }
}

fn put_instant(line: &Line<'_>, out: &mut String) {
    line.wall.put_iso(out);
    out.push('.');
    digits(out, line.access.number % 1_000, 3);
    line.wall.put_offset(out, true);
}

fn put_identifier(out: &mut String, system: &str, value: &str, display: &str) {
    put!(out; "{\"identifier\":{\"system\":\"", system, "\",\"value\":\"", value, "\"},\"display\":\"", display, "\"}");
}

fn put_practitioner(line: &Line<'_>, out: &mut String) {
    put!(out; "{\"type\":\"Practitioner\",\"identifier\":{\"system\":\"", HSA, "\",\"value\":\"", &line.user.user_id,
        "\"},\"display\":\"", &line.user_name, "\"}");
}

fn put_patient(line: &Line<'_>, out: &mut String) {
    put!(out; "{\"identifier\":{\"system\":\"urn:oid:", line.id_type, "\",\"value\":\"", line.subject_id,
        "\"},\"display\":\"", &line.subject_name, "\"}");
}

/// The part of the record that was opened.
fn part(line: &Line<'_>) -> &'static str {
    parts(line.access.source)[usize::from(line.access.part)]
}

/// What was opened, by reference.
fn put_data(line: &Line<'_>, out: &mut String) {
    let mut number = String::with_capacity(8);
    digits(&mut number, line.access.subject * 8 + u32::from(line.access.part), 7);
    put!(out; "{\"reference\":\"Composition/", &number, "\"}");
}

fn r4(line: &Line<'_>, out: &mut String) {
    let (rest, action, profile) = interaction(line.access.activity);
    let (code, word) = reason(line);
    let provider = PROVIDERS[line.unit.provider];
    put!(out; "{\"resourceType\":\"AuditEvent\",\"id\":\"", &line.event_id,
        "\",\"meta\":{\"profile\":[\"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.", profile,
        "\"]},\"type\":{\"system\":\"http://terminology.hl7.org/CodeSystem/audit-event-type\",\"code\":\"rest\"},",
        "\"subtype\":[{\"system\":\"http://hl7.org/fhir/restful-interaction\",\"code\":\"", rest, "\",\"display\":\"",
        line.access.activity.word(), "\"}],\"action\":\"", action, "\",\"recorded\":\"");
    put_instant(line, out);
    let outcome = if line.access.refused { "4\",\"outcomeDesc\":\"Behörighet saknas" } else { "0" };
    put!(out; "\",\"outcome\":\"", outcome,
        "\",\"purposeOfEvent\":[{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-ActReason\",\"code\":\"",
        code, "\"}],\"text\":\"", word, "\"}],\"agent\":[");
    // The user: BALP's slice with type IRCP, the one who asked.
    put!(out; "{\"type\":{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-ParticipationType\",\"code\":\"IRCP\"}]},",
        "\"role\":[{\"text\":\"", line.user.title, "\"}],\"who\":");
    put_practitioner(line, out);
    put!(out; ",\"name\":\"", &line.user_name, "\",\"requestor\":true,\"location\":");
    put_identifier(out, HSA, line.unit.id, line.unit.name);
    put!(out; ",\"network\":{\"address\":\"", &line.address, "\",\"type\":\"2\"}},");
    // The care provider in whose name the user acts.
    out.push_str("{\"type\":{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-RoleClass\",\"code\":\"PROV\"}]},\"who\":{\"type\":\"Organization\",");
    put!(out; "\"identifier\":{\"system\":\"", HSA, "\",\"value\":\"", provider.0, "\"},\"display\":\"", provider.1,
        "\"},\"requestor\":false}],\"source\":{\"site\":\"", units::PARENTS[line.unit.parent].1, "\",\"observer\":");
    put_identifier(out, HSA, "SE2120009999-S001", "Granvik Journal");
    put!(out; "},\"entity\":[{\"what\":");
    put_patient(line, out);
    out.push_str(",\"type\":{\"system\":\"http://terminology.hl7.org/CodeSystem/audit-entity-type\",\"code\":\"1\"},\"role\":{\"system\":\"http://terminology.hl7.org/CodeSystem/object-role\",\"code\":\"1\"}},{\"what\":");
    put_data(line, out);
    out.push_str(",\"type\":{\"system\":\"http://terminology.hl7.org/CodeSystem/audit-entity-type\",\"code\":\"2\"},\"role\":{\"system\":\"http://terminology.hl7.org/CodeSystem/object-role\",\"code\":\"4\"},\"detail\":[{\"type\":\"activityLevel\",\"valueString\":\"");
    put!(out; part(line), "\"}]},{\"what\":{\"identifier\":{\"value\":\"rq-", &line.event_id[..13],
        "\"}},\"type\":{\"system\":\"https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType\",\"code\":\"XrequestId\"}}]}");
}

fn r5(line: &Line<'_>, out: &mut String) {
    let (rest, action, profile) = interaction(line.access.activity);
    let (code, word) = reason(line);
    let provider = PROVIDERS[UNITS[usize::from(line.access.unit)].provider];
    put!(out; "{\"resourceType\":\"AuditEvent\",\"id\":\"", &line.event_id,
        "\",\"meta\":{\"profile\":[\"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.", profile,
        "\"]},\"category\":[{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/audit-event-type\",\"code\":\"rest\"}]}],",
        "\"code\":{\"coding\":[{\"system\":\"http://hl7.org/fhir/restful-interaction\",\"code\":\"", rest,
        "\",\"display\":\"", line.access.activity.word(), "\"}]},\"action\":\"", action, "\",\"severity\":\"informational\",\"occurredDateTime\":\"");
    put_instant(line, out);
    out.push_str("\",\"recorded\":\"");
    put_instant(line, out);
    let outcome = if line.access.refused { "4" } else { "0" };
    put!(out; "\",\"outcome\":{\"code\":{\"system\":\"http://terminology.hl7.org/CodeSystem/audit-event-outcome\",\"code\":\"",
        outcome, "\"}},\"authorization\":[{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-ActReason\",\"code\":\"",
        code, "\"}],\"text\":\"", word, "\"}],\"agent\":[");
    put!(out; "{\"type\":{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-ParticipationType\",\"code\":\"IRCP\"}]},",
        "\"role\":[{\"text\":\"", line.user.title, "\"}],\"who\":");
    put_practitioner(line, out);
    out.push_str(",\"requestor\":true,\"location\":");
    put_identifier(out, HSA, line.unit.id, line.unit.name);
    put!(out; ",\"networkString\":\"", &line.address, "\"},");
    out.push_str("{\"type\":{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-RoleClass\",\"code\":\"PROV\"}]},\"who\":{\"type\":\"Organization\",");
    put!(out; "\"identifier\":{\"system\":\"", HSA, "\",\"value\":\"", provider.0, "\"},\"display\":\"", provider.1,
        "\"},\"requestor\":false}],\"source\":{\"observer\":");
    put_identifier(out, HSA, "SE2120009999-S002", "Granvik Journal, nya modulen");
    out.push_str("},\"patient\":");
    put_patient(line, out);
    out.push_str(",\"entity\":[{\"what\":");
    put_data(line, out);
    out.push_str(",\"role\":{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/object-role\",\"code\":\"4\"}]},\"detail\":[{\"type\":{\"text\":\"activityLevel\"},\"valueString\":\"");
    put!(out; part(line), "\"}]}]}");
}
