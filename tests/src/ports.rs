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
