//! Certificates, keys and trust change while relays run: who is good by the new ones goes on, who is not is closed.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    error::ErrorCode,
    frame::{ALPN_NODE, NodeToRelay, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, node::Hello},
    name::{NodeName, SiteName},
    time::{Millis, Timestamp},
};
use landbridge_relay::certs::{Development, REVOKED_FILE, certificate_dates, develop, revoke};
use landbridge_tests::{
    load::until_equal,
    metrics::{scrape, total},
    patience::{until, until_true},
    sites::{SITES, TwoSites, now},
    stranger::{Stranger, closed, next_frame},
};
use quinn::Connection;
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// Development certificates last two years.
const LIFE: Millis = Millis::from_secs(730 * 86_400);
const ENDED: &str = "landbridge_ended_connections_total";
const OFTEN: &str = "reload_every = \"100ms\"\n";

fn certs(sites: &TwoSites) -> PathBuf {
    sites.config(0).with_file_name("certs")
}

/// Certificates for both sites' relays and operators, and nodes of the first, which begin then.
fn issue(dir: &Path, nodes: &[&str], begin: Timestamp) {
    let site = |name: &str| SiteName::new(name).unwrap();
    let nodes = nodes.iter().map(|name| (site("site1"), NodeName::new(name).unwrap())).collect();
    let sites = SITES[..2].iter().map(|name| site(name)).collect();
    develop(&Development { dir: dir.into(), sites, nodes, now: begin }).unwrap();
}

/// A directory beside the certificates with others', by the same authority or by one of its own.
fn others(sites: &TwoSites, name: &str, same_authority: bool, nodes: &[&str], begin: Timestamp) -> PathBuf {
    let dir = certs(sites).with_file_name(name);
    fs::create_dir(&dir).unwrap();
    if same_authority {
        for file in ["ca.pem", "ca.key"] {
            fs::copy(certs(sites).join(file), dir.join(file)).unwrap();
        }
    }
    issue(&dir, nodes, begin);
    dir
}

/// Puts a file in place of another in one step, as those do who renew certificates.
fn put(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).unwrap();
    fs::rename(beside, to).unwrap();
}

fn put_pair(from: &Path, to: &Path, name: &str) {
    for end in ["key", "pem"] {
        put(&from.join(format!("{name}.{end}")), &to.join(format!("{name}.{end}")));
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// What the relay of a site shows to who connects.
async fn shown(stranger: &Stranger) -> CertificateDer<'static> {
    let connection = stranger.connect().await.unwrap();
    let chain = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
    chain[0].clone()
}

/// A node's session of site1, below the client library, which would connect anew.
async fn join(stranger: &Stranger, node: &str) -> Connection {
    let connection = stranger.connect().await.unwrap();
    let hello = NodeToRelay::Hello(Hello {
        version_min: OLDEST_PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        site: SiteName::new("site1").unwrap(),
        home: SiteName::new("site1").unwrap(),
        node: NodeName::new(node).unwrap(),
        member: true,
        software: "test".into(),
    });
    let mut bytes = BytesMut::new();
    hello.encode(1, &mut bytes).unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&bytes).await.unwrap();
    next_frame(&mut recv).await;
    // The session lasts as long as its stream.
    tokio::spawn({
        let connection = connection.clone();
        async move {
            connection.closed().await;
            drop((send, recv));
        }
    });
    connection
}

fn reloads(sites: &TwoSites, at: usize) -> usize {
    sites.log(at).matches("certificates were reloaded").count()
}

fn ended(sites: &TwoSites, at: usize, label: &str) -> f64 {
    total(&scrape(sites.port(at)), ENDED, label)
}

async fn links_stream(sites: &TwoSites) {
    until("the links to stream", async || {
        for at in 0..2 {
            let link = &sites.status(at).await["links"][0];
            if link["state"] != "streaming" || link["incoming"] != true {
                return None;
            }
        }
        Some(())
    })
    .await;
}

