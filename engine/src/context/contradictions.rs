//! What tables say against themselves or each other. Such rows are loaded, counted, and told of by their lines: whoever
//! exports the tables can mend them, and no personal number need be shown for it.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::cells::Value;
use super::history::hash;
use super::tables::ContextTable;

/// So many lines of one kind are named.
const MOST_LINES: usize = 10;
/// So many rows of a table are compared with each other: what is more is only counted as such.
const MOST_COMPARED: usize = 4_000_000;
/// So far up a tree of units is looked for a circle.
const MOST_STEPS: usize = 64;

/// How rows contradict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contradicts {
    /// It ends before it starts: it never holds.
    EndBeforeStart,
    /// At one time the same thing is said to be two.
    Overlap,
    /// It names what the table that should have it does not have.
    UnknownId,
    /// What it leads to leads back to it.
    Circle,
    /// It was not compared with the others: they are too many.
    NotCompared,
}

/// Rows of a table that contradict others, or themselves, in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// How.
    pub what: Contradicts,
    /// In which columns.
    pub columns: String,
    /// Where what they name should be; none where nothing else is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_in: Option<String>,
    /// How many rows.
    pub rows: u64,
    /// Their lines in the file, the first ones of them; in Parquet: the rows, from 1.
    pub lines: Vec<u64>,
}

impl Contradiction {
    /// For the one who loads. Names lines, never a value.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Contradiction { columns, rows, .. } = self;
        let what = match self.what {
            Contradicts::EndBeforeStart => format!("whose {columns} is before its start"),
            Contradicts::Overlap => format!("that at the same time say something else of the same {columns}"),
            Contradicts::UnknownId => {
                let expected = self.expected_in.as_deref().unwrap_or_default();
                format!("whose {columns} is not in {expected}")
            }
            Contradicts::Circle => format!("whose {columns} leads back to themselves"),
            Contradicts::NotCompared => format!("were not compared by {columns}: they are too many"),
        };
        let lines: Vec<String> = self.lines.iter().map(u64::to_string).collect();
        let more = if self.rows > self.lines.len() as u64 { ", …" } else { "" };
        let rows = if *rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        format!("{rows} {what} (line {}{more})", lines.join(", "))
    }
}

/// Table, columns that name one thing, columns in which it can be only one (none: in all) at a time.
const ONE_AT_A_TIME: [(&str, &[&str], &[&str]); 6] = [
    ("units", &["care_unit_id"], &[]),
    ("staff", &["user_id"], &["person_id"]),
    ("subjects", &["subject_id"], &[]),
    ("accounts", &["source", "account_id"], &["user_id"]),
    ("identities", &["other_id"], &["subject_id"]),
    ("schedule", &["user_id"], &["care_unit_id"]),
];

/// Who or what ids are of, and where they are known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ids {
    Users,
    Persons,
    Units,
}

impl Ids {
    const ALL: [Ids; 3] = [Ids::Users, Ids::Persons, Ids::Units];

    /// The tables and columns that make an id known; the first of them must be there.
    fn from(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Ids::Users => &[("staff", "user_id"), ("accounts", "account_id")],
            Ids::Persons => &[("subjects", "subject_id"), ("identities", "other_id")],
            Ids::Units => &[("units", "care_unit_id")],
        }
    }
}

/// Table, column, whose ids it names.
const NAMES: [(&str, &str, Ids); 21] = [
    ("units", "parent_unit_id", Ids::Units),
    ("units", "manager_user_id", Ids::Users),
    ("units", "deputy_user_id", Ids::Users),
    ("accounts", "user_id", Ids::Users),
    ("identities", "subject_id", Ids::Persons),
    ("assignments", "user_id", Ids::Users),
    ("assignments", "care_unit_id", Ids::Units),
    ("watchlist", "subject_id", Ids::Persons),
    ("care_relations", "subject_id", Ids::Persons),
    ("care_relations", "care_unit_id", Ids::Units),
    ("care_relations", "user_id", Ids::Users),
    ("schedule", "user_id", Ids::Users),
    ("schedule", "care_unit_id", Ids::Units),
    ("kinship", "subject_id", Ids::Persons),
    ("kinship", "related_id", Ids::Persons),
    ("consents", "subject_id", Ids::Persons),
    ("consents", "care_unit_id", Ids::Units),
    ("blocks", "subject_id", Ids::Persons),
    ("blocks", "care_unit_id", Ids::Units),
    ("rights", "user_id", Ids::Users),
    ("places", "care_unit_id", Ids::Units),
];

