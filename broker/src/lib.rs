//! The Countersign broker.
