//! What an entry costs in memory besides its value, which is in the log: `cargo bench -p landbridge --bench index_memory`.
//!
//! A million entries are put into the state of a relay that keeps no log, in a scattered order, and the growth of the
//! process's resident memory is divided by their number. Each length of key has a process of its own, so that none has what
//! another has left.

mod common;

use std::{fs, process::Command as Process};

use bytes::Bytes;
use landbridge_protocol::{
    frame::node::{Operation, Write},
    position::Sequence,
    record::{ClientId, Key, Record, WriteToken},
    time::{Millis, Timestamp},
    version::RunId,
};
use landbridge_relay::engine::{
    command::Command,
    header::{ReadError, Records},
    replica::Replica,
};

use common::{cache, config, node};

const ENTRIES: u64 = 1_000_000;
const GROUP: u64 = 256;
const KEY_BYTES: [usize; 4] = [16, 22, 36, 64];
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

struct NoLog;

impl Records for NoLog {
    fn record(&self, sequence: Sequence) -> Result<Record, ReadError> {
        Err(ReadError { sequence, reason: "nothing is kept".into() })
    }
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("resident memory");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}

fn put(number: u64, key_bytes: usize, lifespan: Option<Millis>) -> Command {
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let key = Key::new(format!("{scattered:0key_bytes$x}").into_bytes()).expect("a key");
    let token = WriteToken { client: ClientId(1), number };
    let write = Write::new(Operation::Put, cache(), key, token, Bytes::from_static(&[7; 256]));
    Command::Write { node: node(), write: Write { lifespan, ..write } }
}

fn measure(key_bytes: usize, lifespan: Option<Millis>) -> f64 {
    let mut replica = Replica::new(config("site1", &[]), RunId(1), NOW);
    let before = resident_bytes();
    for first in (0..ENTRIES).step_by(GROUP as usize) {
        let mut group = replica.begin(NOW);
        for number in first..ENTRIES.min(first + GROUP) {
            group.step(put(number, key_bytes, lifespan), &NoLog).expect("a put is taken");
        }
        let staged = group.finish();
        replica.publish(staged);
    }
    let bytes = (resident_bytes() - before) as f64 / ENTRIES as f64;
    let held = replica.stats(&cache()).expect("the cache is there");
    assert_eq!(held.entries, ENTRIES);
    bytes
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--key-bytes") {
        let lifespan = args.iter().any(|arg| arg == "--lifespan").then_some(Millis::from_secs(3600));
        let bytes = measure(args[at + 1].parse().expect("a number"), lifespan);
        println!("{bytes:.0}");
        return;
    }
    println!("resident bytes an entry besides its value, of {ENTRIES} entries");
    println!("{:>9} {:>9} {:>13}", "key bytes", "entry", "with lifespan");
    for key_bytes in KEY_BYTES {
        let figure = |more: &[&str]| {
            let own = std::env::current_exe().expect("this program");
            let out = Process::new(own).args(["--key-bytes", &key_bytes.to_string()]).args(more).output();
            String::from_utf8(out.expect("it runs").stdout).expect("text").trim().to_owned()
        };
        println!("{key_bytes:>9} {:>9} {:>13}", figure(&[]), figure(&["--lifespan"]));
    }
}