/// The order in which tables are read, so that what others name is known by then.
pub(super) fn turn(table: &str) -> usize {
    let order = ["staff", "accounts", "subjects", "identities", "units"];
    order.iter().position(|name| *name == table).unwrap_or(order.len())
}

/// Ids that tables have made known so far, by whose they are.
#[derive(Debug, Default)]
pub(super) struct KnownIds(HashMap<Ids, HashSet<u64>>);

impl KnownIds {
    /// Of a folder that has these tables: without staff, say, nobody's id is unknown.
    pub(super) fn of(tables: &[&str]) -> KnownIds {
        let known = Ids::ALL.into_iter().filter(|ids| tables.contains(&ids.from()[0].0));
        KnownIds(known.map(|ids| (ids, HashSet::new())).collect())
    }
}

/// One table's rows on their way in.
pub(super) struct Checks {
    ids: KnownIds,
    makes_known: Vec<(usize, Ids)>,
    names: Vec<(usize, Ids)>,
    /// Columns of starts and ends.
    periods: Vec<(usize, usize)>,
    one: Option<One>,
    units: Tree,
    /// Ids that were not known when they were named, and that the table itself may make known: column, id, line.
    later: Vec<(usize, Ids, u64, u64)>,
    found: BTreeMap<(Contradicts, usize), (u64, Vec<u64>)>,
    table: &'static ContextTable,
}

/// What can be only one at a time.
struct One {
    key: Vec<usize>,
    differs: Vec<usize>,
    /// Where it says from when to when.
    period: (Option<usize>, Option<usize>),
    rows: Vec<Spell>,
}

/// From when to when a thing is said to be something, and on which line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spell {
    key: u64,
    from: i64,
    line: u64,
    to: i64,
    what: u64,
}

/// Units and those above them, with the line that says so.
#[derive(Default)]
struct Tree {
    unit: Option<usize>,
    parent: Option<usize>,
    above: HashMap<u64, (u64, u64)>,
}

impl Checks {
    pub(super) fn of(table: &'static ContextTable, ids: KnownIds) -> Checks {
        let at = |name: &str| table.columns.iter().position(|column| column.name == name);
        let all = |names: &[&str]| names.iter().filter_map(|name| at(name)).collect::<Vec<_>>();
        let own = table.name;
        let makes = |ids: Ids| ids.from().iter().filter(move |(name, _)| *name == own);
        let makes_known =
            Ids::ALL.into_iter().flat_map(|ids| makes(ids).map(move |(_, column)| (*column, ids)));
        let names = NAMES.iter().filter(|(name, _, of)| *name == table.name && ids.0.contains_key(of));
        let mut periods = Vec::new();
        for (from, to) in [table.period, ("valid_from", "valid_to")] {
            if let (Some(from), Some(to)) = (at(from), at(to))
                && !periods.contains(&(from, to))
            {
                periods.push((from, to));
            }
        }
        let one = ONE_AT_A_TIME.iter().find(|(name, ..)| *name == table.name);
        let is_tree = table.name == "units";
        Checks {
            makes_known: makes_known.filter_map(|(column, ids)| Some((at(column)?, ids))).collect(),
            names: names.filter_map(|(_, column, ids)| Some((at(column)?, *ids))).collect(),
            periods,
            one: one.map(|(_, key, differs)| One {
                key: all(key),
                differs: if differs.is_empty() { (0..table.columns.len()).collect() } else { all(differs) },
                period: match table.name {
                    "schedule" => (at("starts_at"), at("ends_at")),
                    // A later statement takes the place of an earlier one.
                    "identities" => (at("valid_from"), at("valid_from")),
                    _ => (at("valid_from"), at("valid_to")),
                },
                rows: Vec::new(),
            }),
            units: Tree {
                unit: at("care_unit_id").filter(|_| is_tree),
                parent: at("parent_unit_id").filter(|_| is_tree),
                above: HashMap::new(),
            },
            later: Vec::new(),
            found: BTreeMap::new(),
            ids,
            table,
        }
    }

