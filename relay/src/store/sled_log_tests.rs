use std::{
    fs::{self, File},
    path::Path,
};

use super::*;

fn at(number: u64) -> Sequence {
    Sequence::new(number)
}

fn open(dir: &Path) -> Result<SledLog, OpenError> {
    SledLog::open(Directory::open(dir).unwrap(), true).map_err(|(_, error)| error)
}

fn filled(dir: &Path) {
    let mut log = open(dir).unwrap();
    for first in 1..=50 {
        log.append(at(first), vec![first as u8; 3000].into()).unwrap();
    }
    log.flush().unwrap();
    log.close(at(50)).unwrap();
}

#[test]
fn commits_are_found_by_cover_and_by_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    for first in [1, 5, 900] {
        log.append(at(first), first.to_string().into()).unwrap();
    }
    log.remove(at(5)).unwrap();
    log.rewrite(at(1), "one".into()).unwrap();
    log.flush().unwrap();
    drop(log);
    let reader = open(dir.path()).unwrap().reader();
    assert_eq!(reader.covering(at(899)).unwrap(), Some((at(1), "one".into())));
    assert_eq!(reader.covering(at(900)).unwrap(), Some((at(900), "900".into())));
    assert_eq!(reader.covering(at(0)).unwrap(), None);
    assert_eq!(reader.following(at(1)).unwrap().unwrap().0, at(900));
    assert_eq!(reader.following(at(900)).unwrap(), None);
}

