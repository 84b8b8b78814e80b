//! What log files go through, one thing at a time.

use super::world::{DELIMITED, HEADER, JSON, JUST_NOW, LATER, World, json, once, packed, row, times};

#[tokio::test]
async fn a_renamed_file_goes_on_and_its_successor_begins() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &json("1"));
    world.ingest(JUST_NOW).await;
    world.append("a", &json("2"));
    world.rename("a", "a.1");
    world.append("a", &json("3"));
    world.ingest(JUST_NOW).await;
    world.restart();
    world.append("a.1", &json("4"));
    world.ingest(JUST_NOW).await;
    assert_eq!(world.events().await, once(["1", "2", "3", "4"]));
    assert_eq!(world.files().await, 2);
}

#[tokio::test]
async fn a_packed_file_is_the_plain_one_also_while_both_lie_there() {
    for ending in ["gz", "zst", "xz"] {
        let mut world = World::new(JSON, "read").await;
        let lines: String = (0..3000).map(|n| json(&n.to_string())).collect();
        world.append("a.1", &lines);
        world.ingest(JUST_NOW).await;
        world.pack_in_parts("a.1", ending).await;
        world.remove("a.1");
        world.ingest(LATER).await;
        let events = world.events().await;
        assert_eq!((events.len(), events.values().max()), (3000, Some(&1)), "{ending}");
    }
}

#[tokio::test]
async fn a_packed_file_that_arrives_in_parts_is_read_as_it_comes() {
    let mut world = World::new(JSON, "read").await;
    let source = World::new(JSON, "read").await;
    let lines: String = (0..30_000).map(|n| json(&format!("{n}-{}", n * n % 9973))).collect();
    source.append("b", &lines);
    let (_, bytes) = packed(&source.path("b"), "gz");
    for part in [bytes.len() / 2, bytes.len() - 4, bytes.len()] {
        std::fs::write(world.path("b.gz"), &bytes[..part]).unwrap();
        world.ingest(LATER).await;
    }
    let events = world.events().await;
    assert_eq!((events.len(), events.values().max()), (30_000, Some(&1)));
    assert_eq!((world.gaps().await, world.quarantine().await.len()), (0, 0));
}

#[tokio::test]
async fn a_packed_file_that_stays_cut_short_is_a_gap() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &(0..3000).map(|n| json(&n.to_string())).collect::<String>());
    let (path, bytes) = packed(&world.path("a"), "gz");
    world.remove("a");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    world.ingest(LATER).await;
    assert_eq!(world.gaps().await, 0, "it may still be on its way");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    world.ingest(LATER).await;
    world.ingest(LATER).await;
    assert_eq!(world.gaps().await, 1);
    assert!(world.events().await.len() > 100, "what is whole is kept");
}

#[tokio::test]
async fn copy_and_truncate_doubles_nothing() {
    for look_between in [false, true] {
        let mut world = World::new(JSON, "read").await;
        world.append("a", &(json("1") + &json("2")));
        world.ingest(JUST_NOW).await;
        world.append("a", &json("3"));
        let whole = std::fs::read(world.path("a")).unwrap();
        if look_between {
            std::fs::write(world.path("a.1"), &whole[..whole.len() / 2]).unwrap();
            world.ingest(JUST_NOW).await;
            std::fs::write(world.path("a.1"), &whole).unwrap();
            world.ingest(JUST_NOW).await;
        } else {
            std::fs::write(world.path("a.1"), &whole).unwrap();
        }
        std::fs::File::options().write(true).open(world.path("a")).unwrap().set_len(0).unwrap();
        world.append("a", &json("4"));
        world.ingest(JUST_NOW).await;
        world.restart();
        world.ingest(LATER).await;
        assert_eq!(world.events().await, once(["1", "2", "3", "4"]));
        assert_eq!(world.gaps().await, 0);
    }
}

#[tokio::test]
async fn a_file_rewritten_in_place_to_the_same_length_is_a_new_one() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &json("1"));
    world.ingest(LATER).await;
    std::fs::write(world.path("a"), json("2")).unwrap();
    world.restart();
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(["1", "2"]));
    assert_eq!(world.files().await, 2);
}

#[tokio::test]
async fn two_rotations_while_down_lose_nothing() {
    let mut world = World::new(DELIMITED, "read").await;
    world.append("a", &format!("{HEADER}{}", row("1")));
    world.ingest(JUST_NOW).await;
    world.append("a", &row("2"));
    world.rename("a", "a.1");
    world.append("a", &format!("{HEADER}{}", row("3")));
    world.rename("a.1", "a.2");
    world.rename("a", "a.1");
    world.append("a", &format!("{HEADER}{}", row("4")));
    world.restart();
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(["1", "2", "3", "4"]));
}

#[tokio::test]
async fn files_with_equal_headers_are_told_apart() {
    let mut world = World::new(DELIMITED, "skip").await;
    for name in ["a", "b", "c"] {
        world.append(name, HEADER);
    }
    world.ingest(LATER).await;
    for name in ["a", "b", "c"] {
        world.append(name, &row(name));
        world.ingest(LATER).await;
    }
    assert_eq!(world.events().await, once(["a", "b", "c"]));
}

