//! Names for ids, out of the context tables, so that pages show people and units rather than codes.

use std::collections::{BTreeMap, BTreeSet};

use insyn_engine::context::over_time;
use insyn_engine::session::Session;

use crate::rows::Cells;

/// Ids asked for at once; more would only be more than a page shows.
const MOST: usize = 500;

/// What is known of the ids on a page.
#[derive(Debug, Default)]
pub(crate) struct Names {
    users: BTreeMap<String, (String, String)>,
    subjects: BTreeMap<String, (String, bool)>,
    units: BTreeMap<String, String>,
}

/// Ids whose names a page needs.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) users: BTreeSet<String>,
    pub(crate) subjects: BTreeSet<String>,
    pub(crate) units: BTreeSet<String>,
}

impl Names {
    /// Reads what the context tables say, also of those whom only earlier loads knew. A table that is empty or cannot be read gives no names and is no fault: the
    /// page then shows ids.
    pub(crate) async fn read(session: &Session, wanted: &Wanted) -> Names {
        Names::read_at(session, wanted, None).await
    }

    /// The same as they were called at an instant, µs UTC.
    pub(crate) async fn read_at(session: &Session, wanted: &Wanted, at: Option<i64>) -> Names {
        let mut names = Names::default();
        for (id, name, more) in rows(session, "staff", ["user_id", "name", "title"], &wanted.users, at).await
        {
            names.users.insert(id, (name, more));
        }
        for (id, name, more) in
            rows(session, "subjects", ["subject_id", "name", "protected_identity"], &wanted.subjects, at)
                .await
        {
            names.subjects.insert(id, (name, more == "true"));
        }
        for (id, name, _) in rows(session, "units", ["care_unit_id", "name", "name"], &wanted.units, at).await
        {
            names.units.insert(id, name);
        }
        names
    }

    /// The name, else the id.
    pub(crate) fn user(&self, id: &str) -> String {
        self.users
            .get(id)
            .map(|(name, _)| name.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| id.to_owned())
    }

    /// The professional title, or nothing.
    pub(crate) fn title(&self, id: &str) -> &str {
        self.users.get(id).map(|(_, title)| title.as_str()).unwrap_or_default()
    }

    /// The name, or nothing.
    pub(crate) fn subject(&self, id: &str) -> &str {
        self.subjects.get(id).map(|(name, _)| name.as_str()).unwrap_or_default()
    }

    pub(crate) fn is_protected(&self, id: &str) -> bool {
        self.subjects.get(id).is_some_and(|(_, protected)| *protected)
    }

    /// The name, else the id.
    pub(crate) fn unit(&self, id: &str) -> String {
        self.units.get(id).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| id.to_owned())
    }
}

/// A personal number as people write it: `19121212-1212`. Other ids as they are.
pub(crate) fn dashed(id: &str) -> String {
    if id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{}-{}", &id[..8], &id[8..])
    } else {
        id.to_owned()
    }
}

async fn rows(
    session: &Session,
    table: &str,
    [key, name, more]: [&str; 3],
    ids: &BTreeSet<String>,
    at: Option<i64>,
) -> Vec<(String, String, String)> {
    let list: Vec<String> = ids
        .iter()
        .filter(|id| !id.is_empty())
        .take(MOST)
        .map(|id| format!("'{}'", id.replace('\'', "''")))
        .collect();
    if list.is_empty() {
        return Vec::new();
    }
    // Of several the last counts: the one that held then, else the one that was said last.
    let then = match at {
        Some(at) => format!("valid_at(valid_from, valid_to, TIMESTAMP '{}'), ", crate::lang::rfc3339(at)),
        None => String::new(),
    };
    let query = format!(
        "SELECT {key} AS id, {name} AS name, {more} AS more FROM {} WHERE {key} IN ({}) \
         ORDER BY {then}valid_to ASC NULLS LAST",
        over_time(table),
        list.join(", ")
    );
    let answer = match session.sql(&query).await {
        Ok(answer) => answer,
        Err(fault) => {
            tracing::warn!("names of {table} could not be read: {fault}");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for batch in &answer.batches {
        let cells = Cells::of(batch);
        let (ids, names, mores) = (cells.texts("id"), cells.texts("name"), cells.texts("more"));
        found.extend(
            (0..batch.num_rows())
                .map(|row| (ids.get(row).to_owned(), names.get(row).to_owned(), mores.get(row).to_owned())),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_numbers_get_their_dash() {
        for (id, shown) in
            [("191212121212", "19121212-1212"), ("R12345678901", "R12345678901"), ("", ""), ("1912", "1912")]
        {
            assert_eq!(dashed(id), shown);
        }
    }
}
