//! The storage of a shard as a whole: checkpoints, what is carried and what is let go, on disks
//! that fail between any two steps.

mod crash;
mod damage;
mod figures;
mod format;
mod history;
mod life;
mod threads;
