//! The context tables as tables for the query engine: as a load has them, over time, and at one instant.
//!
//! `<table>_over_time` has every row that ever held, with from when to when it does. A row that states a period holds as it
//! says, by the newest known load: what is entered late counts. A row that states none holds while loads have it; which
//! of those hold before a load first had them too is the table's own matter ([`Before`](super::tables::Before)).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{ParamValues, ScalarValue, TableReference};
use datafusion::datasource::{TableProvider, ViewTable};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::Sight;
use super::history::{self, COUNTS_BEFORE, KNOWN_FROM, KNOWN_TO};
use super::tables::{Before, ContextTable, TABLES};
use crate::lake::{Bounds, Columns, LakeFile};
use crate::provider::LakeTable;

/// What the table of a name is called over time.
#[must_use]
pub fn over_time(table: &str) -> String {
    format!("{table}_over_time")
}

/// Every context table, by name, as it is and over time.
pub(crate) type Tables = Vec<(String, Arc<dyn TableProvider>)>;

/// The tables of what is known, in files of the store at `url`.
pub(crate) async fn tables(
    sight: Option<&Sight>,
    as_of: Option<i64>,
    environment: &Arc<RuntimeEnv>,
    url: &ObjectStoreUrl,
) -> Result<Tables> {
    let planner = planner(environment);
    let mut tables = Tables::new();
    for table in TABLES.iter() {
        let (now, all) = of_table(table, sight, as_of, &planner, url).await?;
        tables.push((table.name.to_owned(), now));
        tables.push((over_time(table.name), all));
    }
    Ok(tables)
}

/// Every row of a table over time, with these columns; all where none are named.
pub(crate) async fn rows(
    tables: &Tables,
    table: &str,
    columns: &[&str],
    environment: &Arc<RuntimeEnv>,
) -> Result<Vec<RecordBatch>> {
    let name = over_time(table);
    let Some((_, provider)) = tables.iter().find(|(known, _)| *known == name) else { return Ok(Vec::new()) };
    let rows = planner(environment).read_table(Arc::clone(provider))?;
    match columns.is_empty() {
        true => rows.collect().await,
        false => rows.select_columns(columns)?.collect().await,
    }
}

fn planner(environment: &Arc<RuntimeEnv>) -> SessionContext {
    let mut config = SessionConfig::new().with_information_schema(false);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    SessionContext::new_with_config_rt(config, Arc::clone(environment))
}

async fn of_table(
    table: &'static ContextTable,
    sight: Option<&Sight>,
    as_of: Option<i64>,
    planner: &SessionContext,
    url: &ObjectStoreUrl,
) -> Result<(Arc<dyn TableProvider>, Arc<dyn TableProvider>)> {
    let files = Files::of(table, sight);
    let lake = |schema: SchemaRef, files: &[Arc<LakeFile>]| -> Arc<dyn TableProvider> {
        Arc::new(LakeTable::new(schema, &[], url.clone(), files))
    };
    if files.now.is_empty() && files.gone.is_empty() {
        let empty = lake(table.schema(), &[]);
        return Ok((Arc::clone(&empty), empty));
    }
    // Under the table's own name, since columns are followed by it to whom they show.
    let gone = format!("{}_gone", table.name);
    planner
        .register_table(TableReference::bare(table.name), lake(history::kept_schema(table), &files.now))?;
    planner.register_table(
        TableReference::bare(gone.as_str()),
        lake(history::gone_schema(table), &files.gone),
    )?;
    let sql = Sql { table, at: sight.and_then(|sight| sight.at), has_gone: !files.gone.is_empty() };
    let view = |query: String| view(planner, query, sql.at, as_of);
    let all = view(sql.over_time()).await?;
    let now = match (as_of, sql.at) {
        (None, None) => lake(table.schema(), &files.now),
        (None, Some(_)) => view(sql.known()).await?,
        (Some(_), _) => view(sql.held()).await?,
    };
    planner.deregister_table(TableReference::bare(table.name))?;
    planner.deregister_table(TableReference::bare(gone.as_str()))?;
    Ok((now, all))
}

