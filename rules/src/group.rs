//! From hits to findings: one for each rule, person, record and calendar window.

use std::collections::{BTreeMap, HashMap};

use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use serde_json::{Value, json};

use crate::calendar::{Calendar, CalendarWindow};
use crate::desk::Desk;
use crate::evidence::{self, Asked};
use crate::finding::{Event, Finding, FindingStatus, Outcome, identity, rfc3339};
use crate::hits::Hit;
use crate::rest::most;
use crate::rule::{Kind, Level, Rule, Status, Text};
use crate::run::{Limits, Window, in_time};
use crate::score::{self, Other, Part};
use crate::usual;

/// Different sentences of one finding beyond this many are not kept: nobody reads them.
const MOST_REASONS: usize = 12;

/// Of so many findings a run says how usual the looks are.
const MOST_COMPARED: usize = 1_000;

/// What one finding is made of; ordered, so that the order of rows never shows.
type Key = (usize, String, Option<String>, CalendarWindow);
/// A person and a record.
type Pair = (String, Option<String>);

/// Makes the findings that have an access inside `window`, highest score first. What was stated `before` joins them, and
/// makes none by itself.
pub(crate) async fn findings(
    rules: &[&Rule],
    hits: Vec<Hit>,
    before: Vec<Hit>,
    desk: &Desk,
    zone: Tz,
    window: Window,
    created_at: i64,
) -> Result<Vec<Finding>, DataFusionError> {
    let mut calendars: Vec<Calendar> = rules.iter().map(|r| Calendar::new(r.window, zone)).collect();
    let mut by_pair: HashMap<Pair, Vec<(i64, usize, Level)>> = HashMap::new();
    let mut groups: BTreeMap<Key, Vec<Hit>> = BTreeMap::new();
    for hit in hits {
        // A rule in the shadow says nothing to the others.
        if rules[hit.rule].status != Status::Shadow {
            by_pair
                .entry((hit.user.clone(), hit.subject.clone()))
                .or_default()
                .push((hit.at, hit.rule, hit.level));
        }
        let calendar = calendars[hit.rule].window(hit.at).clone();
        groups.entry((hit.rule, hit.user.clone(), hit.subject.clone(), calendar)).or_default().push(hit);
    }
    groups.retain(|_, hits| hits.iter().any(|hit| window.holds(hit.at)));
    for hit in before {
        let pair = (hit.user.clone(), hit.subject.clone());
        by_pair.entry(pair).or_default().push((hit.at, hit.rule, hit.level));
        let calendar = calendars[hit.rule].window(hit.at).clone();
        if let Some(group) = groups.get_mut(&(hit.rule, hit.user.clone(), hit.subject.clone(), calendar)) {
            group.push(hit);
        }
    }
    let mut findings = Vec::with_capacity(groups.len());
    let mut asked: Vec<(usize, usual::Asked)> = Vec::new();
    for (key, hits) in groups {
        let asks = asked_of(&key);
        let (rule, user, subject, calendar) = key;
        let pair = by_pair.get(&(user.clone(), subject.clone())).map_or(&[][..], Vec::as_slice);
        let mut others: BTreeMap<usize, Level> = BTreeMap::new();
        for (at, other, level) in pair {
            if *other != rule && (calendar.from..calendar.to).contains(at) {
                let highest = others.entry(*other).or_insert(*level);
                *highest = (*highest).max(*level);
            }
        }
        let others = others.into_iter().map(|(n, level)| Other { rule: rules[n], level }).collect();
        let whole = score::of_the_whole(rules[rule], others);
        asked.extend(asks.map(|asks| (findings.len(), asks)));
        findings.push((rule, finding(rules[rule], user, subject, &calendar, hits, &whole, created_at)));
    }
    say_how_usual(rules, &mut findings, asked, desk, zone).await;
    let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
    keep_context(rules, &mut findings, desk).await?;
    findings.sort_by(|a, b| {
        (b.score, a.first_at, &a.rule_id, &a.finding_id).cmp(&(
            a.score,
            b.first_at,
            &b.rule_id,
            &b.finding_id,
        ))
    });
    Ok(findings)
}

/// What is asked of one person and one record, how usual that is; nothing where it is about many.
fn asked_of((_, user, subject, calendar): &Key) -> Option<usual::Asked> {
    Some(usual::Asked { user: user.clone(), subject: subject.clone()?, to: calendar.to })
}

