//! Threads that work off one job after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

/// A thread of its own for one kind of work, started with its first job.
///
/// The allocator keeps memory for every thread that once held much: with work on batches of rows taking turns over
/// a pool of threads, a process comes to hold many times what it uses.
#[derive(Debug)]
pub struct Worker {
    name: &'static str,
    /// How much others come before it: 0 to 19, as `nice` has it.
    gives_way: i32,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// The job gave no answer: it panicked, or there is no thread to do it.
#[derive(Debug, thiserror::Error)]
#[error("the thread {0} has not done its work")]
pub struct Gone(&'static str);

impl Worker {
    /// A worker whose thread bears this name.
    pub const fn named(name: &'static str) -> Worker {
        Worker { name, gives_way: 0, jobs: Mutex::new(None) }
    }

    /// One whose work is not urgent: it gets a tenth of a processor that somebody else wants too.
    pub const fn giving_way(name: &'static str) -> Worker {
        Worker { name, gives_way: 10, jobs: Mutex::new(None) }
    }

    /// Does the work after all that was given before. Whoever stops waiting does not stop it.
    ///
    /// # Errors
    /// When the work panics, or no thread can be started.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Gone> {
        let (give, taken) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = give.send(work());
        });
        self.thread().send(job).map_err(|_| Gone(self.name))?;
        taken.await.map_err(|_| Gone(self.name))
    }

    fn thread(&self) -> mpsc::Sender<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = &*jobs {
            return jobs.clone();
        }
        let (given, waiting) = mpsc::channel::<Job>();
        let (name, gives_way) = (self.name, self.gives_way);
        let work = move || {
            // On Linux, of this thread alone. Where it cannot be had the work is done all the same.
            if gives_way > 0
                && let Err(error) = rustix::process::setpriority_process(None, gives_way)
            {
                tracing::debug!("the thread {name} does not give way: {error}");
            }
            for job in waiting {
                // A fault in one job ends that job, not the thread.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        };
        match std::thread::Builder::new().name(self.name.to_owned()).spawn(work) {
            // Only a thread that is there is kept: the next job tries again.
            Ok(_) => *jobs = Some(given.clone()),
            Err(error) => tracing::error!("no thread {}: {error}", self.name),
        }
        given
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_thread_does_all_in_order_and_outlives_a_panic() {
        static WORKER: Worker = Worker::named("insyn-test");
        let here = std::thread::current().id();
        let first = WORKER.run(|| std::thread::current().id()).await.unwrap();
        assert_ne!(first, here);
        let failed = WORKER.run(|| -> () { panic!("in a job") }).await;
        assert_eq!(failed.unwrap_err().to_string(), "the thread insyn-test has not done its work");
        assert_eq!(WORKER.run(|| std::thread::current().id()).await.unwrap(), first);
        let order = std::sync::Arc::new(Mutex::new(Vec::new()));
        let jobs = (0..10).map(|n| {
            let order = std::sync::Arc::clone(&order);
            WORKER.run(move || order.lock().unwrap().push(n))
        });
        futures::future::join_all(jobs).await;
        assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
    }
}
