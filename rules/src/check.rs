//! Lint of the pack: what is wrong in a rule file, with file, line, column and the nearest right name.

use std::collections::BTreeSet;
use std::fmt;

use chrono_tz::Tz;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use serde::Serialize;

use crate::desk::{self, Desk};
use crate::evidence;
use crate::file::{self, Places, nearest};
use crate::hits;
use crate::pack::{Pack, unknown};
use crate::rule::{Kind, Rule};
use crate::run::plain;
use crate::sentence::{self, Language};
use crate::sql;

/// Something wrong in a rule file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What was found and what was expected.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.what)
    }
}

impl Problem {
    /// A problem at a byte of the file's text.
    pub(crate) fn at(file: &str, text: &str, byte: usize, what: String) -> Problem {
        let mut byte = byte.min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &text[..byte];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Problem { file: file.to_owned(), line, column, what }
    }
}

/// Everything that is wrong in the pack, in the order of files and lines; nothing is, when the list is empty.
pub async fn check(pack: &Pack) -> Vec<Problem> {
    let mut problems = pack.problems().to_vec();
    for (rule, places) in pack.placed() {
        let mut lint = Lint { rule, places, problems: &mut problems };
        lint.names();
        lint.words();
        lint.params();
        lint.cases();
        if let Err(error) = lint.sql().await {
            lint.add(places.sql.start, format!("the SQL could not be tried: {}", plain(&error)));
        }
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    problems.dedup();
    problems
}

struct Lint<'a> {
    rule: &'a Rule,
    places: &'a Places,
    problems: &'a mut Vec<Problem>,
}

