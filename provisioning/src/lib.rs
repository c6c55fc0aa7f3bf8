//! Issues, renews and revokes.
