//! `countersign ca verify`: whether what stands in the directory of an authority is what it issued.
//!
//! Every certificate on record is read again, verified against its issuer and compared with its
//! profile; the audit chain, the files and the revocation list are compared with the registry. No
//! key of an authority is opened, and nothing is changed.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use certs::{
    AuthorityName, Certificate, CommonName, Deviation, Freshness, Holder, Kind, Profile, Role,
    Serial, Subject, TrustDomain,
};
use rcgen::PublicKeyData;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::authority::{Authority, Hierarchy, KeyKept, der, key_file, read_pem};
use crate::commands::crl_publish::{newest_file, wanted};
use crate::commands::issue::that_count;
use crate::error::CommandError;
use crate::files;
use crate::layout::IdentityFiles;
use crate::registry::{CertificateRow, Publication};

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// How many certificates are on record.
    pub certificates: usize,
    /// How many entries the audit chain has, if it is whole.
    pub entries: Option<u64>,
    /// How many directories of devices, applications and brokers there are.
    pub holders: usize,
    /// The number of the revocation list of the active device CA, if there is one.
    pub list: Option<u64>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// With what.
    pub about: Box<str>,
    /// What it is.
    pub what: Box<str>,
}

/// Checks everything in the directory of an authority.
///
/// # Errors
/// [`CommandError`] when it cannot be looked at; what is wrong with it is no error.
pub fn ca_verify(dir: &Path, now: UnixTime) -> Result<Verification, CommandError> {
    let ca = Hierarchy::open(dir)?;
    let mut found = Verification::default();
    let recorded = found.check_rows(&ca)?;
    found.check_chain(&ca)?;
    found.check_authorities(&ca);
    found.check_holders(&ca, &recorded)?;
    found.check_lists(&ca, now)?;
    Ok(found)
}

/// Whose each certificate on record is, by its fingerprint.
type Recorded = HashMap<[u8; 32], (Role, Box<str>)>;

impl Verification {
    fn find(&mut self, about: impl fmt::Display, what: impl fmt::Display) {
        self.findings.push(Finding {
            about: about.to_string().into(),
            what: what.to_string().into(),
        });
    }

    fn check_rows(&mut self, ca: &Hierarchy) -> Result<Recorded, CommandError> {
        let mut profiles = HashMap::new();
        for role in Role::ALL {
            profiles.insert(role, Profile::of(role)?);
        }
        let (mut recorded, mut issuers) = (Recorded::new(), HashMap::new());
        ca.registry.each_certificate(|row| {
            self.certificates += 1;
            let about = format!("{} {}", row.role.as_str(), row.name);
            let certificate = match read_pem(&row.pem) {
                Ok(certificate) => certificate,
                Err(why) => {
                    self.find(about, why);
                    return Ok(());
                }
            };
            recorded.insert(certificate.sha256, (row.role, row.name.clone()));
            if matches!(row.role, Role::Root | Role::DeviceCa | Role::ServerCa) {
                issuers.insert(row.serial.clone(), certificate.clone());
            }
            let issuer = row.issuer.as_ref().and_then(|serial| issuers.get(serial));
            match (issuer, profiles.get(&row.role)) {
                (Some(issuer), Some(profile)) => {
                    let checked =
                        check_row(&row, &certificate, (profile, issuer, &ca.trust_domain));
                    if let Err(why) = checked {
                        self.find(about, why);
                    }
                }
                (None, _) | (_, None) => self.find(about, "its issuer is not on record"),
            }
            Ok(())
        })?;
        self.check_crossed(ca, &issuers)?;
        Ok(recorded)
    }

    /// The keys of roots that other roots have certified.
    fn check_crossed(
        &mut self,
        ca: &Hierarchy,
        roots: &HashMap<Vec<u8>, Certificate>,
    ) -> Result<(), CommandError> {
        let profile = Profile::of(Role::Root)?;
        for cross in ca.registry.cross_certificates()? {
            let root = |serial: Serial| roots.get(serial.as_octets());
            let (Some(subject), Some(issuer)) = (root(cross.subject), root(cross.issuer)) else {
                self.find("cross certificate", "its roots are not on record");
                continue;
            };
            let checked = check_cross(&cross.pem, (&profile, subject, issuer));
            if let Err(why) = checked {
                self.find(format!("cross certificate of {}", subject.subject), why);
            }
        }
        Ok(())
    }

