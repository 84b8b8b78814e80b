//! Which files are written anew, and what of: a plan over the files of each year.
//!
//! Files that commits write cover everybody. Small ones are gathered into larger ones, and these go into *runs*: the
//! files of one level of a year, whose ranges of subjects lie apart, so that one person's rows lie in one file of a
//! run or in neighbours. A run that outgrows its level hands one range after the other on to the next level: what is
//! written anew at once is a few files, however much the year holds. A year that has ended comes to lie in one run.
//!
//! When much has come at once, as with the logs of a year, working it in little by little would write the first runs anew
//! over and over. A file whose subjects nobody has there yet goes where it belongs as it is. All else is *parted* first:
//! fresh files, many beside one another, become fresh files that each hold a range of subjects, and these go range by range
//! into the level that has room for all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::types::LakeFile;

/// How large what may be, in bytes and files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// A fresh file that is smaller is gathered with others.
    pub small: u64,
    /// So many small files of a year are left alone.
    pub left_alone: usize,
    /// So many fresh files that are not small go into the first run.
    pub gathered: usize,
    /// Bytes of small files that are gathered at once: more than two of them.
    pub fresh: u64,
    /// Bytes of fresh files that go into the first run at once.
    pub settled: u64,
    /// Fresh files that are read beside one another: of each some pages are held.
    pub beside: usize,
    /// Bytes of fresh files that are not small, of one year, from which they are parted first.
    pub backlog: u64,
    /// Bytes of them that are parted at once.
    pub parted: u64,
    /// Bytes of them that a range of subjects is to have in the end.
    pub range: u64,
    /// A file of a run.
    pub file: u64,
    /// The run of each level but the last.
    pub runs: [u64; LEVELS - 1],
}

/// Runs of one year at most.
pub(super) const LEVELS: usize = 4;

/// One exchange: these files become files of that level.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub year: String,
    pub inputs: Vec<Arc<LakeFile>>,
    /// 0: fresh ones.
    pub level: usize,
    /// Subjects at which another file begins: so that none covers much of the next level, or all are parted alike.
    pub begins: Vec<String>,
    /// Fresh files become fresh files of one range each.
    pub parting: Option<Parting>,
}

/// How fresh files are parted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parting {
    /// Into so many ranges, where the step does not say at which subjects they begin.
    pub ranges: usize,
    /// The level that the ranges go into then.
    pub level: usize,
}

impl Step {
    /// What one of its files is called, relative to its table.
    pub fn path(&self) -> String {
        match self.parting {
            Some(Parting { level, .. }) => {
                format!("year={}/{PART}{level}-{}.parquet", self.year, uuid::Uuid::new_v4().simple())
            }
            None => path_at(&self.year, self.level),
        }
    }

    /// The file that can lie there as it is: nothing is to be brought in order with it, and nothing begins within it.
    pub fn moved(&self) -> Option<&LakeFile> {
        let [file] = self.inputs.as_slice() else { return None };
        let key = file.key();
        let begins_within =
            |begin: &String| key.min.as_ref() < Some(begin) && Some(begin) <= key.max.as_ref();
        let has_one_place =
            key.nulls == Some(0) && key.min.is_some() && !self.begins.iter().any(begins_within);
        (self.level > 0 && self.parting.is_none() && has_one_place).then_some(file)
    }

    /// Whether it parts its rows by subject.
    pub fn is_parted(&self) -> bool {
        self.level > 0 || self.parting.is_some()
    }
}

/// How far the plan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeal {
    /// What pays while more is coming.
    WhenDue,
    /// Everything that is fresh goes into runs, and a year that has ended into one.
    All,
}

/// From the least key that a file may hold to the greatest.
pub(super) type Span = (Key, Key);

/// What rows are sorted by: the subject and the time; rows without a subject come last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Subject(String, i64),
    Nobody(i64),
}

