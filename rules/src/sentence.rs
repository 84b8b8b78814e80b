//! Sentences of a finding: templates with `{column}`, and the words that none of them may use.

use crate::rule::{ParamValue, Rule, Text};

/// Judgements that belong to people: no text of a rule may hold them.
const JUDGEMENTS: &[&str] = &[
    "olaglig",
    "olovlig",
    "otillåt",
    "otillat",
    "illegal",
    "unlawful",
    "brott",
    "brottslig",
    "dataintrång",
    "dataintrang",
    "obehörig",
    "unauthori",
    "crime",
    "criminal",
    "offence",
    "offense",
    "guilty",
    "skyldig till",
    "snokning",
    "snoop",
    "snok",
    "missbruk",
    "misuse",
];

/// What a run itself can say, besides columns and parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Sv,
    En,
}

impl Language {
    fn suffix(self) -> &'static str {
        match self {
            Language::Sv => "_sv",
            Language::En => "_en",
        }
    }
}

/// The first word in `text` that passes judgement.
pub(crate) fn judgement(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    JUDGEMENTS.iter().copied().find(|word| lower.contains(word))
}

/// The names within braces, each with its place in bytes.
pub(crate) fn placeholders(template: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = template[at..].find('{') {
        let start = at + open + 1;
        let Some(length) = template[start..].find('}') else { break };
        found.push((start, &template[start..start + length]));
        at = start + length + 1;
    }
    found
}

/// The column that `{name}` shows in a language, when there is one: `name`, else `name_sv` or `name_en`.
pub(crate) fn column(name: &str, language: Language, columns: &[String]) -> Option<usize> {
    let own = format!("{name}{}", language.suffix());
    columns.iter().position(|c| *c == own).or_else(|| columns.iter().position(|c| c == name))
}

/// A parameter's value as a sentence shows it.
pub(crate) fn shown(value: &ParamValue, language: Language) -> String {
    match (value, language) {
        (ParamValue::Duration(d), Language::Sv) => d.sv(),
        (ParamValue::Duration(d), Language::En) => d.en(),
        (other, _) => other.to_string(),
    }
}

/// A rule's template cut up once, to be filled for each hit.
pub(crate) struct Template {
    parts: Vec<Part>,
}

enum Part {
    Fixed(String),
    Column(usize),
}

impl Template {
    /// Compiles `text`; a name that nothing answers to is shown as it stands, since lint speaks of it.
    pub fn compile(text: &str, language: Language, rule: &Rule, columns: &[String]) -> Template {
        let mut parts = Vec::new();
        let mut from = 0;
        for (start, name) in placeholders(text) {
            parts.push(Part::Fixed(text[from..start - 1].to_owned()));
            from = start + name.len() + 1;
            parts.push(match (column(name, language, columns), rule.params.get(name)) {
                (Some(column), _) => Part::Column(column),
                (None, Some(param)) => Part::Fixed(shown(&param.value, language)),
                (None, None) => Part::Fixed(format!("{{{name}}}")),
            });
        }
        parts.push(Part::Fixed(text[from..].to_owned()));
        Template { parts }
    }

    /// The sentence of a row; `value` gives a column's text.
    pub fn fill(&self, value: impl Fn(usize) -> String) -> String {
        let text: String = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Fixed(text) => text.clone(),
                Part::Column(column) => value(*column),
            })
            .collect();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// "3 öppningar vid 2 skilda tillfällen.": how much there was, which is what courts count.
pub(crate) fn amount(events: u64, visits: u64) -> Text {
    let (o, t) = (
        if events == 1 { "åtkomst" } else { "åtkomster" },
        if visits == 1 { "tillfälle" } else { "skilda tillfällen" },
    );
    let (a, v) = (
        if events == 1 { "access" } else { "accesses" },
        if visits == 1 { "occasion" } else { "separate occasions" },
    );
    Text { sv: format!("{events} {o} vid {visits} {t}."), en: format!("{events} {a} on {visits} {v}.") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn judgements_are_found_in_any_form() {
        assert_eq!(judgement("En OLAGLIG öppning"), Some("olaglig"));
        assert_eq!(judgement("An unauthorised look"), Some("unauthori"));
        assert_eq!(judgement("Ingen registrerad vårdrelation"), None);
    }

    #[test]
    fn placeholders_are_found_with_their_places() {
        assert_eq!(placeholders("a {b} c {dd}{e"), vec![(3, "b"), (9, "dd")]);
        assert_eq!(placeholders(""), vec![]);
    }

    #[test]
    fn columns_go_by_language() {
        let columns = ["unit".to_owned(), "relation_sv".to_owned(), "relation_en".to_owned()];
        assert_eq!(column("relation", Language::Sv, &columns), Some(1));
        assert_eq!(column("relation", Language::En, &columns), Some(2));
        assert_eq!(column("unit", Language::En, &columns), Some(0));
        assert_eq!(column("other", Language::En, &columns), None);
    }
}
