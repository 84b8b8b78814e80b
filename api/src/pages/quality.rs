//! How the rules do: how their findings were judged, and what was measured of rules and explanations. It names nobody, and ranks
//! nobody.

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_review::{ExplanationMeasure, Measurement, RuleMeasure, Verdicts};
use insyn_rules::{Explains, Rule};

use super::{Page, Visitor, html, words};
use crate::{
    app::App,
    guard::Caller,
    lang::{self, Lang},
    problem::Problem,
    rest::quality::{MONTHS, Quality, months, this_month},
    texts::fill,
};

#[derive(Template)]
#[template(path = "quality.html")]
struct QualityPage {
    page: Page,
    lead: String,
    rules: Vec<RuleRow>,
    rules_measured: String,
    explaining: Option<ExplainingPart>,
}

struct RuleRow {
    href: String,
    title: String,
    status: &'static str,
    found: String,
    judged: String,
    suspected: String,
    justified: String,
    other: String,
    left: String,
    settled: String,
    lift: String,
    explained: String,
}

struct ExplainingPart {
    measured: String,
    summary: String,
    rows: Vec<ExplanationRow>,
}

struct ExplanationRow {
    title: String,
    id: String,
    whom: &'static str,
    support: String,
    by_user: String,
    alone: String,
    by_chance: String,
    precision: String,
    failed: String,
}

/// What a rule's own page says of how it does.
#[derive(Default)]
pub(crate) struct Record {
    /// The latest month first.
    pub(crate) months: Vec<MonthRow>,
    /// The latest first.
    pub(crate) measured: Vec<MeasureRow>,
}

/// How a rule's findings of a month were judged.
pub(crate) struct MonthRow {
    pub(crate) month: String,
    pub(crate) found: String,
    pub(crate) suspected: String,
    pub(crate) justified: String,
    pub(crate) mistaken: String,
    pub(crate) cannot_tell: String,
    pub(crate) left: String,
    pub(crate) settled: String,
    pub(crate) covered: String,
}

/// What was measured of a rule once.
pub(crate) struct MeasureRow {
    pub(crate) at: String,
    pub(crate) lift: String,
    pub(crate) explained: String,
    pub(crate) failed: String,
}

pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let months = months(&app, this_month(&app), MONTHS);
    let quality = Quality::read(&app, &caller.principal, &months).await?;
    let rules = quality.rules(&app).iter().map(|id| rule_row(&app, lang, id, &quality)).collect();
    let rules_measured = match quality.lifts.first() {
        Some(latest) => measured(&app, lang, latest),
        None => t.quality_not_measured.to_owned(),
    };
    let explaining = quality.explaining.as_ref().map(|one| ExplainingPart {
        measured: measured(&app, lang, one),
        summary: fill(
            t.explaining_summary,
            &[
                ("explained", &part(lang, one.items.explained_share)),
                ("by_user", &part(lang, one.items.only_by_user_share)),
                ("by_chance", &part(lang, one.items.by_chance_share)),
            ],
        ),
        rows: one.items.explanations.iter().map(|one| explanation_row(&app, lang, one)).collect(),
    });
    Ok(html(&QualityPage {
        page: Page::new(&app, &visitor, t.quality_title),
        lead: fill(t.quality_lead, &[("months", &MONTHS.to_string())]),
        rules,
        rules_measured,
        explaining,
    }))
}

/// What the rule's own page says.
pub(crate) async fn record(app: &App, caller: &Caller, lang: Lang, rule: &Rule) -> Result<Record, Problem> {
    let months = months(app, this_month(app), MONTHS);
    let quality = Quality::read(app, &caller.principal, &months).await?;
    let months = quality.verdicts.iter().rev().filter(|of| of.rule_id == rule.id);
    let measured = quality.measured(&rule.id).map(|(at, measure)| MeasureRow {
        at: lang::minute(app.zone(), at),
        lift: times(lang, measure),
        explained: part(lang, measure.explained_share),
        failed: measure.failed.clone().unwrap_or_default(),
    });
    Ok(Record { months: months.map(|of| month_row(lang, of)).collect(), measured: measured.collect() })
}

