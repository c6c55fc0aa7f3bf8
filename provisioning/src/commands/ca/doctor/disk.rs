//! The files of an authority: whose they are, who may use them, and what does not belong there.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use certs::Kind;

use super::{Check, quoted};
use crate::error::CommandError;
use crate::files;
use crate::layout::Layout;

/// So many paths are named; of more it is said how many there are.
const NAMED_MAX: usize = 5;

pub(super) fn check(layout: &Layout) -> Result<Vec<Check>, CommandError> {
    let all = entries(layout)?;
    let dir = fs::metadata(layout.ca_dir());
    let dir = dir.map_err(|source| files::failed("look at", &layout.ca_dir(), source))?;
    let ourselves = rustix::process::geteuid().as_raw();
    Ok(vec![
        check_owner(layout, &all, (dir.uid(), ourselves)),
        check_modes(&all),
        check_links(&all),
        check_strays(&all),
    ])
}

/// Something in the directory, itself and not what it may lead to.
struct Entry {
    path: PathBuf,
    found: Metadata,
}

/// The files of the authority, of its broker, and of its devices. What a broker keeps elsewhere
/// below the directory is the broker's.
fn entries(layout: &Layout) -> Result<Vec<Entry>, CommandError> {
    let mut all = Vec::new();
    let broker = layout.broker().dir;
    let mut places = vec![
        layout.dir().to_path_buf(),
        layout.ca_dir(),
        broker.join("crl"),
        broker,
    ];
    for kind in [Kind::Device, Kind::App] {
        let peers = layout.peers(kind);
        let names = files::names_in(&peers)?;
        for dir in names.iter().map(|name| peers.join(name)) {
            if is_dir(&dir) {
                let versions = files::names_in(&dir)?;
                let versions = versions.iter().filter(|name| files::is_of_renewal(name));
                places.extend(versions.map(|name| dir.join(name)));
            }
            places.push(dir);
        }
        places.push(peers);
    }
    places.retain(|place| is_dir(place));
    for place in &places {
        for name in files::names_in(place)? {
            let path = place.join(name);
            match fs::symlink_metadata(&path) {
                Ok(found) => all.push(Entry { path, found }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(files::failed("look at", &path, source)),
            }
        }
    }
    all.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(all)
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

fn check_owner(layout: &Layout, all: &[Entry], (owner, ourselves): (u32, u32)) -> Check {
    const ROOT: u32 = 0;
    let name = "owner";
    let dir = quoted(layout.dir());
    let foreign: Vec<_> = all.iter().filter(|it| it.found.uid() != owner).collect();
    if !foreign.is_empty() {
        let why = format!(
            "not of the user {owner}, who has the authority: {}",
            listed(&foreign)
        );
        Check::bad(name, why).mended_by(format!("chown -R {owner} {dir}"))
    } else if ourselves != owner && ourselves != ROOT {
        let why = format!("the authority is the user {owner}'s, and this is the user {ourselves}");
        Check::warn(name, why)
    } else {
        Check::ok(name, format!("all is the user {owner}'s"))
    }
}

fn check_modes(all: &[Entry]) -> Check {
    let name = "permissions";
    let mode = |it: &&Entry| it.found.permissions().mode() & 0o7777;
    let is_link = |it: &&Entry| it.found.is_symlink();
    let open: Vec<_> = all
        .iter()
        .filter(|it| !is_link(it) && mode(it) & forbidden(&it.path) != 0)
        .collect();
    let Some(first) = open.first() else {
        return Check::ok(name, "nobody else may read a key or write anything");
    };
    let right = if first.found.is_dir() { "700" } else { "600" };
    let same = open
        .iter()
        .filter(|it| it.found.is_dir() == first.found.is_dir());
    let paths: Vec<_> = same.map(|it| quoted(&it.path)).collect();
    Check::bad(name, format!("others have access to {}", listed(&open)))
        .mended_by(format!("chmod {right} {}", paths.join(" ")))
}

/// Which rights nobody else may have: none to what is private, none to write to the rest.
fn forbidden(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with("key.pem") || name.starts_with("registry.sqlite") {
        0o077
    } else {
        0o022
    }
}

fn check_links(all: &[Entry]) -> Check {
    let name = "symbolic links";
    // A device that renews its certificate itself has a link to the version of it that counts.
    let is_to_version = |it: &Entry| {
        let dir = it.path.parent().unwrap_or(&it.path);
        it.path.ends_with("current") && files::that_counts(dir).is_ok()
    };
    let links: Vec<_> = all
        .iter()
        .filter(|it| it.found.is_symlink() && !is_to_version(it))
        .collect();
    let Some(first) = links.first() else {
        return Check::ok(name, "there are none");
    };
    let path = quoted(&first.path);
    Check::bad(name, format!("followed nowhere here: {}", listed(&links))).mended_by(format!(
        "cp --remove-destination \"$(readlink -f {path})\" {path}"
    ))
}

/// What a command left that was killed. The next one to write the same replaces it.
fn check_strays(all: &[Entry]) -> Check {
    let name = "temporary files";
    let is_stray = |it: &&Entry| {
        let name = it.path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".new")
    };
    let strays: Vec<_> = all.iter().filter(is_stray).collect();
    if strays.is_empty() {
        return Check::ok(name, "there are none");
    }
    let paths: Vec<_> = strays.iter().map(|it| quoted(&it.path)).collect();
    Check::warn(
        name,
        format!("left by a command that was killed: {}", listed(&strays)),
    )
    .mended_by(format!("rm -r -- {}", paths.join(" ")))
}

fn listed(entries: &[&Entry]) -> String {
    let mut names: Vec<_> = entries
        .iter()
        .take(NAMED_MAX)
        .map(|it| it.path.display().to_string())
        .collect();
    if entries.len() > NAMED_MAX {
        names.push(format!("{} more", entries.len() - NAMED_MAX));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ca::doctor::Verdict;
    use crate::testing::{day, up};

    #[test]
    fn files_of_another_user_and_another_user_here_are_found() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        let layout = Layout::new(temp.path());
        let all = entries(&layout).unwrap();
        let owner = all[0].found.uid();
        for (users, verdict) in [
            ((owner, owner), Verdict::Ok),
            ((owner, 0), Verdict::Ok),
            ((owner, owner + 1), Verdict::Warn),
            ((owner + 1, owner + 1), Verdict::Bad),
        ] {
            let check = check_owner(&layout, &all, users);
            assert_eq!(check.verdict, verdict, "{users:?}: {}", check.why);
        }
        let mend = check_owner(&layout, &all, (owner + 1, 0)).mend.unwrap();
        assert!(
            mend.starts_with(&format!("chown -R {} ", owner + 1)),
            "{mend}"
        );
    }
}
