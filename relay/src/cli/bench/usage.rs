//! What a process has used: processor time and memory, as Linux tells it.

/// Processor time and memory of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// Of all its threads since its start, in user and kernel mode.
    pub(super) cpu_seconds: f64,
    /// Resident in memory now.
    pub(super) rss_bytes: u64,
}

impl Usage {
    /// Nothing where the system does not tell, as others than Linux.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        Some(Self { cpu_seconds: cpu_seconds(&read("stat")?)?, rss_bytes: rss_bytes(&read("status")?)? })
    }

    /// Processor time from one look to another.
    pub(super) fn between(before: Option<Self>, after: Option<Self>) -> Option<f64> {
        Some(after?.cpu_seconds - before?.cpu_seconds)
    }
}

/// Of `/proc/PID/stat`: `utime` and `stime`. The name before them may have any characters but ends at the last bracket.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    let ticks = fields.next()?? + fields.next()??;
    Some(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// Of `/proc/PID/status`: `VmRSS`, in kB.
fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let stat = "42 (a ) name) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 5 0 100 1 2";
        assert_eq!(cpu_seconds(stat), Some(300.0 / ticks));
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(cpu_seconds("nonsense"), None);
        assert_eq!(rss_bytes(""), None);
    }
}