/// The next step of each year that does not lie as it should, which can be done beside one another. `this_year` and later
/// years are open.
pub(super) fn steps(files: &[Arc<LakeFile>], this_year: &str, bounds: &Bounds, zeal: Zeal) -> Vec<Step> {
    let mut years: BTreeMap<&str, Year<'_>> = BTreeMap::new();
    for file in files {
        if let Some(name) = file.year.as_deref() {
            let year = years.entry(name).or_insert_with(|| Year::new(name, name < this_year, bounds));
            year.levels[level_of(&file.path)].push(file);
        }
    }
    years.values().filter_map(|year| year.next(zeal)).collect()
}

/// The level of a file, which its name tells.
pub(super) fn level_of(path: &str) -> usize {
    let name = path.rsplit('/').next().unwrap_or(path);
    let level = name.strip_prefix("run-").and_then(|rest| rest.split('-').next()?.parse().ok());
    level.filter(|level| (1..=LEVELS).contains(level)).unwrap_or(0)
}

/// What a file of that level is called, relative to its table.
pub(super) fn path_at(year: &str, level: usize) -> String {
    let id = uuid::Uuid::new_v4().simple();
    match level {
        0 => format!("year={year}/merged-{id}.parquet"),
        level => format!("year={year}/run-{level}-{id}.parquet"),
    }
}

/// How the name of a file begins that holds one range of what came fresh.
const PART: &str = "part-";

/// The level that a range goes into, which its name tells; none for a file that is no range.
fn bound_for(file: &LakeFile) -> Option<usize> {
    let name = file.path.rsplit('/').next()?.strip_prefix(PART)?;
    let level = name.split('-').next()?.parse().ok()?;
    (1..=LEVELS).contains(&level).then_some(level)
}

fn is_part(file: &LakeFile) -> bool {
    bound_for(file).is_some()
}

struct Year<'a> {
    name: &'a str,
    has_ended: bool,
    bounds: &'a Bounds,
    /// Fresh files, and the run of each level.
    levels: [Vec<&'a Arc<LakeFile>>; LEVELS + 1],
}

impl<'a> Year<'a> {
    fn new(name: &'a str, has_ended: bool, bounds: &'a Bounds) -> Self {
        Year { name, has_ended, bounds, levels: Default::default() }
    }

    fn next(&self, zeal: Zeal) -> Option<Step> {
        self.slip()
            .or_else(|| self.gather())
            .or_else(|| self.part())
            .or_else(|| self.settle_range())
            .or_else(|| self.settle(zeal))
            .or_else(|| self.hand_on(zeal))
    }

    /// Fresh files that cover everybody, small and large.
    fn whole(&self) -> (Vec<&'a Arc<LakeFile>>, Vec<&'a Arc<LakeFile>>) {
        let whole = self.levels[0].iter().copied().filter(|file| !is_part(file));
        whole.partition(|file| file.size < self.bounds.small)
    }

    /// A fresh file goes as it is where there is room for all that is fresh, if nobody has its subjects there yet: as when a
    /// year begins, or logs of years are loaded person by person.
    fn slip(&self) -> Option<Step> {
        let level = self.with_room();
        let (_, large) = self.whole();
        let goes = |file: &&Arc<LakeFile>| {
            let meets = within(&self.levels[level], &span(file)).next().is_some();
            file.size <= 2 * self.bounds.file && !meets
        };
        let step = self.step(vec![Arc::clone(large.into_iter().find(goes)?)], level);
        step.moved().is_some().then_some(step)
    }

    /// Many small files become one.
    fn gather(&self) -> Option<Step> {
        let (small, _) = self.whole();
        if small.len() <= self.bounds.left_alone {
            return None;
        }
        let few = self.some(small.clone(), self.bounds.fresh, self.bounds.beside);
        // Of tiny ones, as of commits of a few rows, many are held as easily: they would come faster than ten at a time go.
        let tiny = self.some(small, self.bounds.fresh / TINY, MOST_TINY);
        Some(self.step(if tiny.len() > few.len() { tiny } else { few }, 0))
    }

