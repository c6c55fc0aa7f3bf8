//! Revocation lists from files: each verified once, against the anchors.

use super::{Authority, TrustError};
use certs::{RevocationList, RevocationSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a directory has in it that is read as a list.
const SUFFIXES: [&str; 3] = ["crl", "pem", "der"];

/// Reads every list of these files and directories.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn read_lists(
    paths: &[PathBuf],
    authorities: &[Authority],
) -> Result<Vec<(PathBuf, RevocationList)>, Vec<TrustError>> {
    let signers: Vec<_> = authorities.iter().map(|it| it.signer.clone()).collect();
    let (mut lists, mut errors) = (Vec::new(), Vec::new());
    for path in list_files(paths, &mut errors) {
        let octets = match fs::read(&path) {
            Ok(octets) => octets,
            Err(source) => {
                errors.push(TrustError::Unreadable { path, source });
                continue;
            }
        };
        for read in RevocationList::read_all(&octets, &signers) {
            match read {
                Ok(list) => lists.push((path.clone(), list)),
                Err(why) => errors.push(TrustError::NotAList {
                    path: path.clone(),
                    why,
                }),
            }
        }
    }
    if errors.is_empty() {
        Ok(lists)
    } else {
        Err(errors)
    }
}

/// Puts lists into a set: all of them, or none.
///
/// # Errors
/// All lists that are older than what was seen.
pub(crate) fn enter(
    set: &RevocationSet,
    lists: Vec<(PathBuf, RevocationList)>,
) -> Result<RevocationSet, Vec<TrustError>> {
    let mut set = set.clone();
    let mut errors = Vec::new();
    for (path, list) in lists {
        if let Err(why) = set.replace_list(list) {
            errors.push(TrustError::OldList { path, why });
        }
    }
    if errors.is_empty() {
        Ok(set)
    } else {
        Err(errors)
    }
}

/// The files that these are, or that are in them, in the order of their names.
pub(super) fn list_files(paths: &[PathBuf], errors: &mut Vec<TrustError>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match files_in(path) {
            Ok(found) => files.extend(found),
            Err(source) => errors.push(TrustError::Unreadable {
                path: path.clone(),
                source,
            }),
        }
    }
    files
}

fn files_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let suffix = path.extension().and_then(|it| it.to_str());
        if suffix.is_some_and(|it| SUFFIXES.contains(&it)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
