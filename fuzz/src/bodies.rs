//! One body for each target.

use std::sync::LazyLock;

use insyn_event::{PersonalNumberKind, hsa_id, is_valid, normalise};
use insyn_formats::guess::{guess, source_block};
use insyn_formats::{FieldRule, Format, FormatConfig, FormatName, spool};

use super::reading::{Piece, Source, cut_all, parse};
use super::within;

/// A body that reads a log as each of these sources would.
macro_rules! log_of {
    ($($name:ident: $($config:expr),+;)*) => {$(
        pub fn $name(log: &[u8]) {
            static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| vec![$(Source::new($config)),+]);
            SOURCES.iter().for_each(|source| source.check(log));
        }
    )*};
}

/// The configuration of one of the formats' own cases.
macro_rules! case {
    ($name:literal) => {
        include_str!(concat!("../../ingest/formats/tests/data/", $name, "/source.toml"))
    };
}

log_of! {
    fhir: "format = \"fhir-audit-event\"";
    rivta: "format = \"rivta-log\"", "format = \"rivta-log\"\nencoding = \"windows-1252\"";
    dicom: "format = \"dicom-audit\"";
    delimited: case!("delimited-windows-1252"), case!("delimited-utf16"), case!("delimited-wrong-encoding"),
        "format = \"delimited\"\nquote = \"\"\ncolumns = [\"a\", \"b\"]\nfields = { occurred_at = \"a\", subject_id = \"b\" }";
    pattern: case!("pattern-portal"), case!("pattern-multi-line");
    json: case!("json-lines"), "format = \"json\"\nencoding = \"utf-16be\"\nfields = { occurred_at = \"/t\" }";
}

/// What was received comes out of the spool as it went in; a file of the spool may hold anything after its first line.
pub fn spool(data: &[u8]) {
    static SOURCE: LazyLock<Source> = LazyLock::new(|| Source::new(case!("json-lines")));
    SOURCE.check(&[&spool::header("fuzz-1"), data].concat());
    let records: Vec<&[u8]> = data.split(|byte| *byte == 0xFF).filter(|record| !record.is_empty()).collect();
    let mut file = spool::header("fuzz-1");
    let mut expected = Vec::new();
    for record in records {
        let refused = (record.len() % 3 == 0).then_some("refused");
        let (offset, len) = (spool::push(&mut file, record, refused), record.len());
        assert_eq!(&file[offset..offset + len], record);
        expected.push(match refused {
            Some(why) => Piece::Bad { offset, len, why: why.to_owned() },
            None => Piece::Record { offset, len },
        });
    }
    let mut reader = SOURCE.format.open(&file).expect("the spool's own file");
    assert_eq!(cut_all(&mut reader, &file, 0, || data.len() / 8), expected);
}

/// Messages of a stream are the same however it arrives; between them stand only counts and blanks.
pub fn octets(stream: &[u8]) {
    use insyn_formats::octets::{Piece, cut};
    let all = |seen: &dyn Fn(usize) -> usize| {
        let (mut at, mut end, mut messages) = (0, seen(0), Vec::new());
        loop {
            match cut(&stream[at..end]) {
                Piece::Message { skip, len } => {
                    let between = &stream[at..at + skip];
                    assert!(between.iter().all(|byte| b"\n\r \x000123456789".contains(byte)), "{between:?}");
                    messages.push((at + skip, len));
                    assert!(skip + len > 0);
                    at += skip + len;
                }
                Piece::More if end < stream.len() => end = seen(end),
                Piece::More => return (messages, false),
                Piece::Lost(_) => return (messages, true),
            }
        }
    };
    let whole = all(&|_| stream.len());
    assert_eq!(all(&|end| (end + 1).min(stream.len())), whole);
    assert_eq!(all(&|end| (end * 2 + 3).min(stream.len())), whole);
}

