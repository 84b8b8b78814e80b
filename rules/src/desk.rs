//! The desk: the tables that rules read, laid out once for a run so that no rule pays for another's joins.
//!
//! Besides `accesses` and the context tables, a rule may read
//! - `looks`: the accesses by people at work that opened something about a known person. Left out are the person
//!   themself and their representatives in a portal, systems, and refused attempts;
//! - `subject_key` (and `related_key` of `kinship`, `person_key` of `staff`) in every context table that names a
//!   person: the id resolved through `identities`, as in `accesses`; the function `subject_key(id)` does the same;
//! - every context table over time: what held when, with `valid_from` and `valid_to`, also where its file has neither;
//! - `unit_reach` (care_unit_id, near_unit_id): a unit and those whose relations count as its own: itself, every unit
//!   above it, and the parts right below it;
//! - `explained` (segment, seq, explanation, explains, by_user, made_at): the looks that explanations have a reason for;
//! - `unexplained`, `record_history`, `user_history`, `user_records` and `source_hours`: see [`crate::history`];
//! - `assigned` (user_id, care_unit_id, near_unit_id, valid_from, valid_to): `assignments` through `unit_reach`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono_tz::Tz;
use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, JoinType};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use insyn_engine::context::over_time;
use insyn_engine::session::Session;

use crate::explain::EXPLAINED;
use crate::history::{RECORD_HISTORY, SOURCE_HOURS, UNEXPLAINED, USER_HISTORY, USER_RECORDS};
use crate::laid::{self, Laid};
use crate::opened::{self, Opened};
use crate::pack::Pack;
use crate::rule::Rule;
use crate::sight::Sight;
use crate::written::{self, Accounts};
use crate::{sql, views};

/// Context tables in which a rule sees the resolved id of a person beside the written one.
const PEOPLE: &[(&str, &[(&str, &str)])] = &[
    ("staff", &[("person_id", "person_key")]),
    ("subjects", &[("subject_id", "subject_key")]),
    ("watchlist", &[("subject_id", "subject_key")]),
    ("care_relations", &[("subject_id", "subject_key")]),
    ("kinship", &[("subject_id", "subject_key"), ("related_id", "related_key")]),
    ("consents", &[("subject_id", "subject_key")]),
    ("blocks", &[("subject_id", "subject_key")]),
];

/// What every rule's rows carry, and what the `looks` filter reads.
const ALWAYS: &[&str] = &[
    "segment",
    "seq",
    "event_id",
    "source",
    "occurred_at",
    "controller_id",
    "care_unit_id",
    "actor_id",
    "subject_key",
    "user_kind",
    "outcome",
    "activity",
];

/// The accesses that are no looks.
const OTHERS: &str = "other_accesses";

/// Bytes that the questions of a run may hold together while they are worked out; who can goes on on disk.
const POOL: usize = 1536 << 20;

/// So many persons are named in a question; of more the files are not told apart by them.
pub(crate) const MOST_NAMED: usize = 2_000;

/// Tables of the lake that a rule may read beside the accesses.
pub(crate) const LAKE_TABLES: &[&str] = &["lacking"];

/// Whose an account is, where it is one person's; accounts are compared without regard to case.
const BEHIND: &str = "select upper(account_id) as account, min(user_id) as user_id from accounts \
    group by upper(account_id) having count(distinct user_id) = 1";

/// The tables of one run.
pub(crate) struct Desk {
    pub ctx: SessionContext,
    pub(crate) source: SessionContext,
    columns: Vec<String>,
    /// Whether anything asks what was done in a record before and after.
    pub(crate) asks_history: bool,
    rows: BTreeMap<String, usize>,
    /// The persons that all on it is about; none: everybody.
    about: Option<Vec<String>>,
    reach: HashMap<String, Vec<String>>,
    /// By unit: those who lead it or a unit above it.
    leaders: HashMap<String, Vec<String>>,
    /// The accesses that lie on it, with the files that hold them.
    laid: Mutex<Option<[Laid; 2]>>,
}

impl Desk {
    /// Lays out the context tables that `rules` mention; [`Desk::lay`] adds the accesses of a period.
    pub async fn over(source: &SessionContext, rules: &[&Rule]) -> Result<Desk, DataFusionError> {
        Desk::about(source, rules, None).await
    }

