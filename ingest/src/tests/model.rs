//! Random lives of log files against a model: exactly the lines that were written, or a gap that says what is missing.
//!
//! `INSYN_SEQUENCES=5000 cargo test --workspace --lib model` runs more of them. A sequence that failed is kept in
//! `proptest-regressions` and tried first.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::world::{DELIMITED, HEADER, JSON, JUST_NOW, LATER, World, json, packed, row};

/// What writers, rotation and people do to log files, and when the program looks.
#[derive(Debug, Clone)]
enum Act {
    /// A writer writes whole lines.
    Write { writer: usize, lines: usize },
    /// A writer writes the same line again.
    Repeat { writer: usize },
    /// A writer's line gets as far as the disk only in part.
    Half { writer: usize },
    /// A writer's file is renamed, and older ones further on.
    Rename { writer: usize },
    /// A writer's file is copied and cut to nothing; the program may look while the copy is being made.
    CopyTruncate { writer: usize, looks: bool },
    /// A file that was moved away is packed; the program may look while that is done.
    Pack { file: usize, ending: usize, looks: bool },
    /// A file that was moved away is removed.
    Remove { file: usize },
    /// A file is copied, and both stay.
    Copy { file: usize },
    /// The program reads what there is.
    Look,
    /// So much time passes that everything has settled; then the program reads.
    Later,
    /// The program ends and starts anew.
    Restart,
    /// The program reads and dies before it commits.
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let writer = 0..2usize;
    prop_oneof![
        5 => (writer.clone(), 1..4usize).prop_map(|(writer, lines)| Act::Write { writer, lines }),
        1 => writer.clone().prop_map(|writer| Act::Repeat { writer }),
        2 => writer.clone().prop_map(|writer| Act::Half { writer }),
        3 => writer.clone().prop_map(|writer| Act::Rename { writer }),
        2 => (writer, any::<bool>()).prop_map(|(writer, looks)| Act::CopyTruncate { writer, looks }),
        2 => (0..4usize, 0..3usize, any::<bool>())
            .prop_map(|(file, ending, looks)| Act::Pack { file, ending, looks }),
        1 => (0..4usize).prop_map(|file| Act::Remove { file }),
        1 => (0..4usize).prop_map(|file| Act::Copy { file }),
        4 => Just(Act::Look),
        2 => Just(Act::Later),
        2 => Just(Act::Restart),
        1 => Just(Act::Crash),
    ]
}

/// A file as the model knows it.
#[derive(Debug, Clone, Default)]
struct File {
    name: String,
    /// Whole lines: their id, and whether the program has had the chance to read them.
    lines: Vec<(String, bool)>,
    /// The beginning of a line that has no end yet.
    half: Option<String>,
    /// That beginning lies in quarantine.
    half_kept: bool,
    /// When the program looked last, it saw bytes that it could not read yet.
    half_seen: bool,
    /// Under which name the program first saw it: under another one, it knows that nobody writes to it any more.
    met_as: Option<String>,
    packed: bool,
    /// It is a copy that stays beside its original, and the program has taken it for that.
    copy: Option<bool>,
}

/// What must lie in the lake in the end.
#[derive(Debug, Default)]
struct Expected {
    events: BTreeMap<String, usize>,
    quarantine: BTreeMap<String, usize>,
    gaps: usize,
}

struct Model {
    world: World,
    delimited: bool,
    skip: bool,
    /// The first two are the writers' own.
    files: Vec<File>,
    expected: Expected,
    next: usize,
    last: [Option<String>; 2],
    /// Some file was removed.
    removed: bool,
    /// Some file begins with the same line as another one.
    alike: bool,
}

impl Model {
    async fn new(delimited: bool, skip: bool) -> Model {
        let format = if delimited { DELIMITED } else { JSON };
        let world = World::new(format, if skip { "skip" } else { "read" }).await;
        let files = vec![own("a"), own("b")];
        Model {
            world,
            delimited,
            skip,
            files,
            expected: Expected::default(),
            next: 0,
            last: [None, None],
            removed: false,
            alike: false,
        }
    }

    fn line(&self, id: &str) -> String {
        if self.delimited { row(id) } else { json(id) }
    }

    /// Every file begins with the header where there is one.
    fn write(&mut self, writer: usize, text: &str) {
        let name = self.files[writer].name.clone();
        let empty = std::fs::metadata(self.world.path(&name)).map_or(0, |data| data.len()) == 0;
        if self.delimited && empty {
            self.world.append(&name, HEADER);
        }
        self.world.append(&name, text);
    }

