//! A certificate authority for tests: root, device CA, server CA, and what they can get wrong.
//!
//! It is made once a process; keys never leave the process but for the files a broker reads.

mod ca;
mod issuing;

pub use self::issuing::{Issuing, Shown};

use self::ca::{Ca, DAY, key, leaf_params, name, write_key};
use crate::identity::{self, Identity};
use certs::{ExportHeader, ExportWriter, KnownDevice, Subject, TrustDomain};
use rcgen::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose as Usage, IsCa, KeyIdMethod, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

/// The trust domain of our devices.
pub const TRUST_DOMAIN: &str = "test.countersign.local";

/// Who signs.
pub struct Authority {
    root: Ca,
    device_ca: Ca,
    server_ca: Ca,
    issued: Mutex<HashMap<String, Arc<Identity>>>,
}

/// What can be wrong with a device's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Signed by somebody else whose CA bears the same name.
    OtherAuthority,
    /// Its time is over.
    Expired,
    /// Its time is yet to come.
    NotYetValid,
    /// Extended key usage serverAuth.
    ServerUsage,
    /// No extended key usage at all.
    NoUsage,
    /// Key usage without digitalSignature.
    NoSignature,
    /// The CN names another device than the URI.
    NameDiffers,
    /// No URI.
    NoUri,
    /// Two URIs, of two devices.
    TwoUris,
    /// A URI of another trust domain.
    OtherTrustDomain,
    /// It is a CA certificate.
    IsCa,
    /// Signed by the CA of servers.
    ServerAuthority,
    /// A signature that is nobody's.
    BadSignature,
}

