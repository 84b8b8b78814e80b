//! Personal identity numbers as access logs write them, brought to one form.
//!
//! A record is traced by the person's number, and systems write that number in a dozen ways: ten or twelve digits,
//! with a dash, a plus for whoever is over a hundred, with an OID before it, or inside an HL7 identifier
//! (`number^^^authority&oid&ISO`). [`normalise`] reads them all; what it does not recognise it keeps as written.

/// Issuers of numbers for persons, by OID. Source: the RIV-TA service contracts and the Swedish FHIR base profiles.
pub mod oid {
    /// Skatteverket: personnummer.
    pub const PERSONNUMMER: &str = "1.2.752.129.2.1.3.1";
    /// Skatteverket: samordningsnummer.
    pub const SAMORDNINGSNUMMER: &str = "1.2.752.129.2.1.3.3";
    /// Inera: nationellt reservnummer (NRID).
    pub const RESERVNUMMER_NATIONAL: &str = "1.2.752.74.9.1";
    /// Carelink: reservnummer by V-TIM.
    pub const RESERVNUMMER_CARELINK: &str = "1.2.752.129.2.1.3.2";
    /// Region Stockholm: reservnummer.
    pub const RESERVNUMMER_STOCKHOLM: &str = "1.2.752.97.3.1.3";
    /// Västra Götalandsregionen: reservnummer.
    pub const RESERVNUMMER_VASTRA_GOTALAND: &str = "1.2.752.113.11.0.2.1.1.1";
    /// Inera: HSA-id of staff and units. Not a number for a person, but it stands where one is expected.
    pub const HSA_ID: &str = "1.2.752.129.2.1.4.1";
}

/// FHIR identifier systems of the Swedish base profiles, with the OID that means the same.
const SYSTEMS: &[(&str, &str)] = &[
    ("http://electronichealth.se/identifier/personnummer", oid::PERSONNUMMER),
    ("http://electronichealth.se/identifier/samordningsnummer", oid::SAMORDNINGSNUMMER),
    ("http://electronichealth.se/identifier/nationelltreservnummer", oid::RESERVNUMMER_NATIONAL),
];

/// What sort of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PersonalNumberKind {
    /// A personnummer with a date that exists and a right check digit.
    Personnummer,
    /// The same with 60 added to the day.
    Samordningsnummer,
    /// A temporary number, national or regional: letters kept, upper case, no separators, no check digit.
    Reservnummer,
    /// None of these; the number is as it was written.
    Other,
}

/// A number in Insyn's form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PersonalNumber {
    /// Twelve digits for a personnummer or samordningsnummer, upper case without separators for a reservnummer, as
    /// written otherwise.
    pub id: String,
    /// The issuer's OID or name: as the record gave it, else the one that the number itself tells.
    pub id_type: Option<String>,
    /// What sort it is.
    pub kind: PersonalNumberKind,
}

/// Brings a number to Insyn's form.
///
/// `written` is as in the log; an issuer inside it (`urn:oid:…`, `system|number`, `number^^^&oid&ISO`) counts unless
/// `issuer` is given. `at` is the time of the event in µs since 1970 UTC: a number of ten digits belongs to the
/// youngest person that could have had it that day, or with `+` to one who turned a hundred that year or before.
pub fn normalise(written: &str, issuer: Option<&str>, at: i64) -> PersonalNumber {
    let (number, inner) = split_issuer(written.trim());
    let issuer = issuer.map(str::trim).filter(|i| !i.is_empty()).or(inner).map(clean_issuer);
    let temporary = issuer.as_deref().is_some_and(issues_temporary);
    if !temporary && let Some((id, kind)) = civic(number, at) {
        let own =
            if kind == PersonalNumberKind::Personnummer { oid::PERSONNUMMER } else { oid::SAMORDNINGSNUMMER };
        return PersonalNumber { id, id_type: Some(issuer.unwrap_or_else(|| own.to_string())), kind };
    }
    if (temporary || looks_temporary(number)) && number.chars().any(char::is_alphanumeric) {
        let id = number.chars().filter(|c| !is_separator(*c)).flat_map(char::to_uppercase).collect();
        return PersonalNumber { id, id_type: issuer, kind: PersonalNumberKind::Reservnummer };
    }
    PersonalNumber { id: number.to_string(), id_type: issuer, kind: PersonalNumberKind::Other }
}

