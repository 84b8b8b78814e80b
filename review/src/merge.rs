//! How what several runs state of one finding becomes one finding. Pure; the order and number of the runs do not matter.
//!
//! A *statement* is a finding as a run handed it in, about a set of events. A statement about fewer of the same events
//! says nothing that the fuller one does not, so only the statements that no other one covers are kept. From these, the
//! one about most events speaks first; the others add their events and sentences.

use std::collections::{BTreeSet, HashMap};

use insyn_rules::{Event, Finding, Text};
use serde_json::Value;

/// What an incoming statement does to the kept ones.
#[derive(Debug)]
pub(crate) enum Join {
    /// It is covered already.
    Nothing,
    /// These are the statements now. `new_events` were in none before.
    Changed { statements: Vec<Finding>, new_events: usize },
}

/// Adds a statement to those kept. `incoming` has gone through [`less`].
pub(crate) fn join(kept: &[Finding], incoming: Finding) -> Join {
    let set = keys(&incoming.event_ids);
    if kept.iter().any(|statement| set.is_subset(&keys(&statement.event_ids))) {
        return Join::Nothing;
    }
    let known: BTreeSet<Key> = kept.iter().flat_map(|statement| keys(&statement.event_ids)).collect();
    let new_events = set.difference(&known).count();
    let mut statements: Vec<Finding> =
        kept.iter().filter(|statement| !keys(&statement.event_ids).is_subset(&set)).cloned().collect();
    statements.push(incoming);
    sort(&mut statements);
    Join::Changed { statements, new_events }
}

/// The statement without the events that are decided already; `None` when that leaves none of what it had.
pub(crate) fn less(statement: &Finding, decided: &BTreeSet<Key>) -> Option<Finding> {
    let gone: Vec<bool> = numbered(&statement.event_ids).map(|key| decided.contains(&key)).collect();
    statement.without(|place| gone[place])
}

/// An event of a finding: its id, and how many of the same id stand before it. Sources number their events each for
/// themselves, so one finding can be about two events of one id.
pub(crate) type Key = (String, usize);

pub(crate) fn keys(event_ids: &[String]) -> BTreeSet<Key> {
    numbered(event_ids).collect()
}

fn numbered(event_ids: &[String]) -> impl Iterator<Item = Key> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    event_ids.iter().map(move |id| {
        let before = seen.entry(id).or_default();
        *before += 1;
        (id.clone(), *before - 1)
    })
}

/// The finding that these statements make. `None` when there are none. Id, status, outcome and times of life are the
/// first statement's and for the caller to set.
pub(crate) fn shown(statements: &[Finding]) -> Option<Finding> {
    let (lead, others) = statements.split_first()?;
    let mut finding = lead.clone();
    let mut seen = keys(&finding.event_ids);
    let mut events = finding.events();
    for other in others {
        finding.level = finding.level.max(other.level);
        finding.score = finding.score.max(other.score);
        finding.settles_at = finding.settles_at.max(other.settles_at);
        finding.first_at = finding.first_at.min(other.first_at);
        finding.last_at = finding.last_at.max(other.last_at);
        finding.event_count = finding.event_count.max(other.event_count);
        let place_of: Vec<usize> = other.reasons.iter().map(|reason| place(&mut finding, reason)).collect();
        let theirs = other.events();
        for (n, (id, before)) in numbered(&other.event_ids).enumerate() {
            if seen.insert((id.clone(), before)) {
                finding.event_ids.push(id);
                events.extend(theirs.get(n).map(|event| Event {
                    reasons: event.reasons.iter().filter_map(|r| place_of.get(*r)).copied().collect(),
                    ..event.clone()
                }));
            }
        }
    }
    if !others.is_empty() {
        // The sum that is shown is that of the parts that are.
        let best =
            statements.iter().max_by_key(|statement| statement.score).map(|best| &best.evidence["score"]);
        if let (Some(parts), Value::Object(evidence)) = (best, &mut finding.evidence)
            && !parts.is_null()
        {
            evidence.insert("score".to_owned(), parts.clone());
        }
        finding.event_count = finding.event_count.max(finding.event_ids.len() as u64);
        finding.evidence = with_others(finding.evidence, others);
        if !events.is_empty() {
            finding.evidence["events"] = serde_json::to_value(events).unwrap_or_default();
        }
    }
    Some(finding)
}

