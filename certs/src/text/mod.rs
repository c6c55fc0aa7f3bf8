//! Text that comes from outside or goes there: escaped for a line, octets as hexadecimal digits.

pub(crate) mod escape;
pub(crate) mod hex;
