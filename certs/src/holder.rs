//! Whom a certificate names, and how: CN, URI, DNS names, addresses.
//!
//! Each holder has exactly one set of names, so that a certificate can be compared with its holder
//! as well as made for it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::SanType;
use rustls_pki_types::ServerName;
use thiserror::Error;

use crate::certificate::{Certificate, CommonName};
use crate::profile::Role;
use crate::subject::{Subject, TrustDomain, spiffe_uri};

/// RFC 5280, `ub-common-name` and `ub-organization-name`.
const COMMON_NAME_LEN_MAX: usize = 64;
const ORGANIZATION_LEN_MAX: usize = 64;

/// What an authority is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityName<'a> {
    /// Whose it is, when it says so.
    pub organization: Option<&'a str>,
    /// Its common name.
    pub common_name: &'a str,
}

impl AuthorityName<'_> {
    /// Checks that both can stand in a certificate, whole and legible.
    ///
    /// # Errors
    /// [`UnfitName`] when one is empty, too long, or holds a control character.
    pub fn check(&self) -> Result<(), UnfitName> {
        let organization = self.organization.map(|name| (name, ORGANIZATION_LEN_MAX));
        let common_name = (self.common_name, COMMON_NAME_LEN_MAX);
        for (name, max) in organization.into_iter().chain([common_name]) {
            let len = name.chars().count();
            let blank = name.trim() != name || name.chars().any(char::is_control);
            if len == 0 || len > max || blank {
                return Err(UnfitName(name.into()));
            }
        }
        Ok(())
    }
}

/// Whom a certificate names.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// A root.
    Root(AuthorityName<'a>),
    /// An authority of devices.
    DeviceCa(AuthorityName<'a>),
    /// An authority of brokers.
    ServerCa(AuthorityName<'a>),
    /// A broker, by the names and addresses under which it is reached.
    Server(&'a [ServerName<'a>]),
    /// A device or an application of a trust domain.
    Peer(&'a TrustDomain, &'a Subject),
}

impl Holder<'_> {
    /// What a certificate of this holder is for.
    pub fn role(&self) -> Role {
        match self {
            Self::Root(_) => Role::Root,
            Self::DeviceCa(_) => Role::DeviceCa,
            Self::ServerCa(_) => Role::ServerCa,
            Self::Server(_) => Role::Broker,
            Self::Peer(_, subject) => subject.kind.into(),
        }
    }
}

/// The names of a holder, as they stand in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) organization: Option<String>,
    pub(crate) common_name: Option<String>,
    uris: BTreeSet<String>,
    dns: BTreeSet<String>,
    ips: BTreeSet<IpAddr>,
}

impl Names {
    pub(crate) fn of(holder: Holder<'_>) -> Self {
        match holder {
            Holder::Root(name) | Holder::DeviceCa(name) | Holder::ServerCa(name) => Self {
                organization: name.organization.map(Into::into),
                common_name: Some(name.common_name.into()),
                ..Self::default()
            },
            Holder::Server(names) => Self::of_server(names),
            Holder::Peer(trust_domain, subject) => Self {
                common_name: Some(subject.id.as_str().into()),
                uris: BTreeSet::from([spiffe_uri(trust_domain, subject)]),
                ..Self::default()
            },
        }
    }

    /// The common name of a server is for people, so it is left out where it would not fit.
    fn of_server(server_names: &[ServerName<'_>]) -> Self {
        let first = server_names.first().map(|name| name.to_str().into_owned());
        let common_name = first.filter(|name| name.len() <= COMMON_NAME_LEN_MAX);
        let mut names = Self {
            common_name,
            ..Self::default()
        };
        for name in server_names {
            match name {
                ServerName::IpAddress(ip) => drop(names.ips.insert((*ip).into())),
                name => drop(names.dns.insert(name.to_str().into_owned())),
            }
        }
        names
    }

    /// The names in a certificate; `None` when it has some that no holder has.
    pub(crate) fn in_certificate(certificate: &Certificate) -> Option<Self> {
        let common_name = match &certificate.common_name {
            CommonName::Absent => None,
            CommonName::One(name) => Some(name.to_string()),
            CommonName::Several | CommonName::Unreadable => return None,
        };
        let organization = match &*certificate.organizations {
            [] => None,
            [organization] => Some(organization.to_string()),
            _ => return None,
        };
        let extensions = &certificate.extensions;
        let texts = |names: &[Box<str>]| names.iter().map(ToString::to_string).collect();
        (extensions.other_names == 0).then(|| Self {
            organization,
            common_name,
            uris: texts(&extensions.uri_names),
            dns: texts(&extensions.dns_names),
            ips: extensions.ip_names.iter().copied().collect(),
        })
    }

    pub(crate) fn alternative_names(&self) -> Result<Vec<SanType>, UnfitName> {
        let text = |name: &String| {
            name.as_str()
                .try_into()
                .map_err(|_| UnfitName(name.clone()))
        };
        let uris = self.uris.iter().map(|name| Ok(SanType::URI(text(name)?)));
        let dns = self
            .dns
            .iter()
            .map(|name| Ok(SanType::DnsName(text(name)?)));
        let ips = self.ips.iter().map(|ip| Ok(SanType::IpAddress(*ip)));
        uris.chain(dns).chain(ips).collect()
    }
}

/// A name cannot stand in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} cannot stand in a certificate: it is empty, too long, or has characters that do not \
     belong there"
)]
pub struct UnfitName(String);

impl UnfitName {
    pub(crate) fn of(name: &str) -> Self {
        Self(name.to_owned())
    }
}
