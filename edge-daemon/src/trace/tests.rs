use super::*;
use forecourt::ids::FuellingPointId;
use std::path::Path;

fn at(us: i64) -> TraceTime {
    TraceTime::from_unix_us(1_795_262_400_000_000 + us)
}

fn frame(us: i64, verdict: Verdict, bytes: &[u8]) -> Entry {
    Entry::Frame { at: at(us), line: "island-1".into(), verdict, bytes: bytes.into() }
}

fn all(directory: &Path) -> Vec<Entry> {
    let mut reader = TraceReader::oldest(directory);
    let mut entries = Vec::new();
    loop {
        let more = reader.read_more().expect("reads");
        if more.is_empty() {
            return entries;
        }
        entries.extend(more);
    }
}

fn write(directory: &Path, segments: u32, bytes: u64, entries: &[Entry]) {
    let (recorder, thread) = start(directory, segments, bytes).expect("starts");
    for entry in entries {
        recorder.record(entry.clone(), None);
    }
    assert_eq!(recorder.lost(), 0);
    drop(recorder);
    thread.join().expect("ends");
}

fn samples() -> Vec<Entry> {
    vec![
        frame(0, Verdict::Sent, &[0x50, 0x20, 0xFA]),
        frame(6_900, Verdict::Good, &[0x50, 0x70, 0xFA]),
        frame(6_950, Verdict::Overheard, &[0x50, 0xC0, 0xFA]),
        Entry::Frame { at: at(7_000), line: "island-2".into(), verdict: Verdict::Silence, bytes: vec![] },
        // the wall clock was set back
        frame(-3_600_000_000, Verdict::Bad("checksum 1234, computed 4321".into()), &[0xFF; 300]),
        frame(-3_599_000_000, Verdict::Unasked, &[0]),
    ]
}

/// An idle dispenser for some rounds.
fn idle(recorder: &Recorder, rounds: i64) {
    let fp = Some(FuellingPointId(1));
    for round in 0..rounds {
        recorder.record(frame(round * 12_000, Verdict::Sent, &[0x50, 0x20, 0xFA]), fp);
        recorder.record(frame(round * 12_000 + 11_000, Verdict::Good, &[0x50, 0x70, 0xFA]), fp);
    }
}

#[test]
fn repeats_come_back_as_one_entry_with_their_count_and_times() {
    let home = tempfile::tempdir().expect("a directory");
    let (recorder, thread) = start(home.path(), 4, 1 << 20).expect("starts");
    idle(&recorder, 500);
    drop(recorder);
    thread.join().expect("ends");
    let found = all(home.path());
    assert_eq!(
        found[..2],
        [frame(0, Verdict::Sent, &[0x50, 0x20, 0xFA]), frame(11_000, Verdict::Good, &[0x50, 0x70, 0xFA])]
    );
    let [Entry::Repeat(repeat)] = &found[2..] else { panic!("{found:?}") };
    assert_eq!((repeat.count, repeat.first, repeat.last), (499, at(12_000), at(499 * 12_000)));
    assert_eq!((repeat.slowest, repeat.line.as_str()), (Duration::from_millis(11), "island-1"));
    assert_eq!((repeat.sent.as_slice(), repeat.answer.as_slice()), (&[0x50, 0x20, 0xFA][..], &[0x50, 0x70, 0xFA][..]));
}

#[test]
fn a_segment_of_the_version_without_counts_is_read_too() {
    let home = tempfile::tempdir().expect("a directory");
    write(home.path(), 4, 1 << 20, &samples());
    let path = home.path().join("0000000001.trace");
    let mut bytes = std::fs::read(&path).expect("reads");
    assert_eq!(&bytes[..8], b"FETRACE2");
    bytes[7] = b'1';
    std::fs::write(&path, bytes).expect("writes");
    assert_eq!(all(home.path()), samples());
}

#[test]
fn entries_come_back_as_they_were_over_restarts() {
    let home = tempfile::tempdir().expect("a directory");
    write(home.path(), 4, 1 << 20, &samples());
    write(home.path(), 4, 1 << 20, &samples());
    assert_eq!(all(home.path()), [samples(), samples()].concat());
}

#[test]
fn a_time_prints_its_microseconds() {
    assert_eq!(at(6_900).to_string(), "2026-11-21T12:00:00.006900Z");
    assert_eq!(TraceTime::from_unix_us(-1).to_string(), "1969-12-31T23:59:59.999999Z");
}

#[test]
fn the_ring_is_bounded_and_keeps_the_newest() {
    let home = tempfile::tempdir().expect("a directory");
    let many: Vec<Entry> = (0..7_000).map(|n| frame(n * 1_000, Verdict::Good, &[0x55; 100])).collect();
    write(home.path(), 4, 64 * 1024, &many);
    let size: u64 = std::fs::read_dir(home.path())
        .expect("reads")
        .map(|file| file.expect("a file").metadata().expect("data").len())
        .sum();
    assert!(size <= 5 * 64 * 1024, "{size}");
    let kept = all(home.path());
    assert!(kept.len() > 1_500, "{}", kept.len());
    assert_eq!(kept, many[many.len() - kept.len()..]);
}

#[test]
fn a_torn_tail_loses_the_torn_entry_alone() {
    let home = tempfile::tempdir().expect("a directory");
    write(home.path(), 4, 1 << 20, &samples());
    let path = home.path().join("0000000001.trace");
    let whole = std::fs::read(&path).expect("reads");
    for (name, torn) in [
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("cut in the long one", whole[..whole.len() - 50].to_vec()),
        ("zeros", [&whole[..whole.len() - 3], &[0; 4_096][..]].concat()),
        ("flipped", [&whole[..whole.len() - 2], &[0x80, 0x00][..]].concat()),
    ] {
        std::fs::write(&path, torn).expect("writes");
        let found = all(home.path());
        let kept = if name == "cut in the long one" { 4 } else { 5 };
        assert_eq!(found, samples()[..kept], "{name}");
    }
    std::fs::write(&path, b"FETRA").expect("writes");
    write(home.path(), 4, 1 << 20, &samples());
    assert_eq!(all(home.path()), samples(), "an unreadable segment does not hide the next");
}

#[test]
fn a_follower_gets_what_is_written_after_it_came() {
    let home = tempfile::tempdir().expect("a directory");
    write(home.path(), 4, 1 << 20, &samples());
    let mut follower = TraceReader::newest(home.path()).expect("reads");
    assert_eq!(follower.read_more().expect("reads"), []);
    write(home.path(), 4, 1 << 20, &samples()[..2]);
    assert_eq!(follower.read_more().expect("reads"), samples()[..2]);
    assert_eq!(follower.read_more().expect("reads"), []);
}

#[test]
fn a_disk_that_refuses_costs_entries_and_says_so() {
    let home = tempfile::tempdir().expect("a directory");
    let ring = home.path().join("ring");
    let (recorder, thread) = start(&ring, 4, 1 << 20).expect("starts");
    std::fs::remove_dir_all(&ring).expect("removes");
    std::fs::write(&ring, "in the way").expect("writes");
    for entry in samples() {
        recorder.record(entry, None);
    }
    let lost = recorder.lost.clone();
    drop(recorder);
    thread.join().expect("ends");
    assert_eq!(lost.load(std::sync::atomic::Ordering::Relaxed), 6);
}
