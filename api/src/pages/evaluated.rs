//! What could be judged, and what not, by rule, unit, source and day, and why. It names rules and units, and nobody.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_review::{Evaluated, EvaluatedAsk, EvaluatedPlace, PlaceJudged, RuleStretch};

use super::{Page, Visitor, findings::RuleChoice, html, words};
use crate::{
    app::App,
    forms::Parameters,
    guard::Caller,
    lang::Lang,
    names::{Names, Wanted},
    problem::Problem,
    rest::{self, evaluated::asked},
    texts::fill,
};

/// Units and sources of the table.
const ROWS: usize = 200;
/// Reasons that are named of a unit, and stretches and units of a rule.
const NOTES: usize = 4;

#[derive(Template)]
#[template(path = "evaluated.html")]
struct EvaluatedPage {
    page: Page,
    from: String,
    to: String,
    choices: Vec<RuleChoice>,
    places: Vec<PlaceRow>,
    more: String,
    /// Whether some rules could judge nothing at all on some days.
    everywhere: bool,
    rules: Vec<RuleRow>,
}

struct PlaceRow {
    unit: String,
    source: String,
    accesses: String,
    share: String,
    days: Vec<DayMark>,
    reasons: Vec<String>,
}

struct DayMark {
    /// How much could be judged: `all`, `most`, `some`, `none`; `new` where no rule has judged the day.
    key: &'static str,
    text: String,
}

struct RuleRow {
    title: String,
    href: String,
    state_key: &'static str,
    state: String,
    share: String,
    notes: Vec<String>,
}

pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let ask = asked(&app, &parameters)?;
    let found = app.db.evaluated(&caller.principal, ask, None).await?;
    let mut wanted = Wanted::default();
    wanted.units.extend(found.places.iter().filter_map(|place| place.care_unit_id.clone()));
    let names = Names::read(&rest::session(&app).await?, &wanted).await;
    let said = Said { app: &app, lang, names: &names, ask };
    let (places, rules) = add_up(&said, &found);
    let all = places.len();
    Ok(html(&EvaluatedPage {
        page: Page::new(&app, &visitor, t.evaluated_title),
        more: match all > ROWS {
            true => fill(t.evaluated_more, &[("n", &ROWS.to_string()), ("all", &lang.number(all as u64))]),
            false => String::new(),
        },
        everywhere: found.rules.iter().any(is_of_all),
        places: said.places(places),
        rules: said.rules(&found.rules, rules),
        choices: RuleChoice::all(&app, lang, ask.rule),
        from: ask.from.to_string(),
        to: ask.to.to_string(),
    }))
}

/// Of judgements, one of each rule on each access: how many there would be, and how many there are.
#[derive(Default)]
struct Share {
    asked: u64,
    judged: u64,
}

impl Share {
    fn add(&mut self, place: &EvaluatedPlace, rule: &PlaceJudged<'_>) {
        self.asked += place.accesses;
        self.judged += place.accesses - rule.not_evaluated;
    }

    /// Of a thousand; where nothing is asked nothing is lacking.
    fn of_thousand(&self) -> u64 {
        (self.judged * 1000).checked_div(self.asked).unwrap_or(1000)
    }
}

#[derive(Default)]
struct OfPlace<'a> {
    accesses: u64,
    share: Share,
    days: Vec<DayMark>,
    reasons: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

#[derive(Default)]
struct OfRule<'a> {
    share: Share,
    /// By unit: accesses that could not be judged, and why.
    units: BTreeMap<Option<&'a str>, (u64, &'a str)>,
}

type Places<'a> = BTreeMap<(Option<&'a str>, &'a str), OfPlace<'a>>;
type Rules<'a> = BTreeMap<&'a str, OfRule<'a>>;

/// Whether it is said of all accesses of its days, and not of some units: it then stands by the rule, and not by each unit again.
fn is_of_all(stretch: &RuleStretch) -> bool {
    stretch.state != "evaluated"
}