async fn often_reloading() -> TwoSites {
    let mut sites = TwoSites::prepare("");
    for at in 0..2 {
        sites.set_tls(at, OFTEN);
        sites.configure(at, "");
    }
    sites.start_all().await;
    sites
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_to_who_comes_and_disturbs_nobody_who_is_in() {
    let sites = often_reloading().await;
    let node = Stranger::new(&sites, 0, "node11", ALPN_NODE);
    let session = join(&node, "node11").await;
    links_stream(&sites).await;
    let own = certs(&sites).join("site1.relay.pem");
    assert_eq!(shown(&node).await, certificate(&own));
    let renewed = others(&sites, "renewed", true, &[], now().after(Millis::from_secs(600)));
    put_pair(&renewed, &certs(&sites), "site1.relay");
    until("the renewed one to be shown", async || {
        (shown(&node).await == certificate(&renewed.join("site1.relay.pem"))).then_some(())
    })
    .await;
    assert_eq!(sites.status(1).await["links"][0]["state"], "streaming");
    let (_, ends) = certificate_dates(&certificate(&own)).unwrap();
    let renewed_ends = (ends.as_millis() / 1000) as f64;
    let told = |of: &str| {
        total(
            &scrape(sites.port(0)),
            "landbridge_certificate_expiry_timestamp_seconds",
            &format!("certificate=\"{of}\""),
        )
    };
    until_true("the metric to have both ends", || {
        told("own") == renewed_ends && told("peer") > 0.0 && told("peer") < renewed_ends
    })
    .await;
    assert_eq!(session.close_reason(), None);
    assert_eq!([0, 1].map(|at| ended(&sites, at, "")), [0.0, 0.0]);
    // A link that is dialled from now on is dialled with it: the peer believes it.
    sites.cut(0, 1).await;
    sites.join(0, 1).await;
    links_stream(&sites).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_not_trusted_any_more_or_at_its_end_is_closed_with_the_reason_and_nobody_else() {
    let mut sites = TwoSites::prepare("");
    let certs = certs(&sites);
    let foreign = others(&sites, "foreign", false, &["foreign"], now());
    issue(&certs, &["revoked"], now());
    revoke(&certs, &[], now()).unwrap();
    put_pair(&foreign, &certs, "foreign");
    let crls = format!("crls = \"certs/{REVOKED_FILE}\"\ntrust_nodes = [\"certs/ca.pem\", \"foreign/ca.pem\"]\n");
    sites.set_tls(0, &format!("{OFTEN}{crls}"));
    sites.configure(0, "");
    sites.start_all().await;
    let node = |name: &str| Stranger::new(&sites, 0, name, ALPN_NODE);
    let undisturbed = join(&node("node11"), "node11").await;
    let resuming = node("revoked");
    let (revoked, foreigner) = (join(&resuming, "revoked").await, join(&node("foreign"), "foreign").await);

    revoke(&certs, &["revoked".into()], now()).unwrap();
    assert_eq!(closed(&revoked).await, ErrorCode::NameNotInCertificate);
    assert!(revoked.close_reason().unwrap().to_string().contains("the certificate was revoked by its authority"));
    // What the same client keeps of its former connection opens no door.
    let again = match resuming.connect().await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    };
    assert!(again.to_string().contains("revoked") || again.to_string().contains("Revoked"), "{again}");
    assert_eq!(foreigner.close_reason(), None);

    put(&certs.join("ca.pem"), &foreign.join("ca.pem"));
    assert_eq!(closed(&foreigner).await, ErrorCode::NameNotInCertificate);
    let why = foreigner.close_reason().unwrap().to_string();
    assert!(why.contains("no authority that is trusted for the role of node"), "{why}");

    // As long as it takes to get in, and no reload in sight.
    let begin = now().before(LIFE).after(Millis::from_secs(8));
    issue(&certs, &["short"], begin);
    let short = join(&node("short"), "short").await;
    let before = reloads(&sites, 0);
    assert_eq!(closed(&short).await, ErrorCode::NameNotInCertificate);
    assert!(short.close_reason().unwrap().to_string().contains("the certificate has expired"));
    assert!(now() >= begin.after(LIFE));
    assert_eq!(reloads(&sites, 0), before);

    for reason in ["revoked", "untrusted", "expired"] {
        until_true(reason, || ended(&sites, 0, &format!("role=\"node\",reason=\"{reason}\"")) == 1.0).await;
    }
    assert_eq!(ended(&sites, 0, ""), 3.0, "nobody else");
    until_true("the log", || sites.log(0).contains("connection closed: the certificate was revoked")).await;
    assert_eq!(undisturbed.close_reason(), None);
    links_stream(&sites).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_is_refused_whole_and_the_former_ones_stay() {
    let sites = often_reloading().await;
    let node = Stranger::new(&sites, 0, "node11", ALPN_NODE);
    let session = join(&node, "node11").await;
    let (own, former) = (certs(&sites).join("site1.relay.pem"), certs(&sites).with_file_name("former.pem"));
    put(&own, &former);
    // Another's certificate; and, in the same go, a bundle that would lock the node out.
    let foreign = others(&sites, "foreign", false, &[], now());
    put(&foreign.join("ca.pem"), &certs(&sites).join("ca.pem"));
    put(&certs(&sites).join("site2.relay.pem"), &own);
    until_true("the log to name it", || {
        let log = sites.log(0);
        log.contains("certificates were not reloaded, and the former stay in force")
            && log.contains("site1.relay.key is not the key of the certificate")
    })
    .await;
    assert_eq!(shown(&node).await, certificate(&former));
    assert_eq!(session.close_reason(), None);
    assert_eq!(ended(&sites, 0, "role=\"node\""), 0.0);
    // The bundle that was good alone is good again with the certificate.
    put(&former, &own);
    assert_eq!(closed(&session).await, ErrorCode::NameNotInCertificate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_is_replaced_in_three_steps_while_nodes_write_and_links_heal() {
    let sites = often_reloading().await;
    let nodes = sites.nodes().await;
    let write = async |key: &str| {
        nodes[0].raw("sessions").unwrap().put(key, Bytes::from_static(b"v")).await.unwrap();
        until_equal(&nodes, "sessions").await
    };
    assert_eq!(write("before").await, 1);
    let certs = certs(&sites);
    let next = certs.with_file_name("next");
    fs::create_dir(&next).unwrap();
    let site = |name: &str| SiteName::new(name).unwrap();
    let of = |at: &str, name: &str| (site(at), NodeName::new(name).unwrap());
    let all = vec![of("site1", "node11"), of("site2", "node21")];
    let both = vec![site("site1"), site("site2")];
    develop(&Development { dir: next.clone(), sites: both, nodes: all, now: now() }).unwrap();

    // Both authorities are trusted, by everybody.
    let former = fs::read_to_string(certs.join("ca.pem")).unwrap();
    let bundle = certs.with_file_name("bundle.pem");
    fs::write(&bundle, former + &fs::read_to_string(next.join("ca.pem")).unwrap()).unwrap();
    put(&bundle, &certs.join("ca.pem"));
    until_true("both to trust both", || [0, 1].iter().all(|at| reloads(&sites, *at) >= 1)).await;
    assert_eq!(write("both").await, 2);

    // Everybody has a certificate of the new one.
    for name in ["site1.relay", "site2.relay", "site1.admin", "site2.admin", "node11", "node21"] {
        put_pair(&next, &certs, name);
    }
    for at in 0..2 {
        let stranger = Stranger::new(&sites, at, ["node11", "node21"][at], ALPN_NODE);
        let wanted = certificate(&next.join(format!("{}.relay.pem", SITES[at])));
        until("the new certificates to be shown", async || (shown(&stranger).await == wanted).then_some(())).await;
    }
    assert_eq!(write("renewed").await, 3);
    assert_eq!([0, 1].map(|at| ended(&sites, at, "")), [0.0, 0.0], "so far nobody was disturbed");

    // The former one goes: what was connected with its certificates is closed, and comes again with the new ones.
    put(&next.join("ca.pem"), &certs.join("ca.pem"));
    let untrusted = |at: usize, role: &str| ended(&sites, at, &format!("role=\"{role}\",reason=\"untrusted\""));
    for at in 0..2 {
        until_true("the nodes' connections to be closed", || untrusted(at, "node") >= 1.0).await;
    }
    // By whichever relay was the first to look.
    until_true("the links' connections to be closed", || untrusted(0, "peer") + untrusted(1, "peer") >= 2.0).await;
    links_stream(&sites).await;
    assert_eq!(write("after").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_revoked_is_cut_off_both_ways_and_comes_back_with_another_certificate() {
    let mut sites = TwoSites::prepare("");
    let certs = certs(&sites);
    revoke(&certs, &[], now()).unwrap();
    sites.set_tls(0, &format!("{OFTEN}crls = \"certs/{REVOKED_FILE}\"\n"));
    sites.configure(0, "");
    sites.set_tls(1, OFTEN);
    sites.configure(1, "");
    sites.start_all().await;
    let nodes = sites.nodes().await;
    links_stream(&sites).await;
    revoke(&certs, &["site2.relay".into()], now()).unwrap();
    until_true("both connections to be closed", || ended(&sites, 0, "role=\"peer\",reason=\"revoked\"") == 2.0).await;
    until("the link to say why", async || {
        let link = &sites.status(0).await["links"][0];
        let why = link["detail"].as_str().unwrap_or_default().to_owned();
        (link["state"] != "streaming" && link["incoming"] == false && why.contains("evoked")).then_some(())
    })
    .await;
    nodes[1].raw("sessions").unwrap().put("meanwhile", Bytes::from_static(b"v")).await.unwrap();
    let renewed = others(&sites, "renewed", true, &[], now());
    put_pair(&renewed, &certs, "site2.relay");
    links_stream(&sites).await;
    assert_eq!(until_equal(&nodes, "sessions").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_an_operators_word_certificates_are_renewed_refused_or_revoked_at_once() {
    let mut sites = TwoSites::prepare("");
    let certs = certs(&sites);
    issue(&certs, &["lost", "stolen"], now());
    sites.set_tls(0, "reload_every = \"off\"\n");
    sites.configure(0, "");
    sites.start_all().await;
    let node = |name: &str| Stranger::new(&sites, 0, name, ALPN_NODE);
    let undisturbed = join(&node("node11"), "node11").await;
    let (lost, stolen) = (join(&node("lost"), "lost").await, join(&node("stolen"), "stolen").await);
    let own = certs.join("site1.relay.pem");
    let (_, text, _) = sites.command(0, &["status"]).await;
    assert!(text.contains("certificate ends in 730 days\n") && !text.contains("note: "), "{text}");

    // Renewed, though not for long: that is told where it is done, and in the status.
    let begin = now().before(LIFE).after(Millis::from_secs(7 * 86_400 + 900));
    let renewed = others(&sites, "renewed", true, &[], begin);
    put_pair(&renewed, &certs, "site1.relay");
    let told = sites.reload(0, "").await;
    for file in ["key", "pem"].map(|end| certs.join(format!("site1.relay.{end}"))) {
        assert!(told.contains(&format!("{}: read anew", file.display())), "{told}");
    }
    let soon = format!("note: the certificate {} ends in 7 days\n", own.display());
    assert!(told.contains("2 changed") && told.contains(&soon), "{told}");
    assert_eq!(shown(&node("node11")).await, certificate(&own));
    let (_, text, _) = sites.command(0, &["status"]).await;
    assert!(text.contains("certificate ends in 7 days\n") && text.contains(&soon), "{text}");

    // One that is not the key's is refused with the reason, by either word, and the former stays.
    put(&certs.join("site2.relay.pem"), &own);
    let (code, out, err) = sites.command(0, &["reload"]).await;
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("the old one stays") && err.contains("site1.relay.key is not the key of the"), "{err}");
    let refused = || sites.log(0).matches("the configuration is refused, and the old one stays").count();
    until_true("the log to tell", || refused() == 1).await;
    sites.signal(0, "HUP").await;
    until_true("the log to tell", || refused() == 2).await;
    assert_eq!(shown(&node("node11")).await, certificate(&renewed.join("site1.relay.pem")));
    put(&renewed.join("site1.relay.pem"), &own);
    assert!(sites.reload(0, "").await.contains("changes nothing"));

    // Revoked by the command; the list is new to the relay, and grows.
    let dir = certs.display().to_string();
    let revoke = async |name: &str| {
        let (code, out, err) = sites.command(0, &["certs", "--dir", &dir, "--revoke", name]).await;
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains(REVOKED_FILE) && out.contains(name), "{out}");
    };
    revoke("lost").await;
    assert!(sites.reload(0, "").await.contains("changes nothing"), "it has no such list yet");
    assert_eq!(lost.close_reason(), None);
    let config = fs::read_to_string(sites.config(0)).unwrap();
    let crls = format!("[tls]\ncrls = \"certs/{REVOKED_FILE}\"\n");
    fs::write(sites.config(0), config.replace("[tls]\n", &crls)).unwrap();
    let (_, told, err) = sites.command(0, &["reload"]).await;
    assert!(told.contains("tls.crls: was [], is ["), "{told}{err}");
    assert!(told.contains("connections closed, as their certificates are not good any more: 1"), "{told}");
    assert_eq!(closed(&lost).await, ErrorCode::NameNotInCertificate);
    assert_eq!(stolen.close_reason(), None);
    revoke("stolen").await;
    sites.signal(0, "HUP").await;
    assert_eq!(closed(&stolen).await, ErrorCode::NameNotInCertificate);
    assert!(stolen.close_reason().unwrap().to_string().contains("the certificate was revoked by its authority"));
    assert_eq!(undisturbed.close_reason(), None);
    until_true("both to be counted", || ended(&sites, 0, "role=\"node\",reason=\"revoked\"") == 2.0).await;
    assert_eq!(ended(&sites, 0, ""), 2.0, "nobody else");
    links_stream(&sites).await;
}
