//! A relay's metrics, as a scraper reads them.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

/// `/metrics` of the relay at that port.
///
/// # Panics
/// When it does not answer.
pub fn scrape(port: u16) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the relay serves HTTP");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("a request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("metrics are text");
    answer
}

/// The sum of a metric's samples whose labels contain `label`.
pub fn total(metrics: &str, name: &str, label: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
