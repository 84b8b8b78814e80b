//! The pack: our rules, and beside them an organisation's own.

use std::path::{Path, PathBuf};

use crate::check::Problem;
use crate::explain::EXPLAINED;
use crate::file::{self, Override, Places, Read, nearest};
use crate::history::UNEXPLAINED;
use crate::rule::{Level, ParamValue, Rule, Status};

/// Our rule files, by name. A test holds that this list and the folder are the same.
const BUILTIN: &[(&str, &str)] = &[
    ("rules/pack/after-care-ended.toml", include_str!("../pack/after-care-ended.toml")),
    ("rules/pack/after-employment.toml", include_str!("../pack/after-employment.toml")),
    ("rules/pack/blocked-record.toml", include_str!("../pack/blocked-record.toml")),
    ("rules/pack/browsing-by-name.toml", include_str!("../pack/browsing-by-name.toml")),
    ("rules/pack/browsing-in-order.toml", include_str!("../pack/browsing-in-order.toml")),
    ("rules/pack/child-of-colleague.toml", include_str!("../pack/child-of-colleague.toml")),
    ("rules/pack/colleague.toml", include_str!("../pack/colleague.toml")),
    ("rules/pack/consent-moments-before.toml", include_str!("../pack/consent-moments-before.toml")),
    ("rules/pack/crowd.toml", include_str!("../pack/crowd.toml")),
    ("rules/pack/deceased.toml", include_str!("../pack/deceased.toml")),
    ("rules/pack/dormant-account.toml", include_str!("../pack/dormant-account.toml")),
    ("rules/pack/emergency-after-refusal.toml", include_str!("../pack/emergency-after-refusal.toml")),
    ("rules/pack/emergency-without-note.toml", include_str!("../pack/emergency-without-note.toml")),
    ("rules/pack/export-lacks-row.toml", include_str!("../pack/export-lacks-row.toml")),
    ("rules/pack/first-time-at-unit.toml", include_str!("../pack/first-time-at-unit.toml")),
    ("rules/pack/former-relation.toml", include_str!("../pack/former-relation.toml")),
    ("rules/pack/manager-subordinate.toml", include_str!("../pack/manager-subordinate.toml")),
    ("rules/pack/many-emergencies.toml", include_str!("../pack/many-emergencies.toml")),
    ("rules/pack/many-prints.toml", include_str!("../pack/many-prints.toml")),
    ("rules/pack/many-unexplained.toml", include_str!("../pack/many-unexplained.toml")),
    ("rules/pack/missing-numbers.toml", include_str!("../pack/missing-numbers.toml")),
    ("rules/pack/neighbour.toml", include_str!("../pack/neighbour.toml")),
    ("rules/pack/no-care-relation.toml", include_str!("../pack/no-care-relation.toml")),
    ("rules/pack/other-provider.toml", include_str!("../pack/other-provider.toml")),
    ("rules/pack/outside-places.toml", include_str!("../pack/outside-places.toml")),
    ("rules/pack/outside-schedule.toml", include_str!("../pack/outside-schedule.toml")),
    ("rules/pack/own-record.toml", include_str!("../pack/own-record.toml")),
    ("rules/pack/peek-by-name.toml", include_str!("../pack/peek-by-name.toml")),
    ("rules/pack/protected-identity.toml", include_str!("../pack/protected-identity.toml")),
    ("rules/pack/purpose-and-role.toml", include_str!("../pack/purpose-and-role.toml")),
    ("rules/pack/rapid-unexplained.toml", include_str!("../pack/rapid-unexplained.toml")),
    ("rules/pack/refused-at-block.toml", include_str!("../pack/refused-at-block.toml")),
    ("rules/pack/refused-attempts.toml", include_str!("../pack/refused-attempts.toml")),
    ("rules/pack/repeated-unexplained.toml", include_str!("../pack/repeated-unexplained.toml")),
    ("rules/pack/same-household.toml", include_str!("../pack/same-household.toml")),
    ("rules/pack/same-surname.toml", include_str!("../pack/same-surname.toml")),
    ("rules/pack/searches-without-opening.toml", include_str!("../pack/searches-without-opening.toml")),
    ("rules/pack/shared-account.toml", include_str!("../pack/shared-account.toml")),
    ("rules/pack/source-quiet.toml", include_str!("../pack/source-quiet.toml")),
    ("rules/pack/system-staff.toml", include_str!("../pack/system-staff.toml")),
    ("rules/pack/temporary-staff.toml", include_str!("../pack/temporary-staff.toml")),
    ("rules/pack/two-places.toml", include_str!("../pack/two-places.toml")),
    ("rules/pack/unusual-among-peers.toml", include_str!("../pack/unusual-among-peers.toml")),
    ("rules/pack/unusual-volume.toml", include_str!("../pack/unusual-volume.toml")),
    ("rules/pack/watch-list.toml", include_str!("../pack/watch-list.toml")),
];

