//! Who may enrol over the network: tokens, and requests that wait for a person.

mod pending;
mod tokens;

use certs::{DeviceId, Kind, Subject};

pub use self::pending::{
    DecideRequest, PendingDecided, pending_approve, pending_deny, pending_list,
};
pub use self::tokens::{
    TOKEN_DAYS_MAX, TokenCreated, TokenRequest, token_create, token_list, token_revoke,
};
use super::device_suspend::{refuse_revoked, refuse_suspended};
use crate::authority::Hierarchy;
use crate::error::CommandError;

/// Refuses what would bring a device back that was revoked, or is suspended: the one is done on
/// purpose only, the other by letting it in again.
fn refuse_out_of_favour(
    ca: &Hierarchy,
    device: &DeviceId,
    again: Again,
) -> Result<(), CommandError> {
    let subject = Subject {
        kind: Kind::Device,
        id: device.clone(),
    };
    refuse_suspended(ca, &subject)?;
    match again {
        Again::Refused => refuse_revoked(ca, &subject),
        Again::OnPurpose => Ok(()),
    }
}

/// Whether a device that was revoked may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Refused,
    OnPurpose,
}

impl Again {
    fn when(on_purpose: bool) -> Self {
        if on_purpose {
            Self::OnPurpose
        } else {
            Self::Refused
        }
    }
}
