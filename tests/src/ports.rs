//! Ephemeral ports that are free as UDP and as TCP.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// A port of loopback that nobody has now, neither UDP nor TCP.
///
/// # Panics
/// When a hundred tries find none.
pub fn free() -> u16 {
    for _ in 0..100 {
        let Ok(tcp) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { continue };
        let Ok(SocketAddr::V4(address)) = tcp.local_addr() else { continue };
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
    panic!("no port of loopback is free both as UDP and as TCP");
}

/// A free port above which, as far apart as a demo's relays are, there are as many as the demo has further sites.
///
/// # Panics
/// When a hundred tries find none.
pub fn free_for_a_demo(sites: u16) -> u16 {
    const APART: u16 = 1000;
    let usable = |port: u16| {
        let address = (Ipv4Addr::LOCALHOST, port);
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    };
    let suits = |port: &u16| (1..sites).all(|at| port.checked_add(at * APART).is_some_and(usable));
    let found = (0..100).map(|_| free()).find(suits);
    found.expect("no free ports are a demo's distance apart")
}
