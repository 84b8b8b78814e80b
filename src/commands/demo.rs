//! `insyn demo`: a fictional care world, read, judged and served, while its people go on working.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use insyn_api::DemoAccount;
use insyn_demo::{LiveWriter, Scale, World};
use insyn_review::{Db, NewUser, TotpSecret};
use insyn_rules::Text;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::serve;
use crate::cli::Demo;
use crate::config::Config;
use crate::house::House;

const SEED: u64 = 20_270_101;
/// Everybody's password in the demo; the second factor is real.
const PASSWORD: &str = "granvik-visar-insyn";
const FIRST_PORT: u16 = 8080;
const PORTS_TRIED: u16 = 20;
/// The last file that is written: with it the folder is whole.
const STATE: &str = "demo.json";
/// The first: without it a folder that is not empty is somebody else's.
const MARK: &str = ".insyn-demo";

/// What a later start must know of the first.
#[derive(Serialize, Deserialize)]
struct State {
    seed: u64,
    days: u32,
    end: DateTime<Utc>,
    accounts: Vec<Account>,
}

#[derive(Serialize, Deserialize)]
struct Account {
    login: String,
    password: String,
    totp_secret: String,
}

pub async fn run(arguments: Demo) -> anyhow::Result<ExitCode> {
    let stop = serve::stop_on_signal()?;
    let address = free_address(arguments.port)?;
    tokio::select! {
        outcome = demo(arguments, address, stop.clone()) => outcome.map(|()| ExitCode::SUCCESS),
        () = stopped_early(stop) => Ok(ExitCode::SUCCESS),
    }
}

async fn demo(arguments: Demo, address: SocketAddr, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let clock = Instant::now();
    let dir = std::path::absolute(&arguments.dir)?;
    let (world, state) = the_world(&dir, arguments.days, address)?;
    let mut config = Config::read(&dir.join("insyn.toml"))?;
    config.listen_on(address);
    let house = House::of(config).await?;
    read(&house).await?;
    judge(&house).await?;
    let db = house.db().await?;
    let accounts = accounts(&db, &world, &state).await?;
    tell(&world, &accounts, clock.elapsed());
    if arguments.no_serve {
        return Ok(());
    }
    // From here on `serve` answers the signal itself, in good order.
    SERVING.store(true, std::sync::atomic::Ordering::Relaxed);
    let live = write_on(LiveWriter::new(world, &dir), house.config.organisation.timezone, stop.clone());
    let pages = serve::serve(house, accounts, stop, |address| {
        eprintln!(
            "\n  Open http://{address} (Ctrl-C ends the demo; new log lines are written all the time)\n"
        );
    });
    let (pages, ()) = tokio::join!(pages, live);
    pages
}

static SERVING: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Before pages are served a Ctrl-C just ends the demo: every step can be cut off and taken up again.
async fn stopped_early(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() || SERVING.load(std::sync::atomic::Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// The port that was asked for, or the first free one; found before any long work.
fn free_address(port: Option<u16>) -> anyhow::Result<SocketAddr> {
    let ports = match port {
        Some(port) => port..=port,
        None => FIRST_PORT..=FIRST_PORT + PORTS_TRIED,
    };
    for port in ports.clone() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Ok(listener) = TcpListener::bind(address) {
            return Ok(listener.local_addr()?);
        }
    }
    match port {
        Some(port) => bail!("port {port} is in use by another program; choose another with --port"),
        None => bail!("ports {} to {} are in use; choose another with --port", ports.start(), ports.end()),
    }
}

/// The world of the folder: the one that lies there, or a new one.
fn the_world(dir: &Path, days: u32, address: SocketAddr) -> anyhow::Result<(World, State)> {
    let file = dir.join(STATE);
    if file.exists() {
        let text = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let state: State = serde_json::from_slice(&text).with_context(|| {
            format!("{} is not what a demo wrote; remove the folder to begin anew", file.display())
        })?;
        step("going on with the world in", &dir.display().to_string());
        return Ok((generate(&state), state));
    }
    make_room(dir)?;
    let state = State { seed: SEED, days, end: Utc::now(), accounts: Vec::new() };
    let clock = Instant::now();
    let world = generate(&state);
    let written = world.write(dir, &address.to_string())?;
    step(
        "wrote a fictional region and municipality:",
        &format!(
            "{} accesses in {} logs over {days} days, {} broken lines, {} planted cases ({})",
            written.events,
            written.sources.len(),
            written.broken,
            written.planted.values().sum::<usize>(),
            seconds(clock.elapsed())
        ),
    );
    let accounts = world.demo_accounts().into_iter().map(|account| Account {
        login: account.login,
        password: PASSWORD.into(),
        totp_secret: TotpSecret::generate().as_base32().to_owned(),
    });
    let state = State { accounts: accounts.collect(), ..state };
    put(&file, &serde_json::to_vec_pretty(&state)?)?;
    Ok((world, state))
}

fn generate(state: &State) -> World {
    let end = state.end.with_timezone(&chrono_tz::Europe::Stockholm);
    World::generate(state.seed, state.days, end, Scale::default())
}

/// An empty folder of our own. What an interrupted start left is removed; what is somebody else's is left alone.
fn make_room(dir: &Path) -> anyhow::Result<()> {
    let mark = dir.join(MARK);
    let blocked = || format!("the folder {} cannot be written", dir.display());
    if mark.exists() {
        std::fs::remove_dir_all(dir).with_context(blocked)?;
    }
    std::fs::create_dir_all(dir).with_context(blocked)?;
    if std::fs::read_dir(dir).with_context(blocked)?.next().is_some() {
        bail!("{} holds files that no demo wrote; choose another folder with --dir", dir.display());
    }
    put(&mark, b"this folder belongs to `insyn demo`\n")
}

fn put(file: &PathBuf, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = file.with_extension("part");
    std::fs::write(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, file))
        .with_context(|| format!("{} cannot be written", file.display()))
}