    fn check_chain(&mut self, ca: &Hierarchy) -> Result<(), CommandError> {
        match ca.registry.verify_audit() {
            Ok(end) => self.entries = Some(end.entries),
            Err(why) => self.find("audit chain", why),
        }
        let (there, told) = ca.registry.counted_certificates()?;
        if there != told {
            let what = format!("it tells of {told} certificates, and {there} are on record");
            self.find("audit chain", what);
        }
        Ok(())
    }

    fn check_authorities(&mut self, ca: &Hierarchy) {
        for authority in ca.all() {
            let id = authority.id();
            self.check_copy(&ca.layout.authority_pem(id), authority.pem());
            if let Err(why) = KeyKept::at(&ca.layout.authority_key(id)) {
                self.find(id, why);
            }
        }
        self.check_copy(&ca.layout.ca_pem(), &ca.trusted_by_peers());
        // An authority that an earlier version made has none; there is one when it is needed.
        let trusted = ca.layout.device_cas_pem();
        if ca.device_cas().count() > 1 || !matches!(files::exists(&trusted), Ok(false)) {
            self.check_copy(&trusted, &ca.trusted_by_brokers());
        }
    }

    fn check_copy(&mut self, path: &Path, pem: &str) {
        match files::read_if_there(path) {
            Ok(Some(found)) if found == pem.as_bytes() => {}
            Ok(Some(_)) => self.find(path.display(), "is not the certificate on record"),
            Ok(None) => self.find(path.display(), "is missing"),
            Err(why) => self.find(path.display(), why),
        }
    }

    fn check_holders(&mut self, ca: &Hierarchy, recorded: &Recorded) -> Result<(), CommandError> {
        if files::exists(&ca.layout.broker().cert)? {
            self.check_holder(&ca.layout.broker(), (Role::Broker, "broker"), recorded);
        }
        for kind in [Kind::Device, Kind::App] {
            let peers = ca.layout.peers(kind);
            for name in files::names_in(&peers)? {
                let name = name.to_string_lossy().into_owned();
                // What a command left that was killed is replaced by the next one.
                if !name.starts_with('.') {
                    let files = IdentityFiles::below(peers.join(&name));
                    self.check_holder(&files, (kind.into(), &name), recorded);
                }
            }
        }
        Ok(())
    }

    fn check_holder(&mut self, files: &IdentityFiles, whose: (Role, &str), recorded: &Recorded) {
        self.holders += 1;
        if let Err(what) = check_files(files, whose, recorded) {
            self.find(files.dir.display(), what);
        }
    }

    fn check_lists(&mut self, ca: &Hierarchy, now: UnixTime) -> Result<(), CommandError> {
        for device_ca in ca.device_cas() {
            let list = self.check_list(ca, device_ca, now)?;
            if device_ca.id() == ca.device_ca.id() {
                self.list = list;
            }
        }
        Ok(())
    }

    /// The number of the list that is there.
    fn check_list(
        &mut self,
        ca: &Hierarchy,
        device_ca: &Authority,
        now: UnixTime,
    ) -> Result<Option<u64>, CommandError> {
        let wanted = wanted(ca, device_ca, now)?;
        let taken = ca
            .registry
            .last_number(Publication::RevocationList, device_ca.serial())?;
        let about = match device_ca.id().number {
            1 => "revocation list".to_owned(),
            number => format!("revocation list of device CA {number}"),
        };
        let Some((list, _)) = newest_file(ca, device_ca)? else {
            if taken > 0 || !wanted.is_empty() {
                self.find(about, "it is missing; publish one");
            }
            return Ok(None);
        };
        let found = list.number().to_u64();
        if found < Some(taken) {
            self.find(
                &about,
                format!("number {taken} was given out, and this one is older"),
            );
        }
        if list.freshness(now) != Freshness::Fresh {
            self.find(&about, "it is out of date; publish one");
        }
        let missing = wanted
            .iter()
            .filter(|(serial, revoked)| list.find(*serial) != Some(*revoked));
        let missing = missing.count();
        let more = (list.len() + missing).saturating_sub(wanted.len());
        if (missing, more) != (0, 0) {
            let what = format!("{missing} certificates are missing on it, {more} should not be");
            self.find(about, what);
        }
        Ok(found)
    }
}

