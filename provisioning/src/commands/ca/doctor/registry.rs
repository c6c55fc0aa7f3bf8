//! The registry, its audit chain, how the keys are kept, and the clock that all of it goes by.

use certs::{TimeText, WithCauses};
use rustls_pki_types::UnixTime;

use super::{Check, quoted};
use crate::authority::{Authority, Hierarchy, KeyKept};
use crate::error::CommandError;
use crate::registry::AuthorityStage;

/// Two machines, or a clock before and after it was set, may be so far apart.
const SKEW_SECONDS_MAX: u64 = 300;

pub(super) fn check_keys(ca: &Hierarchy) -> Check {
    let name = "keys";
    let mut kept = Vec::new();
    let in_use = ca.all().filter(|it| it.stage() != AuthorityStage::Retired);
    for id in in_use.map(Authority::id) {
        match KeyKept::at(&ca.layout.authority_key(id)) {
            Ok(how) => kept.push((id, how)),
            Err(why) => return Check::bad(name, WithCauses(&why)),
        }
    }
    let words: Vec<_> = kept
        .iter()
        .map(|(id, how)| format!("{id} {}", how.as_str()))
        .collect();
    let words = words.join(", ");
    if kept.iter().any(|(_, how)| *how == KeyKept::Unencrypted) {
        Check::warn(name, format!("{words}: for development only"))
            .mended_by("countersign ca init --dir NEW-DIR --passphrase-file FILE")
    } else {
        Check::ok(name, words)
    }
}

/// A clock that is behind what was done here, or behind its own authorities, is wrong.
pub(super) fn check_clock(ca: &Hierarchy, now: UnixTime) -> Result<Check, CommandError> {
    let name = "clock";
    let last = ca.registry.last_act()?;
    let begun = ca.device_ca.certificate().not_before;
    let latest = now.as_secs().saturating_add(SKEW_SECONDS_MAX);
    let wrong = |what: &str, at: UnixTime| {
        let why = format!("it says {}, and {what} {}", TimeText(now), TimeText(at));
        Check::bad(name, why).mended_by("timedatectl set-ntp true")
    };
    Ok(if last.as_secs() > latest {
        wrong("something was done here at", last)
    } else if begun.as_secs() > latest {
        wrong("the device CA is valid from", begun)
    } else {
        Check::ok(
            name,
            format!("{}, after all that was done here", TimeText(now)),
        )
    })
}

pub(super) fn check_registry(ca: &Hierarchy) -> Result<Check, CommandError> {
    let name = "registry";
    let complaints = ca.registry.complaints()?;
    let (there, told) = ca.registry.counted_certificates()?;
    let dir = quoted(ca.layout.dir());
    Ok(if !complaints.is_empty() {
        Check::bad(name, complaints.join("; "))
            .mended_by(format!("countersign ca restore BACKUP --dir {dir}"))
    } else if there != told {
        let why = format!("{there} certificates are on record, and the audit tells of {told}");
        Check::bad(name, why).mended_by(format!("countersign ca verify --dir {dir}"))
    } else {
        Check::ok(name, format!("whole, with {there} certificates"))
    })
}

pub(super) fn check_audit(ca: &Hierarchy) -> Check {
    let name = "audit chain";
    match ca.registry.verify_audit() {
        Ok(end) => Check::ok(name, format!("whole, with {} entries", end.entries)),
        Err(why) => {
            let dir = quoted(ca.layout.dir());
            Check::bad(name, WithCauses(&why))
                .mended_by(format!("countersign ca audit show --dir {dir}"))
        }
    }
}
