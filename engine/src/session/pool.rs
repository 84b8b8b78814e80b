//! One query's memory, shared among its parts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::resources_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// What a part of a sort asks for to read back what it laid on disk is named so by the query engine. It takes as much as there is, and goes
/// on with less.
const READS_BACK: &str = "ExternalSorterMerge";
/// So much each of them may always have: the query engine sets it aside before a sort begins.
const SET_ASIDE: usize = 10 << 20;

/// One query's share of the process's memory. Whoever can go on on disk has no more of it than the others who can, and those who read back
/// have half of it together: a part of a sort that is done early leaves the other parts what they need to go on.
#[derive(Debug)]
pub(super) struct QueryPool {
    shared: Arc<dyn MemoryPool>,
    own: FairSpillPool,
    limit: usize,
    /// How many read back.
    readers: AtomicUsize,
}

impl QueryPool {
    pub(super) fn new(shared: Arc<dyn MemoryPool>, limit: usize) -> QueryPool {
        QueryPool { shared, own: FairSpillPool::new(limit), limit, readers: AtomicUsize::new(0) }
    }

    fn may_have(&self, consumer: &MemoryConsumer) -> usize {
        match reads_back(consumer) {
            true => (self.limit / 2 / self.readers.load(Ordering::Relaxed).max(1)).max(SET_ASIDE),
            false => self.limit,
        }
    }
}

fn reads_back(consumer: &MemoryConsumer) -> bool {
    consumer.name().starts_with(READS_BACK)
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query(limit: {} MB)", self.limit >> 20)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.readers.fetch_add(usize::from(reads_back(consumer)), Ordering::Relaxed);
        self.own.register(consumer);
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.readers.fetch_sub(usize::from(reads_back(consumer)), Ordering::Relaxed);
        self.own.unregister(consumer);
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let fits = reservation.size().saturating_add(additional) <= self.may_have(reservation.consumer());
        if !fits || self.own.try_grow(reservation, additional).is_err() {
            return resources_err!("the query needs more than its {} MB of memory", self.limit >> 20);
        }
        self.shared
            .try_grow(reservation, additional)
            .inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}
