//! A first mapping for a log that nobody has described yet, from its first bytes. A guess: people look at what it gives
//! before anything is stored.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use insyn_event::{PersonalNumberKind, normalise};

use crate::config::{FieldRule, FormatConfig, FormatName};
use crate::encoding::Encoding;
use crate::time::Times;

/// So many records are looked at.
const RECORDS: usize = 200;

/// A line of more columns is none of a table.
const COLUMNS: usize = 1_000;

/// What columns are called in logs, most telling first; letters and digits only, lower case.
const NAMES: &[(&str, &[&str])] = &[
    ("event_id", &["loggid", "logid", "händelseid", "eventid", "loggpostid", "postid", "guid", "uuid", "id"]),
    (
        "occurred_at",
        &[
            "tidpunkt",
            "loggtid",
            "händelsetid",
            "åtkomsttid",
            "tidsstämpel",
            "timestamp",
            "datumtid",
            "datumochtid",
            "datetime",
            "eventtime",
            "accessdate",
            "startdate",
            "tid",
            "time",
            "datum",
            "date",
        ],
    ),
    (
        "user_id",
        &[
            "användarid",
            "användarehsaid",
            "hsaid",
            "anvid",
            "userid",
            "användare",
            "login",
            "konto",
            "signatur",
            "personalid",
            "handläggare",
            "medarbetare",
            "user",
        ],
    ),
    (
        "user_name",
        &[
            "användarnamn",
            "personalnamn",
            "medarbetarnamn",
            "handläggarnamn",
            "username",
            "utfördav",
            "namn",
            "name",
        ],
    ),
    ("user_title", &["yrkesroll", "befattning", "titel", "yrke", "title"]),
    ("user_role", &["behörighetsroll", "roll", "role"]),
    ("user_assignment", &["medarbetaruppdrag", "uppdragsnamn", "uppdrag", "assignment"]),
    (
        "care_unit_id",
        &[
            "vårdenhetsid",
            "enhetsid",
            "enhetshsaid",
            "vårdenhet",
            "careunitid",
            "unitid",
            "enhet",
            "avdelning",
            "unit",
        ],
    ),
    ("care_unit_name", &["vårdenhetsnamn", "enhetsnamn", "careunitname", "unitname"]),
    ("care_provider_id", &["vårdgivarid", "vårdgivare", "omsorgsgivare", "careproviderid", "careprovider"]),
    (
        "activity",
        &[
            "åtgärd",
            "aktivitet",
            "aktivitetstyp",
            "händelsetyp",
            "händelse",
            "activity",
            "operation",
            "action",
            "typ",
        ],
    ),
    ("activity_level", &["activitylevel", "journaldel", "modul", "funktion", "vy", "del"]),
    ("purpose", &["ändamål", "syfte", "purpose", "anledning"]),
    ("outcome", &["utfall", "resultat", "outcome", "status"]),
    (
        "subject_id",
        &[
            "personnummer",
            "patientpersonnummer",
            "klientpersonnummer",
            "elevpersonnummer",
            "patientid",
            "klientid",
            "brukarid",
            "subjectid",
            "pnr",
            "persnr",
            "patient",
            "personid",
        ],
    ),
    (
        "subject_name",
        &["patientnamn", "klientnamn", "elevnamn", "brukarnamn", "subjectname", "klient", "elev", "brukare"],
    ),
    ("emergency", &["nödöppning", "nödåtkomst", "breaktheglass", "emergency", "btg"]),
    ("client_address", &["ipadress", "ipaddress", "clientaddress", "arbetsstation", "dator", "ip"]),
    ("session_id", &["sessionsid", "sessionid", "session"]),
    ("resource_type", &["dokumenttyp", "resurstyp", "resourcetype", "journaltyp"]),
    ("resource_id", &["dokumentid", "resursid", "resourceid"]),
    ("system_name", &["källsystem", "systemnamn", "system"]),
];

/// How times are written, most likely first; none is ISO 8601.
const TIMES: &[Option<&str>] = &[
    None,
    Some("%Y%m%d %H:%M:%S"),
    Some("%Y%m%d%H%M%S"),
    Some("%Y%m%d %H:%M"),
    Some("%y-%m-%d %H:%M:%S"),
    Some("%d/%m/%Y %H:%M:%S"),
    Some("%d.%m.%Y %H:%M:%S"),
    Some("%d/%b/%Y:%H:%M:%S %z"),
    Some("unix_ms"),
    Some("unix"),
];

