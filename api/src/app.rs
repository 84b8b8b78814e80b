//! What every handler needs: the rooms below, and what is kept only while the process lives.

use std::{path::PathBuf, sync::Arc};

use chrono_tz::Tz;
use insyn_engine::{config::Organisation, lake::Lake};
use insyn_ingest::{SourceConfig, spool::OwnLog};
use insyn_receive::Receivers;
use insyn_review::Db;
use insyn_rules::Pack;

use crate::{handles::Handles, overdue::CountPastTime};

/// What `src` hands in. All of it is cheap to clone or shared.
pub struct AppParts {
    /// The workflow database.
    pub db: Db,
    /// The lake.
    pub lake: Lake,
    /// Whose installation this is; its zone is that of every time on the pages.
    pub organisation: Organisation,
    /// The rules.
    pub pack: Arc<Pack>,
    /// As configured; for their state.
    pub sources: Vec<SourceConfig>,
    /// The folder of `insyn.toml`, to which relative paths of sources belong.
    pub base: PathBuf,
    /// Where others hand in records.
    pub receivers: Receivers,
    /// Where each look at personal data is written.
    pub own: OwnLog,
    /// In the demo: the accounts that the sign-in page shows. Empty otherwise.
    pub demo: Vec<DemoAccount>,
    /// Counts what is past its time in the lake, for `/metrics`.
    pub count_past_time: CountPastTime,
    /// True when people reach this through TLS: cookies are then marked `Secure`.
    pub secure: bool,
}

/// An account that the demo's sign-in page shows to everybody.
#[derive(Clone)]
pub struct DemoAccount {
    pub login: String,
    pub password: String,
    /// The person's name.
    pub name: String,
    /// What they are and may do, in Swedish and English.
    pub what: insyn_rules::Text,
    /// Gives the one-time code that works now; empty where the account has none.
    pub code: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What every handler needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) parts: AppParts,
    pub(crate) handles: Handles,
    pub(crate) counters: crate::health::Counters,
    pub(crate) recent: crate::quiet::Kept,
    pub(crate) trials: crate::trials::Trials,
    pub(crate) past_time: crate::overdue::Kept,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: AppParts) -> App {
        let inner = Inner {
            parts,
            handles: Handles::default(),
            counters: Default::default(),
            recent: Default::default(),
            trials: Default::default(),
            past_time: Default::default(),
        };
        App { inner: Arc::new(inner) }
    }

    /// The organisation's zone.
    pub(crate) fn zone(&self) -> Tz {
        self.organisation.timezone
    }

    pub(crate) fn handles(&self) -> &Handles {
        &self.inner.handles
    }

    pub(crate) fn recent(&self) -> &crate::quiet::Kept {
        &self.inner.recent
    }

    pub(crate) fn trials(&self) -> &crate::trials::Trials {
        &self.inner.trials
    }

    pub(crate) fn past_time(&self) -> &crate::overdue::Kept {
        &self.inner.past_time
    }

    pub(crate) fn counters(&self) -> &crate::health::Counters {
        &self.inner.counters
    }
}

impl std::ops::Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.inner.parts
    }
}

/// Now, in µs since 1970, UTC.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
