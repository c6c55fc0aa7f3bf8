//! `countersign broker issue`: a certificate for the broker under every name it is reached by.
//!
//! The names on this machine are always among them, so that what is printed here works here.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use certs::Serial;
use rustls_pki_types::{DnsName, ServerName, UnixTime};

use super::issue::{Delivery, deliver};
use crate::authority::{Hierarchy, Passphrase, key_file};
use crate::error::CommandError;
use crate::layout::IdentityFiles;

/// What was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerIssued {
    /// The serial number of the certificate.
    pub serial: Serial,
    /// Its last second.
    pub not_after: UnixTime,
    /// The names and addresses in it.
    pub names: Vec<ServerName<'static>>,
    /// Where it is.
    pub files: IdentityFiles,
}

/// Issues a certificate to the broker for this machine's names and for `more`.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn broker_issue(
    dir: &Path,
    more: &[ServerName<'static>],
    passphrase: Option<&Passphrase>,
    now: UnixTime,
) -> Result<BrokerIssued, CommandError> {
    let mut ca = Hierarchy::open(dir)?;
    ca.unlock_server_ca(passphrase, now)?;
    issue_broker(&mut ca, server_names(more), now)
}

pub(super) fn issue_broker(
    ca: &mut Hierarchy,
    names: Vec<ServerName<'static>>,
    now: UnixTime,
) -> Result<BrokerIssued, CommandError> {
    let key = key_file::generate()?;
    let delivery = Delivery::to_broker(ca, &names, &key, now)?.with_key(&key);
    let (serial, not_after) = (
        delivery.certificate().serial,
        delivery.certificate().not_after,
    );
    deliver(ca, vec![delivery], now)?;
    Ok(BrokerIssued {
        serial,
        not_after,
        names,
        files: ca.layout.broker(),
    })
}

/// `localhost`, the loopback addresses, the host name where it is a DNS name, and `more`.
pub(crate) fn server_names(more: &[ServerName<'static>]) -> Vec<ServerName<'static>> {
    let local = [
        DnsName::try_from("localhost").ok().map(ServerName::from),
        Some(ServerName::IpAddress(Ipv4Addr::LOCALHOST.into())),
        Some(ServerName::IpAddress(Ipv6Addr::LOCALHOST.into())),
        host_name(),
    ];
    let mut names: Vec<ServerName<'static>> = Vec::new();
    for name in local.into_iter().flatten().chain(more.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn host_name() -> Option<ServerName<'static>> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    DnsName::try_from(name.to_ascii_lowercase())
        .ok()
        .map(ServerName::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{InitRequest, ca_init};
    use crate::testing::{certificate, day};

    #[test]
    fn a_broker_is_certified_once_for_each_of_its_names() {
        let temp = tempfile::tempdir().unwrap();
        ca_init(&InitRequest::new(temp.path()), day(0)).unwrap();
        let more = ["broker.example", "localhost", "10.0.0.7"].map(|name| name.try_into().unwrap());
        let issued = broker_issue(temp.path(), &more, None, day(0)).unwrap();
        let certificate = certificate(&issued.files.cert);
        assert_eq!(certificate.serial, issued.serial);
        for name in [
            "localhost",
            "127.0.0.1",
            "::1",
            "broker.example",
            "10.0.0.7",
        ] {
            let name = name.try_into().unwrap();
            assert_eq!(
                issued.names.iter().filter(|found| **found == name).count(),
                1
            );
            assert!(certificate.is_for_server(&name));
        }
        assert!(!certificate.is_for_server(&"example".try_into().unwrap()));
        assert!(!certificate.is_for_server(&"10.0.0.8".try_into().unwrap()));
    }

    #[test]
    fn a_broker_trusts_the_authority_of_devices_and_not_the_root() {
        let temp = tempfile::tempdir().unwrap();
        let layout = ca_init(&InitRequest::new(temp.path()), day(0))
            .unwrap()
            .layout;
        let issued = broker_issue(temp.path(), &[], None, day(0)).unwrap();
        assert_eq!(
            certificate(&issued.files.ca),
            certificate(&layout.device_ca_pem())
        );
    }
}