/// Adds to the scores how usual the looks are: of the findings that score highest without it, since the looks of four weeks by
/// everybody who opened the same records are read for it.
async fn say_how_usual(
    rules: &[&Rule],
    findings: &mut [(usize, Finding)],
    mut asked: Vec<(usize, usual::Asked)>,
    desk: &Desk,
    zone: Tz,
) {
    asked.sort_by_key(|(place, _)| {
        let finding = &findings[*place].1;
        (std::cmp::Reverse(finding.score), finding.finding_id.clone())
    });
    asked.truncate(MOST_COMPARED);
    let (places, asked): (Vec<usize>, Vec<usual::Asked>) = asked.into_iter().unzip();
    // What a score says beside is not worth a run.
    let told = match in_time(Limits::default().rule_time, usual::usual(desk, zone, &asked)).await {
        Ok(told) => told,
        Err(why) => return tracing::warn!("how usual looks are is in no score: {why}"),
    };
    for (place, usual) in places.into_iter().zip(told) {
        let (rule, finding) = &mut findings[place];
        if let Some(part) = usual.and_then(|usual| score::of_usual(rules[*rule], usual)) {
            let mut whole = score::whole(&finding.evidence["score"]);
            whole.push(part);
            let (events, sentences) = (finding.events(), finding.reasons.clone());
            finding.rest_on(events, &sentences, &whole);
        }
    }
}

fn finding(
    rule: &Rule,
    user: String,
    subject: Option<String>,
    calendar: &CalendarWindow,
    mut hits: Vec<Hit>,
    whole: &[Part],
    created_at: i64,
) -> Finding {
    hits.sort_by(|a, b| (a.at, a.place, &a.reason).cmp(&(b.at, b.place, &b.reason)));
    let (mut events, sentences) = events(&hits);
    if rule.never_cleared {
        events.iter_mut().for_each(|event| event.explained = None);
    }
    let mut finding = Finding {
        finding_id: identity(&rule.id, &user, subject.as_deref(), &calendar.name()),
        rule_id: rule.id.clone(),
        rule_version: rule.version,
        level: rule.level,
        score: 0,
        status: FindingStatus::New,
        outcome: Outcome::None,
        settles_at: None,
        user_id: user,
        subject_id: subject,
        care_unit_id: None,
        controller_id: most(hits.iter().filter_map(|h| h.controller.as_deref())),
        first_at: calendar.from,
        last_at: calendar.from,
        event_count: 0,
        event_ids: Vec::new(),
        title_sv: rule.title.sv.clone(),
        title_en: rule.title.en.clone(),
        reasons: Vec::new(),
        created_at,
        evidence: json!({
            "window": {"name": calendar.name(), "from": rfc3339(calendar.from), "to": rfc3339(calendar.to)},
            "parameters": rule.shown_params(),
            "never_cleared": rule.never_cleared,
        }),
    };
    finding.rest_on(events, &sentences, whole);
    if rule.kind == Kind::Source {
        finding.is_about_a_source(sentences);
    }
    finding.settles_at = rule.settles().map(|wait| finding.last_at.saturating_add(wait.micros()));
    finding
}

/// The accesses of these hits (by time), each once, and the different sentences about them.
fn events(hits: &[Hit]) -> (Vec<Event>, Vec<Text>) {
    let mut events: Vec<Event> = Vec::new();
    let mut sentences: Vec<Text> = Vec::new();
    let mut known: HashMap<(&str, &str), usize> = HashMap::new();
    for hit in hits {
        let place = *known.entry((&hit.source, &hit.event_id)).or_insert_with(|| {
            events.push(Event {
                event_id: hit.event_id.clone(),
                source: hit.source.clone(),
                occurred_at: hit.at,
                activity: hit.activity.clone(),
                care_unit_id: hit.unit.clone(),
                level: hit.level,
                reasons: Vec::new(),
                explained: hit.explained,
            });
            events.len() - 1
        });
        let event = &mut events[place];
        event.level = event.level.max(hit.level);
        // Of what was stated before a sentence too many was not kept.
        if hit.reason == Text::default() {
            continue;
        }
        let said = sentences.iter().position(|sentence| *sentence == hit.reason);
        let said = said.or_else(|| {
            (sentences.len() < MOST_REASONS).then(|| {
                sentences.push(hit.reason.clone());
                sentences.len() - 1
            })
        });
        if let Some(said) = said
            && !event.reasons.contains(&said)
        {
            event.reasons.push(said);
        }
    }
    (events, sentences)
}

async fn keep_context(rules: &[&Rule], findings: &mut [Finding], desk: &Desk) -> Result<(), DataFusionError> {
    let tables: HashMap<&str, &[String]> =
        rules.iter().map(|r| (r.id.as_str(), r.evidence.as_slice())).collect();
    let asked: Vec<Asked<'_>> = findings
        .iter()
        .map(|f| Asked {
            tables: tables.get(f.rule_id.as_str()).copied().unwrap_or_default(),
            user: &f.user_id,
            subject: f.subject_id.as_deref(),
            unit: f.care_unit_id.as_deref(),
            period: (f.first_at, f.last_at),
        })
        .collect();
    let contexts = evidence::collect(desk, &asked).await?;
    for (finding, context) in findings.iter_mut().zip(contexts) {
        let leads = finding.care_unit_id.as_deref().is_some_and(|unit| desk.leads(&finding.user_id, unit));
        if let Value::Object(evidence) = &mut finding.evidence {
            evidence.insert("context".into(), Value::Object(context));
            evidence.insert("user_leads_unit".into(), Value::Bool(leads));
        }
    }
    Ok(())
}
