//! The arguments of every sub-command, in one place, so that `--help` is complete and the same everywhere.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Who looked in this record, and why?
///
/// Insyn reads the access logs of journal systems into one table, explains or flags every access, and shows it.
/// Data goes to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 wrong usage or configuration.
#[derive(Debug, Parser)]
#[command(name = "insyn", version, propagate_version = true)]
pub struct Arguments {
    /// The configuration file; relative paths in it are relative to its folder.
    #[arg(long, global = true, default_value = "insyn.toml", value_name = "FILE")]
    pub config: PathBuf,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a small care world with its logs, read it, run the rules, and serve the pages.
    Demo(Demo),
    /// Write a commented insyn.toml.
    Init {
        /// The folder to write it in.
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Read the sources into the lake.
    Ingest(Ingest),
    /// Follow the sources, run the rules on schedule, and serve the API and the pages.
    Serve,
    /// Show who did what: a record's accesses, a user's accesses, or one event.
    Trace(Trace),
    /// Ask the lake in SQL; guarded and read-only.
    Sql(Sql),
    /// The rule pack: list, check, test and run it.
    Rules(Rules),
    /// What the rules found.
    Findings(Findings),
    /// The context tables: staff, units, care relations and so on.
    Context(Context),
    /// Bring all files of the lake into sorted runs; `serve` does what pays by itself.
    Compact,
    /// Remove what is past its time and decided upon (gallring): register decisions, hold what must stay, see what would go.
    Retain(Retain),
    /// Copy lake, workflow database and spool, as they belong together, to a new folder; nothing need stop.
    Backup {
        /// A folder that is empty or not there yet.
        dir: PathBuf,
    },
    /// Put a backup back, after checking every file of it. Lake, database and spool must not be there yet.
    Restore {
        /// The folder of the backup.
        dir: PathBuf,
    },
    /// The log sources and how far they are read.
    Sources(Sources),
    /// One log source, before it is configured.
    Source(Source),
    /// The people who sign in.
    User(User),
    /// Access for programs.
    Token(Token),
    /// Say what is wrong with this installation.
    Doctor,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Where the demo's files go; a second start goes on from what is there.
    #[arg(long, default_value = "insyn-demo", value_name = "DIR")]
    pub dir: PathBuf,
    /// The port to serve on, on loopback [default: 8080, or the next free one].
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// How many days of logs.
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=365))]
    pub days: u32,
    /// Stop when all is read and judged; serve nothing.
    #[arg(long)]
    pub no_serve: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").args(["once", "again"]).required(true)))]
pub struct Ingest {
    /// Read every source to its end, commit, and exit.
    #[arg(long)]
    pub once: bool,
    /// Read what is kept of this source anew with today's settings, its records and what is in quarantine, and replace its
    /// rows by one commit. They keep their event_id, file and offset.
    #[arg(long, value_name = "SOURCE", requires = "reason")]
    pub again: Option<String>,
    /// Why it is read again; kept, with who did it.
    #[arg(long, requires = "again", value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only accesses from this day or instant.
    #[arg(long, requires = "again", value_name = "TIME")]
    pub from: Option<String>,
    /// Only accesses to this day (included) or instant.
    #[arg(long, requires = "again", value_name = "TIME")]
    pub to: Option<String>,
    /// Only tell what would come of reading again.
    #[arg(long, requires = "again")]
    pub dry_run: bool,
    /// Print what was read as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Trace {
    #[command(subcommand)]
    pub of: TraceOf,
}

#[derive(Debug, Subcommand)]
pub enum TraceOf {
    /// Who looked in this person's record.
    Subject {
        /// The person's number, in any usual form.
        id: String,
        #[command(flatten)]
        options: TraceOptions,
    },
    /// What this user opened.
    User {
        /// The user's id, or one of their accounts.
        id: String,
        /// Counts in place of rows: how often which record from which unit, first and last.
        #[arg(long, value_enum, conflicts_with_all = ["columns", "gap"])]
        by: Option<By>,
        #[command(flatten)]
        options: TraceOptions,
    },
    /// One event, with all its rows.
    Event {
        /// The event's id.
        id: String,
        /// The source that it belongs to.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        options: TraceOptions,
    },
    /// The visit that an event is a part of: what its user did in the same record, up to a longer pause.
    Visit {
        /// The event's id.
        event: String,
        /// The source that it belongs to.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        options: TraceOptions,
    },
    /// Everything that was done while somebody was signed in once.
    Session {
        /// The system's id of it.
        id: String,
        /// The source that it belongs to.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        options: TraceOptions,
    },
    /// Everything that was done from this unit.
    Unit {
        /// The unit's id.
        id: String,
        #[command(flatten)]
        options: TraceOptions,
    },
    /// The people who looked in both of these records, and what they did in either.
    Both {
        /// One person's number.
        id: String,
        /// The other person's number.
        other: String,
        #[command(flatten)]
        options: TraceOptions,
    },
}

