//! HSA-ids: who and which unit, as Inera's catalogue names them.

use std::borrow::Cow;

/// An HSA-id in capitals, in which the catalogue writes it; systems write it both ways, and it is one id. Anything else is
/// given back as it is: `SE`, ten or twelve digits, a dash, then letters and digits make one.
#[must_use]
pub fn hsa_id(text: &str) -> Cow<'_, str> {
    if is_hsa_id(text) && text.bytes().any(|b| b.is_ascii_lowercase()) {
        Cow::Owned(text.to_ascii_uppercase())
    } else {
        Cow::Borrowed(text)
    }
}

fn is_hsa_id(text: &str) -> bool {
    let Some((organisation, own)) = text.split_once('-') else { return false };
    let digits = organisation.get(2..).unwrap_or_default();
    organisation.get(..2).is_some_and(|land| land.eq_ignore_ascii_case("SE"))
        && matches!(digits.len(), 10 | 12)
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !own.is_empty()
        && own.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hsa_id_is_one_however_it_is_written() {
        for (written, is) in [
            ("se2321000016-3f7k", "SE2321000016-3F7K"),
            ("Se2321000016-anna", "SE2321000016-ANNA"),
            ("SE162321000016-3F7K", "SE162321000016-3F7K"),
            ("se232100001-3f7k", "se232100001-3f7k"),
            ("se2321000016-", "se2321000016-"),
            ("se2321000016-a b", "se2321000016-a b"),
            ("anna-berg", "anna-berg"),
            ("sé2321000016-x", "sé2321000016-x"),
            ("", ""),
        ] {
            assert_eq!(hsa_id(written), is, "{written}");
        }
    }
}