/// Our files of explanations, likewise.
const EXPLANATIONS: &[(&str, &str)] = &[
    ("rules/explanations/admission.toml", include_str!("../explanations/admission.toml")),
    ("rules/explanations/booking.toml", include_str!("../explanations/booking.toml")),
    ("rules/explanations/care-team.toml", include_str!("../explanations/care-team.toml")),
    ("rules/explanations/consent.toml", include_str!("../explanations/consent.toml")),
    ("rules/explanations/home-care.toml", include_str!("../explanations/home-care.toml")),
    ("rules/explanations/in-person.toml", include_str!("../explanations/in-person.toml")),
    ("rules/explanations/laboratory-order.toml", include_str!("../explanations/laboratory-order.toml")),
    ("rules/explanations/mistaken-opening.toml", include_str!("../explanations/mistaken-opening.toml")),
    ("rules/explanations/noted-by-colleague.toml", include_str!("../explanations/noted-by-colleague.toml")),
    ("rules/explanations/on-call.toml", include_str!("../explanations/on-call.toml")),
    ("rules/explanations/on-duty.toml", include_str!("../explanations/on-duty.toml")),
    ("rules/explanations/other-relation.toml", include_str!("../explanations/other-relation.toml")),
    (
        "rules/explanations/own-registration-confirmed.toml",
        include_str!("../explanations/own-registration-confirmed.toml"),
    ),
    ("rules/explanations/placed-elsewhere.toml", include_str!("../explanations/placed-elsewhere.toml")),
    ("rules/explanations/pupil.toml", include_str!("../explanations/pupil.toml")),
    ("rules/explanations/quality-follow-up.toml", include_str!("../explanations/quality-follow-up.toml")),
    ("rules/explanations/referral.toml", include_str!("../explanations/referral.toml")),
    ("rules/explanations/registration.toml", include_str!("../explanations/registration.toml")),
    ("rules/explanations/signed-afterwards.toml", include_str!("../explanations/signed-afterwards.toml")),
    ("rules/explanations/social-case.toml", include_str!("../explanations/social-case.toml")),
    ("rules/explanations/stated-purpose.toml", include_str!("../explanations/stated-purpose.toml")),
    ("rules/explanations/unit-follow-up.toml", include_str!("../explanations/unit-follow-up.toml")),
    ("rules/explanations/visit.toml", include_str!("../explanations/visit.toml")),
    ("rules/explanations/wrote-in-record.toml", include_str!("../explanations/wrote-in-record.toml")),
];

/// A set of rules and of explanations, each in order of their ids. A file that cannot be read is a problem and stops none
/// of the others.
#[derive(Debug, Clone, Default)]
pub struct Pack {
    rules: Vec<Rule>,
    places: Vec<Places>,
    explanations: Vec<Rule>,
    explanations_places: Vec<Places>,
    problems: Vec<Problem>,
}

