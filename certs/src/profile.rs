//! What the certificates of each role contain: the profiles in `certs/profiles`.
//!
//! A certificate is made from its profile and compared with it again before it counts. Neither the
//! serial number nor the time nor the name comes from here, and nothing comes from the requester
//! but a public key.

use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SerialNumber,
};
use rustls_pki_types::UnixTime;
use serde::Deserialize;
use thiserror::Error;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::certificate::{Certificate, verify_signature};
use crate::extensions::{BasicConstraints, Purpose, Usage};
use crate::holder::{Holder, Names, UnfitName};
use crate::refusal::Refusal;
use crate::serial::Serial;
use crate::subject::Kind;

/// How far the clock of a verifier may be behind the issuer's.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(5);

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The anchor of all.
    Root,
    /// The issuer of devices and applications.
    DeviceCa,
    /// The issuer of brokers.
    ServerCa,
    /// A broker.
    Broker,
    /// A device.
    Device,
    /// An application.
    App,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] = [
        Self::Root,
        Self::DeviceCa,
        Self::ServerCa,
        Self::Broker,
        Self::Device,
        Self::App,
    ];

    /// The role that is called `text` where it is kept.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// What the role is called where it is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::DeviceCa => "device-ca",
            Self::ServerCa => "server-ca",
            Self::Broker => "broker",
            Self::Device => "device",
            Self::App => "app",
        }
    }
}

/// What the certificates of one role contain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    lifetime_days: u32,
    key_usage: Vec<GrantedUsage>,
    extended_key_usage: Vec<GrantedPurpose>,
    /// How many authorities may follow below this one; an end entity has no such line.
    path_len: Option<u8>,
}

impl Profile {
    /// The profile of `role`.
    ///
    /// # Errors
    /// [`InvalidProfile`] when the profile file does not say what a profile must.
    pub fn of(role: Role) -> Result<Self, InvalidProfile> {
        let (file, text) = match role {
            Role::Root => ("root.toml", include_str!("../profiles/root.toml")),
            Role::DeviceCa => ("device-ca.toml", include_str!("../profiles/device-ca.toml")),
            Role::ServerCa => ("server-ca.toml", include_str!("../profiles/server-ca.toml")),
            Role::Broker => ("broker.toml", include_str!("../profiles/broker.toml")),
            Role::Device => ("device.toml", include_str!("../profiles/device.toml")),
            Role::App => ("app.toml", include_str!("../profiles/app.toml")),
        };
        toml::from_str(text).map_err(|source| InvalidProfile {
            file,
            source: Box::new(source),
        })
    }

