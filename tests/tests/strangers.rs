//! Promise 7: nobody without the certificate for that role and site gets in; each refusal is counted, and disturbs nobody.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use bytes::Bytes;
use landbridge_client::{Client, Profile};
use landbridge_tests::{
    metrics::{scrape, total},
    sites::TwoSites,
};

async fn refused(profile: Profile) -> String {
    let connected = Client::builder().profile(profile).connect_timeout(Duration::from_secs(10)).connect().await;
    connected.err().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_another_role_site_or_authority_are_refused_and_counted() {
    let sites = TwoSites::start().await;
    let others = TwoSites::prepare("");
    let node = sites.node(0, "node11").await;
    let good = Profile::load(sites.profile(0, "node12")).unwrap();
    let certs = good.certificate.parent().unwrap().to_path_buf();
    let with = |certificate: &str| Profile {
        certificate: certs.join(format!("{certificate}.pem")),
        key: certs.join(format!("{certificate}.key")),
        ..good.clone()
    };
    let before = total(&scrape(sites.port(0)), "landbridge_refused_connections_total", "");

    // a peer's certificate for a node's ALPN; another site's node; a node of another name; another authority's
    refused(with("site2.relay")).await;
    refused(with("node21")).await;
    let said = refused(with("node11")).await;
    assert!(said.contains("node12"), "the refusal names the name: {said}");
    let foreign = Profile::load(others.profile(0, "node12")).unwrap();
    refused(Profile { certificate: foreign.certificate, key: foreign.key, ..good.clone() }).await;
    // the wrong site, by name
    refused(Profile { site: "site9".parse().unwrap(), ..good.clone() }).await;

    let after = total(&scrape(sites.port(0)), "landbridge_refused_connections_total", "");
    assert!(after >= before + 3.0, "refusals are counted: {before} before, {after} after");
    node.raw("sessions").unwrap().put("k", Bytes::from_static(b"undisturbed")).await.unwrap();
    let (code, _, err) = sites.command(0, &["put", "sessions", "by-operator", "v"]).await;
    assert_eq!(code, Some(0), "{err}");
}