async fn view(
    planner: &SessionContext,
    query: String,
    known: Option<i64>,
    as_of: Option<i64>,
) -> Result<Arc<dyn TableProvider>> {
    let time = |at: Option<i64>| ScalarValue::TimestampMicrosecond(at, Some("UTC".into()));
    let instants = vec![("known", time(known)), ("as_of", time(as_of))];
    let plan = planner.state().create_logical_plan(&query).await?;
    let plan = plan.with_param_values(ParamValues::from(instants))?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

struct Files {
    now: Vec<Arc<LakeFile>>,
    gone: Vec<Arc<LakeFile>>,
}

impl Files {
    fn of(table: &ContextTable, sight: Option<&Sight>) -> Files {
        let Some(sight) = sight else { return Files { now: Vec::new(), gone: Vec::new() } };
        let now =
            sight.files.table(table.name).map(|of| (sight.files.path(of).to_string(), of.size, of.rows));
        // What was gone before the instant holds over time all the same.
        let gone = sight.files.gone(table.name).iter().map(|of| (of.path.clone(), of.size, of.rows));
        Files { now: now.into_iter().map(file).collect(), gone: gone.map(file).collect() }
    }
}

fn file((path, size, rows): (String, u64, u64)) -> Arc<LakeFile> {
    Arc::new(LakeFile {
        path,
        size,
        rows,
        year: None,
        subject_id: Bounds::default(),
        occurred_at: Bounds::default(),
        user_id: Bounds::default(),
        source: None,
        sequence: None,
        empty: Columns::default(),
    })
}

/// The questions whose answers the tables are: `$known` and `$as_of` are instants.
struct Sql {
    table: &'static ContextTable,
    /// Known then, µs UTC.
    at: Option<i64>,
    has_gone: bool,
}

impl Sql {
    /// The rows of the newest known load.
    fn known(&self) -> String {
        let columns = self.columns(quoted);
        let name = self.table.name;
        let mut query = format!("select {columns} from {name} where {}", self.known_from());
        if self.at.is_some() && self.has_gone {
            let known_from = self.known_from();
            query += &format!(
                " union all select {columns} from {name}_gone where {known_from} and {KNOWN_TO} > $known"
            );
        }
        query
    }

    /// Those that held at `$as_of`.
    fn held(&self) -> String {
        let (from, to) =
            if self.table.name == "staff" { ("valid_from", "valid_to") } else { self.table.period };
        format!(
            "select * from ({}) r where ({from} is null or {from} <= $as_of) and ({to} is null or {to} >= $as_of)",
            self.over_time()
        )
    }

    /// Every row that ever held.
    fn over_time(&self) -> String {
        let name = self.table.name;
        let mut query = format!(
            "select {} from {name} where {}",
            self.columns(|column| match column {
                "valid_from" => self.valid_from(),
                other => quoted(other),
            }),
            self.known_from()
        );
        if self.has_gone {
            let rows = format!(
                "select {}, {KNOWN_TO} from {name}_gone where {} and ({} or {})",
                self.columns(|column| match column {
                    "valid_from" => self.valid_from(),
                    "valid_to" => self.valid_to(),
                    other => quoted(other),
                }),
                self.known_from(),
                self.is_undated(),
                match self.at {
                    Some(_) => format!("{KNOWN_TO} > $known"),
                    None => "false".to_owned(),
                },
            );
            query += &format!(" union all {}", self.with_facts(&rows));
        }
        query
    }

    /// Rows that are gone, with the days that the newest rows of the same thing tell of.
    fn with_facts(&self, rows: &str) -> String {
        let key = match self.table.before {
            Before::FirstOf(key) if !self.table.facts.is_empty() => key,
            _ => return format!("select {} from ({rows}) g", self.columns(quoted)),
        };
        let name = self.table.name;
        let keys = |of: &str| key.iter().map(|column| never_null(of, column)).collect::<Vec<_>>();
        let named: Vec<String> =
            keys("r").iter().enumerate().map(|(n, key)| format!("{key} as k{n}")).collect();
        let groups: Vec<String> = (0..key.len()).map(|n| format!("k{n}")).collect();
        let facts: Vec<String> = self
            .table
            .facts
            .iter()
            .map(|fact| format!("case when count(*) = count({fact}) then max({fact}) end as {fact}_now"))
            .collect();
        let facts_of: Vec<String> = self.table.facts.iter().map(|fact| quoted(fact)).collect();
        let on = |of: &str| {
            let equal = keys(of).into_iter().enumerate().map(|(n, key)| format!("n.k{n} = {key}"));
            equal.collect::<Vec<_>>().join(" and ")
        };
        let is_over = match self.at {
            Some(_) => format!("n.k0 is not null and g.{KNOWN_TO} <= $known"),
            None => "n.k0 is not null".to_owned(),
        };
        let columns = self.columns(|column| {
            let written = format!("g.{}", quoted(column));
            match self.table.facts.contains(&column) {
                true => format!(
                    "case when {is_over} then n.{column}_now else {written} end as {}",
                    quoted(column)
                ),
                false => written,
            }
        });
        let known = match self.at {
            Some(_) => format!("({})", self.known()),
            None => name.to_owned(),
        };
        format!(
            "select {columns} from ({rows}) g left join (\
             select {}, {} from (select {}, {} from {known} r) n \
             where exists (select 1 from {name}_gone o where {}) group by {}) n on {}",
            groups.join(", "),
            facts.join(", "),
            named.join(", "),
            facts_of.join(", "),
            on("o"),
            groups.join(", "),
            on("g"),
        )
    }

    fn columns(&self, of: impl Fn(&str) -> String) -> String {
        let columns = self.table.columns.iter().map(|column| {
            let written = of(column.name);
            match written.contains(" as ") || written.ends_with(&quoted(column.name)) {
                true => written,
                false => format!("{written} as {}", quoted(column.name)),
            }
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    fn known_from(&self) -> String {
        match self.at {
            Some(_) => format!("({KNOWN_FROM} is null or {KNOWN_FROM} <= $known)"),
            None => "true".to_owned(),
        }
    }

    fn is_undated(&self) -> String {
        let dated = self.table.dated_by().into_iter().map(|i| self.table.columns[i].name);
        let all: Vec<String> = dated.map(|name| format!("{name} is null")).collect();
        format!("({})", all.join(" and "))
    }

    fn valid_from(&self) -> String {
        format!(
            "case when {} and not coalesce({COUNTS_BEFORE}, true) then {KNOWN_FROM} else valid_from end as valid_from",
            self.is_undated()
        )
    }

    fn valid_to(&self) -> String {
        let known = match self.at {
            Some(_) => format!(" and {KNOWN_TO} <= $known"),
            None => String::new(),
        };
        let last = format!("{KNOWN_TO} - interval '1 microsecond'");
        format!("case when {}{known} then {last} else valid_to end as valid_to", self.is_undated())
    }
}

/// A part of a key as text, with something in the place of nothing, by which rows can be joined.
fn never_null(of: &str, column: &str) -> String {
    format!("coalesce(cast({of}.{} as varchar), '')", quoted(column))
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
