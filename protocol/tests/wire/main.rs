//! The wire as others see it: golden bytes, round trips, hostile bytes, and `WIRE.md` itself.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bounds;
mod document;
mod draw;
mod golden;
mod hostile;
mod round_trip;
mod samples;
