//! The `insyn` command: reads its arguments and its configuration, opens the rooms a sub-command needs, and runs it.
//!
//! Exit status: 0 done; 1 failed; 2 wrong usage or configuration. Data goes to stdout, everything else to stderr.

mod cli;
mod commands;
mod config;
mod house;
mod print;
mod record;
mod removal;
mod retention;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::cli::{Arguments, Command};
use crate::config::ConfigError;

/// Batches of rows are made and dropped on many threads: the C library's allocator takes its time over that, and keeps
/// memory for each thread that once held much.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What is written holds personal data: it is for the account that runs this alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    start_log();
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(8 << 20).build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&anyhow::Error::new(error).context("the runtime cannot start")),
        };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config;
    match arguments.command {
        Command::Demo(demo) => commands::demo::run(demo).await,
        Command::Init { dir } => commands::init::run(&dir),
        Command::Ingest(ingest) => commands::ingest::run(&config, ingest).await,
        Command::Serve => commands::serve::run(&config).await,
        Command::Trace(trace) => commands::trace::run(&config, trace).await,
        Command::Sql(sql) => commands::sql::run(&config, sql).await,
        Command::Rules(rules) => commands::rules::run(&config, rules).await,
        Command::Findings(findings) => commands::findings::run(&config, findings).await,
        Command::Context(context) => commands::context::run(&config, context).await,
        Command::Compact => commands::compact::run(&config).await,
        Command::Retain(retain) => commands::retain::run(&config, retain).await,
        Command::Backup { dir } => commands::backup::backup(&config, &dir).await,
        Command::Restore { dir } => commands::backup::restore(&config, &dir).await,
        Command::Source(source) => commands::source::run(&config, source).await,
        Command::Sources(sources) => commands::sources::run(&config, sources).await,
        Command::User(user) => commands::user::run(&config, user).await,
        Command::Token(token) => commands::token::run(&config, token).await,
        Command::Doctor => commands::doctor::run(&config).await,
    }
}

/// One sentence for people; wrong configuration has an exit status of its own.
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("insyn: {}", print::sentence(error));
    let usage =
        error.chain().any(|cause| cause.downcast_ref::<ConfigError>().is_some_and(ConfigError::is_usage));
    ExitCode::from(if usage { 2 } else { 1 })
}

/// What Delta's kernel calls an error comes back to us as one, and is told once.
const FILTER: &str = "error,buoyant_kernel=off,buoyant_kernel_engine=off";

fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("INSYN_LOG").unwrap_or_else(|_| EnvFilter::new(FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