    /// How long a certificate of this role is valid when nothing shortens it.
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.lifetime_days) * 86_400)
    }

    /// What to sign so that `holder` has a certificate of this role.
    ///
    /// # Errors
    /// [`UnfitName`] when a name of `holder` cannot stand in a certificate.
    pub fn params(
        &self,
        holder: Holder<'_>,
        serial: Serial,
        validity: Validity,
    ) -> Result<CertificateParams, UnfitName> {
        let names = Names::of(holder);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (part, name) in [
            (DnType::OrganizationName, &names.organization),
            (DnType::CommonName, &names.common_name),
        ] {
            if let Some(name) = name {
                params.distinguished_name.push(part, name.as_str());
            }
        }
        params.subject_alt_names = names.alternative_names()?;
        params.serial_number = Some(SerialNumber::from_slice(serial.as_octets()));
        params.not_before = date(validity.not_before);
        params.not_after = date(validity.not_after);
        params.key_usages = self
            .key_usage
            .iter()
            .map(|usage| usage.to_rcgen())
            .collect();
        params.extended_key_usages = self
            .extended_key_usage
            .iter()
            .map(|purpose| purpose.to_rcgen())
            .collect();
        params.is_ca = self.path_len.map_or(IsCa::ExplicitNoCa, |path_len| {
            IsCa::Ca(rcgen::BasicConstraints::Constrained(path_len))
        });
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    /// The validity of a certificate made at `now`: never outside that of its issuer, which a root
    /// does not have.
    pub fn validity(&self, now: UnixTime, issuer: Option<&Certificate>) -> Validity {
        let not_before = now.as_secs().saturating_sub(CLOCK_SKEW_MAX.as_secs());
        let not_after = now.as_secs().saturating_add(self.lifetime().as_secs());
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let own = Validity {
            not_before: time(not_before),
            not_after: time(not_after),
        };
        issuer.map_or(own, |issuer| Validity {
            not_before: own.not_before.max(issuer.not_before),
            not_after: own.not_after.min(issuer.not_after),
        })
    }

    /// Reads a certificate just made and compares it with this profile, with whom it was made for
    /// and with the issuer that should have signed it.
    ///
    /// # Errors
    /// The first [`Deviation`] found.
    pub fn check(
        &self,
        der: &[u8],
        holder: Holder<'_>,
        issuer: &Certificate,
    ) -> Result<Certificate, Deviation> {
        let made = Certificate::read(der)?;
        verify_signature(der, issuer)?;
        for (holds, deviation) in [
            (
                Names::in_certificate(&made) == Some(Names::of(holder)),
                Deviation::Names,
            ),
            (self.permits_usage(&made), Deviation::Usage),
            (self.permits_path(&made), Deviation::BasicConstraints),
            (self.permits_validity(&made, issuer), Deviation::Validity),
            (are_linked(&made, issuer), Deviation::KeyIdentifiers),
            (made.serial.is_full_length(), Deviation::Serial),
        ] {
            if !holds {
                return Err(deviation);
            }
        }
        Ok(made)
    }

    fn permits_usage(&self, made: &Certificate) -> bool {
        self.permits_key_usage(made) && self.permits_purposes(made)
    }

    pub(crate) fn permits_key_usage(&self, made: &Certificate) -> bool {
        let usages = self.key_usage.iter().map(|usage| usage.meaning());
        same_members(&made.extensions.key_usage, &usages.collect::<Vec<_>>())
    }

    pub(crate) fn permits_purposes(&self, made: &Certificate) -> bool {
        let purposes = self.extended_key_usage.iter().map(|it| it.meaning());
        let found = &made.extensions.extended_key_usage;
        same_members(found, &purposes.collect::<Vec<_>>())
    }

    /// Whether it is an authority or not, as the profile says, and permits no longer path. A
    /// shorter one only takes away.
    pub(crate) fn permits_path(&self, made: &Certificate) -> bool {
        match (made.extensions.basic_constraints, self.path_len) {
            (BasicConstraints::EndEntity, None) => true,
            (
                BasicConstraints::Authority {
                    path_len: Some(found),
                },
                Some(permitted),
            ) => found <= permitted.into(),
            (BasicConstraints::EndEntity | BasicConstraints::Authority { .. }, _) => false,
        }
    }

    fn permits_validity(&self, made: &Certificate, issuer: &Certificate) -> bool {
        made.not_before >= issuer.not_before
            && made.not_after <= issuer.not_after
            && self.permits_length(made)
    }

    /// Whether the certificate is valid for some time, and not for too long.
    pub(crate) fn permits_length(&self, made: &Certificate) -> bool {
        let (from, to) = (made.not_before.as_secs(), made.not_after.as_secs());
        let longest = self.lifetime() + CLOCK_SKEW_MAX;
        (1..=longest.as_secs()).contains(&to.saturating_sub(from))
    }
}

/// From when to when a certificate is valid, both seconds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: UnixTime,
    /// The last second.
    pub not_after: UnixTime,
}

/// A purpose that a profile may grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum GrantedPurpose {
    ServerAuth,
    ClientAuth,
}

impl GrantedPurpose {
    fn meaning(self) -> Purpose {
        match self {
            Self::ServerAuth => Purpose::ServerAuth,
            Self::ClientAuth => Purpose::ClientAuth,
        }
    }

    fn to_rcgen(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
            Self::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
        }
    }
}

/// What may still be granted in key usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum GrantedUsage {
    #[serde(rename = "digitalSignature")]
    DigitalSignature,
    #[serde(rename = "keyCertSign")]
    KeyCertSign,
    #[serde(rename = "cRLSign")]
    CrlSign,
}

impl GrantedUsage {
    fn meaning(self) -> Usage {
        match self {
            Self::DigitalSignature => Usage::DigitalSignature,
            Self::KeyCertSign => Usage::KeyCertSign,
            Self::CrlSign => Usage::CrlSign,
        }
    }

    fn to_rcgen(self) -> KeyUsagePurpose {
        match self {
            Self::DigitalSignature => KeyUsagePurpose::DigitalSignature,
            Self::KeyCertSign => KeyUsagePurpose::KeyCertSign,
            Self::CrlSign => KeyUsagePurpose::CrlSign,
        }
    }
}

/// A profile file is not one.
#[derive(Debug, Error)]
#[error("the profile {file} cannot be read")]
pub struct InvalidProfile {
    file: &'static str,
    source: Box<toml::de::Error>,
}