    fn end_half(&mut self, writer: usize) {
        if let Some(half) = self.files[writer].half.take() {
            let line = self.line(&half);
            self.write(writer, &line[begun(&line).len()..]);
            self.files[writer].lines.push((half, false));
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Write { writer, lines } => {
                self.end_half(writer);
                for _ in 0..lines {
                    self.next += 1;
                    let id = format!("{writer}-{}", self.next);
                    self.write(writer, &self.line(&id));
                    self.files[writer].lines.push((id.clone(), false));
                    self.last[writer] = Some(id);
                }
            }
            Act::Repeat { writer } => {
                self.end_half(writer);
                // A file with the content of another one is that one's copy, and its successor when that one is gone:
                // so no file begins as another one does where copies are skipped or files are removed.
                let fresh = self.files[writer].lines.is_empty();
                let told_apart = !fresh || !self.skip && !self.removed;
                if let Some(id) = self.last[writer].clone().filter(|_| told_apart) {
                    self.alike |= fresh;
                    self.write(writer, &self.line(&id));
                    self.files[writer].lines.push((id, false));
                }
            }
            Act::Half { writer } => {
                self.end_half(writer);
                self.next += 1;
                let id = format!("{writer}-{}", self.next);
                self.write(writer, begun(&self.line(&id)));
                self.files[writer].half = Some(id);
            }
            Act::Rename { writer } => self.rename(writer),
            Act::CopyTruncate { writer, looks } => self.copy_truncate(writer, looks).await,
            Act::Pack { file, ending, looks } => self.pack(file, ["gz", "zst", "xz"][ending], looks).await,
            Act::Remove { file } => self.remove(file),
            Act::Copy { file } => self.copy(file),
            Act::Look => self.look(false).await,
            Act::Later => self.look(true).await,
            Act::Restart => self.world.restart(),
            Act::Crash => {
                self.world.crash(JUST_NOW).await;
            }
        }
    }

    /// `a.2` becomes `a.3`, `a.1` becomes `a.2`: packed ones keep their ending.
    fn make_room(&mut self, writer: usize) {
        let stem = self.files[writer].name.clone() + ".";
        let numbered = |name: &str| -> Option<(usize, String)> {
            let rest = name.strip_prefix(&stem)?;
            let (number, ending) = rest.split_once('.').map_or((rest, ""), |(n, ending)| (n, ending));
            Some((number.parse().ok()?, ending.to_owned()))
        };
        let mut moves: Vec<(usize, usize, String)> = Vec::new();
        for (n, file) in self.files.iter().enumerate().skip(2) {
            if let Some((number, ending)) = numbered(&file.name) {
                let dot = if ending.is_empty() { "" } else { "." };
                moves.push((number, n, format!("{stem}{}{dot}{ending}", number + 1)));
            }
        }
        moves.sort_unstable();
        for (_, n, to) in moves.into_iter().rev() {
            self.world.rename(&self.files[n].name, &to);
            self.files[n].name = to;
        }
    }

    fn exists(&self, writer: usize) -> bool {
        self.world.path(&self.files[writer].name).exists()
    }

    fn rename(&mut self, writer: usize) {
        if !self.exists(writer) {
            return;
        }
        self.make_room(writer);
        let name = self.files[writer].name.clone();
        let to = format!("{name}.1");
        self.world.rename(&name, &to);
        let old = std::mem::replace(&mut self.files[writer], own(&name));
        self.files.push(File { name: to, ..old });
    }

    async fn copy_truncate(&mut self, writer: usize, looks: bool) {
        if !self.exists(writer) {
            return;
        }
        self.make_room(writer);
        let name = self.files[writer].name.clone();
        let to = format!("{name}.1");
        let whole = std::fs::read(self.world.path(&name)).unwrap();
        if looks {
            std::fs::write(self.world.path(&to), &whole[..whole.len() / 2]).unwrap();
            self.look(false).await;
        }
        std::fs::write(self.world.path(&to), &whole).unwrap();
        if looks {
            self.look(false).await;
        }
        let file = std::fs::File::options().write(true).open(self.world.path(&name)).unwrap();
        file.set_len(0).unwrap();
        let old = std::mem::replace(&mut self.files[writer], own(&name));
        self.files.push(File { name: to, ..old });
    }

    /// A file that was moved away, if there is one.
    fn moved(&self, file: usize) -> Option<usize> {
        let moved: Vec<usize> = (2..self.files.len()).filter(|n| self.files[*n].copy.is_none()).collect();
        (!moved.is_empty()).then(|| moved[file % moved.len()])
    }

