//! Revocation lists from files: each verified once, against the anchors and their intermediates.

use super::files::{self, unreadable};
use super::{Authority, TrustError};
use certs::{InvalidList, RevocationList, RevocationSet};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use std::path::{Path, PathBuf};

/// What a directory has in it that is read as a list.
const SUFFIXES: [&str; 3] = ["crl", "pem", "der"];

/// A list that was verified, and where it stood.
#[derive(Debug)]
pub(crate) struct ListFile {
    pub(crate) path: PathBuf,
    pub(crate) der: Vec<u8>,
    pub(crate) list: RevocationList,
}

/// Reads every list of these files and directories.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn read_lists(
    paths: &[PathBuf],
    authorities: &[Authority],
) -> Result<Vec<ListFile>, Vec<TrustError>> {
    let (mut lists, mut errors) = (Vec::new(), Vec::new());
    for path in list_files(paths, &mut errors) {
        match files::read(&path) {
            Ok(octets) => read_file(&path, &octets, authorities)
                .into_iter()
                .for_each(|read| match read {
                    Ok(list) => lists.push(list),
                    Err(error) => errors.push(error),
                }),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(lists)
    } else {
        Err(errors)
    }
}

/// The lists in one file, PEM or DER, or what is wrong with each.
pub(super) fn read_file(
    path: &Path,
    octets: &[u8],
    authorities: &[Authority],
) -> Vec<Result<ListFile, TrustError>> {
    let signers = authorities.iter().flat_map(Authority::list_signers);
    let signers: Vec<_> = signers.cloned().collect();
    let not_a_list = |why| TrustError::NotAList {
        path: path.to_owned(),
        why,
    };
    let read = |der: Vec<u8>| {
        let list = RevocationList::read(&der, &signers).map_err(not_a_list)?;
        let path = path.to_owned();
        Ok(ListFile { path, der, list })
    };
    // A SEQUENCE: no text begins so.
    if octets.first() == Some(&0x30) {
        return vec![read(octets.to_vec())];
    }
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(octets)
        .map(|der| match der {
            Ok(der) => read(der.to_vec()),
            Err(_) => Err(not_a_list(InvalidList::Malformed)),
        })
        .collect();
    if lists.is_empty() {
        return vec![Err(not_a_list(InvalidList::None))];
    }
    lists
}

/// Puts lists into a set: all of them, or none.
///
/// # Errors
/// All lists that are older than what was seen.
pub(crate) fn enter(
    set: &RevocationSet,
    lists: &[ListFile],
) -> Result<RevocationSet, Vec<TrustError>> {
    let mut set = set.clone();
    let mut errors = Vec::new();
    for ListFile { path, list, .. } in lists {
        if let Err(why) = set.replace_list(list.clone()) {
            let path = path.clone();
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
pub(crate) fn list_files(paths: &[PathBuf], errors: &mut Vec<TrustError>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match files_in(path) {
            Ok(found) => files.extend(found),
            Err(source) => errors.push(unreadable(path, source)),
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