/// As a kill leaves it: what was written is there, what waited for a flush is not.
fn killed(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            killed(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// All commits, in order.
fn all(log: &SledLog) -> Vec<(Sequence, Bytes)> {
    let (reader, mut after, mut all) = (log.reader(), Sequence::ZERO, Vec::new());
    while let Some((first, bytes)) = reader.following(after).unwrap() {
        after = first;
        all.push((first, bytes.to_vec().into()));
    }
    all
}

#[test]
fn a_large_commit_that_a_kill_has_cut_short_does_not_stand_in_the_way_of_the_next() {
    for before in [0, 1, 30] {
        let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut log = open(dir.path()).unwrap();
        for first in 1..=before {
            log.append(at(first), vec![first as u8; 100_000].into()).unwrap();
            log.settle().unwrap();
        }
        let large = || Bytes::from(vec![7; 3 << 20]);
        log.append(at(before + 1), large()).unwrap();
        log.journal.write().unwrap();
        // The kill comes when the engine has made the file of the large one, and no more.
        let change = Change { part: Part::Commits, key: before + 1, bytes: Some(large()) };
        log.trees.apply(&change).unwrap();
        killed(dir.path(), after.path());
        assert_eq!(fs::read_dir(after.path().join("log/blobs")).unwrap().count(), 1, "the file of the large one");
        let mut log = open(after.path()).unwrap();
        assert_eq!(log.reader().covering(at(before + 1)).unwrap(), Some((at(before + 1), large())));
        log.append(at(before + 2), large()).unwrap();
        log.flush().unwrap();
        log.settle().unwrap();
        assert_eq!(log.reader().covering(at(before + 2)).unwrap(), Some((at(before + 2), large())));
        assert_eq!(all(&log).len() as u64, before + 2);
    }
}

/// What is given is there after a kill once it was flushed, whether or not the engine has it.
#[test]
fn a_kill_at_any_moment_leaves_what_was_flushed() {
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut log = open(dir.path()).unwrap();
    let mut held = std::collections::BTreeMap::new();
    let bytes = |number: u64| Bytes::from(number.to_string().repeat(1 + number as usize * 37 % 3000));
    for number in 1..=400_u64 {
        log.append(at(number), bytes(number)).unwrap();
        held.insert(at(number), bytes(number));
        if number % 3 == 0 {
            log.rewrite(at(number - 1), bytes(number + 1)).unwrap();
            held.insert(at(number - 1), bytes(number + 1));
        }
        if number % 5 == 0 {
            log.remove(at(number - 3)).unwrap();
            held.remove(&at(number - 3));
        }
        log.keep_note(number, bytes(number)).unwrap();
        log.drop_note(number.saturating_sub(10)).unwrap();
        log.flush().unwrap();
        // Sometimes it goes on while what was before goes into the engine, sometimes that has arrived.
        match number % 40 {
            7 => log.turn().unwrap(),
            21 => log.settle().unwrap(),
            _ => {}
        }
        let not_flushed = (number % 20 == 9).then(|| log.rewrite(at(number), "not flushed".into()).unwrap());
        if number % 20 == 9 || number % 40 == 8 {
            let to = after.path().join(number.to_string());
            killed(dir.path(), &to);
            let found = open(&to).unwrap();
            assert_eq!(all(&found), held.clone().into_iter().collect::<Vec<_>>(), "killed at {number}");
            let reader = found.reader();
            assert_eq!(reader.notes().unwrap(), Some((number.saturating_sub(9).max(1), number)), "killed at {number}");
            assert_eq!(reader.read_note(number).unwrap(), Some(bytes(number)));
            assert_eq!(reader.read_note(number + 1).unwrap(), None);
        }
        if not_flushed.is_some() {
            log.rewrite(at(number), bytes(number)).unwrap();
        }
        assert_eq!(all(&log), held.clone().into_iter().collect::<Vec<_>>(), "{number}");
    }
    log.close(at(400)).unwrap();
    drop(log);
    assert_eq!(all(&open(dir.path()).unwrap()), held.into_iter().collect::<Vec<_>>());
}

#[test]
fn who_writes_faster_than_the_engine_takes_it_waits_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    for first in 1..=40 {
        log.append(at(first), vec![first as u8; 1 << 20].into()).unwrap();
        log.flush().unwrap();
    }
    assert!(log.journal.generation() > 5, "{}", log.journal.generation());
    drop(log);
    let log = open(dir.path()).unwrap();
    let found = all(&log);
    assert_eq!(found.len(), 40);
    assert!(found.iter().all(|(first, bytes)| *bytes == vec![first.get() as u8; 1 << 20]));
}

#[test]
fn a_journal_that_is_missing_cut_or_older_than_the_engine_is_damage() {
    let journal = |dir: &Path, number: u32| dir.join(format!("log/journal.{number}"));
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let cases: [Damage<'_>; 4] = [
        ("both are gone", &|dir| [0, 1].into_iter().for_each(|number| fs::remove_file(journal(dir, number)).unwrap())),
        ("one is gone", &|dir| fs::remove_file(journal(dir, 1)).unwrap()),
        ("one is empty", &|dir| fs::write(journal(dir, 0), "").unwrap()),
        ("both are of another time", &|dir| {
            let other = tempfile::tempdir().unwrap();
            filled(other.path());
            for number in [0, 1] {
                fs::copy(journal(other.path(), number), journal(dir, number)).unwrap();
            }
        }),
    ];
    for (name, damage) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        for first in 1..=5 {
            log.append(at(first), "commit".into()).unwrap();
            log.flush().unwrap();
            log.settle().unwrap();
        }
        log.append(at(6), "in the journal alone".into()).unwrap();
        log.flush().unwrap();
        drop(log);
        damage(dir.path());
        let error = open(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error}");
        assert!(error.to_string().contains("journal"), "{name}: {error}");
    }
}

#[test]
fn an_engine_that_has_lost_all_is_damage_where_the_journal_has_anything() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    log.append(at(1), "one".into()).unwrap();
    log.flush().unwrap();
    drop(log);
    for entry in fs::read_dir(dir.path().join("log")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "db" || name.starts_with("snap.") {
            fs::remove_file(path).unwrap();
        }
    }
    fs::remove_file(dir.path().join("newest")).unwrap();
    let error = open(dir.path()).map(drop).unwrap_err();
    assert!(error.to_string().contains("has lost that there is a journal"), "{error}");
}

