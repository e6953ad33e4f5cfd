//! What merely is: taken from the relay's own report when somebody looks.

use std::sync::PoisonError;

use landbridge_protocol::frame::admin::{CertificateReport, LinkReport, Status};
use metrics::Label;

use super::{
    handles::{of_cache, of_peer},
    names::{self, Metric},
    registry::{Metrics, Seen},
};

/// The states of a link, as [`LinkReport::state`] has them.
const LINK_STATES: [&str; 8] =
    ["offline", "waiting", "connecting", "handshaking", "streaming", "transferring", "reconciling", "faulted"];

impl Metrics {
    /// Takes over how things stand. To be called before [`Metrics::render`].
    pub fn observe(&self, status: &Status) {
        let set = |metric: Metric, labels: Vec<Label>, value: f64| self.gauge(metric, labels).set(value);
        set(names::READY, vec![], f64::from(u8::from(status.ready)));
        set(names::UPTIME, vec![], status.uptime_ms as f64 / 1000.0);
        set(names::HEAD, vec![], status.head as f64);
        set(names::LOG_BYTES, vec![label("state", "live")], status.log_live_bytes as f64);
        set(names::LOG_BYTES, vec![label("state", "dead")], status.log_dead_bytes as f64);
        for cache in &status.caches {
            let labels = || vec![of_cache(&cache.name)];
            set(names::ENTRIES, labels(), cache.entries as f64);
            set(names::TOMBSTONES, labels(), cache.tombstones as f64);
            set(names::CACHE_BYTES, labels(), cache.bytes as f64);
        }
        let members = status.sessions.iter().filter(|session| session.member).count();
        set(names::SESSIONS, vec![label("kind", "member")], members as f64);
        set(names::SESSIONS, vec![label("kind", "other")], (status.sessions.len() - members) as f64);
        let subscriptions: u64 = status.sessions.iter().map(|session| u64::from(session.subscriptions)).sum();
        set(names::SUBSCRIPTIONS, vec![], subscriptions as f64);
        set(names::SITE_VIEW, vec![], members as f64);
        let both_ways = status.links.iter().filter(|link| link.incoming && link.state == "streaming").count();
        set(names::RELAY_VIEW, vec![], (1 + both_ways) as f64);
        for link in &status.links {
            self.observe_link(link);
        }
        for CertificateReport { certificate, site, ends } in &status.certificates {
            let labels = vec![Label::new("certificate", certificate.clone()), Label::new("site", site.to_string())];
            set(names::CERTIFICATE_ENDS, labels, (ends.as_millis() / 1000) as f64);
        }
        self.forget_gone(status);
    }

    /// What is there no more is none: a gauge would stand where it was for ever.
    fn forget_gone(&self, status: &Status) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in seen.caches.iter().filter(|gone| !status.caches.iter().any(|cache| cache.name == **gone)) {
            for metric in [names::ENTRIES, names::TOMBSTONES, names::CACHE_BYTES] {
                self.gauge(metric, vec![of_cache(gone)]).set(0.0);
            }
        }
        for gone in seen.peers.iter().filter(|gone| !status.links.iter().any(|link| link.peer == **gone)) {
            for metric in
                [names::LAG_CHANGES, names::LAG_SECONDS, names::SKEW, names::DIFFERENCES, names::DRIFT_CHECKED]
            {
                self.gauge(metric, vec![of_peer(*gone)]).set(0.0);
            }
            for state in LINK_STATES {
                self.gauge(names::LINK_STATE, vec![of_peer(*gone), label("state", state)]).set(0.0);
            }
            for cache in &seen.caches {
                for side in ["there", "here"] {
                    self.gauge(names::DRIFT, vec![of_peer(*gone), of_cache(cache), label("side", side)]).set(0.0);
                }
            }
        }
        *seen = Seen {
            caches: status.caches.iter().map(|cache| cache.name.clone()).collect(),
            peers: status.links.iter().map(|link| link.peer).collect(),
        };
    }

    fn observe_link(&self, link: &LinkReport) {
        let labels = || vec![of_peer(link.peer)];
        self.gauge(names::LAG_CHANGES, labels()).set(link.lag_changes as f64);
        self.gauge(names::LAG_SECONDS, labels()).set(link.lag_seconds);
        self.gauge(names::DIFFERENCES, labels()).set(link.differences.len() as f64);
        if let Some(drift) = &link.drift {
            for (side, lacked) in [("there", &drift.there), ("here", &drift.here)] {
                for (cache, records) in lacked {
                    let labels = vec![of_peer(link.peer), of_cache(cache), label("side", side)];
                    self.gauge(names::DRIFT, labels).set(*records as f64);
                }
            }
            if let Some(checked) = drift.checked {
                self.gauge(names::DRIFT_CHECKED, labels()).set((checked.as_millis() / 1000) as f64);
            }
        }
        if let Some(skew_ms) = link.skew_ms {
            self.gauge(names::SKEW, labels()).set(skew_ms as f64 / 1000.0);
        }
        for state in LINK_STATES {
            let labels = vec![of_peer(link.peer), label("state", state)];
            self.gauge(names::LINK_STATE, labels).set(f64::from(u8::from(link.state == state)));
        }
    }
}