/// What rows are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The day in the organisation's zone. With `--limit`, whole days.
    Day,
}

#[derive(Debug, Args)]
pub struct TraceOptions {
    /// Only these columns, separated by commas [default: all but `record`].
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub columns: Option<Vec<String>>,
    /// Say of each row why: how it stands, and its reasons. All rows are held in memory.
    #[arg(long)]
    pub why: bool,
    /// Count Insyn's own looks too.
    #[arg(long)]
    pub own: bool,
    /// How many minutes without an access end a visit.
    #[arg(long, default_value_t = 30, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub gap: u32,
    /// Why you look; kept with the look.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// From this time (RFC 3339, or YYYY-MM-DD in the organisation's zone).
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// To this time, not included; a date means to the end of that day.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// At most so many rows [default: all].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub known: KnownOptions,
    #[command(flatten)]
    pub format: FormatOption,
}

/// By which loads of the context tables.
#[derive(Debug, Args)]
pub struct KnownOptions {
    /// With the context tables as they were known at this time (RFC 3339, or YYYY-MM-DD: at the end of that day).
    #[arg(long, value_name = "TIME", conflicts_with = "context_load")]
    pub known_at: Option<String>,
    /// The same when this load was the newest; each run of the rules names its load.
    #[arg(long, value_name = "LOAD")]
    pub context_load: Option<String>,
}

#[derive(Debug, Args)]
pub struct FormatOption {
    /// How rows are written [default: table on a terminal, else ndjson].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Ndjson,
    Csv,
    Arrow,
    Parquet,
}

#[derive(Debug, Args)]
pub struct Sql {
    /// One SELECT statement.
    pub query: String,
    /// Why you ask; kept with the look.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Count Insyn's own looks too.
    #[arg(long)]
    pub own: bool,
    /// With in each context table what held at this time (RFC 3339, or YYYY-MM-DD: when that day begins).
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,
    #[command(flatten)]
    pub known: KnownOptions,
    #[command(flatten)]
    pub format: FormatOption,
}

#[derive(Debug, Args)]
pub struct Rules {
    #[command(subcommand)]
    pub action: RulesAction,
}

#[derive(Debug, Subcommand)]
pub enum RulesAction {
    /// The rules of the pack.
    List(FormatOption),
    /// Lint the pack: names, languages, SQL, parameters, cases.
    Check,
    /// How much each explanation explains, how much no other does, and how much it would by chance.
    Explanations {
        /// From this time [default: all that is stored].
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// To this time, not included; a date means to the end of that day.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// All of them together, by month, source and unit.
        #[arg(long, conflicts_with = "totals")]
        shares: bool,
        /// All of them together, in one row.
        #[arg(long)]
        totals: bool,
        #[command(flatten)]
        format: FormatOption,
    },
    /// How much oftener than by chance each rule names somebody, and how much of what it names has a reason.
    Lift {
        /// From this time [default: all that is stored].
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// To this time, not included; a date means to the end of that day.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        #[command(flatten)]
        format: FormatOption,
    },
    /// Run the rules' own cases.
    Test {
        /// Only of these rules and explanations, by id [default: all].
        #[arg(value_name = "RULE")]
        rules: Vec<String>,
    },
    /// Evaluate the rules.
    Run {
        /// From this time [default: all that is stored].
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// To this time, not included; a date means to the end of that day.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Say what would be found; keep nothing.
        #[arg(long)]
        dry_run: bool,
        /// Only what came since the rules judged last, as `serve` does on schedule. With --from, what happened before that time
        /// counts as judged.
        #[arg(long, conflicts_with_all = ["to", "dry_run"])]
        new: bool,
        /// Try another setting beside today's, by week and unit: RULE.PARAMETER=VALUE, or RULE.level, RULE.status; may be
        /// given again.
        #[arg(long, value_name = "SETTING", requires = "dry_run")]
        set: Vec<String>,
        #[command(flatten)]
        format: FormatOption,
    },
}

