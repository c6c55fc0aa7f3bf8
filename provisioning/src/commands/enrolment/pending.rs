//! `countersign pending list`, `pending approve` and `pending deny`: a person decides who enrols.
//!
//! What is approved is one key under one id, and nothing is issued here: the device gets its
//! certificate when it asks again.

use std::path::Path;

use rustls_pki_types::UnixTime;

use super::super::refusal::noted;
use super::{Again, refuse_out_of_favour};
use crate::authority::Hierarchy;
use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{EnrolmentState, PendingEnrolment, Registry};

/// About which request to decide.
#[derive(Clone, Copy, Debug)]
pub struct DecideRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// The number of the request.
    pub number: i64,
    /// Whether the device may come back although it was revoked.
    pub again: bool,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingDecided {
    /// The request as it stands now.
    pub request: PendingEnrolment,
    /// Whether it stood so before.
    pub already: bool,
}

/// All requests on record that came without a token, the youngest first.
///
/// # Errors
/// [`CommandError::NoAuthority`], and what else is in the way.
pub fn pending_list(dir: &Path) -> Result<Vec<PendingEnrolment>, CommandError> {
    Ok(Registry::open_in(&Layout::new(dir))?.enrolments()?)
}

/// Lets a device that asked have its certificate, for the key that it asked for.
///
/// # Errors
/// [`CommandError::NoSuchEnrolment`], [`CommandError::Revoked`] and [`CommandError::Suspended`]
/// as for a token, and what else is in the way.
pub fn pending_approve(
    request: &DecideRequest<'_>,
    now: UnixTime,
) -> Result<PendingDecided, CommandError> {
    decide(request, EnrolmentState::Approved, now)
}

/// Denies a request; it stays on record, so that it does not wait again.
///
/// # Errors
/// [`CommandError::NoSuchEnrolment`], [`CommandError::EnrolmentIssued`] when it is too late, and
/// what else is in the way.
pub fn pending_deny(
    request: &DecideRequest<'_>,
    now: UnixTime,
) -> Result<PendingDecided, CommandError> {
    decide(request, EnrolmentState::Denied, now)
}

fn decide(
    request: &DecideRequest<'_>,
    to: EnrolmentState,
    now: UnixTime,
) -> Result<PendingDecided, CommandError> {
    let mut ca = Hierarchy::open(request.dir)?;
    let found = ca.registry.enrolment(request.number)?;
    let mut found = found.ok_or(CommandError::NoSuchEnrolment(request.number))?;
    let already = match (found.state, to) {
        (EnrolmentState::Issued, EnrolmentState::Denied) => {
            return Err(CommandError::EnrolmentIssued(found.device));
        }
        // Its certificate is there to be fetched.
        (EnrolmentState::Issued, _) => true,
        (from, to) => from == to,
    };
    if !already {
        noted((request.dir, found.device.as_str()), now, || {
            if to == EnrolmentState::Approved {
                refuse_out_of_favour(&ca, &found.device, Again::when(request.again))?;
            }
            Ok(ca.registry.settle_enrolment(&found, to, now)?)
        })?;
        found.state = to;
    }
    Ok(PendingDecided {
        request: found,
        already,
    })
}
