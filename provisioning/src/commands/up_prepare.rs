//! What `countersign up` finds or makes before it serves: authorities, a broker, devices, an
//! application.
//!
//! Given again it keeps what is good, makes what is missing, and renews what is broken or near its
//! end. It starts nothing and writes no configuration.

use std::path::Path;

use certs::{Certificate, DeviceId, InvalidDeviceId, Kind, Role, Subject, TrustDomain};
use rustls_pki_types::{ServerName, UnixTime};

use super::broker_issue::{issue_broker, server_names};
use super::ca::{InitRequest, open_or_make};
use super::crl_publish;
use super::issue::{Delivery, deliver, holds};
use crate::authority::{Hierarchy, key_file};
use crate::error::CommandError;
use crate::layout::{IdentityFiles, Layout};
use crate::registry::Recorded;

/// More devices than this are for a batch with a name, not for a directory to try things in.
pub const UP_DEVICES_MAX: u32 = 10_000;

/// So many certificates are recorded and written together: enough to make the disk's share of each
/// small, few enough to lose little work to a power cut.
const BATCH_LEN: usize = 256;

/// What `up` needs.
#[derive(Clone, Copy, Debug)]
pub struct UpRequest<'a> {
    /// The directory, which may be missing.
    pub dir: &'a Path,
    /// How many devices there must be: `dev-1`, `dev-2`, …
    pub devices: u32,
    /// Names of the broker besides those of this machine.
    pub server_names: &'a [ServerName<'static>],
    /// The trust domain; by default that of the authorities that are there, or the default one.
    pub trust_domain: Option<&'a TrustDomain>,
}

/// What is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prepared {
    /// Where everything is.
    pub layout: Layout,
    /// For whom the authorities speak.
    pub trust_domain: TrustDomain,
    /// What became of the authorities.
    pub authorities: Outcome,
    /// What became of the broker's certificate.
    pub broker: Outcome,
    /// The application `app-1`, and no other so far.
    pub apps: Vec<PreparedPeer>,
    /// The devices `dev-1`, `dev-2`, … in order.
    pub devices: Vec<PreparedPeer>,
}

/// A device or an application that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PreparedPeer {
    /// Who it is.
    pub subject: Subject,
    /// Its files.
    pub files: IdentityFiles,
    /// What became of its certificate.
    pub outcome: Outcome,
}

/// What became of something that had to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was there.
    Kept,
    /// It was missing, and was made.
    Made,
    /// It was near its end, incomplete or out of place, and was made anew.
    Renewed,
    /// Its device was revoked, and gets another one only on purpose.
    Revoked,
}

/// Makes sure that everything is there.
///
/// # Errors
/// [`CommandError`], among others when the directory holds other things.
pub fn up_prepare(request: &UpRequest<'_>, now: UnixTime) -> Result<Prepared, CommandError> {
    let (asked, max) = (request.devices, UP_DEVICES_MAX);
    if asked > max {
        return Err(CommandError::TooManyDevices { asked, max });
    }
    let (mut ca, made) = open_for_development(request, now)?;
    let broker = prepare_broker(&mut ca, server_names(request.server_names), now)?;
    let mut subjects = vec![subject(Kind::App, "app-1")?];
    for n in 1..=asked {
        subjects.push(subject(Kind::Device, &format!("dev-{n}"))?);
    }
    let peers = prepare_peers(&mut ca, subjects, now)?.into_iter();
    crl_publish::keep_fresh(&mut ca, None, now)?;
    let (apps, devices) = peers.partition(|peer| peer.subject.kind == Kind::App);
    Ok(Prepared {
        authorities: if made { Outcome::Made } else { Outcome::Kept },
        broker,
        apps,
        devices,
        trust_domain: ca.trust_domain,
        layout: ca.layout,
    })
}

/// The authorities, with both keys that issue: unencrypted, for nobody is asked for a passphrase.
fn open_for_development(
    request: &UpRequest<'_>,
    now: UnixTime,
) -> Result<(Hierarchy, bool), CommandError> {
    let init = InitRequest {
        trust_domain: request.trust_domain,
        ..InitRequest::new(request.dir)
    };
    let (mut ca, made) = open_or_make(&init, now)?;
    let open = ca.unlock_device_ca(None, now);
    open.and_then(|()| ca.unlock_server_ca(None, now))
        .map_err(|error| match error {
            CommandError::Encrypted(_) => CommandError::NotForDevelopment(request.dir.into()),
            error => error,
        })?;
    Ok((ca, made))
}

fn subject(kind: Kind, id: &str) -> Result<Subject, InvalidDeviceId> {
    Ok(Subject {
        kind,
        id: DeviceId::parse(id)?,
    })
}

