#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

/// 2026-08-31 12:00 UTC.
const NOW: i64 = 1_788_177_600_000_000;

#[track_caller]
fn check(written: &str, issuer: Option<&str>, id: &str, id_type: Option<&str>, kind: PersonalNumberKind) {
    let number = normalise(written, issuer, NOW);
    assert_eq!(
        (number.id.as_str(), number.id_type.as_deref(), number.kind),
        (id, id_type, kind),
        "{written}"
    );
}

#[test]
fn personnummer_in_every_way_of_writing() {
    use PersonalNumberKind::Personnummer;
    let oid = Some(oid::PERSONNUMMER);
    for written in [
        "191212121212",
        "19121212-1212",
        "19121212+1212",
        "121212+1212",
        " 19121212 1212 ",
        "19121212–1212",
        "191212121212^^^&1.2.752.129.2.1.3.1&ISO",
        "19121212-1212^^^&1.2.752.129.2.1.3.1&ISO^PI",
        "191212121212^^^SKV&1.2.752.129.2.1.3.1&ISO",
        "191212121212^^^",
        "1.2.752.129.2.1.3.1^191212121212",
        "1.2.752.129.2.1.3.1:191212121212",
        "1.2.752.129.2.1.3.1/191212121212",
        "1.2.752.129.2.1.3.1#19121212-1212",
        "urn:oid:1.2.752.129.2.1.3.1:191212121212",
        "urn:oid:1.2.752.129.2.1.3.1|19121212-1212",
        "URN:OID:1.2.752.129.2.1.3.1.191212121212",
        "http://electronichealth.se/identifier/personnummer|191212121212",
    ] {
        check(written, None, "191212121212", oid, Personnummer);
    }
    check("121212-1212", None, "201212121212", oid, Personnummer);
    check("121212-1212", Some("urn:oid:1.2.752.129.2.1.3.1"), "201212121212", oid, Personnummer);
    check("191212121212", Some("MPI"), "191212121212", Some("MPI"), Personnummer);
}

#[test]
fn samordningsnummer_has_sixty_more_in_the_day() {
    use PersonalNumberKind::Samordningsnummer;
    check("19701063-2391", None, "197010632391", Some(oid::SAMORDNINGSNUMMER), Samordningsnummer);
    check("701063-2391", None, "197010632391", Some(oid::SAMORDNINGSNUMMER), Samordningsnummer);
    assert!(is_valid("197010632391"));
}

#[test]
fn a_missing_century_is_judged_at_the_time_of_the_event() {
    // 2012-12-11 and 2012-12-13: the child is born in between.
    let day_before = 1_355_184_000_000_000;
    let day_after = 1_355_356_800_000_000;
    assert_eq!(normalise("121212-1212", None, day_before).id, "191212121212");
    assert_eq!(normalise("121212-1212", None, day_after).id, "201212121212");
    assert_eq!(normalise("1212121212", None, day_after).id, "201212121212");
    // A plus is written from the year in which one turns a hundred.
    assert_eq!(normalise("121212+1212", None, day_before).id, "191212121212");
    assert_eq!(normalise("121212+1212", None, 1_325_376_000_000_000 - 86_400_000_000).id, "181212121212");
}

#[test]
fn temporary_numbers_keep_their_letters() {
    use PersonalNumberKind::Reservnummer;
    check("25780404KHD5", None, "25780404KHD5", None, Reservnummer);
    check("22950606-fh20", None, "22950606FH20", None, Reservnummer);
    check("121212-T121", None, "121212T121", None, Reservnummer);
    let stockholm = Some("1.2.752.97.3.1.3");
    check("99 1234-56ab", Some("urn:oid:1.2.752.97.3.1.3"), "99123456AB", stockholm, Reservnummer);
    check("991234567890^^^&1.2.752.97.3.1.3&ISO", None, "991234567890", stockholm, Reservnummer);
    let system = "http://electronichealth.se/identifier/nationelltReservnummer";
    check("22950606-FH20", Some(system), "22950606FH20", Some(oid::RESERVNUMMER_NATIONAL), Reservnummer);
}

#[test]
fn what_is_none_of_these_is_kept_as_written() {
    use PersonalNumberKind::Other;
    check("191212121213", None, "191212121213", None, Other);
    check("19121212-1213", None, "19121212-1213", None, Other);
    check("121232-1212", None, "121232-1212", None, Other);
    check("19121312-1212", Some(oid::PERSONNUMMER), "19121312-1212", Some(oid::PERSONNUMMER), Other);
    check("pat-4711", None, "pat-4711", None, Other);
    check("27^^^MPI&2.16.840.1.113883.3&ISO^PI", None, "27", Some("2.16.840.1.113883.3"), Other);
    check("A|", None, "A|", None, Other);
    check("", None, "", None, Other);
    for id in ["", "19121212-1212", "1212121212", "191212121213", "171212121212", "19121212121２"] {
        assert!(!is_valid(id), "{id}");
    }
    assert!(is_valid("191212121212"));
}

