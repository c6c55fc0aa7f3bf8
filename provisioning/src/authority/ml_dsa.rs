//! Private keys of ML-DSA (FIPS 204) from files: an experiment, for other programs hardly know it.
//!
//! The library that makes certificates makes such keys, and does not read them again.

use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm,
};
use rcgen::{PKCS_ML_DSA_44, PKCS_ML_DSA_65, PublicKeyData, SignatureAlgorithm, SigningKey};

/// A private key.
pub(crate) struct MlDsaKey {
    key: PqdsaKeyPair,
    algorithm: &'static SignatureAlgorithm,
}

impl MlDsaKey {
    /// Reads PKCS #8 (RFC 9881 §6), if it is a key of one of these.
    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let known: [(&PqdsaSigningAlgorithm, _); 2] = [
            (&ML_DSA_44_SIGNING, &PKCS_ML_DSA_44),
            (&ML_DSA_65_SIGNING, &PKCS_ML_DSA_65),
        ];
        known.into_iter().find_map(|(signing, algorithm)| {
            let key = PqdsaKeyPair::from_pkcs8(signing, der).ok()?;
            Some(Self { key, algorithm })
        })
    }
}

impl PublicKeyData for MlDsaKey {
    fn der_bytes(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for MlDsaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut signature = vec![0; self.key.algorithm().signature_len()];
        let signed = self.key.sign(message, &mut signature);
        signed.map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature)
    }
}