impl Lint<'_> {
    fn add(&mut self, byte: usize, what: String) {
        self.problems.push(Problem::at(&self.rule.file, &self.places.text, byte, what));
    }

    fn names(&mut self) {
        let id = &self.rule.id;
        let at = self.places.id.start;
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            self.add(at, format!("found id \"{id}\", expected lower case words with dashes"));
        }
        let stem = std::path::Path::new(&self.rule.file)
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default()
            .to_owned();
        if stem != *id {
            self.add(at, format!("found id \"{id}\" in the file \"{stem}.toml\", expected the same name"));
        }
        let tables = desk::context_tables();
        for (n, table) in self.rule.needs.iter().chain(&self.rule.needs_one_of).enumerate() {
            if !tables.clone().any(|t| t == table) {
                let at = self.places.needs.get(n).map_or(0, |r| r.start);
                self.add(at, unknown("context table", table, tables.clone()));
            }
        }
        for table in self.rule.evidence.iter().chain(&self.rule.covered_by) {
            if !evidence::can_keep(table) {
                let what = unknown("context table", table, tables.clone());
                let at = self.find(&format!("\"{table}\""));
                self.add(at, what);
            }
        }
        if self.rule.kind == Kind::Source && self.rule.settles().is_none() {
            self.add(at, "a rule about sources needs settles_after: records come late".into());
        }
        if self.rule.kind == Kind::Absence {
            match (self.rule.settles(), self.rule.looks_around) {
                // Of a day the whole day is seen in any case.
                (Some(_), Some(_)) if self.rule.sees_windows() => {}
                (Some(wait), Some(around)) if around >= wait => {}
                _ => self.add(at, "an absence needs settles_after, and looks_around at least as long".into()),
            }
        }
    }

    fn words(&mut self) {
        for (key, range) in &self.places.words.clone() {
            let text = self.places.text.get(range.clone()).unwrap_or_default().to_owned();
            if text.trim_matches(['"', '\'', ' ', '\n']).is_empty() {
                self.add(range.start, format!("{key} is empty, expected a sentence"));
            }
            if let Some(word) = sentence::judgement(&text) {
                let at = text.to_lowercase().find(word).unwrap_or(0);
                self.add(
                    range.start + at,
                    format!(
                        "found \"{word}\" in {key}, expected what was seen: a judgement belongs to people"
                    ),
                );
            }
        }
        // Sentences can be made in SQL too.
        if let Some(word) = self.rule.queries().find_map(sentence::judgement) {
            let at = self.places.text.to_lowercase().find(word).unwrap_or(self.places.sql.start);
            self.add(
                at,
                format!("found \"{word}\" in sql, expected what was seen: a judgement belongs to people"),
            );
        }
    }

    fn params(&mut self) {
        let mut used: BTreeSet<String> = self.rule.queries().flat_map(sql::placeholders).collect();
        used.extend(
            self.rule.settles_after.as_ref().and_then(|wait| wait.strip_prefix('$')).map(str::to_owned),
        );
        for (name, param) in &self.rule.params {
            let at = self.places.params.get(name).map_or(0, |r| r.start);
            if !used.contains(name) {
                self.add(at, format!("parameter \"{name}\" is not used by the SQL"));
            }
            if let Err(what) = file::allowed(param, &param.value) {
                self.add(at, format!("parameter \"{name}\": {what}"));
            }
            for text in [&param.about.sv, &param.about.en] {
                if let Some(word) = sentence::judgement(text) {
                    let what = format!("found \"{word}\" in parameter \"{name}\", expected no judgement");
                    self.add(at, what);
                }
            }
            if param.about.sv.trim().is_empty() || param.about.en.trim().is_empty() {
                self.add(at, format!("parameter \"{name}\" lacks a sentence in one of the languages"));
            }
        }
    }

    fn cases(&mut self) {
        let positive = self.rule.cases.iter().filter(|c| c.finds()).count();
        let negative = self.rule.cases.iter().filter(|c| !c.finds() && !c.not_evaluated).count();
        if positive == 0 || negative == 0 {
            let what = format!(
                "found {positive} cases that hit and {negative} that do not, expected at least one of each"
            );
            self.add(self.places.id.start, what);
        }
        let mut names = BTreeSet::new();
        for case in &self.rule.cases {
            let at = line_start(&self.places.text, case.line);
            if !names.insert(case.name.as_str()) {
                self.add(at, format!("found a second case \"{}\", expected each name once", case.name));
            }
            for (table, rows) in &case.rows {
                let Some(columns) = crate::cases::columns(table) else {
                    let known = std::iter::once("accesses")
                        .chain(desk::LAKE_TABLES.iter().copied())
                        .chain(desk::context_tables());
                    self.add(at, format!("case \"{}\": {}", case.name, unknown("table", table, known)));
                    continue;
                };
                for column in rows.iter().flat_map(|row| row.keys()) {
                    if !columns.contains(&column.as_str()) {
                        let near = nearest(column, columns.iter().copied())
                            .map(|n| format!("; nearest: \"{n}\""))
                            .unwrap_or_default();
                        self.add(
                            at,
                            format!("case \"{}\": {table} has no column \"{column}\"{near}", case.name),
                        );
                    }
                }
            }
            for hit in &case.hits {
                if !crate::cases::event_ids(case).any(|id| id == *hit) {
                    self.add(
                        at,
                        format!("case \"{}\" expects \"{hit}\", which no access of it is", case.name),
                    );
                }
            }
            for name in case.set.keys() {
                if !self.rule.params.contains_key(name) {
                    let what = unknown("parameter", name, self.rule.params.keys().map(String::as_str));
                    self.add(at, format!("case \"{}\": {what}", case.name));
                }
            }
        }
    }

    /// Plans the SQL over empty tables: what it reads must be there, what it gives must be what a finding needs.
    async fn sql(&mut self) -> Result<(), DataFusionError> {
        let rendered = match sql::render(&self.rule.sql, &self.rule.params, (0, 1)) {
            Ok(rendered) => rendered,
            Err(fault) => {
                let at = self.sql_byte(self.places.sql.start, fault.line, fault.column);
                self.add(at, fault.what);
                return Ok(());
            }
        };
        let empty = insyn_engine::session::in_memory(Tz::UTC, Vec::new(), &[])
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        let known = Rule {
            needs: self
                .rule
                .needs
                .iter()
                .filter(|t| desk::context_tables().any(|k| k == *t))
                .cloned()
                .collect(),
            needs_one_of: Vec::new(),
            evidence: Vec::new(),
            covered_by: None,
            ..self.rule.clone()
        };
        let desk = Desk::over(&empty, &[&known]).await?;
        // An explanation that leaned on explanations would lean on itself.
        if self.rule.explains.is_none() {
            crate::explain::lay(&[], &desk, (0, 1)).await.map_err(DataFusionError::Plan)?;
        }
        self.history(&desk).await;
        let plan = match desk.ctx.sql(&rendered.sql).await {
            Ok(frame) => frame,
            Err(error) => {
                self.add_planning(&error, &rendered, self.places.sql.start, &desk);
                return Ok(());
            }
        };
        if !sql::is_query(&rendered.sql) {
            self.add(self.places.sql.start, "found something else than one SELECT in sql".into());
            return Ok(());
        }
        let columns: Vec<String> = plan.schema().fields().iter().map(|f| f.name().clone()).collect();
        let own = self.rule.explains.iter().flat_map(|_| crate::explain::COLUMNS);
        let expected: Vec<&str> = hits::COLUMNS.iter().copied().chain(own).collect();
        let missing: Vec<&str> =
            expected.iter().copied().filter(|c| !columns.iter().any(|k| k == c)).collect();
        if !missing.is_empty() {
            self.add(
                self.places.sql.start,
                format!("the SQL gives no column {}, expected {}", missing.join(", "), expected.join(", ")),
            );
        }
        for (language, key, template) in
            [(Language::Sv, "why.sv", &self.rule.why.sv), (Language::En, "why.en", &self.rule.why.en)]
        {
            for (at, name) in sentence::placeholders(template) {
                if sentence::column(name, language, &columns).is_some() || self.rule.params.contains_key(name)
                {
                    continue;
                }
                let known: Vec<&str> = columns
                    .iter()
                    .map(String::as_str)
                    .chain(self.rule.params.keys().map(String::as_str))
                    .collect();
                let near = nearest(name, known).map(|n| format!("; nearest: {{{n}}}")).unwrap_or_default();
                let place = self.places.words.iter().find(|(k, _)| k == key).map_or(0, |(_, r)| r.start);
                let what = format!(
                    "{key} shows {{{name}}}, which is neither a column of the SQL nor a parameter{near}"
                );
                self.add(place + 1 + at, what);
            }
        }
        // The names are right; the types show only in a run, over no rows.
        if missing.is_empty()
            && let Err(error) = plan.collect().await
        {
            self.add(self.places.sql.start, plain(&error));
        }
        Ok(())
    }

    /// Each step of what it reads of the time before must give whose.
    async fn history(&mut self, desk: &Desk) {
        for (step, place) in self.rule.history.iter().zip(self.places.history.clone()) {
            let rendered = match sql::render(&step.of, &self.rule.params, (0, 1)) {
                Ok(rendered) => rendered,
                Err(fault) => {
                    let at = self.sql_byte(place.start, fault.line, fault.column);
                    self.add(at, fault.what);
                    continue;
                }
            };
            match desk.ctx.sql(&rendered.sql).await {
                Err(error) => self.add_planning(&error, &rendered, place.start, desk),
                Ok(plan) if !plan.schema().fields().iter().any(|field| field.name() == "actor_id") => {
                    self.add(place.start, "the SQL of a history gives no column actor_id".into());
                }
                Ok(_) => {}
            }
        }
    }

    fn add_planning(&mut self, error: &DataFusionError, rendered: &sql::Rendered, start: usize, desk: &Desk) {
        let (line, column, what) = explain(error, &rendered.sql, desk);
        let (line, column) = rendered.back(line, column);
        let at = self.sql_byte(start, line, column);
        self.add(at, what);
    }

    /// The byte of the file that a line and column of the SQL that begins at `start` are at.
    fn sql_byte(&self, start: usize, line: u64, column: u64) -> usize {
        let text = &self.places.text[start..];
        let quotes = text.chars().take_while(|c| *c == '\'' || *c == '"').count().min(3);
        let mut at = start + quotes;
        // TOML leaves out a line end right after the opening quotes.
        for end in ["\r\n", "\n"] {
            if quotes == 3 && self.places.text[at..].starts_with(end) {
                at += end.len();
                break;
            }
        }
        for _ in 1..line {
            match self.places.text[at..].find('\n') {
                Some(end) => at += end + 1,
                None => return at,
            }
        }
        let rest = self.places.text[at..].char_indices();
        rest.take(column.max(1) as usize).last().map_or(at, |(n, _)| at + n)
    }

    fn find(&self, text: &str) -> usize {
        self.places.text.find(text).unwrap_or(0)
    }
}