/// All dates that exist from 1880 to 2030, found by counting days one by one.
fn calendar() -> Vec<(i64, i64, i64)> {
    let mut all = Vec::new();
    for year in 1880..=2030i64 {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in lengths.iter().enumerate() {
            all.extend((1..=*length).map(|day| (year, month as i64 + 1, day)));
        }
    }
    all
}

/// The check digit by trying all ten.
fn check_digit(nine: &str) -> u32 {
    (0..10)
        .find(|c| {
            let all = format!("{nine}{c}");
            let doubled = all.chars().enumerate().map(|(i, d)| {
                let n = d.to_digit(10).unwrap() * (2 - i as u32 % 2);
                if n > 9 { n - 9 } else { n }
            });
            doubled.sum::<u32>() % 10 == 0
        })
        .unwrap()
}

fn days_since_1970(date: (i64, i64, i64), calendar: &[(i64, i64, i64)]) -> i64 {
    let epoch = calendar.iter().position(|d| *d == (1970, 1, 1)).unwrap() as i64;
    calendar.iter().position(|d| *d == date).unwrap() as i64 - epoch
}

proptest! {
    #[test]
    fn ten_digits_find_the_century_that_brute_force_finds(
        born in 0usize..55_000, seen in 0usize..55_000, serial in 0u32..1000, coordination: bool, dash in 0usize..3,
    ) {
        let calendar = calendar();
        let (born, seen) = (calendar[born], calendar[seen]);
        let day = born.2 + if coordination { 60 } else { 0 };
        let nine = format!("{:02}{:02}{day:02}{serial:03}", born.0 % 100, born.1);
        let digit = check_digit(&nine);
        let sign = ["", "-", "+"][dash];
        let written = format!("{}{sign}{}{digit}", &nine[..6], &nine[6..]);
        // Noon UTC, so that the day is the same in Sweden.
        let at = days_since_1970(seen, &calendar) * 86_400_000_000 + 43_200_000_000;
        let same_numbers = |d: &&(i64, i64, i64)| d.0 % 100 == born.0 % 100 && d.1 == born.1;
        let year = (1700..=seen.0).rev()
            .find(|y| y % 100 == born.0 % 100
                && if dash == 2 { *y <= seen.0 - 100 } else { (*y, born.1, born.2) <= seen });
        let exists = year.is_some_and(|y| y >= 1800
            && (born.1 != 2 || born.2 != 29 || (y % 4 == 0 && y % 100 != 0) || y % 400 == 0));
        prop_assert!(calendar.iter().any(|d| same_numbers(&d)));
        let number = normalise(&written, None, at);
        if exists {
            let expected = format!("{:04}{:02}{day:02}{serial:03}{digit}", year.unwrap(), born.1);
            prop_assert_eq!(&number.id, &expected);
            prop_assert!(is_valid(&number.id));
            // What is normal stays so.
            prop_assert_eq!(normalise(&number.id, None, at), number);
        } else {
            prop_assert_eq!(number.id, written);
            prop_assert_eq!(number.kind, PersonalNumberKind::Other);
        }
    }

    #[test]
    fn twelve_digits_are_valid_as_brute_force_says(century in 17u32..22, rest in 0u64..10_000_000_000) {
        let id = format!("{century:02}{rest:010}");
        let date = (id[..4].parse::<i64>().unwrap(), id[4..6].parse::<i64>().unwrap(), id[6..8].parse::<i64>().unwrap());
        let day = if date.2 > 60 { date.2 - 60 } else { date.2 };
        let leap = (date.0 % 4 == 0 && date.0 % 100 != 0) || date.0 % 400 == 0;
        let last = [0, 31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let exists = (1..=12).contains(&date.1) && (1..=last[date.1.clamp(0, 12) as usize]).contains(&day);
        let right = (1800..2100).contains(&date.0) && exists && check_digit(&id[2..11]).to_string() == id[11..];
        prop_assert_eq!(is_valid(&id), right);
    }

    #[test]
    fn any_text_at_any_time_gives_something(text in "\\PC{0,40}", issuer in proptest::option::of("\\PC{0,20}"), at: i64) {
        let number = normalise(&text, issuer.as_deref(), at);
        if matches!(number.kind, PersonalNumberKind::Personnummer | PersonalNumberKind::Samordningsnummer) {
            prop_assert!(is_valid(&number.id));
        }
    }
}
