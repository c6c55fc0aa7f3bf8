//! Who receives and how: keys of sessions, targets of messages and subscriptions, as bytes.

use super::coding::{Flags, Malformed, Reader, text_of, write_bytes, write_number};
use crate::engine::{Grant, SessionKey, SessionNumber, SubscriptionIds, Target};
use certs::{DeviceId, Kind, Subject};
use protocol::packet::SubscriptionId;
use protocol::topic::TopicFilter;
use std::sync::Arc;

/// Of a key: an application, no device.
const APP: u8 = 1;
/// Of a key: the client id is the device id.
const SAME: u8 = 1 << 1;
/// Of a target.
const RETAIN: u8 = 1 << 2;
const SUBSCRIPTION_IDS: u8 = 1 << 3;
const SHARE: u8 = 1 << 4;
/// Of a subscription.
const NO_LOCAL: u8 = 1 << 2;
const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
const WITHHOLDS: u8 = 1 << 4;
const ID: u8 = 1 << 5;

pub(super) fn write_key(key: &SessionKey, out: &mut Vec<u8>) {
    let is_app = key.subject.kind == Kind::App;
    let id = key.subject.id.as_str();
    let is_same = key.client_id.as_str() == id;
    out.push(Flags::byte(0, &[(APP, is_app), (SAME, is_same)]));
    write_bytes(id.as_bytes(), out);
    if !is_same {
        write_bytes(key.client_id.as_bytes(), out);
    }
}

pub(super) fn read_key(reader: &mut Reader<'_>) -> Result<SessionKey, Malformed> {
    let flags = reader.flags(APP | SAME)?;
    let kind = if flags.has(APP) {
        Kind::App
    } else {
        Kind::Device
    };
    let id = reader.str()?;
    let client_id = if flags.has(SAME) {
        text_of(id)?
    } else {
        reader.text()?
    };
    let id = DeviceId::parse(id).map_err(|_| Malformed("a device id is none"))?;
    let subject = Subject { kind, id };
    Ok(SessionKey { subject, client_id })
}

/// Reads past a key.
pub(super) fn skim_key(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let flags = reader.flags(APP | SAME)?;
    reader.bytes()?;
    if !flags.has(SAME) {
        reader.bytes()?;
    }
    Ok(())
}

pub(super) fn write_target(target: &Target, out: &mut Vec<u8>) {
    let ids = &target.subscription_ids;
    write_number(target.session.0, out);
    out.push(Flags::byte(
        target.qos.bits(),
        &[
            (RETAIN, target.retain),
            (SUBSCRIPTION_IDS, !ids.is_empty()),
            (SHARE, target.share.is_some()),
        ],
    ));
    if !ids.is_empty() {
        write_number(ids.len() as u64, out);
        ids.iter().for_each(|id| write_number(id.get().into(), out));
    }
    if let Some(share) = &target.share {
        write_filter(share, out);
    }
}

pub(super) fn read_target(reader: &mut Reader<'_>) -> Result<Target, Malformed> {
    let session = SessionNumber(reader.number()?);
    let flags = reader.flags(Flags::QOS | RETAIN | SUBSCRIPTION_IDS | SHARE)?;
    Ok(Target {
        session,
        qos: flags.qos()?,
        retain: flags.has(RETAIN),
        subscription_ids: flags
            .optional(SUBSCRIPTION_IDS, reader, read_ids)?
            .unwrap_or_default(),
        share: flags.optional(SHARE, reader, read_filter)?.map(Arc::new),
    })
}

pub(super) fn write_grant(grant: Grant, out: &mut Vec<u8>) {
    out.push(Flags::byte(
        grant.qos.bits(),
        &[
            (NO_LOCAL, grant.no_local),
            (RETAIN_AS_PUBLISHED, grant.retain_as_published),
            (WITHHOLDS, grant.withholds),
            (ID, grant.id.is_some()),
        ],
    ));
    if let Some(id) = grant.id {
        write_number(id.get().into(), out);
    }
}

pub(super) fn read_grant(reader: &mut Reader<'_>) -> Result<Grant, Malformed> {
    let known = Flags::QOS | NO_LOCAL | RETAIN_AS_PUBLISHED | WITHHOLDS | ID;
    let flags = reader.flags(known)?;
    Ok(Grant {
        qos: flags.qos()?,
        no_local: flags.has(NO_LOCAL),
        retain_as_published: flags.has(RETAIN_AS_PUBLISHED),
        withholds: flags.has(WITHHOLDS),
        id: flags.optional(ID, reader, read_id)?,
    })
}

pub(super) fn write_filter(filter: &TopicFilter, out: &mut Vec<u8>) {
    write_bytes(filter.as_str().as_bytes(), out);
}

pub(super) fn read_filter(reader: &mut Reader<'_>) -> Result<TopicFilter, Malformed> {
    TopicFilter::from_text(reader.text()?).map_err(|_| Malformed("a topic filter is none"))
}

fn read_ids(reader: &mut Reader<'_>) -> Result<SubscriptionIds, Malformed> {
    let len: usize = reader.small()?;
    (0..len).map(|_| read_id(reader)).collect()
}

fn read_id(reader: &mut Reader<'_>) -> Result<SubscriptionId, Malformed> {
    SubscriptionId::new(reader.small()?).ok_or(Malformed("a subscription identifier is 0"))
}
