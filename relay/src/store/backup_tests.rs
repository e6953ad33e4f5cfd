//! Backups of a store that goes on, and what is made of them.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use landbridge_protocol::{
    frame::node::Operation,
    name::{CacheName, SiteName},
    record::Key,
    version::RunId,
};

use super::{
    Backup, RestoreError, Store, StoreLimits, StoreOptions,
    memory_log::MemoryLog,
    restore,
    tests::{config, now, store, write},
};
use crate::{clock::ManualClock, machine::Workers, metrics::Metrics};

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn contents(store: &Store) -> BTreeMap<Key, Bytes> {
    let cache = CacheName::new("sessions").unwrap();
    let found = store.view(|replica| replica.entries(&cache, b"", None, (usize::MAX, usize::MAX), now()).0);
    found.into_iter().map(|(key, slot)| (key, store.record(slot.sequence).unwrap().unwrap().value)).collect()
}

async fn put(store: &Store, key: u8, number: u64, length: usize) {
    store.submit(write(Operation::Put, key, number, vec![number as u8; length])).await.unwrap();
}

/// The bytes of a backup from here on, and how many parts they came in.
fn rest(backup: &mut Backup) -> (Vec<u8>, usize) {
    let (mut bytes, mut parts) = (Vec::new(), 0);
    while let Some(part) = backup.next_part().unwrap() {
        bytes.extend_from_slice(&part.bytes);
        parts += 1;
    }
    (bytes, parts)
}

fn reopened(dir: &Path) -> Store {
    let limits = StoreLimits { min_free_bytes: 0, ..StoreLimits::default() };
    let options =
        StoreOptions { dir: dir.into(), fsync: true, recover: false, replica: config(), run: RunId(2), limits };
    Store::open(options, Arc::new(ManualClock::at(now())), Metrics::new(), Workers::Threads).unwrap()
}

#[tokio::test]
async fn a_backup_is_the_store_as_it_was_when_it_began() {
    let store = store(MemoryLog::new(), Arc::new(ManualClock::at(now())));
    for number in 1..=30 {
        put(&store, number as u8, number, 100_000).await;
    }
    store.submit(write(Operation::Remove, 30, 31, Vec::new())).await.unwrap();
    let before = contents(&store);
    let head = store.view(|replica| replica.head());
    let mut backup = store.backup().await.unwrap();
    let mut bytes = backup.next_part().unwrap().unwrap().bytes.to_vec();
    // Removals whose tombstones go at once, and writes: compaction would take what the backup has not read yet.
    for number in 32..=60 {
        store.submit(write(Operation::Remove, (number - 31) as u8, number, Vec::new())).await.unwrap();
    }
    for number in 61..=90 {
        put(&store, 99, number, 1000).await;
    }
    let (more, parts) = rest(&mut backup);
    assert!(parts >= 2, "it is read in several goes: {parts}");
    bytes.extend(more);
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let mut told = Vec::new();
    let last = restore(&mut &bytes[..], site("site1"), &place, |at| told.push(at)).unwrap();
    assert!(last >= head && last < store.view(|replica| replica.head()), "{last} is when it began");
    assert!(told.is_sorted(), "{told:?}");
    let restored = reopened(&place);
    assert_eq!(contents(&restored), before);
    assert_eq!(before.len(), 29);
    put(&restored, 1, 100, 5).await;
    assert_eq!(contents(&restored).len(), 29);
    restored.shutdown().await;
}

#[tokio::test]
async fn compaction_waits_for_the_end_of_a_backup_and_goes_on_then() {
    let log = MemoryLog::new();
    let store = store(log.clone(), Arc::new(ManualClock::at(now())));
    put(&store, 1, 1, 1000).await;
    let (first, second) = (store.backup().await.unwrap(), store.backup().await.unwrap());
    let before = log.calls();
    for number in 2..=400 {
        put(&store, 1, number, 1000).await;
    }
    drop(first);
    for number in 401..=600 {
        put(&store, 1, number, 1000).await;
    }
    assert_eq!(log.commits().len(), 600, "no commit was merged or taken out");
    assert_ne!(log.calls(), before);
    drop(second);
    let compacted = async {
        while log.commits().len() > 300 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), compacted).await.expect("compaction goes on");
}

