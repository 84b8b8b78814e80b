//! What is past its time: counted now and then in the background, since it may be a look at the oldest files. Nobody waits for it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::app::App;

/// A count is good for so long.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Rows of the lake that are past their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastTime {
    /// Past their longest time, and nobody has decided on them.
    pub overdue: u64,
    /// They may go by what is decided, and have not gone.
    pub removable: u64,
}

/// Counts what is past its time; in words why it cannot.
pub type CountPastTime =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<PastTime, String>> + Send>> + Send + Sync>;

/// The last count, and when the last one was begun.
#[derive(Default)]
pub(crate) struct Kept(Mutex<(Option<Instant>, Option<PastTime>)>);

/// The last count; none where there is none yet. One that is old is made anew, for whoever asks next.
pub(crate) fn past_time(app: &App) -> Option<PastTime> {
    let kept = || app.past_time().0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = kept();
    if last.0.is_none_or(|begun| begun.elapsed() >= KEPT) {
        last.0 = Some(Instant::now());
        let app = app.clone();
        tokio::spawn(async move {
            match (app.count_past_time)().await {
                Ok(counted) => {
                    app.past_time().0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(counted)
                }
                Err(why) => tracing::warn!("what is past its time could not be counted: {why}"),
            }
        });
    }
    last.1
}
