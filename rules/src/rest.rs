//! What a finding says about the accesses that it rests on, and what is left of it without some of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::finding::{Event, Finding};
use crate::rule::Text;
use crate::score::{self, Part};
use crate::sentence;

impl Finding {
    /// The accesses that it rests on, in the order of `event_ids`; none where its evidence was kept without them.
    pub fn events(&self) -> Vec<Event> {
        let kept = self.evidence.get("events").cloned().unwrap_or_default();
        serde_json::from_value(kept).unwrap_or_default()
    }

    /// What its score is made of; none where its evidence was kept without that.
    pub fn score_parts(&self) -> Vec<Part> {
        let kept = self.evidence.get("score").cloned().unwrap_or_default();
        serde_json::from_value(kept).unwrap_or_default()
    }

    /// Rests on no access: what was seen is a source, and its rows stand for no look.
    pub(crate) fn is_about_a_source(&mut self, sentences: Vec<Text>) {
        (self.event_count, self.event_ids, self.reasons) = (0, Vec::new(), sentences);
        self.evidence["events"] = Value::Array(Vec::new());
        let parts =
            self.score_parts().into_iter().filter(|part| part.of != score::Of::Occasions).collect::<Vec<_>>();
        self.score = score::total(&parts);
        self.evidence["score"] = serde_json::to_value(parts).unwrap_or_default();
    }

    /// What is left when the accesses at these places of `event_ids` are taken away: their times, sentences, level and
    /// score go with them. `None` when nothing is left of what there was.
    pub fn without(&self, gone: impl Fn(usize) -> bool) -> Option<Finding> {
        let left: Vec<usize> = (0..self.event_ids.len()).filter(|place| !gone(*place)).collect();
        if left.len() == self.event_ids.len() {
            return Some(self.clone());
        }
        if left.is_empty() {
            return None;
        }
        let mut rest = self.clone();
        let events = self.events();
        if events.len() == self.event_ids.len() {
            let events: Vec<Event> = left.into_iter().map(|place| events[place].clone()).collect();
            let whole = score::whole(&self.evidence["score"]);
            rest.rest_on(events, &self.reasons, &whole);
            rest.settles_at = self.settles_at.map(|at| at - self.last_at + rest.last_at);
        } else {
            rest.event_ids = left.into_iter().map(|place| self.event_ids[place].clone()).collect();
            rest.event_count = rest.event_ids.len() as u64;
        }
        Some(rest)
    }

    /// Makes this a finding about these accesses, by time: everything that follows from them is set. `sentences` are
    /// what the accesses point into; `whole` the parts of the score that do not follow from the accesses.
    pub(crate) fn rest_on(&mut self, mut events: Vec<Event>, sentences: &[Text], whole: &[Part]) {
        let used: BTreeSet<usize> = events.iter().flat_map(|e| &e.reasons).copied().collect();
        let used: Vec<usize> = used.into_iter().filter(|place| *place < sentences.len()).collect();
        for event in &mut events {
            event.reasons = event.reasons.iter().filter_map(|r| used.binary_search(r).ok()).collect();
        }
        let times: Vec<i64> = events.iter().map(|e| e.occurred_at).collect();
        let visits = score::visits(&times);
        self.level = events.iter().map(|e| e.level).max().unwrap_or(self.level);
        self.first_at = times.first().copied().unwrap_or(self.first_at);
        self.last_at = times.last().copied().unwrap_or(self.last_at);
        self.care_unit_id = most(events.iter().filter_map(|e| e.care_unit_id.as_deref()));
        self.event_count = events.len() as u64;
        self.event_ids = events.iter().map(|e| e.event_id.clone()).collect();
        self.reasons = used.into_iter().map(|place| sentences[place].clone()).collect();
        self.reasons.push(sentence::amount(self.event_count, visits));
        let parts = score::parts(self.level, visits, events.iter().map(|e| e.explained), whole);
        self.score = score::total(&parts);
        let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
        for event in &events {
            *sources.entry(&event.source).or_default() += 1;
        }
        if let Value::Object(evidence) = &mut self.evidence {
            evidence.insert("score".into(), serde_json::to_value(parts).unwrap_or_default());
            evidence.insert("sources".into(), serde_json::to_value(sources).unwrap_or_default());
            evidence.insert("events".into(), serde_json::to_value(events).unwrap_or_default());
        }
    }
}

