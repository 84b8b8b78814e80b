//! `insyn retain`: what is past its time and decided upon goes; decisions and holds are registered here.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use chrono::Utc;
use insyn_engine::event::normalise;
use insyn_engine::lake::{Share, Survey};
use insyn_engine::output;
use insyn_engine::retain::Plan;
use insyn_review::{Covered, Db, Decision, Held, Hold, NewDecision};
use serde::Serialize;

use crate::cli::{FormatOption, Retain, RetainAction, RetainDecide};
use crate::config::ConfigError;
use crate::house::{CommandLook, House, os_account};
use crate::print;
use crate::record::Record;
use crate::removal;
use crate::retention::{area, plan, unknown_source};

pub async fn run(config: &Path, arguments: Retain) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let db = house.db().await?;
    let zone = house.config.organisation.timezone;
    match &arguments.action {
        Some(RetainAction::Decisions(format)) => {
            let decisions = db.retention_decisions().await?;
            let rows: Vec<DecisionRow> = decisions.into_iter().map(DecisionRow::from).collect();
            print::records(format.chosen(), &rows, zone)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(RetainAction::Holds { reason, format }) => {
            holds(&house, &db, reason.clone(), format).await?;
            return Ok(ExitCode::SUCCESS);
        }
        None if arguments.dry_run => return dry_run(&house, &db, &arguments.format).await,
        _ => {}
    }
    // One at a time: what is decided, held and removed is written down a second time.
    let _lock = house.lake.lock(&format!("insyn retain, pid {}", std::process::id()), "retention").await?;
    match arguments.action {
        Some(RetainAction::Decide(new)) => decide(&house, &db, new).await?,
        Some(RetainAction::Withdraw { id, reason }) => {
            db.withdraw_retention(&id, &print::reason(&reason)?, &os_account()).await?;
        }
        Some(RetainAction::Hold { subjects, users, cases, reason }) => {
            hold(&house, &db, Held { subjects, users, cases }, &reason).await?;
        }
        Some(RetainAction::Release { id, reason }) => release(&house, &db, &id, &reason).await?,
        _ => return retain(&house, &db, &arguments.format, arguments.wait).await,
    }
    Record::renewed(&house.config, &db).await?;
    Ok(ExitCode::SUCCESS)
}

async fn dry_run(house: &House, db: &Db, format: &FormatOption) -> anyhow::Result<ExitCode> {
    let plan = of_today(house, &Record::of(&house.config, db).await?).await?;
    let due = removal::look(house, db, &plan).await?;
    print::records(format.chosen(), &rows(&due.survey), house.config.organisation.timezone)?;
    eprintln!("{} would go{}", due.told(), beside(&due.survey));
    Ok(ExitCode::SUCCESS)
}

async fn of_today(house: &House, record: &Record) -> anyhow::Result<Plan> {
    // Dropped before anything is removed: a session pins a version of the lake.
    let session = house.session(true).await?;
    let now = Utc::now().timestamp_micros();
    plan(&house.config, &record.decisions, &record.holds, &session, now)
}

async fn retain(house: &House, db: &Db, format: &FormatOption, wait: u32) -> anyhow::Result<ExitCode> {
    let mut record = Record::renewed(&house.config, db).await?;
    let plan = of_today(house, &record).await?;
    let due = removal::look(house, db, &plan).await?;
    // Nothing goes that the record does not know: what came after the look waits for the next time.
    let gone = match due.is_empty() {
        true => due.survey.clone(),
        false => {
            record.begin(&house.config, &plan, &os_account())?;
            removal::remove(house, db, &plan, &due).await?
        }
    };
    print::records(format.chosen(), &rows(&gone), house.config.organisation.timezone)?;
    eprintln!("{} went{}", due.told(), beside(&gone));
    if record.is_finished() {
        return Ok(ExitCode::SUCCESS);
    }
    if !removal::purge(house, db, Duration::from_secs(60 * u64::from(wait))).await? {
        bail!(
            "the rows are gone, but others have the lake open: what they may still read lies there until `insyn retain` \
             is run again"
        );
    }
    record.finish(&house.config)?;
    eprintln!("no file holds them any more");
    Ok(ExitCode::SUCCESS)
}

/// What else is to be said of it.
fn beside(survey: &Survey) -> String {
    let files = match survey.rewritten + survey.dropped {
        0 => String::new(),
        _ => format!(
            ", out of {} files ({} bytes), of which {} go whole",
            survey.rewritten + survey.dropped,
            survey.bytes,
            survey.dropped
        ),
    };
    let held = match survey.held() {
        0 => String::new(),
        held => format!("; {held} rows are held"),
    };
    let overdue = match survey.overdue() {
        0 => String::new(),
        overdue => {
            format!("; WARNING: {overdue} rows are past their longest time, and nobody has decided on them")
        }
    };
    files + &held + &overdue
}

