//! Which loads a session goes by, and of when it shows what they say.

use chrono::NaiveDateTime;
use object_store::ObjectStore;

use super::ContextError;
use super::manifest::{Manifest, current, ids, of_load};

/// What is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KnownAt {
    /// All that has been loaded.
    #[default]
    Now,
    /// What had been loaded at an instant, µs UTC.
    Time(i64),
    /// What had been loaded when this load was the newest.
    Load(String),
}

/// What is known, and of when it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    /// By which loads.
    pub known: KnownAt,
    /// Context tables hold what was so at this instant, µs UTC; none: what the newest known load has.
    pub as_of: Option<i64>,
}

/// The loads that a session goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The newest that is known to it.
    pub(crate) shown: Manifest,
    /// The one that names the files.
    pub(crate) files: Manifest,
    /// Rows are those that were known then, µs UTC; none: those of `files`.
    pub(crate) at: Option<i64>,
}

impl Sight {
    fn whole(manifest: Manifest) -> Sight {
        Sight { shown: manifest.clone(), files: manifest, at: None }
    }
}

/// What is known; none where nothing had been loaded.
pub(crate) async fn sight(store: &dyn ObjectStore, known: &KnownAt) -> Result<Option<Sight>, ContextError> {
    let newest = current(store).await?;
    match (known, newest) {
        (KnownAt::Now, newest) => Ok(newest.map(Sight::whole)),
        (KnownAt::Time(at), Some(newest)) => at_time(store, newest, *at).await,
        (KnownAt::Time(_), None) => Ok(None),
        (KnownAt::Load(id), newest) => match newest {
            Some(newest) if newest.id == *id => Ok(Some(Sight::whole(newest))),
            newest => of_id(store, newest, id).await.map(Some),
        },
    }
}

async fn at_time(store: &dyn ObjectStore, newest: Manifest, at: i64) -> Result<Option<Sight>, ContextError> {
    if newest.known_at() <= at {
        return Ok(Some(Sight::whole(newest)));
    }
    // Loads come in order of both times: before one that became known later nothing later counts.
    let late = newest.history.iter().flat_map(|history| &history.late);
    let unknown = late.filter(|(_, known)| *known > at).map(|(of, _)| of - 1);
    let at = unknown.chain([at]).min().unwrap_or(at);
    let since = newest.history.as_ref().map_or(i64::MAX, |history| history.since);
    let mut shown = None;
    for id in ids(store).await?.into_iter().rev().filter(|id| *id < newest.id) {
        shown = of_load(store, &id).await?.filter(|load| load.loaded_at <= at);
        if shown.is_some() {
            break;
        }
    }
    match shown {
        // Kept whole by an earlier version.
        Some(load) if at < since => Ok(Some(Sight::whole(load))),
        _ if at < since => Ok(None),
        shown => {
            let shown =
                shown.filter(|load| load.history.is_some()).unwrap_or_else(|| stands_for(&newest, at));
            Ok(Some(Sight { shown, files: newest, at: Some(at) }))
        }
    }
}

async fn of_id(store: &dyn ObjectStore, newest: Option<Manifest>, id: &str) -> Result<Sight, ContextError> {
    let none = || ContextError::NoLoad;
    let newest = newest.ok_or_else(none)?;
    let kept = match ids(store).await?.iter().any(|known| known == id) {
        true => of_load(store, id).await?,
        false => None,
    };
    match (kept, &newest.history) {
        (Some(load), _) if load.history.is_none() => Ok(Sight::whole(load)),
        (Some(load), _) => Ok(Sight { at: Some(load.loaded_at), shown: load, files: newest }),
        (None, Some(history)) => {
            // Its rows are in the history; of itself its name is left, which says when it was.
            let at =
                stamp(id).filter(|at| (history.since..newest.loaded_at).contains(at)).ok_or_else(none)?;
            let shown = Manifest { id: id.to_owned(), ..stands_for(&newest, at) };
            Ok(Sight { shown, files: newest, at: Some(at) })
        }
        (None, None) => Err(none()),
    }
}

/// A load of which no more is known than when it was.
fn stands_for(newest: &Manifest, at: i64) -> Manifest {
    let id = format!("known at {}", super::shown(at));
    Manifest { id, loaded_at: at, made_at: None, ..newest.clone() }
}

/// When a load was made, by its name.
fn stamp(id: &str) -> Option<i64> {
    let stamp = id.split('-').next()?;
    let at = NaiveDateTime::parse_from_str(stamp.trim_end_matches('z'), "%Y%m%dT%H%M%S%.6fZ").ok()?;
    Some(at.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_loads_name_says_when_it_was_made() {
        for (id, at) in [
            ("20260303T040506.000007Z-0a1b2c3d", Some("2026-03-03T04:05:06.000007Z")),
            ("20260303T040506.000007Zzz-0a1b2c3d", Some("2026-03-03T04:05:06.000007Z")),
            ("yesterday", None),
            ("", None),
        ] {
            let at = at.map(|at| chrono::DateTime::parse_from_rfc3339(at).unwrap().timestamp_micros());
            assert_eq!(stamp(id), at, "{id}");
        }
    }
}