fn prepare_broker(
    ca: &mut Hierarchy,
    names: Vec<ServerName<'static>>,
    now: UnixTime,
) -> Result<Outcome, CommandError> {
    let recorded = ca.registry.current(Role::Broker, "broker")?;
    let covered = recorded.as_ref().is_some_and(|recorded| {
        let certificate = recorded.certificate();
        names.iter().all(|name| certificate.is_for_server(name))
    });
    let outcome = match due(ca, &ca.layout.broker(), recorded, now)? {
        Outcome::Kept if covered => return Ok(Outcome::Kept),
        Outcome::Kept | Outcome::Renewed | Outcome::Revoked => Outcome::Renewed,
        Outcome::Made => Outcome::Made,
    };
    issue_broker(ca, names, now)?;
    Ok(outcome)
}

fn prepare_peers(
    ca: &mut Hierarchy,
    subjects: Vec<Subject>,
    now: UnixTime,
) -> Result<Vec<PreparedPeer>, CommandError> {
    let mut peers = Vec::with_capacity(subjects.len());
    let mut deliveries = Vec::new();
    for subject in subjects {
        let files = ca.layout.peer(&subject);
        let recorded = ca
            .registry
            .current(subject.kind.into(), subject.id.as_str())?;
        let outcome = match due(ca, &files, recorded, now)? {
            Outcome::Made if ca.registry.last_revocation(&subject)?.is_some() => Outcome::Revoked,
            outcome => outcome,
        };
        if matches!(outcome, Outcome::Made | Outcome::Renewed) {
            let key = key_file::generate()?;
            deliveries.push(Delivery::to_peer(ca, &subject, &key, now)?.with_key(&key));
        }
        if deliveries.len() == BATCH_LEN {
            deliver(ca, std::mem::take(&mut deliveries), now)?;
        }
        peers.push(PreparedPeer {
            subject,
            files,
            outcome,
        });
    }
    deliver(ca, deliveries, now)?;
    Ok(peers)
}

/// What must become of a holder's certificate, going by the registry and by the holder's files.
fn due(
    ca: &Hierarchy,
    files: &IdentityFiles,
    recorded: Option<Recorded>,
    now: UnixTime,
) -> Result<Outcome, CommandError> {
    let Some(recorded) = recorded else {
        return Ok(Outcome::Made);
    };
    let good = !is_near_its_end(recorded.certificate(), now) && holds(ca, files, &recorded)?;
    Ok(if good {
        Outcome::Kept
    } else {
        Outcome::Renewed
    })
}

