//! One client of a broker: `countersign pub` and `countersign sub`.

mod connection;
pub(crate) mod publish;
pub(crate) mod subscribe;