    /// The same, with no more than what is about these persons, under the ids that tables write them with.
    pub async fn about(
        source: &SessionContext,
        rules: &[&Rule],
        about: Option<Vec<String>>,
    ) -> Result<Desk, DataFusionError> {
        let mut config = SessionConfig::new().with_information_schema(false);
        config.options_mut().sql_parser.collect_spans = true;
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let ctx = SessionContext::new_with_config_rt(config, own_runtime(source)?);
        for function in source.state().scalar_functions().values() {
            ctx.register_udf(function.as_ref().clone());
        }
        let words: HashSet<String> = rules.iter().flat_map(|r| r.words()).collect();
        let all = source.table("accesses").await?;
        let columns = all.schema().fields().iter().map(|f| f.name().clone());
        let columns = columns.filter(|c| ALWAYS.contains(&c.as_str()) || words.contains(c)).collect();
        let mut desk = Desk {
            ctx,
            source: source.clone(),
            columns,
            asks_history: [UNEXPLAINED, RECORD_HISTORY].iter().any(|table| words.contains(*table)),
            rows: BTreeMap::new(),
            about,
            reach: HashMap::new(),
            leaders: HashMap::new(),
            laid: Mutex::default(),
        };
        for table in mentioned(rules, &words) {
            desk.lay_context(&table).await?;
        }
        for table in LAKE_TABLES.iter().filter(|table| words.contains(**table)) {
            let frame = desk.source.table(*table).await?;
            let schema = Arc::new(Schema::new(frame.schema().fields().clone()));
            desk.put(table, schema, frame.collect_partitioned().await?)?;
        }
        desk.lay_units().await?;
        desk.lay(&Sight::of(0, 0)).await?;
        desk.lay_history((0, 0)).await?;
        desk.lay_no_history()?;
        Ok(desk)
    }

    /// Puts the accesses that are to be seen on the desk, in place of those before.
    pub async fn lay(&self, sight: &Sight) -> Result<(), DataFusionError> {
        let query = format!(
            "select {} from accesses where {}{}",
            self.columns.join(", "),
            sight.condition(),
            self.of_persons(" and")
        );
        let frame = self.source.sql(&query).await?;
        let schema: SchemaRef = Arc::clone(frame.schema().inner());
        let (from, to) = sight.whole;
        let parts = if from == to { Vec::new() } else { frame.execute_stream_partitioned().await? };
        self.lay_rows(&schema, parts).await
    }

    /// Puts these accesses on the desk, in place of those before.
    pub async fn lay_rows(
        &self,
        schema: &SchemaRef,
        parts: Vec<SendableRecordBatchStream>,
    ) -> Result<(), DataFusionError> {
        // What was laid before makes room first.
        let schema = &views::schema_of(schema);
        self.put_laid(schema, None)?;
        let columns = DFSchema::try_from(Arc::clone(schema))?;
        let is_look = self.ctx.parse_sql_expr(&looks_by("subject_key", "actor_id"), &columns)?;
        let is_look = self.ctx.create_physical_expr(is_look, &columns)?;
        let laid =
            laid::lay(schema, parts, is_look, &self.ctx.runtime_env().disk_manager, laid::HELD).await?;
        self.put_laid(schema, Some(laid))?;
        // A view keeps the plan of the tables it was made over, so it is made again.
        let all = self.ctx.sql(&format!("select * from looks union all select * from {OTHERS}")).await?;
        self.ctx.register_table("accesses", all.into_view())?;
        Ok(())
    }

    /// Looks and other accesses, or none.
    fn put_laid(&self, schema: &SchemaRef, laid: Option<[Laid; 2]>) -> Result<(), DataFusionError> {
        self.ctx.deregister_table("accesses")?;
        let none = || MemTable::try_new(Arc::clone(schema), vec![Vec::new()]).map(Arc::new);
        let [looks, others] = match &laid {
            Some([looks, others]) => [Arc::clone(&looks.table), Arc::clone(&others.table)],
            None => [none()? as Arc<dyn TableProvider>, none()?],
        };
        for (name, table) in [("looks", &looks), (UNEXPLAINED, &looks), (OTHERS, &others)] {
            self.ctx.deregister_table(name)?;
            self.ctx.register_table(name, Arc::clone(table))?;
        }
        *self.laid.lock().unwrap_or_else(PoisonError::into_inner) = laid;
        Ok(())
    }

