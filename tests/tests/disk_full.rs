//! Promise 1 on a full disk: puts are refused before it is full, a commit that fails all the same ends the writing, and
//! nothing that was acknowledged is lost. Needs the right to mount a small file system, and says so where it has none.
//! A start that would write its log anew does without. Many rounds: `cargo run --release -p landbridge-tests --bin crash_loop -- --disk-full --rounds 200 --seed 1`.

use std::{fs, io::Write, ops::ControlFlow, os::unix::fs::MetadataExt, path::Path};

use bytes::Bytes;
use landbridge_protocol::position::Sequence;
use landbridge_relay::store::{directory::Directory, error::OpenError, log::Log, sled_log::SledLog};
use landbridge_tests::faults::{
    full::{self, Outcome},
    mount::SmallDisk,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_disk_fills_up_in_the_middle() {
    // A commit fails in one round of five or so: while there is room in the journal removals go on, with no byte left on the disk.
    let (mut rounds, mut refused, mut failed, mut went_on) = (0, 0, 0, 0);
    let done = full::run(60, 2, |round| {
        rounds = round.number;
        refused += round.refused;
        match round.outcome {
            Outcome::Failed => failed += 1,
            Outcome::WentOn => went_on += 1,
        }
        if rounds >= 4 && refused > 0 && failed > 0 && went_on > 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await;
    if !done {
        eprintln!("not tested: this process may not mount a small file system");
        return;
    }
    assert!(
        refused > 0 && failed > 0 && went_on > 0,
        "{rounds} rounds, {refused} puts refused, {failed} commits failed, {went_on} times it went on: all have to be seen"
    );
}

/// Bytes of the log's file from which on a start thinks of writing it anew.
const LET_BE_BYTES: u64 = 64 << 20;
const COMMIT_BYTES: usize = 64 << 10;

fn open(dir: &Path) -> Result<SledLog, OpenError> {
    SledLog::open(Directory::open(dir)?, true).map_err(|(_, error)| error)
}

fn all(log: &dyn Log) -> Vec<(Sequence, Bytes)> {
    let (reader, mut at, mut all) = (log.reader(), Sequence::ZERO, Vec::new());
    while let Some((first, bytes)) = reader.following(at).expect("a commit can be read") {
        at = first;
        all.push((first, Bytes::copy_from_slice(&bytes)));
    }
    all
}

/// Leaves a file far beyond what it holds, as a relay does that is stopped when it has just removed much. Gives what it holds.
fn bloat(dir: &Path) -> Vec<(Sequence, Bytes)> {
    const COMMITS: u64 = 1_400;
    let mut log = open(dir).expect("a log");
    for first in 1..=COMMITS {
        log.append(Sequence::new(first), vec![first as u8; COMMIT_BYTES].into()).expect("there is room");
        if first % 50 == 0 {
            log.flush().expect("there is room");
        }
    }
    log.close(Sequence::new(COMMITS)).expect("there is room");
    drop(log);
    // From before a start: the engine gives their place back only when it has written more.
    let mut log = open(dir).expect("a log");
    for first in (1..=COMMITS).filter(|first| first % 100 != 0) {
        log.remove(Sequence::new(first)).expect("there is room");
    }
    log.close(Sequence::new(COMMITS)).expect("there is room");
    drop(log);
    let taken = fs::metadata(dir.join("log/db")).expect("the engine's file").blocks() * 512;
    assert!(taken > LET_BE_BYTES, "it is to be written anew: {taken} bytes");
    all(&open(dir).expect("a log"))
}

/// Takes all of a disk but so many bytes.
fn fill(disk: &Path, left: u64) {
    let mut filler = fs::File::create(disk.join("filler")).expect("a file");
    while filler.write_all(&[0xff; 64 << 10]).is_ok() {}
    let length = filler.metadata().expect("a length").len();
    filler.set_len(length.saturating_sub(left)).expect("a file can be cut");
}

#[test]
fn a_log_that_would_be_written_anew_stays_as_it_is_where_the_disk_is_full() {
    let parent = tempfile::tempdir().expect("a directory");
    let Some(_disk) = SmallDisk::at(parent.path(), 256) else {
        eprintln!("not tested: this process may not mount a small file system");
        return;
    };
    let dir = parent.path().join("store");
    let mut held = bloat(&dir);
    let bytes = (held.len() * COMMIT_BYTES) as u64;
    // None; too little by what it holds; enough by that, and the copy ends in the middle all the same.
    let mut went_on = 0;
    for left in [0, bytes, 2 * bytes + (64 << 10), 2 * bytes + (1 << 20)] {
        fill(parent.path(), left);
        // The engine may need room to open: then there is nothing to be written anew either, and the start says why.
        match open(&dir) {
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("store") && !said.contains("--recover"), "no damage: {said}");
            }
            Ok(log) => {
                let mut log = Box::new(log).tidy(bytes).expect("a start goes on");
                assert_eq!(all(log.as_ref()), held, "{left} bytes left");
                went_on += 1;
                fs::remove_file(parent.path().join("filler")).expect("a file");
                let more = (Sequence::new(20_000 + went_on), Bytes::from_static(b"with room again"));
                log.append(more.0, more.1.clone()).expect("there is room");
                log.flush().unwrap_or_else(|error| panic!("{left} bytes left, and then room: {error}"));
                log.close(more.0).unwrap_or_else(|error| panic!("{left} bytes left, and then room: {error}"));
                held.push(more);
            }
        }
        let _gone = fs::remove_file(parent.path().join("filler"));
        assert!(!dir.join("log.new").exists(), "{left} bytes left");
        assert_eq!(all(&open(&dir).expect("a log")), held, "{left} bytes left, and room again");
    }
    assert!(went_on > 0, "no start came so far");
    let log = Box::new(open(&dir).expect("a log")).tidy(bytes).expect("a start");
    assert_eq!(all(log.as_ref()), held);
    let taken = fs::metadata(dir.join("log/db")).expect("the engine's file").blocks() * 512;
    assert!(taken < LET_BE_BYTES, "with room it is written anew: {taken} bytes");
}
