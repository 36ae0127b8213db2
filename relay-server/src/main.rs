//! head

fn main() {}
