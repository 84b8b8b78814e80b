//! Opaque names for whose record or which user a page is about, so that no personal number stands in an address.
//!
//! A handle is random, belongs to one session and lives in memory: after a restart the link no longer holds, and one
//! searches again. It also keeps what was stated as the reason, for an hour.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rand::Rng;

/// How many handles are kept; the least recently used quarter goes when there are more.
const MOST: usize = 20_000;
/// For how long a stated reason holds.
const REASON_HOLDS: Duration = Duration::from_secs(60 * 60);

/// What a page is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) of: Of,
    /// Set where the link came from a finding that the person may read: what may be seen around it.
    pub(crate) around: Option<Around>,
}

/// Of what a page shows accesses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    Record(String),
    User(String),
    /// The visit that an event is a part of.
    Visit {
        event: String,
        source: String,
    },
    /// What was done while somebody was signed in once.
    Session {
        id: String,
        source: String,
    },
    /// From a unit.
    Unit(String),
    /// What those who looked in both of these records did there.
    Both(String, String),
}

impl Of {
    /// The folder of its pages.
    pub(crate) fn folder(&self) -> &'static str {
        match self {
            Of::Record(_) => "records",
            Of::User(_) => "users",
            Of::Visit { .. } | Of::Session { .. } | Of::Unit(_) | Of::Both(..) => "traces",
        }
    }
}

/// A finding, and the time around it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Around {
    pub(crate) finding: String,
    /// The unit that the finding is about.
    pub(crate) unit: Option<String>,
    /// µs UTC, half-open.
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// Why somebody wants to see it, in their words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stated {
    pub(crate) reason: Option<String>,
    pub(crate) case: Option<String>,
}

impl Stated {
    /// `None` unless a reason or a case says something.
    pub(crate) fn new(reason: Option<&str>, case: Option<&str>) -> Option<Stated> {
        let clean = |text: Option<&str>| {
            let text: String = text?.chars().filter(|c| !c.is_control()).take(500).collect();
            let text = text.trim().to_owned();
            text.chars().any(char::is_alphanumeric).then_some(text)
        };
        let stated = Stated { reason: clean(reason), case: clean(case) };
        (stated != Stated::default()).then_some(stated)
    }

    /// For the page: what was stated.
    pub(crate) fn shown(&self) -> String {
        [&self.reason, &self.case].into_iter().flatten().cloned().collect::<Vec<_>>().join(" · ")
    }
}

/// All handles of the process.
#[derive(Default)]
pub(crate) struct Handles {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_handle: HashMap<String, Entry>,
    by_target: HashMap<(String, Target), String>,
    clock: u64,
}

struct Entry {
    session: String,
    target: Target,
    stated: Option<(Stated, Instant)>,
    used: u64,
}

impl Handles {
    /// The handle for `target` in this session; the same as long as it is kept.
    pub(crate) fn make(&self, session: &str, target: Target) -> String {
        let mut inner = self.lock();
        inner.clock += 1;
        let now = inner.clock;
        if let Some(handle) = inner.by_target.get(&(session.to_owned(), target.clone())).cloned() {
            if let Some(entry) = inner.by_handle.get_mut(&handle) {
                entry.used = now;
            }
            return handle;
        }
        if inner.by_handle.len() >= MOST {
            inner.forget_oldest();
        }
        let handle = random();
        inner.by_target.insert((session.to_owned(), target.clone()), handle.clone());
        let entry = Entry { session: session.to_owned(), target, stated: None, used: now };
        inner.by_handle.insert(handle.clone(), entry);
        handle
    }

    /// What the handle stands for, and what was stated for it, when it is this session's.
    pub(crate) fn find(&self, session: &str, handle: &str) -> Option<(Target, Option<Stated>)> {
        let mut inner = self.lock();
        inner.clock += 1;
        let now = inner.clock;
        let entry = inner.by_handle.get_mut(handle).filter(|entry| entry.session == session)?;
        entry.used = now;
        let stated = entry.stated.as_ref().filter(|(_, at)| at.elapsed() < REASON_HOLDS);
        Some((entry.target.clone(), stated.map(|(stated, _)| stated.clone())))
    }

    /// Keeps what was stated. False when the handle is not this session's.
    pub(crate) fn state(&self, session: &str, handle: &str, stated: Stated) -> bool {
        let mut inner = self.lock();
        let entry = inner.by_handle.get_mut(handle).filter(|entry| entry.session == session);
        entry.map(|entry| entry.stated = Some((stated, Instant::now()))).is_some()
    }

    /// Forgets a session's handles when it ends.
    pub(crate) fn forget(&self, session: &str) {
        let mut inner = self.lock();
        inner.by_handle.retain(|_, entry| entry.session != session);
        inner.by_target.retain(|(of, _), _| of != session);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere cannot leave the maps half-changed in a way that matters: at worst a link is lost.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_oldest(&mut self) {
        let mut used: Vec<u64> = self.by_handle.values().map(|entry| entry.used).collect();
        used.sort_unstable();
        let limit = used[used.len() / 4];
        self.by_handle.retain(|_, entry| entry.used > limit);
        let by_handle = &self.by_handle;
        self.by_target.retain(|_, handle| by_handle.contains_key(handle));
    }
}

/// A name that nobody guesses.
pub(crate) fn random() -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let bytes: [u8; 16] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(id: &str) -> Target {
        Target { of: Of::Record(id.into()), around: None }
    }

    #[test]
    fn a_handle_says_nothing_and_belongs_to_one_session() {
        let handles = Handles::default();
        let handle = handles.make("a", record("191212121212"));
        assert!(!handle.contains("1212"));
        assert_eq!(handle, handles.make("a", record("191212121212")), "links stay the same within a session");
        assert_ne!(handle, handles.make("b", record("191212121212")));
        assert_eq!(handles.find("a", &handle), Some((record("191212121212"), None)));
        assert_eq!(handles.find("b", &handle), None);
        let stated = Stated::new(Some("utdrag"), None).unwrap();
        assert!(!handles.state("b", &handle, stated.clone()));
        assert!(handles.state("a", &handle, stated.clone()));
        assert_eq!(handles.find("a", &handle).unwrap().1, Some(stated));
        handles.forget("a");
        assert_eq!(handles.find("a", &handle), None);
    }

    #[test]
    fn memory_is_bounded_and_the_recently_used_stay() {
        let handles = Handles::default();
        let first = handles.make("a", record("first"));
        for i in 0..MOST {
            handles.make("a", record(&i.to_string()));
            handles.find("a", &first);
        }
        let inner = handles.lock();
        assert!(inner.by_handle.len() <= MOST && inner.by_target.len() == inner.by_handle.len());
        drop(inner);
        assert!(handles.find("a", &first).is_some());
    }

    #[test]
    fn a_reason_says_something() {
        for empty in ["", "   ", "...", "\u{7}\n"] {
            assert_eq!(Stated::new(Some(empty), Some("")), None, "{empty:?}");
        }
        assert_eq!(Stated::new(None, Some(" Ä-12\n")).unwrap().case.as_deref(), Some("Ä-12"));
    }
}
