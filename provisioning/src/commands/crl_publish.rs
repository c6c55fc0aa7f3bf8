//! `countersign crl publish`: the lists of revoked devices, signed, where brokers find them.
//!
//! Each device CA whose certificates count has a list of its own, for whoever verifies one goes by
//! the list of its issuer. Its number rises over everything that was ever published from this
//! directory: over the registry, and over the files, which may be younger than a registry restored
//! from a backup. The number is taken before the list is written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{RevocationList, Revoked, Serial};
use rustls_pki_types::UnixTime;

use super::refusal::noted;
use crate::authority::{Authority, Hierarchy, ListContent, Passphrase};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::{AuthorityId, Layout};
use crate::registry::{Publication, Registry};

/// How long a list is good when nothing else is asked for.
pub(super) const LIFETIME_DAYS: u32 = 7;
/// A list that is good for longer than its readers remember protects nobody.
const LIFETIME_DAYS_MAX: u32 = 365;

/// So long a certificate stays on the list after its end: it "MUST NOT be removed from the CRL
/// until it appears on one regularly scheduled CRL issued beyond the revoked certificate's validity
/// period" (RFC 5280 §3.3), and clocks differ.
const KEPT_AFTER_END: Duration = Duration::from_hours(30 * 24);

/// What to publish.
#[derive(Clone, Copy, Debug)]
pub struct PublishRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the key of the authority, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// For how many days it is good; 7 when nothing is said.
    pub days: Option<u32>,
    /// Whether to sign a new one although the last one is good.
    pub force: bool,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The number of the device CA that signed it.
    pub device_ca: u32,
    /// The number of the list.
    pub number: u64,
    /// Whether it is a new one.
    pub made: bool,
    /// When it was made.
    pub this_update: UnixTime,
    /// By when there must be a newer one.
    pub next_update: UnixTime,
    /// How many certificates are on it.
    pub entries: usize,
    /// Where it is.
    pub files: Vec<PathBuf>,
    /// The lists of the other device CAs whose certificates count.
    pub others: Vec<Self>,
}

/// Publishes a list that says what the registry says, and puts it where brokers find it: a new one
/// if the last one says something else, is past half of its life, was to be good for another time,
/// or if that is asked for.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn crl_publish(request: &PublishRequest<'_>, now: UnixTime) -> Result<Published, CommandError> {
    noted((request.dir, "revocation-list"), now, || sign(request, now))
}

fn sign(request: &PublishRequest<'_>, now: UnixTime) -> Result<Published, CommandError> {
    let asked = lifetime(request.days)?;
    let mut ca = Hierarchy::open_for_lists(request.dir, request.passphrase, now)?;
    if !request.force {
        return bring_up_to_date(&mut ca, request.days.map(|_| asked), now);
    }
    each_list(&mut ca, |ca, of| {
        let next_update = after(now, asked);
        publish(ca, of, (now, next_update))
    })
}

/// For how long something is good that is asked to be so for `days`.
pub(super) fn lifetime(days: Option<u32>) -> Result<Duration, CommandError> {
    let (asked, max) = (days.unwrap_or(LIFETIME_DAYS), LIFETIME_DAYS_MAX);
    if (1..=max).contains(&asked) {
        Ok(Duration::from_hours(u64::from(asked) * 24))
    } else {
        Err(CommandError::Lifetime { asked, max })
    }
}

/// Of each device CA whose certificates count, publishes a new list if the one that is there does
/// not say what the registry says, is past half of its life, was to be good for another time than
/// `asked`, or is missing.
pub(super) fn bring_up_to_date(
    ca: &mut Hierarchy,
    asked: Option<Duration>,
    now: UnixTime,
) -> Result<Published, CommandError> {
    each_list(ca, |ca, of| bring_one(ca, of, (asked, now)))
}

/// As [`bring_up_to_date`], of one list.
pub(super) fn bring_one(
    ca: &mut Hierarchy,
    of: AuthorityId,
    (asked, now): (Option<Duration>, UnixTime),
) -> Result<Published, CommandError> {
    let device_ca = ca.authority(of)?;
    match newest_file(ca, device_ca)? {
        Some((list, pem))
            if asked.is_none_or(|asked| asked.as_secs() == life(&list))
                && is_good(ca, (device_ca, &list), now)? =>
        {
            let files = write(ca, of, &pem)?;
            Ok(Published::of(&list, of, (false, files)))
        }
        Some(_) | None => {
            let lifetime = asked.map_or_else(|| lifetime(None), Ok)?;
            publish(ca, of, (now, after(now, lifetime)))
        }
    }
}

