//! Which file is which: paths that are there now, against files that are known.
//!
//! A path holds a known file when it begins as that file does and has, right before where reading stopped, the bytes
//! that were read there. Paths, devices and inodes are hints. Where two paths hold the same bytes, the one that was
//! there first goes on; the other is its renamed or packed successor in the making, or a copy: time tells, and then
//! the source's `copies`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use crate::anchor::{Anchor, HEAD};
use crate::content::{Bytes, Content, Likeness, compare};
use crate::scan::Candidate;
use crate::sheet::RowStyle;
use crate::state::{FileState, SourceState};
use crate::{Copies, SourceConfig};

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This known file, by its place in [`SourceState::files`].
    File(usize),
    /// The content of this known file, which lies elsewhere; it is not read again.
    Copy(usize),
    /// Nothing yet.
    Empty,
    /// It cannot be told yet, only because it was written a moment ago.
    Waits,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A path, and what it holds.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The path.
    pub candidate: Candidate,
    /// What it holds.
    pub verdict: Verdict,
    /// Whether it was read as it lies there.
    pub unchanged: bool,
}

/// What was last seen at each path, so that an unchanged file is not opened again.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    paths: HashMap<PathBuf, (Candidate, As)>,
    /// How known files begin, by id.
    begins: HashMap<String, Begin>,
}

/// Hashes over a file's first 16, 32, 64 … bytes: a shorter file that begins otherwise need not be compared with it.
#[derive(Debug, Default, Clone)]
struct Begin(Vec<u64>);

impl Begin {
    fn of(head: &[u8]) -> Begin {
        let lengths = std::iter::successors(Some(16), |len| Some(len * 2)).take_while(|len| *len <= HEAD);
        Begin(lengths.map_while(|len| head.get(..len)).map(hash).collect())
    }

    /// Whether one may be the beginning of the other, as far as both are known.
    fn may_be(&self, other: &Begin) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug, Clone)]
enum As {
    Read(String),
    CopyOf(String),
    Empty,
}

impl Seen {
    /// Remembers that a path was read as far as it goes.
    pub fn read(&mut self, candidate: &Candidate, file: &FileState) {
        self.remember(candidate, As::Read(file.id.clone()));
    }

    fn remember(&mut self, candidate: &Candidate, seen: As) {
        self.paths.insert(candidate.path.clone(), (candidate.clone(), seen));
    }

    fn of(&self, candidate: &Candidate) -> Option<&As> {
        self.paths.get(&candidate.path).filter(|(before, _)| before == candidate).map(|(_, seen)| seen)
    }
}

/// What it takes to tell files apart.
pub struct Identify<'a> {
    pub source: &'a SourceConfig,
    pub state: &'a mut SourceState,
    pub seen: &'a mut Seen,
    /// Written to before this, a file is taken to be whole. µs UTC.
    pub settled_before: i64,
    /// How many pairs of files were compared whole.
    pub compared: u64,
}

/// A path that has been opened.
struct Look {
    candidate: Candidate,
    content: Content,
    head: Vec<u8>,
    begin: Begin,
    /// Over its first bytes, for each length that was asked for: among thousands of files the same ones are.
    anchors: RefCell<HashMap<u64, Anchor>>,
}

/// Where known files stand in this scan.
type Standing = HashMap<usize, PathBuf>;

