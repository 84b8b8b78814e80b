//! Why somebody looked: what the explanations say of each visit.

use std::collections::BTreeMap;

use insyn_engine::session::Session;
use insyn_rules::{Asked, Because, Explains, Reasons, Rule, Standing};

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
pub(crate) fn missing(lang: Lang, reasons: &Reasons) -> Vec<String> {
    let tables: Vec<&str> = reasons.missing.iter().map(String::as_str).collect();
    let failed: Vec<&str> = reasons.failed.iter().map(|(explanation, _)| explanation.as_str()).collect();
    let t = lang.texts();
    let all = [tables, failed].concat();
    let missing = (!all.is_empty()).then(|| fill(t.why_missing, &[("what", &all.join(", "))]));
    missing.into_iter().chain(reasons.uncovered.then(|| t.why_uncovered.to_owned())).collect()
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

/// What is said of one visit: each reason once, and whether all of it is explained. Whoever sees `only_own` units is told
/// what kind of reason their unit has, and nothing of what lies elsewhere.
pub(crate) fn of(app: &App, lang: Lang, reasons: &Reasons, visit: &Visit, only_own: bool) -> WhyRow {
    let t = lang.texts();
    let place = |access: &Access| (access.segment, access.seq);
    let told = |because: &&Because| !only_own || because.explains == Explains::Unit && !because.by_user;
    let mut lines: Vec<WhyLine> = Vec::new();
    for because in visit.accesses.iter().flat_map(|access| reasons.at(place(access))).filter(told) {
        let kind = |known: &&Rule| known.id == because.explanation;
        let title = only_own.then(|| app.pack.explanations().find(kind)).flatten().map(|known| &known.title);
        let text = title.unwrap_or(&because.reason);
        let line = WhyLine { text: lang.of(text).to_owned(), by_user: because.by_user };
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
