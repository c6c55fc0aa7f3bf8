//! The libraries that speak to tokens, each loaded once for as long as the process lives.
//!
//! A library is started for the whole process and stopped for the whole of it: stopping it for one
//! key would take the sessions of all others away.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use crate::error::TokenError;

static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The library `path`, started.
pub(crate) fn module(path: &Path) -> Result<Pkcs11, TokenError> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = start(path).map_err(|source| TokenError::Module {
        path: path.into(),
        source,
    })?;
    modules.insert(path.into(), module.clone());
    Ok(module)
}

fn start(path: &Path) -> Result<Pkcs11, Error> {
    let module = Pkcs11::new(path)?;
    let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match module.initialize(args) {
        // Under another name, or by somebody else in this process.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(error),
    }
}
