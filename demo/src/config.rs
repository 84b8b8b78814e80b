//! The demo's `insyn.toml`.

use crate::units::{
    HEALTH_BOARD, MUNICIPALITY, ORGANISATION, ORGANISATION_NAME, PROVIDERS, REGION, WELFARE_BOARD,
};

/// The configuration for a world that listens at `listen` (`127.0.0.1:8080`).
pub(crate) fn text(listen: &str, zone: &str) -> String {
    let (region, municipality) = (PROVIDERS[REGION].0, PROVIDERS[MUNICIPALITY].0);
    format!(
        r##"# Granvik: a municipality and region that does not exist. Every name and number here is made up.

# Whose installation this is. Local times without a zone are read in its time zone.
[organisation]
id = "{ORGANISATION}"
name = "{ORGANISATION_NAME}"
timezone = "{zone}"

# Where access events are kept: a folder, or s3://, az://, gs://.
[lake]
url = "./lake"

# Findings, decisions, people and sessions.
[state]
url = "sqlite://state.db"

# What the organisation knows itself: units, staff, care relations, shifts.
[context]
dir = "context"

# Records that were received or made here, until they are read into the lake. Insyn's own looks come this way.
[spool]
dir = "spool"

# Rules that rest on address, kin, name, schedule or volume run on schedule only when somebody has decided it.
[rules.intrusive]
decided_by = "Hälso- och sjukvårdsnämnden"
decided_on = "2026-01-15"
assessment = "Konsekvensbedömning 2026-3"

# Where pages and the API are served.
[api]
listen = "{listen}"

# The region's journal. Answerable: the health care board.
[[source]]
name = "journal"
controller = "{HEALTH_BOARD}"
legal_area = "health-care"
delivery = "stream"
format = "fhir-audit-event"
path = ["logs/journal-fhir/*.ndjson*"]

# Shared records (lag 2022:913), by the national log service's contract.
[[source]]
name = "npo"
controller = "{HEALTH_BOARD}"
legal_area = "shared-records"
delivery = "stream"
format = "rivta-log"
path = ["logs/nationell-rivta/*.xml"]

# The image archive, by syslog.
[[source]]
name = "bild"
controller = "{HEALTH_BOARD}"
legal_area = "health-care"
delivery = "stream"
format = "dicom-audit"
path = ["logs/bild-atna/*.log*"]
constants = {{ care_provider_id = "{region}" }}

# The social system's daily file. Answerable: the welfare board.
[[source]]
name = "omsorg"
controller = "{WELFARE_BOARD}"
legal_area = "social-services"
delivery = "stream"
format = "delimited"
path = ["logs/omsorg-csv/*.csv*"]
encoding = "windows-1252"
delimiter = ";"
time_format = "%Y-%m-%d %H:%M:%S%z"
constants = {{ care_provider_id = "{municipality}" }}
[source.fields]
event_id = "LoggId"
occurred_at = "Tidpunkt"
user_id = "Användare"
user_name = "Namn"
user_title = "Yrkesroll"
care_unit_id = "Enhet"
care_unit_name = "Enhetsnamn"
activity = "Åtgärd"
purpose = "Syfte"
subject_id = "Personnummer"
subject_name = "Klient"
activity_level = "Del"
emergency = {{ column = "Nödöppning", true = ["Ja"] }}
client_address = "IP"

# The portal of pupil health and home nursing: a web server's log, read by a pattern.
[[source]]
name = "portal"
controller = "{WELFARE_BOARD}"
legal_area = "pupil-health"
delivery = "stream"
format = "pattern"
path = ["logs/portal-web/*.log*"]
pattern = '''{PORTAL_PATTERN}'''
time_format = "%d/%b/%Y:%H:%M:%S %z"
constants = {{ care_provider_id = "{municipality}" }}
[source.values]
activity = {{ GET = "Läsa", POST = "Skriva", PUT = "Signera", DELETE = "Radera" }}
outcome = {{ 200 = "success", 403 = "minor-failure" }}
emergency = {{ "&btg=1" = true }}
"##
    )
}

/// How the portal's lines are read.
pub(crate) const PORTAL_PATTERN: &str = concat!(
    r#"^(?P<client_address>\S+) \S+ (?P<user_id>\S+) \[(?P<occurred_at>[^\]]+)\] "(?P<activity>[A-Z]+) "#,
    r#"/journal/(?P<subject_id>\d{12})/(?P<activity_level>[^? ]+)\?unit=(?P<care_unit_id>[^&" ]+)"#,
    r#"&eid=(?P<event_id>[^&" ]+)(?P<emergency>&btg=1)?[^"]*" (?P<outcome>\d{3}) .*$"#
);
