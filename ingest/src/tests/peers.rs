//! What other tailers lose or double, one case for each report that we know. The name of each begins with whose it is,
//! and its number there.

use super::world::{DELIMITED, HEADER, JSON, JUST_NOW, LATER, World, json, once, packed, row};

fn lines(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| json(&id.to_string())).collect()
}

/// A new file has the inode of one that is gone, and is shorter: its position is taken from the old one, and nothing is
/// read before it has grown past that.
#[tokio::test]
async fn vector_23076_a_number_of_an_inode_that_is_used_again() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &lines(0..100));
    world.ingest(JUST_NOW).await;
    // Written in place, so that the inode is the same for certain.
    std::fs::write(world.path("a"), lines(100..103)).unwrap();
    world.rename("a", "b");
    world.restart();
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(0..103));
}

/// The same at midnight: what a rotated log grew to is taken for the position in the one that begins.
#[tokio::test]
async fn fluent_bit_11455_a_position_beyond_what_the_file_has() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &lines(0..50));
    world.ingest(JUST_NOW).await;
    std::fs::write(world.path("a"), lines(50..60)).unwrap();
    world.ingest(JUST_NOW).await;
    world.restart();
    // It grows past where the old one was read to; what lies before that is not passed over.
    world.append("a", &lines(60..150));
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(0..150));
}

/// Files that were rotated while the tailer was down are passed over.
#[tokio::test]
async fn vector_22954_rotations_during_a_restart() {
    let mut world = World::new(DELIMITED, "read").await;
    world.append("a", &format!("{HEADER}{}", row("0")));
    world.ingest(JUST_NOW).await;
    world.append("a", &row("1"));
    for n in 2..7 {
        for older in (1..n).rev() {
            if world.path(&format!("a.{older}")).exists() {
                world.rename(&format!("a.{older}"), &format!("a.{}", older + 1));
            }
        }
        world.rename("a", "a.1");
        world.append("a", &format!("{HEADER}{}", row(&n.to_string())));
    }
    world.restart();
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(0..7));
}

/// It is rotated twice while it is still read: what lay between is never opened.
#[tokio::test]
async fn loki_14462_two_rotations_while_the_first_is_read() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &lines(0..60_000));
    world.turns(1).await;
    let read = world.events().await.len();
    assert!((1..60_000).contains(&read), "{read}");
    world.rename("a", "a.1");
    world.append("a", &lines(60_000..60_100));
    world.rename("a.1", "a.2");
    world.rename("a", "a.1");
    world.append("a", &lines(60_100..60_200));
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(0..60_200));
}

/// A partly read file turns up packed: the reader that was to go on in it reads nothing.
#[tokio::test]
async fn vector_a_partly_read_file_that_turns_up_packed() {
    for ending in ["gz", "zst", "xz"] {
        let mut world = World::new(JSON, "read").await;
        world.append("a", &json("1"));
        world.ingest(JUST_NOW).await;
        world.append("a", &json("2"));
        let (path, bytes) = packed(&world.path("a"), ending);
        std::fs::write(path, bytes).unwrap();
        world.remove("a");
        world.restart();
        world.ingest(JUST_NOW).await;
        world.ingest(LATER).await;
        assert_eq!(world.events().await, once(1..3), "{ending}");
        assert_eq!((world.files().await, world.gaps().await), (1, 0));
    }
}

/// Plain and packed files are both read: what is packed is sent a second time.
#[tokio::test]
async fn alloy_3193_a_packed_file_beside_the_plain_one() {
    for ending in ["gz", "zst", "xz"] {
        let mut world = World::new(JSON, "read").await;
        world.append("a", &lines(0..1000));
        world.ingest(JUST_NOW).await;
        world.rename("a", "a.1");
        world.pack_in_parts("a.1", ending).await;
        world.remove("a.1");
        world.restart();
        world.ingest(LATER).await;
        assert_eq!(world.events().await, once(0..1000), "{ending}");
    }
}

