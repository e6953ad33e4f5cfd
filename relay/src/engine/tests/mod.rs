//! The engine from outside: commands in, answers and state compared. One file per input.

mod bed;

mod handshakes;
mod writes;