#[tokio::test]
async fn identical_lines_and_a_number_used_again_are_kept() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &json("1").repeat(3));
    world.ingest(JUST_NOW).await;
    world.remove("a");
    world.append("a", &json("1").repeat(2));
    world.append("a", &json("2"));
    world.restart();
    world.ingest(LATER).await;
    assert_eq!(world.events().await["2"], 1);
    assert_eq!(world.events().await["1"], 5);
}

#[tokio::test]
async fn a_copy_that_stays_is_read_or_skipped_as_configured_and_never_in_silence() {
    for (copies, n) in [("read", 2), ("skip", 1)] {
        let mut world = World::new(JSON, copies).await;
        world.append("a", &(json("1") + &json("2")));
        world.ingest(JUST_NOW).await;
        std::fs::copy(world.path("a"), world.path("b")).unwrap();
        assert_eq!(world.ingest(JUST_NOW).await.events, 0, "it may become the successor");
        world.ingest(LATER).await;
        assert_eq!(world.events().await, times(n, ["1", "2"]));
        let reader = world.reader().await.settling(LATER);
        assert_eq!(reader.unread().copies, [(world.path("b"), world.path("a"))]);
        // What the copy has beyond the original is no copy.
        world.append("b", &json("3"));
        world.restart();
        world.ingest(LATER).await;
        assert_eq!(world.events().await["3"], 1);
        assert_eq!(world.events().await["1"], n);
    }
}

#[tokio::test]
async fn a_half_line_waits_for_its_end_or_for_its_file_to_be_moved_away() {
    let mut world = World::new(JSON, "read").await;
    let line = json("1");
    world.append("a", &line[..10]);
    world.ingest(LATER).await;
    world.append("a", &line[10..]);
    world.append("a", &json("2").trim_end()[..20]);
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(["1"]));
    world.rename("a", "a.1");
    world.ingest(JUST_NOW).await;
    assert_eq!(world.quarantine().await.len(), 0, "it was written to a moment ago");
    world.ingest(LATER).await;
    assert_eq!(world.quarantine().await, once([&json("2")[..20]]));
}

#[tokio::test]
async fn what_is_removed_before_it_was_read_is_a_gap() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &(json("1") + "{\"id\":"));
    world.ingest(JUST_NOW).await;
    world.remove("a");
    world.ingest(JUST_NOW).await;
    assert_eq!(world.gaps().await, 0, "it may be on its way elsewhere");
    world.ingest(LATER).await;
    world.restart();
    world.ingest(LATER).await;
    assert_eq!(world.gaps().await, 1);
}

#[tokio::test]
async fn a_batch_that_was_read_and_not_committed_is_read_again() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &(json("1") + "broken\n"));
    let turn = world.crash(JUST_NOW).await;
    assert_eq!((turn.batch.events.len(), turn.batch.quarantine.len()), (1, 1));
    world.rename("a", "z");
    world.append("a", &json("2"));
    world.ingest(JUST_NOW).await;
    assert_eq!(world.events().await, once(["1", "2"]));
    assert_eq!(world.quarantine().await, once(["broken\n"]));
}

#[tokio::test]
async fn a_record_too_long_to_hold_is_a_gap_with_its_beginning_in_quarantine() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &json("1"));
    world.append("a", &format!("{{\"id\":\"{}\"}}\n", "x".repeat(40 << 20)));
    world.append("a", &json("2"));
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(["1", "2"]));
    assert_eq!(world.gaps().await, 1);
    let quarantine = world.quarantine().await;
    assert_eq!((quarantine.len(), quarantine.keys().next().unwrap().len()), (1, 64 << 10));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_stops_no_other() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new(JSON, "read").await;
    world.append("a", &json("1"));
    world.append("b", &json("2"));
    std::fs::set_permissions(world.path("a"), std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(world.path("a")).is_ok() {
        // Root reads everything; a folder in a file's place fails for everybody.
        world.remove("a");
        std::os::unix::fs::symlink("a", world.path("a")).unwrap();
        world.ingest(LATER).await;
        assert_eq!(world.events().await, once(["2"]));
        return;
    }
    let report = world.ingest(LATER).await;
    assert_eq!(report.faults.len(), 1);
    assert_eq!(world.events().await, once(["2"]));
    std::fs::set_permissions(world.path("a"), std::fs::Permissions::from_mode(0o600)).unwrap();
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(["1", "2"]));
}

/// Small files of one system begin alike for a while; each pair that is compared whole costs two files opened.
#[tokio::test]
async fn thousands_of_small_files_are_told_apart_by_how_they_begin() {
    let mut world = World::new(JSON, "read").await;
    for n in 0..2000 {
        let lines: String = (0..1 + n % 7).map(|line| json(&format!("{n}-{line}"))).collect();
        world.append(&format!("{n}"), &lines);
    }
    let turn = world.crash(JUST_NOW).await;
    assert_eq!(turn.compared, 0);
    world.ingest(JUST_NOW).await;
    assert_eq!((world.events().await.len(), world.files().await), (2000 / 7 * 28 + 15, 2000));
    world.restart();
    assert_eq!(world.crash(JUST_NOW).await.compared, 0, "each lies where it lay");
}