#[test]
fn a_first_start_that_was_cut_short_is_gone_on_with() {
    for (first, second) in [(Some(""), None), (Some(""), Some("")), (None, None)] {
        let dir = tempfile::tempdir().unwrap();
        drop(sled::Config::new().path(dir.path().join("log")).segment_size(4 << 20).open().unwrap());
        fs::write(dir.path().join("FORMAT"), "landbridge store, format 1\n").unwrap();
        for (name, text) in [("journal.0", first), ("journal.1", second)] {
            if let Some(text) = text {
                fs::write(dir.path().join("log").join(name), text).unwrap();
            }
        }
        let mut log = open(dir.path()).unwrap();
        log.append(at(1), "one".into()).unwrap();
        log.flush().unwrap();
        drop(log);
        assert_eq!(all(&open(dir.path()).unwrap()), [(at(1), "one".into())]);
        let format = fs::read_to_string(dir.path().join("FORMAT")).unwrap();
        assert_eq!(format, "landbridge store, format 2\n", "older programs know nothing of the journal");
    }
}

#[test]
fn a_log_that_has_lost_its_file_s_content_is_damaged_and_keeps_what_lies_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    log.append(at(1), vec![7; 3 << 20].into()).unwrap();
    log.flush().unwrap();
    log.close(at(1)).unwrap();
    drop(log);
    let path = dir.path().join("log");
    for entry in fs::read_dir(&path).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            "db" => File::create(path).map(drop).unwrap(),
            snapshot if snapshot.starts_with("snap.") => fs::remove_file(path).unwrap(),
            _ => {}
        }
    }
    let blobs = || fs::read_dir(path.join("blobs")).unwrap().count();
    assert_eq!(blobs(), 1);
    let error = open(dir.path()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert_eq!(blobs(), 1, "it may still be of use to somebody");
}

#[test]
fn a_snapshot_cut_short_does_not_keep_it_from_opening() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let half = dir.path().join("log/snap.0000000000000010.generating");
    fs::write(&half, "half").unwrap();
    let reader = open(dir.path()).unwrap().reader();
    assert!(!half.exists());
    assert_eq!(reader.covering(at(50)).unwrap().unwrap().0, at(50));
}

#[test]
fn a_log_made_with_smaller_segments_opens() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path()).unwrap();
    let db = sled::Config::new().path(directory.log()).segment_size(512 * 1024).open().unwrap();
    db.open_tree("commits").unwrap().insert(1_u64.to_be_bytes(), "one").unwrap();
    drop((db, directory));
    let reader = open(dir.path()).unwrap().reader();
    assert_eq!(reader.covering(at(1)).unwrap(), Some((at(1), "one".into())));
}

#[test]
fn without_fsync_a_flush_survives_the_process() {
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut log = SledLog::open(Directory::open(dir.path()).unwrap(), false).map_err(|(_, error)| error).unwrap();
    for first in 1..=2 {
        log.append(at(first), vec![7; 3 * 1024 * 1024].into()).unwrap();
        log.flush().unwrap();
    }
    killed(dir.path(), after.path());
    assert_eq!(all(&open(after.path()).unwrap()).len(), 2);
    log.close(at(2)).unwrap();
    drop(log);
    assert_eq!(all(&open(dir.path()).unwrap()).len(), 2);
}

#[test]
fn damage_is_never_an_empty_or_shorter_log_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let held = all(&open(dir.path()).unwrap());
    let db = dir.path().join("log/db");
    let whole = fs::read(&db).unwrap();
    let mut cases = vec![("cut to nothing", Vec::new()), ("cut in half", whole[..whole.len() / 2].to_vec())];
    cases.push(("zeroed", vec![0; whole.len()]));
    let mut flipped = whole.clone();
    for at in (100..flipped.len()).step_by(4096) {
        flipped[at] ^= 0xff;
    }
    cases.push(("flipped", flipped));
    for (name, bytes) in cases {
        fs::write(&db, bytes).unwrap();
        remove_snapshots(dir.path());
        match open(dir.path()) {
            Err(OpenError::Damaged { file, .. }) => assert!(file.contains("log"), "{name}: {file}"),
            Err(other) => panic!("{name}: {other}"),
            // It had all before the cut.
            Ok(log) => assert_eq!((name, all(&log)), ("cut in half", held.clone())),
        }
    }
    fs::remove_file(&db).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged { .. })), "removed");
}

fn remove_snapshots(dir: &Path) {
    for entry in fs::read_dir(dir.join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::remove_file(path).unwrap();
        }
    }
}
