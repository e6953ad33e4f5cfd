//! The engine from outside: commands in, answers and state compared. One file per input.

mod bed;

mod batches;
mod causality;
mod conflicts;
mod drift;
mod drift_rules;
mod ended;
mod expiry;
mod filling;
mod forced;
mod handshakes;
mod origins;
mod permutations;
mod reconciles;
mod reconfigured;
mod reconfigured_rules;
mod replay;
mod retries;
mod tombstones;
mod writes;
