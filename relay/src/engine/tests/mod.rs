//! The engine from outside: commands in, answers and state compared. One file per input.

mod bed;

mod batches;
mod handshakes;
mod permutations;
mod retries;
mod writes;
