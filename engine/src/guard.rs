//! SQL from people: read-only by construction, bounded in time, rows and memory.
//!
//! A query passes when its text is one `SELECT`, and when every node, expression and function of its plan is on the
//! list of those that are known to be harmless. What is not on a list is refused with its name. The bounds hold for
//! what the lists let through.

mod lists;
mod metered;
mod shown;
mod walk;
mod watch;
mod written;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use futures::StreamExt;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinSet;

use crate::error::{nearest, plain};
use crate::provider::Counters;
use crate::session::{Answer, Session, distinct_names, query_threads, turn, under};
use watch::{Asker, Watch};

/// What one guarded query may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the call to the last row, waiting for a turn included.
    pub time: Duration,
    /// Rows of the answer.
    pub rows: usize,
    /// Bytes of memory, the answer included.
    pub memory: usize,
    /// Bytes of the query's text.
    pub query: usize,
    /// Columns that the asker may not see, by name, in whatever table.
    pub denied_columns: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            time: Duration::from_secs(60),
            rows: 1_000_000,
            memory: 256 << 20,
            query: 16 << 10,
            denied_columns: Vec::new(),
        }
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// Something that guarded SQL does not do.
    #[error("refused: {part}: {why}")]
    Refused {
        /// Which part of the query.
        part: String,
        /// Why.
        why: String,
    },
    /// The query would take more than it may.
    #[error("stopped: {0}")]
    Limit(String),
    /// The query makes no sense over these tables.
    #[error("{message}{}", crate::error::did_you_mean(.nearest))]
    Plan {
        /// What is wrong.
        message: String,
        /// The existing name that is spelt most like the one that does not exist.
        nearest: Option<String>,
    },
    /// Reading failed.
    #[error("the query failed: {0}")]
    Failed(String),
}

impl SqlError {
    fn refused(part: impl Into<String>, why: impl Into<String>) -> Self {
        SqlError::Refused { part: part.into(), why: why.into() }
    }

    /// Whether the query is at fault, and not the machine or its limits.
    pub fn is_askers(&self) -> bool {
        matches!(self, SqlError::Refused { .. } | SqlError::Plan { .. })
    }
}

pub(crate) async fn run(session: &Session, query: &str) -> Result<Answer, SqlError> {
    let limits = session.limits();
    let asker = Asker(Watch::until(Instant::now() + limits.time));
    let answer = tokio::time::timeout(limits.time, answer(session, query, limits, &asker.0)).await;
    match answer {
        Ok(Err(SqlError::Limit(why))) if why.starts_with(OUT_OF_TIME) => Err(out_of_time(limits)),
        Ok(answer) => answer,
        Err(_) => Err(out_of_time(limits)),
    }
}

const OUT_OF_TIME: &str = "out of time";

fn out_of_time(limits: &Limits) -> SqlError {
    let seconds = limits.time.as_secs_f32();
    SqlError::Limit(format!("the query takes longer than {seconds} seconds; narrow it, by time for example"))
}

async fn answer(
    session: &Session,
    query: &str,
    limits: &Limits,
    watch: &Arc<Watch>,
) -> Result<Answer, SqlError> {
    let statement = parse(query, limits)?;
    let turn: SemaphorePermit<'static> = turn().await;
    let question = Question {
        state: session.datafusion().state(),
        tables: session.tables(),
        limits: limits.clone(),
        runtime: session.bounded_runtime(limits.memory).map_err(|e| failed(&e))?,
        watch: Arc::clone(watch),
    };
    // On threads of its own, planning included: a query that does not wait holds up other queries, never the server.
    // Dropping the set ends the task, and the turn goes when the task has really ended.
    let threads = query_threads().map_err(|e| failed(&e))?;
    let mut running = JoinSet::new();
    running.spawn_on(
        async move {
            let _turn = turn;
            question.answered(statement).await
        },
        threads,
    );
    match running.join_next().await {
        Some(Ok(answer)) => answer,
        Some(Err(e)) => Err(SqlError::Failed(format!("the query's task ended: {e}"))),
        None => Err(SqlError::Failed("the query's task never began".to_owned())),
    }
}