impl Authority {
    /// The one of this process; kept in `COUNTERSIGN_TEST_AUTHORITY`, where that is set, for a
    /// broker that somebody else starts.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Authority> = LazyLock::new(|| {
            let dir = std::env::var_os("COUNTERSIGN_TEST_AUTHORITY").map(PathBuf::from);
            dir.map_or_else(Authority::new, |dir| Authority::open(&dir))
        });
        &SHARED
    }

    /// Another one, its CAs named alike.
    pub fn new() -> Self {
        let root = Ca::root("Test Root CA 1");
        let device_ca = Ca::below(&root, "Test Device CA 1");
        let server_ca = Ca::below(&root, "Test Server CA 1");
        Self {
            root,
            device_ca,
            server_ca,
            issued: Mutex::default(),
        }
    }

    /// The one kept in this directory; made if there is none.
    pub fn open(dir: &Path) -> Self {
        let parts = ["root", "device-ca", "server-ca"];
        if !dir.join("root.key").exists() {
            let new = Self::new();
            new.write_broker_files(dir);
            for (ca, name) in [&new.root, &new.device_ca, &new.server_ca]
                .into_iter()
                .zip(parts)
            {
                ca.write(dir, name);
            }
            return new;
        }
        let [root, device_ca, server_ca] = parts.map(|name| Ca::read(dir, name));
        Self {
            root,
            device_ca,
            server_ca,
            issued: Mutex::default(),
        }
    }

    /// The device of this id. Asked again, the same certificate.
    pub fn device(&self, id: &str) -> Arc<Identity> {
        self.remembered(&format!("device/{id}"), |this| {
            this.issue(&client_params(id, "device"))
        })
    }

    /// The application of this id.
    pub fn app(&self, id: &str) -> Arc<Identity> {
        self.remembered(&format!("app/{id}"), |this| {
            this.issue(&client_params(id, "app"))
        })
    }

    /// A device whose certificate has this flaw and no other.
    pub fn flawed(&self, id: &str, flaw: Flaw) -> Identity {
        let mut params = client_params(id, "device");
        let now = SystemTime::now();
        match flaw {
            Flaw::OtherAuthority => return self.identity(&params, &Self::new().device_ca),
            Flaw::ServerAuthority => return self.identity(&params, &self.server_ca),
            Flaw::BadSignature => return self.issue(&params).with_a_bad_signature(),
            Flaw::Expired => params.not_after = (now - DAY / 24).into(),
            Flaw::NotYetValid => params.not_before = (now + DAY).into(),
            Flaw::ServerUsage => params.extended_key_usages = vec![Usage::ServerAuth],
            Flaw::NoUsage => params.extended_key_usages.clear(),
            Flaw::NoSignature => params.key_usages = vec![KeyUsagePurpose::KeyAgreement],
            Flaw::NameDiffers => params.distinguished_name = name("somebody-else"),
            Flaw::NoUri => params.subject_alt_names.clear(),
            Flaw::TwoUris => params
                .subject_alt_names
                .push(uri(&device_uri("somebody-else"))),
            Flaw::OtherTrustDomain => {
                params.subject_alt_names = vec![uri(&format!("spiffe://elsewhere/device/{id}"))];
            }
            Flaw::IsCa => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        }
        self.issue(&params)
    }

    /// A list of the device CA with this number that revokes these, as PEM.
    pub fn revocation_list(&self, number: u64, revoked: &[&Identity]) -> String {
        self.long_revocation_list(number, &[], revoked)
    }

    /// The same that has certificates with these serial numbers on it, too.
    pub fn long_revocation_list(
        &self,
        number: u64,
        strangers: &[[u8; 8]],
        revoked: &[&Identity],
    ) -> String {
        self.list_until(number, (strangers, revoked), SystemTime::now() + DAY)
    }

    /// The same whose successor was due at this time.
    pub fn list_until(
        &self,
        number: u64,
        (strangers, revoked): (&[[u8; 8]], &[&Identity]),
        next_update: SystemTime,
    ) -> String {
        let strangers = strangers.iter().map(|it| SerialNumber::from_slice(it));
        let revoked = revoked.iter().map(|it| it.serial());
        let serials = strangers.chain(revoked).collect();
        list(&self.device_ca, (number, serials), next_update)
    }

    /// An authority of this name between the root and devices.
    pub fn issuing(&self, name: &str) -> Issuing {
        Issuing::new(Ca::below(&self.root, name), &self.root.certificate)
    }

    /// A list of the root with this number that revokes these authorities, as PEM.
    pub fn root_list(&self, number: u64, revoked: &[&Issuing]) -> String {
        let serials = revoked.iter().map(|it| it.serial()).collect();
        list(&self.root, (number, serials), SystemTime::now() + DAY)
    }

    /// An export of the registry with this number that knows these devices.
    pub fn registry_export(&self, number: u64, known: &[&str]) -> Vec<u8> {
        let now = UnixTime::now();
        let header = ExportHeader {
            number,
            trust_domain: TrustDomain::parse(TRUST_DOMAIN).unwrap(),
            created: now,
            next_update: UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + DAY),
        };
        let issuer = certs::Authority::read(&self.device_ca.certificate).unwrap();
        let mut writer = ExportWriter::new(&header, &issuer).unwrap();
        for id in known {
            let subject = Subject::parse(id).unwrap();
            writer.add(&KnownDevice::new(subject)).unwrap();
        }
        let sign = |octets: &[u8]| self.device_ca.issuer.key().sign(octets);
        writer.sign(sign).unwrap()
    }

    /// A device whose certificate is good for this long from now.
    pub fn short_lived(&self, id: &str, time: Duration) -> Identity {
        let mut params = client_params(id, "device");
        params.not_after = (SystemTime::now() + time).into();
        self.issue(&params)
    }

    /// Certifies the key of a request, in DER, for the device of this id and this long.
    pub fn certify(&self, id: &str, request: &[u8], time: Duration) -> CertificateDer<'static> {
        let mut request = CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        request.params = client_params(id, "device");
        request.params.not_after = (SystemTime::now() + time).into();
        let certificate = request.signed_by(&self.device_ca.issuer).unwrap();
        certificate.der().clone()
    }

    /// Lets in whoever shows a certificate of the device CA.
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.device_ca.certificate.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        verifier.build().unwrap()
    }

    /// A device certificate with this CN and this URI, whatever they are.
    pub fn named(&self, common_name: impl Into<DnValue>, uri_name: &str) -> Identity {
        let mut params = client_params("replaced", "device");
        params.distinguished_name = name(common_name);
        params.subject_alt_names = vec![uri(uri_name)];
        self.issue(&params)
    }

    /// A certificate that names no URI: these CNs, and these DNS names.
    pub fn foreign(&self, common_names: &[&str], dns_names: &[&str]) -> Identity {
        let mut params = client_params("replaced", "device");
        params.distinguished_name = DistinguishedName::new();
        // A second one of the same type would take the place of the first.
        let types = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        for (kind, common_name) in types.into_iter().zip(common_names) {
            params.distinguished_name.push(kind, *common_name);
        }
        let dns = |name: &&str| SanType::DnsName((*name).try_into().unwrap());
        params.subject_alt_names = dns_names.iter().map(dns).collect();
        let identity = self.issue(&params);
        identity.towards(&Self::shared().root.certificate)
    }

    /// The certificate of its device CA, as PEM.
    pub fn device_ca_pem(&self) -> &str {
        &self.device_ca.pem
    }

    /// Lets a broker have a certificate whose time is over.
    pub fn write_expired_broker_files(&self, dir: &Path) {
        let mut params = broker_params();
        params.not_after = (SystemTime::now() - DAY / 24).into();
        self.write_broker(dir, &params);
    }

    /// A client that holds no certificate.
    pub fn nobody(&self) -> Arc<ClientConfig> {
        Arc::new(
            identity::client_builder(slice::from_ref(&self.root.certificate), ALL_VERSIONS)
                .with_no_client_auth(),
        )
    }

    /// Writes what a broker reads: `root.pem`, `device-ca.pem`, `ca.pem` (both), `broker/cert.pem`
    /// and `broker/key.pem`.
    pub fn write_broker_files(&self, dir: &Path) {
        fs::create_dir_all(dir.join("broker")).unwrap();
        self.write_broker(dir, &broker_params());
        fs::write(dir.join("root.pem"), &self.root.pem).unwrap();
        fs::write(dir.join("device-ca.pem"), &self.device_ca.pem).unwrap();
        fs::write(
            dir.join("ca.pem"),
            self.root.pem.clone() + &self.device_ca.pem,
        )
        .unwrap();
    }

    fn write_broker(&self, dir: &Path, params: &CertificateParams) {
        let broker = self.identity(params, &self.server_ca);
        write_key(&dir.join("broker/key.pem"), &broker.key_pem());
        fs::write(dir.join("broker/cert.pem"), broker.pem()).unwrap();
    }

    /// Writes what the device of this name reads: `cert.pem`, `key.pem` and `ca.pem`.
    pub fn write_device_files(&self, id: &str, dir: &Path) {
        let identity = self.device(id);
        fs::write(dir.join("ca.pem"), &self.root.pem).unwrap();
        fs::write(dir.join("cert.pem"), identity.pem()).unwrap();
        write_key(&dir.join("key.pem"), &identity.key_pem());
    }

    fn remembered(&self, name: &str, issue: impl FnOnce(&Self) -> Identity) -> Arc<Identity> {
        let mut issued = self.issued.lock().unwrap();
        let entry = issued.entry(name.to_owned());
        entry.or_insert_with(|| Arc::new(issue(self))).clone()
    }

    fn issue(&self, params: &CertificateParams) -> Identity {
        self.identity(params, &self.device_ca)
    }

    fn identity(&self, params: &CertificateParams, ca: &Ca) -> Identity {
        let key = key();
        let leaf = params.signed_by(&key, &ca.issuer).unwrap();
        let chain = vec![leaf.der().clone(), ca.certificate.clone()];
        let pem = leaf.pem() + &ca.pem;
        Identity::new(chain, pem, key, &self.root.certificate)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// The URI of a device of our trust domain.
pub fn device_uri(id: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/device/{id}")
}

/// A CN in UTF-16, as old authorities wrote them.
pub fn bmp(text: &str) -> DnValue {
    DnValue::BmpString(rcgen::string::BmpString::try_from(text).unwrap())
}

/// A list of this number that has certificates with these serial numbers on it, as PEM.
fn list(ca: &Ca, (number, serials): (u64, Vec<SerialNumber>), next_update: SystemTime) -> String {
    let now = SystemTime::now();
    let entry = |serial_number| RevokedCertParams {
        serial_number,
        revocation_time: now.into(),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: (now - 2 * DAY).into(),
        next_update: next_update.into(),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: serials.into_iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().pem().unwrap()
}

fn client_params(id: &str, role: &str) -> CertificateParams {
    let mut params = leaf_params(id);
    params.subject_alt_names = vec![uri(&format!("spiffe://{TRUST_DOMAIN}/{role}/{id}"))];
    params.extended_key_usages = vec![Usage::ClientAuth];
    params
}

fn broker_params() -> CertificateParams {
    let mut params = leaf_params("localhost");
    let address = IpAddr::from([127, 0, 0, 1]);
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into().unwrap()),
        SanType::IpAddress(address),
    ];
    params.extended_key_usages = vec![Usage::ServerAuth];
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("a URI in ASCII"))
}
