use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::FormatError;
use crate::nearest;

/// The six formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum FormatName {
    /// FHIR AuditEvent, R4, R4B and R5, told apart by shape.
    #[serde(rename = "fhir-audit-event")]
    FhirAuditEvent,
    /// RIV-TA StoreLog 1.x and 2.0, GetLogs answers, bare log elements.
    #[serde(rename = "rivta-log")]
    RivtaLog,
    /// DICOM PS3.15 A.5 audit messages, bare or in syslog frames.
    #[serde(rename = "dicom-audit")]
    DicomAudit,
    /// Columns between delimiters, with a header row.
    #[serde(rename = "delimited")]
    Delimited,
    /// Lines of text, by regular expression.
    #[serde(rename = "pattern")]
    Pattern,
    /// One JSON object a line, fields by JSON pointer.
    #[serde(rename = "json")]
    Json,
}

impl FormatName {
    /// Every format.
    pub const ALL: [FormatName; 6] = [
        FormatName::FhirAuditEvent,
        FormatName::RivtaLog,
        FormatName::DicomAudit,
        FormatName::Delimited,
        FormatName::Pattern,
        FormatName::Json,
    ];

    /// As configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            FormatName::FhirAuditEvent => "fhir-audit-event",
            FormatName::RivtaLog => "rivta-log",
            FormatName::DicomAudit => "dicom-audit",
            FormatName::Delimited => "delimited",
            FormatName::Pattern => "pattern",
            FormatName::Json => "json",
        }
    }
}

impl fmt::Display for FormatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value as configuration may write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true`, `false`.
    Flag(bool),
    /// `200`.
    Number(i64),
    /// `"text"`.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Flag(v) => v.fmt(f),
            Scalar::Number(v) => v.fmt(f),
            Scalar::Text(v) => f.write_str(v),
        }
    }
}

/// Where a column's value stands in the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldRule {
    /// The header's name (`delimited`), the group's name (`pattern`) or the JSON pointer (`json`).
    pub column: String,
    /// For a flag: the words that mean yes. Any other word then means no, unless `no` is given too.
    pub yes: Vec<String>,
    /// For a flag: the words that mean no.
    pub no: Vec<String>,
}

/// The keys of `[[source]]` that say how its records are read.
///
/// It is meant to be flattened into the source's own configuration; serde cannot refuse unknown keys there, so the
/// owner does it with [`FormatConfig::known_keys`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FormatConfig {
    /// Which format.
    pub format: FormatName,
    /// `utf-8` (default; a byte order mark decides otherwise), `windows-1252`, `iso-8859-1`, `iso-8859-15`, `utf-16`,
    /// `utf-16le`, `utf-16be`.
    #[serde(default)]
    pub encoding: Option<String>,
    /// `delimited`: one ASCII character, or `tab`. Default `,`.
    #[serde(default)]
    pub delimiter: Option<String>,
    /// `delimited`: one ASCII character, or `""` for none. Default `"`.
    #[serde(default)]
    pub quote: Option<String>,
    /// `delimited`: how many lines stand before the header row. Default 0.
    #[serde(default)]
    pub skip_lines: Option<u32>,
    /// `delimited`: the columns' names, where files have no header row.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// `delimited`, `pattern`, `json`: how times are written (strftime), or `unix`, `unix_ms`, `unix_us`. Default
    /// ISO 8601. Without a zone in it, times are local.
    #[serde(default)]
    pub time_format: Option<String>,
    /// `pattern`: a regular expression with named groups.
    #[serde(default)]
    pub pattern: Option<String>,
    /// `pattern`: a record begins on a line that this matches, and goes on until the next such line.
    #[serde(default)]
    pub start_pattern: Option<String>,
    /// What a column holds where the record says nothing.
    #[serde(default)]
    pub constants: BTreeMap<String, Scalar>,
    /// `delimited`, `pattern`, `json`: column of `access_events` → where it stands in the record.
    #[serde(default)]
    pub fields: BTreeMap<String, FieldRule>,
    /// Column of `access_events` → value as written → value as stored. `action` is looked up by the activity.
    #[serde(default)]
    pub values: BTreeMap<String, BTreeMap<String, Scalar>>,
}

