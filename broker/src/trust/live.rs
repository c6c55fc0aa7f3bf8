//! Live: a value that is replaced whole while others go by it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// What counts now. Whoever has taken it keeps it as it was.
#[derive(Debug)]
pub(crate) struct Live<T> {
    value: RwLock<Arc<T>>,
    replaced: AtomicU64,
}

impl<T> Live<T> {
    pub(crate) fn new(value: T) -> Arc<Self> {
        Arc::new(Self {
            value: RwLock::new(Arc::new(value)),
            replaced: AtomicU64::new(0),
        })
    }

    /// What counts now.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on, this counts.
    pub(crate) fn set(&self, value: Arc<T>) {
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }

    /// How many times it was replaced.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }
}
