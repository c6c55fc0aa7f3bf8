//! What `countersign up` finds or makes before it serves: authorities, a broker, devices, an
//! application.
//!
//! Given again it keeps what is good, makes what is missing, and renews what is broken or near its
//! end. It starts nothing and writes no configuration.

use std::path::Path;

use certs::{Certificate, DeviceId, InvalidDeviceId, Kind, Role, Subject, TrustDomain};
use rcgen::PublicKeyData;
use rustls_pki_types::{ServerName, UnixTime};

use super::broker_issue::{issue_broker, server_names};
use super::ca_init::open_or_make;
use super::issue::{Delivery, above, chain, deliver};
use crate::authority::{Hierarchy, key_file};
use crate::error::CommandError;
use crate::files;
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
    let (mut ca, made) = open_or_make(request.dir, request.trust_domain, now)?;
    let broker = prepare_broker(&mut ca, server_names(request.server_names), now)?;
    let mut subjects = vec![subject(Kind::App, "app-1")?];
    for n in 1..=asked {
        subjects.push(subject(Kind::Device, &format!("dev-{n}"))?);
    }
    let peers = prepare_peers(&mut ca, subjects, now)?.into_iter();
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
        Outcome::Kept | Outcome::Renewed => Outcome::Renewed,
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
        let outcome = due(ca, &files, recorded, now)?;
        if outcome != Outcome::Kept {
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
fn is_near_its_end(certificate: &Certificate, now: UnixTime) -> bool {
    let seconds = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs());
    let left = seconds(now, certificate.not_after);
    left < seconds(certificate.not_before, certificate.not_after) / 3
}

/// Whether the files are what was delivered. The key may be missing, when the holder made its own.
fn holds(ca: &Hierarchy, files: &IdentityFiles, recorded: &Recorded) -> Result<bool, CommandError> {
    let (issuer, trusted) = above(ca, recorded.role());
    let chain = chain(recorded.pem(), issuer);
    for (path, expected) in [(&files.cert, chain.as_str()), (&files.ca, trusted)] {
        if files::read_if_there(path)?.as_deref() != Some(expected.as_bytes()) {
            return Ok(false);
        }
    }
    if !files::exists(&files.key)? {
        return Ok(true);
    }
    let key = key_file::open(&files.key)?;
    Ok(*key.subject_public_key_info() == *recorded.certificate().public_key)
}
