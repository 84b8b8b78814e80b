//! What the last weeks say of each source, looked at once in a while and kept: it is a look at weeks of events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use insyn_engine::session::{Scope, Session};
use insyn_ingest::health::Recent;
use tokio::sync::Mutex;

use crate::app::{App, now};

/// A count is kept so long.
const KEPT: Duration = Duration::from_secs(300);

/// The last count, and when it was made.
pub(crate) type Kept = Mutex<Option<(Instant, Arc<Recent>)>>;

/// The last weeks. Nothing where they cannot be looked at: the state of the sources is told all the same.
pub(crate) async fn recent(app: &App) -> Arc<Recent> {
    let mut kept = app.recent().lock().await;
    if let Some((at, recent)) = kept.as_ref()
        && at.elapsed() < KEPT
    {
        return Arc::clone(recent);
    }
    let read = async {
        let session = Session::open(&app.lake, app.zone(), Scope::All).await?;
        Recent::read(&session, &app.sources, now()).await
    };
    let recent = Arc::new(read.await.unwrap_or_else(|fault| {
        tracing::warn!("the last weeks could not be looked at: {fault}");
        Recent::default()
    }));
    *kept = Some((Instant::now(), Arc::clone(&recent)));
    recent
}
