//! What a certificate means to Countersign: who its holder is, and whether that still counts.
//!
//! Nothing here does I/O, reads a clock or draws a random number: octets and the time are
//! arguments. No other crate reads what stands in a certificate.

pub mod admin;
mod authority;
mod authority_request;
mod certificate;
mod csr;
mod device_id;
mod explain;
mod extensions;
mod gate;
mod holder;
mod lint;
mod profile;
mod refusal;
mod registry;
mod revocation;
mod serial;
mod status;
mod subject;
#[cfg(test)]
mod testing;
mod text;
mod trust_bundle;

pub use authority::Authority;
pub use authority_request::authority_request;
pub use certificate::{Certificate, CommonName, sha256};
pub use csr::{InvalidRequest, PublicKey};
pub use device_id::{DeviceId, InvalidDeviceId};
pub use explain::KeyAlgorithm;
pub use extensions::{BasicConstraints, Extensions, Purpose, Usage};
pub use gate::{
    Admission, Anchor, Fingerprint, FingerprintTwice, Fingerprints, IdFrom, NamePlace, Standing,
    UnfitId, VerifiedDevice, admit, admit_read, check_issuer, is_still_admitted,
};
pub use holder::{AuthorityName, Holder, UnfitName};
pub use lint::{LintFinding, lint};
pub use profile::{Deviation, InvalidProfile, Profile, Role, Validity};
pub use refusal::Refusal;
pub use registry::{
    AuditCheckpoint, ExportHeader, ExportWriter, InvalidExport, InvalidLabel, KnownDevice,
    LABELS_MAX, RegistryExport, check_name, check_value,
};
pub use revocation::{
    Freshness, InvalidList, ListId, ListNumber, NotNewer, Replaced, RevocationList, RevocationSet,
    Revoked, Scope, Seen,
};
pub use serial::Serial;
pub use status::{IllegalTransition, RevocationReason, Status};
pub use subject::{InvalidSpiffeId, Kind, Subject, TrustDomain, parse_spiffe_uri, spiffe_uri};
pub use text::causes::WithCauses;
pub use text::hex::Hex;
pub use text::time::TimeText;
pub use trust_bundle::{BundleHeader, BundleWriter, InvalidBundle, TrustBundle};
