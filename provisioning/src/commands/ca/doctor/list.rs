//! The revocation lists: there, of the present, the newest, and those that the broker reads.

use certs::{Freshness, ListId, ListNumber, RevocationList, WithCauses};
use rustls_pki_types::UnixTime;

use super::{Check, quoted, seen};
use crate::authority::{Authority, Hierarchy};
use crate::commands::crl_publish::{is_past_half, life, newest_file, places};
use crate::error::CommandError;
use crate::files;
use crate::registry::Publication;

const NAME: &str = "revocation list";

/// The check of each device CA's list, and which one is the active one's.
pub(super) fn check(ca: &Hierarchy, now: UnixTime) -> (Vec<Check>, Option<(ListId, ListNumber)>) {
    let (mut checks, mut newest) = (Vec::new(), None);
    for device_ca in ca.device_cas() {
        let (check, id) = check_one(ca, device_ca, now);
        checks.push(check);
        if device_ca.id() == ca.device_ca.id() {
            newest = id;
        }
    }
    (checks, newest)
}

fn check_one(
    ca: &Hierarchy,
    device_ca: &Authority,
    now: UnixTime,
) -> (Check, Option<(ListId, ListNumber)>) {
    let newest = match newest_file(ca, device_ca) {
        Ok(newest) => newest,
        Err(why) => return (Check::bad(NAME, WithCauses(&why)), None),
    };
    let mend = format!("countersign crl publish --dir {}", quoted(ca.layout.dir()));
    let check = match &newest {
        None => check_missing(ca, device_ca),
        Some((list, octets)) => check_list((ca, device_ca), (list, octets), now),
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

fn check_missing(ca: &Hierarchy, device_ca: &Authority) -> Result<Check, CommandError> {
    let issuer = device_ca.serial();
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
    (ca, device_ca): (&Hierarchy, &Authority),
    (list, octets): (&RevocationList, &[u8]),
    now: UnixTime,
) -> Result<Check, CommandError> {
    let id = device_ca.id();
    let taken = ca
        .registry
        .last_number(Publication::RevocationList, device_ca.serial())?;
    let number = list.number().to_u64();
    let age = now.as_secs().saturating_sub(list.this_update().as_secs());
    let hours = age / 3_600;
    let of = match id.number {
        1 => String::new(),
        number => format!(" of device CA {number}"),
    };
    let told = format!("number {}{of}, {hours} h old", list.number());
    if number < Some(taken) {
        let why = format!("{told}: number {taken} was given out, and this one is older");
        return Ok(Check::bad(NAME, why));
    }
    for path in places(&ca.layout, id)? {
        if files::read_large_if_there(&path)?.as_deref() != Some(octets) {
            let why = format!("{told}: it is not the one in {}", path.display());
            return Ok(Check::bad(NAME, why));
        }
    }
    Ok(match list.freshness(now) {
        Freshness::Stale { .. } => Check::bad(NAME, format!("{told}: it is out of date")),
        Freshness::NotYet { .. } => Check::bad(NAME, format!("{told}: it is made in the future")),
        Freshness::Fresh if is_past_half((list.this_update(), list.next_update()), now) => {
            Check::warn(NAME, format!("{told}: past half of its life"))
        }
        Freshness::Fresh => Check::ok(NAME, format!("{told}, of {} h", life(list) / 3_600)),
    })
}
