//! Decisions that cover later findings, for the second person who reviews them.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use insyn_review::{Action, Covers, Refusal, ReviewError, Suppression, SuppressionStanding};

use super::{Page, Visitor, html};
use crate::{
    app::App,
    forms::{Fields, Parameters, Part},
    guard::Caller,
    lang::{self, Lang},
    look,
    names::{Names, Wanted, dashed},
    problem::Problem,
    rest,
    texts::fill,
};

#[derive(Template)]
#[template(path = "suppressions.html")]
struct SuppressionsPage {
    page: Page,
    fault: bool,
    csrf: String,
    rows: Vec<Row>,
}

struct Row {
    id: String,
    what: String,
    finding: String,
    standing: &'static str,
    because: String,
    made: String,
    until: String,
    counts: String,
    review: String,
    may_review: bool,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let all = app.db.suppressions(&caller.principal).await?;
    let mut wanted = Wanted::default();
    wanted.users.extend(all.iter().filter_map(|one| one.user_id.clone()));
    wanted.subjects.extend(all.iter().filter_map(|one| one.subject_id.clone()));
    wanted.units.extend(all.iter().filter_map(|one| one.care_unit_id.clone()));
    let names = Names::read(&rest::session(&app).await?, &wanted).await;
    look::look(&app, &caller, rest::suppressions::seen(&all)).await?;
    let rows = all.iter().map(|one| row(&app, lang, &caller, &names, one)).collect();
    let page = Page::new(&app, &visitor, lang.texts().suppressions_title);
    let fault = parameters.get("said") == Some("refused");
    Ok(html(&SuppressionsPage { page, fault, csrf: caller.csrf(), rows }))
}

pub(crate) async fn review(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    fields: Fields,
) -> Result<Response, Problem> {
    let keep = fields.get("keep") == "yes";
    match app.db.review_suppression(&caller.principal, &id, keep, fields.get("comment")).await {
        Ok(()) => Ok(Redirect::to("/suppressions").into_response()),
        Err(ReviewError::Refused(
            Refusal::CommentMissing | Refusal::CommentTooLong { .. } | Refusal::SuppressionEnded,
        )) => Ok(Redirect::to("/suppressions?said=refused").into_response()),
        Err(error) => Err(error.into()),
    }
}

fn row(app: &App, lang: Lang, caller: &Caller, names: &Names, one: &Suppression) -> Row {
    let t = lang.texts();
    let day = |at: i64| lang::date(app.zone(), at);
    let what = match one.covers {
        Covers::Person => {
            let subject = one.subject_id.as_deref().unwrap_or_default();
            let whose = [names.subject(subject), &dashed(subject)].join(" ").trim().to_owned();
            let who = names.user(one.user_id.as_deref().unwrap_or_default());
            fill(t.suppression_person, &[("who", &who), ("whose", &whose)])
        }
        Covers::Unit => {
            let rule = one.rule_id.as_deref().unwrap_or_default();
            let title = app.pack.rule(rule).map_or(rule, |rule| lang.of(&rule.title));
            let unit = names.unit(one.care_unit_id.as_deref().unwrap_or_default());
            fill(t.suppression_unit, &[("rule", title), ("unit", &unit)])
        }
    };
    let standing = match one.standing {
        SuppressionStanding::AwaitsReview => t.suppression_awaits,
        SuppressionStanding::Holds => t.suppression_holds,
        SuppressionStanding::Expired => t.suppression_expired,
        SuppressionStanding::Ended => t.suppression_ended,
        SuppressionStanding::Lapsed => t.suppression_lapsed,
    };
    let reviewed = one.reviewed_at.zip(one.reviewed_by_name.as_deref());
    let review = reviewed.map(|(at, name)| {
        let comment = one.review_comment.as_deref().unwrap_or_default();
        format!("{name} · {} · {comment}", day(at))
    });
    let is_open = matches!(one.standing, SuppressionStanding::AwaitsReview | SuppressionStanding::Holds);
    Row {
        id: one.suppression_id.clone(),
        what,
        finding: format!("/findings/{}", one.finding_id),
        standing,
        because: one.because.clone(),
        made: format!("{} · {}", one.made_by_name, day(one.made_at)),
        until: day(one.expires_at),
        counts: fill(
            t.suppression_counts,
            &[("covered", &lang.number(one.covered)), ("sampled", &lang.number(one.sampled))],
        ),
        review: review.unwrap_or_default(),
        may_review: is_open
            && one.made_by != caller.principal.user_id
            && (caller.may(Action::Decide) || caller.may(Action::Assign)),
    }
}
