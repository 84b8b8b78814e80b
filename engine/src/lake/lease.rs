//! One holder at a time where there are no file locks: an object in the bucket that its holder keeps renewing.
//!
//! Who takes it puts his name where there was none, or where the last holder has gone, on condition that nobody else did
//! so meanwhile. A holder who died here is known by his process. One elsewhere has gone when the lease was last renewed
//! long ago *and* does not change while it is watched: nobody's clock decides alone. Whoever is cut off from the store
//! may lose it while he works: a lease keeps work from being done twice, not rows from being doubled; that every commit
//! does for itself, since it is put as the version after the one that it was decided on, and only if nobody has put it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use chrono::Utc;
use object_store::path::Path;
use object_store::{Error as StoreFault, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::error::LakeError;

/// When leases are renewed, and when they are over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// A holder renews it so often.
    renew: Duration,
    /// Not renewed for so long, by the clock of whoever wants it, it is watched.
    term: Duration,
    /// Unchanged for so long while it is watched, it is over. Longer than two renewals.
    watch: Duration,
}

const PACE: Pace =
    Pace { renew: Duration::from_secs(10), term: Duration::from_secs(60), watch: Duration::from_secs(25) };

/// So often others may come in between.
const ATTEMPTS: usize = 20;
/// Whoever gives it back waits so long for the store; afterwards it is found to be over, as after a crash.
const FAREWELL: Duration = Duration::from_secs(5);

/// What lies in the object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    /// For people; none where nobody holds it.
    holder: Option<String>,
    process: Process,
    /// µs UTC by the holder's clock.
    renewed_at: i64,
}

/// Which process of which machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Process {
    /// The running system and the space that process ids are unique in; empty where that cannot be known.
    system: String,
    pid: u32,
    /// When it started, in the system's ticks.
    started: u64,
}

/// The leases of a lake. A thread of its own renews them, whatever the others are busy with.
#[derive(Debug)]
pub(super) struct Leases {
    root: String,
    pace: Pace,
    keeper: Mutex<Option<tokio::runtime::Runtime>>,
    /// A client for that thread alone: its connections live and die with it.
    store: Arc<dyn ObjectStore>,
}

/// A lease that is held; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    lost: Arc<AtomicBool>,
    /// Dropped, it ends the renewing.
    stop: Option<oneshot::Sender<()>>,
    ended: mpsc::Receiver<()>,
    /// Its thread is there as long as it is.
    _leases: Arc<Leases>,
}

impl Lease {
    /// Whether somebody else has taken it, as after a long time without the store.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop.take();
        // It ends by closing the channel. What comes too late is found to be over by the next one.
        let _ = self.ended.recv_timeout(FAREWELL);
    }
}

impl Leases {
    /// The leases below the root of `store`, which is called `root` for people.
    pub(super) fn of(root: &str, store: Arc<dyn ObjectStore>) -> Arc<Leases> {
        Leases::at_pace(root, store, PACE)
    }

    fn at_pace(root: &str, store: Arc<dyn ObjectStore>, pace: Pace) -> Arc<Leases> {
        Arc::new(Leases { root: root.to_owned(), pace, keeper: Mutex::new(None), store })
    }

    /// Takes the lease for `what`.
    ///
    /// # Errors
    /// [`LakeError::Locked`] names who has it; otherwise when the store fails.
    pub(super) async fn take(
        self: &Arc<Self>,
        holder: &str,
        what: &str,
        file: &str,
    ) -> Result<Lease, LakeError> {
        let holder = match machine() {
            Some(machine) => format!("{holder} on {machine}"),
            None => holder.to_owned(),
        };
        let held = Held {
            store: Arc::clone(&self.store),
            path: Path::from(file),
            holder,
            pace: self.pace,
            lost: Arc::default(),
        };
        let lost = Arc::clone(&held.lost);
        let (stop, stopped) = oneshot::channel();
        let (give, given) = oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let keeper = self.keeper()?;
        keeper.spawn(async move {
            let version = match held.take().await {
                Ok(version) => version,
                Err(refused) => {
                    let _ = give.send(Err(refused));
                    return;
                }
            };
            // Nobody waits for it any more when whoever asked was dropped: then `stop` is too, and it is given back.
            let _ = give.send(Ok(()));
            held.renew(version, stopped).await;
            drop(end);
        });
        let locked = |holder| LakeError::Locked { lake: self.root.clone(), what: what.into(), holder };
        match given.await {
            Ok(Ok(())) => Ok(Lease { lost, stop: Some(stop), ended, _leases: Arc::clone(self) }),
            Ok(Err(Refused::By(holder))) => Err(locked(holder)),
            Ok(Err(Refused::Fault(error))) => Err(error.into()),
            Err(_) => Err(locked("nobody: the thread that keeps leases has ended".into())),
        }
    }

