//! The machine: a process of the broker and its disks, what is seen of it, and what is planted
//! in it.

pub(crate) mod disk;
pub(crate) mod host;
pub(crate) mod identity;
pub(crate) mod plant;
pub(crate) mod witness;
