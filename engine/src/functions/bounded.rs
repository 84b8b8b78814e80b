//! Functions that multiply text say no before they make a giant: the query engine's memory pool does not see what
//! they allocate.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{ScalarValue, plan_err, resources_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The most text that one call may make for one batch of rows.
const MOST: usize = 16 << 20;
/// Pairs of characters or items that one call may compare for one batch of rows: a second or two.
const MOST_PAIRS: usize = 200_000_000;

/// `function`, with a bound where it needs one.
pub(super) fn bound(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let growth = match function.name() {
        "concat" => Growth::Sum,
        "concat_ws" => Growth::Between,
        "replace" => Growth::Replace,
        "array_to_string" => Growth::Items,
        "to_char" => Growth::Pattern,
        "levenshtein" | "array_has_all" | "array_has_any" => Growth::Pairs,
        _ => return function,
    };
    Arc::new(ScalarUDF::from(Bounded { inner: function, growth }))
}

/// `a || b` on text: null where either is.
pub(super) fn join_text() -> Arc<ScalarUDF> {
    static JOIN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::from(JoinText { signature: Signature::user_defined(Volatility::Immutable) }))
    });
    Arc::clone(&JOIN)
}

/// How long the result can get, by the length of the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// All arguments behind each other.
    Sum,
    /// All arguments with the first between them.
    Between,
    /// The third argument for each occurrence of the second in the first.
    Replace,
    /// A list's items with the second argument between them.
    Items,
    /// A pattern whose parts become longer than they are.
    Pattern,
    /// Not at all, but each part of the first argument is compared with each of the second.
    Pairs,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Bounded {
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

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let pairs = if self.growth == Growth::Pairs { pairs(&args) } else { 0 };
        if pairs > MOST_PAIRS {
            return resources_err!(
                "{} would compare {} million pairs of parts for one batch, at most {} million; cut what is long, as \
                 left(record, 1000)",
                self.name(),
                pairs / 1_000_000,
                MOST_PAIRS / 1_000_000
            );
        }
        let most = self.growth.most(&args);
        if most > MOST {
            return resources_err!(
                "{} would make {} MB of text, at most {} MB",
                self.name(),
                most >> 20,
                MOST >> 20
            );
        }
        self.inner.invoke_with_args(args)
    }
}

impl Growth {
    /// An upper bound of the result's bytes, over all rows.
    fn most(self, args: &ScalarFunctionArgs) -> usize {
        let rows = args.number_rows.max(1);
        let total = |i: usize| args.args.get(i).map_or(0, |a| bytes(a, rows));
        let longest = |i: usize| args.args.get(i).map_or(0, longest);
        let all = (0..args.args.len()).map(total).fold(0, usize::saturating_add);
        match self {
            Growth::Sum => all,
            Growth::Between => all.saturating_add(total(0).saturating_mul(args.args.len())),
            Growth::Replace => {
                // Every byte can be an occurrence, also of an empty text.
                let shortest = args.args.get(1).map_or(1, shortest).max(1);
                let times = (total(0) / shortest).saturating_add(rows);
                total(0).saturating_add(times.saturating_mul(longest(2)))
            }
            Growth::Items => {
                all.saturating_add(args.args.first().map_or(0, items).saturating_mul(longest(1).max(4)))
            }
            // The longest that one letter of a pattern becomes is a whole date with time and zone.
            Growth::Pattern => total(1).saturating_mul(20),
            Growth::Pairs => 0,
        }
    }
}

/// Parts of the first argument times parts of the second, row by row.
fn pairs(args: &ScalarFunctionArgs) -> usize {
    let [a, b] = args.args.as_slice() else { return 0 };
    let (a, b) = (parts(a), parts(b));
    let of = |parts: &[usize], row: usize| parts.get(row).or(parts.first()).copied().unwrap_or_default();
    (0..args.number_rows.max(1))
        .map(|row| of(&a, row).saturating_mul(of(&b, row)))
        .fold(0, usize::saturating_add)
}

/// Characters of each text, or items of each list; one for all rows where it is a constant.
fn parts(value: &ColumnarValue) -> Vec<usize> {
    match value {
        ColumnarValue::Scalar(ScalarValue::List(list)) => vec![list.values().len()],
        ColumnarValue::Array(array) if array.as_list_opt::<i32>().is_some() => {
            let offsets = array.as_list::<i32>().value_offsets();
            offsets.windows(2).map(|of| offset_span(of.first(), of.last())).collect()
        }
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => {
                let offsets = array.as_string::<i32>().value_offsets();
                offsets.windows(2).map(|of| offset_span(of.first(), of.last())).collect()
            }
            DataType::Utf8View => array.as_string_view().lengths().map(|length| length as usize).collect(),
            _ => vec![array.get_array_memory_size()],
        },
        scalar => lengths(scalar),
    }
}

fn bytes(value: &ColumnarValue, rows: usize) -> usize {
    match value {
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar).saturating_mul(rows),
        ColumnarValue::Array(array) => array_bytes(array),
    }
}

fn scalar_bytes(scalar: &ScalarValue) -> usize {
    match scalar {
        ScalarValue::Utf8(t) | ScalarValue::Utf8View(t) | ScalarValue::LargeUtf8(t) => {
            t.as_ref().map_or(0, String::len)
        }
        other => other.size(),
    }
}