/// Copied and truncated twice, the older copy packed, with a restart between: a third of the lines is lost.
#[tokio::test]
async fn beats_45300_copy_and_truncate_twice_and_a_restart() {
    let mut world = World::new(JSON, "read").await;
    let truncate = |world: &World| {
        std::fs::File::options().write(true).open(world.path("a")).unwrap().set_len(0).unwrap();
    };
    world.append("a", &lines(0..50));
    world.ingest(JUST_NOW).await;
    std::fs::copy(world.path("a"), world.path("a.1")).unwrap();
    truncate(&world);
    world.append("a", &lines(50..80));
    world.ingest(JUST_NOW).await;
    world.restart();
    world.append("a", &lines(80..100));
    let (path, bytes) = packed(&world.path("a.1"), "gz");
    std::fs::write(path.with_file_name("a.2.gz"), bytes).unwrap();
    std::fs::copy(world.path("a"), world.path("a.1")).unwrap();
    truncate(&world);
    world.append("a", &lines(100..150));
    world.ingest(JUST_NOW).await;
    world.restart();
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(0..150));
    assert_eq!(world.gaps().await, 0);
}

/// A new file that begins as one that is gone did, by their heading, is taken for it.
#[tokio::test]
async fn beats_51417_a_heading_that_files_have_in_common() {
    let mut world = World::new(DELIMITED, "read").await;
    world.append("a", &format!("{HEADER}{}{}", row("0"), row("1")));
    world.ingest(JUST_NOW).await;
    world.remove("a");
    world.append("b", HEADER);
    world.ingest(JUST_NOW).await;
    world.append("b", &format!("{}{}{}", row("2"), row("3"), row("4")));
    world.restart();
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(0..5));
    assert_eq!(world.files().await, 2);
}

/// A line that is not whole when the tailer ends is lost: it was counted as read.
#[tokio::test]
async fn fluent_bit_11265_half_a_line_and_a_restart() {
    let mut world = World::new(JSON, "read").await;
    let line = json("1");
    for at in [1, line.len() / 2, line.len() - 1] {
        let name = format!("a{at}");
        world.append(&name, &json("0").replace("\"0\"", &format!("\"0-{at}\"")));
        world.append(&name, &line[..at]);
        world.ingest(JUST_NOW).await;
        world.restart();
        world.append(&name, &line[at..]);
        world.ingest(JUST_NOW).await;
    }
    let events = world.events().await;
    assert_eq!((events["1"], events.len()), (3, 4));
    assert_eq!(world.quarantine().await.len(), 0);
}

/// Lines that are like the one before are dropped on purpose. They are evidence.
#[tokio::test]
async fn wazuh_55_lines_that_are_all_alike() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &json("1").repeat(10));
    world.ingest(JUST_NOW).await;
    world.append("a", &json("1").repeat(10));
    world.ingest(LATER).await;
    assert_eq!(world.events().await["1"], 20);
}

/// While the disk is full the positions cannot be kept: files that are gone are read for ever, the new ones never.
#[tokio::test]
async fn vector_22288_a_full_disk_and_a_file_that_is_gone() {
    let mut world = World::new(JSON, "read").await;
    world.append("a", &lines(0..10));
    world.ingest(JUST_NOW).await;
    world.append("a", &lines(10..20));
    for _ in 0..3 {
        assert!(world.without_room().await, "nothing can be kept");
    }
    world.ingest(JUST_NOW).await;
    assert!(world.without_room().await);
    world.remove("a");
    world.append("a", &lines(20..30));
    assert!(world.without_room().await);
    world.ingest(LATER).await;
    world.ingest(LATER).await;
    assert_eq!(world.events().await, once(0..30));
    assert_eq!(world.installation().once(&mut |_| {}).await.unwrap().events, 0, "nothing is left to read");
}