/// Where a certificate is not what its profile says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Deviation {
    /// It cannot be read, or the issuer did not sign it.
    #[error("the certificate is not one of this issuer")]
    Refused(#[from] Refusal),
    /// It names somebody else, or somebody besides.
    #[error("the names in the certificate are not those of its holder")]
    Names,
    /// It may be used for other things.
    #[error("key usage or extended key usage are not those of the profile")]
    Usage,
    /// It makes an authority of a peer, a peer of an authority, or permits a longer path.
    #[error("basic constraints are not those of the profile")]
    BasicConstraints,
    /// It is valid for too long, or longer than its issuer.
    #[error("the validity is longer than the profile or the issuer permits")]
    Validity,
    /// It could not be found in a revocation list.
    #[error("the key identifiers do not link the certificate to its issuer")]
    KeyIdentifiers,
    /// Its serial number was not drawn from 20 random octets.
    #[error("the serial number does not have 20 octets")]
    Serial,
}

impl From<Kind> for Role {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Device => Self::Device,
            Kind::App => Self::App,
        }
    }
}

fn same_members<T: PartialEq>(found: &[T], expected: &[T]) -> bool {
    found.len() == expected.len() && found.iter().all(|member| expected.contains(member))
}

fn are_linked(made: &Certificate, issuer: &Certificate) -> bool {
    let issuer_key_id = &made.extensions.issuer_key_id;
    made.extensions.key_id.is_some()
        && issuer_key_id.is_some()
        && *issuer_key_id == issuer.extensions.key_id
}