impl Identify<'_> {
    /// Tells what each candidate holds; unknown files are met.
    pub fn all(&mut self, candidates: Vec<Candidate>) -> Vec<Sighting> {
        let mut told = Vec::new();
        let mut standing = Standing::new();
        let (mut changed, mut copies) = (Vec::new(), Vec::new());
        let index: HashMap<&str, usize> =
            self.state.files.iter().enumerate().map(|(n, file)| (file.id.as_str(), n)).collect();
        for candidate in candidates {
            match self.seen.of(&candidate) {
                Some(As::Read(id)) if let Some(&n) = index.get(id.as_str()) => {
                    standing.insert(n, candidate.path.clone());
                    told.push(Sighting { candidate, verdict: Verdict::File(n), unchanged: true });
                }
                Some(As::CopyOf(id)) if let Some(&n) = index.get(id.as_str()) => copies.push((candidate, n)),
                Some(As::Empty) => {
                    told.push(Sighting { candidate, verdict: Verdict::Empty, unchanged: true })
                }
                _ => changed.push(candidate),
            }
        }
        // First what lies where it lay, then what moved: a renamed file must not be taken for the one in its place.
        let mut lay: HashMap<PathBuf, Vec<usize>> = HashMap::new();
        for (n, file) in self.state.files.iter().enumerate() {
            lay.entry(file.path.clone()).or_default().push(n);
        }
        let rows = self.source.row_style();
        let mut strangers = Vec::new();
        for candidate in changed {
            match look(candidate, rows) {
                Ok(Some(look)) => match self.where_it_lay(&look, &lay, &standing) {
                    Some(n) => {
                        standing.insert(n, look.candidate.path.clone());
                        told.push(self.is_file(look, n));
                    }
                    None => strangers.push(look),
                },
                Ok(None) => {}
                Err(told_now) => told.push(self.remembered(told_now)),
            }
        }
        for (candidate, n) in copies {
            // As long as the original stands, a copy that nobody wrote to is one.
            if standing.contains_key(&n) {
                told.push(Sighting { candidate, verdict: Verdict::Copy(n), unchanged: true });
            } else if let Ok(Some(look)) = look(candidate, rows) {
                strangers.push(look);
            }
        }
        for (look, n) in self.successors(&mut strangers, &standing) {
            standing.insert(n, look.candidate.path.clone());
            told.push(self.is_file(look, n));
        }
        for look in strangers {
            let verdict = self.stranger(&look, &standing);
            match verdict {
                Verdict::File(n) => {
                    standing.insert(n, look.candidate.path.clone());
                    told.push(self.is_file(look, n));
                }
                Verdict::Copy(n) => {
                    let id = self.state.files.get(n).map(|file| file.id.clone()).unwrap_or_default();
                    self.seen.remember(&look.candidate, As::CopyOf(id));
                    told.push(Sighting {
                        candidate: look.candidate,
                        verdict: Verdict::Copy(n),
                        unchanged: false,
                    });
                }
                verdict => told.push(Sighting { candidate: look.candidate, verdict, unchanged: false }),
            }
        }
        told
    }

    /// Takes out those that hold a known file which stands nowhere any more. Where several do (they have hardly begun,
    /// and begin alike), inode and name speak; what is plain goes before its packed twin.
    fn successors(&self, strangers: &mut Vec<Look>, standing: &Standing) -> Vec<(Look, usize)> {
        let mut pairs = Vec::new();
        for (at, look) in strangers.iter().enumerate() {
            for (n, file) in self.free(standing).filter(|(_, file)| look.holds(file)) {
                let hints =
                    (file.inode == look.candidate.inode, is_named_after(&look.candidate.path, &file.path));
                pairs.push((hints, file.position, !look.content.is_packed(), at, n));
            }
        }
        pairs.sort_unstable_by(|a, b| b.cmp(a));
        let mut taken: HashMap<usize, usize> = HashMap::new();
        for (.., at, n) in pairs {
            if !taken.contains_key(&at) && !taken.values().any(|file| *file == n) {
                taken.insert(at, n);
            }
        }
        let (mut successors, mut rest) = (Vec::new(), Vec::new());
        for (at, look) in strangers.drain(..).enumerate() {
            match taken.get(&at) {
                Some(n) => successors.push((look, *n)),
                None => rest.push(look),
            }
        }
        *strangers = rest;
        successors
    }

    fn remembered(&mut self, sighting: Sighting) -> Sighting {
        if sighting.verdict == Verdict::Empty {
            self.seen.remember(&sighting.candidate, As::Empty);
        }
        sighting
    }

    fn where_it_lay(
        &self,
        look: &Look,
        lay: &HashMap<PathBuf, Vec<usize>>,
        standing: &Standing,
    ) -> Option<usize> {
        let here = lay.get(&look.candidate.path)?;
        here.iter().copied().find(|n| !standing.contains_key(n) && look.holds(&self.state.files[*n]))
    }

    /// Known files that stand nowhere yet.
    fn free<'s>(&'s self, standing: &'s Standing) -> impl Iterator<Item = (usize, &'s FileState)> {
        self.state.files.iter().enumerate().filter(|(n, _)| !standing.contains_key(n))
    }

    /// What lies at a path that holds no known file: a copy, or a new one.
    fn stranger(&mut self, look: &Look, standing: &Standing) -> Verdict {
        let settled = look.candidate.modified < self.settled_before;
        let mut copy_of = None;
        if let Some((n, likeness)) = self.twin(look, standing) {
            let original = &self.state.files[n];
            match (likeness, self.source.copies) {
                (Likeness::Begins, _) if packed_of(&original.path, &look.candidate.path) => {
                    return Verdict::Copy(n);
                }
                (Likeness::Begins, _) if !settled => return Verdict::Waits,
                (Likeness::Begins, Copies::Skip) => return Verdict::Copy(n),
                (Likeness::Begins, Copies::Read) => copy_of = Some(n),
                // It goes on where the original ends: what both have was read there.
                (Likeness::Exceeds, Copies::Skip) if settled && original.position > 0 => {
                    return self.fork(look, n);
                }
                (Likeness::Exceeds, Copies::Skip) if original.position > 0 => return Verdict::Waits,
                _ => {}
            }
        }
        let copy_of = copy_of.map(|n| self.state.files[n].id.clone());
        let met = self.meet(look);
        self.state.files[met].copy_of = copy_of;
        Verdict::File(met)
    }

    fn meet(&mut self, look: &Look) -> usize {
        let Candidate { path, inode, .. } = &look.candidate;
        let own_id =
            insyn_formats::spool::id_of(&look.head).filter(|_| self.source.sender_of(path).is_some());
        let met = self.state.meet(&self.source.name, own_id, path.clone(), *inode);
        self.state.files[met].head = Anchor::of(&look.head);
        met
    }

    /// A new file of which another one's records are known.
    fn fork(&mut self, look: &Look, original: usize) -> Verdict {
        let met = self.meet(look);
        let (id, position) = (self.state.files[original].id.clone(), self.state.files[original].position);
        self.state.files[met].known = position;
        self.state.files[met].copy_of = Some(id);
        Verdict::File(met)
    }

    /// A file that stands elsewhere and has the same bytes, as far as both go. One that has them all goes before one
    /// that has a part.
    fn twin(&mut self, look: &Look, standing: &Standing) -> Option<(usize, Likeness)> {
        let mut exceeded = None;
        for (&n, path) in standing {
            match self.likeness(look, n, path) {
                Some(Likeness::Begins) => return Some((n, Likeness::Begins)),
                Some(Likeness::Exceeds) => {
                    let position = |n: usize| self.state.files.get(n).map_or(0, |file| file.position);
                    exceeded = exceeded.max(Some((position(n), n)));
                }
                _ => {}
            }
        }
        exceeded.map(|(_, n)| (n, Likeness::Exceeds))
    }

    fn likeness(&mut self, look: &Look, n: usize, path: &Path) -> Option<Likeness> {
        let file = self.state.files.get(n)?;
        // Cheap first: two files that begin differently are no twins.
        let shorter = (look.head.len() as u64) < file.head.len;
        let may_be = || self.seen.begins.get(&file.id).is_none_or(|begin| begin.may_be(&look.begin));
        let alike = look.begins_as(file) || shorter && may_be();
        if !alike || *path == look.candidate.path {
            return None;
        }
        self.compared += 1;
        compare(&look.content, &Content::open(path, self.source.row_style()).ok()?).ok()
    }

    fn is_file(&mut self, look: Look, n: usize) -> Sighting {
        let candidate = look.candidate;
        let file = &mut self.state.files[n];
        self.seen.begins.insert(file.id.clone(), look.begin);
        file.moved |= file.path != candidate.path;
        file.path.clone_from(&candidate.path);
        file.inode = candidate.inode;
        file.gone = None;
        Sighting { candidate, verdict: Verdict::File(n), unchanged: false }
    }
}

