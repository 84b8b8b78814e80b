//! Identity numbers that pass every check, in a series kept for tests.
//!
//! All birth numbers are 238 (women) and 239 (men). The tax agency's test numbers end so, as far as we know (not checked
//! against its list), and a reader sees at once that a number is the demo's.

use chrono::{Datelike, NaiveDate};

/// OID of the personnummer as an identity in health care messages.
pub(crate) const OID_PERSONNUMMER: &str = "1.2.752.129.2.1.3.1";
/// OID of the samordningsnummer.
pub(crate) const OID_SAMORDNINGSNUMMER: &str = "1.2.752.129.2.1.3.3";
/// OID of the national reservnummer.
pub(crate) const OID_RESERVNUMMER: &str = "1.2.752.74.9.1";
/// OID of Granvik's own reservnummer; made up, under an arc that nobody holds.
pub(crate) const OID_REGIONAL: &str = "1.2.752.999.9.1";

/// The Luhn digit that completes nine digits (YYMMDDNNN).
fn check_digit(nine: &[u8]) -> u8 {
    let sum: u32 = nine
        .iter()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    b'0' + ((10 - sum % 10) % 10) as u8
}

fn numbered(born: NaiveDate, female: bool, day_offset: u32) -> String {
    let serial = if female { 238 } else { 239 };
    let mut number = format!("{:04}{:02}{:02}{serial}", born.year(), born.month(), born.day() + day_offset);
    let digit = check_digit(&number.as_bytes()[2..]);
    number.push(char::from(digit));
    number
}

/// A personnummer in 12 digits.
pub(crate) fn personnummer(born: NaiveDate, female: bool) -> String {
    numbered(born, female, 0)
}

/// A samordningsnummer in 12 digits: the day is raised by 60.
pub(crate) fn samordningsnummer(born: NaiveDate, female: bool) -> String {
    numbered(born, female, 60)
}

/// A national reservnummer: 12 characters with letters where a personnummer has its birth number.
pub(crate) fn reservnummer(born: NaiveDate, serial: u32) -> String {
    let letter = |n: u32| char::from(b'A' + (n % 26) as u8);
    format!(
        "22{:02}{:02}{:02}{}{}{:02}",
        born.year() % 100,
        born.month(),
        born.day(),
        letter(serial * 7 + 5),
        letter(serial * 3 + 7),
        serial % 100
    )
}

/// Granvik's own reservnummer.
pub(crate) fn regional(serial: u32) -> String {
    format!("GRV{:06}", 204_000 + serial * 37)
}

/// True for 12 digits whose last is the Luhn digit of the nine before it.
#[cfg(test)]
pub(crate) fn is_luhn(id: &str) -> bool {
    let bytes = id.as_bytes();
    bytes.len() == 12 && bytes.iter().all(u8::is_ascii_digit) && check_digit(&bytes[2..11]) == bytes[11]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_check_digit_is_that_of_known_numbers() {
        assert!(is_luhn("191212121212"));
        assert!(is_luhn("196408233234"));
        assert!(!is_luhn("191212121213"));
    }

    #[test]
    fn numbers_have_their_shapes() {
        let born = NaiveDate::from_ymd_opt(1978, 4, 4).unwrap();
        assert!(personnummer(born, true).starts_with("19780404238"));
        assert!(is_luhn(&personnummer(born, false)));
        assert!(samordningsnummer(born, false).starts_with("19780464239"));
        assert!(is_luhn(&samordningsnummer(born, true)));
        assert_eq!(reservnummer(born, 3).len(), 12);
        assert!(reservnummer(born, 3).starts_with("22780404"));
        assert_eq!(regional(1), "GRV204037");
    }
}