/// Words that mean yes.
const YES: &[&str] = &["Ja", "J", "ja", "JA", "1", "true", "True", "TRUE", "Y", "Yes", "X", "x"];

/// Without these a log says little.
const WANTED: &[&str] = &["event_id", "occurred_at", "user_id", "activity", "care_unit_id", "subject_id"];

/// A mapping, and what it could not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// The mapping.
    pub config: FormatConfig,
    /// What to look at, each as a sentence.
    pub notes: Vec<String>,
}

/// Guesses from a file's first bytes (some 64 KiB of them, decompressed). None where it is text of a shape that only a
/// person can describe.
#[must_use]
pub fn guess(head: &[u8]) -> Option<Guess> {
    let (encoding, text) = decoded(head);
    let start = text.trim_start();
    let has = |word: &str| text.contains(word);
    if start.starts_with(['{', '[']) {
        if has("\"AuditEvent\"") {
            return Some(standard(FormatName::FhirAuditEvent));
        }
        return Some(json(start));
    }
    if has("<AuditMessage") {
        return Some(standard(FormatName::DicomAudit));
    }
    if start.starts_with('<') && (has("logId>") || has("LogId>") || has("ccessLog")) {
        return Some(standard(FormatName::RivtaLog));
    }
    delimited(&text, encoding)
}

fn standard(format: FormatName) -> Guess {
    Guess { config: FormatConfig::new(format), notes: Vec::new() }
}

/// UTF-8 where it is, else windows-1252; a byte order mark decides.
fn decoded(head: &[u8]) -> (Option<&'static str>, String) {
    if let Some((encoding, mark)) = Encoding::of_file(None, head, false, true).filter(|(_, mark)| *mark > 0) {
        let whole = head.len() - (head.len() - mark) % encoding.width();
        let body = head.get(mark..whole).unwrap_or_default();
        return (None, encoding.decode(body).map(|text| text.into_owned()).unwrap_or_default());
    }
    // The head may end inside a character.
    let valid = match std::str::from_utf8(head) {
        Ok(text) => return (None, text.to_owned()),
        Err(error) if error.error_len().is_none() => head.get(..error.valid_up_to()),
        Err(_) => None,
    };
    match valid.and_then(|head| std::str::from_utf8(head).ok()) {
        Some(text) => (None, text.to_owned()),
        None => (
            Some("windows-1252"),
            Encoding::Windows1252.decode(head).map(|t| t.into_owned()).unwrap_or_default(),
        ),
    }
}

fn delimited(text: &str, encoding: Option<&'static str>) -> Option<Guess> {
    // The last line may be cut short.
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(RECORDS + 1).collect();
    let lines = if lines.len() > 2 && !text.ends_with('\n') { lines.get(..lines.len() - 1)? } else { &lines };
    let (header, rows) = lines.split_first()?;
    let delimiter = [';', '\t', '|', ','].into_iter().find(|delimiter| {
        let columns = cells(header, *delimiter).len();
        (3..=COLUMNS).contains(&columns)
            && rows.iter().take(20).all(|row| cells(row, *delimiter).len() == columns)
    })?;
    let names = cells(header, delimiter);
    let mut values: Vec<(String, Vec<String>)> =
        names.iter().map(|name| (name.clone(), Vec::new())).collect();
    for row in rows {
        for ((_, column), value) in values.iter_mut().zip(cells(row, delimiter)) {
            column.push(value);
        }
    }
    let mut config = FormatConfig::new(FormatName::Delimited);
    config.encoding = encoding.map(str::to_owned);
    config.delimiter = match delimiter {
        ',' => None,
        '\t' => Some("tab".to_owned()),
        other => Some(other.to_string()),
    };
    Some(mapped(config, &values))
}

/// The cells of a line; quotes around a cell may hold the delimiter.
fn cells(line: &str, delimiter: char) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c == delimiter && !quoted => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            c => cell.push(c),
        }
    }
    cells.push(cell.trim().to_owned());
    cells
}