/// The text of a record, encoded again, gives its bytes.
pub fn encoding(data: &[u8]) {
    const BEGINS: &str = "2026-08-31T05:07:37Z ";
    type Encode = fn(&str) -> Vec<u8>;
    const ENCODINGS: [(&str, Encode); 6] = [
        ("utf-8", |text| text.as_bytes().to_vec()),
        ("iso-8859-1", |text| text.chars().map(|c| u8::try_from(u32::from(c)).expect("one byte")).collect()),
        ("iso-8859-15", |text| encoding_rs::ISO_8859_15.encode(text).0.into_owned()),
        ("windows-1252", |text| encoding_rs::WINDOWS_1252.encode(text).0.into_owned()),
        ("utf-16le", |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16be", |text| text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ];
    static FORMATS: LazyLock<Vec<(Format, Encode)>> = LazyLock::new(|| {
        let format = |name| {
            let pattern = r"(?s)^(?P<occurred_at>\S+) (?P<user_name>.*)$";
            Source::new(&format!("format = \"pattern\"\npattern = '{pattern}'\nencoding = \"{name}\"")).format
        };
        ENCODINGS.into_iter().map(|(name, encode)| (format(name), encode)).collect()
    });
    for (format, encode) in FORMATS.iter() {
        let record = [encode(BEGINS), data.to_vec()].concat();
        if let Ok(rows) = parse(&format.received(), &record) {
            let text = rows[0].record.as_deref().unwrap_or_default();
            assert!(encode(text) == record, "{text:?} is not what {record:?} says");
        }
    }
}

/// The first line is a way of writing times, the rest a time.
pub fn time(data: &[u8]) {
    const STYLES: [Option<&str>; 6] = [
        None,
        Some("unix"),
        Some("unix_ms"),
        Some("%Y-%m-%d %H:%M:%S%z"),
        Some("%d/%b/%Y:%H:%M:%S %z"),
        Some("%y%m%d"),
    ];
    static FORMATS: LazyLock<Vec<Format>> =
        LazyLock::new(|| STYLES.iter().filter_map(|style| timed(*style)).collect());
    let text = String::from_utf8_lossy(data);
    let (style, written) = text.split_once('\n').unwrap_or(("", &text));
    for format in FORMATS.iter().chain(&timed(Some(style).filter(|style| !style.is_empty()))) {
        let Some((micros, _)) = read_time(format, written) else { continue };
        let at = chrono::DateTime::from_timestamp_micros(micros).expect("a time that there is");
        let iso = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        if iso.len() == "2026-08-31T05:07:37.000000Z".len() {
            assert_eq!(read_time(&FORMATS[0], &iso), Some((micros, false)), "{written:?} is {iso}");
        }
    }
    // What chrono reads too is the same time. A leap second is not, and so far east and west is nobody.
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(written)
        && let Some((micros, ambiguous)) = read_time(&FORMATS[0], written)
        && !written.contains(":60")
    {
        assert_eq!((micros, ambiguous), (at.timestamp_micros(), false), "{written:?}");
    }
}

fn timed(style: Option<&str>) -> Option<Format> {
    let mut config = FormatConfig::new(FormatName::Json);
    let rule = FieldRule { column: "/t".to_owned(), ..FieldRule::default() };
    config.fields.insert("occurred_at".to_owned(), rule);
    config.time_format = style.map(str::to_owned);
    Format::compile(&config, chrono_tz::Europe::Stockholm).ok()
}

fn read_time(format: &Format, written: &str) -> Option<(i64, bool)> {
    let record = serde_json::json!({ "t": written }).to_string();
    let rows = parse(&format.received(), record.as_bytes()).ok()?;
    Some((rows[0].occurred_at, rows[0].time_ambiguous.expect("it is told")))
}

/// A guess is a configuration that can be written down, and whose source reads the log.
pub fn guess_of(head: &[u8]) {
    let Some(guess) = within(head.len(), || guess(head)) else { return };
    let block = source_block(&guess.config, "guessed", "logs/*");
    let mut read: toml::Table = block.parse().unwrap_or_else(|error| panic!("{error}: {block:?}"));
    let source = read["source"].as_array_mut().expect("a list of sources").remove(0);
    assert_eq!(source.try_into::<FormatConfig>().as_ref(), Ok(&guess.config), "{block:?}");
    match Format::compile(&guess.config, chrono_tz::Europe::Stockholm) {
        Ok(format) => Source { config: guess.config, format }.check(head),
        Err(error) => assert_eq!(error.key, "fields.occurred_at", "{error}"),
    }
}

/// The first line is the number, the second its issuer.
pub fn personal_number(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (written, issuer) = text.split_once('\n').unwrap_or((&text, ""));
    assert_eq!(hsa_id(&hsa_id(written)), hsa_id(written));
    for at in [i64::MIN, -1, 0, 1_788_152_857_000_000, i64::MAX] {
        for issuer in [None, Some(issuer)] {
            let number = within(data.len(), || normalise(written, issuer, at));
            let again = normalise(&number.id, number.id_type.as_deref(), at);
            match number.kind {
                // As it was written, but for what stands around it.
                PersonalNumberKind::Other | PersonalNumberKind::Reservnummer => {}
                kind => assert!(
                    is_valid(&number.id) && (again.kind, &again.id) == (kind, &number.id),
                    "{written:?} is {number:?}"
                ),
            }
        }
    }
}