#[derive(Debug, Args)]
pub struct Findings {
    #[command(subcommand)]
    pub action: FindingsAction,
}

#[derive(Debug, Subcommand)]
pub enum FindingsAction {
    /// List findings.
    List(FindingsList),
}

#[derive(Debug, Args)]
pub struct FindingsList {
    /// Of this rule.
    #[arg(long)]
    pub rule: Option<String>,
    /// Of this level: informational, low, medium, high, critical.
    #[arg(long)]
    pub level: Option<String>,
    /// In this state: new, assigned, asked, decided, closed.
    #[arg(long)]
    pub status: Option<String>,
    /// About this user.
    #[arg(long)]
    pub user: Option<String>,
    /// About this person's record.
    #[arg(long)]
    pub subject: Option<String>,
    /// Whose last access is at or after this time.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Whose first access is before this time; a date means to the end of that day.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// At most so many rows [default: all].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Why you look; kept with the look.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub format: FormatOption,
}

#[derive(Debug, Args)]
pub struct Context {
    #[command(subcommand)]
    pub action: ContextAction,
}

#[derive(Debug, Subcommand)]
pub enum ContextAction {
    /// Read the context tables, all or none.
    Load {
        /// Also when the folder lacks tables that had rows: they are empty from then on.
        #[arg(long)]
        allow_missing: bool,
        /// The tables were exported at this time (RFC 3339, or YYYY-MM-DD), after the load before: what they say counts from
        /// then on.
        #[arg(long, value_name = "TIME")]
        exported: Option<String>,
    },
    /// Rows, age and covered period of each table, by unit, and how often it contradicts itself or others.
    Status(FormatOption),
}

#[derive(Debug, Args)]
pub struct Sources {
    #[command(subcommand)]
    pub action: SourcesAction,
}

