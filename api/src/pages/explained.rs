//! How much of what was looked at is explained, by month, source and unit. It names nobody.

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_review::ExplainedMonth;

use super::{Page, Visitor, html};
use crate::{
    app::App,
    guard::Caller,
    lang::Lang,
    names::{Names, Wanted},
    problem::Problem,
    rest,
};

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
    let mut wanted = Wanted::default();
    wanted.units.extend(months.iter().filter_map(|month| month.care_unit_id.clone()));
    let names = Names::read(&rest::session(&app).await?, &wanted).await;
    let rows = months.iter().map(|month| row(lang, &names, month)).collect();
    Ok(html(&ExplainedPage { page: Page::new(&app, &visitor, lang.texts().explained_title), rows }))
}

/// What nothing explains, of what something could be known of.
pub(crate) fn unexplained(month: &ExplainedMonth) -> u64 {
    month.looks.saturating_sub(month.explained + month.only_by_user + month.unknown)
}

fn row(lang: Lang, names: &Names, month: &ExplainedMonth) -> Row {
    let share = |part: u64| lang.percent(part, month.looks);
    Row {
        month: month.month.clone(),
        source: month.source.clone(),
        unit: month
            .care_unit_id
            .as_deref()
            .map_or_else(|| lang.texts().unknown.to_owned(), |unit| names.unit(unit)),
        looks: lang.number(month.looks),
        explained: share(month.explained),
        only_by_user: share(month.only_by_user),
        unexplained: share(unexplained(month)),
        unknown: share(month.unknown),
    }
}
