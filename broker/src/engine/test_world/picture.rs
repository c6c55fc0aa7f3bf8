//! A picture of what outlives the process, in lines that tests compare.
//!
//! That of the records and that of the engine they are of are the same.

use super::replay::Replay;
use crate::engine::deadlines::Deadline;
use crate::engine::session::{Pending, Presence, Session, SessionId, Stored};
use crate::engine::{Engine, Message, RestoredPending, RestoredSession, Time};
use protocol::delivery::Resend;
use protocol::packet::{QoS, Will};
use std::sync::Arc;

pub(super) fn of_records(replay: &Replay) -> Vec<String> {
    let sessions = replay.sessions.values().flat_map(of_session);
    let forwards: Vec<_> = replay.forwards.iter().collect();
    sessions
        .chain(of_retained(replay.retained.values()))
        .chain([format!("{forwards:?} {:?}", replay.forwards_taken)])
        .collect()
}

pub(super) fn of_engine(engine: &Engine) -> Vec<String> {
    let lasting = engine.sessions.iter().filter(|(_, it)| it.is_lasting);
    let mut lasting: Vec<_> = lasting.collect();
    lasting.sort_unstable_by_key(|(_, session)| session.number);
    for (id, session) in &lasting {
        check_clocks(engine, *id, session);
    }
    let sessions = lasting
        .iter()
        .flat_map(|(_, it)| of_session(&as_recorded(it)));
    let mut lines: Vec<_> = sessions.collect();
    lines.extend(of_retained(engine.retained.iter()));
    let (forwards, taken) = engine.forwards.as_recorded();
    lines.push(format!("{forwards:?} {taken:?}"));
    lines
}

fn of_retained<'a>(all: impl Iterator<Item = &'a Arc<Message>>) -> Vec<String> {
    let line = |message: &Arc<Message>| format!("retained {}", of_message(message));
    let mut lines: Vec<_> = all.map(line).collect();
    lines.sort_unstable();
    lines
}

fn of_message(message: &Message) -> String {
    let device = message.publisher().map(|it| it.subject.to_string());
    format!(
        "{}={:?} {:?} {} by {device:?} expires {:?}",
        message.topic(),
        message.payload(),
        message.qos(),
        message.retain(),
        message.expires_at(),
    )
}

fn of_session(session: &RestoredSession) -> Vec<String> {
    let RestoredSession {
        number,
        key,
        expiry,
        left_at,
        subscriptions,
        will,
        pending,
        received,
        accepted,
        last_sent: _,
    } = session;
    let ends_at = left_at.map(|at| at.after_seconds(*expiry));
    let (subject, client_id) = (&key.subject, &key.client_id);
    let mut lines = vec![
        format!("{number:?} {subject} {client_id} expires {expiry} ends {ends_at:?}"),
        format!("  completes {received:?}"),
    ];
    lines.extend(will.as_ref().map(|will| of_will(will, *left_at)));
    let mut accepted = accepted.clone();
    accepted.sort_unstable();
    lines.push(format!("  releases {accepted:?}"));
    let held = subscriptions.iter().map(|(filter, grant)| {
        // Whether something is withheld follows from the policy.
        let grant = (
            grant.qos,
            grant.no_local,
            grant.retain_as_published,
            grant.id,
        );
        format!("  subscribes {filter} {grant:?}")
    });
    let mut held: Vec<_> = held.collect();
    held.sort_unstable();
    lines.extend(held);
    // What was sent at QoS 2 is sent again before all else; each QoS keeps its order.
    let (sent, waiting): (Vec<_>, Vec<_>) = pending.iter().partition(|it| it.sent.is_some());
    lines.extend(sent.into_iter().chain(waiting).map(of_pending));
    lines
}

fn of_will(will: &Will, left_at: Option<Time>) -> String {
    let due = left_at.map(|at| at.after_seconds(will.delay_interval));
    format!("  leaves {will:?} due {due:?}")
}

fn of_pending(pending: &RestoredPending) -> String {
    let pending = RestoredPending {
        message: None,
        ..pending.clone()
    };
    format!("  owes {pending:?}")
}

/// What the records must say of a session.
fn as_recorded(session: &Session) -> RestoredSession {
    let left_at = match session.presence {
        Presence::Here(_) => None,
        Presence::Away(ends_at) => {
            let millis = ends_at.millis() - u64::from(session.expiry) * 1000;
            Some(Time::from_millis(millis))
        }
    };
    let subscriptions = session.subscriptions.iter();
    let mut recorded = RestoredSession {
        number: session.number,
        key: Arc::clone(&session.key),
        expiry: session.expiry,
        left_at,
        subscriptions: subscriptions
            .map(|(it, grant)| (it.clone(), grant))
            .collect(),
        will: session.will.as_ref().map(|will| Arc::clone(&will.will)),
        pending: Vec::new(),
        received: Vec::new(),
        accepted: session.inbound.unreleased().collect(),
        last_sent: None,
    };
    for delivery in session.outbound.in_flight() {
        match delivery {
            Resend::Publish {
                packet_id,
                qos,
                message,
            } => recorded.pending.push(RestoredPending {
                sent: (qos == QoS::ExactlyOnce).then_some(packet_id),
                ..owed(message)
            }),
            Resend::Pubrel { packet_id } => recorded.received.push(packet_id),
        }
    }
    let (ready, stored) = session.queue.waiting();
    recorded.pending.extend(ready.map(owed));
    recorded.pending.extend(stored.map(Stored::as_recorded));
    recorded
}

fn owed(pending: &Pending) -> RestoredPending {
    let message = &pending.message;
    RestoredPending {
        number: pending
            .number
            .expect("what a lasting session owes is recorded"),
        sent: None,
        qos: pending.qos,
        retain: pending.retain,
        subscription_ids: pending.subscription_ids.clone(),
        share: pending.share.clone(),
        expires_at: message.expires_at(),
        payload_len: message.payload().len().try_into().unwrap(),
        message: None,
    }
}

/// What time will do to a session, time does.
fn check_clocks(engine: &Engine, id: SessionId, session: &Session) {
    let will_due = session.will.as_ref().and_then(|will| will.due);
    let Presence::Away(ends_at) = session.presence else {
        assert_eq!(will_due, None);
        return;
    };
    assert!(engine.deadlines.contains(ends_at, Deadline::SessionEnd(id)));
    if let Some(will) = &session.will {
        let left_at = ends_at.millis() - u64::from(session.expiry) * 1000;
        let due = Time::from_millis(left_at).after_seconds(will.will.delay_interval);
        assert_eq!(will_due, Some(due));
        assert!(engine.deadlines.contains(due, Deadline::Will(id)));
    }
}