/// Parts that a query is worked on in beside one another: what is bounded is so for each.
const BESIDE: usize = 4;
/// Rows of a batch: fewer than usual, since what a batch holds is what the memory pool sees too late.
const BATCH_ROWS: usize = 2048;

/// What a query is answered with.
struct Question {
    state: SessionState,
    tables: Vec<String>,
    limits: Limits,
    runtime: Arc<RuntimeEnv>,
    watch: Arc<Watch>,
}

impl Question {
    async fn answered(mut self, statement: Statement) -> Result<Answer, SqlError> {
        let partitions = self.state.config().target_partitions().min(BESIDE);
        self.state.config_mut().options_mut().execution.target_partitions = partitions;
        let planned = self.state.statement_to_plan(statement).await;
        let plan = planned.map_err(|e| not_planned(&self.tables, e))?;
        walk::check(&plan, &self.limits)?;
        let subject_columns = shown::numbers(&plan)?;
        let asked = walk::numbers_asked_for(&plan);
        let plan = self.state.create_physical_plan(&plan).await;
        let plan = plan.map_err(|e| not_planned(&self.tables, e))?;
        let (plan, calls) = metered::meter(plan, &self.watch).map_err(|e| failed(&e))?;
        let context = self.context(calls);
        let stream = execute_stream(Arc::clone(&plan), Arc::clone(&context)).map_err(|e| failed(&e))?;
        let schema = distinct_names(&stream.schema());
        let batches = gather(stream, &context, self.limits.rows).await?;
        let batches: Result<Vec<RecordBatch>, _> = batches.iter().map(|b| under(b, &schema)).collect();
        let batches = batches.map_err(|e| SqlError::Failed(e.to_string()))?;
        Ok(Answer { schema, batches, counters: Counters::of(plan.as_ref()), subject_columns, asked })
    }

    /// The more functions a scan calls by itself, the fewer rows it has at once.
    fn context(&self, calls: usize) -> Arc<TaskContext> {
        let usual = self.state.task_ctx();
        let rows = (BATCH_ROWS / (1 + calls / 4)).max(64);
        Arc::new(TaskContext::new(
            None,
            usual.session_id(),
            usual.session_config().clone().with_batch_size(rows),
            usual.scalar_functions().clone(),
            usual.higher_order_functions().clone(),
            usual.aggregate_functions().clone(),
            usual.window_functions().clone(),
            Arc::clone(&self.runtime),
        ))
    }
}

/// The rows, held against the query's own memory while there are more to come.
async fn gather(
    mut stream: SendableRecordBatchStream,
    context: &Arc<TaskContext>,
    most: usize,
) -> Result<Vec<RecordBatch>, SqlError> {
    let held = MemoryConsumer::new("answer").register(context.memory_pool());
    let mut batches = Vec::new();
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| failed(&e))?;
        rows += batch.num_rows();
        if rows > most {
            return Err(SqlError::Limit(format!(
                "the answer has more than {most} rows; narrow it, or add LIMIT"
            )));
        }
        held.try_grow(batch.get_array_memory_size()).map_err(|e| failed(&e))?;
        batches.push(batch);
    }
    Ok(batches)
}

