//! What a relay holds on to, and whether that is flat.

use std::{fs, path::Path};

use crate::{
    metrics::{scrape, total},
    sites::TwoSites,
};

/// What a relay holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Bytes in memory.
    pub memory: u64,
    /// Open files, sockets included.
    pub files: u64,
    /// Threads.
    pub threads: u64,
    /// Sessions and subscriptions, for each of which there are tasks.
    pub sessions: u64,
    /// Bytes of the store's directory, on disk.
    pub disk: u64,
}

/// A column of [`Measured`], and when it is flat.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Takes it out.
    pub of: fn(&Measured) -> u64,
    /// By so much it may grow, besides a tenth.
    pub slack: u64,
}

/// The columns.
pub const COLUMNS: [Column; 5] = [
    Column { name: "bytes in memory", of: |measured| measured.memory, slack: 16 << 20 },
    Column { name: "open files", of: |measured| measured.files, slack: 4 },
    Column { name: "threads", of: |measured| measured.threads, slack: 2 },
    Column { name: "sessions and subscriptions", of: |measured| measured.sessions, slack: 2 },
    // Two segments of the log's file.
    Column { name: "bytes on disk", of: |measured| measured.disk, slack: 8 << 20 },
];

/// Measures the running relay of a site.
///
/// # Panics
/// When it does not tell.
pub async fn measure(sites: &mut TwoSites, at: usize) -> Measured {
    let (port, store) = (sites.port(at), sites.store(at));
    let relay = sites.relay(at);
    let process = format!("/proc/{}", relay.pid().expect("a relay that runs"));
    let count = |what: &str| fs::read_dir(format!("{process}/{what}")).expect("the kernel tells").count() as u64;
    let (memory, files, threads) = (relay.resident_bytes(), count("fd"), count("task"));
    let metrics = tokio::task::spawn_blocking(move || scrape(port)).await.expect("a scrape");
    let of = |name| total(&metrics, name, "") as u64;
    let sessions = of("landbridge_sessions") + of("landbridge_subscriptions");
    Measured { memory, files, threads, sessions, disk: bytes_on_disk(&store) }
}

/// As the blocks that are taken, as the log's file has holes. What goes meanwhile is not counted.
fn bytes_on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_on_disk(&entry.path()),
        Ok(about) => about.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

/// The median of the second quarter of what was measured, that of the last one, and whether that is flat: it is no more than
/// the former, a tenth of it and the slack. The first quarter is left out, as a relay that has just begun grows.
pub fn judge(column: &Column, measured: &[Measured]) -> (u64, u64, bool) {
    let quarter = (measured.len() / 4).max(1);
    let median = |some: &[Measured]| {
        let mut values: Vec<u64> = some.iter().map(column.of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let before = median(&measured[quarter.min(measured.len())..(2 * quarter).min(measured.len())]);
    let after = median(&measured[measured.len().saturating_sub(quarter)..]);
    (before, after, after <= before + before / 10 + column.slack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(from: u64, by: u64) -> Vec<Measured> {
        let files = (0..40).map(|at| from + at * by);
        files.map(|files| Measured { memory: 1 << 20, files, threads: 8, sessions: 3, disk: 4096 }).collect()
    }

    #[test]
    fn what_grows_all_the_time_is_not_flat_and_what_stays_is() {
        let files = &COLUMNS[1];
        assert!(judge(files, &growing(20, 0)).2);
        assert_eq!(judge(files, &growing(20, 1)), (35, 55, false));
        assert!(!judge(files, &growing(0, 1)).2);
        assert!(judge(&COLUMNS[0], &growing(20, 1)).2, "its memory does not");
    }

    #[test]
    fn it_may_grow_by_a_tenth_and_the_slack_and_no_more() {
        let grown_by = |more: u64| {
            let mut measured = growing(1_000, 0);
            measured[30..].iter_mut().for_each(|last| last.files += more);
            judge(&COLUMNS[1], &measured).2
        };
        assert_eq!([grown_by(100), grown_by(104), grown_by(105)], [true, true, false]);
    }

    #[test]
    fn a_relay_that_grows_at_the_beginning_alone_is_flat() {
        let mut measured = growing(0, 10);
        let reached = measured[9];
        measured[9..].fill(reached);
        assert_eq!(judge(&COLUMNS[1], &measured), (90, 90, true));
    }
}
