//! The image archive: DICOM audit messages (PS3.15 A.5) inside RFC 5424 syslog lines.
//! One message in forty is pretty-printed over several lines, as some senders do.

use super::{Line, put};
use crate::access::{Activity, parts};
use crate::clock::digits;
use crate::numbers::OID_PERSONNUMMER;

pub(super) fn record(line: &Line<'_>, out: &mut String) {
    let many_lines = line.access.number % 40 == 7;
    let gap = if many_lines { "\n  " } else { "" };
    out.push_str("<85>1 ");
    put_instant(line, out);
    put!(out; " bild01.granvik.example granvik-pacs 4711 IHE+RFC-3881 - ");
    if line.access.number.is_multiple_of(3) {
        out.push('\u{feff}');
    }
    let (event, event_text, action) = match line.access.activity {
        Activity::Read => ("110103", "DICOM Instances Accessed", "R"),
        Activity::Print => ("110106", "Export", "R"),
        Activity::Write => ("110110", "Patient Record", "C"),
        Activity::Sign => ("110110", "Patient Record", "U"),
    };
    put!(out; "<?xml version=\"1.0\" encoding=\"UTF-8\"?><AuditMessage>", gap, "<EventIdentification EventActionCode=\"",
        action, "\" EventDateTime=\"");
    put_instant(line, out);
    put!(out; "\" EventOutcomeIndicator=\"0\"><EventID csd-code=\"", event, "\" codeSystemName=\"DCM\" originalText=\"",
        event_text, "\"/><PurposeOfUse csd-code=\"TREAT\" codeSystemName=\"ActReason\" originalText=\"", line.purpose,
        "\"/></EventIdentification>", gap);
    put!(out; "<ActiveParticipant UserID=\"", line.user.account(line.access.source), "\" UserName=\"", &line.user_name,
        "\" UserIsRequestor=\"true\" NetworkAccessPointID=\"", &line.address,
        "\" NetworkAccessPointTypeCode=\"2\"><RoleIDCode csd-code=\"", line.user.title,
        "\" codeSystemName=\"Granvik\" originalText=\"", line.user.title, "\"/></ActiveParticipant>", gap,
        "<ActiveParticipant UserID=\"bild01.granvik.example\" UserIsRequestor=\"false\" NetworkAccessPointID=\"10.20.2.4\" ",
        "NetworkAccessPointTypeCode=\"2\"><RoleIDCode csd-code=\"110153\" codeSystemName=\"DCM\" originalText=\"Source Role ID\"/></ActiveParticipant>", gap,
        "<AuditSourceIdentification AuditEnterpriseSiteID=\"", line.unit.id,
        "\" AuditSourceID=\"granvik-pacs\"><AuditSourceTypeCode csd-code=\"4\"/></AuditSourceIdentification>", gap);
    put_objects(line, gap, out);
    put!(out; if many_lines { "\n" } else { "" }, "</AuditMessage>\n");
}

fn put_instant(line: &Line<'_>, out: &mut String) {
    line.wall.put_iso(out);
    out.push('.');
    digits(out, (line.access.number * 37) % 1_000, 3);
    line.wall.put_offset(out, true);
}

/// The patient and the study. Half of the patients are written as HL7 CX with the issuer, the others bare.
fn put_objects(line: &Line<'_>, gap: &str, out: &mut String) {
    put!(out; "<ParticipantObjectIdentification ParticipantObjectID=\"", line.subject_id);
    if line.access.number.is_multiple_of(2) || line.id_type != OID_PERSONNUMMER {
        put!(out; "^^^&amp;", line.id_type, "&amp;ISO");
    }
    put!(out; "\" ParticipantObjectTypeCode=\"1\" ParticipantObjectTypeCodeRole=\"1\">",
        "<ParticipantObjectIDTypeCode csd-code=\"2\" codeSystemName=\"RFC-3881\" originalText=\"Patient Number\"/>",
        "<ParticipantObjectName>", &line.subject_name, "</ParticipantObjectName></ParticipantObjectIdentification>", gap);
    let mut study = String::with_capacity(12);
    digits(&mut study, line.access.subject, 6);
    study.push('.');
    digits(&mut study, u32::from(line.access.part) + 1, 1);
    put!(out; "<ParticipantObjectIdentification ParticipantObjectID=\"1.2.752.999.4.1.", &study,
        "\" ParticipantObjectTypeCode=\"2\" ParticipantObjectTypeCodeRole=\"3\">",
        "<ParticipantObjectIDTypeCode csd-code=\"110180\" codeSystemName=\"DCM\" originalText=\"Study Instance UID\"/>",
        "<ParticipantObjectName>", parts(line.access.source)[usize::from(line.access.part)],
        "</ParticipantObjectName></ParticipantObjectIdentification>");
}