fn parse(query: &str, limits: &Limits) -> Result<Statement, SqlError> {
    if query.len() > limits.query {
        let found = query.len();
        return Err(SqlError::refused(
            "the query's length",
            format!("{found} bytes, at most {}", limits.query),
        ));
    }
    let syntax = |e: DataFusionError| SqlError::Plan { message: plain(&e), nearest: None };
    let parser =
        DFParserBuilder::new(query).with_dialect(&GenericDialect {}).with_recursion_limit(50).build();
    let mut statements = parser.and_then(|mut p| p.parse_statements()).map_err(syntax)?;
    let statement = statements.pop_front();
    if !statements.is_empty() {
        return Err(SqlError::refused("the second statement", "one query at a time"));
    }
    match statement {
        Some(Statement::Statement(statement)) if matches!(*statement, SqlStatement::Query(_)) => {
            if written::tables(&statement) > walk::MOST_TABLES {
                return Err(walk::too_many_tables());
            }
            Ok(Statement::Statement(statement))
        }
        Some(_) => Err(SqlError::refused(first_word(query), "only SELECT is answered")),
        None => {
            Err(SqlError::Plan { message: "found nothing, expected SELECT …".to_owned(), nearest: None })
        }
    }
}

fn first_word(query: &str) -> String {
    query.split_whitespace().next().unwrap_or_default().chars().take(24).collect::<String>().to_uppercase()
}

/// Planning failed: says what is unknown, and what is spelt most like it.
fn not_planned(tables: &[String], error: DataFusionError) -> SqlError {
    let message = plain(&error);
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let names: Vec<&str> = valid_fields.iter().map(|f| f.name.as_str()).collect();
                SqlError::Plan {
                    message: format!("there is no column {:?}", field.name),
                    nearest: nearest(&field.name, names),
                }
            }
            _ => SqlError::Plan { message, nearest: None },
        },
        DataFusionError::ResourcesExhausted(_) => SqlError::Limit(message),
        _ if message.contains("Recursive CTEs") => {
            SqlError::refused("WITH RECURSIVE", "recursion has no bound")
        }
        _ => match missing(&message) {
            Some(Missing::Table(name)) => {
                let nearest = nearest(&name, tables.iter().map(String::as_str));
                SqlError::Plan { message: format!("there is no table {name:?}"), nearest }
            }
            Some(Missing::TableFunction(name)) => {
                SqlError::refused(format!("{name}(…)"), "tables come from the lake, not from functions")
            }
            None => SqlError::Plan { message, nearest: None },
        },
    }
}

enum Missing {
    Table(String),
    TableFunction(String),
}

/// The planner says these two only in words.
fn missing(message: &str) -> Option<Missing> {
    let quoted = || message.split('\'').nth(1).map(str::to_owned);
    let lower = message.to_lowercase();
    if !lower.contains("not found") {
        None
    } else if lower.starts_with("table function") {
        quoted().map(Missing::TableFunction)
    } else if lower.starts_with("table") {
        quoted().map(|name| Missing::Table(name.rsplit('.').next().unwrap_or(&name).to_owned()))
    } else {
        None
    }
}

/// A refusal that no operator takes for a want of memory: some would begin anew otherwise, and lose what was said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TooMuch(String);

/// Running failed. When memory ran out somewhere, that is what is said.
fn failed(error: &DataFusionError) -> SqlError {
    let root = error.find_root();
    if let DataFusionError::External(other) = root
        && let Some(TooMuch(what)) = other.downcast_ref::<TooMuch>()
    {
        return SqlError::Limit(what.clone());
    }
    match root {
        DataFusionError::ResourcesExhausted(what) => {
            let what = what.lines().next().unwrap_or_default();
            SqlError::Limit(format!("{what}; ask for fewer columns, rows or groups"))
        }
        DataFusionError::ArrowError(error, _) if matches!(**error, ArrowError::OffsetOverflowError(_)) => {
            let what = "texts of one answer, or of one group, come to more than 2 GB";
            SqlError::Limit(format!("{what}; ask for fewer rows, or cut them, as left(record, 1000)"))
        }
        _ => SqlError::Failed(without_values(&plain(error))),
    }
}

/// A fault found while running quotes the value it stumbled on, which may be of somebody's record: nobody has logged
/// that it was shown.
fn without_values(message: &str) -> String {
    let mut out = String::new();
    for (i, part) in message.split('\'').enumerate() {
        if i > 0 {
            out.push('\'');
        }
        out.push_str(if i % 2 == 1 { "…" } else { part });
    }
    out
}
