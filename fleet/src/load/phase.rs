//! What a load is doing now, for whoever watches.

/// What a load is doing now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// Clients connect: so many of so many.
    Connecting(u64, u64),
    /// Under load, and not measured yet; the part that is done, of 1.
    Warming(f64),
    /// Measured; the part that is done, of 1.
    Measuring(f64),
    /// Waiting for what is still on its way.
    Draining,
}

/// Is told every phase; not more often than a person can see.
pub struct Observer<'a> {
    tell: &'a dyn Fn(Phase),
}

impl<'a> Observer<'a> {
    /// Calls `tell`.
    pub fn new(tell: &'a dyn Fn(Phase)) -> Self {
        Self { tell }
    }

    pub(super) fn tell(&self, phase: Phase) {
        (self.tell)(phase);
    }

    pub(super) fn warming(&self, done: f64) {
        self.tell(Phase::Warming(done));
    }

    pub(super) fn measuring(&self, done: f64) {
        self.tell(Phase::Measuring(done));
    }
}

impl std::fmt::Debug for Observer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}