fn json(text: &str) -> Guess {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let records = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    for record in records.map_while(Result::ok).take(RECORDS) {
        match record {
            serde_json::Value::Array(items) => {
                items.iter().take(RECORDS).for_each(|item| flatten(item, "", &mut values));
            }
            record => flatten(&record, "", &mut values),
        }
    }
    let values: Vec<Column> = values.into_iter().collect();
    mapped(FormatConfig::new(FormatName::Json), &values)
}

fn flatten(value: &serde_json::Value, at: &str, out: &mut BTreeMap<String, Vec<String>>) {
    use serde_json::Value;
    let mut put = |text: String| {
        // A value that is no member of anything has no name.
        if !at.is_empty() {
            out.entry(at.to_owned()).or_default().push(text);
        }
    };
    match value {
        // Nobody nests a log this deep for a value that is worth a column.
        Value::Object(fields) if at.matches('/').count() < 6 => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                flatten(value, &format!("{at}/{key}"), out);
            }
        }
        Value::String(text) => put(text.clone()),
        Value::Number(number) => put(number.to_string()),
        Value::Bool(flag) => put(flag.to_string()),
        _ => {}
    }
}

/// A column of the log: its name, and what was seen in it.
type Column = (String, Vec<String>);

/// Maps columns by their names, then by their values.
fn mapped(config: FormatConfig, values: &[Column]) -> Guess {
    let mut mapping = Mapping { config, all: values, free: values.iter().collect(), notes: Vec::new() };
    mapping.by_name();
    mapping.by_value("subject_id", |cells| most(cells, is_person));
    mapping.by_value("occurred_at", |cells| time_format(cells).is_some());
    mapping.by_value("user_id", |cells| most(cells, is_hsa_id));
    mapping.tell_times();
    mapping.tell_emergencies();
    mapping.tell_the_rest();
    Guess { config: mapping.config, notes: mapping.notes }
}

struct Mapping<'a> {
    config: FormatConfig,
    all: &'a [Column],
    /// Not mapped yet.
    free: Vec<&'a Column>,
    notes: Vec<String>,
}

impl Mapping<'_> {
    fn by_name(&mut self) {
        for (column, names) in NAMES {
            let known = |name: &&str| self.free.iter().position(|(written, _)| plain(written) == **name);
            if let Some(at) = names.iter().find_map(known) {
                self.take(column, at);
            }
        }
    }

    fn by_value(&mut self, column: &str, looks: impl Fn(&[String]) -> bool) {
        if self.config.fields.contains_key(column) {
            return;
        }
        if let Some(at) = self.free.iter().position(|(_, cells)| looks(cells)) {
            let name = self.take(column, at);
            self.notes
                .push(format!("{column}: taken from {name:?} by what its values look like; look at it"));
        }
    }

    fn take(&mut self, column: &str, at: usize) -> String {
        let name = self.free.remove(at).0.clone();
        let rule = FieldRule { column: name.clone(), ..FieldRule::default() };
        self.config.fields.insert(column.to_owned(), rule);
        name
    }

    fn cells_of(&self, column: &str) -> Option<&[String]> {
        let rule = self.config.fields.get(column)?;
        self.all.iter().find(|(name, _)| *name == rule.column).map(|(_, cells)| cells.as_slice())
    }

    fn tell_times(&mut self) {
        match self.cells_of("occurred_at").map(time_format) {
            Some(Some(format)) => self.config.time_format = format.map(str::to_owned),
            Some(None) => {
                let note = "occurred_at: how its times are written could not be told; set time_format";
                self.notes.push(note.to_owned());
            }
            None => {}
        }
    }

    fn tell_emergencies(&mut self) {
        let Some(cells) = self.cells_of("emergency") else { return };
        let seen = |word: &&&str| cells.iter().any(|cell| cell == **word);
        let mut yes: Vec<String> = YES.iter().filter(seen).map(|word| (*word).to_owned()).collect();
        if yes.is_empty() {
            yes.push("Ja".to_owned());
            let note = "emergency: no value was yes in what was seen; look at the word for it";
            self.notes.push(note.to_owned());
        }
        if let Some(rule) = self.config.fields.get_mut("emergency") {
            rule.yes = yes;
        }
    }

    fn tell_the_rest(&mut self) {
        let mapped = |column: &&str| self.config.fields.contains_key(*column);
        let absent: Vec<&str> = WANTED.iter().copied().filter(|column| !mapped(column)).collect();
        if !absent.is_empty() {
            self.notes.push(format!("nothing was found for {}", absent.join(", ")));
        }
        let unused: Vec<&str> = self.free.iter().map(|(name, _)| name.as_str()).collect();
        if !unused.is_empty() {
            self.notes.push(format!("not mapped: {}", unused.join(", ")));
        }
    }
}