    /// Who looked in these persons' records in a period (µs UTC, half-open), whether that is on the desk or not.
    pub async fn readers(
        &self,
        persons: &BTreeSet<&str>,
        period: (i64, i64),
    ) -> Result<BTreeSet<String>, DataFusionError> {
        let mut query = format!("select actor_id, subject_key from accesses where {}", looks_of(period));
        if let Some(numbers) = self.numbers(persons).await? {
            query += &format!(" and subject_id in ({numbers})");
        }
        let keys = self.source.read_batch(keys_table(persons)?)?;
        let looks = self.source.sql(&query).await?;
        let looks = looks.join(keys, JoinType::LeftSemi, &["subject_key"], &["id"], None)?;
        let users = looks.select_columns(&["actor_id"])?.distinct()?.collect().await?;
        let mut readers = BTreeSet::new();
        for batch in users {
            readers.extend(text_array(&batch, 0)?.iter().flatten().map(str::to_owned));
        }
        Ok(readers)
    }

    /// Whose records these users looked in on which day of the period, whether that is on the desk or not.
    pub async fn looked_in(
        &self,
        users: &BTreeSet<String>,
        period: (i64, i64),
        zone: Tz,
    ) -> Result<Opened, DataFusionError> {
        let accounts = Accounts::of(self, users, zone).await?;
        let query =
            format!("select {}, subject_id from accesses where {}", written::COLUMNS, looks_of(period));
        opened::read(self, &query, users, accounts).await
    }

    /// The numbers that these persons are written with, as SQL lists them; none where they are too many to name.
    pub(crate) async fn numbers(&self, persons: &BTreeSet<&str>) -> Result<Option<String>, DataFusionError> {
        if persons.is_empty() || persons.len() > MOST_NAMED {
            return Ok(None);
        }
        let query = format!(
            "select other_id from identities where subject_key(other_id) in ({})",
            sql::list(persons.iter().copied())
        );
        let others: Vec<String> =
            texts(&self.source, &query, 1).await?.into_iter().flatten().flatten().collect();
        let all: BTreeSet<&str> = others.iter().map(String::as_str).chain(persons.iter().copied()).collect();
        Ok(Some(sql::list(all)))
    }

    /// A condition that leaves nobody else's rows, after `word`; empty where all are asked for.
    fn of_persons(&self, word: &str) -> String {
        let Some(about) = &self.about else { return String::new() };
        match about.is_empty() {
            true => format!("{word} false"),
            false => format!("{word} subject_id in ({})", sql::list(about.iter().map(String::as_str))),
        }
    }

    /// How many rows a context table has; `None` when nothing asked for it.
    pub fn rows(&self, table: &str) -> Option<usize> {
        self.rows.get(table).copied()
    }

    /// The names of everything a rule may read, for those who misspell one.
    pub fn tables(&self) -> Vec<String> {
        let own = ["accesses", "looks", "unit_reach", "assigned", EXPLAINED].into_iter();
        let own = own.chain([UNEXPLAINED, RECORD_HISTORY, USER_HISTORY, USER_RECORDS, SOURCE_HOURS]);
        own.chain(LAKE_TABLES.iter().copied()).chain(context_tables()).map(str::to_owned).collect()
    }

    /// The units whose relations count as those of `unit`, itself among them.
    pub fn near(&self, unit: &str) -> impl Iterator<Item = &str> {
        self.reach.get(unit).into_iter().flatten().map(String::as_str)
    }

    /// Whether this person leads the unit, or a unit above it.
    pub fn leads(&self, user: &str, unit: &str) -> bool {
        self.leaders.get(unit).is_some_and(|leaders| leaders.iter().any(|leader| leader == user))
    }

    /// Adds a table for one question, as the keys of findings.
    pub fn put(
        &self,
        name: &str,
        schema: SchemaRef,
        parts: Vec<Vec<RecordBatch>>,
    ) -> Result<(), DataFusionError> {
        let schema = views::schema_of(&schema);
        let views = |part: Vec<RecordBatch>| part.iter().map(|rows| views::rows_of(rows, &schema)).collect();
        let mut parts: Vec<Vec<RecordBatch>> = parts.into_iter().map(views).collect::<Result<_, _>>()?;
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        self.ctx.deregister_table(name)?;
        self.ctx.register_table(name, Arc::new(MemTable::try_new(schema, parts)?))?;
        Ok(())
    }

