//! An installation, opened: the rooms that a command needs, wired to each other.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{AsArray, RecordBatch};
use chrono::Utc;
use insyn_engine::context::Moment;
use insyn_engine::error::EngineError;
use insyn_engine::lake::Lake;
use insyn_engine::session::{Scope, Session};
use insyn_ingest::health::Recent;
use insyn_ingest::spool::{Look, OwnLog};
use insyn_ingest::{Ingest, SourceConfig};
use insyn_receive::Receivers;
use insyn_review::Db;
use insyn_rules::{Pack, ParamValue, unjudged};

use crate::commands::backup;
use crate::config::Config;

/// The configuration and the lake; everything else is opened when asked for.
pub struct House {
    pub config: Config,
    pub lake: Lake,
}

impl House {
    pub async fn open(file: &Path) -> anyhow::Result<House> {
        Self::of(Config::read(file)?).await
    }

    pub async fn of(config: Config) -> anyhow::Result<House> {
        if backup::is_unfinished(&config) {
            bail!("a backup was not put back to the end: run `insyn restore` again before anything is shown");
        }
        House::put_back(config).await
    }

    /// The same, for the restore itself.
    pub async fn put_back(config: Config) -> anyhow::Result<House> {
        let lake = Lake::open(&config.lake, &config.base).await.context("the lake cannot be opened")?;
        Ok(House { config, lake })
    }

    pub fn ingest(&self) -> anyhow::Result<Ingest> {
        let config = &self.config;
        let spool = config.path(&config.spool.dir);
        let (lake, least) = (self.lake.clone(), config.lake.least_free());
        let ingest = Ingest::open(lake, &config.organisation, &config.sources, &config.base, &spool)?;
        Ok(ingest.keeping_free(least))
    }

    /// Where others hand in records.
    pub fn receivers(&self) -> anyhow::Result<Receivers> {
        let config = &self.config;
        let spool = config.path(&config.spool.dir);
        let (zone, least) = (config.organisation.timezone, config.lake.least_free());
        Ok(Receivers::open(&config.sources, zone, &spool, least)?)
    }

    /// A session over what is stored now; Insyn's own looks are left out of `access_events` unless asked for.
    pub async fn session(&self, own: bool) -> anyhow::Result<Session> {
        self.session_at(own, &Moment::default()).await
    }

    /// The same with the context as it was known, or held, at another moment.
    pub async fn session_at(&self, own: bool, moment: &Moment) -> anyhow::Result<Session> {
        let session = Session::at(&self.lake, self.config.organisation.timezone, Scope::All, moment).await?;
        if own { Ok(session) } else { Ok(session.without_own()?) }
    }

    /// What the last weeks say of each source.
    pub async fn recent(&self) -> Result<Arc<Recent>, EngineError> {
        let session = Session::open(&self.lake, self.config.organisation.timezone, Scope::All).await?;
        Recent::read(&session, &self.config.sources, Utc::now().timestamp_micros()).await.map(Arc::new)
    }

    pub async fn db(&self) -> anyhow::Result<Db> {
        Db::open(&self.config.state.url, &self.config.base)
            .await
            .context("the workflow database cannot be opened")
    }

    pub fn pack(&self) -> anyhow::Result<Pack> {
        let pack = pack(self.config.rules.dir.as_deref().map(|dir| self.config.path(dir)).as_deref())?;
        Ok(of_sources(pack, &self.config.sources))
    }

    /// The rules as they run on schedule: those that rest on address, kin, name, schedule or volume only when somebody
    /// has decided it.
    pub fn scheduled_pack(&self) -> anyhow::Result<Pack> {
        let pack = self.pack()?;
        Ok(match self.config.rules.intrusive {
            Some(_) => pack,
            None => pack.without_intrusive(&unjudged::UNDECIDED.kept(&[])),
        })
    }

    pub fn own_log(&self) -> anyhow::Result<OwnLog> {
        OwnLog::open(&self.config.path(&self.config.spool.dir)).context("the spool cannot be opened")
    }

    /// Refuses what this installation has switched off, before anything is read.
    pub fn may_show_personal_data(&self, reason: Option<&str>) -> anyhow::Result<()> {
        if !self.config.commands.personal_data {
            bail!("commands show no personal data here ([commands] personal_data = false); use the pages");
        }
        if self.config.commands.require_reason && reason.is_none_or(|reason| reason.trim().is_empty()) {
            bail!("say why you look: --reason ([commands] require_reason = true)");
        }
        Ok(())
    }

    /// Writes down, before the answer leaves, that somebody looked by a command, and at whom.
    pub async fn looked(&self, what: CommandLook) -> anyhow::Result<()> {
        let look = Look {
            user_id: os_account(),
            user_name: None,
            user_role: "command".into(),
            activity: what.activity.into(),
            reason: what.reason,
            case: None,
            query: what.query,
            client_address: None,
            outcome: "success",
            subjects: what.subjects,
            rows: what.rows,
        };
        self.own_log()?
            .record(&look)
            .await
            .context("the look cannot be written down, so nothing is shown")?;
        Ok(())
    }
}

/// A look by a command.
pub struct CommandLook {
    pub activity: &'static str,
    pub reason: Option<String>,
    pub query: Option<String>,
    pub subjects: Vec<String>,
    pub rows: u64,
}

/// Which sources count their records is said of the sources.
fn of_sources(mut pack: Pack, sources: &[SourceConfig]) -> Pack {
    let counting: Vec<String> =
        sources.iter().filter(|source| source.numbered).map(|source| source.name.clone()).collect();
    if counting.is_empty() {
        return pack.without(MISSING_NUMBERS, &unjudged::UNNUMBERED.kept(&[]));
    }
    // An own pack may have none of that name.
    let _ = pack.set(MISSING_NUMBERS, "sources", ParamValue::Texts(counting));
    pack
}

const MISSING_NUMBERS: &str = "missing-numbers";

/// Our pack, and the organisation's own beside it.
pub fn pack(own: Option<&Path>) -> anyhow::Result<Pack> {
    let pack = match own {
        Some(folder) => Pack::load(folder),
        None => Pack::builtin(),
    };
    pack.context("the rule pack cannot be read")
}

/// The account of the operating system that runs the command, as evidence of who looked.
pub fn os_account() -> String {
    let uid = std::fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data)).ok();
    let named = uid.and_then(|uid| {
        let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
        passwd.lines().find_map(|line| {
            let mut parts = line.split(':');
            let (name, found) = (parts.next()?, parts.nth(1)?);
            (found.parse() == Ok(uid)).then(|| name.to_owned())
        })
    });
    match (named, uid) {
        (Some(name), _) => format!("os:{name}"),
        (None, Some(uid)) => format!("os:uid-{uid}"),
        (None, None) => {
            std::env::var("USER").map_or_else(|_| "os:unknown".into(), |user| format!("os:{user}"))
        }
    }
}

/// Whose records a table names, each once.
pub fn subjects_in(batches: &[RecordBatch]) -> Vec<String> {
    let mut subjects = BTreeSet::new();
    for batch in batches {
        let Some(column) =
            batch.column_by_name("subject_id").and_then(|column| column.as_string_opt::<i32>())
        else {
            continue;
        };
        subjects.extend(column.iter().flatten().map(str::to_owned));
    }
    subjects.into_iter().collect()
}
