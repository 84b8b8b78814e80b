//! Findings that wait: bookings and notes that come late may still explain what was seen. One is settled when its rule,
//! as it was when it judged, now reads each of its accesses and names none of them.

use std::collections::HashMap;

use datafusion::error::DataFusionError;

use crate::desk::{Desk, keys_table, texts};
use crate::finding::Finding;
use crate::hits::Hit;
use crate::rule::Rule;
use crate::sql;

/// The findings that wait, and what the run at hand saw of them.
pub(crate) struct Waiting<'a> {
    found: Vec<Found<'a>>,
    /// Event id → which of the findings rest on it.
    wanted: HashMap<&'a str, Vec<usize>>,
}

struct Found<'a> {
    finding: &'a Finding,
    /// Its rule, by its number in the run.
    rule: usize,
    /// Which of its accesses were read, by place in `event_ids`.
    read: Vec<bool>,
    /// Whether the rule still names one of them.
    named: bool,
}

/// Whether a rule is now as it was when it made a finding.
pub(crate) fn is_as_then(rule: &Rule, finding: &Finding) -> bool {
    let params = serde_json::to_value(rule.shown_params()).unwrap_or_default();
    (rule.id.as_str(), rule.version) == (finding.rule_id.as_str(), finding.rule_version)
        && params == finding.evidence["parameters"]
}

impl<'a> Waiting<'a> {
    /// Those of `findings` that the rules can judge anew: a rule that has changed since settles nothing, for then the
    /// change would have explained it and not what came late.
    pub fn of(findings: &'a [Finding], rules: &[&Rule]) -> Waiting<'a> {
        let mut waiting = Waiting { found: Vec::new(), wanted: HashMap::new() };
        for finding in findings.iter().filter(|f| !f.event_ids.is_empty()) {
            let Some(rule) = rules.iter().position(|rule| is_as_then(rule, finding)) else { continue };
            for id in &finding.event_ids {
                let places = waiting.wanted.entry(id).or_default();
                if places.last() != Some(&waiting.found.len()) {
                    places.push(waiting.found.len());
                }
            }
            let read = vec![false; finding.event_ids.len()];
            waiting.found.push(Found { finding, rule, read, named: false });
        }
        waiting
    }

    /// Notes which of their accesses lie on the desk, by the same person in the same record as then. Only those within
    /// `slice` count, and of rules that judge it: what lies around it is looked at, not judged.
    pub async fn see(
        &mut self,
        desk: &Desk,
        slice: (i64, i64),
        judges: impl Fn(usize) -> bool,
    ) -> Result<(), DataFusionError> {
        if self.found.is_empty() {
            return Ok(());
        }
        let keys = keys_table(&self.wanted.keys().copied().collect())?;
        desk.put("waiting", keys.schema(), vec![vec![keys]])?;
        let query = format!(
            "select event_id, actor_id, subject_key from accesses join waiting on id = event_id \
             where occurred_at >= {} and occurred_at < {}",
            sql::timestamp(slice.0),
            sql::timestamp(slice.1)
        );
        for row in texts(&desk.ctx, &query, 3).await? {
            let [Some(id), actor, subject] = row.as_slice() else { continue };
            for place in self.wanted.get(id.as_str()).into_iter().flatten() {
                let found = &mut self.found[*place];
                let same_user = actor.as_ref() == Some(&found.finding.user_id);
                if same_user && judges(found.rule) && *subject == found.finding.subject_id {
                    let of_id = found.finding.event_ids.iter().zip(&mut found.read);
                    of_id.filter(|(known, _)| *known == id).for_each(|(_, read)| *read = true);
                }
            }
        }
        Ok(())
    }

    /// Notes that a rule names this access now, whether it can be judged or not.
    pub fn name(&mut self, hit: &Hit) {
        for place in self.wanted.get(hit.event_id.as_str()).into_iter().flatten() {
            let found = &mut self.found[*place];
            found.named |= found.rule == hit.rule
                && found.finding.user_id == hit.user
                && found.finding.subject_id == hit.subject;
        }
    }

    /// Those that are explained, with the number of their rule; `judged` says whether a rule could be.
    pub fn settled(&self, judged: impl Fn(usize) -> bool) -> Vec<(usize, String)> {
        let explained = self.found.iter().filter(|f| !f.named && judged(f.rule) && f.read.iter().all(|r| *r));
        explained.map(|f| (f.rule, f.finding.finding_id.clone())).collect()
    }
}