/// Whether a row says what its certificate does, and that is what its profile does.
fn check_row(
    row: &CertificateRow,
    certificate: &Certificate,
    (profile, issuer, trust_domain): (&Profile, &Certificate, &TrustDomain),
) -> Result<(), Wrong> {
    let seconds = |at: UnixTime| at.as_secs().cast_signed();
    let validity = (
        seconds(certificate.not_before),
        seconds(certificate.not_after),
    );
    let same = row.serial == certificate.serial.as_octets()
        && row.sha256 == certificate.sha256
        && row.validity == validity;
    if !same {
        return Err(Wrong::Words(
            "its row says something else than the certificate",
        ));
    }
    let der = CertificateDer::from_pem_slice(row.pem.as_bytes());
    let der = der.map_err(|_| Wrong::Words("it is not PEM"))?;
    let check = |holder| profile.check(&der, holder, issuer).map(drop);
    let name = AuthorityName {
        organization: certificate.organizations.first().map(AsRef::as_ref),
        common_name: &row.name,
    };
    let checked = match row.role {
        Role::Root => check(Holder::Root(name)),
        Role::DeviceCa => check(Holder::DeviceCa(name)),
        Role::ServerCa => check(Holder::ServerCa(name)),
        Role::Broker => check(Holder::Server(&server_names(certificate))),
        Role::Device => check(Holder::Peer(trust_domain, &peer(Kind::Device, &row.name)?)),
        Role::App => check(Holder::Peer(trust_domain, &peer(Kind::App, &row.name)?)),
    };
    checked.map_err(Wrong::Deviation)
}

/// Whether it certifies the key of `subject` under the name of `subject`.
fn check_cross(
    pem: &str,
    (profile, subject, issuer): (&Profile, &Certificate, &Certificate),
) -> Result<(), Wrong> {
    let der = der(pem).map_err(|_| Wrong::Words("it is not PEM"))?;
    let CommonName::One(common_name) = &subject.common_name else {
        return Err(Wrong::Words("its root has no name"));
    };
    let name = AuthorityName {
        organization: subject.organizations.first().map(AsRef::as_ref),
        common_name,
    };
    let checked = profile.check(&der, Holder::Root(name), issuer);
    let certificate = checked.map_err(Wrong::Deviation)?;
    if certificate.public_key != subject.public_key {
        return Err(Wrong::Words(
            "it certifies another key than that of its root",
        ));
    }
    Ok(())
}

/// What is wrong with a row.
enum Wrong {
    Words(&'static str),
    Deviation(Deviation),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => f.write_str(words),
            Self::Deviation(deviation) => deviation.fmt(f),
        }
    }
}

fn peer(kind: Kind, name: &str) -> Result<Subject, Wrong> {
    let id = certs::DeviceId::parse(name);
    let id = id.map_err(|_| Wrong::Words("it is on record under a name that is no id"))?;
    Ok(Subject { kind, id })
}

/// The names of a server, of which the first one is its common name too.
fn server_names(certificate: &Certificate) -> Vec<ServerName<'static>> {
    let dns = certificate.extensions.dns_names.iter();
    let dns = dns.filter_map(|name| ServerName::try_from(name.to_string()).ok());
    let ips = certificate.extensions.ip_names.iter();
    let ips = ips.map(|ip| ServerName::from(*ip));
    let mut names: Vec<_> = dns.chain(ips).collect();
    if let CommonName::One(first) = &certificate.common_name {
        names.sort_by_key(|name| name.to_str() != **first);
    }
    names
}