/// Why no pack could be read at all. What is wrong inside a file is a [`Problem`] of the pack instead.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The folder or a file in it cannot be read.
    #[error("rules in {}: {source}; expected a folder of rule files (*.toml)", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Pack {
    /// Our own rules.
    ///
    /// # Errors
    /// None today: the files are part of the program, and [`Pack::problems`] tells what is wrong in them.
    pub fn builtin() -> Result<Pack, PackError> {
        Ok(Pack::of(builtin()))
    }

    /// Our own rules and those of `dir`, which may add rules, or change level, status and parameters of ours by
    /// files with `override = "rule-id"`.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn load(dir: &Path) -> Result<Pack, PackError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| PackError::Io { path, source }
        };
        let mut files = builtin();
        let mut own = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(io(dir))? {
            let path = entry.map_err(io(dir))?.path();
            if path.extension().is_some_and(|e| e == "toml") {
                own.push(path);
            }
        }
        own.sort();
        for path in own {
            let text = std::fs::read_to_string(&path).map_err(io(&path))?;
            files.push((path.display().to_string(), text));
        }
        Ok(Pack::of(files))
    }

    /// A pack of these files, each (name, content).
    pub fn of(files: Vec<(String, String)>) -> Pack {
        let mut pack = Pack::default();
        let mut overrides = Vec::new();
        for (name, text) in files {
            match file::read(&name, &text) {
                Ok(Read::Rule(rule, places)) => pack.add(*rule, places),
                Ok(Read::Override(change)) => overrides.push(change),
                Err(problem) => pack.problems.push(problem),
            }
        }
        for change in overrides {
            pack.change(change);
        }
        sort(&mut pack.rules, &mut pack.places);
        sort(&mut pack.explanations, &mut pack.explanations_places);
        pack.lean();
        pack
    }

    /// The rules, in order of their ids.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule with this id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|r| r.id == id)
    }

    /// The explanations that are in use, in order of their ids.
    pub fn explanations(&self) -> impl Iterator<Item = &Rule> {
        self.explanations.iter().filter(|rule| rule.status != Status::Deprecated && rule.held_back.is_none())
    }

    /// What could not be read.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The same pack with only the rules that `keep` says.
    pub fn only(mut self, keep: impl Fn(&Rule) -> bool) -> Pack {
        let both = self
            .rules
            .drain(..)
            .zip(self.places.drain(..))
            .filter(|(rule, _)| keep(rule))
            .collect::<Vec<_>>();
        (self.rules, self.places) = both.into_iter().unzip();
        self
    }

    /// The same pack, of which rules that rest on address, kin, name, schedule or volume are not judged, for this reason.
    pub fn without_intrusive(mut self, why: &str) -> Pack {
        let every = self.rules.iter_mut().chain(&mut self.explanations);
        for rule in every.filter(|rule| rule.intrusive) {
            rule.held_back = Some(why.to_owned());
        }
        self.lean();
        self
    }

    /// The same pack, of which this rule is not judged, for this reason.
    #[must_use]
    pub fn without(mut self, id: &str, why: &str) -> Pack {
        for rule in self.rules.iter_mut().filter(|rule| rule.id == id) {
            rule.held_back = Some(why.to_owned());
        }
        self
    }

    /// The same pack with rules that are in the shadow judged as those on trial are, for whoever compares settings.
    pub(crate) fn out_of_the_shadow(mut self) -> Pack {
        for rule in self.rules.iter_mut().filter(|rule| rule.status == Status::Shadow) {
            rule.status = Status::Experimental;
        }
        self
    }

    /// Sets a parameter of a rule, for `--set rule.param=value` and for cases.
    ///
    /// # Errors
    /// What was found and what was expected, with the nearest right name.
    pub fn set(&mut self, rule: &str, param: &str, value: ParamValue) -> Result<(), String> {
        let ids: Vec<String> = self.every().map(|r| r.id.clone()).collect();
        let mut every = self.rules.iter_mut().chain(&mut self.explanations);
        let Some(found) = every.find(|r| r.id == rule) else {
            return Err(unknown("rule", rule, ids.iter().map(String::as_str)));
        };
        let names: Vec<String> = found.params.keys().cloned().collect();
        let Some(old) = found.params.get_mut(param) else {
            return Err(unknown("parameter", param, names.iter().map(String::as_str)));
        };
        file::allowed(old, &value).map_err(|what| format!("parameter \"{param}\" of \"{rule}\": {what}"))?;
        old.value = value;
        self.lean();
        Ok(())
    }

    /// Sets what is written as text, for whoever tries a setting: a parameter, `level` or `status`. Lists are parted by commas.
    ///
    /// # Errors
    /// What was found and what was expected, with the nearest right name.
    pub fn tune(&mut self, rule: &str, name: &str, text: &str) -> Result<(), String> {
        let ids: Vec<String> = self.every().map(|r| r.id.clone()).collect();
        let mut every = self.rules.iter_mut().chain(&mut self.explanations);
        let Some(found) = every.find(|r| r.id == rule) else {
            return Err(unknown("rule", rule, ids.iter().map(String::as_str)));
        };
        match name {
            "level" if found.explains.is_none() => {
                let level: Level = text.parse()?;
                found.most = (level < found.level).then_some(level).or(found.most);
                found.level = level;
            }
            "status" => found.status = text.parse()?,
            _ => {
                let value = found.params.get(name).map(|param| ParamValue::like(&param.default, text));
                let value = value.transpose().map_err(|what| format!("parameter \"{name}\": {what}"))?;
                return self.set(rule, name, value.unwrap_or(ParamValue::Flag(false)));
            }
        }
        self.lean();
        Ok(())
    }

    /// A pack of one rule, with all explanations; an explanation is judged as if it were a rule.
    pub(crate) fn alone(&self, rule: Rule) -> Pack {
        let mut explanations = self.explanations.clone();
        for explanation in &mut explanations {
            explanation.held_back = None;
            explanation.params.values_mut().for_each(|param| param.value = param.default.clone());
        }
        Pack { rules: vec![rule], places: vec![Places::default()], explanations, ..Pack::default() }
    }

    /// Rules and explanations.
    pub(crate) fn every(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(&self.explanations)
    }

    pub(crate) fn placed(&self) -> impl Iterator<Item = (&Rule, &Places)> {
        self.every().zip(self.places.iter().chain(&self.explanations_places))
    }

    /// Says of each rule that leans on explanations how these are set: they decide what it finds.
    fn lean(&mut self) {
        let set: Vec<String> = self.explanations().map(Rule::setting).collect();
        for rule in &mut self.rules {
            let leans = rule.words().iter().any(|word| word == EXPLAINED || word == UNEXPLAINED);
            rule.leans_on = leans.then(|| set.join("; "));
        }
    }

    fn add(&mut self, rule: Rule, places: Places) {
        let other = self.every().find(|known| known.id == rule.id).map(|other| other.file.clone());
        if let Some(other) = other {
            let what =
                format!("found a second rule \"{}\" (the first is {other}), expected each id once", rule.id);
            self.problems.push(Problem::at(&rule.file, &places.text, places.id.start, what));
            return;
        }
        let (rules, all_places) = match rule.explains {
            Some(_) => (&mut self.explanations, &mut self.explanations_places),
            None => (&mut self.rules, &mut self.places),
        };
        rules.push(rule);
        all_places.push(places);
    }

    fn change(&mut self, change: Override) {
        let problem = |at: usize, what: String| Problem::at(&change.file, &change.text, at, what);
        let ids: Vec<String> = self.every().map(|r| r.id.clone()).collect();
        let mut every = self.rules.iter_mut().chain(&mut self.explanations);
        let Some(rule) = every.find(|r| r.id == change.rule) else {
            let what = unknown("rule", &change.rule, ids.iter().map(String::as_str));
            self.problems.push(problem(change.rule_at.start, what));
            return;
        };
        // All or nothing: half an override would be a setting that nobody decided.
        let mut changed = rule.clone();
        let names: Vec<String> = rule.params.keys().cloned().collect();
        for (name, (at, value)) in &change.params {
            let Some(param) = changed.params.get_mut(name) else {
                self.problems
                    .push(problem(at.start, unknown("parameter", name, names.iter().map(String::as_str))));
                return;
            };
            if let Err(what) = file::allowed(param, value) {
                self.problems.push(problem(at.start, format!("parameter \"{name}\": {what}")));
                return;
            }
            param.value = value.clone();
        }
        changed.level = change.level.unwrap_or(rule.level);
        changed.most = change.level.filter(|level| *level < rule.level).or(rule.most);
        changed.status = change.status.unwrap_or(rule.status);
        changed.lift = change.lift.or(rule.lift);
        changed.schedule = change.schedule.or_else(|| rule.schedule.clone());
        *rule = changed;
    }
}

fn builtin() -> Vec<(String, String)> {
    let files = BUILTIN.iter().chain(EXPLANATIONS);
    files.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn sort(rules: &mut Vec<Rule>, places: &mut Vec<Places>) {
    let mut both: Vec<(Rule, Places)> = rules.drain(..).zip(places.drain(..)).collect();
    both.sort_by(|a, b| a.0.id.cmp(&b.0.id));
    (*rules, *places) = both.into_iter().unzip();
}

/// "found … , expected one of …; nearest …" for a name that nobody knows.
pub(crate) fn unknown<'a>(what: &str, found: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let list: Vec<&str> = known.clone().collect();
    let nearest = nearest(found, known).map(|n| format!("; nearest: \"{n}\"")).unwrap_or_default();
    format!("unknown {what} \"{found}\", expected one of {}{nearest}", list.join(", "))
}
