//! What a decision costs: `cargo bench -p countersign-broker`.
//!
//! Goals: a publish costs at most twice as much where a million exact or a hundred thousand
//! wildcard filters are held as where a thousand are, and a filter takes 300 bytes.
#![allow(clippy::unwrap_used, reason = "benchmarks")]

mod filters;
mod policy;
mod turn;
mod world;

use mimalloc::MiMalloc;

/// As the broker's own program has it.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

fn main() {
    // Whoever names benchmarks, or lists them, wants those alone.
    if std::env::args()
        .skip(1)
        .all(|argument| argument == "--bench")
    {
        filters::print_memory();
    }
    divan::main();
}
