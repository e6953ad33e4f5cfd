use proptest::prelude::*;

use super::*;

fn change(key: u64, bytes: Option<&[u8]>) -> Change {
    Change {
        part: if key.is_multiple_of(3) { Part::Notes } else { Part::Commits },
        key,
        bytes: bytes.map(Bytes::copy_from_slice),
    }
}

fn log() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Changes of both generations, in order.
fn read(log: &Path) -> Vec<(u64, Vec<Change>)> {
    let found = Journal::read(log).unwrap().unwrap();
    found.into_iter().map(|generation| (generation.number, generation.changes)).collect()
}

/// What a journal of three blocks in generation 2, after one in generation 1, has.
fn filled(log: &Path) -> Vec<(u64, Vec<Change>)> {
    let mut journal = Journal::create(log, true).unwrap();
    let all = [
        vec![change(1, Some(b"one")), change(3, Some(b"a note"))],
        vec![change(2, Some(&[7; 5000])), change(1, None)],
        vec![change(4, Some(b""))],
        vec![change(3, None), change(5, Some(&[9; 300]))],
    ];
    for (number, changes) in all.iter().enumerate() {
        changes.iter().for_each(|change| journal.add(change));
        journal.write().unwrap();
        if number == 0 {
            journal.turn().unwrap();
        }
    }
    // Not written, so not there.
    journal.add(&change(6, Some(b"six")));
    vec![(1, all[0].clone()), (2, all[1..].concat())]
}

#[test]
fn what_was_written_is_read_by_generations() {
    let log = log();
    assert_eq!(Journal::read(log.path()).unwrap(), None);
    let all = filled(log.path());
    assert_eq!(read(log.path()), all);
    let mut journal = Journal::resume(log.path(), 2, true).unwrap();
    assert_eq!(read(log.path()), [all[1].clone(), (3, Vec::new())], "of the one before the last nothing is left");
    journal.add(&change(7, Some(b"seven")));
    journal.write().unwrap();
    journal.write().unwrap();
    assert_eq!(read(log.path()), [all[1].clone(), (3, vec![change(7, Some(b"seven"))])]);
}

#[test]
fn a_file_that_one_large_block_has_made_large_shrinks_at_its_next_turn() {
    let log = log();
    let mut journal = Journal::create(log.path(), false).unwrap();
    journal.add(&change(1, Some(&vec![1; 2 * GENERATION_BYTES as usize])));
    journal.write().unwrap();
    assert!(journal.is_full());
    let length = || fs::metadata(log.path().join(NAMES[1])).unwrap().len();
    assert!(length() > 2 * GENERATION_BYTES);
    journal.turn().unwrap();
    assert!(!journal.is_full());
    journal.turn().unwrap();
    assert_eq!(length(), FIRST_BLOCK + GENERATION_BYTES);
    journal.add(&change(2, Some(b"two")));
    journal.write().unwrap();
    assert_eq!(read(log.path()), [(2, Vec::new()), (3, vec![change(2, Some(b"two"))])]);
}

/// Whatever the last block's write has left of it, those before it are there.
#[test]
fn a_last_block_that_is_not_whole_was_not_acknowledged() {
    let log = log();
    let all = filled(log.path());
    let path = log.path().join(NAMES[0]);
    let whole = fs::read(&path).unwrap();
    let last = FIRST_BLOCK as usize + 3 * PAGE;
    assert!(
        whole[last..last + PAGE].iter().any(|byte| *byte != 0) && whole[last + PAGE..].iter().all(|byte| *byte == 0)
    );
    let mut without = all.clone();
    without[1].1.truncate(3);
    for cut in [last, last + 1, last + 20, last + 100, last + 200] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(read(log.path()), without, "a file of {cut} bytes");
        let mut torn = whole.clone();
        torn[cut..last + PAGE].fill(0xa5);
        fs::write(&path, &torn).unwrap();
        assert_eq!(read(log.path()), without, "torn at {cut}");
    }
}

