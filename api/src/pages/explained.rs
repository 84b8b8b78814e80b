//! How much of what was looked at is explained, by month, source and unit. It names nobody.

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_review::ExplainedMonth;

use super::{Page, Visitor, html};
use crate::{app::App, guard::Caller, lang::Lang, problem::Problem};

#[derive(Template)]
#[template(path = "explained.html")]
struct ExplainedPage {
    page: Page,
    rows: Vec<Row>,
}

struct Row {
    month: String,
    source: String,
    unit: String,
    looks: String,
    explained: String,
    only_by_user: String,
    unexplained: String,
    unknown: String,
    /// 0 to 10, for the bar's width.
    share: u64,
}

pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let mut months = app.db.explained(&caller.principal, None, None).await?;
    // The newest month first; within it where most is unexplained.
    months.sort_by(|a, b| {
        (&b.month, unexplained(b), &a.source, &a.care_unit_id).cmp(&(
            &a.month,
            unexplained(a),
            &b.source,
            &b.care_unit_id,
        ))
    });
    let rows = months.iter().map(|month| row(lang, month)).collect();
    Ok(html(&ExplainedPage { page: Page::new(&app, &visitor, lang.texts().explained_title), rows }))
}

/// What nothing explains, of what something could be known of.
pub(crate) fn unexplained(month: &ExplainedMonth) -> u64 {
    month.looks.saturating_sub(month.explained + month.only_by_user + month.unknown)
}

fn row(lang: Lang, month: &ExplainedMonth) -> Row {
    let share = |part: u64| lang.percent(part, month.looks);
    Row {
        month: month.month.clone(),
        source: month.source.clone(),
        unit: month.care_unit_id.clone().unwrap_or_else(|| lang.texts().unknown.to_owned()),
        looks: lang.number(month.looks),
        explained: share(month.explained),
        only_by_user: share(month.only_by_user),
        unexplained: share(unexplained(month)),
        unknown: share(month.unknown),
        share: (month.explained * 10).checked_div(month.looks).unwrap_or(0),
    }
}
