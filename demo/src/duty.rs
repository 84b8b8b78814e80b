//! Who was at work when.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::clock::Clock;
use crate::staff::Staff;
use crate::units::UNITS;

/// One row of the schedule.
#[derive(Debug, Clone)]
pub(crate) struct Shift {
    pub staff: u32,
    pub unit: usize,
    pub from: i64,
    pub to: i64,
    pub kind: &'static str,
    /// The day on which it begins.
    pub day: i32,
}

/// The schedule from the day before the period to `ahead` days after it, in order of day.
pub(crate) fn plan(
    rng: &mut ChaCha8Rng,
    clock: &Clock,
    staff: &[Staff],
    days: i32,
    ahead: i32,
) -> Vec<Shift> {
    let mut shifts = Vec::new();
    let mut nights = vec![false; staff.len()];
    for day in -1..days + ahead {
        let weekend = clock.weekday(day) > 4;
        for (number, one) in staff.iter().enumerate() {
            let night_before = std::mem::take(&mut nights[number]);
            if !one.employed(day) || one.apart {
                continue;
            }
            let unit = one.unit_on(day);
            let kind = UNITS[unit].kind;
            let hours = if one.office || !kind.weekends() {
                // Physicians of the wards also take duty on weekends, a few at a time.
                let on_call = one.title == "Läkare" && kind.round_the_clock();
                if weekend {
                    (on_call && rng.random_bool(0.12)).then_some((8 * 60, 20 * 60, "on_call"))
                } else {
                    rng.random_bool(0.9).then_some((7 * 60 + 45, 16 * 60 + 45, "shift"))
                }
            } else {
                shift_hours(rng, kind.round_the_clock(), weekend, night_before)
            };
            match hours {
                Some((from, to, kind)) => {
                    nights[number] = to > 24 * 60;
                    let (from, to) = (clock.at(day, from), clock.at(day, to));
                    shifts.push(Shift { staff: number as u32, unit, from, to, kind, day });
                }
                None if !weekend && rng.random_bool(0.04) => {
                    let (from, to) = (clock.at(day, 0), clock.at(day, 24 * 60 - 1));
                    shifts.push(Shift { staff: number as u32, unit, from, to, kind: "leave", day });
                }
                None => {}
            }
        }
    }
    shifts
}

/// Begin and end in minutes of the day, for those who work by roster.
fn shift_hours(
    rng: &mut ChaCha8Rng,
    nights: bool,
    weekend: bool,
    night_before: bool,
) -> Option<(i64, i64, &'static str)> {
    let drawn = rng.random_range(0..100) + if weekend { 14 } else { 0 };
    match drawn {
        0..34 if !night_before => Some((7 * 60, 15 * 60 + 45, "shift")),
        34..58 => Some((13 * 60 + 30, 22 * 60, "shift")),
        58..72 if nights => Some((21 * 60 + 15, 31 * 60 + 15, "shift")),
        _ => None,
    }
}