#[test]
fn a_later_block_that_is_damaged_but_for_its_header_still_tells_of_damage_before_it() {
    let log = log();
    filled(log.path());
    let path = log.path().join(NAMES[0]);
    let mut bytes = fs::read(&path).unwrap();
    for block in [FIRST_BLOCK as usize, FIRST_BLOCK as usize + 3 * PAGE] {
        bytes[block + BLOCK_HEADER_BYTES + 2] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Journal::read(log.path()), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_turn_that_was_cut_short_leaves_the_two_generations_before_it() {
    let log = log();
    let all = filled(log.path());
    let path = log.path().join(NAMES[1]);
    let whole = fs::read(&path).unwrap();
    for (first, second) in [(0xa5, None), (0, Some(0xa5))] {
        let mut torn = whole.clone();
        if let Some(byte) = second {
            // The first one is written; the second is not whole.
            let header = Header { generation: 3, salt: 5, blocks_before: 3, syncs: true };
            torn[..PAGE].copy_from_slice(&header.encode());
            torn[PAGE..PAGE + 40].fill(byte);
            fs::write(&path, &torn).unwrap();
            assert_eq!(read(log.path()), [all[1].clone(), (3, Vec::new())]);
        } else {
            torn[..40].fill(first);
            fs::write(&path, &torn).unwrap();
            assert_eq!(read(log.path()), all);
        }
    }
}

#[test]
fn a_value_that_has_a_block_in_it_is_no_block() {
    let log = log();
    let mut journal = Journal::create(log.path(), true).unwrap();
    journal.add(&change(1, Some(b"one")));
    journal.write().unwrap();
    let file = fs::read(log.path().join(NAMES[1])).unwrap();
    // Of another generation's salt, as no one who writes values knows that of this one.
    let mut forged = file[FIRST_BLOCK as usize..FIRST_BLOCK as usize + PAGE].to_vec();
    forged[16..20].copy_from_slice(&9_u32.to_be_bytes());
    let checksum = checksum(!journal.header.salt, &forged[4..]);
    forged[..4].copy_from_slice(&checksum.to_be_bytes());
    let path = log.path().join(NAMES[1]);
    let mut torn = file.clone();
    torn.resize(FIRST_BLOCK as usize + 4 * PAGE, 0);
    torn[FIRST_BLOCK as usize + 2 * PAGE..][..PAGE].copy_from_slice(&forged);
    fs::write(&path, &torn).unwrap();
    assert_eq!(read(log.path()), [(0, Vec::new()), (1, vec![change(1, Some(b"one"))])]);
}

/// The bytes of a former generation that lie behind the last block begin anywhere in a block of several pages.
#[test]
fn what_is_left_of_a_former_generation_is_not_taken_for_a_newer_one() {
    let log = log();
    let mut journal = Journal::create(log.path(), true).unwrap();
    for shift in 0..9 {
        // In a page of these, zeros come where a block has its number, and others where it has its generation.
        (0..shift).for_each(|number| journal.add(&change(number, Some(b""))));
        (0..2_000).for_each(|number| journal.add(&change(0x0101_0101 + number, None)));
        journal.write().unwrap();
        journal.turn().unwrap();
        journal.turn().unwrap();
        journal.add(&change(1, Some(b"one")));
        journal.write().unwrap();
        assert_eq!(read(log.path())[1].1, [change(1, Some(b"one"))], "shifted by {shift}");
        journal.turn().unwrap();
        journal.turn().unwrap();
    }
}

#[test]
fn a_file_that_is_missing_or_has_no_header_is_damage() {
    for name in NAMES {
        for remove in [true, false] {
            let log = log();
            filled(log.path());
            let path = log.path().join(name);
            if remove {
                fs::remove_file(&path).unwrap()
            } else {
                fs::write(&path, "").unwrap()
            }
            assert!(matches!(Journal::read(log.path()), Err(OpenError::Damaged { .. })), "{name} {remove}");
        }
    }
}

proptest! {
    /// Wherever bits flip, what is read is all that was acknowledged, or damage. Of the very last block alone it can't be told
    /// whether it was acknowledged; and where its header is damaged, too, nothing is left to tell that one before it was.
    #[test]
    fn flipped_bits_are_told_or_do_no_harm(
        file in 0..2_usize,
        flips in prop::collection::vec((0..(FIRST_BLOCK as usize + 4 * PAGE), 0..8_u32), 1..4),
    ) {
        let log = log();
        let all = filled(log.path());
        let last = FIRST_BLOCK as usize + 3 * PAGE;
        let in_last = |part: std::ops::Range<usize>| file == 0 && flips.iter().any(|(at, _)| part.contains(at));
        // Changes of generation 2 that may be read, each time up to the end of a block.
        let ends = if in_last(last + 4..last + BLOCK_HEADER_BYTES) {
            &[5, 3, 2, 0][..]
        } else if in_last(last..last + PAGE) {
            &[5, 3][..]
        } else {
            &[5][..]
        };
        let possible: Vec<_> = ends.iter().map(|end| vec![all[0].clone(), (2, all[1].1[..*end].to_vec())]).collect();
        let path = log.path().join(NAMES[file]);
        let mut bytes = fs::read(&path).unwrap();
        for (at, bit) in flips {
            if at < bytes.len() {
                bytes[at] ^= 1 << bit;
            }
        }
        fs::write(&path, bytes).unwrap();
        match Journal::read(log.path()) {
            Err(OpenError::Damaged { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(found) => {
                let found: Vec<_> =
                    found.unwrap().into_iter().map(|generation| (generation.number, generation.changes)).collect();
                prop_assert!(possible.contains(&found), "{} changes", found[1].1.len());
            }
        }
    }

    #[test]
    fn bytes_that_are_no_journal_do_not_break_it(first in prop::collection::vec(any::<u8>(), 0..300), second: Vec<u8>) {
        let log = log();
        fs::write(log.path().join(NAMES[0]), first).unwrap();
        fs::write(log.path().join(NAMES[1]), second).unwrap();
        let is_damage = matches!(Journal::read(log.path()), Err(OpenError::Damaged { .. }));
        prop_assert!(is_damage);
    }
}
