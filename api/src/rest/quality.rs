//! How the rules do: how their findings were judged, and what was measured of them and of the explanations. It names nobody.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{Datelike, Months, NaiveDate};
use insyn_review::{Explaining, Measurement, Principal, RuleMeasure, Verdicts};
use serde_json::{Value, json};

use crate::{
    app::{App, now},
    forms::{Parameters, midnight},
    guard::Caller,
    lang::{self, rfc3339},
    problem::Problem,
};

/// Months that are looked back on when nobody says.
pub(crate) const MONTHS: usize = 12;
/// At most.
const MOST: usize = 36;
/// Measurements that are told of, to see how they drift.
const MEASUREMENTS: usize = 12;

/// A month by its name, and when it begins.
type Month = (String, i64);

/// What is known of how the rules do.
pub(crate) struct Quality {
    /// In order of rule and month.
    pub(crate) verdicts: Vec<Verdicts>,
    /// The latest first.
    pub(crate) lifts: Vec<Measurement<Vec<RuleMeasure>>>,
    pub(crate) explaining: Option<Measurement<Explaining>>,
}

impl Quality {
    /// Of these months, within what the principal may count.
    pub(crate) async fn read(app: &App, principal: &Principal, months: &[Month]) -> Result<Quality, Problem> {
        Ok(Quality {
            verdicts: app.db.verdicts(principal, months).await?,
            lifts: app.db.lifts(principal, MEASUREMENTS).await?,
            explaining: app.db.explaining(principal).await?,
        })
    }

    /// The rules of the pack, and those that have findings from earlier.
    pub(crate) fn rules(&self, app: &App) -> BTreeSet<String> {
        let found = self.verdicts.iter().map(|of| &of.rule_id);
        app.pack.rules().iter().map(|rule| &rule.id).chain(found).cloned().collect()
    }

    /// What was measured of the rule, the latest first, with when.
    pub(crate) fn measured<'a>(&'a self, rule: &'a str) -> impl Iterator<Item = (i64, &'a RuleMeasure)> {
        self.lifts.iter().filter_map(move |one| {
            let found = one.items.iter().find(|measure| measure.rule_id == rule)?;
            Some((one.measured_at, found))
        })
    }
}

/// How the rules do: by rule and month how findings were judged or left; lift and explained share as they were measured; and
/// what each explanation explains, alone and by chance.
#[utoipa::path(get, path = "/api/v1/quality", tag = "rules", params(
    ("months" = Option<usize>, Query, description = "How many months; 12 when not given, at most 36"),
    ("until" = Option<String>, Query, description = "The last of them, as 2026-03; this one when not given")),
    responses(
    (status = 200, description = "By rule; within the caller's controllers and units. Counts of what was measured over the whole \
                                  installation are null for whoever is bound to some", body = super::rules::List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&["months", "until"], |_| false)?;
    let count = parameters.count("months", MOST)?.unwrap_or(MONTHS);
    let last = match parameters.get("until") {
        Some(text) => format!("{text}-01")
            .parse()
            .map_err(|_| Problem::bad_request("bad_parameter", "until: expected a month as 2026-03"))?,
        None => this_month(&app),
    };
    let quality = Quality::read(&app, &caller.principal, &months(&app, last, count)).await?;
    let item = |id: &String| {
        let rule = app.pack.rule(id);
        let months: Vec<&Verdicts> = quality.verdicts.iter().filter(|of| of.rule_id == *id).collect();
        let measured: Vec<Value> = quality
            .measured(id)
            .map(|(at, measure)| {
                let mut measured = json!(measure);
                measured["measured_at"] = json!(rfc3339(at));
                measured
            })
            .collect();
        let (status, level) = (rule.map(|rule| rule.status), rule.map(|rule| rule.level));
        json!({ "rule_id": id, "status": status, "level": level, "months": months, "measured": measured })
    };
    let items: Vec<Value> = quality.rules(&app).iter().map(item).collect();
    let explaining = quality.explaining.as_ref().map(|one| {
        let mut body = json!(one.items);
        body["measured_at"] = json!(rfc3339(one.measured_at));
        body["measured_by"] = json!(one.measured_by);
        body["from"] = json!(one.from.map(rfc3339));
        body["to"] = json!(one.to.map(rfc3339));
        body
    });
    Ok(axum::Json(json!({ "items": items, "explaining": explaining, "cursor": null })).into_response())
}

/// The first day of the month that it is here.
pub(crate) fn this_month(app: &App) -> NaiveDate {
    let today = lang::date(app.zone(), now()).parse::<NaiveDate>().unwrap_or_default();
    today.with_day(1).unwrap_or(today)
}

/// So many months to the one that begins on `last`, in order.
pub(crate) fn months(app: &App, last: NaiveDate, count: usize) -> Vec<Month> {
    let month = |back: usize| {
        let first = last.checked_sub_months(Months::new(u32::try_from(back).ok()?))?;
        Some((first.format("%Y-%m").to_string(), midnight(first, app.zone())?))
    };
    (0..count).rev().filter_map(month).collect()
}
