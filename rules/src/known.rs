//! What earlier runs stated: the rest of a finding's window that a run of news does not judge.

use std::collections::BTreeSet;

use chrono_tz::Tz;

use crate::calendar::CalendarWindow;
use crate::finding::Finding;
use crate::hits::Hit;
use crate::judge::State;
use crate::record::{FindingStore, Pair, StoreError};
use crate::rule::Text;
use crate::settle::is_as_then;

/// What the store knows of the persons and records that rules named, in the windows that they named them in: accesses that
/// this run does not judge, as hits of the rules that named them then. A rule that has changed since says nothing.
pub(crate) async fn stated(
    store: &dyn FindingStore,
    states: &[State<'_>],
    hits: &[Hit],
    zone: Tz,
) -> Result<Vec<Hit>, StoreError> {
    let pairs: BTreeSet<Pair> = hits.iter().map(|hit| (hit.user.clone(), hit.subject.clone())).collect();
    let pairs: Vec<Pair> = pairs.into_iter().collect();
    let window = |hit: &Hit| CalendarWindow::of(states[hit.rule].rule.window, hit.at, zone);
    let windows: Vec<CalendarWindow> = hits.iter().map(window).collect();
    let from = windows.iter().map(|window| window.from).min();
    let (Some(from), Some(to)) = (from, windows.iter().map(|window| window.to).max()) else {
        return Ok(Vec::new());
    };
    let mut before = Vec::new();
    for finding in store.stated(&pairs, from, to).await? {
        let rule = states.iter().position(|state| is_as_then(state.rule, &finding));
        if let Some(rule) = rule {
            before.extend(as_hits(rule, &finding).filter(|hit| !states[rule].spans.holds(hit.at)));
        }
    }
    Ok(before)
}

/// The accesses of a finding as the rule named them: each once a sentence.
fn as_hits(rule: usize, finding: &Finding) -> impl Iterator<Item = Hit> + '_ {
    finding.events().into_iter().enumerate().flat_map(move |(place, event)| {
        let said: Vec<Text> = match event.reasons.as_slice() {
            [] => vec![Text::default()],
            reasons => reasons.iter().filter_map(|reason| finding.reasons.get(*reason)).cloned().collect(),
        };
        said.into_iter().map(move |reason| Hit {
            rule,
            // In the order in which they stand.
            place: (i64::MIN, place as i64),
            event_id: event.event_id.clone(),
            source: event.source.clone(),
            at: event.occurred_at,
            user: finding.user_id.clone(),
            subject: finding.subject_id.clone(),
            unit: event.care_unit_id.clone(),
            controller: finding.controller_id.clone(),
            level: event.level,
            reason,
            activity: event.activity.clone(),
            explained: event.explained,
        })
    })
}