#[tokio::test]
async fn what_is_no_whole_backup_of_this_site_leaves_nothing_behind() {
    let store = store(MemoryLog::new(), Arc::new(ManualClock::at(now())));
    for number in 1..=20 {
        put(&store, number as u8, number, 50).await;
    }
    let (whole, _) = rest(&mut store.backup().await.unwrap());
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let left = || std::fs::read_dir(dir.path()).unwrap().count();
    let refused = |bytes: &[u8], of: &str| {
        let error = restore(&mut &bytes[..], site(of), &place, |_| {}).unwrap_err();
        assert_eq!(left(), 0, "{error}");
        error
    };
    // Steps that fall on all parts of a commit by and by.
    for length in (0..whole.len()).step_by(61).chain([whole.len() - 1]) {
        let error = refused(&whole[..length], "site1");
        assert!(matches!(error, RestoreError::Damaged(_)), "cut at {length}: {error}");
    }
    let words = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for at in (words + 1..whole.len()).step_by(17) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        let error = refused(&flipped, "site1");
        assert!(matches!(error, RestoreError::Damaged(_)), "flipped at {at}: {error}");
    }
    assert!(refused(&whole, "site2").to_string().contains("of the relay of site1"));
    let newer = [b"landbridge backup, format 2, of site1\n", &whole[words + 1..]].concat();
    assert!(refused(&newer, "site1").to_string().contains("format 2"));
    assert!(matches!(refused(&[b'x'; 4096], "site1"), RestoreError::Unfit(_)));
    // What a restore that was killed leaves behind is not taken for the relay's store.
    let beside = dir.path().join("store.restoring");
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(beside.join("db"), b"half a store").unwrap();
    let cut = restore(&mut &whole[..], site("site1"), &place, |_| {}).unwrap_err();
    assert!(matches!(&cut, RestoreError::Unfinished(found) if *found == beside), "{cut}");
    std::fs::remove_dir_all(&beside).unwrap();
    std::fs::create_dir(&place).unwrap();
    restore(&mut &whole[..], site("site1"), &place, |_| {}).unwrap();
    let again = restore(&mut &whole[..], site("site1"), &place, |_| {}).unwrap_err();
    assert!(matches!(&again, RestoreError::Present(found) if *found == place), "{again}");
    assert_eq!(contents(&reopened(&place)).len(), 20);
}

#[tokio::test]
async fn an_empty_store_has_a_backup_too() {
    let store = store(MemoryLog::new(), Arc::new(ManualClock::at(now())));
    let (bytes, parts) = rest(&mut store.backup().await.unwrap());
    assert_eq!(parts, 1);
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    assert_eq!(restore(&mut &bytes[..], site("site1"), &place, |_| {}).unwrap().get(), 0);
    store.shutdown().await;
    let refused = store.backup().await.unwrap_err();
    assert_eq!(refused.code(), Some(landbridge_protocol::error::ErrorCode::ShuttingDown));
}

/// A mounted directory can't be replaced: what is there stays the same one.
#[cfg(unix)]
#[tokio::test]
async fn an_empty_directory_is_filled_and_not_replaced() {
    use std::os::unix::fs::MetadataExt;

    let store = store(MemoryLog::new(), Arc::new(ManualClock::at(now())));
    put(&store, 1, 1, 50).await;
    let (whole, _) = rest(&mut store.backup().await.unwrap());
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    std::fs::create_dir(&place).unwrap();
    std::fs::create_dir(place.join("lost+found")).unwrap();
    let is = || std::fs::metadata(&place).unwrap().ino();
    let was = is();
    let names = || {
        let entries = std::fs::read_dir(&place).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    restore(&mut &whole[..whole.len() - 1], site("site1"), &place, |_| {}).unwrap_err();
    assert_eq!(names(), ["lost+found"], "what failed is out of the way of the next try");
    restore(&mut &whole[..], site("site1"), &place, |_| {}).unwrap();
    assert_eq!((is(), names()), (was, ["FORMAT", "lock", "log", "lost+found", "newest"].map(str::to_owned).into()));
    assert_eq!(contents(&reopened(&place)).len(), 1);
}
