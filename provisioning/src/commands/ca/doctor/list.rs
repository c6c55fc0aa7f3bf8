//! The revocation list: there, of the present, the newest, and the one that the broker reads.

use certs::{Freshness, ListId, ListNumber, RevocationList, WithCauses};
use rustls_pki_types::UnixTime;

use super::{Check, quoted, seen};
use crate::authority::Hierarchy;
use crate::commands::crl_publish::newest_file;
use crate::error::CommandError;
use crate::files;
use crate::registry::Publication;

const NAME: &str = "revocation list";

/// Its check, and which one it is.
pub(super) fn check(ca: &Hierarchy, now: UnixTime) -> (Check, Option<(ListId, ListNumber)>) {
    let newest = match newest_file(ca) {
        Ok(newest) => newest,
        Err(why) => return (Check::bad(NAME, WithCauses(&why)), None),
    };
    let mend = format!("countersign crl publish --dir {}", quoted(ca.layout.dir()));
    let check = match &newest {
        None => check_missing(ca),
        Some((list, octets)) => check_list(ca, (list, octets), now),
    };
    let check = seen(NAME, check);
    let check = if check.verdict == super::Verdict::Ok {
        check
    } else {
        check.mended_by(mend)
    };
    let id = newest.map(|(list, _)| (list.id().clone(), list.number()));
    (check, id)
}

fn check_missing(ca: &Hierarchy) -> Result<Check, CommandError> {
    let issuer = ca.device_ca.serial();
    let taken = ca
        .registry
        .last_number(Publication::RevocationList, issuer)?;
    let revoked = ca.registry.counted_revoked(issuer)?;
    Ok(if taken > 0 || revoked > 0 {
        let why = format!("number {taken} was given out, {revoked} are revoked, and none is there");
        Check::bad(NAME, why)
    } else {
        Check::warn(NAME, "none was published yet")
    })
}

fn check_list(
    ca: &Hierarchy,
    (list, octets): (&RevocationList, &[u8]),
    now: UnixTime,
) -> Result<Check, CommandError> {
    let issuer = ca.device_ca.serial();
    let taken = ca
        .registry
        .last_number(Publication::RevocationList, issuer)?;
    let number = list.number().to_u64();
    let seconds = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs());
    let life = seconds(list.this_update(), list.next_update());
    let age = seconds(list.this_update(), now);
    let hours = age / 3_600;
    let told = format!("number {}, {hours} h old", list.number());
    if number < Some(taken) {
        let why = format!("{told}: number {taken} was given out, and this one is older");
        return Ok(Check::bad(NAME, why));
    }
    let mut copies = vec![ca.layout.device_ca_crl()];
    if files::exists(&ca.layout.broker().dir)? {
        copies.push(ca.layout.broker_crl());
    }
    for path in copies {
        if files::read_large_if_there(&path)?.as_deref() != Some(octets) {
            let why = format!("{told}: it is not the one in {}", path.display());
            return Ok(Check::bad(NAME, why));
        }
    }
    Ok(match list.freshness(now) {
        Freshness::Stale { .. } => Check::bad(NAME, format!("{told}: it is out of date")),
        Freshness::NotYet { .. } => Check::bad(NAME, format!("{told}: it is made in the future")),
        Freshness::Fresh if age >= life / 2 => {
            Check::warn(NAME, format!("{told}: past half of its life"))
        }
        Freshness::Fresh => Check::ok(NAME, format!("{told}, of {} h", life / 3_600)),
    })
}
