//! What a certificate means to Countersign.
