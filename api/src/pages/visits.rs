//! Visits and accesses as rows of a page: times in the zone, names for ids.

use super::{why::WhyRow, words};
use crate::{
    app::App,
    lang::{self, Lang},
    names::{Names, dashed},
    trail::{Access, Visit},
};

/// A visit, for the table of accesses and for a finding's timeline.
pub(crate) struct VisitRow {
    pub(crate) day: String,
    pub(crate) span: String,
    pub(crate) who: String,
    pub(crate) unit: String,
    pub(crate) count: String,
    /// Where the visit by itself, and the whole time that they were signed in, can be seen.
    pub(crate) visit_href: Option<String>,
    pub(crate) session_href: Option<String>,
    /// Who, and whose record, where rows are of several of both.
    pub(crate) between: Option<[Somebody; 2]>,
    /// Why, where that was asked for.
    pub(crate) why: WhyRow,
    pub(crate) events: Vec<EventRow>,
}

/// A user or a person, and where all of theirs can be seen.
pub(crate) struct Somebody {
    pub(crate) name: String,
    pub(crate) detail: String,
    pub(crate) href: Option<String>,
}

/// One access of a visit.
pub(crate) struct EventRow {
    pub(crate) iso: String,
    pub(crate) time: String,
    pub(crate) ambiguous: bool,
    pub(crate) activity: String,
    pub(crate) part: String,
    pub(crate) emergency: bool,
    pub(crate) outcome: &'static str,
    pub(crate) unit: String,
    /// Where all of the unit can be seen.
    pub(crate) unit_href: Option<String>,
    pub(crate) purpose: String,
    pub(crate) source: String,
    /// The other side: whose record, or which user.
    pub(crate) person: String,
    pub(crate) person_detail: String,
    /// In a timeline about several people: whose record.
    pub(crate) subject: String,
    pub(crate) detail: String,
}

/// Visits for a finding's timeline.
pub(crate) fn visit_rows(
    app: &App,
    lang: Lang,
    visits: &[Visit],
    names: &Names,
    name_subjects: bool,
) -> Vec<VisitRow> {
    let mut rows = visit_rows_for(app, lang, visits, names, true);
    for (row, visit) in rows.iter_mut().zip(visits) {
        row.who.clear();
        for (event, access) in row.events.iter_mut().zip(&visit.accesses) {
            if name_subjects {
                let (name, detail) = subject_of(access, names, lang.texts().nobody);
                event.subject = format!("{name} {detail}").trim().to_owned();
            }
            event.detail = [access.purpose.as_str(), access.source.as_str()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" · ");
        }
    }
    rows
}

/// Visits for the table of accesses.
pub(crate) fn visit_rows_for(
    app: &App,
    lang: Lang,
    visits: &[Visit],
    names: &Names,
    is_record: bool,
) -> Vec<VisitRow> {
    let t = lang.texts();
    let zone = app.zone();
    visits
        .iter()
        .filter_map(|visit| {
            let first = visit.accesses.first()?;
            let (start, end) = (lang::second(zone, visit.first()), lang::second(zone, visit.last()));
            let other = |access: &Access| {
                if is_record {
                    user_of(access, names, t.unknown)
                } else {
                    subject_of(access, names, t.nobody)
                }
            };
            Some(VisitRow {
                day: lang.day(zone, visit.first()),
                span: if start == end { start } else { format!("{start}–{end}") },
                who: other(first).0,
                unit: unit_of(first, names),
                count: words::counted(lang, t.events_one, t.events_n, visit.accesses.len() as u64),
                visit_href: None,
                session_href: None,
                between: None,
                why: WhyRow::default(),
                events: visit
                    .accesses
                    .iter()
                    .map(|access| {
                        let (person, person_detail) = other(access);
                        EventRow {
                            iso: lang::rfc3339(access.at),
                            time: lang::second(zone, access.at),
                            ambiguous: access.ambiguous,
                            activity: access.activity.clone(),
                            part: access.part.clone(),
                            emergency: access.emergency,
                            outcome: words::event_outcome(t, &access.outcome),
                            unit: unit_of(access, names),
                            unit_href: None,
                            purpose: access.purpose.clone(),
                            source: access.source.clone(),
                            person,
                            person_detail,
                            subject: String::new(),
                            detail: String::new(),
                        }
                    })
                    .collect(),
            })
        })
        .collect()
}

/// Name and details of the user, as the log wrote them, else as the staff table has them.
pub(crate) fn user_of(access: &Access, names: &Names, unknown: &str) -> (String, String) {
    let name = match access.user_name.as_str() {
        "" => names.user(access.actor()),
        name => name.to_owned(),
    };
    let title = if access.user_title.is_empty() { names.title(access.actor()) } else { &access.user_title };
    let parts = [title, access.user_id.as_str()];
    let details: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty() && *part != name).collect();
    (if name.is_empty() { unknown.to_owned() } else { name }, details.join(" · "))
}

/// Name and number of the person, as the context has them, else as the log wrote them.
pub(crate) fn subject_of(access: &Access, names: &Names, nobody: &str) -> (String, String) {
    let known = names.subject(&access.subject_id);
    let name = if known.is_empty() { access.subject_name.as_str() } else { known };
    let number = dashed(&access.subject_id);
    match (name.is_empty(), number.is_empty()) {
        (true, true) => (nobody.to_owned(), String::new()),
        (true, false) => (number, String::new()),
        (false, _) => (name.to_owned(), number),
    }
}

/// The unit's name as the log wrote it, else as the context has it.
pub(crate) fn unit_of(access: &Access, names: &Names) -> String {
    match access.unit_name.as_str() {
        "" => names.unit(&access.unit_id),
        name => name.to_owned(),
    }
}