    fn keeper(&self) -> Result<tokio::runtime::Handle, LakeError> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = keeper.as_ref() {
            return Ok(keeper.handle().clone());
        }
        let made = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("insyn-leases")
            .enable_all()
            .build()
            .map_err(|e| LakeError::Bucket(format!("no thread for leases: {e}")))?;
        let handle = made.handle().clone();
        *keeper = Some(made);
        Ok(handle)
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // Not waited for: this may be dropped on a thread that must not block.
            keeper.shutdown_background();
        }
    }
}

/// Why a lease is not to be had.
enum Refused {
    By(String),
    Fault(StoreFault),
}

impl From<StoreFault> for Refused {
    fn from(error: StoreFault) -> Refused {
        Refused::Fault(error)
    }
}

/// A lease on its way to being held, and while it is.
struct Held {
    store: Arc<dyn ObjectStore>,
    path: Path,
    holder: String,
    pace: Pace,
    lost: Arc<AtomicBool>,
}

impl Held {
    async fn take(&self) -> Result<UpdateVersion, Refused> {
        let mut holder = "another process".to_owned();
        for _ in 0..ATTEMPTS {
            let mode = match self.look().await? {
                None => PutMode::Create,
                Some((note, version)) => {
                    if let Some(of) = note.holder.clone()
                        && !self.is_over(&note, &version).await?
                    {
                        return Err(Refused::By(of));
                    }
                    holder = note.holder.unwrap_or(holder);
                    PutMode::Update(version)
                }
            };
            match self.put(mode, Some(&self.holder)).await {
                Ok(version) => return Ok(version),
                // Somebody was faster.
                Err(StoreFault::AlreadyExists { .. } | StoreFault::Precondition { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refused::By(holder))
    }

    /// What lies there; what nobody can read counts as held by nobody who can be named.
    async fn look(&self) -> Result<Option<(Note, UpdateVersion)>, StoreFault> {
        let found = match self.store.get(&self.path).await {
            Ok(found) => found,
            Err(StoreFault::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let note = serde_json::from_slice(&found.bytes().await?).unwrap_or_else(|_| Note {
            holder: Some("another version of Insyn".into()),
            process: Process::default(),
            renewed_at: 0,
        });
        Ok(Some((note, version)))
    }

    /// Whether its holder has gone.
    async fn is_over(&self, note: &Note, seen: &UpdateVersion) -> Result<bool, StoreFault> {
        if note.process.has_ended() {
            return Ok(true);
        }
        let age = Utc::now().timestamp_micros().saturating_sub(note.renewed_at);
        if age < i64::try_from(self.pace.term.as_micros()).unwrap_or(i64::MAX) {
            return Ok(false);
        }
        tokio::time::sleep(self.pace.watch).await;
        Ok(self.look().await?.is_some_and(|(_, now)| now.e_tag == seen.e_tag && now.version == seen.version))
    }

    async fn put(&self, mode: PutMode, holder: Option<&str>) -> Result<UpdateVersion, StoreFault> {
        let note = Note {
            holder: holder.map(str::to_owned),
            process: Process::this(),
            renewed_at: Utc::now().timestamp_micros(),
        };
        let text = serde_json::to_vec(&note)
            .map_err(|e| StoreFault::Generic { store: "lease", source: Box::new(e) })?;
        let done = self.store.put_opts(&self.path, text.into(), mode.into()).await?;
        Ok(UpdateVersion { e_tag: done.e_tag, version: done.version })
    }

    /// Until it is stopped; then gives it back.
    async fn renew(&self, mut version: UpdateVersion, mut stopped: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                () = tokio::time::sleep(self.pace.renew) => {}
            }
            match self.put(PutMode::Update(version.clone()), Some(&self.holder)).await {
                Ok(renewed) => version = renewed,
                Err(StoreFault::Precondition { .. } | StoreFault::AlreadyExists { .. }) => {
                    self.lost.store(true, Ordering::SeqCst);
                    tracing::warn!(lease = %self.path, "somebody else has taken the lease, as after a long time without the store");
                    return;
                }
                // As long as nobody else has taken it, it is ours when the store is there again.
                Err(error) => {
                    tracing::warn!(lease = %self.path, %error, "the lease is not renewed this time")
                }
            }
        }
        let given = tokio::time::timeout(FAREWELL, self.put(PutMode::Update(version), None)).await;
        if !matches!(given, Ok(Ok(_))) {
            tracing::info!(lease = %self.path, "the lease is not given back; it will be found to be over");
        }
    }
}

impl Process {
    fn this() -> Process {
        let pid = std::process::id();
        Process { system: system().unwrap_or_default(), pid, started: started(pid).unwrap_or_default() }
    }

    /// Whether it is known to have ended: it ran where this one runs, and does so no more.
    fn has_ended(&self) -> bool {
        !self.system.is_empty()
            && Some(&self.system) == system().as_ref()
            && started(self.pid) != Some(self.started)
    }
}

fn machine() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned())
}

/// The boot of this machine, and the space that process ids are unique in.
fn system() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), space.display()))
}

