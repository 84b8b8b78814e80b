//! The hour of many instants in UTC, which is a division: the query engine asks a calendar for each.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

const HOUR: i64 = 3_600_000_000;

/// `function`, and where it is `date_part` one that knows hours by itself.
pub(super) fn quick(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match function.name() {
        "date_part" => Arc::new(ScalarUDF::from(DatePart { inner: function })),
        _ => function,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.inner().preimage(args, literal, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match hours(&args.args) {
            Some(hours) => Ok(ColumnarValue::Array(Arc::new(hours))),
            None => self.inner.invoke_with_args(args),
        }
    }
}

/// The hours, 0 to 23, where these are asked for of instants in UTC.
fn hours(args: &[ColumnarValue]) -> Option<Int32Array> {
    let [ColumnarValue::Scalar(ScalarValue::Utf8(Some(part))), ColumnarValue::Array(instants)] = args else {
        return None;
    };
    let is_hour = part.eq_ignore_ascii_case("hour");
    match instants.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if is_hour && zone.as_ref() == "UTC" => {
            let instants = instants.as_primitive::<TimestampMicrosecondType>();
            Some(instants.unary(|at| i32::try_from(at.div_euclid(HOUR).rem_euclid(24)).unwrap_or_default()))
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Array, TimestampMicrosecondArray};
    use arrow::compute::{DatePart as Part, date_part};

    use super::*;

    #[test]
    fn hours_are_those_of_a_calendar() {
        let steps = (-40_000_i64..40_000).map(|n| Some(n * 17 * 61_000_017));
        let instants: TimestampMicrosecondArray =
            steps.chain([None, Some(-1), Some(0), Some(HOUR)]).collect();
        let instants = instants.with_timezone("UTC");
        let expected = date_part(&instants, Part::Hour).unwrap();
        let part = |text: &str| ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.to_owned())));
        let column = || ColumnarValue::Array(Arc::new(instants.clone()));
        assert_eq!(&hours(&[part("HOUR"), column()]).unwrap(), expected.as_primitive());
        assert!(hours(&[part("minute"), column()]).is_none());
        let elsewhere = instants.clone().with_timezone("+01:00");
        assert!(hours(&[part("hour"), ColumnarValue::Array(Arc::new(elsewhere))]).is_none());
        assert!(instants.is_null(80_000));
    }
}
