//! The context tables, as data: names are those of Insyn's interface description.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What a column of a context table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text as written.
    Text,
    /// A personal number, kept in the form that the events have.
    Person,
    /// An instant; a date stands for its local midnight.
    Time,
    /// An instant that ends a period; a date includes its whole day.
    End,
    /// A calendar date.
    Date,
    /// True or false.
    Flag,
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct ContextColumn {
    /// Its name in the file's header.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether the header must have it.
    pub required: bool,
    /// Whether every row must have a value.
    pub filled: bool,
}

/// Of rows that state no period: which of them hold before the load that first had them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// All: what is entered late was so before, as who is whose child.
    All,
    /// The first that is said of whatever these columns name: what was so before, nobody has said.
    FirstOf(&'static [&'static str]),
    /// None: what somebody decided holds from when it is known.
    Nothing,
}

/// One table.
#[derive(Debug)]
pub struct ContextTable {
    /// Its name, and its file's without the ending.
    pub name: &'static str,
    /// Required columns, then optional ones, then `valid_from` and `valid_to` where they are not among those.
    pub columns: Vec<ContextColumn>,
    /// The columns that say which period a row is about.
    pub period: (&'static str, &'static str),
    pub(crate) before: Before,
    /// Columns that tell of a day, whenever they were filled in: an older row of the same thing has what the newest says.
    pub(crate) facts: &'static [&'static str],
    schema: SchemaRef,
}

impl ContextTable {
    /// The table's columns as a session shows them.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Where the columns stand that say when a row holds. Employment is no such period: it is told of a person whose
    /// name and address are another matter.
    pub(crate) fn dated_by(&self) -> Vec<usize> {
        let period = if self.name == "staff" { ("valid_from", "valid_to") } else { self.period };
        let names = [period.0, period.1, "valid_from", "valid_to"];
        (0..self.columns.len()).filter(|i| names.contains(&self.columns[*i].name)).collect()
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&ContextColumn> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Table, required columns (`!`: every row has a value), optional columns.
const DEFINITIONS: [(&str, &str, &str); 14] = [
    (
        "units",
        "care_unit_id! name care_provider_id care_provider_name",
        "parent_unit_id manager_user_id deputy_user_id controller_id",
    ),
    (
        "staff",
        "user_id! person_id name title address postcode employed_from employed_to",
        "employer protected_identity",
    ),
    ("accounts", "source account_id! user_id! valid_from valid_to", ""),
    ("identities", "subject_id! other_id! other_id_type valid_from", ""),
    ("assignments", "user_id! care_unit_id role valid_from valid_to", "purpose"),
    (
        "subjects",
        "subject_id! name address postcode protected_identity public_figure deceased_on",
        "protection_kind",
    ),
    ("watchlist", "subject_id! reason decided_by valid_from valid_to", ""),
    ("care_relations", "subject_id! care_unit_id user_id kind valid_from valid_to", "created_by created_at"),
    ("schedule", "user_id! care_unit_id starts_at! ends_at", "kind"),
    ("kinship", "subject_id! related_id! kind valid_from valid_to", ""),
    (
        "consents",
        "subject_id! care_unit_id care_provider_id kind valid_from valid_to",
        "against_id given_by created_by created_at lifted_by lifted_at",
    ),
    (
        "blocks",
        "subject_id! care_unit_id care_provider_id kind valid_from valid_to",
        "against_id given_by created_by created_at lifted_by lifted_at",
    ),
    ("rights", "user_id! source right care_unit_id valid_from valid_to", ""),
    ("places", "address_range! care_unit_id", ""),
];

/// Every context table.
pub static TABLES: LazyLock<Vec<ContextTable>> = LazyLock::new(|| DEFINITIONS.iter().map(define).collect());

/// The table of that name.
pub fn table(name: &str) -> Option<&'static ContextTable> {
    TABLES.iter().find(|t| t.name == name)
}

fn define((name, required, optional): &(&'static str, &'static str, &'static str)) -> ContextTable {
    let required = required.split_whitespace().map(|c| column(c, true));
    let optional = optional.split_whitespace().map(|c| column(c, false));
    let mut columns: Vec<ContextColumn> = required.chain(optional).collect();
    for name in ["valid_from", "valid_to"] {
        if !columns.iter().any(|c| c.name == name) {
            columns.push(column(name, false));
        }
    }
    let fields = columns.iter().map(|c| Field::new(c.name, data_type(c.kind), true)).collect::<Vec<_>>();
    let (before, facts): (Before, &'static [&'static str]) = match *name {
        "units" => (Before::FirstOf(&["care_unit_id"]), &[]),
        "staff" => (Before::FirstOf(&["user_id", "employed_from"]), &["employed_to"]),
        "subjects" => (Before::FirstOf(&["subject_id"]), &["deceased_on"]),
        "accounts" => (Before::FirstOf(&["source", "account_id"]), &[]),
        "assignments" | "rights" => (Before::FirstOf(&["user_id"]), &[]),
        "places" => (Before::FirstOf(&["address_range"]), &[]),
        "watchlist" | "consents" | "blocks" => (Before::Nothing, &[]),
        _ => (Before::All, &[]),
    };
    let period = match *name {
        "schedule" => ("starts_at", "ends_at"),
        "staff" => ("employed_from", "employed_to"),
        _ => ("valid_from", "valid_to"),
    };
    ContextTable { name, columns, period, before, facts, schema: Arc::new(Schema::new(fields)) }
}

fn column(written: &'static str, required: bool) -> ContextColumn {
    let name = written.trim_end_matches('!');
    let kind = match name {
        "subject_id" | "person_id" | "other_id" | "related_id" => Kind::Person,
        "valid_from" | "employed_from" | "starts_at" | "created_at" | "lifted_at" => Kind::Time,
        "valid_to" | "employed_to" | "ends_at" => Kind::End,
        "deceased_on" => Kind::Date,
        "protected_identity" | "public_figure" => Kind::Flag,
        _ => Kind::Text,
    };
    ContextColumn { name, kind, required, filled: written.ends_with('!') }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text | Kind::Person => DataType::Utf8,
        Kind::Time | Kind::End => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Date => DataType::Date32,
        Kind::Flag => DataType::Boolean,
    }
}