/// Signs the last list of a device CA, which is good until `end`; one that is there and says the
/// same is kept.
pub(super) fn bring_last(
    ca: &mut Hierarchy,
    of: AuthorityId,
    (end, now): (UnixTime, UnixTime),
) -> Result<Published, CommandError> {
    let device_ca = ca.authority(of)?;
    match newest_file(ca, device_ca)? {
        Some((list, pem))
            if list.next_update() >= end && is_complete(ca, (device_ca, &list), now)? =>
        {
            let files = write(ca, of, &pem)?;
            Ok(Published::of(&list, of, (false, files)))
        }
        Some(_) | None => publish(ca, of, (now, end)),
    }
}

/// Does `publish` for each device CA whose certificates count.
fn each_list(
    ca: &mut Hierarchy,
    mut publish: impl FnMut(&mut Hierarchy, AuthorityId) -> Result<Published, CommandError>,
) -> Result<Published, CommandError> {
    let active = ca.device_ca.id();
    let ids: Vec<_> = ca.device_cas().map(Authority::id).collect();
    let mut others = Vec::new();
    for id in ids.into_iter().filter(|id| *id != active) {
        others.push(publish(ca, id)?);
    }
    let list = publish(ca, active)?;
    Ok(Published { others, ..list })
}

/// As [`bring_up_to_date`], where a list was published before.
pub(super) fn keep_fresh(
    ca: &mut Hierarchy,
    passphrase: Option<&Passphrase>,
    now: UnixTime,
) -> Result<(), CommandError> {
    let last = ca
        .registry
        .last_number(Publication::RevocationList, ca.device_ca.serial())?;
    if last == 0 && newest_file(ca, &ca.device_ca)?.is_none() {
        return Ok(());
    }
    ca.unlock_lists(passphrase, now)?;
    bring_up_to_date(ca, None, now).map(drop)
}

impl Published {
    fn of(list: &RevocationList, of: AuthorityId, (made, files): (bool, Vec<PathBuf>)) -> Self {
        Self {
            device_ca: of.number,
            number: list.number().to_u64().unwrap_or_default(),
            made,
            this_update: list.this_update(),
            next_update: list.next_update(),
            entries: list.len(),
            files,
            others: Vec::new(),
        }
    }
}

fn is_good(
    ca: &Hierarchy,
    (device_ca, list): (&Authority, &RevocationList),
    now: UnixTime,
) -> Result<bool, CommandError> {
    let life = (list.this_update(), list.next_update());
    Ok(!is_past_half(life, now) && is_complete(ca, (device_ca, list), now)?)
}

/// Whether it says what the registry says, and none was given a higher number.
fn is_complete(
    ca: &Hierarchy,
    (device_ca, list): (&Authority, &RevocationList),
    now: UnixTime,
) -> Result<bool, CommandError> {
    let wanted = wanted(ca, device_ca, now)?;
    let taken = ca
        .registry
        .last_number(Publication::RevocationList, device_ca.serial())?;
    let says_the_same = wanted.len() == list.len()
        && wanted
            .iter()
            .all(|(serial, revoked)| list.find(*serial) == Some(*revoked));
    Ok(says_the_same && list.number().to_u64() >= Some(taken))
}

