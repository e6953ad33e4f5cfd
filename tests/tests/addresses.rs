//! Nodes, peers, operators and HTTP each at an address of their own; who comes to another's is not let in.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{fs, time::Duration};

use bytes::Bytes;
use landbridge_client::{Client, Profile};
use landbridge_tests::{load::contents, patience::until, ports, sites::TwoSites};

/// The ports of a site besides that of its nodes.
#[derive(Clone, Copy)]
struct Apart {
    peers: u16,
    admins: u16,
    http: u16,
}

/// Puts a relay's addresses apart, in its configuration and in the operator's profile.
fn put_apart(sites: &TwoSites, at: usize, Apart { peers, admins, http }: Apart) {
    let config = fs::read_to_string(sites.config(at)).unwrap();
    let settings = format!(
        "listen_peers = \"127.0.0.1:{peers}\"\nlisten_admin = \"127.0.0.1:{admins}\"\nlisten_http = \"127.0.0.1:{http}\"\nlisten = "
    );
    fs::write(sites.config(at), config.replacen("listen = ", &settings, 1)).unwrap();
    let profile = fs::read_to_string(sites.profile(at, "operator")).unwrap();
    let here = |port: u16| format!("127.0.0.1:{port}");
    fs::write(sites.profile(at, "operator"), profile.replace(&here(sites.port(at)), &here(admins))).unwrap();
}

/// Connects a node to that port of loopback; whether it is let in.
async fn is_let_in(sites: &TwoSites, port: u16) -> bool {
    let profile = Profile::load(sites.profile(0, "node11")).unwrap();
    let profile = Profile { relay: format!("127.0.0.1:{port}"), ..profile };
    Client::builder().profile(profile).connect_timeout(Duration::from_secs(3)).connect().await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_has_a_socket_and_is_refused_at_the_others() {
    let apart = [(); 2].map(|()| Apart { peers: ports::free(), admins: ports::free(), http: ports::free() });
    let mut sites = TwoSites::prepare("");
    for at in [0, 1] {
        sites.dial_through(at, 1 - at, apart[1 - at].peers);
        sites.configure(at, "");
        put_apart(&sites, at, apart[at]);
    }
    sites.start_all().await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    one.raw("sessions").unwrap().put("k", Bytes::from_static(b"v")).await.unwrap();
    until("the entry at site2", async || (contents(&two, "sessions").await.len() == 1).then_some(())).await;
    sites.done(0, &["status"]).await;
    assert!(std::net::TcpStream::connect(("127.0.0.1", apart[0].http)).is_ok());
    assert!(std::net::TcpStream::connect(("127.0.0.1", sites.port(0))).is_err(), "HTTP is not beside `listen`");

    // A node where peers and operators connect, an operator where nodes do, a peer where nodes do.
    assert!(is_let_in(&sites, sites.port(0)).await);
    assert!(!is_let_in(&sites, apart[0].peers).await);
    assert!(!is_let_in(&sites, apart[0].admins).await);
    let profile = fs::read_to_string(sites.profile(0, "operator")).unwrap();
    for port in [sites.port(0), apart[0].peers] {
        let wrong = profile.replace(&apart[0].admins.to_string(), &port.to_string());
        fs::write(sites.profile(0, "operator"), wrong).unwrap();
        let (code, out, err) = sites.command(0, &["status"]).await;
        assert_eq!(code, Some(2), "{out}{err}");
    }
    fs::write(sites.profile(0, "operator"), profile).unwrap();
    sites.kill(1).await;
    sites.dial_through(1, 0, sites.port(0));
    sites.configure(1, "");
    put_apart(&sites, 1, apart[1]);
    sites.spawn(1);
    sites.ready(1).await;
    until("site2's link to say that it is not let in", async || {
        let status = sites.status(1).await;
        let link = &status["links"][0];
        (link["incoming"] == true && !link["detail"].as_str().unwrap_or_default().is_empty()).then_some(())
    })
    .await;
    assert_ne!(sites.status(1).await["links"][0]["state"], "streaming");
}