    pub(super) fn row(&mut self, line: u64, values: &[Value]) {
        for n in 0..self.periods.len() {
            let (from, to) = self.periods[n];
            if let (Value::Time(from), Value::Time(end)) = (&values[from], &values[to])
                && end < from
            {
                self.note(Contradicts::EndBeforeStart, to, line);
            }
        }
        for (column, of) in &self.makes_known {
            if let (Some(id), Some(known)) = (id(&values[*column]), self.ids.0.get_mut(of)) {
                known.insert(id);
            }
        }
        for n in 0..self.names.len() {
            let (column, of) = self.names[n];
            let Some(id) = id(&values[column]) else { continue };
            if self.ids.0.get(&of).is_some_and(|known| known.contains(&id)) {
                continue;
            }
            match self.makes_known.iter().any(|(_, makes)| *makes == of) {
                true => self.later.push((column, of, id, line)),
                false => self.note(Contradicts::UnknownId, column, line),
            }
        }
        self.units.row(line, values);
        self.compare(line, values);
    }

    fn compare(&mut self, line: u64, values: &[Value]) {
        let Some(one) = &mut self.one else { return };
        let is_shift = |column: &super::tables::ContextColumn, value: &Value| {
            column.name != "kind"
                || matches!(value, Value::Text(kind) if kind == "shift")
                || *value == Value::Null
        };
        // Who is on call, or away, may be planned elsewhere too.
        let counts = self.table.name != "schedule"
            || self.table.columns.iter().zip(values).all(|(column, value)| is_shift(column, value));
        if !counts {
            return;
        }
        if one.rows.len() >= MOST_COMPARED {
            let first = one.key.first().copied().unwrap_or_default();
            return self.note(Contradicts::NotCompared, first, line);
        }
        let time = |column: Option<usize>, open: i64| match column.map(|column| &values[column]) {
            Some(Value::Time(at)) => *at,
            _ => open,
        };
        let (from, to) = one.period;
        let from_at = time(from, i64::MIN);
        let spell = Spell {
            key: joint(&one.key, values),
            from: from_at,
            line,
            to: if from == to { from_at } else { time(to, i64::MAX) },
            what: joint(&one.differs, values),
        };
        // What ends before it starts never holds.
        if spell.from <= spell.to {
            one.rows.push(spell);
        }
    }

    fn note(&mut self, what: Contradicts, column: usize, line: u64) {
        let (rows, lines) = self.found.entry((what, column)).or_default();
        *rows += 1;
        if lines.len() < MOST_LINES {
            lines.push(line);
        }
    }

    /// What was found, and the ids that are known from now on.
    pub(super) fn done(mut self) -> (Vec<Contradiction>, KnownIds) {
        for (column, of, id, line) in std::mem::take(&mut self.later) {
            if !self.ids.0.get(&of).is_some_and(|known| known.contains(&id)) {
                self.note(Contradicts::UnknownId, column, line);
            }
        }
        if let Some(one) = self.one.take() {
            let column = one.key.last().copied().unwrap_or_default();
            for line in overlapping(one.rows) {
                self.note(Contradicts::Overlap, column, line);
            }
        }
        if let Some(column) = self.units.parent {
            for line in self.units.circles() {
                self.note(Contradicts::Circle, column, line);
            }
        }
        let found = std::mem::take(&mut self.found);
        let found = found.into_iter().map(|((what, column), (rows, lines))| {
            let name = self.table.columns.get(column).map_or("", |column| column.name);
            Contradiction {
                what,
                columns: self.columns(what, name),
                expected_in: self.expected(what, column),
                rows,
                lines,
            }
        });
        (found.collect(), self.ids)
    }

    fn columns(&self, what: Contradicts, name: &str) -> String {
        let one = ONE_AT_A_TIME.iter().find(|(table, ..)| *table == self.table.name);
        match (what, one) {
            (Contradicts::Overlap | Contradicts::NotCompared, Some((_, key, _))) => key.join(", "),
            _ => name.to_owned(),
        }
    }

