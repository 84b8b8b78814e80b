//! How much each source usually says, counted once in a while and kept: it takes a look at weeks of events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use insyn_engine::session::{Scope, Session};
use insyn_ingest::health::Hours;
use tokio::sync::Mutex;

use crate::app::{App, now};

/// A count is kept so long.
const KEPT: Duration = Duration::from_secs(300);

/// The last count, and when it was made.
pub(crate) type Kept = Mutex<Option<(Instant, Arc<Hours>)>>;

/// The hours of the last weeks. Nothing where they cannot be counted: the state of the sources is told all the same.
pub(crate) async fn hours(app: &App) -> Arc<Hours> {
    let mut kept = app.hours().lock().await;
    if let Some((at, hours)) = kept.as_ref()
        && at.elapsed() < KEPT
    {
        return Arc::clone(hours);
    }
    let read = async {
        let session = Session::open(&app.lake, app.zone(), Scope::All).await?;
        Hours::read(&session, now()).await
    };
    let hours = Arc::new(read.await.unwrap_or_else(|fault| {
        tracing::warn!("the events of the last weeks could not be counted: {fault}");
        Hours::default()
    }));
    *kept = Some((Instant::now(), Arc::clone(&hours)));
    hours
}