/// The value that comes most often; of equals, the first by name.
pub(crate) fn most<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let best = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)))?;
    Some((*best.0).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::finding::{FindingStatus, Outcome};
    use crate::rule::Level;
    use crate::score::{Grade, Of};

    const HOUR: i64 = 3_600_000_000;

    fn event(n: i64, unit: &str, level: Level, reason: usize) -> Event {
        Event {
            event_id: format!("e{n}"),
            source: "journal".into(),
            occurred_at: n * HOUR,
            activity: Some("Läsa".into()),
            care_unit_id: Some(unit.into()),
            level,
            reasons: vec![reason],
            explained: (unit == "A").then_some(Grade::Unit),
        }
    }

    fn text(word: &str) -> Text {
        Text { sv: word.into(), en: word.into() }
    }

    fn whole(events: Vec<Event>, sentences: &[Text]) -> Finding {
        let mut finding = Finding {
            finding_id: "f".into(),
            rule_id: "r".into(),
            rule_version: 1,
            level: Level::Low,
            score: 0,
            status: FindingStatus::New,
            outcome: Outcome::None,
            settles_at: None,
            user_id: "U1".into(),
            subject_id: Some("P1".into()),
            care_unit_id: None,
            controller_id: None,
            first_at: 0,
            last_at: 0,
            event_count: 0,
            event_ids: Vec::new(),
            title_sv: "t".into(),
            title_en: "t".into(),
            reasons: Vec::new(),
            created_at: 0,
            evidence: serde_json::json!({}),
        };
        let other = Part { points: 8, of: Of::Rule, text: text("another rule") };
        finding.rest_on(events, sentences, &[other]);
        finding.settles_at = Some(finding.last_at + 14 * 24 * HOUR);
        finding
    }

    #[test]
    fn what_is_left_is_as_if_the_rest_had_never_been() {
        let sentences = [text("mild"), text("grave")];
        let events = [
            event(1, "A", Level::Low, 0),
            event(2, "B", Level::High, 1),
            event(3, "B", Level::Medium, 1),
            event(4, "A", Level::Low, 0),
        ];
        let all = whole(events.to_vec(), &sentences);
        assert_eq!((all.level, all.score), (Level::High, 65 + 3 * 4 + 8));
        for mask in 1u8..15 {
            let kept = |place: usize| mask & (1 << place) != 0;
            let rest = all.without(|place| !kept(place)).unwrap();
            let left = events.iter().enumerate().filter(|(n, _)| kept(*n)).map(|(_, e)| e.clone());
            let alone = whole(left.collect(), &sentences);
            assert_eq!(rest, alone, "{mask:04b}");
        }
        assert_eq!(all.without(|_| true), None);
        assert_eq!(all.without(|_| false).as_ref(), Some(&all));
    }

    #[test]
    fn a_finding_of_before_events_were_kept_loses_only_their_ids() {
        let mut old = whole(vec![event(1, "A", Level::Low, 0), event(2, "A", Level::Low, 0)], &[text("s")]);
        old.evidence = serde_json::json!({ "window": {} });
        let rest = old.without(|place| place == 0).unwrap();
        assert_eq!((rest.event_ids.as_slice(), rest.event_count), (&["e2".to_owned()][..], 1));
        assert_eq!((rest.first_at, rest.last_at), (old.first_at, old.last_at));
        assert!(old.events().is_empty());
    }

    #[test]
    fn most_takes_the_first_by_name_of_equals() {
        assert_eq!(most(["b", "a", "b", "a", "c"].into_iter()), Some("a".to_owned()));
        assert_eq!(most(["b", "a", "b"].into_iter()), Some("b".to_owned()));
        assert_eq!(most(std::iter::empty()), None);
    }
}