    /// Much that has come at once becomes fresh files of one range of subjects each.
    fn part(&self) -> Option<Step> {
        let (_, large) = self.whole();
        let bytes: u64 = large.iter().map(|file| file.size).sum();
        let ranges = self.ranges();
        if bytes < self.bounds.backlog && ranges.is_empty() || bytes < self.bounds.backlog / 2 {
            return None;
        }
        let wanted = usize::try_from(self.fresh().div_ceil(self.bounds.range)).unwrap_or(MOST_RANGES);
        let wanted = wanted.clamp(2, MOST_RANGES);
        // Parts of one year have one bound: what is settled of them meanwhile leaves room that is not there.
        let bound = ranges.iter().flatten().filter_map(|file| bound_for(file)).max();
        let level = bound.unwrap_or_default().max(self.with_room());
        let begins = self.begins(&ranges, level, wanted);
        if !ranges.is_empty() && (begins.len() + 1) * 2 < wanted {
            // Much more has come than the ranges were made for: they go first.
            return None;
        }
        let inputs = self.some(large, self.bounds.parted, MANY);
        let parting = Some(Parting { ranges: wanted, level });
        Some(Step { year: self.name.to_owned(), inputs, level: 0, begins, parting })
    }

    /// Where ranges begin: as those do that are there, and before them, where some have been settled already, as files of
    /// their level. None where that is not known well enough: then the rows themselves tell.
    fn begins(&self, ranges: &[Vec<&Arc<LakeFile>>], level: usize, wanted: usize) -> Vec<String> {
        let first = ranges.iter().filter_map(|range| range.first()?.key().min.clone());
        let first: Vec<String> = first.collect();
        let mut below: Vec<String> =
            self.levels[level].iter().filter_map(|file| file.key().min.clone()).collect();
        below.sort_unstable();
        below.dedup();
        let each = below.len().div_ceil(wanted).max(1);
        let below: Vec<String> = below.into_iter().step_by(each).skip(1).collect();
        match first.first().cloned() {
            Some(least) => {
                let settled = below.into_iter().filter(|start| *start < least);
                let settled: Vec<String> = settled.collect();
                let rest = first.into_iter().skip(usize::from(settled.is_empty()));
                settled.iter().cloned().chain(rest).collect()
            }
            None if (below.len() + 1) * 2 >= wanted => below,
            None => Vec::new(),
        }
    }

    /// One range of what was parted goes into the level that had room for all of it.
    fn settle_range(&self) -> Option<Step> {
        let range = self.ranges().into_iter().next()?;
        let level = range.iter().filter_map(|file| bound_for(file)).max()?;
        // In order, so that they touch as little of the run as they can.
        let mut inputs = first(&range, self.bounds.parted, MANY);
        let span = span_of(&inputs)?;
        inputs.extend(within(&self.levels[level], &span));
        Some(self.step(inputs, level))
    }

