//! What a request says that is made for an authority: of which role, and of which trust domain.
//!
//! It says so in one URI, which stands in no certificate. A request for a device never passes for
//! one of these, nor one of these for that of a device.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, SanType,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::csr::InvalidRequest;
use crate::holder::UnfitName;
use crate::profile::Role;
use crate::subject::TrustDomain;

const SCHEME: &str = "spiffe://";

/// What to sign with its own key so that an authority of this role can be certified elsewhere.
///
/// # Errors
/// [`UnfitName`] when no authority asks for a certificate of this role.
pub fn authority_request(
    trust_domain: &TrustDomain,
    role: Role,
) -> Result<CertificateParams, UnfitName> {
    let uri = authority_uri(trust_domain, role);
    let unfit = || UnfitName::of(&uri);
    if !is_requested(role) {
        return Err(unfit());
    }
    let name = uri.as_str().try_into().map_err(|_| unfit())?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(name)];
    // For whoever looks at it: what the authority will be called is not for it to say.
    let name = format!("request of a {}", role.as_str());
    params.distinguished_name.push(DnType::CommonName, name);

    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Which authority of `trust_domain` the request is for.
pub(crate) fn role_asked(
    request: &X509CertificationRequest<'_>,
    trust_domain: &TrustDomain,
) -> Result<Role, InvalidRequest> {
    let mut names = request
        .requested_extensions()
        .into_iter()
        .flatten()
        .filter_map(|wish| match wish {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
    let (Some(names), None) = (names.next(), names.next()) else {
        return Err(InvalidRequest::NotOfAnAuthority);
    };
    let [GeneralName::URI(uri)] = &names[..] else {
        return Err(InvalidRequest::NotOfAnAuthority);
    };
    let (domain, role) = parse(uri).ok_or(InvalidRequest::NotOfAnAuthority)?;
    if domain == trust_domain.as_str() {
        Ok(role)
    } else {
        Err(InvalidRequest::OfAnotherTrustDomain)
    }
}

/// Reads exactly what [`authority_uri`] writes.
fn parse(uri: &str) -> Option<(&str, Role)> {
    let (domain, role) = uri.strip_prefix(SCHEME)?.split_once("/authority/")?;
    let role = Role::parse(role).filter(|role| is_requested(*role))?;
    (!domain.contains('/')).then_some((domain, role))
}

fn authority_uri(trust_domain: &TrustDomain, role: Role) -> String {
    format!("{SCHEME}{trust_domain}/authority/{}", role.as_str())
}

/// A root asks nobody, and whoever is no authority asks in another way.
fn is_requested(role: Role) -> bool {
    match role {
        Role::DeviceCa | Role::ServerCa => true,
        Role::Root | Role::Broker | Role::Device | Role::App => false,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::csr::PublicKey;
    use crate::subject::Subject;
    use crate::testing::uri;

    fn domain(name: &str) -> TrustDomain {
        TrustDomain::parse(name).unwrap()
    }

    fn asked(params: &CertificateParams) -> Result<Role, InvalidRequest> {
        let key = KeyPair::generate().unwrap();
        let request = params.serialize_request(&key).unwrap();
        let ours = domain("fleet.example");
        let read = PublicKey::from_request_of_authority(request.der(), &ours);
        read.map(|(found, role)| {
            assert_eq!(
                found.to_der(),
                rcgen::PublicKeyData::subject_public_key_info(&key)
            );
            role
        })
    }

    #[test]
    fn an_authority_asks_for_itself_and_nobody_else_does() {
        let ours = domain("fleet.example");
        for role in Role::ALL {
            let made = authority_request(&ours, role);
            match role {
                Role::DeviceCa | Role::ServerCa => assert_eq!(asked(&made.unwrap()), Ok(role)),
                _ => assert!(made.is_err(), "{role:?}"),
            }
        }
    }

    #[test]
    fn what_names_another_authority_or_none_is_refused() {
        let with = |names: &[&str]| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names.iter().map(|name| uri(name)).collect();
            params
        };
        let ours = "spiffe://fleet.example/authority/device-ca";
        let (none, other) = (
            Err(InvalidRequest::NotOfAnAuthority),
            Err(InvalidRequest::OfAnotherTrustDomain),
        );
        for (names, expected) in [
            (&[ours][..], Ok(Role::DeviceCa)),
            (&[], none),
            (&[ours, ours], none),
            (&["spiffe://fleet.example/authority/root"], none),
            (&["spiffe://fleet.example/authority/device"], none),
            (&["spiffe://fleet.example/authority/device-ca/"], none),
            (&["spiffe://fleet.example/authority/"], none),
            (&["spiffe://fleet.example/device/device-ca"], none),
            (&["spiffe://x/fleet.example/authority/device-ca"], none),
            (&["https://fleet.example/authority/device-ca"], none),
            (&["spiffe://other.example/authority/device-ca"], other),
            (&["spiffe:///authority/device-ca"], other),
        ] {
            assert_eq!(asked(&with(names)), expected, "{names:?}");
        }
    }

    /// Whoever has an authority's request signed as that of a device gets no authority.
    #[test]
    fn it_does_not_pass_for_the_request_of_a_device() {
        let (ours, device) = (domain("fleet.example"), Subject::parse("dev-1").unwrap());
        let key = KeyPair::generate().unwrap();
        let params = authority_request(&ours, Role::DeviceCa).unwrap();
        let request = params.serialize_request(&key).unwrap();
        let read = PublicKey::from_request_of(request.der(), &ours, &device);
        assert_eq!(read, Err(InvalidRequest::AsksForAuthority));
    }
}
