//! The root's list of revoked authorities, where a root that is elsewhere has signed one.

use certs::Freshness;
use rustls_pki_types::UnixTime;

use super::{Check, quoted};
use crate::authority::Hierarchy;
use crate::commands::ca::install::revoked_here;
use crate::commands::ca::status::asks_elsewhere;
use crate::commands::crl_publish::newest_of;
use crate::error::CommandError;
use crate::registry::Publication;

const NAME: &str = "list of the root";

/// `None` where no such list was ever seen.
pub(super) fn check(ca: &Hierarchy, now: UnixTime) -> Option<Result<Check, CommandError>> {
    look(ca, now).transpose()
}

fn look(ca: &Hierarchy, now: UnixTime) -> Result<Option<Check>, CommandError> {
    let seen = ca
        .registry
        .last_number(Publication::RevocationList, ca.root.serial())?;
    let list = newest_of(&ca.root, &[ca.layout.list(ca.root.id())])?;
    let bring = format!(
        "countersign ca install --dir {} FILE",
        quoted(ca.layout.dir())
    );
    let Some((list, _)) = list else {
        let why = format!("number {seen} was here, and none is there now");
        return Ok((seen > 0).then(|| Check::bad(NAME, why).mended_by(bring)));
    };
    let told = format!("number {}, {} entries", list.number(), list.len());
    if list.number().to_u64() < Some(seen) {
        let why = format!("{told}: number {seen} was here, and this one is older");
        return Ok(Some(Check::bad(NAME, why).mended_by(bring)));
    }
    if let Some(revoked) = revoked_here(ca)?.first() {
        let (role, dir) = (revoked.id().role, quoted(ca.layout.dir()));
        let why = format!(
            "{told}: {} was revoked, and is trusted here",
            revoked.name()
        );
        let mend = if asks_elsewhere(ca, role)? {
            format!(
                "countersign ca request --role {} --dir {dir} --out FILE",
                role.as_str()
            )
        } else {
            format!(
                "countersign ca rotate --role {} --stage prepare --dir {dir}",
                role.as_str()
            )
        };
        return Ok(Some(Check::bad(NAME, why).mended_by(mend)));
    }
    Ok(Some(match list.freshness(now) {
        Freshness::Fresh => Check::ok(NAME, told),
        Freshness::Stale { .. } => {
            Check::warn(NAME, format!("{told}: it is out of date")).mended_by(bring)
        }
        Freshness::NotYet { .. } => Check::warn(NAME, format!("{told}: it is made in the future")),
    }))
}
