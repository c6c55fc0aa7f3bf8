//! What stands in the files that were brought from where the root is: certificates and lists.
//!
//! A stranger may have written them. Nothing is believed here but that they can be read.

use std::path::{Path, PathBuf};

use certs::{
    AuthorityName, Certificate, CommonName, Deviation, Holder, Profile, Refusal, Role, lint,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::commands::ca::root::OfflineRootError;
use crate::error::CommandError;
use crate::files;

/// No file with certificates of authorities, or a list of them, is longer.
const FILE_LEN_MAX: usize = 1024 * 1024;

/// A certificate in a file.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) der: CertificateDer<'static>,
    pub(super) certificate: Certificate,
}

/// A revocation list in a file.
pub(super) struct FoundList {
    pub(super) path: PathBuf,
    pub(super) der: Vec<u8>,
}

/// All that is in the files, each certificate once.
pub(super) fn read(paths: &[PathBuf]) -> Result<(Vec<Found>, Vec<FoundList>), CommandError> {
    let (mut certificates, mut lists): (Vec<Found>, Vec<FoundList>) = (Vec::new(), Vec::new());
    for path in paths {
        let octets = files::read_up_to(path, FILE_LEN_MAX)?;
        let unreadable = || CommandError::Unreadable {
            path: path.clone(),
            expected: "certificates or a revocation list in PEM",
        };
        let before = certificates.len() + lists.len();
        let mut again = false;
        for der in CertificateDer::pem_slice_iter(&octets) {
            let found = Found::read(path, der.map_err(|_| unreadable())?)?;
            if certificates.iter().any(|it| it.der == found.der) {
                again = true;
            } else {
                certificates.push(found);
            }
        }
        for der in CertificateRevocationListDer::pem_slice_iter(&octets) {
            let der = der.map_err(|_| unreadable())?.to_vec();
            let path = path.clone();
            lists.push(FoundList { path, der });
        }
        if before == certificates.len() + lists.len() && !again {
            return Err(unreadable());
        }
    }
    Ok((certificates, lists))
}

impl Found {
    fn read(path: &Path, der: CertificateDer<'static>) -> Result<Self, CommandError> {
        let certificate = Certificate::read(&der).map_err(|why: Refusal| {
            let (path, what) = (path.to_path_buf(), why.to_string().into());
            let subject = "somebody".into();
            OfflineRootError::Unfit {
                path,
                subject,
                what,
            }
        })?;
        Ok(Self {
            path: path.into(),
            der,
            certificate,
        })
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_root(&self) -> bool {
        let extensions = &self.certificate.extensions;
        extensions.key_id.is_some() && extensions.key_id == extensions.issuer_key_id
    }

    /// Checks that `issuer` signed it, and that it says what the profile of its role says.
    pub(super) fn check(&self, role: Role, issuer: &Certificate) -> Result<(), CommandError> {
        let name = AuthorityName {
            organization: self.certificate.organizations.first().map(AsRef::as_ref),
            common_name: self.name()?,
        };
        let holder = match role {
            Role::Root => Holder::Root(name),
            Role::ServerCa => Holder::ServerCa(name),
            Role::DeviceCa | Role::Broker | Role::Device | Role::App => Holder::DeviceCa(name),
        };
        let checked = Profile::of(role)?.check(&self.der, holder, issuer);
        checked.map_err(|source| self.deviates(source))?;
        match lint(&self.der, Some(role))?.first() {
            Some(first) => Err(self.unfit(&first.what)),
            None => Ok(()),
        }
    }

    /// What the authority is called.
    pub(super) fn name(&self) -> Result<&str, CommandError> {
        match &self.certificate.common_name {
            CommonName::One(name) => Ok(name),
            CommonName::Absent | CommonName::Several | CommonName::Unreadable => {
                Err(self.deviates(Deviation::Names))
            }
        }
    }

    fn deviates(&self, source: Deviation) -> CommandError {
        let (path, subject) = (self.path.clone(), self.certificate.subject.clone());
        OfflineRootError::Deviates {
            path,
            subject,
            source,
        }
        .into()
    }

    pub(super) fn unfit(&self, what: &str) -> CommandError {
        let (path, subject) = (self.path.clone(), self.certificate.subject.clone());
        OfflineRootError::Unfit {
            path,
            subject,
            what: what.into(),
        }
        .into()
    }

    /// The certificate as it is kept here.
    pub(super) fn pem(&self) -> String {
        pem::encode_config(
            &pem::Pem::new("CERTIFICATE", self.der.to_vec()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }
}
