//! §4.13 handling errors, and what belongs to every packet: framing, size, order of packets.
//!
//! An error ends its own connection and touches no other.

mod auth;
mod disconnect;
mod framing;
mod order;
mod packet_size;
mod problem_information;