/// Adds up the days, by unit and source and by rule.
fn add_up<'a>(said: &Said<'_>, found: &'a Evaluated) -> (Places<'a>, Rules<'a>) {
    let (mut places, mut rules) = (Places::new(), Rules::new());
    let of_all: BTreeSet<(&str, Option<&str>)> = found
        .rules
        .iter()
        .filter(|stretch| is_of_all(stretch))
        .map(|stretch| (stretch.rule_id.as_str(), stretch.why.as_deref()))
        .collect();
    let (mut day, mut of_day) = ("", Vec::new());
    for place in &found.places {
        if place.day != day {
            day = &place.day;
            of_day = found.on(day);
        }
        let judged = found.at(place, &of_day);
        let unit = place.care_unit_id.as_deref();
        let of_place = places.entry((unit, &place.source)).or_default();
        of_place.accesses += place.accesses;
        of_place.days.push(said.mark(&place.day, &judged));
        for rule in judged {
            let of_rule = rules.entry(rule.rule_id).or_default();
            of_place.share.add(place, &rule);
            of_rule.share.add(place, &rule);
            if rule.not_evaluated > 0 {
                let why = rule.why.unwrap_or_default();
                if !of_all.contains(&(rule.rule_id, rule.why)) {
                    of_place.reasons.entry(why).or_default().insert(rule.rule_id);
                }
                let of_unit = of_rule.units.entry(unit).or_default();
                *of_unit = (of_unit.0 + rule.not_evaluated, why);
            }
        }
    }
    (places, rules)
}

/// What it takes to say it.
struct Said<'a> {
    app: &'a App,
    lang: Lang,
    names: &'a Names,
    ask: EvaluatedAsk<'a>,
}

