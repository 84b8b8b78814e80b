//! How much oftener than by chance each rule names somebody, and how much of what it names has a reason.
//!
//! A rule that names as many pairs of user and person in the fake log (see [`crate::measure`]) as in the real one tells
//! nothing by itself. After Hedda, Malin, Yan and Fabbri (2017), who found both figures to differ widely between rules that
//! are in common use.

use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use insyn_engine::session::Session;
use serde::{Deserialize, Serialize};

use crate::desk::Desk;
use crate::explain::{self, EXPLAINED, lay};
use crate::measure::{AT_ONCE, fake};
use crate::pack::Pack;
use crate::rule::{Kind, Rule, Status, Text};
use crate::run::{Limits, RunError, Window, in_time, slices};
use crate::sight::Sight;
use crate::sql;
use crate::stored::Stored;

/// What one rule names, in the real log and by chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lift {
    /// Which rule.
    pub rule_id: String,
    /// Its title.
    pub title: Text,
    /// How far it is to be trusted.
    pub status: Status,
    /// Pairs of user and person that it names; of a long period, in each slice of it.
    pub pairs: u64,
    /// The same in the fake log.
    pub by_chance: u64,
    /// How many times oftener; none where chance names nobody.
    pub lift: Option<f64>,
    /// Accesses that it names.
    pub accesses: u64,
    /// Of these, those that have a reason which the user could not have made.
    pub explained: u64,
    /// Why it could not be tried.
    pub failed: Option<String>,
}

/// Measures the pack's rules over a period, each on its own terms: what its table lacks is not looked at.
///
/// # Errors
/// When the tables that every rule reads cannot be read.
pub async fn lift(pack: &Pack, session: &Session, window: Window) -> Result<Vec<Lift>, RunError> {
    let zone = session.zone();
    // An absence is about what follows an access; a fake log has nothing that follows. A source is nobody.
    let is_about_pairs = |rule: &&Rule| !matches!(rule.kind, Kind::Absence | Kind::Source);
    let rules = pack.rules().iter().filter(|rule| rule.status != Status::Deprecated);
    let rules: Vec<&Rule> = rules.filter(is_about_pairs).collect();
    let explanations: Vec<&Rule> = pack.explanations().collect();
    let read: Vec<&Rule> = rules.iter().chain(&explanations).copied().collect();
    let desk = Desk::over(session.datafusion(), &read).await?;
    let stored = Stored::read(session.datafusion(), window).await?;
    let mut lifts: Vec<Lift> = rules.iter().map(|rule| empty(rule)).collect();
    let Some(period) = stored.touched() else { return Ok(lifts) };
    for slice in slices(period, stored.accesses.div_ceil(AT_ONCE)) {
        let sight = Sight::reach_of(&read, slice, zone);
        desk.lay(&Sight::of(sight.0, sight.1)).await?;
        for is_fake in [false, true] {
            if is_fake {
                fake(&desk).await?;
            }
            let laid = lay(&explanations, &desk, sight).await;
            for (lift, rule) in lifts.iter_mut().zip(&rules) {
                match (&laid, named(rule, &desk, slice, zone).await) {
                    (Err(why), _) if rule.leans_on.is_some() => lift.failed = Some(why.clone()),
                    (_, Err(why)) => lift.failed = Some(why),
                    (_, Ok([pairs, ..])) if is_fake => lift.by_chance += pairs,
                    (_, Ok([pairs, accesses, explained])) => {
                        lift.pairs += pairs;
                        lift.accesses += accesses;
                        lift.explained += explained;
                    }
                }
            }
        }
    }
    for lift in &mut lifts {
        lift.lift = (lift.by_chance > 0).then(|| lift.pairs as f64 / lift.by_chance as f64);
    }
    Ok(lifts)
}

fn empty(rule: &Rule) -> Lift {
    Lift {
        rule_id: rule.id.clone(),
        title: rule.title.clone(),
        status: rule.status,
        pairs: 0,
        by_chance: 0,
        lift: None,
        accesses: 0,
        explained: 0,
        failed: None,
    }
}

/// How many pairs of user and person the rule names in the slice, how many accesses, and how many of these are explained.
async fn named(rule: &Rule, desk: &Desk, slice: (i64, i64), zone: Tz) -> Result<[u64; 3], String> {
    desk.look_back(rule, slice, zone).await?;
    let rendered = sql::render(&rule.sql, &rule.params, slice).map_err(|fault| fault.what)?.sql;
    let (from, to) = (sql::timestamp(slice.0), sql::timestamp(slice.1));
    let query = format!(
        "with named as (select segment, seq, actor_id, subject_key from ({rendered}\n) as x \
         where occurred_at >= {from} and occurred_at < {to}), \
         places as (select distinct segment, seq from named), \
         reasons as (select distinct segment, seq from {EXPLAINED} where not {} and explains <> 'provider') \
         select (select count(*) from (select distinct actor_id, subject_key from named)) as pairs, \
         (select count(*) from places) as accesses, \
         (select count(*) from places p join reasons r on r.segment = p.segment and r.seq = p.seq) as explained",
        explain::BY_USER
    );
    let counts = async {
        let rows = crate::desk::texts(&desk.ctx, &query, 3).await?;
        let count = |n: usize| rows.first().and_then(|row| row[n].as_ref()?.parse().ok()).unwrap_or(0);
        Ok::<_, DataFusionError>([count(0), count(1), count(2)])
    };
    in_time(Limits::default().rule_time, counts).await
}