    fn expected(&self, what: Contradicts, column: usize) -> Option<String> {
        let (_, ids) = self.names.iter().find(|(named, _)| *named == column)?;
        let tables: Vec<&str> = ids.from().iter().map(|(table, _)| *table).collect();
        (what == Contradicts::UnknownId).then(|| tables.join(" or "))
    }
}

impl Tree {
    fn row(&mut self, line: u64, values: &[Value]) {
        let (Some(unit), Some(parent)) = (self.unit, self.parent) else { return };
        if let (Some(unit), Some(parent)) = (id(&values[unit]), id(&values[parent]))
            && unit != parent
        {
            self.above.insert(unit, (parent, line));
        }
    }

    /// The lines of units that are above themselves.
    fn circles(&self) -> Vec<u64> {
        let is_in_one = |unit: &u64| {
            let steps = std::iter::successors(self.above.get(unit), |(above, _)| self.above.get(above));
            steps.take(MOST_STEPS).any(|(above, _)| above == unit)
        };
        let mut lines: Vec<u64> =
            self.above.iter().filter(|(unit, _)| is_in_one(unit)).map(|(_, (_, line))| *line).collect();
        lines.sort_unstable();
        lines
    }
}

/// The lines that say something else of a thing than an earlier one does, of the same time.
fn overlapping(mut rows: Vec<Spell>) -> Vec<u64> {
    rows.sort_unstable();
    let mut lines = Vec::new();
    // Of the same thing: what lasts longest so far, and what lasts longest of anything else.
    let mut longest: [Option<Spell>; 2] = [None, None];
    for spell in rows {
        if longest[0].is_some_and(|known| known.key != spell.key) {
            longest = [None, None];
        }
        let at_once = |known: &Spell| known.to > spell.from || known.from == spell.from;
        if longest.iter().flatten().any(|known| known.what != spell.what && at_once(known)) {
            lines.push(spell.line);
        }
        // Of two that last as long the later one stays: it may begin with what comes.
        match longest {
            [Some(first), _] if first.what == spell.what => {
                if spell.to >= first.to {
                    longest[0] = Some(spell);
                }
            }
            [Some(first), _] if spell.to >= first.to => longest = [Some(spell), Some(first)],
            [Some(_), Some(second)] if spell.to < second.to => {}
            [Some(first), _] => longest = [Some(first), Some(spell)],
            [None, _] => longest = [Some(spell), None],
        }
    }
    lines.sort_unstable();
    lines
}

fn id(value: &Value) -> Option<u64> {
    match value {
        Value::Text(text) => Some(hash(0, text.as_bytes())),
        _ => None,
    }
}

fn joint(columns: &[usize], values: &[Value]) -> u64 {
    let mut bytes = Vec::new();
    for column in columns {
        // Lengths keep the values apart.
        let text = match &values[*column] {
            Value::Null => String::new(),
            Value::Text(text) => format!("={text}"),
            other => format!("{other:?}"),
        };
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    hash(0, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair of rows of one thing.
    fn by_pairs(rows: &[Spell]) -> Vec<u64> {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        let mut lines: Vec<u64> = Vec::new();
        for (n, spell) in sorted.iter().enumerate() {
            let clashes = |known: &&Spell| {
                let at_once = known.to > spell.from || known.from == spell.from;
                known.key == spell.key && known.what != spell.what && at_once
            };
            if sorted[..n].iter().any(|known| clashes(&known)) {
                lines.push(spell.line);
            }
        }
        lines.sort_unstable();
        lines
    }

    proptest::proptest! {
        #[test]
        fn what_overlaps_is_what_each_pair_says(
            rows in proptest::collection::vec((0..3u64, 0..12i64, 0..6i64, 0..3u64), 0..40)
        ) {
            let spell = |(line, (key, from, length, what)): (usize, &(u64, i64, i64, u64))| Spell {
                key: *key,
                from: *from,
                line: line as u64,
                to: from + length,
                what: *what,
            };
            let rows: Vec<Spell> = rows.iter().enumerate().map(spell).collect();
            proptest::prop_assert_eq!(overlapping(rows.clone()), by_pairs(&rows));
        }
    }
}
