use proptest::prelude::*;

use crate::corpus::{Piece, cases, cut_all};

/// A change to a log: where (in thousandths), how many bytes go, what comes instead.
type Change = (usize, usize, Vec<u8>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let signs = prop_oneof![
        Just(b"\"".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"{".to_vec()),
        Just(b"}".to_vec()),
        Just(b"<".to_vec()),
        Just(b"</log>".to_vec()),
        Just(b"<log>".to_vec()),
        Just(b"<85>1 ".to_vec()),
        Just(b"12 <85>1 ".to_vec()),
        Just(b"<!--".to_vec()),
        Just(b"<![CDATA[".to_vec()),
        Just(b"&lt;".to_vec()),
        Just(b"\\".to_vec()),
        Just(b";\"".to_vec()),
        Just(b"\n{\"resourceType\":\"Bundle\",\"entry\":[".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec((0usize..1000, 0usize..40, signs), 0..4)
}

fn changed(log: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut log = log.to_vec();
    for (place, gone, new) in changes {
        let at = log.len() * place / 1000;
        log.splice(at..(at + gone).min(log.len()), new.iter().copied());
    }
    log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(600), ..ProptestConfig::default() })]

    #[test]
    fn records_are_the_same_however_the_bytes_arrive(
        which in 0usize..1000, changes in changes(), chunks in proptest::collection::vec(1usize..700, 1..20), seen in 0usize..2000,
    ) {
        let cases = cases();
        let case = &cases[which % cases.len()];
        let log = changed(&case.log, &changes);
        let Ok(mut whole) = case.format.open(&log) else { return Ok(()) };
        let expected = cut_all(&mut whole, &log, 0, || usize::MAX / 2);
        // A reader that saw only a part of the head when it opened the file.
        let Ok(mut parted) = case.format.open(&log[..seen.min(log.len())]) else { return Ok(()) };
        let mut sizes = chunks.iter().copied().cycle();
        let pieces = cut_all(&mut parted, &log, 0, || sizes.next().unwrap_or(1));
        prop_assert_eq!(&pieces, &expected, "{}", case.name);
        for piece in &expected {
            if let Piece::Record { offset, len } = piece {
                let bytes = &log[*offset..offset + len];
                prop_assert_eq!(whole.parse(bytes), parted.parse(bytes));
            }
        }
    }

    #[test]
    fn reading_goes_on_from_any_boundary(which in 0usize..1000, changes in changes(), back in 0usize..1000) {
        let cases = cases();
        let case = &cases[which % cases.len()];
        let log = changed(&case.log, &changes);
        let Ok(mut reader) = case.format.open(&log) else { return Ok(()) };
        let pieces = cut_all(&mut reader, &log, 0, || usize::MAX / 2);
        if pieces.is_empty() {
            return Ok(());
        }
        let at = back % pieces.len();
        let boundary = pieces[at].end();
        let mut resumed = case.format.open(&log).unwrap();
        let rest = cut_all(&mut resumed, &log, boundary, || 97);
        prop_assert_eq!(&rest[..], &pieces[at + 1..], "{}", case.name);
    }

    #[test]
    fn no_byte_is_gone_whatever_is_changed(which in 0usize..1000, changes in changes()) {
        let cases = cases();
        let case = &cases[which % cases.len()];
        case.source.check(&changed(&case.log, &changes));
    }

    #[test]
    fn any_bytes_are_read_without_panic(which in 0usize..1000, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let cases = cases();
        let case = &cases[which % cases.len()];
        let Ok(mut reader) = case.format.open(&bytes) else { return Ok(()) };
        for piece in cut_all(&mut reader, &bytes, 0, || 7) {
            if let Piece::Record { offset, len } = piece {
                let _ = reader.parse(&bytes[offset..offset + len]);
            }
        }
        let _ = reader.parse(&bytes);
    }
}

#[test]
fn a_partial_last_record_waits() {
    for case in cases() {
        let Ok(mut reader) = case.format.open(&case.log) else { continue };
        let pieces = cut_all(&mut reader, &case.log, 0, || usize::MAX / 2);
        let Some(Piece::Record { offset, len }) =
            pieces.iter().rev().find(|p| matches!(p, Piece::Record { .. }))
        else {
            continue;
        };
        // Half of it, and not the end.
        let half = &case.log[*offset..offset + len / 4 * 2];
        let cut = reader.cut(half, *offset as u64, false);
        assert!(
            matches!(cut, insyn_formats::Cut::More | insyn_formats::Cut::Skip { .. }),
            "{}: {cut:?}",
            case.name
        );
    }
}
