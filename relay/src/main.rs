//! The binary `landbridge`.

fn main() {}