async fn read(house: &House) -> anyhow::Result<()> {
    let clock = Instant::now();
    let ingest = house.ingest()?;
    let report = ingest.once(&mut |_| {}).await?;
    step(
        "read the logs:",
        &format!(
            "{} access events, {} records in quarantine ({})",
            report.events,
            report.quarantined,
            seconds(clock.elapsed())
        ),
    );
    Ok(())
}

async fn judge(house: &House) -> anyhow::Result<()> {
    let clock = Instant::now();
    let db = house.db().await?;
    let report = serve::judge_once(house, &house.scheduled_pack()?, &db).await?;
    step(
        "loaded the context and ran the rules:",
        &format!("{} findings ({})", report.findings.len(), seconds(clock.elapsed())),
    );
    Ok(())
}

/// Makes the accounts that are not there yet.
async fn accounts(db: &Db, world: &World, state: &State) -> anyhow::Result<Vec<DemoAccount>> {
    let known = db.users().await?;
    let mut shown = Vec::new();
    for person in world.demo_accounts() {
        let Some(account) = state.accounts.iter().find(|account| account.login == person.login) else {
            continue;
        };
        let secret = TotpSecret::parse(&account.totp_secret)?;
        if !known.iter().any(|user| user.login == person.login) {
            let roles =
                person.roles.iter().map(|role| super::user::role(role)).collect::<Result<Vec<_>, _>>()?;
            db.create_user(&NewUser {
                login: person.login.clone(),
                name: person.name.clone(),
                staff_user_id: person.staff_user_id.clone(),
                roles,
                units: person.units.clone(),
                controllers: person.controllers.clone(),
                password: account.password.clone(),
                totp: Some(secret.clone()),
                ..NewUser::default()
            })
            .await?;
        }
        shown.push(DemoAccount {
            login: person.login,
            password: account.password.clone(),
            name: person.name,
            what: what(person.roles.first().map_or("", String::as_str)),
            code: std::sync::Arc::new(move || secret.code(Utc::now().timestamp_micros())),
        });
    }
    Ok(shown)
}

fn what(role: &str) -> Text {
    let (sv, en) = match role {
        "dso" => (
            "dataskyddsombud: läser allt inom sina nämnder, beslutar inte",
            "data protection officer: reads all within the boards, does not decide",
        ),
        "coordinator" => {
            ("samordnare: planerar och fördelar granskningar", "coordinator: plans and assigns reviews")
        }
        "reviewer" => (
            "verksamhetschef: bedömer sin enhets åtkomster, aldrig sina egna",
            "head of unit: judges the unit's accesses, never their own",
        ),
        "investigator" => ("utredare: spårar inom ett ärende", "investigator: traces inside a case"),
        _ => (
            "drift: ser källor och körningar, inga personuppgifter",
            "operator: sees sources and runs, no personal data",
        ),
    };
    Text { sv: sv.into(), en: en.into() }
}

/// Goes on appending log lines, as the world's people go on working.
async fn write_on(mut live: LiveWriter, zone: chrono_tz::Tz, mut stop: watch::Receiver<bool>) {
    loop {
        if let Err(error) = live.step(Utc::now().with_timezone(&zone)) {
            tracing::error!("the demo's logs cannot be written: {error}");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(Duration::from_millis(700)) => {}
        }
    }
}

fn tell(world: &World, accounts: &[DemoAccount], took: Duration) {
    eprintln!("\n  Ready after {}.\n\n  Sign in as (password for all: {PASSWORD})", seconds(took));
    for account in accounts {
        eprintln!(
            "    {:<11} {} – {}. Code now: {}",
            account.login,
            account.name,
            account.what.en,
            (account.code)()
        );
    }
    eprintln!(
        "  The code changes every 30 seconds; the demo's sign-in page shows it.\n\n  Three things worth looking at"
    );
    for (n, hint) in world.worth_a_look().iter().enumerate() {
        eprintln!("    {}. {}\n       {}", n + 1, hint.en, hint.sv);
    }
}

fn step(what: &str, more: &str) {
    eprintln!("  {what} {more}");
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
