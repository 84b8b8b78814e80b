//! From a rule's SQL to SQL that can be planned: parameters become typed literals, never text pasted inside text.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::pack::unknown;
use crate::rule::{Param, ParamValue};

/// SQL with literals, and how to get back to the columns of the file.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub sql: String,
    /// (line, column after the literal, by how much the line had grown), from 1.
    shifts: Vec<(u64, u64, i64)>,
}

/// A fault in the SQL, at a line and column of the SQL as the file has it, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub line: u64,
    pub column: u64,
    pub what: String,
}

impl Rendered {
    /// The place in the file's SQL of a place in the rendered SQL.
    pub fn back(&self, line: u64, column: u64) -> (u64, u64) {
        let grown = self
            .shifts
            .iter()
            .filter(|(l, after, _)| *l == line && *after <= column)
            .map(|s| s.2)
            .next_back();
        (line, column.saturating_add_signed(-grown.unwrap_or(0)))
    }
}

/// Puts `params` and the run's own `$period_from`, `$period_to` (µs UTC) in place of their names.
pub(crate) fn render(
    sql: &str,
    params: &BTreeMap<String, Param>,
    period: (i64, i64),
) -> Result<Rendered, Fault> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|e| Fault {
        line: e.location.line,
        column: e.location.column,
        what: e.message,
    })?;
    let mut lines: Vec<String> = sql.split('\n').map(str::to_owned).collect();
    let mut shifts = Vec::new();
    let mut grown: BTreeMap<u64, i64> = BTreeMap::new();
    for token in tokens {
        let Token::Placeholder(name) = &token.token else { continue };
        let (line, column) = (token.span.start.line, token.span.start.column);
        let bare = name.trim_start_matches('$');
        let literal = match (bare, params.get(bare)) {
            ("period_from", _) => timestamp(period.0),
            ("period_to", _) => timestamp(period.1),
            (_, Some(param)) => literal(&param.value),
            (_, None) => {
                let known = params.keys().map(String::as_str).chain(["period_from", "period_to"]);
                return Err(Fault { line, column, what: unknown("parameter", bare, known) });
            }
        };
        let Some(text) = lines.get_mut(line as usize - 1) else { continue };
        let before = grown.entry(line).or_default();
        let from = (column as i64 - 1 + *before) as usize;
        let length = name.chars().count();
        let head: String = text.chars().take(from).collect();
        let tail: String = text.chars().skip(from + length).collect();
        *before += literal.chars().count() as i64 - length as i64;
        *text = format!("{head}{literal}{tail}");
        shifts.push((line, (from + literal.chars().count() + 1) as u64, *before));
    }
    Ok(Rendered { sql: lines.join("\n"), shifts })
}

/// The words of the SQL that could be names of columns or tables, lower case.
pub(crate) fn words(sql: &str) -> Vec<String> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default();
    tokens
        .into_iter()
        .filter_map(|t| if let Token::Word(w) = t { Some(w.value.to_lowercase()) } else { None })
        .collect()
}

/// The names of all `$placeholders`.
pub(crate) fn placeholders(sql: &str) -> BTreeSet<String> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default();
    let names =
        tokens.into_iter().filter_map(|t| if let Token::Placeholder(name) = t { Some(name) } else { None });
    names.map(|name| name.trim_start_matches('$').to_owned()).collect()
}

/// Line and column, from 1, of the first word `name` of the SQL.
pub(crate) fn word_at(sql: &str, name: &str) -> Option<(u64, u64)> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    let found =
        tokens.iter().find(|t| matches!(&t.token, Token::Word(w) if w.value.eq_ignore_ascii_case(name)))?;
    Some((found.span.start.line, found.span.start.column))
}

/// Whether the SQL is one query and nothing else.
pub(crate) fn is_query(sql: &str) -> bool {
    let statements = Parser::parse_sql(&GenericDialect {}, sql).unwrap_or_default();
    matches!(statements.as_slice(), [Statement::Query(_)])
}

fn literal(value: &ParamValue) -> String {
    match value {
        ParamValue::Flag(flag) => if *flag { "TRUE" } else { "FALSE" }.to_owned(),
        ParamValue::Integer(n) => format!("({n})"),
        ParamValue::Number(n) => format!("({n:?})"),
        // Whole days as days, so that a date can be moved by them; in UTC a day is 24 hours.
        ParamValue::Duration(d) if d.minutes % 1440 == 0 => format!("INTERVAL '{} days'", d.minutes / 1440),
        ParamValue::Duration(d) => format!("INTERVAL '{} minutes'", d.minutes),
        ParamValue::Text(text) => quoted(text),
        // An empty list must still be SQL, and no column holds this.
        ParamValue::Texts(texts) if texts.is_empty() => "('')".to_owned(),
        ParamValue::Texts(texts) => {
            format!("({})", list(texts.iter().map(String::as_str)))
        }
    }
}

pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Texts as SQL lists them.
pub(crate) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

pub(crate) fn timestamp(micros: i64) -> String {
    format!("arrow_cast({micros}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::rule::{Duration, Text};

    fn params() -> BTreeMap<String, Param> {
        let param = |value: ParamValue| Param {
            default: value.clone(),
            value,
            min: None,
            max: None,
            about: Text::default(),
        };
        BTreeMap::from([
            ("days".to_owned(), param(ParamValue::Duration(Duration::parse("2 days").unwrap()))),
            ("n".to_owned(), param(ParamValue::Integer(-3))),
            ("word".to_owned(), param(ParamValue::Text("O'Hara'); drop table x; --".to_owned()))),
            ("list".to_owned(), param(ParamValue::Texts(vec!["a".into(), "b'".into()]))),
        ])
    }

    #[test]
    fn parameters_become_literals_outside_strings_and_comments_only() {
        let sql = "select '$n' as å, $n -- $days\nwhere x in $list and y = $word and t > u - $days";
        let rendered = render(sql, &params(), (0, 0)).unwrap();
        assert_eq!(
            rendered.sql,
            "select '$n' as å, (-3) -- $days\nwhere x in ('a', 'b''') and y = 'O''Hara''); drop table x; --' and t > u - INTERVAL '2 days'"
        );
    }

    #[test]
    fn a_place_in_the_rendered_sql_is_a_place_in_the_file() {
        let sql = "select $word, $n, here";
        let rendered = render(sql, &params(), (0, 0)).unwrap();
        let column = rendered.sql.find("here").unwrap() as u64 + 1;
        assert_eq!(rendered.back(1, column), (1, sql.find("here").unwrap() as u64 + 1));
        assert_eq!(rendered.back(1, 3), (1, 3));
    }

    #[test]
    fn an_unknown_parameter_names_the_nearest() {
        let fault = render("select 1\n where $dys", &params(), (0, 0)).unwrap_err();
        assert_eq!((fault.line, fault.column), (2, 8));
        assert!(fault.what.contains("nearest: \"days\""), "{}", fault.what);
    }
}
