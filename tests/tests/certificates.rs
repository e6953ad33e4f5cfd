//! Promise 7: certificates that have ended, or have not begun, open no door on running relays, either way.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use landbridge_client::{Client, ConnectError, Profile};
use landbridge_protocol::{
    name::{NodeName, SiteName},
    time::{Millis, Timestamp},
};
use landbridge_relay::certs::{Development, develop};
use landbridge_tests::{
    patience::{until, until_true},
    sites::{TwoSites, now},
};

const DAY: u64 = 86_400_000;

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

/// Issues certificates that begin then, under the authority in that directory.
fn issue(dir: &Path, sites: &[&str], nodes: &[&str], begin: Timestamp) {
    let sites = sites.iter().map(|name| site(name)).collect();
    let nodes = nodes.iter().map(|name| (site("site1"), NodeName::new(name).unwrap())).collect();
    develop(&Development { dir: dir.into(), sites, nodes, now: begin }).unwrap();
}

/// Development certificates last two years.
fn ended() -> Timestamp {
    Timestamp::from_millis(now().as_millis() - 800 * DAY)
}

async fn connect(sites: &TwoSites, name: &str) -> Result<Client, ConnectError> {
    let good = Profile::load(sites.profile(0, "node11")).unwrap();
    let file = |ending: &str| good.certificate.with_file_name(format!("{name}.{ending}"));
    let profile = Profile { node: name.parse().unwrap(), certificate: file("pem"), key: file("key"), ..good };
    Client::builder().profile(profile).connect_timeout(Duration::from_secs(10)).connect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gets_in_only_while_its_certificate_is_good() {
    let sites = TwoSites::start().await;
    let good = Profile::load(sites.profile(0, "node11")).unwrap();
    let dir = good.certificate.parent().unwrap();
    issue(dir, &[], &["ended"], ended());
    issue(dir, &[], &["to-come"], now().after(Millis::new(10 * DAY)));
    issue(dir, &[], &["good"], now());
    let node = connect(&sites, "good").await.unwrap();
    let cases = [("ended", "certificate expired"), ("to-come", "certificate not valid yet")];
    for (said, (name, why)) in cases.into_iter().enumerate() {
        let refused = connect(&sites, name).await.err().unwrap_or_else(|| panic!("{name} got in"));
        assert!(refused.to_string().contains(why), "{name}: {refused}");
        // A node may hear of it before the relay's handshake has ended.
        until_true("the relay to say so", || sites.log(0).matches("connection refused").count() > said).await;
    }
    node.raw("sessions").unwrap().put("k", Bytes::from_static(b"undisturbed")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_whose_certificate_has_ended_is_not_believed_by_peers_and_nodes() {
    let mut sites = TwoSites::start().await;
    let certs = sites.config(1).with_file_name("certs");
    let aside = sites.config(1).with_file_name("ended");
    fs::create_dir(&aside).unwrap();
    for file in ["ca.pem", "ca.key"] {
        fs::copy(certs.join(file), aside.join(file)).unwrap();
    }
    issue(&aside, &["site2"], &[], ended());
    let config = fs::read_to_string(sites.config(1)).unwrap();
    fs::write(sites.config(1), config.replace("certs/site2.relay", "ended/site2.relay")).unwrap();
    sites.kill(1).await;
    let config = sites.config(1).display().to_string();
    let (code, _, err) = sites.command(1, &["check", "--config", &config]).await;
    assert_ne!(code, Some(0));
    assert!(err.contains("has expired"), "{err}");
    sites.spawn(1);
    until("site1 to say what is wrong", async || {
        let status = sites.status(0).await;
        let link = &status["links"][0];
        let said = link["detail"].as_str().unwrap_or_default().contains("xpired");
        (said && link["state"] != "streaming" && link["incoming"] == false).then_some(())
    })
    .await;
    let profile = Profile::load(sites.profile(1, "node21")).unwrap();
    let refused = Client::builder().profile(profile).connect_timeout(Duration::from_secs(5)).connect().await;
    assert!(refused.is_err(), "a node does not believe it either");
    let node = sites.node(0, "node11").await;
    node.raw("sessions").unwrap().put("k", Bytes::from_static(b"undisturbed")).await.unwrap();
}