impl Look {
    fn holds(&self, file: &FileState) -> bool {
        self.begins_as(file) && holds(file, &self.head, &self.content).is_ok_and(|held| held.is_some())
    }

    fn begins_as(&self, file: &FileState) -> bool {
        let Some(begin) = self.head.get(..file.head.len as usize) else { return false };
        let mut anchors = self.anchors.borrow_mut();
        *anchors.entry(file.head.len).or_insert_with(|| Anchor::of(begin)) == file.head
    }
}

/// Opens a candidate. None when it vanished; a sighting where there is nothing to identify.
fn look(candidate: Candidate, rows: Option<RowStyle>) -> Result<Option<Look>, Sighting> {
    let opened = Content::open(&candidate.path, rows).and_then(|content| Ok((content.head(HEAD)?, content)));
    let sighting = |candidate, verdict| Err(Sighting { candidate, verdict, unchanged: false });
    match opened {
        Ok((head, _)) if head.is_empty() => sighting(candidate, Verdict::Empty),
        Ok((head, content)) => {
            Ok(Some(Look { candidate, content, begin: Begin::of(&head), head, anchors: RefCell::default() }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let why = format!("cannot read {}: {error}", candidate.path.display());
            sighting(candidate, Verdict::Unreadable(why))
        }
    }
}

/// Whether the content is that of the known file: then the bytes right before its position, and those after.
///
/// # Errors
/// When the content cannot be read.
pub fn holds(file: &FileState, head: &[u8], content: &Content) -> std::io::Result<Option<(Vec<u8>, Bytes)>> {
    if !file.head.fits(head) {
        return Ok(None);
    }
    let from = file.position.saturating_sub(file.tail.len);
    Ok(content.split_at(from, file.position)?.filter(|(tail, _)| file.tail.is_of(tail)))
}

/// As `a.log.1` is after `a.log`, and `a-2026.log` after `a.log`.
fn is_named_after(new: &Path, old: &Path) -> bool {
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (new, old) = (name(new), name(old));
    let stem = old.split('.').next().unwrap_or_default();
    new.starts_with(&old) || !stem.is_empty() && new.starts_with(stem)
}

fn packed_of(plain: &Path, other: &Path) -> bool {
    ["gz", "zst", "xz"].iter().any(|ending| {
        let mut name = plain.as_os_str().to_owned();
        name.push(".");
        name.push(ending);
        name == other.as_os_str()
    })
}
