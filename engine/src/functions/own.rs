//! Insyn's own scalar functions.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Int32Array, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use chrono_tz::Tz;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::SAME_HOUSEHOLD;
use super::days::LocalDays;
use crate::context::resolve::Resolver;

pub(super) fn functions(zone: Tz, resolver: &Arc<Resolver>) -> impl Iterator<Item = Arc<ScalarUDF>> {
    let known = Known { zone, resolver: Arc::clone(resolver) };
    Which::ALL.into_iter().map(move |which| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Own { which, signature, known: known.clone() }))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    IsPersonnummer,
    LocalDate,
    LocalHour,
    LocalWeekday,
    AgeAt,
    SubjectKey,
    ActorId,
    PersonOf,
    SameHousehold,
    ValidAt,
}

#[derive(Debug, Clone, Copy)]
enum Arg {
    Text,
    Time,
}

impl Which {
    const ALL: [Which; 10] = [
        Which::IsPersonnummer,
        Which::LocalDate,
        Which::LocalHour,
        Which::LocalWeekday,
        Which::AgeAt,
        Which::SubjectKey,
        Which::ActorId,
        Which::PersonOf,
        Which::SameHousehold,
        Which::ValidAt,
    ];

    fn name(self) -> &'static str {
        match self {
            Which::IsPersonnummer => "is_personnummer",
            Which::LocalDate => "local_date",
            Which::LocalHour => "local_hour",
            Which::LocalWeekday => "local_weekday",
            Which::AgeAt => "age_at",
            Which::SubjectKey => "subject_key",
            Which::ActorId => "actor_id",
            Which::PersonOf => "person_of",
            Which::SameHousehold => SAME_HOUSEHOLD,
            Which::ValidAt => "valid_at",
        }
    }

    fn args(self) -> &'static [Arg] {
        match self {
            Which::IsPersonnummer | Which::SubjectKey | Which::PersonOf => &[Arg::Text],
            Which::LocalDate | Which::LocalHour | Which::LocalWeekday => &[Arg::Time],
            Which::AgeAt => &[Arg::Text, Arg::Time],
            Which::ActorId | Which::SameHousehold => &[Arg::Text, Arg::Text, Arg::Time],
            Which::ValidAt => &[Arg::Time, Arg::Time, Arg::Time],
        }
    }

    /// How many arguments it needs; those after them may be left out.
    fn least(self) -> usize {
        match self {
            Which::SameHousehold => 2,
            other => other.args().len(),
        }
    }

    fn gives(self) -> DataType {
        match self {
            Which::IsPersonnummer | Which::SameHousehold | Which::ValidAt => DataType::Boolean,
            Which::LocalDate => DataType::Date32,
            Which::LocalHour | Which::LocalWeekday | Which::AgeAt => DataType::Int32,
            Which::SubjectKey | Which::ActorId | Which::PersonOf => DataType::Utf8,
        }
    }
}

/// What the functions know besides their arguments. Two are the same when they are one and the same load.
#[derive(Debug, Clone)]
struct Known {
    zone: Tz,
    resolver: Arc<Resolver>,
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone && Arc::ptr_eq(&self.resolver, &other.resolver)
    }
}

impl Eq for Known {}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.zone.hash(state);
        Arc::as_ptr(&self.resolver).hash(state);
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Own {
    which: Which,
    signature: Signature,
    known: Known,
}

