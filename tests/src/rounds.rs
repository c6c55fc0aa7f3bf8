//! Memory that stays flat: what was done to a broker once must not cost more when done again.

use crate::world::World;

/// Does the same three times; the second and third time may raise the peak of resident memory
/// by less than a tenth.
pub fn expect_flat_memory(world: &World, mut round: impl FnMut()) {
    round();
    let first = world.memory("VmHWM:");
    round();
    round();
    let last = world.memory("VmHWM:");
    assert!(
        last * 10 < first * 11,
        "peak memory rose from {first} KiB to {last} KiB"
    );
    world.expect_health();
}