/// Letters and digits of a name, lower case; of a JSON pointer the last part.
fn plain(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether nearly all cells that hold something look so.
fn most(cells: &[String], looks: impl Fn(&str) -> bool) -> bool {
    let filled: Vec<&String> = cells.iter().filter(|cell| !cell.is_empty()).collect();
    !filled.is_empty() && filled.iter().filter(|cell| looks(cell)).count() * 10 >= filled.len() * 8
}

fn is_person(text: &str) -> bool {
    normalise(text, None, 0).kind != PersonalNumberKind::Other
}

/// As `SE2321000016-3F7K`.
fn is_hsa_id(text: &str) -> bool {
    text.get(..2).is_some_and(|land| land.eq_ignore_ascii_case("SE"))
        && text
            .split_once('-')
            .is_some_and(|(organisation, rest)| organisation.len() == 12 && !rest.is_empty())
}

/// The first way of writing times that nearly all cells follow.
fn time_format(cells: &[String]) -> Option<Option<&'static str>> {
    TIMES.iter().copied().find(|format| {
        let Ok(times) = Times::compile(*format, Tz::Europe__Stockholm) else { return false };
        // 1990 to 2100: a number may be read as some time or other.
        let sane = 631_152_000_000_000..4_102_444_800_000_000;
        most(cells, |cell| times.read(cell).is_some_and(|at| sane.contains(&at.micros)))
    })
}

/// A string of TOML.
fn text(value: &str) -> String {
    let mut written = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => written.extend(['\\', c]),
            c if c.is_control() => written.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => written.push(c),
        }
    }
    written.push('"');
    written
}