/// True for twelve digits that are a personnummer or samordningsnummer: a date that exists in the years 1800 to 2099
/// (60 more in the day for the latter) and a right check digit.
pub fn is_valid(id: &str) -> bool {
    twelve_digits(id).is_some_and(|d| kind_of(&d).is_some())
}

/// The number and the issuer that stands in the same text.
fn split_issuer(text: &str) -> (&str, Option<&str>) {
    // HL7 v2 CX: number^check^scheme^namespace&oid&type^kind.
    if let Some((number, rest)) = text.split_once('^') {
        let authority = rest.split('^').nth(2).unwrap_or("");
        let mut parts = authority.split('&').map(str::trim);
        let namespace = parts.next().filter(|p| !p.is_empty());
        let universal = parts.next().filter(|p| !p.is_empty());
        // Some write the OID first and the number behind a single caret.
        if authority.is_empty() && is_oid(strip_urn(number)) && !rest.starts_with('^') {
            return (rest.split('^').next().unwrap_or(rest).trim(), Some(number));
        }
        return (number.trim(), universal.or(namespace));
    }
    if let Some((system, number)) = text.rsplit_once('|')
        && !number.trim().is_empty()
    {
        return (number.trim(), Some(system.trim()).filter(|s| !s.is_empty()));
    }
    let bare = strip_urn(text);
    for separator in [':', '/', '#', ' '] {
        if let Some((system, number)) = bare.split_once(separator)
            && is_oid(system)
            && !number.trim().is_empty()
        {
            return (number.trim(), Some(system));
        }
    }
    // `urn:oid:1.2.752.129.2.1.3.1.191212121212`: the number as the OID's last arc.
    if let Some((system, number)) = bare.rsplit_once('.')
        && is_oid(system)
        && number.len() >= 10
    {
        return (number, Some(system));
    }
    (text, None)
}

fn strip_urn(text: &str) -> &str {
    match text.get(..8) {
        Some(head) if head.eq_ignore_ascii_case("urn:oid:") => &text[8..],
        _ => text,
    }
}

/// Digits and dots, four arcs or more: shorter ones are more likely a date or a decimal number.
fn is_oid(text: &str) -> bool {
    text.split('.').count() >= 4
        && text.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
}

fn clean_issuer(issuer: &str) -> String {
    let bare = strip_urn(issuer);
    let known = SYSTEMS.iter().find(|(system, _)| bare.trim_end_matches('/').eq_ignore_ascii_case(system));
    known.map_or(bare, |(_, oid)| oid).to_string()
}

/// Every Swedish issuer of person ids but Skatteverket issues temporary numbers; abroad and elsewhere only a name that
/// says so.
fn issues_temporary(issuer: &str) -> bool {
    if issuer == oid::PERSONNUMMER || issuer == oid::SAMORDNINGSNUMMER {
        return false;
    }
    if issuer.starts_with("1.2.752.") && issuer != oid::HSA_ID {
        return true;
    }
    issuer.to_lowercase().contains("reserv")
}

fn is_separator(c: char) -> bool {
    matches!(c, '-' | '+' | ' ' | '\u{a0}' | '\u{2010}' | '\u{2011}' | '\u{2012}' | '\u{2013}' | '\u{2212}')
}

/// Six or eight digits, then four signs of which one at least is a letter: `25780404KHD5`, `22950606-FH20`.
fn looks_temporary(number: &str) -> bool {
    let mut signs = [0u8; 12];
    let mut len = 0;
    for (place, c) in number.chars().enumerate() {
        if is_separator(c) && (place == 6 || place == 8) {
            continue;
        }
        if !c.is_ascii_alphanumeric() || len == 12 {
            return false;
        }
        signs[len] = c as u8;
        len += 1;
    }
    let digits = match len {
        10 => 6,
        12 => 8,
        _ => return false,
    };
    signs[..digits].iter().all(u8::is_ascii_digit) && signs[digits..len].iter().any(u8::is_ascii_alphabetic)
}