async fn decide(house: &House, db: &Db, new: RetainDecide) -> anyhow::Result<()> {
    let wrong = |what: String| ConfigError::Usage(what);
    if let Some(name) = &new.legal_area {
        area(name).map_err(|error| wrong(format!("--legal-area: {error}")))?;
    }
    // A source that is not configured any more may still have rows.
    let is_stored = match &new.source {
        Some(name) => house.lake.progress(name).await?.sequence > 0,
        None => true,
    };
    if let Some(what) = new.source.as_deref().and_then(|name| unknown_source(name, &house.config.sources))
        && !is_stored
    {
        return Err(wrong(format!("--source: {what}")).into());
    }
    let shortest = house.config.retention.shortest_years;
    if new.after_years.is_some_and(|years| years < shortest) {
        eprintln!(
            "note: [retention] keeps accesses for {shortest} years where no rule says less; that stays so"
        );
    }
    let decision = NewDecision {
        authority: new.authority,
        number: new.number,
        decided_on: new.date,
        covers: Covered {
            controller_id: new.controller,
            source: new.source,
            legal_area: new.legal_area,
            data_category: new.data_category,
            after_years: new.after_years,
            before_day: new.before,
        },
    };
    let id = db.decide_retention(&decision, &os_account()).await?;
    print::line(&id)?;
    eprintln!("registered; `insyn retain --dry-run` says what goes on it");
    Ok(())
}

async fn hold(house: &House, db: &Db, held: Held, reason: &str) -> anyhow::Result<()> {
    let now = Utc::now().timestamp_micros();
    let subjects = held.subjects.iter().map(|id| normalise(id, None, now).id).collect();
    let held = Held { subjects, ..held };
    let reason = print::reason(reason)?;
    touched(house, "retain hold", &reason, &held).await?;
    let id = db.hold(&held, &reason, &os_account()).await?;
    print::line(&id)
}

async fn release(house: &House, db: &Db, id: &str, reason: &str) -> anyhow::Result<()> {
    let reason = print::reason(reason)?;
    let known = db.holds().await?.into_iter().find(|hold| hold.hold_id == id).map(|hold| hold.held);
    touched(house, "retain release", &reason, &known.unwrap_or_default()).await?;
    db.release(id, &reason, &os_account()).await?;
    Ok(())
}

async fn holds(house: &House, db: &Db, reason: Option<String>, format: &FormatOption) -> anyhow::Result<()> {
    house.may_show_personal_data(reason.as_deref())?;
    let holds = db.holds().await?;
    let subjects = holds.iter().flat_map(|hold| hold.held.subjects.iter().cloned()).collect();
    house
        .looked(CommandLook {
            activity: "retain holds",
            reason,
            query: None,
            subjects,
            rows: holds.len() as u64,
        })
        .await?;
    let rows: Vec<HoldRow> = holds.into_iter().map(HoldRow::from).collect();
    print::records(format.chosen(), &rows, house.config.organisation.timezone)
}

/// Who is held, or not any more, is written down like a look.
async fn touched(house: &House, activity: &'static str, reason: &str, held: &Held) -> anyhow::Result<()> {
    let named = held.users.iter().chain(&held.cases).cloned().collect::<Vec<_>>();
    let look = CommandLook {
        activity,
        reason: Some(reason.to_owned()),
        query: (!named.is_empty()).then(|| named.join(" ")),
        subjects: held.subjects.clone(),
        rows: 0,
    };
    house.looked(look).await
}

fn time(at: Option<i64>) -> Option<String> {
    at.and_then(output::to_the_second)
}

/// What goes, as it is printed.
#[derive(Serialize)]
struct ShareRow {
    store: &'static str,
    source: String,
    controller: String,
    year: String,
    rows: u64,
    held: u64,
    overdue: u64,
    oldest: Option<String>,
    grounds: Vec<String>,
}

fn rows(survey: &Survey) -> Vec<ShareRow> {
    let row = |share: &Share| ShareRow {
        store: share.store,
        source: share.source.clone(),
        controller: share.controller.clone(),
        year: share.year.clone(),
        rows: share.rows,
        held: share.held,
        overdue: share.overdue,
        oldest: time(share.oldest),
        grounds: share.grounds.iter().cloned().collect(),
    };
    survey.shares.iter().map(row).collect()
}

#[derive(Serialize)]
struct DecisionRow {
    id: String,
    authority: String,
    number: String,
    decided_on: String,
    #[serde(flatten)]
    covers: Covered,
    registered_at: Option<String>,
    registered_by: String,
    withdrawn_at: Option<String>,
    withdrawn_by: Option<String>,
    withdrawn_why: Option<String>,
}

impl From<Decision> for DecisionRow {
    fn from(of: Decision) -> DecisionRow {
        DecisionRow {
            id: of.decision_id,
            authority: of.authority,
            number: of.number,
            decided_on: of.decided_on,
            covers: of.covers,
            registered_at: time(Some(of.registered_at)),
            registered_by: of.registered_by,
            withdrawn_at: time(of.withdrawn_at),
            withdrawn_by: of.withdrawn_by,
            withdrawn_why: of.withdrawn_why,
        }
    }
}

#[derive(Serialize)]
struct HoldRow {
    id: String,
    #[serde(flatten)]
    held: Held,
    reason: String,
    placed_at: Option<String>,
    placed_by: String,
    released_at: Option<String>,
    released_by: Option<String>,
    released_why: Option<String>,
}

impl From<Hold> for HoldRow {
    fn from(of: Hold) -> HoldRow {
        HoldRow {
            id: of.hold_id,
            held: of.held,
            reason: of.reason,
            placed_at: time(Some(of.placed_at)),
            placed_by: of.placed_by,
            released_at: time(of.released_at),
            released_by: of.released_by,
            released_why: of.released_why,
        }
    }
}