    /// One query for a table, so that a large one is held once: with the resolved ids of persons beside the written ones,
    /// and in relations and consents the people behind the accounts that are written in them, who registered one and whose it
    /// is. An account that several had at different times stays as written.
    async fn lay_context(&mut self, table: &str) -> Result<(), DataFusionError> {
        let keys = PEOPLE.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, keys)| keys);
        let names_them = keys.iter().any(|(column, _)| *column == "subject_id");
        let of_persons = if names_them { self.of_persons(" where") } else { String::new() };
        let accounts: &[(&str, &str)] = match table {
            "care_relations" => &[("created_by", "c"), ("user_id", "u")],
            "consents" => &[("created_by", "c")],
            _ => &[],
        };
        let over_time = over_time(table);
        let written = self.source.table(over_time.as_str()).await?;
        let columns = written.schema().fields().iter().map(|field| {
            let name = field.name();
            match accounts.iter().find(|(column, _)| column == name) {
                Some((_, behind)) => format!("coalesce({behind}.user_id, w.{name}) as {name}"),
                None => format!("w.{name}"),
            }
        });
        let keys = keys.iter().map(|(column, key)| format!("subject_key(w.{column}) as {key}"));
        let columns: Vec<String> = columns.chain(keys).collect();
        let joins = accounts.iter().map(|(column, behind)| {
            format!(" left join ({BEHIND}) as {behind} on {behind}.account = upper(w.{column})")
        });
        let joins: String = joins.collect();
        let query = format!("select {} from {over_time} w{joins}{of_persons}", columns.join(", "));
        let frame = self.source.sql(&query).await?;
        // Qualifiers of the query that made the rows do not belong in the table.
        let schema = Arc::new(Schema::new(frame.schema().inner().fields().clone()));
        let parts = frame.collect_partitioned().await?;
        self.rows.insert(table.to_owned(), parts.iter().flatten().map(RecordBatch::num_rows).sum());
        self.put(table, schema, parts)
    }

    async fn lay_units(&mut self) -> Result<(), DataFusionError> {
        let units =
            texts(&self.source, "select care_unit_id, parent_unit_id, manager_user_id from units", 3).await?;
        self.rows.entry("units".into()).or_insert(units.len());
        let mut parents: HashMap<String, String> = HashMap::new();
        let mut managers: HashMap<String, String> = HashMap::new();
        let mut known: BTreeSet<String> = BTreeSet::new();
        for row in units {
            let [Some(unit), parent, manager] = <[Option<String>; 3]>::try_from(row).unwrap_or_default()
            else {
                continue;
            };
            managers.extend(manager.map(|manager| (unit.clone(), manager)));
            if let Some(parent) = parent.filter(|p| *p != unit) {
                known.insert(parent.clone());
                parents.insert(unit.clone(), parent);
            }
            known.insert(unit);
        }
        // A unit that `units` does not have still is near to itself.
        for table in ["care_relations", "assignments"] {
            let of_persons =
                if table == "care_relations" { self.of_persons(" where") } else { String::new() };
            let query = format!("select distinct care_unit_id from {table}{of_persons}");
            known.extend(texts(&self.source, &query, 1).await?.into_iter().flatten().flatten());
        }
        let mut near: HashMap<String, Vec<String>> = HashMap::new();
        for unit in &known {
            let mut seen = vec![unit.clone()];
            let mut at = unit;
            while let Some(parent) = parents.get(at) {
                if seen.contains(parent) {
                    break;
                }
                seen.push(parent.clone());
                at = parent;
            }
            let leaders = seen.iter().filter_map(|unit| managers.get(unit)).cloned().collect();
            self.leaders.insert(unit.clone(), leaders);
            near.insert(unit.clone(), seen);
        }
        for (unit, parent) in &parents {
            if let Some(list) = near.get_mut(parent)
                && !list.contains(unit)
            {
                list.push(unit.clone());
            }
        }
        let pairs: BTreeSet<(String, String)> =
            near.iter().flat_map(|(unit, list)| list.iter().map(|n| (unit.clone(), n.clone()))).collect();
        self.reach = near;
        let (schema, batch) = pairs_table(["care_unit_id", "near_unit_id"], pairs.into_iter())?;
        self.put("unit_reach", schema, vec![vec![batch]])?;
        self.source_table_if_absent("assignments").await?;
        let assigned = self
            .ctx
            .sql(
                "select a.user_id, a.care_unit_id, u.near_unit_id, a.valid_from, a.valid_to \
                 from assignments a join unit_reach u on u.care_unit_id = a.care_unit_id",
            )
            .await?;
        let schema = Arc::new(Schema::new(assigned.schema().inner().fields().clone()));
        let parts = assigned.collect_partitioned().await?;
        self.put("assigned", schema, parts)
    }

    async fn source_table_if_absent(&mut self, table: &str) -> Result<(), DataFusionError> {
        if self.rows.contains_key(table) {
            return Ok(());
        }
        self.lay_context(table).await
    }
}

