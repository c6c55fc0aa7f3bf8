//! `countersign registry export`: the devices that are known, signed, for brokers that admit no
//! others.
//!
//! Its number rises like that of a revocation list, and is taken before the export is written. It
//! rises whoever signs it: a broker remembers one number, not one of each device CA.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{ExportHeader, RegistryExport, Role, Subject};
use rustls_pki_types::UnixTime;

use super::crl_publish::lifetime;
use super::refusal::noted;
use crate::authority::{Authority, Hierarchy, Passphrase};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::registry::Publication;

/// What to export.
#[derive(Clone, Copy, Debug)]
pub struct ExportRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the key of the authority, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// For how many days it is good; 7 when nothing is said.
    pub days: Option<u32>,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The number of the export.
    pub number: u64,
    /// How many devices and applications are in it.
    pub devices: usize,
    /// When it was made.
    pub created: UnixTime,
    /// By when there should be a newer one.
    pub next_update: UnixTime,
    /// Where it is.
    pub files: Vec<PathBuf>,
}

/// Signs an export of the registry and puts it where brokers find it.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn registry_export(
    request: &ExportRequest<'_>,
    now: UnixTime,
) -> Result<Exported, CommandError> {
    noted((request.dir, "registry-export"), now, || sign(request, now))
}

fn sign(request: &ExportRequest<'_>, now: UnixTime) -> Result<Exported, CommandError> {
    let lifetime = lifetime(request.days)?;
    let mut ca = Hierarchy::open_for_devices(request.dir, request.passphrase, now)?;
    export(&mut ca, (now, lifetime))
}

/// Signs an export anew where there was one that knows `revoked`, or one that cannot be read, so
/// that a broker that admits known devices only follows. It is good for as long as that one was.
pub(super) fn renew_without(
    ca: &mut Hierarchy,
    revoked: &Subject,
    now: UnixTime,
) -> Result<Option<Exported>, CommandError> {
    let newest = newest_file(ca)?;
    let taken = ca.registry.highest_number(Publication::RegistryExport)?;
    let good = newest.filter(|export| export.header().number >= taken);
    let lifetime = match good {
        Some(newest) if newest.find(revoked).is_none() => return Ok(None),
        Some(newest) => life(&newest),
        None if taken == 0 => return Ok(None),
        None => lifetime(None)?,
    };
    export(ca, (now, lifetime)).map(Some)
}

/// Signs an export anew where the last one is signed by another device CA than the one that issues:
/// a broker that trusts that one no more would refuse it.
pub(super) fn renew_by_active(
    ca: &mut Hierarchy,
    now: UnixTime,
) -> Result<Option<Exported>, CommandError> {
    let taken = ca.registry.highest_number(Publication::RegistryExport)?;
    let key_id = ca.device_ca.as_issuer()?.key_id().to_vec();
    let lifetime = match newest_file(ca)? {
        Some(newest) if newest.issuer_key_id() == key_id => return Ok(None),
        Some(newest) => life(&newest),
        None if taken == 0 => return Ok(None),
        None => lifetime(None)?,
    };
    export(ca, (now, lifetime)).map(Some)
}

/// For how long an export is good.
fn life(export: &RegistryExport) -> Duration {
    let header = export.header();
    let (from, to) = (header.created.as_secs(), header.next_update.as_secs());
    Duration::from_secs(to.saturating_sub(from))
}

fn export(
    ca: &mut Hierarchy,
    (now, lifetime): (UnixTime, Duration),
) -> Result<Exported, CommandError> {
    let known = ca.registry.known_devices(now)?;
    let next_update = now.as_secs().saturating_add(lifetime.as_secs());
    let next_update = UnixTime::since_unix_epoch(Duration::from_secs(next_update));
    let seen = newest_file(ca)?.map_or(0, |export| export.header().number);
    let taken = ca.registry.highest_number(Publication::RegistryExport)?;
    let seen = seen.max(taken);
    let times = (seen, now, next_update);
    let issuer = ca.device_ca.serial();
    let number = ca
        .registry
        .take_number(Publication::RegistryExport, issuer, times)?;
    let trust_domain = ca.trust_domain.clone();
    let header = ExportHeader {
        number,
        trust_domain,
        created: now,
        next_update,
    };
    let (export, octets) = ca.device_ca.sign_export(&header, known.iter())?;
    Ok(Exported {
        number,
        devices: export.devices().len(),
        created: now,
        next_update,
        files: write(ca, &octets)?,
    })
}

