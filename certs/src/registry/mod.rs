//! The registry export: which devices an authority knows, in a file that it signed.
//!
//! The format is described for people in `docs/registry-export.md`. Nothing in a file is read
//! before its signature is verified, a file with one line that is not as it must be is refused as a
//! whole, and its number only rises.

mod checkpoint;
mod document;
mod export;
mod invalid;
mod label;
mod writer;

pub use checkpoint::AuditCheckpoint;
pub(crate) use document::Algorithm;
pub use document::KnownDevice;
pub use export::RegistryExport;
pub use invalid::InvalidExport;
pub use label::{InvalidLabel, LABELS_MAX, check_name, check_value};
pub use writer::{ExportHeader, ExportWriter};