impl ScalarUDFImpl for Own {
    fn name(&self) -> &str {
        self.which.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.which.gives())
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = self.which.args();
        if found.len() > wanted.len() || found.len() < self.which.least() {
            let least = self.which.least();
            let many = if least == wanted.len() {
                least.to_string()
            } else {
                format!("{least} or {}", wanted.len())
            };
            return plan_err!("{} takes {many} arguments, found {}", self.name(), found.len());
        }
        let coerced = wanted.iter().zip(found).map(|(arg, found)| match (arg, found) {
            (Arg::Text, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null) => {
                Ok(DataType::Utf8)
            }
            (
                Arg::Time,
                DataType::Timestamp(_, _)
                | DataType::Date32
                | DataType::Utf8
                | DataType::Utf8View
                | DataType::Null,
            ) => Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            (Arg::Text, other) => plan_err!("{} takes text, found {other}", self.name()),
            (Arg::Time, other) => plan_err!("{} takes a time, found {other}", self.name()),
        });
        coerced.collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let result = self.apply(&arrays)?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

impl Own {
    fn apply(&self, args: &[ArrayRef]) -> Result<ArrayRef> {
        let Known { zone, resolver } = &self.known;
        let [first, rest @ ..] = args else {
            return exec_err!("{} without arguments", self.name());
        };
        Ok(match (self.which, rest) {
            (Which::IsPersonnummer, []) => {
                Arc::new(texts(first).map(|t| t.map(insyn_event::is_valid)).collect::<BooleanArray>())
            }
            (Which::LocalDate, []) => {
                let mut days = LocalDays::of(*zone);
                let dates = times(first).map(|at| Some(Date32Type::from_naive_date(days.date(at?)?)));
                Arc::new(dates.collect::<Date32Array>())
            }
            (Which::LocalHour, []) => {
                let hours = times(first).map(|at| i32::try_from(local(at?, *zone)?.hour()).ok());
                Arc::new(hours.collect::<Int32Array>())
            }
            (Which::LocalWeekday, []) => {
                let days = times(first)
                    .map(|at| i32::try_from(local(at?, *zone)?.weekday().number_from_monday()).ok());
                Arc::new(days.collect::<Int32Array>())
            }
            (Which::AgeAt, [at]) => {
                let mut days = LocalDays::of(*zone);
                let ages = texts(first).zip(times(at)).map(|(id, at)| age(id?, days.date(at?)?));
                Arc::new(ages.collect::<Int32Array>())
            }
            (Which::SubjectKey, []) if !resolver.knows_identities() => ArrayRef::clone(first),
            (Which::SubjectKey, []) => {
                Arc::new(texts(first).map(|t| Some(resolver.current(t?))).collect::<StringArray>())
            }
            (Which::PersonOf, []) => {
                Arc::new(texts(first).map(|t| resolver.person_of(t?)).collect::<StringArray>())
            }
            (Which::ActorId, [user, _]) if !resolver.knows_accounts() => ArrayRef::clone(user),
            (Which::ActorId, [user, at]) => {
                let mut actors = StringBuilder::with_capacity(user.len(), user.len() * 16);
                for ((source, user), at) in texts(first).zip(texts(user)).zip(times(at)) {
                    match (source, user, at) {
                        (Some(source), Some(user), Some(at)) => {
                            actors.append_value(resolver.actor(source, user, at))
                        }
                        _ => actors.append_option(user),
                    }
                }
                Arc::new(actors.finish())
            }
            (Which::SameHousehold, [other, at @ ..]) => {
                if resolver.homes().is_none() {
                    return exec_err!(
                        "{SAME_HOUSEHOLD} goes by context tables that were not read for this question"
                    );
                }
                let at = at.first().map(|at| at.as_primitive::<TimestampMicrosecondType>());
                let pairs = texts(first).zip(texts(other)).enumerate();
                let together = pairs.map(|(row, (one, other))| match at {
                    Some(at) if at.is_null(row) => None,
                    at => resolver.together(one?, other?, at.map(|at| at.value(row))),
                });
                Arc::new(together.collect::<BooleanArray>())
            }
            (Which::ValidAt, [to, at]) => {
                let holds = times(first).zip(times(to)).zip(times(at)).map(|((from, to), at)| {
                    let at = at?;
                    Some(from.is_none_or(|from| from <= at) && to.is_none_or(|to| at <= to))
                });
                Arc::new(holds.collect::<BooleanArray>())
            }
            _ => return exec_err!("{} takes {} arguments", self.name(), self.which.args().len()),
        })
    }
}

fn texts(array: &ArrayRef) -> impl Iterator<Item = Option<&str>> {
    array.as_string::<i32>().iter()
}

fn times(array: &ArrayRef) -> impl Iterator<Item = Option<i64>> {
    array.as_primitive::<TimestampMicrosecondType>().iter()
}

fn local(at: i64, zone: Tz) -> Option<DateTime<Tz>> {
    Some(DateTime::from_timestamp_micros(at)?.with_timezone(&zone))
}

/// Whole years from the birth date in a personnummer or samordningsnummer (whose day is 60 higher) to `on`.
fn age(id: &str, on: NaiveDate) -> Option<i32> {
    if !insyn_event::is_valid(id) {
        return None;
    }
    let day: u32 = id.get(6..8)?.parse().ok()?;
    let day = if day > 60 { day - 60 } else { day };
    let born = NaiveDate::from_ymd_opt(id.get(..4)?.parse().ok()?, id.get(4..6)?.parse().ok()?, day)?;
    let had_birthday = (on.month(), on.day()) >= (born.month(), born.day());
    Some(on.year() - born.year() - i32::from(!had_birthday))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn age_turns_on_the_birthday() {
        for (id, on, expected) in [
            ("191212121212", "2026-12-11", Some(113)),
            ("191212121212", "2026-12-12", Some(114)),
            ("191212121213", "2026-12-12", None),
            ("197010632391", "2026-10-03", Some(56)),
            ("R9912001234", "2026-10-03", None),
            ("å", "2026-10-03", None),
        ] {
            assert_eq!(age(id, on.parse().unwrap()), expected, "{id} {on}");
        }
    }
}
