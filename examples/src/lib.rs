//! One short program per use of Landbridge, in `src/bin`; each can be run against the demo.