/// A personnummer or samordningsnummer as twelve digits.
fn civic(number: &str, at: i64) -> Option<(String, PersonalNumberKind)> {
    let mut digits = [0u8; 12];
    let mut len = 0;
    let mut separator = None;
    for c in number.chars() {
        if c.is_ascii_digit() {
            if len == 12 {
                return None;
            }
            digits[len] = c as u8 - b'0';
            len += 1;
        } else if is_separator(c) && separator.is_none() {
            separator = Some((len, c));
        } else {
            return None;
        }
    }
    // A separator stands before the last four digits and nowhere else, but for a blank after the century.
    if separator.is_some_and(|(place, c)| place + 4 != len && !(place == 2 && len == 12 && c == ' ')) {
        return None;
    }
    match len {
        12 => {}
        10 => {
            let over_hundred = separator.is_some_and(|(_, c)| c == '+');
            digits.copy_within(..10, 2);
            let century = century(&digits, at, over_hundred)?;
            digits[0] = century / 10;
            digits[1] = century % 10;
        }
        _ => return None,
    }
    let kind = kind_of(&digits)?;
    Some((digits.iter().map(|d| char::from(b'0' + d)).collect(), kind))
}

/// The latest century in which the person was born by the day of the event.
fn century(digits: &[u8; 12], at: i64, over_hundred: bool) -> Option<u8> {
    let year_of_century = i64::from(digits[2]) * 10 + i64::from(digits[3]);
    let month = i64::from(digits[4]) * 10 + i64::from(digits[5]);
    let day = day_of(digits);
    let today = swedish_date(at);
    let mut year = today.0.div_euclid(100) * 100 + year_of_century;
    if over_hundred {
        while year > today.0 - 100 {
            year -= 100;
        }
    } else if (year, month, day) > today {
        year -= 100;
    }
    u8::try_from(year.div_euclid(100)).ok()
}

fn day_of(digits: &[u8; 12]) -> i64 {
    let day = i64::from(digits[6]) * 10 + i64::from(digits[7]);
    if day > 60 { day - 60 } else { day }
}

/// The date in Sweden. Two hours ahead of UTC is summer time; in winter it calls the last hour of a day the next day,
/// which errs only on the day of birth.
fn swedish_date(at: i64) -> (i64, i64, i64) {
    let days = at.saturating_add(2 * 3_600_000_000).div_euclid(86_400_000_000);
    // Howard Hinnant's days-to-civil, with years that begin in March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn kind_of(digits: &[u8; 12]) -> Option<PersonalNumberKind> {
    let pair = |i: usize| u32::from(digits[i]) * 10 + u32::from(digits[i + 1]);
    let (century, month, day) = (pair(0), pair(4), pair(6));
    let year = century * 100 + pair(2);
    let (day, kind) = if day > 60 {
        (day - 60, PersonalNumberKind::Samordningsnummer)
    } else {
        (day, PersonalNumberKind::Personnummer)
    };
    let right = (18..=20).contains(&century)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && luhn(&digits[2..]);
    right.then_some(kind)
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The check of the last ten digits: every other one doubled from the first, the sum of all digits ends in 0.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .enumerate()
        .map(|(i, d)| u32::from(*d) * if i % 2 == 0 { 2 } else { 1 })
        .map(|d| d / 10 + d % 10)
        .sum();
    sum.is_multiple_of(10)
}

fn twelve_digits(id: &str) -> Option<[u8; 12]> {
    let bytes: [u8; 12] = id.as_bytes().try_into().ok()?;
    bytes.iter().all(u8::is_ascii_digit).then(|| bytes.map(|b| b - b'0'))
}

#[cfg(test)]
#[path = "personal_number_tests.rs"]
mod tests;
