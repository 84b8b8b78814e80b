//! From hits to findings: one for each rule, person, record and calendar window.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use serde_json::{Value, json};

use crate::calendar::{Calendar, CalendarWindow};
use crate::desk::Desk;
use crate::evidence::{self, Asked};
use crate::finding::{Finding, FindingStatus, Outcome, identity, rfc3339};
use crate::hits::Hit;
use crate::rule::{Rule, Text};
use crate::run::Window;
use crate::{score, sentence};

/// Different sentences of one finding beyond this many are not kept: nobody reads them.
const MOST_REASONS: usize = 12;

/// What one finding is made of; ordered, so that the order of rows never shows.
type Key = (usize, String, Option<String>, CalendarWindow);
/// A person and a record.
type Pair = (String, Option<String>);

/// Makes the findings that have an access inside `window`, highest score first.
pub(crate) async fn findings(
    rules: &[&Rule],
    hits: Vec<Hit>,
    desk: &Desk,
    zone: Tz,
    window: Window,
    created_at: i64,
) -> Result<Vec<Finding>, DataFusionError> {
    let mut calendars: Vec<Calendar> = rules.iter().map(|r| Calendar::new(r.window, zone)).collect();
    let mut by_pair: HashMap<Pair, Vec<(i64, usize)>> = HashMap::new();
    let mut groups: BTreeMap<Key, Vec<Hit>> = BTreeMap::new();
    for hit in hits {
        by_pair.entry((hit.user.clone(), hit.subject.clone())).or_default().push((hit.at, hit.rule));
        let calendar = calendars[hit.rule].window(hit.at).clone();
        groups.entry((hit.rule, hit.user.clone(), hit.subject.clone(), calendar)).or_default().push(hit);
    }
    groups.retain(|_, hits| hits.iter().any(|hit| window.holds(hit.at)));
    let mut findings = Vec::with_capacity(groups.len());
    for ((rule, user, subject, calendar), hits) in groups {
        let pair = by_pair.get(&(user.clone(), subject.clone())).map_or(&[][..], Vec::as_slice);
        let in_window = pair.iter().filter(|(at, _)| (calendar.from..calendar.to).contains(at));
        let others: BTreeSet<usize> =
            in_window.map(|(_, other)| *other).filter(|other| *other != rule).collect();
        let others: Vec<&Text> = others.into_iter().map(|n| &rules[n].title).collect();
        findings.push(finding(rules[rule], user, subject, &calendar, hits, &others, created_at));
    }
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

fn finding(
    rule: &Rule,
    user: String,
    subject: Option<String>,
    calendar: &CalendarWindow,
    mut hits: Vec<Hit>,
    others: &[&Text],
    created_at: i64,
) -> Finding {
    hits.sort_by(|a, b| (a.at, a.place, &a.reason).cmp(&(b.at, b.place, &b.reason)));
    let mut events: Vec<(&str, &str)> = Vec::new();
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
    for hit in &hits {
        if seen.insert((&hit.source, &hit.event_id)) {
            events.push((&hit.source, &hit.event_id));
            *sources.entry(&hit.source).or_default() += 1;
        }
    }
    let times: Vec<i64> = hits.iter().map(|h| h.at).collect();
    let visits = score::visits(&times);
    let level = hits.iter().map(|h| h.level).max().unwrap_or(rule.level);
    let mut reasons: Vec<Text> = Vec::new();
    for hit in &hits {
        if reasons.len() < MOST_REASONS && !reasons.contains(&hit.reason) {
            reasons.push(hit.reason.clone());
        }
    }
    reasons.push(sentence::amount(events.len() as u64, visits));
    let parts = score::parts(level, visits, others);
    let (first_at, last_at) =
        (times.first().copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
    let evidence = json!({
        "window": {"name": calendar.name(), "from": rfc3339(calendar.from), "to": rfc3339(calendar.to)},
        "parameters": rule.shown_params(),
        "score": parts,
        "sources": sources,
    });
    Finding {
        finding_id: identity(&rule.id, &user, subject.as_deref(), &calendar.name()),
        rule_id: rule.id.clone(),
        rule_version: rule.version,
        level,
        score: score::total(&parts),
        status: FindingStatus::New,
        outcome: Outcome::None,
        settles_at: rule.settles().map(|d| last_at.saturating_add(d.micros())),
        care_unit_id: most(hits.iter().filter_map(|h| h.unit.as_deref())),
        controller_id: most(hits.iter().filter_map(|h| h.controller.as_deref())),
        user_id: user,
        subject_id: subject,
        first_at,
        last_at,
        event_count: events.len() as u64,
        event_ids: events.into_iter().map(|(_, id)| id.to_owned()).collect(),
        title_sv: rule.title.sv.clone(),
        title_en: rule.title.en.clone(),
        reasons,
        created_at,
        evidence,
    }
}

/// The value that comes most often; of equals, the first by name.
fn most<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let best = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)))?;
    Some((*best.0).to_owned())
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
        })
        .collect();
    let contexts = evidence::collect(desk, &asked).await?;
    for (finding, context) in findings.iter_mut().zip(contexts) {
        if let Value::Object(evidence) = &mut finding.evidence {
            evidence.insert("context".into(), Value::Object(context));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_takes_the_first_by_name_of_equals() {
        assert_eq!(most(["b", "a", "b", "a", "c"].into_iter()), Some("a".to_owned()));
        assert_eq!(most(["b", "a", "b"].into_iter()), Some("b".to_owned()));
        assert_eq!(most(std::iter::empty()), None);
    }
}
