//! `insyn.toml`: read section by section, so that a fault names file, line, key, what was found and what was expected.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use insyn_api::ApiConfig;
use insyn_engine::config::{ContextConfig, LakeConfig, Organisation};
use insyn_ingest::SourceConfig;
use insyn_receive::syslog::SyslogConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::retention::{Fault, RetentionSection};

/// The whole of `insyn.toml`.
#[derive(Debug, Clone)]
pub struct Config {
    pub organisation: Organisation,
    pub lake: LakeConfig,
    pub state: StateConfig,
    pub context: ContextConfig,
    pub spool: SpoolConfig,
    api: ApiConfig,
    /// Where syslog is received.
    pub syslog: SyslogConfig,
    pub rules: RulesSection,
    pub commands: CommandsSection,
    pub retention: RetentionSection,
    pub sources: Vec<SourceConfig>,
    /// The folder of the file: what relative paths are relative to.
    pub base: PathBuf,
    /// The file itself.
    pub file: PathBuf,
}

/// `[state]`: the workflow database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// `sqlite://` and a path.
    #[serde(default = "default_state")]
    pub url: String,
}

/// `[spool]`: what was received or done, fsynced before it is acknowledged, until the tailer has read it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolConfig {
    #[serde(default = "default_spool")]
    pub dir: PathBuf,
}

/// `[rules]`: a pack of the organisation's own beside ours, and how often `serve` runs them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesSection {
    pub dir: Option<PathBuf>,
    #[serde(default = "default_every_minutes")]
    pub every_minutes: u32,
    pub intrusive: Option<IntrusiveDecision>,
}

/// `[rules.intrusive]`: who has decided that `serve` may run the rules that rest on address, kin, name, schedule or volume.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntrusiveDecision {
    /// Who decided: a name or an office.
    pub decided_by: String,
    /// When, as `2026-11-21`.
    pub decided_on: String,
    /// The impact assessment that it rests on: its number, or where it is.
    pub assessment: String,
}

impl IntrusiveDecision {
    /// What is wrong with it: key, what was found, what was expected.
    fn fault(&self) -> Option<(&'static str, String)> {
        let empty = |text: &str| text.trim().is_empty();
        if empty(&self.decided_by) {
            return Some(("decided_by", "found nothing, expected who decided".into()));
        }
        if chrono::NaiveDate::parse_from_str(&self.decided_on, "%Y-%m-%d").is_err() {
            return Some((
                "decided_on",
                format!("found \"{}\", expected a date as 2026-11-21", self.decided_on),
            ));
        }
        empty(&self.assessment)
            .then(|| ("assessment", "found nothing, expected the impact assessment's number or place".into()))
    }
}

/// `[commands]`: what commands may show.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandsSection {
    /// Whether `trace`, `sql` and `findings list` may show personal data.
    #[serde(default = "yes")]
    pub personal_data: bool,
    /// Whether they ask for `--reason`.
    #[serde(default)]
    pub require_reason: bool,
}

fn default_state() -> String {
    "sqlite://state.db".into()
}
fn default_spool() -> PathBuf {
    "spool".into()
}
fn default_every_minutes() -> u32 {
    60
}
fn yes() -> bool {
    true
}

/// What is wrong with `insyn.toml`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {what}. `insyn init` writes a commented one; --config names another", file.display())]
    Unreadable { file: PathBuf, what: String },
    #[error("{}:{line}:{column}: {what}", file.display())]
    Syntax { file: PathBuf, line: usize, column: usize, what: String },
    #[error("{}:{line}: key `{key}`: {what}", file.display())]
    Key { file: PathBuf, line: usize, key: String, what: String },
    #[error("{0}")]
    Usage(String),
}