/// When a process started; none where there is none of that id.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the start is the 20th field after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    const SOON: Pace = Pace {
        renew: Duration::from_millis(20),
        term: Duration::from_millis(200),
        watch: Duration::from_millis(100),
    };
    const FILE: &str = ".insyn-ingest.lease";

    fn leases(store: &Arc<InMemory>) -> Arc<Leases> {
        Leases::at_pace("s3://bucket", Arc::clone(store) as Arc<dyn ObjectStore>, SOON)
    }

    async fn note(store: &InMemory) -> Note {
        let bytes = store.get(&Path::from(FILE)).await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    async fn leave(store: &InMemory, holder: &str, process: Process, age: Duration) {
        let renewed_at = Utc::now().timestamp_micros() - age.as_micros() as i64;
        let note = Note { holder: Some(holder.into()), process, renewed_at };
        store.put(&Path::from(FILE), serde_json::to_vec(&note).unwrap().into()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_second_is_told_who_holds_it_and_gets_it_afterwards() {
        let store = Arc::new(InMemory::new());
        let (one, other) = (leases(&store), leases(&store));
        let first = one.take("insyn serve, pid 12", "ingest", FILE).await.unwrap();
        let error = other.take("insyn ingest, pid 13", "ingest", FILE).await.unwrap_err().to_string();
        assert!(error.contains("s3://bucket") && error.contains("insyn serve, pid 12"), "{error}");
        // It is renewed.
        let before = note(&store).await;
        while note(&store).await.renewed_at == before.renewed_at {
            tokio::time::sleep(SOON.renew).await;
        }
        assert!(!first.is_lost());
        drop(first);
        assert_eq!(note(&store).await.holder, None, "given back when the drop returns");
        drop(other.take("x", "ingest", FILE).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_one_gets_it() {
        let store = Arc::new(InMemory::new());
        let all: Vec<Arc<Leases>> = (0..8).map(|_| leases(&store)).collect();
        for _ in 0..20 {
            let taken = futures::future::join_all(all.iter().map(|one| one.take("x", "ingest", FILE))).await;
            assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_whose_holder_died_here_is_taken_at_once() {
        let store = Arc::new(InMemory::new());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process =
            Process { pid: child.id(), started: started(child.id()).unwrap(), system: system().unwrap() };
        leave(&store, "insyn serve", process.clone(), Duration::ZERO).await;
        assert!(leases(&store).take("x", "ingest", FILE).await.is_err(), "it lives");
        child.kill().unwrap();
        child.wait().unwrap();
        drop(leases(&store).take("x", "ingest", FILE).await.unwrap());
        // The same id, another process.
        let reborn = Process { started: 1, ..Process::this() };
        leave(&store, "insyn serve", reborn, Duration::ZERO).await;
        leases(&store).take("x", "ingest", FILE).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_from_elsewhere_is_taken_when_it_is_old_and_stands_still() {
        let store = Arc::new(InMemory::new());
        let elsewhere = Process { system: "another".into(), ..Process::this() };
        // Its clock says that it is fresh.
        leave(&store, "far", elsewhere.clone(), Duration::ZERO).await;
        assert!(leases(&store).take("x", "ingest", FILE).await.is_err());
        // Its clock is wrong by an hour, and it is renewed while it is watched.
        leave(&store, "far", elsewhere.clone(), Duration::from_secs(3600)).await;
        let renewing = async {
            loop {
                tokio::time::sleep(SOON.renew).await;
                leave(&store, "far", elsewhere.clone(), Duration::from_secs(3600)).await;
            }
        };
        let one = leases(&store);
        tokio::select! {
            taken = one.take("x", "ingest", FILE) => assert!(taken.is_err(), "it lives"),
            () = renewing => unreachable!(),
        }
        // It stands still.
        let taken = one.take("x", "ingest", FILE).await.unwrap();
        // Its holder comes back after all, and finds the lease taken.
        assert_eq!(note(&store).await.holder.as_deref().map(|holder| holder.starts_with('x')), Some(true));
        drop(taken);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_loses_it_knows() {
        let store = Arc::new(InMemory::new());
        let one = leases(&store);
        let held = one.take("x", "ingest", FILE).await.unwrap();
        leave(&store, "other", Process { system: "another".into(), ..Process::this() }, Duration::ZERO).await;
        for _ in 0..500 {
            if held.is_lost() {
                break;
            }
            tokio::time::sleep(SOON.renew).await;
        }
        assert!(held.is_lost());
        drop(held);
        assert_eq!(
            note(&store).await.holder.as_deref(),
            Some("other"),
            "what is another's is not given back"
        );
    }
}