/// Text of views that share their bytes counts once for each row that shows it.
fn array_bytes(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().lengths().map(|l| l as usize).sum(),
        DataType::Utf8 => {
            let offsets = array.as_string::<i32>().value_offsets();
            offset_span(offsets.first(), offsets.last())
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            array_bytes(list.values())
        }
        _ => array.get_array_memory_size(),
    }
}

fn offset_span(first: Option<&i32>, last: Option<&i32>) -> usize {
    usize::try_from(last.unwrap_or(&0) - first.unwrap_or(&0)).unwrap_or(0)
}

fn lengths(value: &ColumnarValue) -> Vec<usize> {
    match value {
        ColumnarValue::Scalar(scalar) => vec![scalar_bytes(scalar)],
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8View => array.as_string_view().iter().flatten().map(str::len).collect(),
            DataType::Utf8 => array.as_string::<i32>().iter().flatten().map(str::len).collect(),
            DataType::LargeUtf8 => array.as_string::<i64>().iter().flatten().map(str::len).collect(),
            _ => vec![array.get_array_memory_size()],
        },
    }
}

fn longest(value: &ColumnarValue) -> usize {
    lengths(value).into_iter().max().unwrap_or(0)
}

fn shortest(value: &ColumnarValue) -> usize {
    lengths(value).into_iter().min().unwrap_or(0)
}

fn items(value: &ColumnarValue) -> usize {
    match value {
        ColumnarValue::Scalar(ScalarValue::List(list)) => list.values().len(),
        ColumnarValue::Array(array) => match array.as_list_opt::<i32>() {
            Some(list) => list.values().len(),
            None => array.len(),
        },
        ColumnarValue::Scalar(_) => 1,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinText {
    signature: Signature,
}

impl ScalarUDFImpl for JoinText {
    fn name(&self) -> &str {
        "join_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        match found {
            [a, b] if !a.is_nested() && !b.is_nested() => Ok(vec![DataType::Utf8; 2]),
            _ => plan_err!("|| joins two texts"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let most = Growth::Sum.most(&args);
        if most > MOST {
            return resources_err!("|| would make {} MB of text, at most {} MB", most >> 20, MOST >> 20);
        }
        let all_scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (a, b) = (arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>());
        let mut joined = StringBuilder::with_capacity(a.len(), most.min(MOST));
        let mut both = String::new();
        for (a, b) in a.iter().zip(b.iter()) {
            match (a, b) {
                (Some(a), Some(b)) => {
                    both.clear();
                    both.push_str(a);
                    both.push_str(b);
                    joined.append_value(&both);
                }
                _ => joined.append_null(),
            }
        }
        let joined = joined.finish();
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(joined)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    fn args(values: Vec<ColumnarValue>, rows: usize) -> ScalarFunctionArgs {
        ScalarFunctionArgs {
            args: values,
            arg_fields: vec![],
            number_rows: rows,
            return_field: Arc::new(arrow::datatypes::Field::new("r", DataType::Utf8, true)),
            config_options: Arc::default(),
        }
    }

    fn text(t: &str) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(t.to_owned())))
    }

    #[test]
    fn growth_is_never_less_than_the_result() {
        let column = ColumnarValue::Array(Arc::new(StringArray::from(vec![Some("aXbX"), None, Some("X")])));
        let sum = args(vec![column.clone(), text("12"), column.clone()], 3);
        assert!(Growth::Sum.most(&sum) >= "aXbX12aXbX12X12X".len());
        let replace = args(vec![column.clone(), text("X"), text("0123456789")], 3);
        assert!(Growth::Replace.most(&replace) >= "a0123456789b0123456789".len() + 10);
        let between = args(vec![text("--------"), column.clone(), column], 3);
        assert!(Growth::Between.most(&between) >= "aXbX--------aXbX".len() + "X--------X".len());
    }

    #[test]
    fn pairs_are_those_of_each_row() {
        let column = ColumnarValue::Array(Arc::new(StringArray::from(vec![Some("abcd"), None, Some("x")])));
        assert_eq!(pairs(&args(vec![column.clone(), text("12")], 3)), 4 * 2 + 2);
        assert_eq!(pairs(&args(vec![column.clone(), column], 3)), 16 + 1);
        assert_eq!(pairs(&args(vec![text("123"), text("12")], 1)), 6);
    }

    #[test]
    fn joining_gives_null_where_either_is() {
        let column = ColumnarValue::Array(Arc::new(StringArray::from(vec![Some("a"), None])));
        let joined = join_text().invoke_with_args(args(vec![column, text("b")], 2)).unwrap();
        let joined = joined.into_array(2).unwrap();
        assert_eq!(joined.as_string::<i32>(), &StringArray::from(vec![Some("ab"), None]));
    }

    #[test]
    fn giants_are_refused() {
        let big = "x".repeat(MOST / 2 + 1);
        assert!(join_text().invoke_with_args(args(vec![text(&big), text(&big)], 1)).is_err());
        assert!(join_text().invoke_with_args(args(vec![text("x"), text(&big)], 1)).is_ok());
    }
}
