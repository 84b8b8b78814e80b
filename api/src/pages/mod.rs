//! Pages for people: server-rendered, without script, in Swedish and English.

pub(crate) mod accesses;
pub(crate) mod context;
pub(crate) mod enrol;
pub(crate) mod error;
pub(crate) mod evaluated;
pub(crate) mod explained;
pub(crate) mod finding;
pub(crate) mod findings;
pub(crate) mod quality;
pub(crate) mod rules;
pub(crate) mod runs;
pub(crate) mod sign_in;
pub(crate) mod source;
pub(crate) mod start;
pub(crate) mod suppressions;
mod traces;
pub(crate) mod trial;
mod visits;
mod why;
mod words;

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use insyn_review::Action;

use crate::{app::App, guard::Caller, lang::Lang, problem::Problem, shape::Address, texts::Texts};

/// What every page shows around its content.
pub(crate) struct Page {
    pub(crate) t: &'static Texts,
    pub(crate) lang: Lang,
    pub(crate) title: String,
    pub(crate) person: Option<Person>,
    /// The same page in the other language.
    pub(crate) other_language: String,
    /// After how many seconds the page goes where by itself, if it does.
    pub(crate) refresh: Option<(u8, String)>,
    pub(crate) notice: Option<String>,
    pub(crate) organisation: String,
    pub(crate) zone: String,
}

/// Who has signed in, and where they may go.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) roles: String,
    pub(crate) csrf: String,
    pub(crate) may_trace: bool,
    pub(crate) nav: Vec<Link>,
}

/// A link of the main menu.
pub(crate) struct Link {
    pub(crate) href: &'static str,
    pub(crate) text: &'static str,
    pub(crate) current: bool,
}

/// A choice in a list of a form.
pub(crate) struct Choice {
    pub(crate) key: &'static str,
    pub(crate) name: String,
    pub(crate) selected: bool,
}

/// A named part of a text.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) paragraphs: Vec<String>,
}

/// A large figure.
pub(crate) struct Figure {
    pub(crate) value: String,
    pub(crate) name: &'static str,
    pub(crate) note: String,
    pub(crate) warn: bool,
    /// Where more of it stands: address and text.
    pub(crate) more: Option<(&'static str, &'static str)>,
}

/// Where a list goes on.
#[derive(Default)]
pub(crate) struct Pager {
    pub(crate) first: Option<String>,
    pub(crate) next: Option<String>,
}

/// The request as pages need it.
pub(crate) struct Visitor {
    pub(crate) lang: Lang,
    pub(crate) caller: Option<Caller>,
    pub(crate) uri: Uri,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visitor, Problem> {
        Ok(Visitor {
            lang: parts.extensions.get::<Lang>().copied().unwrap_or(Lang::Sv),
            caller: parts.extensions.get::<Caller>().cloned(),
            uri: parts
                .extensions
                .get::<Address>()
                .map(|address| address.0.clone())
                .unwrap_or_else(|| parts.uri.clone()),
        })
    }
}

impl Page {
    pub(crate) fn new(app: &App, visitor: &Visitor, title: impl Into<String>) -> Page {
        Page {
            t: visitor.lang.texts(),
            lang: visitor.lang,
            title: title.into(),
            person: visitor
                .caller
                .as_ref()
                .filter(|caller| !caller.principal.enrolling)
                .map(|caller| person(visitor.lang, caller, visitor.uri.path())),
            other_language: in_language(&visitor.uri, visitor.lang.other()),
            refresh: None,
            notice: None,
            organisation: app.organisation.name.clone(),
            zone: app.zone().name().to_owned(),
        }
    }

    /// The style sheet's address.
    pub(crate) fn stylesheet(&self) -> &'static str {
        crate::assets::stylesheet()
    }
}

/// The page as an answer.
pub(crate) fn html(template: &impl Template) -> Response {
    html_with(StatusCode::OK, template)
}

pub(crate) fn html_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(body) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response(),
        Err(fault) => Problem::internal("writing the page", &fault).into_response(),
    }
}

/// A text's paragraphs.
pub(crate) fn paragraphs(text: &str) -> Vec<String> {
    text.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn person(lang: Lang, caller: &Caller, path: &str) -> Person {
    let t = lang.texts();
    let roles: Vec<&str> = caller.principal.roles.iter().map(|role| words::role(t, *role)).collect();
    let links = [
        ("/", t.nav_start, true),
        ("/findings", t.nav_findings, caller.may(Action::ReadFindings)),
        ("/rules", t.nav_rules, caller.may(Action::SeeRules)),
        ("/runs", t.nav_runs, caller.may(Action::SeeRuns)),
    ];
    Person {
        name: caller.principal.name.clone(),
        roles: roles.join(", "),
        csrf: caller.csrf(),
        may_trace: caller.may(Action::Trace),
        nav: links
            .into_iter()
            .filter(|(_, _, allowed)| *allowed)
            .map(|(href, text, _)| Link {
                href,
                text,
                current: if href == "/" { path == "/" } else { path.starts_with(href) },
            })
            .collect(),
    }
}

/// The same address with another `lang`.
fn in_language(uri: &Uri, lang: Lang) -> String {
    let kept = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("lang="));
    let mut query: Vec<&str> = kept.collect();
    let own = format!("lang={}", lang.code());
    query.push(&own);
    format!("{}?{}", uri.path(), query.join("&"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_other_language_keeps_the_rest_of_the_address() {
        for (uri, expected) in
            [("/", "/?lang=en"), ("/findings?level=high&lang=sv", "/findings?level=high&lang=en")]
        {
            assert_eq!(in_language(&uri.parse().unwrap(), Lang::En), expected);
        }
    }
}
