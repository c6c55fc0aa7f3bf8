//! A number that nobody can guess, for those who may not draw one themselves.

use rustls::crypto::aws_lc_rs;

/// Draws one from the source that TLS uses.
pub(crate) fn draw_nonce() -> u64 {
    let mut octets = [0; 8];
    // It fails only where TLS could not work either.
    let _ = aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut octets);
    u64::from_ne_bytes(octets)
}