#[derive(Debug, Subcommand)]
pub enum SourcesAction {
    /// How far each source is read, and whether it says as much as it usually does.
    Status(FormatOption),
    /// Which days each export of a source with `delivery = "export"` states, what of it was new, and how many rows of
    /// others it lacks. No personal data.
    Exports {
        /// Only this source.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        format: FormatOption,
    },
    /// Say why what is open in a source's quarantine or gaps is nothing that is missed; kept, with who said it.
    #[command(group(clap::ArgGroup::new("items").args(["quarantine", "gaps"]).required(true).multiple(true)))]
    Explain {
        /// Which source.
        source: String,
        /// Its records in quarantine.
        #[arg(long)]
        quarantine: bool,
        /// Its gaps.
        #[arg(long)]
        gaps: bool,
        /// Only of the file with this id.
        #[arg(long, value_name = "ID")]
        file: Option<String>,
        /// Only the one that begins at this offset.
        #[arg(long, value_name = "N", requires = "file")]
        offset: Option<i64>,
        /// What is to be said of them.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Which of the fields that each source's law asks for were really there, by day. No personal data.
    Coverage {
        /// Only this source.
        #[arg(long)]
        source: Option<String>,
        /// From this day or instant [default: 14 days ago].
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// To this day (included) or instant.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        #[command(flatten)]
        format: FormatOption,
    },
}

#[derive(Debug, Args)]
pub struct Source {
    #[command(subcommand)]
    pub action: SourceAction,
}

#[derive(Debug, Subcommand)]
pub enum SourceAction {
    /// Read a file's beginning and show what it would give, personal data masked; nothing is stored. Without --source the
    /// mapping is guessed, and printed as a [[source]].
    Try {
        /// The file; it may be packed.
        file: PathBuf,
        /// Read it as this configured source.
        #[arg(long)]
        source: Option<String>,
        /// Whose law is asked, where the mapping is guessed: health-care, social-services, shared-records,
        /// pupil-health or other.
        #[arg(long, default_value = "health-care", value_name = "AREA")]
        legal_area: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Retain {
    #[command(subcommand)]
    pub action: Option<RetainAction>,
    /// Only tell what would go, what is held, and what is past its longest time.
    #[arg(long)]
    pub dry_run: bool,
    /// Wait so many minutes for others who have the lake open, before what they may still read goes. With less than
    /// ten, `insyn retain` has to be run again if they have not ended.
    #[arg(long, value_name = "MINUTES", default_value_t = 11)]
    pub wait: u32,
    #[command(flatten)]
    pub format: FormatOption,
}

#[derive(Debug, Subcommand)]
pub enum RetainAction {
    /// Register a decision that accesses may go (gallringsbeslut).
    Decide(RetainDecide),
    /// The decisions that were registered.
    Decisions(FormatOption),
    /// End a decision: nothing goes on it any more.
    Withdraw {
        /// Its id.
        id: String,
        /// Why; kept, with who did it.
        #[arg(long)]
        reason: String,
    },
    /// Keep what concerns somebody or a case, whatever is decided.
    Hold {
        /// A person whose record was opened; may be given several times.
        #[arg(long = "subject", value_name = "NUMBER")]
        subjects: Vec<String>,
        /// A user, by id or account; may be given several times.
        #[arg(long = "user", value_name = "ID")]
        users: Vec<String>,
        /// A case, as looks name it; may be given several times.
        #[arg(long = "case", value_name = "NUMBER")]
        cases: Vec<String>,
        /// Why; kept, with who did it.
        #[arg(long)]
        reason: String,
    },
    /// End a hold; whom it was about is forgotten.
    Release {
        /// Its id.
        id: String,
        /// Why; kept, with who did it.
        #[arg(long)]
        reason: String,
    },
    /// The holds that were placed, and whom those in force are about.
    Holds {
        /// Why you look.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        format: FormatOption,
    },
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("when").args(["after_years", "before"]).required(true).multiple(true)))]
pub struct RetainDecide {
    /// Who decided: the board or authority.
    #[arg(long, value_name = "NAME")]
    pub authority: String,
    /// The decision's number.
    #[arg(long, value_name = "TEXT")]
    pub number: String,
    /// When it was decided.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: String,
    /// Accesses that are older than so many years may go.
    #[arg(long, value_name = "N")]
    pub after_years: Option<u32>,
    /// Accesses before this day may go.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub before: Option<String>,
    /// Only accesses to records of this controller.
    #[arg(long, value_name = "ID")]
    pub controller: Option<String>,
    /// Only accesses of this source; `insyn` is Insyn's own looks.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Only accesses of sources that this law asks for.
    #[arg(long, value_name = "AREA")]
    pub legal_area: Option<String>,
    /// Only accesses to data of this category.
    #[arg(long, value_name = "TEXT")]
    pub data_category: Option<String>,
}

#[derive(Debug, Args)]
pub struct User {
    #[command(subcommand)]
    pub action: UserAction,
}

#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// Add a person; prints a first password, once.
    Create(UserCreate),
    /// Who may sign in, in which roles.
    List(FormatOption),
    /// Shut a person out, at once; what they did stays.
    Disable {
        /// The name they sign in with.
        #[arg(long)]
        login: String,
    },
    /// Let a person in again.
    Enable {
        /// The name they sign in with.
        #[arg(long)]
        login: String,
    },
    /// Give a person a new password, shown once, and end their sessions.
    Reset {
        /// The name they sign in with.
        #[arg(long)]
        login: String,
        /// They set up one-time codes anew: for a lost phone.
        #[arg(long)]
        codes: bool,
    },
}

#[derive(Debug, Args)]
pub struct UserCreate {
    /// The name to sign in with.
    #[arg(long)]
    pub login: String,
    /// The person's name.
    #[arg(long)]
    pub name: String,
    /// dso, coordinator, reviewer, investigator, auditor or operator; may be given several times.
    #[arg(long = "role", required = true)]
    pub roles: Vec<String>,
    /// A unit that a reviewer answers for; may be given several times.
    #[arg(long = "unit")]
    pub units: Vec<String>,
    /// A controller whose records the person may see; may be given several times [default: all].
    #[arg(long = "controller")]
    pub controllers: Vec<String>,
    /// The person's own user id in the logs, or an account of theirs, so that they never judge an access of their own.
    #[arg(long)]
    pub staff_user_id: Option<String>,
}

#[derive(Debug, Args)]
pub struct Token {
    #[command(subcommand)]
    pub action: TokenAction,
}

#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// The tokens that were ever made, without the tokens themselves.
    List(FormatOption),
    /// End a token, at once.
    Revoke {
        /// Its name.
        #[arg(long)]
        name: String,
    },
    /// Make a token for a program; shown once, stored hashed.
    Create {
        /// What the token is for.
        #[arg(long)]
        name: String,
        /// The role that it acts in.
        #[arg(long)]
        role: String,
        /// For the role `service`: what it may do, separated by commas, as `send_logs`.
        #[arg(long, value_delimiter = ',', value_name = "ACTIONS")]
        allow: Vec<String>,
    },
}
