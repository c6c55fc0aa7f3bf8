//! Principal: who asks, and all that rules may ask about it.
//!
//! What is not known of somebody permits nothing: an allow that depends on it does not hold, and
//! a deny that depends on it does.

use certs::Hex;
use certs::{CommonName, RegistryExport, Subject, VerifiedDevice};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// The device or application, as its certificate says.
    pub subject: &'a Subject,
    /// What else it came with. Nothing of a session that was found in the log, as long as its
    /// device has not come back.
    pub credentials: Option<&'a Credentials>,
}

/// What somebody showed when it came, and where it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The common name of the certificate's subject.
    pub common_name: Option<Box<str>>,
    /// The organizational units of the certificate's subject, if they were read.
    pub organizational_units: Option<Vec<Box<str>>>,
    /// The organizations of the certificate's subject, if they were read.
    pub organizations: Option<Vec<Box<str>>>,
    /// The name of the trust anchor that its chain ends in, if that is known.
    pub anchor: Option<Arc<str>>,
    /// The identifier of the key that signed the certificate, in lower-case hexadecimal digits.
    pub issuer_key_id: Option<Box<str>>,
    /// The serial number of the certificate.
    pub serial: Option<Box<str>>,
    /// The name of the listener it came to, if it has one.
    pub listener: Option<Arc<str>>,
}

impl Credentials {
    /// What the certificate of a verified device says.
    pub fn of(device: &VerifiedDevice) -> Self {
        let certificate = device.certificate();
        let common_name = match &certificate.common_name {
            CommonName::One(name) => Some(name.clone()),
            CommonName::Absent | CommonName::Several | CommonName::Unreadable => None,
        };
        let issuer_key_id = certificate.extensions.issuer_key_id.as_deref();
        Self {
            common_name,
            issuer_key_id: issuer_key_id.map(|id| Hex(id).to_string().into()),
            serial: Some(device.serial().to_string().into()),
            organizational_units: Some(certificate.organizational_units.clone()),
            organizations: Some(certificate.organizations.clone()),
            anchor: device.anchor().cloned(),
            ..Self::default()
        }
    }
}

/// What the registry says of devices and applications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(HashMap<Subject, Entry>);

/// What the registry says of one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The groups it is in.
    pub groups: BTreeSet<Box<str>>,
    /// Its attributes by their names.
    pub values: BTreeMap<Box<str>, Box<str>>,
}

impl Attributes {
    /// What is said of `subject`; nothing about those who are not in the registry.
    pub fn of(&self, subject: &Subject) -> Option<&Entry> {
        self.0.get(subject)
    }
}

impl From<&RegistryExport> for Attributes {
    fn from(export: &RegistryExport) -> Self {
        let devices = export.devices();
        devices
            .map(|device| {
                let entry = Entry {
                    groups: device.groups.clone(),
                    values: device.attributes.clone(),
                };
                (device.subject.clone(), entry)
            })
            .collect()
    }
}

impl FromIterator<(Subject, Entry)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (Subject, Entry)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}