/// The mapping as a `[[source]]` of the configuration.
#[must_use]
pub fn source_block(config: &FormatConfig, name: &str, path: &str) -> String {
    let mut block = format!("[[source]]\nname = {}\npath = [{}]\n", text(name), text(path));
    block.push_str(&format!("format = \"{}\"\n", config.format));
    for (key, value) in [
        ("encoding", &config.encoding),
        ("delimiter", &config.delimiter),
        ("time_format", &config.time_format),
    ] {
        if let Some(value) = value {
            block.push_str(&format!("{key} = {}\n", text(value)));
        }
    }
    if !config.fields.is_empty() {
        block.push_str("[source.fields]\n");
    }
    for (column, FieldRule { column: written, yes, .. }) in &config.fields {
        let rule = match yes.is_empty() {
            true => text(written),
            false => {
                let yes: Vec<String> = yes.iter().map(|word| text(word)).collect();
                format!("{{ column = {}, true = [{}] }}", text(written), yes.join(", "))
            }
        };
        block.push_str(&format!("{column} = {rule}\n"));
    }
    block
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fields(guess: &Guess) -> Vec<(&str, &str)> {
        guess.config.fields.iter().map(|(column, rule)| (column.as_str(), rule.column.as_str())).collect()
    }

    #[test]
    fn a_swedish_export_is_mapped_by_names_and_values() {
        let text = "LoggId;Tidpunkt;Användare;Enhet;Åtgärd;Nyckel;Nödöppning;Övrigt\n\
                    1;2026-08-31 07:07;abc123;E1;Läsa;19121212-1212;Nej;x\n\
                    2;2026-08-31 07:09;abc123;E1;Läsa;\"1912;1212-1212\";Ja;y\n\
                    3;2026-08-31 07:10;abc123;E1;Läsa;121212+1212;Nej;z";
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let guess = guess(&bytes).unwrap();
        assert_eq!(guess.config.encoding.as_deref(), Some("windows-1252"));
        assert_eq!(guess.config.delimiter.as_deref(), Some(";"));
        assert_eq!(guess.config.time_format, None, "ISO 8601 is read as it is");
        assert_eq!(
            fields(&guess),
            [
                ("activity", "Åtgärd"),
                ("care_unit_id", "Enhet"),
                ("emergency", "Nödöppning"),
                ("event_id", "LoggId"),
                ("occurred_at", "Tidpunkt"),
                ("user_id", "Användare"),
            ]
        );
        assert_eq!(guess.config.fields["emergency"].yes, ["Ja"]);
        assert!(guess.notes.iter().any(|note| note == "not mapped: Nyckel, Övrigt"), "{:?}", guess.notes);
        let with_values = text.replace("\"1912;1212-1212\"", "19121212-1212");
        let guess = super::guess(with_values.as_bytes()).unwrap();
        assert!(fields(&guess).contains(&("subject_id", "Nyckel")), "{guess:?}");
        // What it writes is what it means.
        let block = source_block(&guess.config, "x", "logs/*.csv");
        let read: toml::Value = block.parse::<toml::Table>().unwrap()["source"][0].clone();
        assert_eq!(read.try_into::<FormatConfig>().unwrap(), guess.config, "{block}");
    }

    #[test]
    fn times_are_told_by_how_they_are_written() {
        for (written, format) in [
            ("2026-08-31 07:07:37", None),
            ("2026-08-31 07:07:37+0200", None),
            ("20260831 07:07:37", Some("%Y%m%d %H:%M:%S")),
            ("20260831070737", Some("%Y%m%d%H%M%S")),
            ("31/08/2026 07:07:37", Some("%d/%m/%Y %H:%M:%S")),
            ("1788152857123", Some("unix_ms")),
            ("1788152857", Some("unix")),
        ] {
            assert_eq!(time_format(&[written.to_owned()]), Some(format), "{written}");
        }
        assert_eq!(time_format(&["E1".to_owned(), "191212121212".to_owned()]), None);
    }

    #[test]
    fn standards_and_json_are_told_and_free_text_is_left_to_people() {
        let format = |text: &str| guess(text.as_bytes()).map(|guess| guess.config.format);
        assert_eq!(format("{\"resourceType\":\"AuditEvent\"}"), Some(FormatName::FhirAuditEvent));
        assert_eq!(format("<85>1 t h a - - - <AuditMessage>"), Some(FormatName::DicomAudit));
        assert_eq!(format("<?xml?><log><logId>1</logId></log>"), Some(FormatName::RivtaLog));
        assert_eq!(format("10.0.0.7 - anna [31/Aug/2026] \"GET /journal/1\" 200\n"), None);
        assert_eq!(format(""), None);
        assert_eq!(format("a;b;c\n"), Some(FormatName::Delimited));
        let json = "{\"t\":\"2026-08-31T07:07:37Z\",\"actor\":{\"userId\":\"u1\"},\"who\":{\"pnr\":\"191212121212\"}}\n";
        let guess = guess(json.repeat(3).as_bytes()).unwrap();
        assert_eq!(guess.config.format, FormatName::Json);
        assert_eq!(
            fields(&guess),
            [("occurred_at", "/t"), ("subject_id", "/who/pnr"), ("user_id", "/actor/userId")]
        );
    }

    #[test]
    fn what_it_writes_is_toml_whatever_columns_are_called() {
        let head = r#"{"t":"2026-08-31 07:07","a\u0007\u0000\"\\\n\u0085":{"userid":"x"}}"#;
        let guess = guess(head.as_bytes()).unwrap();
        assert_eq!(guess.config.fields["user_id"].column, "/a\u{7}\0\"\\\n\u{85}/userid");
        let block = source_block(&guess.config, "x", "C:\\logs\\*.json");
        let read: toml::Value = block.parse::<toml::Table>().unwrap()["source"][0].clone();
        assert_eq!(read.try_into::<FormatConfig>().unwrap(), guess.config, "{block}");
        assert!(json("17 true \"x\"").config.fields.is_empty(), "a value without a name is no column");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 1u64;
        for len in 0..300 {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let alphabet = b"{}[]\";:,\t|\n<>/a1\xff\xc3\xa5 \0";
                    alphabet[(state >> 33) as usize % alphabet.len()]
                })
                .collect();
            let _ = guess(&bytes);
        }
    }
}