fn label(name: &'static str, value: &'static str) -> Label {
    Label::from_static_parts(name, value)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
        time::Duration,
    };

    use landbridge_protocol::{
        error::{ErrorCode, Refusal},
        frame::admin::{CacheReport, DriftSummary, SessionReport},
        name::{CacheName, NodeName, SiteName},
    };

    use super::*;
    use crate::{
        certs::{RefusedBecause, Role},
        metrics::{Bound, Operation, Outcome, names::Kind},
    };

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    pub(crate) fn status() -> Status {
        let session = |name: &str, member| SessionReport {
            node: NodeName::new(name).unwrap(),
            site: site("site1"),
            member,
            address: "127.0.0.1:1".into(),
            subscriptions: 2,
            connected_ms: 5,
        };
        Status {
            site: site("site1"),
            origin: "site1/01".into(),
            software: "0.1.0".into(),
            ready: true,
            not_ready_because: None,
            head: 42,
            uptime_ms: 1500,
            log_live_bytes: 10,
            log_dead_bytes: 20,
            seen: vec![],
            dropped: vec![],
            sessions: vec![session("node11", true), session("node11.cli", false)],
            links: vec![LinkReport {
                peer: site("site2"),
                address: "<127.0.0.1:2>".into(),
                state: "streaming".into(),
                detail: String::new(),
                incoming: true,
                lag_changes: 3,
                lag_seconds: 0.25,
                skew_ms: Some(-1500),
                version: Some(1),
                software: Some("landbridge 0.1.0".into()),
                differences: vec!["cache a: merge is latest here".into()],
                drift: Some(Box::new(DriftSummary {
                    checked: Some(landbridge_protocol::time::Timestamp::from_millis(1_790_000_000_999)),
                    why_not: None,
                    there: vec![(CacheName::new("sessions").unwrap(), 3)],
                    here: vec![(CacheName::new("sessions").unwrap(), 0)],
                })),
            }],
            caches: vec![CacheReport {
                name: CacheName::new("sessions").unwrap(),
                merge: "remove_wins".into(),
                replicate: "async".into(),
                entries: 7,
                tombstones: 1,
                bytes: 700,
                conflicts: 2,
            }],
            site_view: "[node11|1] (1) [node11]".into(),
            relay_view: "[site1|1] (2) [site1, site2]".into(),
            former_sites: vec![],
            certificates: vec![CertificateReport {
                certificate: "own".into(),
                site: site("site1"),
                ends: landbridge_protocol::time::Timestamp::from_millis(1_800_000_000_999),
            }],
            warnings: vec!["site site3 is not <configured>".into()],
        }
    }

    fn everything_happened() -> Metrics {
        let metrics = Metrics::new();
        metrics.observe(&status());
        let cache = metrics.cache(&CacheName::new("sessions").unwrap());
        cache.answered(Operation::Put, Outcome::Done, Duration::from_micros(700));
        cache.expired(2);
        let link = metrics.link(site("site2"));
        link.sent(4, 400);
        link.received(1, 100);
        link.discarded();
        metrics.store().committed(64, Duration::from_millis(2));
        metrics.conflicts(&CacheName::new("sessions").unwrap(), site("site2"), 1);
        metrics.bound_hit(Bound::Inbox);
        metrics.refused_connection(RefusedBecause::Role);
        metrics.ended_connection(Role::Node, RefusedBecause::Revoked);
        metrics.refused(Role::Peer, &Refusal::new(ErrorCode::CursorMismatch, ""));
        metrics
    }

    #[test]
    fn every_metric_that_is_declared_can_be_seen_with_its_kind_and_words() {
        let metrics = everything_happened();
        metrics.upkeep();
        let page = metrics.render();
        for metric in names::ALL {
            assert!(page.contains(&format!("# HELP {} {}\n", metric.name, metric.words)), "{}\n{page}", metric.name);
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            assert!(page.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{} {kind}\n{page}", metric.name);
        }
        let families = page.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(families, names::ALL.len());
    }

    #[test]
    fn what_is_there_no_more_is_none() {
        let metrics = everything_happened();
        metrics.observe(&Status { caches: vec![], links: vec![], ..status() });
        let page = metrics.render();
        for line in [
            "landbridge_cache_entries{cache=\"sessions\"} 0",
            "landbridge_link_lag_changes{peer=\"site2\"} 0",
            "landbridge_link_state{peer=\"site2\",state=\"streaming\"} 0",
            "landbridge_configuration_differences{peer=\"site2\"} 0",
        ] {
            assert!(page.lines().any(|there| there == line), "{line}\n{page}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_report() {
        let page = everything_happened().render();
        for line in [
            "landbridge_ready 1",
            "landbridge_uptime_seconds 1.5",
            "landbridge_log_head 42",
            "landbridge_log_bytes{state=\"dead\"} 20",
            "landbridge_cache_entries{cache=\"sessions\"} 7",
            "landbridge_sessions{kind=\"member\"} 1",
            "landbridge_subscriptions 4",
            "landbridge_link_state{peer=\"site2\",state=\"streaming\"} 1",
            "landbridge_link_state{peer=\"site2\",state=\"faulted\"} 0",
            "landbridge_link_skew_seconds{peer=\"site2\"} -1.5",
            "landbridge_relay_view_members 2",
            "landbridge_certificate_expiry_timestamp_seconds{certificate=\"own\",site=\"site1\"} 1800000000",
            "landbridge_configuration_differences{peer=\"site2\"} 1",
            "landbridge_requests_total{cache=\"sessions\",op=\"put\",outcome=\"done\"} 1",
            "landbridge_link_bytes_total{peer=\"site2\",direction=\"sent\"} 400",
            "landbridge_bounds_hit_total{bound=\"inbox\"} 1",
            "landbridge_refused_connections_total{reason=\"role\"} 1",
            "landbridge_ended_connections_total{role=\"node\",reason=\"revoked\"} 1",
            "landbridge_refusals_total{role=\"peer\",error=\"cursor_mismatch\"} 1",
            "landbridge_request_seconds_bucket{op=\"put\",le=\"0.001\"} 1",
            "landbridge_request_seconds_bucket{op=\"put\",le=\"0.0005\"} 0",
        ] {
            assert!(page.lines().any(|there| there == line), "{line}\n{page}");
        }
    }

    #[test]
    fn two_relays_in_one_process_count_for_themselves() {
        let (one, other) = (everything_happened(), Metrics::new());
        assert!(one.render().contains("landbridge_ready"));
        assert!(!other.render().contains("landbridge_ready"));
    }

    /// Where Prometheus' own tool is installed, as in CI; elsewhere the names are held to its main rules by themselves.
    #[test]
    fn promtool_finds_nothing_to_say() {
        for metric in names::ALL {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("landbridge_") && !metric.name.ends_with("_count"), "{}", metric.name);
        }
        let mut tool = Command::new("promtool");
        let tool = tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut running) = tool.spawn() else { return };
        running.stdin.take().unwrap().write_all(everything_happened().render().as_bytes()).unwrap();
        let said = running.wait_with_output().unwrap();
        let words = [said.stdout, said.stderr].concat();
        assert!(said.status.success() && words.is_empty(), "{}", String::from_utf8_lossy(&words));
    }
}