impl Said<'_> {
    /// Each unit and source, where least could be judged first.
    fn places(&self, places: Places<'_>) -> Vec<PlaceRow> {
        let row = |((unit, source), of): ((Option<&str>, &str), OfPlace<'_>)| {
            let row = PlaceRow {
                unit: self.unit(unit),
                source: source.to_owned(),
                accesses: self.lang.number(of.accesses),
                share: self.lang.percent(of.share.judged, of.share.asked),
                reasons: self.reasons(&of.reasons),
                days: of.days,
            };
            (of.share.of_thousand(), row)
        };
        let mut rows: Vec<(u64, PlaceRow)> = places.into_iter().map(row).collect();
        rows.sort_by(|a, b| (a.0, &a.1.unit, &a.1.source).cmp(&(b.0, &b.1.unit, &b.1.source)));
        rows.into_iter().map(|(_, row)| row).take(ROWS).collect()
    }

    /// Each rule, where least could be judged first.
    fn rules(&self, stretches: &[RuleStretch], mut rules: Rules<'_>) -> Vec<RuleRow> {
        let mut by_rule: BTreeMap<&str, Vec<&RuleStretch>> = BTreeMap::new();
        stretches.iter().for_each(|of| by_rule.entry(&of.rule_id).or_default().push(of));
        let row = |(id, stretches): (&str, Vec<&RuleStretch>)| {
            let of = rules.remove(id).unwrap_or_default();
            let known = self.app.pack.rule(id);
            let is_done = |of: &&RuleStretch| !is_of_all(of);
            let state = stretches.iter().copied().find(is_done).or_else(|| stretches.last().copied());
            let partly = of.share.judged < of.share.asked || !stretches.iter().all(is_done);
            let state = state.map(|of| of.state.as_str()).unwrap_or_default();
            let (state_key, state) = words::run_state(self.lang.texts(), state, partly);
            let row = RuleRow {
                title: self.title(id),
                href: known.map(|rule| format!("/rules/{}", rule.id)).unwrap_or_default(),
                state_key,
                state,
                share: self.lang.percent(of.share.judged, of.share.asked),
                notes: self.notes(&stretches, &of),
            };
            ((state_key != "not_evaluated", of.share.of_thousand()), row)
        };
        let mut rows: Vec<((bool, u64), RuleRow)> = by_rule.into_iter().map(row).collect();
        rows.sort_by(|a, b| (a.0, &a.1.title).cmp(&(b.0, &b.1.title)));
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// Why a rule could not judge: days on which it judged nothing, and else the units with most accesses.
    fn notes(&self, stretches: &[&RuleStretch], of: &OfRule<'_>) -> Vec<String> {
        let (from, to) = (self.ask.from.to_string(), self.ask.to.to_string());
        let without = stretches.iter().filter(|of| is_of_all(of));
        let mut notes: Vec<String> = without
            .map(|of| {
                let (first, last) = (of.first_day.as_str().max(&from), of.last_day.as_str().min(&to));
                let days = if first == last { first.to_owned() } else { format!("{first} – {last}") };
                [days, words::why(self.lang, of.why.as_deref().unwrap_or_default())].join(": ")
            })
            .collect();
        let whys: BTreeSet<&str> = stretches.iter().filter_map(|of| of.why.as_deref()).collect();
        let mut units: Vec<_> = of.units.iter().filter(|(_, (_, why))| !whys.contains(why)).collect();
        units.sort_by_key(|(_, (accesses, _))| std::cmp::Reverse(*accesses));
        let t = self.lang.texts();
        notes.extend(units.iter().map(|(unit, (accesses, why))| {
            let count = words::counted(self.lang, t.events_one, t.events_n, *accesses);
            format!("{}: {count}; {}", self.unit(**unit), words::why(self.lang, why))
        }));
        self.shortened(notes)
    }

    /// Why a unit could not be judged, with the rules that it keeps from judging.
    fn reasons(&self, reasons: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
        let mut reasons: Vec<(&str, &BTreeSet<&str>)> =
            reasons.iter().map(|(why, rules)| (*why, rules)).collect();
        reasons.sort_by_key(|(why, rules)| (std::cmp::Reverse(rules.len()), *why));
        let said = |(why, rules): &(&str, &BTreeSet<&str>)| {
            let titles = self.shortened(rules.iter().map(|id| self.title(id)).collect());
            format!("{}: {}", words::why(self.lang, why), titles.join(", "))
        };
        self.shortened(reasons.iter().map(said).collect())
    }

    fn mark(&self, day: &str, judged: &[PlaceJudged<'_>]) -> DayMark {
        let t = self.lang.texts();
        let whole = judged.iter().filter(|rule| rule.state == "evaluated").count();
        let nothing = judged.iter().all(|rule| rule.state == "not_evaluated" || rule.state == "failed");
        let (n, all) = (self.lang.number(whole as u64), self.lang.number(judged.len() as u64));
        let text = if judged.is_empty() { t.evaluated_not_yet } else { t.evaluated_day };
        DayMark {
            key: match (judged.len(), whole) {
                (0, _) => "new",
                (all, whole) if whole == all => "all",
                _ if nothing => "none",
                (all, whole) if whole * 4 >= all * 3 => "most",
                _ => "some",
            },
            text: fill(text, &[("day", day), ("n", &n), ("all", &all)]),
        }
    }

    fn shortened(&self, mut texts: Vec<String>) -> Vec<String> {
        let more = texts.len().saturating_sub(NOTES);
        texts.truncate(NOTES);
        texts.extend((more > 0).then(|| format!("+ {more}")));
        texts
    }

    fn title(&self, id: &str) -> String {
        self.app.pack.rule(id).map_or_else(|| id.to_owned(), |rule| self.lang.of(&rule.title).to_owned())
    }

    fn unit(&self, id: Option<&str>) -> String {
        id.map_or_else(|| self.lang.texts().unknown.to_owned(), |id| self.names.unit(id))
    }
}