/// Where the sentence stands among the finding's, which it joins when it is new.
fn place(finding: &mut Finding, reason: &Text) -> usize {
    finding.reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
        finding.reasons.push(reason.clone());
        finding.reasons.len() - 1
    })
}

/// The lead's evidence stays where it is looked for; the others' is kept beside it.
fn with_others(evidence: Value, others: &[Finding]) -> Value {
    let without_events = |other: &Finding| {
        let mut evidence = other.evidence.clone();
        if let Value::Object(map) = &mut evidence {
            map.remove("events");
        }
        evidence
    };
    let also: Vec<Value> = others.iter().map(without_events).collect();
    match evidence {
        Value::Object(mut map) => {
            map.insert("also".to_owned(), Value::Array(also));
            Value::Object(map)
        }
        other => serde_json::json!({ "first": other, "also": also }),
    }
}

/// Most events first; then by their ids, which differ, since no statement covers another.
fn sort(statements: &mut [Finding]) {
    statements.sort_by(|a, b| {
        b.event_ids.len().cmp(&a.event_ids.len()).then_with(|| keys(&a.event_ids).cmp(&keys(&b.event_ids)))
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use insyn_rules::{FindingStatus, Level, Outcome};
    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    use super::*;

    /// What a run states about these events: a function of them, as a rule's finding is.
    fn statement(events: &BTreeSet<u8>) -> Finding {
        let amount = format!("{} events", events.len());
        let mut reasons = vec![Text { sv: amount.clone(), en: amount }];
        reasons.extend(events.iter().map(|e| Text { sv: format!("s{}", e % 3), en: format!("e{}", e % 3) }));
        let sum: u64 = events.iter().map(|e| u64::from(*e)).sum();
        Finding {
            finding_id: "f".into(),
            rule_id: "own-record".into(),
            rule_version: 1,
            level: Level::ALL[usize::try_from(sum % 5).unwrap()],
            score: u8::try_from(sum * 37 % 101).unwrap(),
            status: FindingStatus::New,
            outcome: Outcome::None,
            settles_at: sum.is_multiple_of(2).then_some(i64::try_from(sum).unwrap()),
            user_id: "U".into(),
            subject_id: None,
            care_unit_id: Some(format!("E{}", sum % 4)),
            controller_id: None,
            first_at: events.first().copied().map_or(0, i64::from),
            last_at: events.last().copied().map_or(0, i64::from),
            event_count: events.len() as u64,
            event_ids: events.iter().map(|e| format!("event {e}")).collect(),
            title_sv: "Egen journal".into(),
            title_en: "Own record".into(),
            reasons,
            created_at: 0,
            evidence: serde_json::json!({ "sum": sum, "events": rows(events) }),
        }
    }

    /// As evidence keeps them; the last sentences of a statement are those of its events.
    fn rows(events: &BTreeSet<u8>) -> Vec<Event> {
        let row = |(n, event): (usize, &u8)| Event {
            event_id: format!("event {event}"),
            source: "journal".into(),
            occurred_at: i64::from(*event) * 1_000_000,
            activity: None,
            care_unit_id: Some(format!("E{}", event % 4)),
            level: Level::ALL[usize::from(event % 5)],
            reasons: vec![n + 1],
            explained: None,
        };
        events.iter().enumerate().map(row).collect()
    }

    /// The oracle: of all that was ever stated, what no other statement covers; events, times and numbers over these.
    fn oracle(sets: &[BTreeSet<u8>]) -> (BTreeSet<String>, i64, i64, u8, Level, BTreeSet<String>) {
        let fullest: Vec<Finding> = sets
            .iter()
            .filter(|set| !sets.iter().any(|other| other != *set && set.is_subset(other)))
            .map(statement)
            .collect();
        (
            fullest.iter().flat_map(|f| f.event_ids.clone()).collect(),
            fullest.iter().map(|f| f.first_at).min().unwrap(),
            fullest.iter().map(|f| f.last_at).max().unwrap(),
            fullest.iter().map(|f| f.score).max().unwrap(),
            fullest.iter().map(|f| f.level).max().unwrap(),
            fullest.iter().flat_map(|f| f.reasons.iter().map(|r| r.sv.clone()).collect::<Vec<_>>()).collect(),
        )
    }

    fn told(sets: &[BTreeSet<u8>]) -> Vec<Finding> {
        let mut kept = Vec::new();
        for set in sets {
            if let Join::Changed { statements, .. } = join(&kept, statement(set)) {
                kept = statements;
            }
        }
        kept
    }

    fn sets() -> impl Strategy<Value = Vec<BTreeSet<u8>>> {
        vec(proptest::collection::btree_set(0u8..8, 1..6), 1..9)
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(sets in sets(), order in vec(any::<prop::sample::Index>(), 0..20)) {
            let kept = told(&sets);
            let mut again = sets.clone();
            for (at, index) in order.iter().enumerate() {
                // Shuffles, and states some things twice.
                let other = index.index(again.len());
                let here = at % again.len();
                again.swap(here, other);
                again.push(again[here].clone());
            }
            let finding = shown(&kept).unwrap();
            prop_assert_eq!(&finding, &shown(&told(&again)).unwrap());

            let (events, first, last, score, level, reasons) = oracle(&sets);
            prop_assert_eq!(&finding.event_ids.iter().cloned().collect::<BTreeSet<_>>(), &events);
            prop_assert_eq!(finding.event_ids.len(), events.len());
            prop_assert_eq!(finding.event_count, events.len() as u64);
            prop_assert_eq!((finding.first_at, finding.last_at, finding.score, finding.level), (first, last, score, level));
            prop_assert_eq!(finding.reasons.iter().map(|r| r.sv.clone()).collect::<BTreeSet<_>>(), reasons);
            // Each event is told once, in the order of the ids, and points at its own sentence.
            let rows = finding.events();
            prop_assert_eq!(rows.iter().map(|e| &e.event_id).collect::<Vec<_>>(), finding.event_ids.iter().collect::<Vec<_>>());
            for row in rows {
                let number: u8 = row.event_id.trim_start_matches("event ").parse().unwrap();
                prop_assert_eq!(&finding.reasons[row.reasons[0]].sv, &format!("s{}", number % 3));
                prop_assert_eq!(row.occurred_at, i64::from(number) * 1_000_000);
            }
        }

        #[test]
        fn what_was_stated_is_not_stated_again(sets in sets(), some in any::<prop::sample::Index>()) {
            let kept = told(&sets);
            prop_assert!(matches!(join(&kept, statement(&sets[some.index(sets.len())])), Join::Nothing));
        }
    }

    #[test]
    fn a_fuller_statement_takes_the_place_of_its_parts() {
        let set = |events: &[u8]| events.iter().copied().collect::<BTreeSet<u8>>();
        let kept = told(&[set(&[1]), set(&[2]), set(&[1, 2])]);
        assert_eq!(kept, [statement(&set(&[1, 2]))]);
        let apart = shown(&told(&[set(&[1, 4]), set(&[2])])).unwrap();
        assert_eq!(apart.event_ids, ["event 1", "event 4", "event 2"]);
        assert_eq!((&apart.evidence["sum"], &apart.evidence["also"]), (&json!(5), &json!([{ "sum": 2 }])));
    }

    #[test]
    fn decided_events_are_left_out_one_for_one() {
        let mut finding = statement(&BTreeSet::from([1, 2, 3]));
        let mut rows = finding.events();
        for (row, id) in rows.iter_mut().zip(["a", "a", "b"]) {
            row.event_id = id.into();
        }
        finding.evidence = json!({ "events": rows });
        finding.event_ids = ["a", "a", "b"].map(String::from).to_vec();
        let decided = |ids: &[&str]| keys(&ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        let left = |ids: &[&str]| {
            let rest = less(&finding, &decided(ids))?;
            let times = (rest.first_at / 1_000_000, rest.last_at / 1_000_000);
            Some((rest.event_ids, rest.event_count, times))
        };
        assert_eq!(left(&["a"]), Some((vec!["a".into(), "b".into()], 2, (2, 3))));
        assert_eq!(left(&["b", "a"]), Some((vec!["a".into()], 1, (2, 2))));
        assert_eq!(left(&["b", "a", "a"]), None);
        assert_eq!(less(&finding, &decided(&[])), Some(finding.clone()));
        finding.event_ids.clear();
        assert!(less(&finding, &decided(&["a"])).is_some(), "a finding about no events stays one");
    }
}
