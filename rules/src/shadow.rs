//! Rules in the shadow: judged like others and counted by week and unit, and nobody is flagged.

use chrono_tz::Tz;

use crate::calendar::CalendarWindow;
use crate::finding::Finding;
use crate::record::Shadowed;
use crate::rule::{Rule, Status, WindowSize};

/// What rules in the shadow found, as numbers are made of it; and the findings of the others.
pub(crate) fn parted(rules: &[&Rule], findings: Vec<Finding>, zone: Tz) -> (Vec<Shadowed>, Vec<Finding>) {
    let is_shadow = |finding: &Finding| {
        rules.iter().any(|rule| rule.id == finding.rule_id && rule.status == Status::Shadow)
    };
    let (shadow, findings): (Vec<Finding>, Vec<Finding>) = findings.into_iter().partition(is_shadow);
    (shadow.into_iter().map(|finding| shadowed(finding, zone)).collect(), findings)
}

fn shadowed(finding: Finding, zone: Tz) -> Shadowed {
    let week = CalendarWindow::of(WindowSize::Week, finding.first_at, zone);
    Shadowed {
        week: week.first_day.to_string(),
        finding_id: finding.finding_id,
        rule_id: finding.rule_id,
        rule_version: finding.rule_version,
        care_unit_id: finding.care_unit_id,
        controller_id: finding.controller_id,
        level: finding.level,
    }
}
