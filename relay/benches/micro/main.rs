//! What the parts of a put's way cost by themselves: `cargo bench -p landbridge --bench micro`, and `-- NAME` for some of it.
//!
//! Values have 256 bytes, keys 16, of 100 000; a group, a commit and a batch have 64 records unless their names say otherwise.
//! A figure is for all of what its name says. `-- --test` runs each once, to see that it does.

mod bed;
mod codec;
#[path = "../common/mod.rs"]
mod common;
mod engine;
mod link;
mod listener;
mod store;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, codec::all, engine::all, store::all, link::all, listener::all);
criterion_main!(benches);
