//! `[[source]]`: one log, where it lies and how it reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use insyn_formats::{Format, FormatConfig, FormatName};
use serde::Deserialize;

use crate::sender::SenderConfig;
use crate::sheet::RowStyle;
use crate::spool;

/// Which law asks for the log, and so which fields it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegalArea {
    /// Patientdatalagen.
    HealthCare,
    /// Socialtjänstlagen and its register law.
    SocialServices,
    /// Sammanhållen vård- och omsorgsdokumentation.
    SharedRecords,
    /// The medical part of pupil health.
    PupilHealth,
    /// Any other.
    #[default]
    Other,
}

impl LegalArea {
    /// Every area.
    pub const ALL: [LegalArea; 5] = [
        LegalArea::HealthCare,
        LegalArea::SocialServices,
        LegalArea::SharedRecords,
        LegalArea::PupilHealth,
        LegalArea::Other,
    ];

    /// As configuration writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LegalArea::HealthCare => "health-care",
            LegalArea::SocialServices => "social-services",
            LegalArea::SharedRecords => "shared-records",
            LegalArea::PupilHealth => "pupil-health",
            LegalArea::Other => "other",
        }
    }
}

/// How the files come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// A log that grows.
    #[default]
    Stream,
    /// Files that each state a whole period and may overlap.
    Export,
}

/// What to do with a second path that holds what another path holds, when both stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Copies {
    /// It is a log of its own: identical rows are evidence.
    #[default]
    Read,
    /// It is the same log.
    Skip,
}

/// One log source, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SourceConfig {
    /// Its name, in every row. Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Personuppgiftsansvarig: whose information it is; the organisation when not given.
    #[serde(default)]
    pub controller: Option<String>,
    /// Which law asks for it.
    #[serde(default)]
    pub legal_area: LegalArea,
    /// Whether files grow or each state a period.
    #[serde(default)]
    pub delivery: Delivery,
    /// How many hours its records may take to come; a silence of that length says nothing.
    #[serde(default = "late")]
    pub late_hours: u32,
    /// Its event ids are numbers that it counts its records by: one that is missing is looked for.
    #[serde(default)]
    pub numbered: bool,
    /// Globs, relative to the folder of the configuration. `**` goes through folders.
    #[serde(default)]
    pub path: Vec<String>,
    /// Who may send records to it, over HTTP or syslog.
    #[serde(default)]
    pub sender: Vec<SenderConfig>,
    /// Where those records lie until they are read; see [`SourceConfig::receiving_in`].
    #[serde(skip)]
    pub(crate) spool: Option<PathBuf>,
    /// What to do with copies.
    #[serde(default)]
    pub copies: Copies,
    /// How its records are read.
    #[serde(flatten)]
    pub format: FormatConfig,
}

fn late() -> u32 {
    2
}

/// Every key that a `[[source]]` may have.
pub const SOURCE_KEYS: &[&str] = &[
    "name",
    "controller",
    "legal_area",
    "delivery",
    "late_hours",
    "numbered",
    "path",
    "sender",
    "copies",
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
];

/// What is wrong with one key of a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: found {found}, expected {expected}")]
pub struct SourceFault {
    /// The key, below `[[source]]`.
    pub key: String,
    /// What it holds.
    pub found: String,
    /// What it should hold.
    pub expected: String,
}

impl SourceConfig {
    /// Reads what its senders sent as well, which lies below the spool's folder; also what was sent before its last
    /// sender was taken out of the configuration.
    #[must_use]
    pub fn receiving_in(mut self, folder: &Path) -> SourceConfig {
        let folder = folder.join(spool::RECEIVED).join(&self.name);
        if !self.sender.is_empty() || folder.is_dir() {
            self.path.push(format!("{}/*/*.spool", glob::Pattern::escape(&folder.display().to_string())));
            self.spool = Some(folder);
        }
        self
    }

    /// How the rows of a workbook are written for this source; none where no file can be one.
    pub(crate) fn row_style(&self) -> Option<RowStyle> {
        let rows = self.format.format == FormatName::Delimited;
        let written = RowStyle::default();
        rows.then(|| RowStyle {
            delimiter: self.format.delimiter_byte().unwrap_or(written.delimiter),
            quote: self.format.quote_byte().ok().flatten().unwrap_or(written.quote),
        })
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn check(&self) -> Result<(), SourceFault> {
        let fault = |key: &str, found: String, expected: &str| {
            Err(SourceFault { key: key.into(), found, expected: expected.into() })
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return fault("name", format!("\"{}\"", self.name), "letters, digits, `-`, `_` and `.`");
        }
        if self.name == spool::SOURCE {
            return fault("name", format!("\"{}\"", self.name), "another name: that one is Insyn's own log");
        }
        if self.path.is_empty() && self.sender.is_empty() {
            return fault("path", "no path".into(), "at least one glob, or a [[source.sender]]");
        }
        let mut names = BTreeSet::new();
        for sender in &self.sender {
            sender.check()?;
            if !names.insert(&sender.name) {
                let found = format!("the name \"{}\" a second time", sender.name);
                return fault("sender", found, "a name for each sender");
            }
        }
        let posted = matches!(self.format.format, FormatName::FhirAuditEvent | FormatName::RivtaLog);
        if posted && self.sender.iter().any(|sender| !sender.address.is_empty()) {
            let found = format!("an address at a source of format {}", self.format.format);
            return fault("sender", found, "a token or a certificate: only syslog comes from addresses");
        }
        if !self.sender.is_empty() && self.delivery == Delivery::Export {
            return fault(
                "delivery",
                "export at a source with senders".into(),
                "stream: what is sent states no period",
            );
        }
        if !self.sender.is_empty() && self.format.format == FormatName::Delimited {
            return fault(
                "sender",
                "senders to a delimited source".into(),
                "files: its header row is theirs",
            );
        }
        for glob in &self.path {
            if let Err(error) = glob::Pattern::new(glob) {
                return fault("path", format!("\"{glob}\" ({})", error.msg), "a glob");
            }
        }
        // The zone has no part in what can be wrong with a configuration.
        match Format::compile(&self.format, Tz::UTC) {
            Ok(_) => Ok(()),
            Err(error) => Err(SourceFault { key: error.key, found: error.found, expected: error.expected }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_the_format_are_keys_of_the_source() {
        for key in FormatConfig::known_keys() {
            assert!(SOURCE_KEYS.contains(key), "{key}");
        }
    }

    #[test]
    fn a_source_names_the_key_that_is_wrong() {
        let cases = [
            ("name = \"a b\"\npath = [\"x\"]\nformat = \"json\"", "name"),
            ("name = \"insyn\"\npath = [\"x\"]\nformat = \"fhir-audit-event\"", "name"),
            ("name = \"a\"\npath = []\nformat = \"fhir-audit-event\"", "path"),
            ("name = \"a\"\npath = [\"x/***\"]\nformat = \"fhir-audit-event\"", "path"),
            ("name = \"a\"\npath = [\"x\"]\nformat = \"pattern\"\npattern = \"(\"", "pattern"),
            (
                "name = \"a\"\nformat = \"fhir-audit-event\"\ndelivery = \"export\"\n\
                 [[sender]]\nname = \"b\"",
                "delivery",
            ),
        ];
        for (text, key) in cases {
            let source: SourceConfig = toml::from_str(text).unwrap();
            assert_eq!(source.check().unwrap_err().key, key, "{text}");
        }
    }
}