/// Whether a holder has a certificate of its own that is on record, and the key for it.
fn check_files(
    files: &IdentityFiles,
    (role, name): (Role, &str),
    recorded: &Recorded,
) -> Result<(), String> {
    let missing = || "there is no certificate in it".to_owned();
    let files = that_count(files).map_err(|why| why.to_string())?;
    let pem = files::read_if_there(&files.cert).map_err(|why| why.to_string())?;
    let pem = String::from_utf8(pem.ok_or_else(missing)?).map_err(|_| missing())?;
    let certificate = read_pem(&pem).map_err(|why| why.to_string())?;
    match recorded.get(&certificate.sha256) {
        None => return Err("its certificate is not on record".to_owned()),
        Some((whose, of)) if (*whose, &**of) != (role, name) => {
            return Err(format!(
                "its certificate is that of the {} {of}",
                whose.as_str()
            ));
        }
        Some(_) => {}
    }
    if !files::exists(&files.key).map_err(|why| why.to_string())? {
        return Ok(());
    }
    let key = key_file::open(&files.key).map_err(|why| why.to_string())?;
    if *key.subject_public_key_info() == *certificate.public_key {
        Ok(())
    } else {
        Err("its key is not that of its certificate".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use certs::RevocationReason;
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::layout::Layout;
    use crate::testing::{day, issue, up};
    use crate::{RevokeRequest, device_revoke};

    /// Two devices, one revoked, one renewed; an application and a broker.
    fn world() -> TempDir {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 2, day(0)).unwrap();
        issue(temp.path(), "dev-1", None).unwrap();
        let request = RevokeRequest {
            dir: temp.path(),
            passphrase: None,
            subject: &Subject::parse("dev-2").unwrap(),
            reason: RevocationReason::KeyCompromise,
        };
        device_revoke(&request, day(1)).unwrap();
        temp
    }

    #[test]
    fn what_was_issued_here_is_found_as_it_should_be() {
        let temp = world();
        let found = ca_verify(temp.path(), day(1)).unwrap();
        assert_eq!(found.findings, []);
        assert_eq!(
            (found.certificates, found.holders, found.list),
            (8, 4, Some(1))
        );
        assert!(found.entries.is_some());
    }

    /// About what something is found, what it is, and what does it.
    type Change = (&'static str, &'static str, fn(&Layout));

    const CHANGES: &[Change] = &[
        ("device dev-1", "its row says something else", |layout| {
            change(
                layout,
                "UPDATE certificate SET not_after = 9 WHERE name = 'dev-1'",
            );
        }),
        ("device dev-3", "names in the certificate", |layout| {
            change(
                layout,
                "PRAGMA foreign_keys = off;
                     UPDATE certificate SET name = 'dev-3' WHERE name = 'dev-2'",
            );
        }),
        ("app app-1", "not one of this issuer", |layout| {
            change(
                layout,
                "UPDATE certificate SET issuer =
                     (SELECT serial FROM certificate WHERE role = 'root') WHERE role = 'app'",
            );
        }),
        ("audit chain", "broken at entry 2", |layout| {
            change(
                layout,
                "DROP TRIGGER audit_no_update; UPDATE audit SET at = 9 WHERE number = 2",
            );
        }),
        (
            "audit chain",
            "it tells of 8 certificates, and 7",
            |layout| {
                change(layout, "DELETE FROM certificate WHERE name = 'dev-2'");
            },
        ),
        (
            "revocation list",
            "0 certificates are missing on it, 1 should",
            |layout| {
                change(
                    layout,
                    "UPDATE certificate SET revoked = NULL, status = 'issued', reason = NULL
                     WHERE name = 'dev-2'",
                );
            },
        ),
        ("revocation list", "it is missing", |layout| {
            fs::remove_file(layout.device_ca_crl()).unwrap();
            fs::remove_file(layout.broker_crl()).unwrap();
        }),
        ("ca.pem", "is not the certificate on record", |layout| {
            fs::copy(layout.device_ca_pem(), layout.ca_pem()).unwrap();
        }),
        (
            "devices/dev-1",
            "its certificate is that of the device dev-2",
            |layout| {
                let [one, two] = peers(layout);
                fs::copy(two.cert, one.cert).unwrap();
            },
        ),
        (
            "devices/dev-1",
            "its key is not that of its certificate",
            |layout| {
                let [one, two] = peers(layout);
                fs::copy(two.key, one.key).unwrap();
            },
        ),
        (
            "devices/dev-1",
            "its certificate is not on record",
            |layout| {
                let other = world();
                let [theirs, _] = peers(&Layout::new(other.path()));
                fs::copy(theirs.cert, &peers(layout)[0].cert).unwrap();
            },
        ),
    ];

    #[test]
    fn whatever_was_changed_is_found() {
        for (about, what, change) in CHANGES {
            let temp = world();
            change(&Layout::new(temp.path()));
            let found = ca_verify(temp.path(), day(1)).unwrap().findings;
            let hit = |it: &Finding| it.about.ends_with(about) && it.what.contains(what);
            assert!(found.iter().any(hit), "{about}: {what}: {found:?}");
        }
    }

    fn change(layout: &Layout, sql: &str) {
        let connection = Connection::open(layout.registry()).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    fn peers(layout: &Layout) -> [IdentityFiles; 2] {
        ["dev-1", "dev-2"].map(|id| layout.peer(&Subject::parse(id).unwrap()))
    }
}