pub(super) fn after(now: UnixTime, lifetime: Duration) -> UnixTime {
    let seconds = now.as_secs().saturating_add(lifetime.as_secs());
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// Whether half of a life, from its first to its last second, is over: then a list is signed anew.
pub(super) fn is_past_half((from, to): (UnixTime, UnixTime), now: UnixTime) -> bool {
    between(from, now) >= between(from, to) / 2
}

/// For how many seconds the list is good.
pub(super) fn life(list: &RevocationList) -> u64 {
    between(list.this_update(), list.next_update())
}

fn between(from: UnixTime, to: UnixTime) -> u64 {
    to.as_secs().saturating_sub(from.as_secs())
}

/// What belongs on the list of a device CA.
pub(super) fn wanted(
    ca: &Hierarchy,
    device_ca: &Authority,
    now: UnixTime,
) -> Result<Vec<(Serial, Revoked)>, CommandError> {
    wanted_of(&ca.registry, device_ca, now)
}

/// What belongs on the list of an authority.
pub(super) fn wanted_of(
    registry: &Registry,
    authority: &Authority,
    now: UnixTime,
) -> Result<Vec<(Serial, Revoked)>, CommandError> {
    let since = now.as_secs().saturating_sub(KEPT_AFTER_END.as_secs());
    let since = UnixTime::since_unix_epoch(Duration::from_secs(since));
    Ok(registry.revoked_certificates(authority.serial(), since)?)
}

fn publish(
    ca: &mut Hierarchy,
    of: AuthorityId,
    (now, next_update): (UnixTime, UnixTime),
) -> Result<Published, CommandError> {
    let device_ca = ca.authority(of)?;
    let (issuer, revoked) = (device_ca.serial(), wanted(ca, device_ca, now)?);
    let seen = newest_file(ca, device_ca)?.map_or(Some(0), |(list, _)| list.number().to_u64());
    let seen = seen.ok_or(crate::RegistryError::NumbersExhausted)?;
    let number = ca.registry.take_number(
        Publication::RevocationList,
        issuer,
        (seen, now, next_update),
    )?;
    let content = ListContent {
        number,
        this_update: now,
        next_update,
        revoked,
    };
    let (list, pem) = ca.authority(of)?.sign_list(content)?;
    let files = write(ca, of, pem.as_bytes())?;
    Ok(Published::of(&list, of, (true, files)))
}

/// The list with the highest number among the files of a device CA, if there is a good one.
pub(super) fn newest_file(
    ca: &Hierarchy,
    device_ca: &Authority,
) -> Result<Option<(RevocationList, Vec<u8>)>, CommandError> {
    newest_of(device_ca, &ca.layout.lists(device_ca.id()))
}

/// The list of `device_ca` with the highest number among the files `paths`, with its octets.
pub(super) fn newest_of(
    device_ca: &Authority,
    paths: &[PathBuf],
) -> Result<Option<(RevocationList, Vec<u8>)>, CommandError> {
    let issuers = [device_ca.as_issuer()?];
    let mut newest: Option<(RevocationList, Vec<u8>)> = None;
    for path in paths {
        let Some(octets) = files::read_large_if_there(path)? else {
            continue;
        };
        // A file that is not good has no number to go by, and is replaced.
        for list in RevocationList::read_all(&octets, &issuers)
            .into_iter()
            .flatten()
        {
            if newest
                .as_ref()
                .is_none_or(|(newest, _)| newest.number() < list.number())
            {
                newest = Some((list, octets.clone()));
            }
        }
    }
    Ok(newest)
}

/// Where a list belongs: here, and where a broker of this directory finds it.
pub(super) fn places(layout: &Layout, of: AuthorityId) -> Result<Vec<PathBuf>, CommandError> {
    let mut places = vec![layout.list(of)];
    if files::exists(&layout.broker().dir)? {
        places.push(layout.broker_list(of));
    }
    Ok(places)
}

/// Writes the list where it is not yet.
fn write(ca: &Hierarchy, of: AuthorityId, pem: &[u8]) -> Result<Vec<PathBuf>, CommandError> {
    let paths = places(&ca.layout, of)?;
    let mut staging = Staging::new(ca.layout.dir());
    for path in &paths {
        if files::read_large_if_there(path)?.as_deref() != Some(pem) {
            staging.make_dir(path.parent().unwrap_or(ca.layout.dir()))?;
            staging.write(path, pem)?;
        }
    }
    staging.commit()?;
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use certs::Freshness;

    use super::*;
    use crate::testing::{day, revoke, up};
    use crate::{CommandError, ExitClass, InitRequest, ca_init, crl_show};

    fn publish(dir: &Path, now: UnixTime) -> Published {
        crl_publish(
            &PublishRequest {
                passphrase: None,
                force: true,
                dir,
                days: None,
            },
            now,
        )
        .unwrap()
    }

    #[test]
    fn each_list_has_a_higher_number() {
        let temp = tempfile::tempdir().unwrap();
        ca_init(&InitRequest::new(temp.path()), day(0)).unwrap();
        let none = crl_show(temp.path(), day(0)).unwrap_err();
        assert_eq!(none.exit_class(), ExitClass::NotFound);
        for number in 1..=3 {
            let published = publish(temp.path(), day(number));
            assert_eq!(
                (published.number, published.entries, published.made),
                (number, 0, true)
            );
            assert_eq!(published.next_update, day(number + 7));
            // There is no broker here.
            assert_eq!(published.files, [Layout::new(temp.path()).device_ca_crl()]);
        }
        let shown = crl_show(temp.path(), day(11)).unwrap();
        assert_eq!((shown.number, shown.this_update), (3, day(3)));
        let day_long = Duration::from_hours(24);
        assert_eq!(shown.freshness, Freshness::Stale { since: day_long });
    }

    /// A backup restored must not bring a device back, nor a number.
    #[test]
    fn a_registry_from_a_backup_does_not_lower_the_number() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 1, day(0)).unwrap().layout;
        publish(temp.path(), day(1));
        let backup = fs::read(layout.registry()).unwrap();
        for number in 2..=5 {
            assert_eq!(publish(temp.path(), day(1)).number, number);
        }
        for lost in [
            None,
            Some(layout.device_ca_crl()),
            Some(layout.broker_crl()),
        ] {
            let before = crl_show(temp.path(), day(1)).unwrap().number;
            fs::write(layout.registry(), &backup).unwrap();
            if let Some(lost) = lost {
                fs::write(lost, "no list").unwrap();
            }
            assert_eq!(publish(temp.path(), day(1)).number, before + 1);
        }
    }

    #[test]
    fn a_list_past_half_of_its_life_is_made_anew_where_there_was_one() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        up(temp.path(), 1, day(30)).unwrap();
        assert!(
            crl_show(temp.path(), day(30)).is_err(),
            "nobody asked for a list"
        );
        publish(temp.path(), day(30));
        for (now, number) in [(31, 1), (33, 1), (34, 2), (40, 3)] {
            up(temp.path(), 1, day(now)).unwrap();
            assert_eq!(
                crl_show(temp.path(), day(now)).unwrap().number,
                number,
                "day {now}"
            );
        }
    }

    /// RFC 5280 §3.3.
    #[test]
    fn a_certificate_leaves_the_list_some_time_after_its_end() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        revoke(temp.path(), "dev-1", day(1)).unwrap();
        for (now, entries) in [(364, 1), (366, 1), (394, 1), (396, 0)] {
            assert_eq!(publish(temp.path(), day(now)).entries, entries, "day {now}");
        }
        let shown = crl_show(temp.path(), day(1)).unwrap();
        assert!(shown.entries.is_empty());
    }

    #[test]
    fn a_list_shows_whose_certificates_are_on_it() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 3, day(0)).unwrap();
        for (id, days) in [("dev-3", 1), ("dev-1", 2), ("app/app-1", 3)] {
            revoke(temp.path(), id, day(days)).unwrap();
        }
        let shown = crl_show(temp.path(), day(3)).unwrap();
        let holders: Vec<_> = shown
            .entries
            .iter()
            .map(|e| e.holder.as_deref().unwrap())
            .collect();
        assert_eq!(holders, ["dev-3", "dev-1", "app-1"]);
        assert_eq!((shown.number, shown.freshness), (3, Freshness::Fresh));
    }

    #[test]
    fn a_list_that_is_good_is_published_again_when_it_is_asked_for_or_past_half_of_its_life() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 2, day(0)).unwrap();
        let publish = |days, force, at| {
            let request = PublishRequest {
                dir: temp.path(),
                passphrase: None,
                days,
                force,
            };
            let list = crl_publish(&request, day(at)).unwrap();
            (list.number, list.made)
        };
        assert_eq!(publish(Some(10), false, 0), (1, true));
        for (days, force, at, expected) in [
            (None, false, 4, (1, false)),
            (Some(10), false, 4, (1, false)),
            (None, true, 4, (2, true)),
            (Some(10), false, 4, (3, true)),
            (None, false, 9, (4, true)),
            (None, false, 12, (4, false)),
            (None, false, 13, (5, true)),
        ] {
            assert_eq!(publish(days, force, at), expected, "day {at}");
        }
        revoke(temp.path(), "dev-1", day(14)).unwrap();
        assert_eq!(
            publish(None, false, 14),
            (6, false),
            "revoking published it"
        );
    }

    #[test]
    fn a_list_is_good_for_some_days_and_not_for_ever() {
        let temp = tempfile::tempdir().unwrap();
        ca_init(&InitRequest::new(temp.path()), day(0)).unwrap();
        let publish = |days| {
            crl_publish(
                &PublishRequest {
                    passphrase: None,
                    force: true,
                    dir: temp.path(),
                    days,
                },
                day(0),
            )
        };
        assert_eq!(publish(Some(1)).unwrap().next_update, day(1));
        assert_eq!(publish(Some(365)).unwrap().next_update, day(365));
        for days in [0, 366] {
            let refused = publish(Some(days)).unwrap_err();
            assert!(
                matches!(refused, CommandError::Lifetime { .. }),
                "{refused}"
            );
            assert_eq!(refused.exit_class(), ExitClass::Usage);
        }
    }
}
