//! Bytes that were taken from the network and are not on disk yet: so many at once, and no more.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// No record and no body is longer.
pub const LONGEST: usize = insyn_formats::octets::LONGEST;
/// All bytes on their way to disk.
const MOST: usize = 64 << 20;
/// A permit is for so many bytes.
const UNIT: usize = 1024;

/// What is left of the room.
pub struct Flight {
    room: Arc<Semaphore>,
}

impl Default for Flight {
    fn default() -> Flight {
        Flight { room: Arc::new(Semaphore::new(MOST / UNIT)) }
    }
}

impl Flight {
    /// Waits until there is room for so many bytes, [`LONGEST`] at most.
    pub async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = bytes.min(LONGEST).div_ceil(UNIT).max(1);
        // The semaphore is never closed.
        Arc::clone(&self.room).acquire_many_owned(units as u32).await.ok()
    }
}