    /// Parts that share subjects, together; in order.
    fn ranges(&self) -> Vec<Vec<&'a Arc<LakeFile>>> {
        let mut parts: Vec<(Span, &Arc<LakeFile>)> = self.levels[0]
            .iter()
            .copied()
            .filter(|file| is_part(file))
            .map(|file| (span(file), file))
            .collect();
        parts.sort_by(|a, b| (&a.0, &a.1.path).cmp(&(&b.0, &b.1.path)));
        let mut ranges: Vec<Vec<&Arc<LakeFile>>> = Vec::new();
        let mut end: Option<Key> = None;
        for ((from, to), file) in parts {
            match ranges.last_mut().filter(|_| end.as_ref().is_some_and(|end| from <= *end)) {
                Some(range) => range.push(file),
                None => ranges.push(vec![file]),
            }
            end = end.max(Some(to));
        }
        ranges
    }

    /// Bytes of what is fresh.
    fn fresh(&self) -> u64 {
        self.levels[0].iter().map(|file| file.size).sum()
    }

    /// The first level whose run may hold its own and what is fresh.
    fn with_room(&self) -> usize {
        let bytes = |level: usize| self.levels[level].iter().map(|file| file.size).sum::<u64>();
        let has_room = |level: &usize| self.fresh() + bytes(*level) <= self.bounds.runs[level - 1];
        (1..LEVELS).find(has_room).unwrap_or(LEVELS)
    }

    /// Fresh files go into the first run.
    fn settle(&self, zeal: Zeal) -> Option<Step> {
        let (small, large) = self.whole();
        let chosen = match zeal {
            Zeal::WhenDue if large.len() >= self.bounds.gathered => large,
            Zeal::All => large.into_iter().chain(small).collect(),
            Zeal::WhenDue => return None,
        };
        let mut inputs = self.some(chosen, self.bounds.settled, self.bounds.beside);
        let span = span_of(&inputs)?;
        inputs.extend(within(&self.levels[1], &span));
        Some(self.step(inputs, 1))
    }

    /// A run that is too large hands a range on to the next level; one of a year that has ended, to the last there is.
    fn hand_on(&self, zeal: Zeal) -> Option<Step> {
        (1..LEVELS).find_map(|level| {
            let run = &self.levels[level];
            let bytes: u64 = run.iter().map(|file| file.size).sum();
            let below: u64 = self.levels[level + 1..].iter().flatten().map(|file| file.size).sum();
            // A little that came late waits: it would have all of the year written anew.
            let is_late = self.has_ended && below > 0 && (zeal == Zeal::All || bytes * LATE >= below);
            let next = match bytes > self.bounds.runs[level - 1] {
                true => level + 1,
                false if is_late => (level + 1..=LEVELS).find(|next| !self.levels[*next].is_empty())?,
                false => return None,
            };
            let cost = |file: &&Arc<LakeFile>| {
                let below: u64 = within(&self.levels[next], &span(file)).map(|file| file.size).sum();
                (below.saturating_mul(1024) / file.size.max(1), span(file))
            };
            let cheapest = run.iter().copied().min_by_key(cost)?;
            let mut inputs = vec![Arc::clone(cheapest)];
            inputs.extend(within(&self.levels[next], &span(cheapest)));
            Some(self.step(inputs, next))
        })
    }

    /// As many of the smallest as hold so many bytes, and one at least.
    fn some(&self, mut fresh: Vec<&Arc<LakeFile>>, most: u64, beside: usize) -> Vec<Arc<LakeFile>> {
        fresh.sort_by(|a, b| (a.size, &a.path).cmp(&(b.size, &b.path)));
        first(&fresh, most, beside)
    }

    fn step(&self, inputs: Vec<Arc<LakeFile>>, level: usize) -> Step {
        let below = self.levels.get(level + 1).filter(|_| level > 0).into_iter().flatten();
        let mut starts: Vec<String> = below.filter_map(|file| file.key().min.clone()).collect();
        starts.sort_unstable();
        starts.dedup();
        let begins = starts.into_iter().skip(COVERED).step_by(COVERED).collect();
        Step { year: self.name.to_owned(), inputs, level, begins, parting: None }
    }
}

/// Ranges that fresh files are parted into at most.
const MOST_RANGES: usize = 256;

/// Fresh files that are read beside one another where there are many.
const MANY: usize = 32;

/// Small files that are gathered at once where all of them together hold no more than this part of what else is.
const TINY: u64 = 8;
const MOST_TINY: usize = 256;

/// What came late is this part of its year at least before it is worked in.
const LATE: u64 = 32;

/// Files of the next level that one file covers at most, or one or two more.
const COVERED: usize = 8;

pub(super) fn span(file: &LakeFile) -> Span {
    let (subject, times) = (file.key(), &file.occurred_at);
    // Rows without a subject have files of their own in a run: their times bound those as well.
    let is_nobody = subject.nulls == Some(file.rows);
    let first = times.min.filter(|_| is_nobody).unwrap_or(i64::MIN);
    let last = times.max.filter(|_| is_nobody).unwrap_or(i64::MAX);
    let from = match &subject.min {
        None if is_nobody => Key::Nobody(first),
        min => Key::Subject(min.clone().unwrap_or_default(), first),
    };
    let to = match &subject.max {
        Some(max) if subject.nulls == Some(0) => Key::Subject(max.clone(), last),
        _ => Key::Nobody(last),
    };
    (from, to)
}

