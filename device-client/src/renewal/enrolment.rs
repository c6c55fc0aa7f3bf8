//! The first certificate of a device, for a token that was handed out for it.
//!
//! A token can be used once. The key is on the disk before it is sent, so that a device that loses
//! power before it has the answer asks again for a certificate of the same key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::application::{Application, Granted};
use super::error::EnrolError;
use super::est::{Asker, Server};
use crate::disk::on_disk;
use crate::identity::{AUTHORITIES, EmptyHome, Identity, PemFile, https_of_nobody};

/// What a device needs to get its first certificate.
#[derive(Clone)]
pub struct Enrolment {
    server: Server,
    device_id: String,
    token: String,
    authorities: Vec<u8>,
}

impl Enrolment {
    /// At an enrolment server (EST, RFC 7030) at `https://HOST[:PORT]`, for the device of this id,
    /// by the one-time token that was handed out for it. `authorities`, in PEM, are those that the
    /// server and brokers are trusted by: what becomes `ca.pem`.
    ///
    /// # Errors
    /// [`EnrolError::Url`] when `url` is no such address.
    pub fn by_est(
        url: &str,
        device_id: impl Into<String>,
        token: impl Into<String>,
        authorities: &[u8],
    ) -> Result<Self, EnrolError> {
        Ok(Self {
            server: Server::parse(url)?,
            device_id: device_id.into(),
            token: token.into(),
            authorities: authorities.into(),
        })
    }
}

impl Identity {
    /// Opens `directory` as [`Identity::open_at_any_time`] does or, where there is no identity in
    /// it, asks for a certificate and keeps it there.
    ///
    /// # Errors
    /// [`EnrolError`]: what is there cannot be used, or there is no certificate to be had.
    pub async fn open_or_enrol(
        directory: impl AsRef<Path>,
        enrolment: &Enrolment,
    ) -> Result<Self, EnrolError> {
        let directory = directory.as_ref().to_path_buf();
        let path = directory.clone();
        let Some(home) = on_disk(move || EmptyHome::open(&path)).await? else {
            return Ok(on_disk(|| Self::open_at_any_time(directory)).await?);
        };
        let key = Application::new_key()?;
        let (home, key) = on_disk(move || home.key(&key).map(|key| (home, key))).await?;
        let application = Application::newcomer(&key, &enrolment.device_id)?;
        let granted = enrolment.ask(&application).await?;
        let authorities = enrolment.authorities.clone();
        on_disk(move || home.complete((granted.chain_pem.as_bytes(), &authorities))).await?;
        Ok(on_disk(|| Self::open(directory)).await?)
    }
}

impl Enrolment {
    async fn ask(&self, application: &Application) -> Result<Granted, EnrolError> {
        let authorities = PemFile::new(AUTHORITIES, &self.authorities);
        let tls = Arc::new(https_of_nobody(&authorities)?);
        // Asked first: a server that is not the one we want gets no token.
        let mut certificates = self.server.authorities(Arc::clone(&tls)).await?;
        let asker = Asker::Newcomer(&self.device_id, &self.token);
        certificates.extend(self.server.enrol(tls, asker, &application.request).await?);
        application.judge_first(&certificates, (&self.device_id, &self.authorities))
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        f.debug_tuple("Enrolment").field(&self.device_id).finish()
    }
}