impl ConfigError {
    /// True for all of them: the exit status is 2.
    pub fn is_usage(&self) -> bool {
        true
    }
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`], which names file, line, key, what was found and what was expected.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError::Unreadable {
            file: file.to_owned(),
            what: match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".into(),
                std::io::ErrorKind::InvalidData => "it is not UTF-8".into(),
                _ => error.to_string(),
            },
        })?;
        let base = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let base = std::path::absolute(&base).unwrap_or(base);
        let document = Document { file, text: &text };
        let table = DeTable::parse(&text).map_err(|error| document.syntax(&error))?.into_inner();
        document.unknown_sections(&table)?;
        let api: ApiConfig = document.or_default(&table, "api", "")?;
        if let (Err(error), Some(section)) = (api.check(), table.get("api")) {
            return Err(document.key(document.span_of(section, "listen"), "api.listen", error.to_string()));
        }
        let spool: SpoolConfig = document.or_default(&table, "spool", "")?;
        let received = base.join(&spool.dir);
        let syslog: SyslogConfig = document.or_default(&table, "syslog", "")?;
        let sources = document.sources(&table)?;
        let rules: RulesSection = document.or_default(&table, "rules", "")?;
        if let (Some((key, what)), Some(section)) =
            (rules.intrusive.as_ref().and_then(IntrusiveDecision::fault), table.get("rules"))
        {
            return Err(document.key(section.span(), &format!("rules.intrusive.{key}"), what));
        }
        let retention: RetentionSection = document.or_default(&table, "retention", "")?;
        if let (Some(fault), Some(section)) = (retention.fault(&sources), table.get("retention")) {
            return Err(document.retention(section, fault));
        }
        Ok(Config {
            organisation: document.required(&table, "organisation")?,
            lake: document.or_default(&table, "lake", "url = \"./lake\"")?,
            state: document.or_default(&table, "state", "")?,
            context: document.or_default(&table, "context", "dir = \"context\"")?,
            spool,
            api,
            rules,
            commands: document.or_default(&table, "commands", "")?,
            retention,
            syslog: syslog.below(&base),
            sources: sources.into_iter().map(|source| source.receiving_in(&received)).collect(),
            base,
            file: file.to_owned(),
        })
    }

    /// `[api]`: where `serve` listens, with the paths of its keys made absolute.
    pub fn api(&self) -> ApiConfig {
        let mut api = self.api.clone();
        for path in [&mut api.tls_cert, &mut api.tls_key, &mut api.tls_client_ca].into_iter().flatten() {
            *path = self.base.join(&*path);
        }
        api
    }

    /// `[api]` with another address to listen on.
    pub fn listen_on(&mut self, address: std::net::SocketAddr) {
        self.api.listen = address;
    }

    /// A path of the file, made absolute.
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.base.join(relative)
    }
}

const SECTIONS: &[&str] = &[
    "organisation",
    "lake",
    "state",
    "context",
    "spool",
    "api",
    "syslog",
    "rules",
    "commands",
    "retention",
    "source",
];

struct Document<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Document<'_> {
    fn unknown_sections(&self, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if !SECTIONS.contains(&name) {
                return Err(self.key(
                    key.span(),
                    name,
                    format!("no such section; {}", meant(name, SECTIONS)),
                ));
            }
        }
        Ok(())
    }

    fn required<T: DeserializeOwned>(&self, table: &DeTable<'_>, name: &str) -> Result<T, ConfigError> {
        let value = table.get(name).ok_or_else(|| ConfigError::Key {
            file: self.file.to_owned(),
            line: 1,
            key: name.to_owned(),
            what: format!("found no section [{name}], expected one"),
        })?;
        self.section(name, value)
    }

    fn or_default<T: DeserializeOwned>(
        &self,
        table: &DeTable<'_>,
        name: &str,
        default: &str,
    ) -> Result<T, ConfigError> {
        match table.get(name) {
            Some(value) => self.section(name, value),
            None => toml::from_str(default).map_err(|error| self.syntax(&error)),
        }
    }

    fn sources(&self, table: &DeTable<'_>) -> Result<Vec<SourceConfig>, ConfigError> {
        let Some(list) = table.get("source") else { return Ok(Vec::new()) };
        let Some(items) = list.get_ref().as_array() else {
            return Err(self.key(
                list.span(),
                "source",
                "found one table, expected a list: [[source]]".into(),
            ));
        };
        let mut names = BTreeSet::new();
        let mut sources = Vec::new();
        for item in items.iter() {
            self.known_keys("source", item, insyn_ingest::SOURCE_KEYS)?;
            let source: SourceConfig = self.section("source", item)?;
            if !names.insert(source.name.clone()) {
                let what = format!("found \"{}\" a second time, expected a name of its own", source.name);
                return Err(self.key(self.span_of(item, "name"), "source.name", what));
            }
            if let Err(fault) = source.check() {
                let what = format!("found {}, expected {}", fault.found, fault.expected);
                return Err(self.key(self.span_of(item, &fault.key), &format!("source.{}", fault.key), what));
            }
            sources.push(source);
            if let Err(error) = insyn_receive::check(&sources) {
                return Err(self.key(self.span_of(item, "sender"), "source.sender", error.to_string()));
            }
        }
        Ok(sources)
    }

    /// A fault of `[retention]`, with the line that it stands in.
    fn retention(&self, section: &Spanned<DeValue<'_>>, (rule, key, what): Fault) -> ConfigError {
        let rules = section.get_ref().as_table().and_then(|table| table.get("rule"));
        let rules = rules.and_then(|rules| rules.get_ref().as_array());
        match rule.and_then(|n| rules?.get(n)) {
            Some(rule) => self.key(self.span_of(rule, key), &format!("retention.rule.{key}"), what),
            None => self.key(self.span_of(section, key), &format!("retention.{key}"), what),
        }
    }

    fn known_keys(
        &self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        known: &[&str],
    ) -> Result<(), ConfigError> {
        let Some(table) = value.get_ref().as_table() else { return Ok(()) };
        for (key, _) in table.iter() {
            let found: &str = key.get_ref();
            if !known.contains(&found) {
                let what = format!("no such key; {}", meant(found, known));
                return Err(self.key(key.span(), &format!("{name}.{found}"), what));
            }
        }
        Ok(())
    }

    fn section<T: DeserializeOwned>(
        &self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<T, ConfigError> {
        let attempt = |value: Spanned<DeValue<'_>>| T::deserialize(toml::de::ValueDeserializer::from(value));
        let Err(error) = attempt(value.clone()) else {
            return attempt(value.clone()).map_err(|error| self.syntax(&error));
        };
        // A key that is not there has no line to blame; one that is wrong has.
        let missing = error.message().starts_with("missing field");
        let culprit = if missing { None } else { self.culprit(value, &attempt) };
        let key = culprit.as_ref().map_or_else(|| name.to_owned(), |(key, _)| format!("{name}.{key}"));
        let span = culprit.map(|(_, span)| span).or_else(|| error.span()).unwrap_or_else(|| value.span());
        Err(self.key(span, &key, sentence(error.message())))
    }

    /// The key without which the section would read: it is the one to blame.
    fn culprit<T>(
        &self,
        value: &Spanned<DeValue<'_>>,
        attempt: &dyn Fn(Spanned<DeValue<'_>>) -> Result<T, toml::de::Error>,
    ) -> Option<(String, Range<usize>)> {
        let table = value.get_ref().as_table()?;
        table.iter().find_map(|(key, _)| {
            let name: &str = key.get_ref();
            let mut without = table.clone();
            without.remove(name);
            let outcome = attempt(Spanned::new(value.span(), DeValue::Table(without)));
            let mended = match outcome {
                Ok(_) => true,
                Err(error) => error.message().contains(&format!("missing field `{name}`")),
            };
            mended.then(|| (name.to_owned(), key.span()))
        })
    }

    fn span_of(&self, value: &Spanned<DeValue<'_>>, key: &str) -> Range<usize> {
        let mut span = value.span();
        let mut here = Some(value);
        for part in key.split('.') {
            let Some(table) = here.and_then(|value| value.get_ref().as_table()) else { break };
            let Some((name, inner)) = table.get_key_value(part) else { break };
            span = name.span();
            here = Some(inner);
        }
        span
    }

    fn key(&self, span: Range<usize>, key: &str, what: String) -> ConfigError {
        let (line, _) = self.place(span.start);
        ConfigError::Key { file: self.file.to_owned(), line, key: key.to_owned(), what }
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let (line, column) = self.place(error.span().map_or(0, |span| span.start));
        ConfigError::Syntax { file: self.file.to_owned(), line, column, what: sentence(error.message()) }
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        (line, column)
    }
}

/// serde's words, in ours.
fn sentence(message: &str) -> String {
    let message = message.trim().replace('\n', "; ");
    match message.strip_prefix("missing field ") {
        Some(field) => format!("found no key {field}, expected one"),
        None => message.replace("invalid type: ", "found ").replace("invalid value: ", "found "),
    }
}

fn meant(found: &str, known: &[&str]) -> String {
    match insyn_ingest::nearest(found, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let folder = std::env::temp_dir().join(format!("insyn-config-{}-{:p}", std::process::id(), text));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("insyn.toml");
        std::fs::write(&file, text).unwrap();
        let error = Config::read(&file).expect_err("the text is wrong").to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        error.replace(&folder.display().to_string(), "")
    }

    #[test]
    fn every_fault_names_its_place() {
        let head = "[organisation]\nid = \"SE1\"\nname = \"E\"\n";
        let cases = [
            (
                "[organisation]\nid = 7\nname = \"E\"\n",
                "/insyn.toml:2: key `organisation.id`: found integer `7`",
            ),
            ("[organisation]\nid = \"SE1\"\n", "/insyn.toml:1: key `organisation`: found no key `name`"),
            ("[organisation\n", "/insyn.toml:1:"),
            ("[lake]\nurl = \"x\"\n", "found no section [organisation]"),
            (
                &format!("{head}[lakes]\nurl = \"x\"\n"),
                "/insyn.toml:4: key `lakes`: no such section; did you mean `lake`?",
            ),
            (&format!("{head}[lake]\nurl = \"x\"\nuri = \"y\"\n"), "/insyn.toml:6: key `lake.uri`"),
            (
                &format!("{head}[[source]]\nname = \"a\"\nfromat = \"json\"\n"),
                "/insyn.toml:6: key `source.fromat`: no such key; did you mean `format`?",
            ),
            (
                &format!("{head}[[source]]\nname = \"a\"\nformat = \"jsn\"\npath = []\n"),
                "/insyn.toml:6: key `source.format`",
            ),
            (
                &format!("{head}[retention]\nlongest_years = 2\n"),
                "/insyn.toml:5: key `retention.longest_years`: found 2, expected at least shortest_years (5)",
            ),
            (
                &format!("{head}[[retention.rule]]\nsource = \"insyn\"\nshortest_years = 3\n"),
                "/insyn.toml:6: key `retention.rule.shortest_years`: found 3, expected at least 5",
            ),
        ];
        for (text, expected) in cases {
            let found = fault(text);
            assert!(found.contains(expected), "for\n{text}\nfound    {found}\nexpected {expected}");
        }
    }
}