    async fn pack(&mut self, file: usize, ending: &str, looks: bool) {
        let Some(n) = self.moved(file).filter(|n| !self.files[*n].packed) else { return };
        let plain = self.world.path(&self.files[n].name);
        let (path, bytes) = packed(&plain, ending);
        if looks {
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            self.look(false).await;
            std::fs::write(&path, &bytes).unwrap();
            self.look(false).await;
        }
        std::fs::write(&path, &bytes).unwrap();
        std::fs::remove_file(&plain).unwrap();
        let file = &mut self.files[n];
        file.name = path.file_name().unwrap().to_str().unwrap().to_owned();
        file.packed = true;
    }

    fn remove(&mut self, file: usize) {
        let Some(n) = self.moved(file) else { return };
        // A copy of it that nobody took for one yet would be its successor: another story.
        if self.alike
            || self.files.iter().any(|file| file.copy == Some(false))
            || self.skip && self.has_copies()
        {
            return;
        }
        self.removed = true;
        self.world.remove(&self.files[n].name);
        let file = self.files.remove(n);
        // Lines that nobody had the chance to read are lost without a trace. What was seen and not read is a gap.
        self.expected.gaps += usize::from(file.half_seen);
    }

    fn has_copies(&self) -> bool {
        self.files.iter().any(|file| file.copy.is_some())
    }

    fn copy(&mut self, file: usize) {
        let n = file % self.files.len();
        let original = self.files[n].clone();
        if original.copy.is_some() || original.lines.is_empty() {
            return;
        }
        self.next += 1;
        let name = format!("copy-{}", self.next);
        std::fs::copy(self.world.path(&original.name), self.world.path(&name)).unwrap();
        let lines = original.lines.into_iter().map(|(id, _)| (id, false)).collect();
        self.files.push(File {
            name,
            lines,
            half: original.half,
            packed: original.packed,
            copy: Some(false),
            ..File::default()
        });
    }

    async fn look(&mut self, settled: bool) {
        self.world.ingest(if settled { LATER } else { JUST_NOW }).await;
        let Model { files, expected, skip, .. } = self;
        for file in files {
            match (&mut file.copy, settled) {
                (Some(_), _) if *skip => continue,
                (Some(taken), true) => *taken = true,
                (Some(false), false) => continue,
                _ => {}
            }
            if !file.lines.is_empty() || file.half.is_some() {
                file.met_as.get_or_insert_with(|| file.name.clone());
            }
            let moved = file.met_as.as_ref().is_some_and(|name| *name != file.name);
            for (id, seen) in &mut file.lines {
                if !std::mem::replace(seen, true) {
                    *expected.events.entry(id.clone()).or_default() += 1;
                }
            }
            file.half_seen = false;
            let Some(id) = file.half.as_ref().filter(|_| !file.half_kept) else { continue };
            if file.packed || moved && settled {
                let line = if self.delimited { row(id) } else { json(id) };
                *expected.quarantine.entry(begun(&line).to_owned()).or_default() += 1;
                file.half_kept = true;
            } else {
                file.half_seen = true;
            }
        }
    }
}

fn own(name: &str) -> File {
    File { name: name.to_owned(), ..File::default() }
}

/// The part of a line that reaches the disk; no record by itself.
fn begun(line: &str) -> &str {
    &line[..line.len() / 2]
}

async fn live(acts: Vec<Act>, delimited: bool, skip: bool) -> Result<(), TestCaseError> {
    let mut model = Model::new(delimited, skip).await;
    for act in acts {
        model.act(act).await;
    }
    model.look(true).await;
    model.look(true).await;
    prop_assert_eq!(&model.world.events().await, &model.expected.events);
    prop_assert_eq!(&model.world.quarantine().await, &model.expected.quarantine);
    prop_assert_eq!(model.world.gaps().await, model.expected.gaps);
    Ok(())
}

#[test]
fn exactly_the_lines_that_were_written() {
    let sequences = std::env::var("INSYN_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let config = Config { cases: sequences, max_shrink_iters: 400, ..Config::with_source_file(file!()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lives = (prop::collection::vec(act(), 1..25), any::<bool>(), any::<bool>());
    let outcome = TestRunner::new(config)
        .run(&lives, |(acts, delimited, skip)| runtime.block_on(live(acts, delimited, skip)));
    outcome.unwrap();
}
