//! The broker in a simulation: engine, shards and storage are the real ones, everything around
//! them follows from a seed.
//!
//! `SEED=… SHARDS=… cargo test -p countersign-tests --test simulation one_seed -- --ignored` runs
//! a seed that failed and tells its story, with `STORY=1` from its beginning. `SEED=… SEEDS=…` is
//! how many the long test runs, and from where on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod acts;
mod link;
mod machine;
mod model;
mod plan;
mod runs;
mod settle;
mod steps;
mod world;
