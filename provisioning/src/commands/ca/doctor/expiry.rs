//! What ends soon: the certificates of authorities, brokers, devices and applications.

use std::time::Duration;

use certs::{Certificate, Role, TimeText, WithCauses};
use rustls_pki_types::UnixTime;

use super::{Check, quoted};
use crate::authority::Hierarchy;
use crate::commands::ca::status::asks_elsewhere;
use crate::commands::up_prepare::is_near_its_end;
use crate::layout::AuthorityId;
use crate::registry::Ending;

pub(super) fn check(ca: &Hierarchy, (now, soon): (UnixTime, Duration)) -> Vec<Check> {
    let end = now.as_secs().saturating_add(soon.as_secs());
    let end = UnixTime::since_unix_epoch(Duration::from_secs(end));
    let mut checks = vec![check_authorities(ca, (now, end))];
    for role in [Role::Broker, Role::Device, Role::App] {
        checks.push(check_holders(ca, role, (now, end)));
    }
    checks
}

fn check_authorities(ca: &Hierarchy, (now, end): (UnixTime, UnixTime)) -> Check {
    let name = "authorities";
    let trusted = ca.all().filter(|it| it.stage().is_trusted());
    let all: Vec<_> = trusted.map(|it| (it.id(), it.certificate())).collect();
    let until = |(id, it): &(AuthorityId, &Certificate)| {
        format!("the {id} is valid until {}", TimeText(it.not_after))
    };
    let is_over = |(_, it): &&(AuthorityId, &Certificate)| it.not_after < now;
    let is_late =
        |(_, it): &&(AuthorityId, &Certificate)| it.not_after < end || is_near_its_end(it, now);
    let mend = |(id, _): &(AuthorityId, &Certificate)| {
        let (role, dir) = (id.role.as_str(), quoted(ca.layout.dir()));
        if asks_elsewhere(ca, id.role).unwrap_or(false) {
            return format!("countersign ca request --role {role} --dir {dir} --out FILE");
        }
        format!("countersign ca rotate --role {role} --stage prepare --dir {dir}")
    };
    if let Some(over) = all.iter().find(is_over) {
        Check::bad(name, until(over)).mended_by(mend(over))
    } else if let Some(late) = all.iter().find(is_late) {
        Check::warn(name, until(late)).mended_by(mend(late))
    } else {
        let first = all.iter().min_by_key(|(_, it)| it.not_after);
        Check::ok(name, first.map(until).unwrap_or_default())
    }
}

fn check_holders(ca: &Hierarchy, role: Role, times: (UnixTime, UnixTime)) -> Check {
    let (name, whose) = match role {
        Role::Broker => ("broker certificate", "brokers"),
        Role::App => ("application certificates", "applications"),
        Role::Root | Role::DeviceCa | Role::ServerCa | Role::Device => {
            ("device certificates", "devices")
        }
    };
    let Ending { expired, soon } = match ca.registry.ending(role, times) {
        Ok(ending) => ending,
        Err(why) => return Check::bad(name, WithCauses(&why)),
    };
    let dir = quoted(ca.layout.dir());
    let days = times.1.as_secs().saturating_sub(times.0.as_secs()) / 86_400;
    let mend = match role {
        Role::Broker => format!("countersign up --dir {dir}"),
        _ => format!("countersign device list --expiring {days}d --dir {dir}"),
    };
    let why = format!("{expired} of {whose} have expired, {soon} will within {days} days");
    match (role, expired, soon) {
        (_, 0, 0) => Check::ok(name, format!("none of {whose} ends within {days} days")),
        // A device may be gone for good; a broker that is there is needed.
        (Role::Broker, 1.., _) => Check::bad(name, why).mended_by(mend),
        _ => Check::warn(name, why).mended_by(mend),
    }
}
