//! The worklist.

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_review::{Filter, Scope};
use insyn_rules::{Finding, FindingStatus, Level, Rule};

use super::{Choice, Page, Pager, Visitor, html, words};
use crate::{
    app::App,
    forms::Parameters,
    guard::Caller,
    lang::{self, Lang},
    look,
    names::{Names, Wanted, dashed},
    problem::Problem,
    rest,
};

/// Findings of a page.
const PAGE: usize = 25;

#[derive(Template)]
#[template(path = "findings.html")]
struct FindingsPage {
    page: Page,
    levels: Vec<Choice>,
    statuses: Vec<Choice>,
    rules: Vec<RuleChoice>,
    filtered: bool,
    covered: bool,
    count: String,
    findings: Vec<Card>,
    pager: Pager,
}

/// A rule in a list of a form.
pub(crate) struct RuleChoice {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) selected: bool,
}

impl RuleChoice {
    pub(crate) fn all(app: &App, lang: Lang, chosen: Option<&str>) -> Vec<RuleChoice> {
        let choice = |rule: &Rule| RuleChoice {
            key: rule.id.clone(),
            name: lang.of(&rule.title).to_owned(),
            selected: chosen == Some(&rule.id),
        };
        app.pack.rules().iter().map(choice).collect()
    }
}

/// A finding in a list.
pub(crate) struct Card {
    pub(crate) id: String,
    pub(crate) href: String,
    pub(crate) level_key: &'static str,
    pub(crate) level: &'static str,
    pub(crate) score: u8,
    pub(crate) status: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) title: String,
    pub(crate) when: String,
    /// Empty where nobody is to be named.
    pub(crate) user: String,
    pub(crate) subject: String,
    pub(crate) unit: String,
    pub(crate) count: String,
    pub(crate) reason: String,
}

impl Card {
    /// For pages that name nobody.
    pub(crate) fn without_people(app: &App, lang: Lang, finding: &Finding) -> Card {
        let t = lang.texts();
        Card {
            id: finding.finding_id.clone(),
            href: format!("/findings/{}", finding.finding_id),
            level_key: finding.level.as_str(),
            level: words::level(t, finding.level),
            score: finding.score,
            status: words::status(t, finding.status),
            outcome: match finding.outcome {
                insyn_rules::Outcome::None => "",
                outcome => words::outcome(t, outcome),
            },
            title: if lang == Lang::Sv { finding.title_sv.clone() } else { finding.title_en.clone() },
            when: period(app, finding),
            user: String::new(),
            subject: String::new(),
            unit: String::new(),
            count: words::counted(lang, t.events_one, t.events_n, finding.event_count),
            reason: String::new(),
        }
    }

    /// With who, whose and from where.
    pub(crate) fn of(app: &App, lang: Lang, finding: &Finding, names: &Names) -> Card {
        let t = lang.texts();
        Card {
            user: names.user(&finding.user_id),
            subject: match &finding.subject_id {
                Some(id) => [names.subject(id), &dashed(id)].join(" ").trim().to_owned(),
                None => t.several.to_owned(),
            },
            unit: finding.care_unit_id.as_deref().map_or_else(|| t.unknown.to_owned(), |id| names.unit(id)),
            reason: finding.reasons.first().map(|reason| lang.of(reason).to_owned()).unwrap_or_default(),
            ..Card::without_people(app, lang, finding)
        }
    }
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let level = parameters.word::<Level>("level")?;
    let status = parameters.word::<FindingStatus>("status")?;
    let covered = parameters.get("covered") == Some("yes");
    let rule = parameters.get("rule").map(|id| rest::rules::known(&app, id)).transpose()?;
    let rule = rule.map(|rule| rule.id.clone());
    let filter = Filter {
        level: level.into_iter().collect(),
        status: status.into_iter().collect(),
        rule: rule.clone(),
        covered: (!covered).then_some(false),
        ..Filter::default()
    };
    let scope = Scope::of(&caller.principal)?;
    let found = app.db.list(&filter, &scope, parameters.get("cursor"), PAGE).await?;
    let all: u64 = app.db.counts_of(&filter, &scope).await?.iter().map(|count| count.count).sum();
    let mut wanted = Wanted::default();
    for view in &found.items {
        want(&mut wanted, &view.finding);
    }
    let names = Names::read(&rest::session(&app).await?, &wanted).await;
    look::look(&app, &caller, rest::findings::seen("findings", &found.items, None)).await?;

    let findings = found.items.iter().map(|view| Card::of(&app, lang, &view.finding, &names)).collect();
    let chosen = [
        level.map(|level| format!("level={level}")),
        status.map(|status| format!("status={status}")),
        rule.as_ref().map(|rule| format!("rule={rule}")),
        covered.then(|| "covered=yes".to_owned()),
    ];
    let chosen: Vec<String> = chosen.into_iter().flatten().collect();
    let address = |more: Option<String>| {
        let query: Vec<String> = chosen.iter().cloned().chain(more).collect();
        if query.is_empty() { "/findings".to_owned() } else { format!("/findings?{}", query.join("&")) }
    };
    let pager = Pager {
        first: parameters.get("cursor").map(|_| address(None)),
        next: found.next.as_ref().map(|next| address(Some(format!("cursor={next}")))),
    };
    let choice =
        |key: &'static str, name: &'static str, selected| Choice { key, name: name.to_owned(), selected };
    Ok(html(&FindingsPage {
        page: Page::new(&app, &visitor, t.findings_title),
        levels: Level::ALL
            .iter()
            .rev()
            .map(|l| choice(l.as_str(), words::level(t, *l), level == Some(*l)))
            .collect(),
        statuses: FindingStatus::ALL
            .iter()
            .map(|s| choice(s.as_str(), words::status(t, *s), status == Some(*s)))
            .collect(),
        rules: RuleChoice::all(&app, lang, rule.as_deref()),
        filtered: !chosen.is_empty(),
        covered,
        count: words::counted(lang, t.findings_one, t.findings_n, all),
        findings,
        pager,
    }))
}

/// The ids whose names a finding needs.
pub(crate) fn want(wanted: &mut Wanted, finding: &Finding) {
    wanted.users.insert(finding.user_id.clone());
    wanted.subjects.extend(finding.subject_id.clone());
    wanted.units.extend(finding.care_unit_id.clone());
}

/// When it was: one time, or the first and the last.
fn period(app: &App, finding: &Finding) -> String {
    let (first, last) =
        (lang::minute(app.zone(), finding.first_at), lang::minute(app.zone(), finding.last_at));
    match (first.split_once(' '), last.split_once(' ')) {
        _ if first == last => first,
        (Some((day, _)), Some((same, time))) if day == same => format!("{first}–{time}"),
        _ => format!("{first} – {last}"),
    }
}
