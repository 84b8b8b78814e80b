//! How long the cells of a batch are: what a row weighs when it is shown once more.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

/// What a number, a time or a truth value weighs.
const SHORT: usize = 8;

/// The cells of a batch, column by column.
pub(super) struct Cells {
    columns: Vec<Lengths>,
    rows: usize,
}

/// The lengths of a column's cells in bytes.
enum Lengths {
    Short,
    /// Where each cell begins, and the last ends.
    Offsets(Vec<usize>),
    /// Lists: bytes as above, and where each list begins among the items.
    Lists(Vec<usize>, Vec<usize>),
}

impl Cells {
    pub(super) fn of(batch: &RecordBatch) -> Cells {
        Cells { columns: batch.columns().iter().map(lengths).collect(), rows: batch.num_rows() }
    }

    /// Bytes of a row.
    pub(super) fn row(&self, row: usize) -> usize {
        self.columns.iter().map(|column| column.of(row)).sum()
    }

    /// Bytes of a row that has the longest cell of each column.
    pub(super) fn longest(&self) -> usize {
        self.columns.iter().map(|column| column.longest(self.rows)).sum()
    }

    /// Bytes of the rows that a row becomes when these lists become rows.
    pub(super) fn unnested(&self, lists: &[usize], row: usize) -> usize {
        let of = lists.iter().filter_map(|list| self.columns.get(*list));
        let items = of.clone().map(|list| list.items(row)).max().unwrap_or_default().max(1);
        let in_lists: usize = of.map(|list| list.of(row)).sum();
        let beside = self.row(row).saturating_sub(in_lists);
        items.saturating_mul(beside.saturating_add(SHORT)).saturating_add(in_lists)
    }
}

impl Lengths {
    fn of(&self, row: usize) -> usize {
        match self {
            Lengths::Short => SHORT,
            Lengths::Offsets(offsets) | Lengths::Lists(offsets, _) => span(offsets, row),
        }
    }

    fn longest(&self, rows: usize) -> usize {
        match self {
            Lengths::Short => SHORT,
            _ => (0..rows).map(|row| self.of(row)).max().unwrap_or_default(),
        }
    }

    fn items(&self, row: usize) -> usize {
        match self {
            Lengths::Lists(_, places) => span(places, row),
            _ => 1,
        }
    }
}

fn span(offsets: &[usize], row: usize) -> usize {
    match (offsets.get(row), offsets.get(row + 1)) {
        (Some(from), Some(to)) => to - from,
        _ => 0,
    }
}

fn lengths(column: &ArrayRef) -> Lengths {
    match column.data_type() {
        DataType::Utf8 => Lengths::Offsets(whole(column.as_string::<i32>().value_offsets())),
        DataType::Binary => Lengths::Offsets(whole(column.as_binary::<i32>().value_offsets())),
        DataType::LargeUtf8 => Lengths::Offsets(whole(column.as_string::<i64>().value_offsets())),
        DataType::LargeBinary => Lengths::Offsets(whole(column.as_binary::<i64>().value_offsets())),
        DataType::Utf8View => Lengths::Offsets(running(column.as_string_view().lengths())),
        DataType::BinaryView => Lengths::Offsets(running(column.as_binary_view().lengths())),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            lists(whole(list.value_offsets()), list.values())
        }
        DataType::LargeList(_) => {
            let list = column.as_list::<i64>();
            lists(whole(list.value_offsets()), list.values())
        }
        DataType::Boolean | DataType::Null => Lengths::Short,
        other if other.is_primitive() => Lengths::Short,
        // Of what is not met here each cell may be all of it.
        _ => {
            let all = column.get_array_memory_size();
            Lengths::Offsets((0..=column.len()).map(|row| row * all).collect())
        }
    }
}

/// Bytes of all cells, where they are numbers, times and texts.
pub(super) fn plain(batch: &RecordBatch) -> Option<usize> {
    batch.columns().iter().map(plain_column).sum()
}

fn plain_column(column: &ArrayRef) -> Option<usize> {
    match column.data_type() {
        DataType::Utf8 => {
            let offsets = column.as_string::<i32>().value_offsets();
            usize::try_from(offsets.last()? - offsets.first()?).ok()
        }
        DataType::Boolean | DataType::Null => Some(column.len() * SHORT),
        other if other.is_primitive() => Some(column.len() * SHORT),
        _ => None,
    }
}

fn lists(places: Vec<usize>, items: &ArrayRef) -> Lengths {
    let bytes = match lengths(items) {
        Lengths::Short => places.iter().map(|place| place * SHORT).collect(),
        Lengths::Offsets(offsets) | Lengths::Lists(offsets, _) => places
            .iter()
            .map(|place| offsets.get(*place).copied().unwrap_or_default() + place * SHORT)
            .collect(),
    };
    Lengths::Lists(bytes, places)
}

fn whole<T: Copy + TryInto<usize>>(offsets: &[T]) -> Vec<usize> {
    offsets.iter().map(|offset| (*offset).try_into().unwrap_or_default()).collect()
}

fn running(lengths: impl Iterator<Item = u32>) -> Vec<usize> {
    let mut end = 0;
    let ends = lengths.map(|length| {
        end += length as usize;
        end
    });
    std::iter::once(0).chain(ends).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, ListBuilder, StringArray, StringBuilder, StringViewArray};

    use super::*;

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(n, c)| (format!("c{n}"), c)))
            .unwrap()
    }

    #[test]
    fn a_batch_weighs_what_its_rows_do_or_is_not_known_as_a_whole() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("abc"), None, Some("åäö"), Some("x")]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4)]));
        for (from, rows) in [(0, 4), (1, 2), (3, 1), (4, 0)] {
            let some = batch(vec![Arc::clone(&texts), Arc::clone(&numbers)]).slice(from, rows);
            let cells = Cells::of(&some);
            assert_eq!(plain(&some), Some((0..rows).map(|row| cells.row(row)).sum()));
        }
        let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
        assert_eq!(plain(&batch(vec![views])), None);
    }

    #[test]
    fn rows_weigh_what_their_cells_are_long() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("abc"), None, Some("åäö")]));
        let views: ArrayRef =
            Arc::new(StringViewArray::from(vec!["", "a text that is no longer inlined", "x"]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let all = batch(vec![texts, views, numbers]);
        let cells = Cells::of(&all);
        assert_eq!([0, 1, 2].map(|row| cells.row(row)), [3 + 8, 32 + 8, 6 + 1 + 8]);
        assert_eq!(cells.longest(), 6 + 32 + 8);
        // A slice is its own rows alone.
        let cells = Cells::of(&all.slice(2, 1));
        assert_eq!((cells.row(0), cells.longest()), (15, 15));
    }

    #[test]
    fn a_list_weighs_its_items_and_becomes_as_many_rows() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in [&["a", "bcd"][..], &[], &["x"]] {
            row.iter().for_each(|item| lists.values().append_value(item));
            lists.append(true);
        }
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["1234567890"; 3]));
        let cells = Cells::of(&batch(vec![Arc::new(lists.finish()), texts]));
        assert_eq!([0, 1, 2].map(|row| cells.row(row)), [4 + 16 + 10, 10, 1 + 8 + 10]);
        assert_eq!(cells.unnested(&[0], 0), 2 * (10 + 8) + 20);
        assert_eq!(cells.unnested(&[0], 1), 10 + 8);
    }
}
