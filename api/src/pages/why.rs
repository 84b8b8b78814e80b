//! Why somebody looked: what the explanations say of each visit.

use std::collections::BTreeMap;

use insyn_engine::session::Session;
use insyn_rules::{Asked, Because, Reasons, Standing};

use crate::{
    app::App,
    lang::Lang,
    problem::Problem,
    texts::fill,
    trail::{Access, Visit},
};

/// What is said of a visit.
#[derive(Debug, Default)]
pub(crate) struct WhyRow {
    pub(crate) reasons: Vec<WhyLine>,
    /// Where no reason is enough; empty otherwise.
    pub(crate) standing: &'static str,
}

/// One reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WhyLine {
    pub(crate) text: String,
    pub(crate) by_user: bool,
}

/// The reasons of these visits; `asked` are ids under which the person was asked for.
pub(crate) async fn read(
    app: &App,
    session: &Session,
    asked: impl Iterator<Item = String>,
    visits: &[Visit],
) -> Result<Reasons, Problem> {
    let accesses = || visits.iter().flat_map(|visit| &visit.accesses);
    let (Some(from), Some(to)) =
        (accesses().map(|access| access.at).min(), accesses().map(|access| access.at).max())
    else {
        return Ok(Reasons::default());
    };
    let written = accesses().map(|access| access.subject_id.clone()).filter(|id| !id.is_empty());
    let mut subjects: Vec<String> = written.chain(asked).collect();
    subjects.sort_unstable();
    subjects.dedup();
    Ok(insyn_rules::explain(&app.pack, session, &Asked { subjects, from, to: to + 1 }).await?)
}

/// What is not told, and for want of what; empty when nothing is missing.
pub(crate) fn missing(lang: Lang, reasons: &Reasons) -> Option<String> {
    let tables: Vec<&str> = reasons.missing.iter().map(String::as_str).collect();
    let failed: Vec<&str> = reasons.failed.iter().map(|(explanation, _)| explanation.as_str()).collect();
    let all = [tables, failed].concat();
    (!all.is_empty()).then(|| fill(lang.texts().why_missing, &[("what", &all.join(", "))]))
}

/// How many visits nothing explains, by whoever `key` tells apart.
pub(crate) fn unexplained<'a>(
    reasons: &Reasons,
    visits: &'a [Visit],
    key: fn(&Access) -> &str,
) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    let is_open =
        |access: &Access| reasons.standing((access.segment, access.seq)) == Some(Standing::Unexplained);
    for visit in visits.iter().filter(|visit| visit.accesses.iter().any(is_open)) {
        *counts.entry(visit.accesses.first().map_or("", key)).or_default() += 1;
    }
    counts
}

/// What is said of one visit: each reason once, and whether all of it is explained.
pub(crate) fn of(lang: Lang, reasons: &Reasons, visit: &Visit) -> WhyRow {
    let t = lang.texts();
    let place = |access: &Access| (access.segment, access.seq);
    let mut lines: Vec<WhyLine> = Vec::new();
    for because in visit.accesses.iter().flat_map(|access| reasons.at(place(access))) {
        let line = line(lang, because);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.sort_by_key(|line| line.by_user);
    let standings: Vec<Standing> =
        visit.accesses.iter().filter_map(|access| reasons.standing(place(access))).collect();
    let standing = if standings.contains(&Standing::Unexplained) {
        t.why_unexplained
    } else if standings.contains(&Standing::OnlyByUser) {
        t.why_only_by_user
    } else {
        ""
    };
    WhyRow { reasons: lines, standing }
}

fn line(lang: Lang, because: &Because) -> WhyLine {
    let text = match lang {
        Lang::Sv => &because.reason.sv,
        Lang::En => &because.reason.en,
    };
    WhyLine { text: text.clone(), by_user: because.by_user }
}