/// Which accesses are looks: by people, in somebody's record, and let in.
fn looks_by(person: &str, user: &str) -> String {
    format!(
        "{person} is not null and {user} is not null \
         and (user_kind is null or user_kind not in ('subject', 'representative', 'system')) \
         and (outcome is null or outcome = 'success')"
    )
}

/// Which accesses of the lake are looks of a period. Whoever is written has somebody behind, and so has each number: no row is
/// resolved to be left out.
pub(crate) fn looks_of((from, to): (i64, i64)) -> String {
    let (from, to) = (sql::timestamp(from), sql::timestamp(to));
    format!("{} and occurred_at >= {from} and occurred_at < {to}", looks_by("subject_id", "user_id"))
}

/// The source's, with memory of its own and the files that it lays itself: a rule is a query, and names no file.
fn own_runtime(source: &SessionContext) -> Result<Arc<RuntimeEnv>, DataFusionError> {
    RuntimeEnvBuilder::from_runtime_env(&source.runtime_env())
        .with_memory_pool(Arc::new(FairSpillPool::new(POOL)))
        .with_object_store_registry(Arc::new(DefaultObjectStoreRegistry::new()))
        .build_arc()
}

/// How many rows the context tables that rules mention have. Nothing is read for it.
pub(crate) async fn counts(
    source: &SessionContext,
    rules: &[&Rule],
) -> Result<BTreeMap<String, usize>, DataFusionError> {
    let words: HashSet<String> = rules.iter().flat_map(|r| r.words()).collect();
    let mut counts = BTreeMap::new();
    for table in mentioned(rules, &words) {
        let rows = source.table(over_time(&table)).await?.count().await?;
        counts.insert(table, rows);
    }
    Ok(counts)
}

/// Reads what functions go by that the pack's rules and explanations name.
pub(crate) async fn ready(session: &Session, pack: &Pack) -> Result<(), DataFusionError> {
    for rule in pack.rules().iter().chain(pack.explanations()) {
        session.ready_for(&rule.sql).await.map_err(|error| DataFusionError::External(error.into()))?;
    }
    Ok(())
}

/// The context tables that rules mention, whether in SQL or in what they need or keep.
fn mentioned(rules: &[&Rule], words: &HashSet<String>) -> BTreeSet<String> {
    let named = rules
        .iter()
        .flat_map(|r| r.needs.iter().chain(&r.needs_one_of).chain(&r.evidence).chain(&r.covered_by));
    let named: HashSet<&str> = named.map(String::as_str).collect();
    context_tables().filter(|t| named.contains(t) || words.contains(*t)).map(str::to_owned).collect()
}

/// The context tables by name.
pub(crate) fn context_tables() -> impl Iterator<Item = &'static str> + Clone {
    insyn_engine::context::TABLES.iter().map(|t| t.name)
}

/// The rows of a query, every column as text.
pub(crate) async fn texts(
    ctx: &SessionContext,
    query: &str,
    columns: usize,
) -> Result<Vec<Vec<Option<String>>>, DataFusionError> {
    let mut rows = Vec::new();
    for batch in ctx.sql(query).await?.collect().await? {
        let arrays = (0..columns).map(|n| text_array(&batch, n)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            rows.push(arrays.iter().map(|a| a.is_valid(row).then(|| a.value(row).to_owned())).collect());
        }
    }
    Ok(rows)
}

/// A column as text, whatever kind of text it is.
pub(crate) fn text_array(batch: &RecordBatch, column: usize) -> Result<StringArray, DataFusionError> {
    Ok(cast(batch.column(column), &DataType::Utf8)?.as_string::<i32>().clone())
}

/// A table of one column, `id`.
pub(crate) fn keys_table(ids: &BTreeSet<&str>) -> Result<RecordBatch, DataFusionError> {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
    let keys = StringArray::from_iter_values(ids.iter());
    Ok(RecordBatch::try_new(schema, vec![Arc::new(keys)])?)
}

fn pairs_table(
    names: [&str; 2],
    pairs: impl Iterator<Item = (String, String)>,
) -> Result<(SchemaRef, RecordBatch), DataFusionError> {
    let (left, right): (Vec<String>, Vec<String>) = pairs.unzip();
    let schema = Arc::new(Schema::new(names.map(|n| Field::new(n, DataType::Utf8, false)).to_vec()));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![Arc::new(StringArray::from(left)), Arc::new(StringArray::from(right))],
    )?;
    Ok((schema, batch))
}