/// X.509 writes whole seconds, and no year beyond 9999.
fn date(time: UnixTime) -> OffsetDateTime {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let last = PrimitiveDateTime::MAX.assume_utc();
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use rcgen::{Issuer, KeyPair};

    use super::*;
    use crate::device_id::DeviceId;
    use crate::gate::{Admission, IdFrom, admit};
    use crate::holder::AuthorityName;
    use crate::revocation::RevocationSet;
    use crate::subject::{Subject, TrustDomain};
    use crate::testing::{NOT_BEFORE, at, uri};

    const SERIAL: [u8; 20] = [0xab; 20];

    type Change = Box<dyn FnOnce(&mut CertificateParams)>;

    /// An authority of the role of a device CA under itself, and a device it has signed.
    struct World {
        authority: Certificate,
        issuer: Issuer<'static, KeyPair>,
        trust_domain: TrustDomain,
        device: Subject,
    }

    impl World {
        fn new() -> Self {
            let profile = Profile::of(Role::DeviceCa).unwrap();
            let validity = profile.validity(at(NOT_BEFORE), None);
            let holder = Holder::DeviceCa(AuthorityName {
                organization: Some("Test"),
                common_name: "Test device CA 1",
            });
            let params = profile
                .params(holder, Serial::from_random(SERIAL), validity)
                .unwrap();
            let key = KeyPair::generate().unwrap();
            let der = params.self_signed(&key).unwrap();
            Self {
                authority: Certificate::read(der.der()).unwrap(),
                issuer: Issuer::new(params, key),
                trust_domain: TrustDomain::parse("fleet.example").unwrap(),
                device: Subject {
                    kind: Kind::Device,
                    id: DeviceId::parse("dev-1").unwrap(),
                },
            }
        }

        fn holder(&self) -> Holder<'_> {
            Holder::Peer(&self.trust_domain, &self.device)
        }

        fn device_der(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
            let profile = Profile::of(Role::Device).unwrap();
            let validity = profile.validity(at(NOT_BEFORE), Some(&self.authority));
            let serial = Serial::from_random(SERIAL);
            let mut params = profile.params(self.holder(), serial, validity).unwrap();
            change(&mut params);
            params
                .signed_by(&KeyPair::generate().unwrap(), &self.issuer)
                .unwrap()
                .der()
                .to_vec()
        }

        fn check(&self, change: impl FnOnce(&mut CertificateParams)) -> Result<(), Deviation> {
            let der = self.device_der(change);
            let profile = Profile::of(Role::Device).unwrap();
            profile
                .check(&der, self.holder(), &self.authority)
                .map(drop)
        }
    }

    #[test]
    fn every_profile_can_be_read_and_ends_before_its_issuer() {
        use Role::{App, Broker, Device, DeviceCa, Root, ServerCa};
        for (role, issuer) in [
            (DeviceCa, Root),
            (ServerCa, Root),
            (Device, DeviceCa),
            (App, DeviceCa),
            (Broker, ServerCa),
        ] {
            let (role, issuer) = (Profile::of(role).unwrap(), Profile::of(issuer).unwrap());
            assert!(role.lifetime() < issuer.lifetime());
            let (below, above) = (role.path_len, issuer.path_len);
            assert!(above.is_some_and(|above| below.is_none_or(|below| below < above)));
        }
    }

    #[test]
    fn a_device_made_by_its_profile_passes_the_gate() {
        let world = World::new();
        assert_eq!(world.check(|_| {}), Ok(()));
        let revoked = &RevocationSet::default();
        let admission = Admission {
            trust_domain: &world.trust_domain,
            id_from: &IdFrom::Uri,
            revoked,
        };
        let device = admit(&world.device_der(|_| {}), &admission, at(NOT_BEFORE)).unwrap();
        assert_eq!(*device.subject(), world.device);
        assert!(admit(&world.device_der(|_| {}), &admission, at(NOT_BEFORE - 299)).is_ok());
    }

    #[test]
    fn a_device_never_outlives_its_authority() {
        let world = World::new();
        let late = at(world.authority.not_after.as_secs() - 60);
        let validity = Profile::of(Role::Device)
            .unwrap()
            .validity(late, Some(&world.authority));
        assert_eq!(validity.not_after, world.authority.not_after);
        let early = at(NOT_BEFORE - 3_600);
        let validity = Profile::of(Role::Device)
            .unwrap()
            .validity(early, Some(&world.authority));
        assert_eq!(validity.not_before, world.authority.not_before);
    }

    #[test]
    fn a_certificate_that_deviates_from_its_profile_is_found() {
        let world = World::new();
        let beyond = date(world.authority.not_after) + time::Duration::SECOND;
        let second = date(at(NOT_BEFORE + 365 * 86_400 + 1));
        let changes: Vec<(Change, Deviation)> = vec![
            (
                Box::new(|p| p.subject_alt_names.push(uri("https://x"))),
                Deviation::Names,
            ),
            (Box::new(|p| p.subject_alt_names.clear()), Deviation::Names),
            (
                Box::new(|p| p.distinguished_name.push(DnType::CommonName, "admin")),
                Deviation::Names,
            ),
            (
                Box::new(|p| {
                    p.extended_key_usages
                        .push(ExtendedKeyUsagePurpose::ServerAuth);
                }),
                Deviation::Usage,
            ),
            (
                Box::new(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
                Deviation::Usage,
            ),
            (
                Box::new(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0))),
                Deviation::BasicConstraints,
            ),
            (Box::new(move |p| p.not_after = beyond), Deviation::Validity),
            (Box::new(move |p| p.not_after = second), Deviation::Validity),
            (
                Box::new(|p| p.not_after = p.not_before),
                Deviation::Validity,
            ),
            (
                Box::new(|p| p.use_authority_key_identifier_extension = false),
                Deviation::KeyIdentifiers,
            ),
            (
                Box::new(|p| p.serial_number = Some(SerialNumber::from(vec![1; 8]))),
                Deviation::Serial,
            ),
        ];
        for (change, expected) in changes {
            assert_eq!(world.check(change), Err(expected));
        }
    }

    #[test]
    fn a_certificate_of_another_issuer_is_found() {
        let (world, other) = (World::new(), World::new());
        let profile = Profile::of(Role::Device).unwrap();
        let der = other.device_der(|_| {});
        let found = profile.check(&der, world.holder(), &world.authority);
        assert_eq!(found, Err(Deviation::Refused(Refusal::BadSignature)));
    }

    #[test]
    fn a_broker_is_named_by_every_name_it_is_reached_under() {
        let names = ["broker.example", "127.0.0.1", "::1"].map(|name| name.try_into().unwrap());
        let profile = Profile::of(Role::Broker).unwrap();
        let validity = profile.validity(at(NOT_BEFORE), None);
        let serial = Serial::from_random(SERIAL);
        let params = profile
            .params(Holder::Server(&names), serial, validity)
            .unwrap();
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::read(der.der()).unwrap();
        assert_eq!(&*read.subject, "CN=broker.example");
        assert_eq!(*read.extensions.dns_names, ["broker.example".into()]);
        assert_eq!(read.extensions.ip_names.len(), 2);
        assert_eq!(
            profile
                .check(der.der(), Holder::Server(&names), &read)
                .map(drop),
            Ok(())
        );
    }
}