fn line_start(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}

/// Line, column and sentence of a planning error, from 1.
fn explain(error: &DataFusionError, sql: &str, desk: &Desk) -> (u64, u64, String) {
    let mut place = None;
    if let Some(span) = error.diagnostic().and_then(|d| d.span) {
        place = Some((span.start.line, span.start.column));
    }
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => {
            if let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref() {
                let near = nearest(&field.name, valid_fields.iter().map(|f| f.name.as_str()));
                let near = near.map(|n| format!("; nearest: \"{n}\"")).unwrap_or_default();
                let (line, column) = place.or_else(|| word(sql, &field.name)).unwrap_or((1, 1));
                return (line, column, format!("there is no column \"{}\"{near}", field.flat_name()));
            }
            let (line, column) = place.unwrap_or((1, 1));
            (line, column, plain(error))
        }
        root => {
            let message = root.message().into_owned();
            if let Some(name) = message.strip_prefix("table '").and_then(|m| m.split('\'').next()) {
                let name = name.rsplit('.').next().unwrap_or(name).to_owned();
                let tables = desk.tables();
                let near = nearest(&name, tables.iter().map(String::as_str))
                    .map(|n| format!("; nearest: \"{n}\""))
                    .unwrap_or_default();
                let (line, column) = word(sql, &name).or(place).unwrap_or((1, 1));
                return (line, column, format!("there is no table \"{name}\"{near}"));
            }
            let (line, column) = place.or_else(|| parser_place(&message)).unwrap_or((1, 1));
            (line, column, message.lines().next().unwrap_or_default().to_owned())
        }
    }
}

/// The parser says "… at Line: 3, Column: 5".
fn parser_place(message: &str) -> Option<(u64, u64)> {
    let (_, rest) = message.rsplit_once("Line: ")?;
    let (line, rest) = rest.split_once(", Column: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((line.parse().ok()?, digits.parse().ok()?))
}

/// Where a word first stands in the SQL.
fn word(sql: &str, name: &str) -> Option<(u64, u64)> {
    sql::word_at(sql, name)
}