impl FormatConfig {
    /// The configuration of a format with nothing else said.
    pub fn new(format: FormatName) -> FormatConfig {
        FormatConfig {
            format,
            encoding: None,
            delimiter: None,
            quote: None,
            skip_lines: None,
            columns: None,
            time_format: None,
            pattern: None,
            start_pattern: None,
            constants: BTreeMap::new(),
            fields: BTreeMap::new(),
            values: BTreeMap::new(),
        }
    }

    /// Every key that [`FormatConfig`] reads, for whoever flattens it and has to tell unknown keys.
    pub fn known_keys() -> &'static [&'static str] {
        &[
            "format",
            "encoding",
            "delimiter",
            "quote",
            "skip_lines",
            "columns",
            "time_format",
            "pattern",
            "start_pattern",
            "constants",
            "fields",
            "values",
        ]
    }

    /// Refuses keys that the format does not use: a setting that does nothing is a mistake.
    /// What stands between the fields of a delimited row.
    ///
    /// # Errors
    /// When it is not one character.
    pub fn delimiter_byte(&self) -> Result<u8, FormatError> {
        match self.delimiter.as_deref() {
            Some("tab") => Ok(b'\t'),
            Some(text) => one_byte("delimiter", text),
            None => Ok(b','),
        }
    }

    /// What stands around a field that holds a delimiter; none where nothing does.
    ///
    /// # Errors
    /// When it is not one character.
    pub fn quote_byte(&self) -> Result<Option<u8>, FormatError> {
        match self.quote.as_deref() {
            Some("") => Ok(None),
            Some(text) => one_byte("quote", text).map(Some),
            None => Ok(Some(b'"')),
        }
    }

    pub(crate) fn check_keys(&self) -> Result<(), FormatError> {
        use FormatName::{Delimited, Json, Pattern};
        let given: [(&str, bool, &[FormatName]); 8] = [
            ("delimiter", self.delimiter.is_some(), &[Delimited]),
            ("quote", self.quote.is_some(), &[Delimited]),
            ("skip_lines", self.skip_lines.is_some(), &[Delimited]),
            ("columns", self.columns.is_some(), &[Delimited]),
            ("time_format", self.time_format.is_some(), &[Delimited, Pattern, Json]),
            ("pattern", self.pattern.is_some(), &[Pattern]),
            ("start_pattern", self.start_pattern.is_some(), &[Pattern]),
            ("fields", !self.fields.is_empty(), &[Delimited, Pattern, Json]),
        ];
        for (key, given, formats) in given {
            if given && !formats.contains(&self.format) {
                let names: Vec<&str> = formats.iter().map(|f| f.as_str()).collect();
                return Err(FormatError::new(
                    key,
                    format!("in a source of format `{}`", self.format),
                    format!("it only with format `{}`", names.join("`, `")),
                ));
            }
        }
        Ok(())
    }
}

fn one_byte(key: &str, text: &str) -> Result<u8, FormatError> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err(FormatError::new(key, format!("`{text}`"), "one ASCII character")),
    }
}

impl<'de> Deserialize<'de> for FieldRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FieldRule, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

/// Written by hand because an untagged enum would say only that nothing matched.
struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = FieldRule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or a table such as { column = \"Name\", true = [\"Ja\"] }")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<FieldRule, E> {
        Ok(FieldRule { column: name.to_string(), ..FieldRule::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldRule, A::Error> {
        const KEYS: [&str; 3] = ["column", "true", "false"];
        let mut rule = FieldRule::default();
        let mut named = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "column" => {
                    rule.column = map.next_value()?;
                    named = true;
                }
                "true" => rule.yes = map.next_value::<Words>()?.into_words(),
                "false" => rule.no = map.next_value::<Words>()?.into_words(),
                other => {
                    let hint =
                        nearest(other, KEYS).map(|n| format!(", did you mean `{n}`?")).unwrap_or_default();
                    return Err(A::Error::custom(format!(
                        "unknown key `{other}` in a field, expected `column`, `true` or `false`{hint}"
                    )));
                }
            }
        }
        if named { Ok(rule) } else { Err(A::Error::missing_field("column")) }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(Scalar),
    Many(Vec<Scalar>),
}

impl Words {
    fn into_words(self) -> Vec<String> {
        match self {
            Words::One(word) => vec![word.to_string()],
            Words::Many(words) => words.iter().map(Scalar::to_string).collect(),
        }
    }
}
