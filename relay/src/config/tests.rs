//! What is refused, and in which words.

use std::path::Path;

use landbridge_protocol::{record::Merge, time::Millis};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

const MINIMAL: &str = r#"
site = "site1"
[store]
dir = "store"
[tls]
certificate = "a.pem"
key = "a.key"
trust = ["ca.pem", "/etc/other.pem"]
"#;

fn parse(text: &str) -> Result<RelayConfig, Vec<String>> {
    RelayConfig::parse(text, Path::new("/conf")).map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

fn problems(top: &str, below: &str) -> Vec<String> {
    parse(&format!("{top}{MINIMAL}{below}")).expect_err("this must be refused")
}

fn only(top: &str, below: &str) -> String {
    let mut all = problems(top, below);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:12232");
    assert_eq!(config.http_address(12232).to_string(), "127.0.0.1:12232");
    assert_eq!(config.store.dir, Path::new("/conf/store"));
    assert_eq!(config.tls.trust_peers, [Path::new("/conf/ca.pem"), Path::new("/etc/other.pem")]);
    let caches: Vec<_> = config.caches.iter().map(|cache| (cache.name.as_str(), cache.merge, cache.lifespan)).collect();
    let expected = [
        ("work", Merge::Latest, Some(Millis::from_secs(120))),
        ("sessions", Merge::RemoveWins, None),
        ("offlineSessions", Merge::RemoveWins, None),
        ("actionTokens", Merge::Latest, None),
        ("loginFailures", Merge::Latest, None),
    ];
    assert_eq!(caches, expected);
    assert!(config.caches.iter().all(|cache| cache.replicate == Replicate::Async));
    assert!(config.caches.iter().all(|cache| cache.messages == (cache.name.as_str() == "work")));
}

#[test]
fn http_stays_on_loopback_unless_told_otherwise() {
    let open = parse(&format!("listen = \"0.0.0.0:5000\"{MINIMAL}")).unwrap();
    assert_eq!(open.http_address(5000).to_string(), "127.0.0.1:5000");
    let told = parse(&format!("listen_http = \"0.0.0.0:80\"{MINIMAL}")).unwrap();
    assert_eq!(told.http_address(5000).to_string(), "0.0.0.0:80");
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
    let told = only("", "[limits]\nmax_sesions = 5\n");
    assert_eq!(told, "line 10: unknown key `max_sesions` in [limits]; did you mean `max_sessions`?");
    assert_eq!(only("lisen = \"127.0.0.1:1\"", ""), "line 1: unknown key `lisen` at the top; did you mean `listen`?");
    let told = only("", "[[peers]]\nsite = \"site2\"\naddress = \"h:1\"\nqqqq = 1\n");
    assert_eq!(
        told,
        "line 12: unknown key `qqqq` in [peers]; known there: site, address, offline, after_failures, min_wait, \
         max_bytes_per_second"
    );
}

#[test]
fn all_problems_are_told_at_once_and_in_order() {
    let text = "site = 5\nlisten = \"here\"\n[store]\nfsync = \"yes\"\n[limits]\nidle_timeout = 10\nmax_sessions = 0\nmax_inbox = -1\n";
    let told = parse(text).unwrap_err();
    for (problem, begin) in told.iter().zip([
        "line 1: `site`: this is of type integer where text belongs",
        "line 2: `listen`: \"here\" is no address to listen at",
        "line 3: `store.dir` is missing: it is the directory of the log",
        "line 4: `store.fsync`: this is of type string where true or false belongs",
        "line 6: `limits.idle_timeout`: this is of type integer where text belongs, such as \"10s\"",
        "line 7: `limits.max_sessions` is 0; it may be 1 to 65536",
        "line 8: `limits.max_inbox`: this is -1 where a whole number from 0 belongs",
        "`tls.certificate` is missing",
        "`tls.key` is missing",
        "`tls.trust` is missing",
    ]) {
        assert!(problem.starts_with(begin), "{problem}\n{begin}");
    }
    assert_eq!(told.len(), 10, "{told:?}");
}

#[test]
fn settings_of_later_versions_are_refused_with_what_to_do() {
    for (setting, words) in [
        ("merge = \"counter\"", "`caches.merge`: \"counter\" is not in this version: use \"latest\""),
        ("atomic = \"home\"", "`caches.atomic`: \"home\" is not in this version: use \"site\""),
        ("replicate = \"sync\"", "`caches.replicate`: \"sync\" is not in this version: use \"async\""),
        ("sites = [\"site1\"]", "`caches.sites` is not in this version: leave it out"),
        ("max_idle = \"10m\"", "`caches.max_idle` is not in this version: use `lifespan`"),
    ] {
        let told = only("", &format!("[[caches]]\nname = \"a\"\n{setting}\n"));
        assert!(told.starts_with(&format!("line 11: {words}")), "{told}");
    }
    assert!(parse(&format!("{MINIMAL}[[caches]]\nname = \"a\"\natomic = \"site\"\n")).is_ok());
}

#[test]
fn what_is_there_twice_or_contradicts_itself_is_refused() {
    let peer = |site: &str| format!("[[peers]]\nsite = \"{site}\"\naddress = \"h:1\"\n");
    assert!(
        only("", &peer("site1")).contains("line 9: site1 is this relay's own site"),
        "{}",
        only("", &peer("site1"))
    );
    assert!(only("", &(peer("site2") + &peer("site2"))).contains("the peer site2 is there twice"));
    let cache = "[[caches]]\nname = \"a\"\n";
    assert!(only("", &format!("{cache}{cache}")).contains("the cache a is there twice"));
    let limits = |text: &str| only("", &format!("[limits]\n{text}\n"));
    assert!(limits("keep_alive = \"8s\"").contains("at most half of `limits.idle_timeout`"));
    assert!(limits("max_entry_bytes = \"4MiB\"").contains("16 KiB less than `max_frame_bytes`"));
    let large = only("", "[[caches]]\nname = \"a\"\nmax_entry_bytes = \"4MiB\"\n");
    assert!(large.contains("an entry of 4MiB in cache a does not fit a frame"), "{large}");
    let replication = only("", "[replication]\nbackoff_min = \"11s\"\n");
    assert!(replication.contains("line 10: `replication.backoff_min` is longer than `backoff_max`"), "{replication}");
    assert!(only("listen_admin = \"127.0.0.1:12232\"", "").contains("leave it out"));
}

#[test]
fn addresses_to_dial_have_a_host_and_a_port() {
    for good in ["127.0.0.1:1", "relay.example:12232", "[::1]:65535"] {
        assert!(good.parse::<PeerAddress>().is_ok(), "{good}");
    }
    for bad in ["", "host", ":1", "host:0", "host:65536", "::1:5", "my host:5"] {
        assert!(bad.parse::<PeerAddress>().is_err(), "{bad}");
    }
}

#[test]
fn a_text_that_is_no_toml_is_told_by_line() {
    let told = parse("site = \"site1\"\nlisten = \n").unwrap_err();
    assert!(told.iter().any(|problem| problem.starts_with("line 2: ")), "{told:?}");
    let told = problems("", "[[caches]]\nname = \"a\"\nname = \"b\"\n");
    assert!(told.iter().any(|problem| problem.contains("duplicate")), "{told:?}");
}

#[test]
fn a_section_in_the_wrong_shape_is_told_how_to_write_it() {
    assert!(problems("limits = 5", "")[0].contains("write [limits] on a line by itself"));
    assert!(problems("peers = \"site2\"", "")[0].contains("write [[peers]] above each"));
}

mod checking {
    use std::{
        fs,
        net::{TcpListener, UdpSocket},
        path::PathBuf,
    };

    use landbridge_protocol::{
        name::SiteName,
        time::{Millis, Timestamp},
    };
    use tempfile::TempDir;

    use super::*;
    use crate::certs::{Development, develop};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    struct Place {
        dir: TempDir,
        file: PathBuf,
    }

    fn free_udp_and_tcp_port() -> u16 {
        // Both are let go again; the ports are ephemeral and not given out anew at once.
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.local_addr().unwrap().port()
    }

    fn place(change: impl Fn(String) -> String) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let sites = vec![SiteName::new("site1").unwrap(), SiteName::new("site2").unwrap()];
        develop(&Development { dir: dir.path().into(), sites, nodes: vec![], now: NOW }).unwrap();
        let port = free_udp_and_tcp_port();
        let text = format!(
            "site = \"site1\"\nlisten = \"127.0.0.1:{port}\"\nlisten_http = \"127.0.0.1:0\"\n[store]\ndir = \"a/b/store\"\n\
             [tls]\ncertificate = \"site1.relay.pem\"\nkey = \"site1.relay.key\"\ntrust = \"ca.pem\"\n\
             [[peers]]\nsite = \"site2\"\naddress = \"127.0.0.1:9\"\n"
        );
        let file = dir.path().join("relay.toml");
        fs::write(&file, change(text)).unwrap();
        Place { dir, file }
    }

    fn told(place: &Place, now: Timestamp) -> String {
        check(&place.file, now).expect_err("this must be found").problems().join("\n")
    }

    #[test]
    fn what_would_start_is_fine_and_nothing_is_left_behind() {
        let place = place(|text| text);
        let checked = check(&place.file, NOW).unwrap();
        assert_eq!(checked.warnings, Vec::<String>::new());
        assert!(!place.dir.path().join("a").exists());
        let soon = NOW.after(Millis::from_secs(725 * 86_400));
        let warnings = check(&place.file, soon).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].ends_with("site1.relay.pem ends in 5 days"), "{warnings:?}");
    }

    #[test]
    fn dates_of_certificates_are_told() {
        let place = place(|text| text);
        let late = told(&place, NOW.after(Millis::from_secs(740 * 86_400)));
        assert!(late.contains("site1.relay.pem has expired 10 days ago") && !late.contains("ca.pem"), "{late}");
        let early = told(&place, NOW.before(Millis::from_secs(86_400)));
        assert!(early.contains("ca.pem is not valid for another 23 hours"), "{early}");
    }

    #[test]
    fn files_that_are_missing_or_do_not_fit_are_told_together() {
        let place = place(|text| {
            text.replace("site1.relay.key", "site2.relay.key").replace("\"ca.pem\"", "[\"none.pem\", \"ca.key\"]")
        });
        let told = told(&place, NOW);
        assert!(told.contains("is not the key of the certificate"), "{told}");
        assert!(told.contains("none.pem") && told.contains("there is no trusted certificate in"), "{told}");
    }

    #[test]
    fn anothers_certificate_is_told() {
        let place = place(|text| text.replace("site1.relay", "site2.relay"));
        let told = told(&place, NOW);
        assert!(told.contains("does not bear DNS:site1") && told.contains("URI:landbridge://site1/peer"), "{told}");
    }

    #[test]
    fn addresses_in_use_are_told() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let (udp, tcp) =
            (udp.local_addr().map(|address| (udp, address)), tcp.local_addr().map(|address| (tcp, address)));
        let ((_udp, udp), (_tcp, tcp)) = (udp.unwrap(), tcp.unwrap());
        let place = place(|text| {
            let rest = text.lines().skip(3).collect::<Vec<_>>().join("\n");
            format!("site = \"site1\"\nlisten = \"{udp}\"\nlisten_http = \"{tcp}\"\n{rest}")
        });
        let told = told(&place, NOW);
        assert!(told.contains(&format!("`listen`: {udp} (UDP) is in use")), "{told}");
        assert!(told.contains(&format!("`listen_http`: {tcp} (TCP) is in use")), "{told}");
    }

    #[test]
    fn a_store_under_a_file_is_told() {
        let place = place(|text| text.replace("a/b/store", "ca.pem/store"));
        assert!(told(&place, NOW).contains("is no directory"));
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let error = check(Path::new("/nowhere/relay.toml"), NOW).unwrap_err();
        assert!(error.problems()[0].contains("can't read the configuration /nowhere/relay.toml: "));
    }
}

/// What an operator, or a broken disk, may leave in the file.
const MUTATED: &str = r#"
site = "site1"
listen = "127.0.0.1:12232"
[store]
dir = "store"
min_free_bytes = "64MiB"
[tls]
certificate = "a.pem"
key = "a.key"
trust = "ca.pem"
[[peers]]
site = "site2"
address = "relay.site2.example:12232"
[limits]
max_frame_bytes = "4MiB"
idle_timeout = "10s"
[[caches]]
name = "work"
merge = "latest"
lifespan = "120s"
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_is_no_configuration(text in "\\PC{0,200}") {
        prop_assert!(parse(&text).is_err());
    }

    #[test]
    fn a_mutated_configuration_is_read_or_every_problem_is_said(
        changes in vec((any::<Index>(), any::<u8>()), 1..6),
        length in any::<Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = MUTATED.as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        if let Err(problems) = parse(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.is_empty()));
        }
    }
}

#[test]
fn the_configuration_that_is_mutated_is_good() {
    assert_eq!(parse(MUTATED).unwrap().peers.len(), 1);
}