/// The export with the highest number among the files that are there and good.
fn newest_file(ca: &Hierarchy) -> Result<Option<RegistryExport>, CommandError> {
    let device_cas = ca.of_role(Role::DeviceCa).into_iter();
    let issuers: Vec<_> = device_cas
        .map(Authority::as_issuer)
        .collect::<Result<_, _>>()?;
    let mut newest: Option<RegistryExport> = None;
    for path in [
        ca.layout.registry_export(),
        ca.layout.broker_registry_export(),
    ] {
        let Some(octets) = files::read_large_if_there(&path)? else {
            continue;
        };
        let number = newest.as_ref().map(|export| export.header().number);
        match RegistryExport::read(&octets, &issuers) {
            Ok(export) if Some(export.header().number) > number => newest = Some(export),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(newest)
}

fn write(ca: &Hierarchy, octets: &[u8]) -> Result<Vec<PathBuf>, CommandError> {
    let mut paths = vec![ca.layout.registry_export()];
    if files::exists(&ca.layout.broker().dir)? {
        paths.push(ca.layout.broker_registry_export());
    }
    let mut staging = Staging::new(ca.layout.dir());
    for path in &paths {
        staging.write(path, octets)?;
    }
    staging.commit()?;
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use certs::{Authority, KnownDevice, RevocationReason};
    use rusqlite::Connection;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::layout::Layout;
    use crate::testing::{certificate, day, issue, up};
    use crate::{RevokeRequest, device_revoke};

    fn export(dir: &Path, now: UnixTime) -> Exported {
        registry_export(
            &ExportRequest {
                passphrase: None,
                dir,
                days: None,
            },
            now,
        )
        .unwrap()
    }

    fn read(layout: &Layout) -> RegistryExport {
        let der = CertificateDer::from_pem_file(layout.device_ca_pem()).unwrap();
        let octets = fs::read(layout.broker_registry_export()).unwrap();
        assert_eq!(octets, fs::read(layout.registry_export()).unwrap());
        RegistryExport::read(&octets, &[Authority::read(&der).unwrap()]).unwrap()
    }

    fn known(export: &RegistryExport, id: &str) -> Option<KnownDevice> {
        export.find(&Subject::parse(id).unwrap()).cloned()
    }

    #[test]
    fn an_export_has_whoever_holds_a_certificate_that_counts() {
        let temp = tempfile::tempdir().unwrap();
        let prepared = up(temp.path(), 3, day(0)).unwrap();
        let layout = &prepared.layout;
        let subject = &Subject::parse("dev-2").unwrap();
        let reason = RevocationReason::CessationOfOperation;
        device_revoke(
            &RevokeRequest {
                passphrase: None,
                dir: temp.path(),
                subject,
                reason,
            },
            day(0),
        )
        .unwrap();
        let first = certificate(&prepared.devices[0].files.cert).sha256;
        issue(temp.path(), "dev-1", None).unwrap();
        let second = certificate(&prepared.devices[0].files.cert).sha256;

        let exported = export(temp.path(), day(0));
        assert_eq!((exported.number, exported.devices), (1, 3));
        let read = read(layout);
        assert_eq!(read.header().next_update, day(7));
        assert_eq!(known(&read, "dev-1").unwrap().certificates, [first, second]);
        assert!(known(&read, "dev-3").is_some() && known(&read, "app/app-1").is_some());
        assert_eq!(known(&read, "dev-2"), None);
        assert_eq!(export(temp.path(), day(366)).devices, 0, "all have expired");
    }

    #[test]
    fn an_export_that_was_published_follows_who_is_revoked() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 3, day(0)).unwrap().layout;
        let revoke = |id: &str, now| {
            let request = RevokeRequest {
                passphrase: None,
                dir: temp.path(),
                subject: &Subject::parse(id).unwrap(),
                reason: RevocationReason::KeyCompromise,
            };
            device_revoke(&request, now).unwrap().export
        };
        assert_eq!(revoke("dev-3", day(0)), None, "nobody asked for an export");
        let days = Some(30);
        let dir = temp.path();
        let request = ExportRequest {
            passphrase: None,
            dir,
            days,
        };
        registry_export(&request, day(1)).unwrap();
        let exported = revoke("dev-1", day(2)).unwrap();
        assert_eq!((exported.number, exported.devices), (2, 2));
        assert_eq!(exported.next_update, day(32));
        assert_eq!(known(&read(&layout), "dev-1"), None);
        assert!(known(&read(&layout), "dev-2").is_some());
        assert_eq!(revoke("dev-1", day(3)), None, "it is there");
        // What was recorded and not published is published by the next try.
        fs::write(layout.registry_export(), "nothing").unwrap();
        fs::remove_file(layout.broker_registry_export()).unwrap();
        let exported = revoke("dev-1", day(3)).unwrap();
        assert_eq!((exported.number, exported.next_update), (3, day(10)));
    }

    #[test]
    fn what_is_said_of_a_device_is_exported() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 1, day(0)).unwrap().layout;
        let said = "INSERT INTO device_attribute VALUES ('dev-1', 'site', 'north');
                    INSERT INTO device_group VALUES ('DEV-1', 'pumps');";
        let registry = Connection::open(layout.registry()).unwrap();
        registry.execute_batch(said).unwrap();
        export(temp.path(), day(0));
        let device = known(&read(&layout), "dev-1").unwrap();
        assert_eq!(device.attributes, [("site".into(), "north".into())].into());
        assert_eq!(device.groups, ["pumps".into()].into());
        // What could not be read again is not signed.
        let bad = "UPDATE device_attribute SET name = 'a/b'";
        registry.execute_batch(bad).unwrap();
        let refused = registry_export(
            &ExportRequest {
                passphrase: None,
                dir: temp.path(),
                days: None,
            },
            day(0),
        );
        assert!(
            matches!(refused, Err(CommandError::Export(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn a_registry_from_a_backup_does_not_lower_the_number() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 1, day(0)).unwrap().layout;
        let backup = fs::read(layout.registry()).unwrap();
        for number in 1..=3 {
            assert_eq!(export(temp.path(), day(0)).number, number);
        }
        fs::write(layout.registry(), backup).unwrap();
        assert_eq!(export(temp.path(), day(0)).number, 4);
    }
}