/// What the files of a run are in order by, as their rows are.
pub(super) fn place(file: &LakeFile) -> (Key, Key, Option<i64>) {
    // A file that begins within one subject's rows comes after those that hold nothing else.
    let whole = |key| match key {
        Key::Subject(subject, _) => Key::Subject(subject, 0),
        Key::Nobody(_) => Key::Nobody(0),
    };
    let (from, to) = span(file);
    (whole(from), whole(to), file.occurred_at.min)
}

/// As many of the first as hold so many bytes, and one at least.
fn first(files: &[&Arc<LakeFile>], most: u64, count: usize) -> Vec<Arc<LakeFile>> {
    let mut bytes = 0;
    let held = files.iter().take(count).take_while(|file| {
        bytes += file.size;
        bytes <= most
    });
    let held = held.count().max(1);
    files.iter().copied().take(held).cloned().collect()
}

fn span_of(files: &[Arc<LakeFile>]) -> Option<Span> {
    let spans = files.iter().map(|file| span(file));
    spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Files of a run that may hold what lies in `span`.
fn within<'r>(run: &'r [&Arc<LakeFile>], among: &'r Span) -> impl Iterator<Item = Arc<LakeFile>> + 'r {
    run.iter()
        .copied()
        .filter(|file| {
            let (from, to) = span(file);
            from <= among.1 && among.0 <= to
        })
        .cloned()
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::types::Bounds as Values;
    use super::*;

    /// A row: its subject and its time.
    type Row = (Option<u16>, i64);

    const SMALL: Bounds = Bounds {
        small: 20,
        left_alone: 4,
        gathered: 3,
        fresh: 50,
        settled: 120,
        beside: 5,
        backlog: 300,
        parted: 250,
        range: 100,
        file: 40,
        runs: [100, 400, 1600],
    };

    /// A table of which every row takes one byte.
    #[derive(Default)]
    struct Model {
        files: Vec<Arc<LakeFile>>,
        rows: HashMap<String, Vec<Row>>,
        written: u64,
    }

    impl Model {
        fn put(&mut self, year: &str, level: usize, mut rows: Vec<Row>) {
            rows.sort_by_key(|(subject, time)| (subject.is_none(), *subject, *time));
            self.put_at(&format!("access_events/{}", path_at(year, level)), year, rows);
        }

        fn put_at(&mut self, path: &str, year: &str, rows: Vec<Row>) {
            let path = path.to_owned();
            let subjects: Vec<String> =
                rows.iter().filter_map(|row| row.0).map(|subject| format!("{subject:05}")).collect();
            let times = rows.iter().map(|row| row.1);
            self.written += rows.len() as u64;
            self.files.push(Arc::new(LakeFile {
                path: path.clone(),
                size: rows.len() as u64,
                rows: rows.len() as u64,
                year: Some(year.to_owned()),
                subject_id: Values {
                    min: subjects.first().cloned(),
                    max: subjects.last().cloned(),
                    nulls: Some((rows.len() - subjects.len()) as u64),
                },
                occurred_at: Values { min: times.clone().min(), max: times.max(), nulls: Some(0) },
                user_id: Values::default(),
                source: None,
                sequence: None,
                empty: Default::default(),
            }));
            self.rows.insert(path, rows);
        }

        /// What `compact` does, row by row.
        fn exchange(&mut self, step: &Step) {
            assert!(!step.inputs.is_empty());
            let mut rows = Vec::new();
            for file in &step.inputs {
                rows.extend(self.rows.remove(&file.path).expect("the file is live"));
                self.files.retain(|live| live.path != file.path);
            }
            rows.sort_by_key(|(subject, time)| (subject.is_none(), *subject, *time));
            let mut file: Vec<Row> = Vec::new();
            let mut begins = step.begins.clone();
            if let Some(Parting { ranges, .. }) = step.parting.filter(|_| begins.is_empty()) {
                let named: Vec<u16> = rows.iter().filter_map(|row| row.0).collect();
                begins = named
                    .iter()
                    .step_by(named.len().div_ceil(ranges).max(1))
                    .skip(1)
                    .map(|s| format!("{s:05}"))
                    .collect();
                begins.dedup();
            }
            let piece = |row: &Row| match (step.is_parted(), row.0) {
                (false, _) => 0,
                (_, None) => begins.len() + 1,
                (_, Some(subject)) => begins.partition_point(|begin| *begin <= format!("{subject:05}")),
            };
            for row in rows {
                let is_full = step.is_parted() && file.len() as u64 >= SMALL.file;
                if file.last().is_some_and(|last| is_full || piece(last) != piece(&row)) {
                    self.put_at(
                        &format!("access_events/{}", step.path()),
                        &step.year,
                        std::mem::take(&mut file),
                    );
                }
                file.push(row);
            }
            self.put_at(&format!("access_events/{}", step.path()), &step.year, file);
        }

        /// Does all that is to be done; how many steps.
        fn settle(&mut self, zeal: Zeal) -> usize {
            for done in 0..10_000 {
                match steps(&self.files, "2026", &SMALL, zeal).into_iter().next() {
                    Some(step) => self.exchange(&step),
                    None => return done,
                }
                self.runs_lie_apart();
            }
            panic!("there is always another step");
        }

        fn level(&self, year: &str, level: usize) -> Vec<&Arc<LakeFile>> {
            let of =
                |file: &&Arc<LakeFile>| file.year.as_deref() == Some(year) && level_of(&file.path) == level;
            self.files.iter().filter(of).collect()
        }

        fn runs_lie_apart(&self) {
            for (year, level) in ["2025", "2026"].iter().flat_map(|year| (1..=LEVELS).map(move |l| (year, l)))
            {
                let mut run = self.level(year, level);
                run.sort_by_key(|file| place(file));
                let order = |row: &Row| (row.0.is_none(), row.0, row.1);
                let rows: Vec<Row> = run.iter().flat_map(|file| &self.rows[&file.path]).copied().collect();
                assert!(rows.is_sorted_by_key(order), "{year}, level {level}: {rows:?}");
            }
        }

        fn all(&self) -> Vec<Row> {
            let mut all: Vec<Row> = self.rows.values().flatten().copied().collect();
            all.sort_unstable();
            all
        }
    }

    /// Whether it came late, its rows, and whether anybody does anything before the next one.
    fn file_of_rows() -> impl Strategy<Value = (bool, Vec<Row>, bool)> {
        let subject = prop_oneof![6 => (0..300u16).prop_map(Some), 1 => Just(Some(7)), 2 => Just(None)];
        let rows = prop::collection::vec((subject, 0..1000i64), 1..60);
        (prop::bool::weighted(0.3), rows, prop::bool::weighted(0.7))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_lies_in_runs_with_the_same_rows(
            files in prop::collection::vec(file_of_rows(), 1..80)
        ) {
            let mut model = Model::default();
            let mut rows = Vec::new();
            for (n, (is_late, file, is_settled)) in files.into_iter().enumerate() {
                let file: Vec<Row> =
                    file.into_iter().map(|(subject, time)| (subject, time + n as i64 * 50)).collect();
                rows.extend(file.iter().copied());
                model.put(if is_late { "2025" } else { "2026" }, 0, file);
                if is_settled {
                    model.settle(Zeal::WhenDue);
                }
            }
            model.settle(Zeal::WhenDue);
            let count = rows.len();
            rows.sort_unstable();
            prop_assert_eq!(&model.all(), &rows);
            for year in ["2025", "2026"] {
                let fresh = model.level(year, 0);
                let small = fresh.iter().filter(|file| file.size < SMALL.small).count();
                prop_assert!(small <= SMALL.left_alone && fresh.len() - small < SMALL.gathered);
                for level in 1..LEVELS {
                    let bytes: u64 = model.level(year, level).iter().map(|file| file.size).sum();
                    prop_assert!(bytes <= SMALL.runs[level - 1], "{} bytes in level {}", bytes, level);
                }
            }
            // Each row was written a few times for each level, and no more.
            prop_assert!(model.written <= count as u64 * 60 + 1000, "{} rows of {count}", model.written);
            model.settle(Zeal::All);
            let runs = |year: &str| (1..=LEVELS).filter(|level| !model.level(year, *level).is_empty()).count();
            prop_assert!(model.level("2025", 0).is_empty() && model.level("2026", 0).is_empty());
            prop_assert!(runs("2025") <= 1, "a year that has ended lies in one run");
            prop_assert_eq!(model.all(), rows);
        }
    }

    #[test]
    fn as_many_tiny_files_are_gathered_at_once_as_hold_little() {
        let mut model = Model::default();
        for n in 0..40i64 {
            model.put("2026", 0, vec![(Some((n * 7919 % 3001) as u16), n)]);
        }
        model.put("2025", 0, vec![(Some(1), 1)]);
        let due = steps(&model.files, "2026", &SMALL, Zeal::WhenDue);
        let gathered: Vec<usize> = due.iter().map(|step| step.inputs.len()).collect();
        assert_eq!(
            gathered,
            [6],
            "an eighth of what is gathered at once, and more than are read beside one another"
        );
        // What is not so small goes a few files at a time.
        model.files.clear();
        (0..40).for_each(|n| model.put("2026", 0, vec![(Some(n), 1); 10]));
        let due = steps(&model.files, "2026", &SMALL, Zeal::WhenDue);
        assert_eq!(due[0].inputs.len(), SMALL.beside);
    }

    #[test]
    fn what_comes_at_once_is_written_twice_or_three_times() {
        let mut model = Model::default();
        for n in 0..200i64 {
            model.put("2026", 0, (0..40).map(|at| (Some(((n * 40 + at) * 7919 % 3001) as u16), n)).collect());
        }
        let rows = model.all();
        model.written = 0;
        model.settle(Zeal::All);
        assert_eq!(model.all(), rows);
        assert!(model.written <= 3 * rows.len() as u64, "{} of {} rows", model.written, rows.len());
        let levels: Vec<usize> =
            (0..=LEVELS).filter(|level| !model.level("2026", *level).is_empty()).collect();
        let bytes = |level: usize| model.level("2026", level).iter().map(|file| file.size).sum::<u64>();
        assert!(
            levels.len() <= 2 && bytes(LEVELS) * 10 >= rows.len() as u64 * 9,
            "{levels:?}: the level that has room"
        );
    }

    #[test]
    fn more_that_comes_while_a_backlog_is_worked_in_is_written_as_often() {
        for done in [1, 2, 3, 5, 8, 13] {
            let mut model = Model::default();
            let put = |model: &mut Model, files: std::ops::Range<i64>| {
                for n in files {
                    let rows = (0..40).map(|at| (Some(((n * 40 + at) * 7919 % 3001) as u16), n));
                    model.put("2026", 0, rows.collect());
                }
            };
            put(&mut model, 0..12);
            for _ in 0..done {
                let Some(step) = steps(&model.files, "2026", &SMALL, Zeal::All).into_iter().next() else {
                    break;
                };
                model.exchange(&step);
            }
            put(&mut model, 12..300);
            let rows = model.all();
            model.written = 0;
            model.settle(Zeal::All);
            assert_eq!(model.all(), rows);
            assert!(
                model.written <= 4 * rows.len() as u64,
                "after {done}: {} of {} rows",
                model.written,
                rows.len()
            );
        }
    }

    #[test]
    fn a_name_tells_the_level() {
        for level in 0..=LEVELS {
            assert_eq!(level_of(&path_at("2026", level)), level);
        }
        for fresh in ["year=2026/0000000000000001-abc.parquet", "run-", "run-9-x.parquet", "run-x", ""] {
            assert_eq!(level_of(fresh), 0, "{fresh}");
        }
    }
}
