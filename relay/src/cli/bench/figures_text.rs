//! A measurement's figures for a person.

use super::{Workload, figures::Figures};
use crate::cli::output::say;

/// Prints them.
pub(super) fn print(figures: &Figures) {
    let of = &figures.parameters;
    let what = match of.workload {
        Workload::Put => "puts",
        Workload::Get => "gets",
        Workload::Mixed => "operations (half puts, half gets)",
        Workload::Event => "events",
    };
    say!(
        "{:.0} {what}/s over {} s; {} under way in {}",
        figures.operations_per_second,
        of.seconds,
        of.in_flight,
        sessions(of.sessions)
    );
    let latencies = [
        ("p50", figures.p50_us),
        ("p99", figures.p99_us),
        ("p99.9", figures.p999_us),
        ("max", figures.max_us),
        ("mean", figures.mean_us),
    ];
    let latencies: Vec<String> = latencies.iter().map(|(name, us)| format!("{name} {}", span(*us))).collect();
    say!("latency: {}", latencies.join(", "));
    if let Some(quarters) = &figures.quarters_p50_us {
        let quarters: Vec<String> = quarters.iter().map(|us| us.map_or("none".into(), span)).collect();
        say!("p50 of each quarter of the time: {}", quarters.join(", "));
    }
    if figures.coalesced > 0 {
        say!("coalesced: {} events were superseded before they were sent", figures.coalesced);
    }
    if let Some(error) = &figures.first_error {
        say!("errors: {}; the first: {error}", figures.errors);
    }
    for relay in &figures.relays {
        let cpu = relay.cpu_seconds.map_or("unknown".into(), |seconds| format!("{seconds:.2} s"));
        let each = relay.cpu_us_per_operation.map_or(String::new(), |us| format!(", {us:.1} us each"));
        let rss = relay.rss_bytes.map_or("unknown".into(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        say!("relay of {}: processor {cpu}{each}; memory {rss}", relay.site);
    }
}

fn sessions(count: u32) -> String {
    if count == 1 { "one session".into() } else { format!("{count} sessions") }
}

fn span(us: f64) -> String {
    if us < 1000.0 { format!("{us:.0} us") } else { format!("{:.2} ms", us / 1000.0) }
}
