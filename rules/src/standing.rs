//! How the looks of a slice stand, by the place of each: a byte, where a join would hold rows.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use datafusion::error::DataFusionError;

use crate::explain::{BY_USER, Standing};
use crate::hits;
use crate::rule::Explains;

/// What explains the looks: by segment, and in it by place.
#[derive(Default, Clone)]
pub(crate) struct Standings(HashMap<i64, Vec<Standing>>);

impl Standings {
    /// Takes in rows of the table of explained looks.
    pub fn add(&mut self, explained: &RecordBatch) -> Result<(), DataFusionError> {
        let (segments, seqs) = (hits::long(explained, "segment")?, hits::long(explained, "seq")?);
        let column = |name: &str| {
            let lacks = || DataFusionError::Internal(format!("explained looks have no {name}"));
            explained.column_by_name(name).ok_or_else(lacks)
        };
        let explains = column("explains")?.as_dictionary::<Int32Type>();
        let words = explains.values().as_string::<i32>();
        let words: Vec<Explains> = (0..words.len())
            .map(|n| words.value(n).parse().map_err(DataFusionError::Plan))
            .collect::<Result<_, _>>()?;
        let by_user = column(BY_USER)?.as_boolean();
        for row in 0..explained.num_rows() {
            let (explains, by_user) = (words[explains.keys().value(row) as usize], by_user.value(row));
            let stands = match explains {
                Explains::Provider => continue,
                explains if explains.is_enough(by_user) => Standing::Explained,
                _ => Standing::OnlyByUser,
            };
            let of = self.0.entry(segments.value(row)).or_default();
            let Ok(place) = usize::try_from(seqs.value(row)) else { continue };
            if of.len() <= place {
                of.resize(place + 1, Standing::Unexplained);
            }
            of[place] = of[place].min(stands);
        }
        Ok(())
    }

    /// How the look at a place stands.
    pub fn at(&self, segment: i64, seq: i64) -> Standing {
        let of = self.0.get(&segment);
        let known = usize::try_from(seq).ok().and_then(|place| of?.get(place).copied());
        known.unwrap_or(Standing::Unexplained)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, DictionaryArray, Int32Array, Int64Array};
    use proptest::prelude::*;

    use super::*;

    fn rows(of: &[(i64, i32, &str, bool)]) -> RecordBatch {
        let explains: DictionaryArray<Int32Type> = of.iter().map(|row| row.2).collect();
        RecordBatch::try_from_iter([
            ("segment", Arc::new(Int64Array::from_iter_values(of.iter().map(|row| row.0))) as _),
            ("seq", Arc::new(Int32Array::from_iter_values(of.iter().map(|row| row.1))) as _),
            ("explains", Arc::new(explains) as _),
            (BY_USER, Arc::new(of.iter().map(|row| Some(row.3)).collect::<BooleanArray>()) as _),
        ])
        .unwrap()
    }

    proptest! {
        #[test]
        fn the_best_reason_counts_in_whatever_order_they_come(
            of in prop::collection::vec((0i64..3, 0i32..5, 0usize..3, any::<bool>()), 0..40),
            cut in 0usize..40,
        ) {
            let words = ["person", "unit", "provider"];
            let of: Vec<_> = of.into_iter().map(|(a, b, word, own)| (a, b, words[word], own)).collect();
            let (one, other) = of.split_at(cut.min(of.len()));
            let mut standings = Standings::default();
            for part in [one, other] {
                standings.add(&rows(part)).unwrap();
            }
            for (segment, seq) in (0..4).flat_map(|a| (0..7).map(move |b| (a, b))) {
                let here = || of.iter().filter(|row| (row.0, i64::from(row.1)) == (segment, seq) && row.2 != "provider");
                let expected = match (here().any(|row| !row.3), here().next()) {
                    (true, _) => Standing::Explained,
                    (false, Some(_)) => Standing::OnlyByUser,
                    (false, None) => Standing::Unexplained,
                };
                prop_assert_eq!(standings.at(segment, seq), expected);
            }
        }
    }
}