fn rule_row(app: &App, lang: Lang, id: &str, quality: &Quality) -> RuleRow {
    let rule = app.pack.rule(id);
    let mut sum = Verdicts::default();
    quality.verdicts.iter().filter(|of| of.rule_id == id).for_each(|of| sum.add(of));
    let measure = quality.measured(id).next().map(|(_, measure)| measure);
    let of_judged = |n: u64| lang.percent(n, sum.judged());
    RuleRow {
        href: rule.map(|rule| format!("/rules/{}", rule.id)).unwrap_or_default(),
        title: rule.map_or_else(|| id.to_owned(), |rule| lang.of(&rule.title).to_owned()),
        status: rule.map_or("–", |rule| words::maturity(lang.texts(), rule.status)),
        found: lang.number(sum.found),
        judged: lang.number(sum.judged()),
        suspected: of_judged(sum.suspected),
        justified: of_judged(sum.justified),
        other: of_judged(sum.mistaken + sum.cannot_tell),
        left: lang.number(sum.left),
        settled: lang.number(sum.settled),
        lift: measure.map_or_else(|| "–".into(), |measure| times(lang, measure)),
        explained: part(lang, measure.and_then(|measure| measure.explained_share)),
    }
}

fn month_row(lang: Lang, of: &Verdicts) -> MonthRow {
    let of_judged = |n: u64| match n {
        0 => lang.number(0),
        n => format!("{} ({})", lang.number(n), lang.percent(n, of.judged())),
    };
    MonthRow {
        month: of.month.clone(),
        found: lang.number(of.found),
        suspected: of_judged(of.suspected),
        justified: of_judged(of.justified),
        mistaken: of_judged(of.mistaken),
        cannot_tell: of_judged(of.cannot_tell),
        left: lang.number(of.left),
        settled: lang.number(of.settled),
        covered: lang.number(of.covered),
    }
}

fn explanation_row(app: &App, lang: Lang, one: &ExplanationMeasure) -> ExplanationRow {
    let t = lang.texts();
    let known = app.pack.explanations().find(|rule| rule.id == one.explanation);
    let whom = match known.and_then(|rule| rule.explains) {
        Some(Explains::Person) => t.explains_person,
        Some(Explains::Unit) => t.explains_unit,
        Some(Explains::Provider) => t.explains_provider,
        None => "–",
    };
    ExplanationRow {
        title: known.map_or_else(|| one.explanation.clone(), |rule| lang.of(&rule.title).to_owned()),
        id: one.explanation.clone(),
        whom,
        support: part(lang, one.support_share),
        by_user: part(lang, one.by_user_share),
        alone: part(lang, one.alone_share),
        by_chance: part(lang, one.by_chance_share),
        precision: part(lang, one.precision),
        failed: one.failed.clone().unwrap_or_default(),
    }
}

fn measured<T>(app: &App, lang: Lang, one: &Measurement<T>) -> String {
    let day = |at: i64| lang::date(app.zone(), at);
    let period = match (one.from, one.to) {
        (None, None) => lang.texts().quality_everything.to_owned(),
        (from, to) => {
            format!(
                "{} – {}",
                from.map(day).unwrap_or_default(),
                to.map(|to| day(to - 1)).unwrap_or_default()
            )
        }
    };
    let at = lang::minute(app.zone(), one.measured_at);
    fill(lang.texts().quality_measured, &[("at", &at), ("by", &one.measured_by), ("period", &period)])
}

/// `3.2 ×`; a dash where chance names nobody.
fn times(lang: Lang, measure: &RuleMeasure) -> String {
    measure.lift.map_or_else(|| "–".to_owned(), |lift| format!("{}\u{a0}×", lang.decimal(lift)))
}

fn part(lang: Lang, share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| lang.share(share))
}
