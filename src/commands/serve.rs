//! `insyn serve`: follows the sources, runs the rules on schedule, serves API and pages, until it is told to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::Utc;
use insyn_api::{App, AppParts, CountPastTime, DemoAccount, PastTime};
use insyn_engine::context;
use insyn_receive::syslog::{self, Listening};
use insyn_review::Db;
use insyn_rules::{Limits, Pack};
use tokio::sync::watch;

use crate::house::House;
use crate::{print, retention};

/// How long the parts may take to end when told to.
const STOP_WITHIN: Duration = Duration::from_secs(20);

pub async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let stop = stop_on_signal()?;
    serve(house, Vec::new(), stop, |address| eprintln!("serving on {address}; Ctrl-C ends it")).await?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes true at the first Ctrl-C or SIGTERM; a second Ctrl-C ends the process at once.
pub fn stop_on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Nobody may be listening any more; then there is nothing left to stop.
        let _ = sender.send(true);
        if interrupt.recv().await.is_some() {
            std::process::exit(130);
        }
    });
    Ok(receiver)
}

/// Everything that runs while pages are served. Ends when `stop` becomes true, or when one part fails.
pub async fn serve(
    house: House,
    demo: Vec<DemoAccount>,
    stop: watch::Receiver<bool>,
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let house = Arc::new(house);
    let config = &house.config;
    let db = house.db().await?;
    let pack = Arc::new(house.scheduled_pack()?);
    let ingest = house.ingest()?;
    let receivers = house.receivers()?;
    let api = config.api();
    let app = App::new(AppParts {
        db: db.clone(),
        lake: house.lake.clone(),
        organisation: config.organisation.clone(),
        pack: Arc::clone(&pack),
        sources: config.sources.clone(),
        base: config.base.clone(),
        receivers: receivers.clone(),
        own: house.own_log()?,
        demo,
        count_past_time: past_time(&house),
        secure: api.is_tls(),
    });
    let pages = async { insyn_api::serve(app, api, stop.clone(), ready).await.map_err(anyhow::Error::from) };
    let follow = async { ingest.follow(stop.clone()).await.map_err(anyhow::Error::from) };
    let judge = judge(&house, &pack, &db, stop.clone());
    let syslog = async {
        let said = |listening: &Listening| {
            for (what, address) in [("TLS", listening.tls), ("TCP", listening.tcp), ("UDP", listening.udp)] {
                if let Some(address) = address {
                    eprintln!("receiving syslog over {what} on {address}");
                }
            }
        };
        syslog::receive(receivers, &config.syslog, stop.clone(), said).await.map_err(anyhow::Error::from)
    };
    tokio::select! {
        outcome = async { tokio::try_join!(pages, follow, judge, syslog) } => outcome.map(|_| ()),
        () = overdue(stop.clone()) => bail!("some part did not end within {} seconds", STOP_WITHIN.as_secs()),
    }
}

/// Counts what is past its time, for metrics.
fn past_time(house: &Arc<House>) -> CountPastTime {
    let house = Arc::clone(house);
    Arc::new(move || {
        let house = Arc::clone(&house);
        Box::pin(async move {
            let survey = retention::survey(&house).await.map_err(|error| print::sentence(&error))?;
            Ok(PastTime { overdue: survey.overdue(), removable: survey.rows() })
        })
    })
}

/// Runs the rules every so often; a run that fails is said and tried again at the next turn.
async fn judge(house: &House, pack: &Pack, db: &Db, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let every = Duration::from_secs(60 * u64::from(house.config.rules.every_minutes.max(1)));
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
        if let Err(error) = judge_once(house, pack, db).await {
            tracing::error!("the scheduled run of the rules failed: {error:#}");
        }
    }
}

/// Loads the context tables as they lie now and runs every rule over what came since it ran last.
pub async fn judge_once(house: &House, pack: &Pack, db: &Db) -> anyhow::Result<insyn_rules::RunReport> {
    let organisation = &house.config.organisation;
    let folder = house.config.path(&house.config.context.dir);
    if folder.is_dir() {
        // A share that is not mounted, a file half delivered: what was loaded before goes on to hold.
        if let Err(why) = reload(house, &folder).await {
            tracing::error!("the context tables stay as they were: {why:#}");
        }
    }
    let marks = db.marks().await?;
    let now = Utc::now().timestamp_micros();
    let pack = pack.clone().only(|rule| insyn_rules::is_due(rule, &marks, now, organisation.timezone));
    let session = house.session(false).await?;
    Ok(insyn_rules::run_news(&pack, &session, organisation, None, db, Limits::default()).await?)
}

async fn reload(house: &House, folder: &Path) -> anyhow::Result<()> {
    let missing = context::missing(&house.lake, folder).await?;
    if !missing.is_empty() {
        bail!("{}", missing.sentence(folder));
    }
    let report = context::load(&house.lake, folder, house.config.organisation.timezone).await?;
    for table in &report.tables {
        for found in &table.contradictions {
            tracing::info!("{}: {}", table.file, found.sentence());
        }
    }
    Ok(())
}

async fn overdue(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(STOP_WITHIN).await;
}