/// The last third of a life is for renewing.
pub(crate) fn is_near_its_end(certificate: &Certificate, now: UnixTime) -> bool {
    let seconds = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs());
    let left = seconds(now, certificate.not_after);
    left < seconds(certificate.not_before, certificate.not_after) / 3
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use certs::{Admission, RevocationSet, admit};
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::Outcome::{Kept, Made, Renewed};
    use super::*;
    use crate::testing::{certificate, day, issue, up};

    fn outcomes(prepared: &Prepared) -> Vec<Outcome> {
        let peers = prepared
            .apps
            .iter()
            .chain(&prepared.devices)
            .map(|peer| peer.outcome);
        [prepared.authorities, prepared.broker]
            .into_iter()
            .chain(peers)
            .collect()
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("certs/dev");
        assert_eq!(outcomes(&up(&dir, 2, day(0)).unwrap()), [Made; 5]);
        assert_eq!(outcomes(&up(&dir, 2, day(1)).unwrap()), [Kept; 5]);
        let more = up(&dir, 3, day(1)).unwrap();
        assert_eq!(outcomes(&more), [Kept, Kept, Kept, Kept, Kept, Made]);
        let ids: Vec<_> = more
            .devices
            .iter()
            .map(|peer| peer.subject.to_string())
            .collect();
        assert_eq!(ids, ["dev-1", "dev-2", "dev-3"]);
        assert_eq!(outcomes(&up(&dir, 0, day(1)).unwrap()), [Kept; 3]);
    }

    #[test]
    fn every_peer_passes_the_gate() {
        let temp = tempfile::tempdir().unwrap();
        let prepared = up(temp.path(), 1, day(0)).unwrap();
        let revoked = &RevocationSet::default();
        let admission = Admission {
            trust_domain: &prepared.trust_domain,
            id_from: &certs::IdFrom::Uri,
            revoked,
        };
        for peer in prepared.apps.iter().chain(&prepared.devices) {
            let chain: Vec<_> = CertificateDer::pem_file_iter(&peer.files.cert)
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(chain.len(), 2);
            let admitted = admit(&chain[0], &admission, day(0)).unwrap();
            assert_eq!(*admitted.subject(), peer.subject);
            certs::check_issuer(&chain[1]).unwrap();
        }
        let broker = certificate(&prepared.layout.broker().cert);
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert!(broker.is_for_server(&name.try_into().unwrap()), "{name}");
        }
    }

    #[test]
    fn a_certificate_in_the_last_third_of_its_life_is_renewed() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        assert_eq!(outcomes(&up(temp.path(), 1, day(59)).unwrap()), [Kept; 4]);
        let before = certificate(&Layout::new(temp.path()).broker().cert);
        let later = up(temp.path(), 1, day(61)).unwrap();
        assert_eq!(outcomes(&later), [Kept, Renewed, Kept, Kept]);
        assert_ne!(
            before.serial,
            certificate(&later.layout.broker().cert).serial
        );
        let expired = up(temp.path(), 1, day(400)).unwrap();
        assert_eq!(outcomes(&expired), [Kept, Renewed, Renewed, Renewed]);
    }

    #[test]
    fn files_that_do_not_belong_together_are_made_anew() {
        let temp = tempfile::tempdir().unwrap();
        let prepared = up(temp.path(), 2, day(0)).unwrap();
        let [one, two] = [0, 1].map(|index| prepared.devices[index].files.clone());
        let damages: [&dyn Fn(); 4] = [
            // What a power cut left when files were renamed one by one.
            &|| assert_ne!(fs::copy(&two.key, &one.key).unwrap(), 0),
            &|| fs::remove_file(&one.cert).unwrap(),
            &|| fs::write(&one.cert, "").unwrap(),
            &|| fs::remove_dir_all(&one.dir).unwrap(),
        ];
        for damage in damages {
            damage();
            let repaired = up(temp.path(), 2, day(0)).unwrap();
            assert_eq!(outcomes(&repaired), [Kept, Kept, Kept, Renewed, Kept]);
            assert_eq!(outcomes(&up(temp.path(), 2, day(0)).unwrap()), [Kept; 5]);
        }
    }

    #[test]
    fn a_copy_of_an_authority_that_is_missing_comes_back_from_the_registry() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 1, day(0)).unwrap().layout;
        let before = fs::read(layout.ca_pem()).unwrap();
        fs::remove_file(layout.ca_pem()).unwrap();
        fs::remove_file(layout.authority_pem(Role::DeviceCa)).unwrap();
        assert_eq!(outcomes(&up(temp.path(), 1, day(0)).unwrap()), [Kept; 4]);
        assert_eq!(fs::read(layout.ca_pem()).unwrap(), before);
    }

    #[test]
    fn a_device_that_keeps_its_own_key_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 0, day(0)).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let csr = temp.path().join("dev-1.csr");
        fs::write(&csr, request.pem().unwrap()).unwrap();
        let issued = issue(temp.path(), "dev-1", Some(&csr)).unwrap();
        let prepared = up(temp.path(), 1, day(0)).unwrap();
        assert_eq!(prepared.devices[0].outcome, Kept);
        assert_eq!(
            certificate(&prepared.devices[0].files.cert).serial,
            issued.serial
        );
    }

    #[test]
    fn a_broker_under_a_new_name_is_renewed() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 0, day(0)).unwrap();
        let server_names = &["broker.example".try_into().unwrap()];
        let request = UpRequest {
            dir: temp.path(),
            devices: 0,
            server_names,
            trust_domain: None,
        };
        let prepared = up_prepare(&request, day(0)).unwrap();
        assert_eq!(prepared.broker, Renewed);
        let names = certificate(&prepared.layout.broker().cert);
        assert!(names.is_for_server(&server_names[0]));
        assert_eq!(up_prepare(&request, day(0)).unwrap().broker, Kept);
        assert_eq!(up(temp.path(), 0, day(0)).unwrap().broker, Kept);
    }

    #[test]
    fn too_many_devices_are_refused_before_anything_is_made() {
        let temp = tempfile::tempdir().unwrap();
        let refused = up(temp.path(), UP_DEVICES_MAX + 1, day(0)).unwrap_err();
        assert_eq!(refused.exit_class(), crate::ExitClass::Usage);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_relative_directory_will_do() {
        let temp = tempfile::tempdir().unwrap();
        let depth = std::env::current_dir().unwrap().components().count();
        let mut dir: PathBuf = std::iter::repeat_n("..", depth).collect();
        dir.push(temp.path().strip_prefix("/").unwrap());
        let prepared = up(&dir.join("new"), 1, day(0)).unwrap();
        assert!(prepared.devices[0].files.cert.starts_with(&dir));
        assert!(temp.path().join("new/devices/dev-1/cert.pem").exists());
    }
}
