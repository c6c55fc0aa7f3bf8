//! Explain: may a device do something, and which rule of the policy in force says so.
//!
//! What rules ask of a certificate is taken from the connection that the device has, if it has one.

use super::Operator;
use crate::engine::policy::explain::{Deciding, Decision, Question};
use crate::engine::policy::{Credentials, Origin, Principal, Publication};
use crate::engine::{SessionKey, Time};
use certs::Subject;
use certs::admin::{
    Action, AdminError, Decision as Verdict, ErrorCode, Explain, Explanation, RuleReference,
};
use protocol::Text;
use protocol::packet::QoS;
use protocol::topic::{TopicFilter, TopicName};
use rustls_pki_types::UnixTime;

impl Operator {
    /// What the policy in force decides, and why.
    ///
    /// # Errors
    /// If what is asked about cannot be: no topic, no filter, no QoS.
    pub(crate) async fn explain(&self, explain: &Explain) -> Result<Explanation, AdminError> {
        let policy = self.state.lock().await.enforced.clone();
        let (client_id, credentials) = self.connection_of(&explain.device);
        let principal = Principal {
            subject: &explain.device,
            credentials: credentials.as_ref(),
        };
        let topic = explain.topic.as_str();
        let no_topic = |_| bad_request(format!("{topic:?} is not what it would have to be"));
        let now = Time::from_millis(UnixTime::now().as_secs().saturating_mul(1000));
        let decision = match explain.action {
            Action::Connect => {
                let client_id = Text::parse(topic).map_err(|it| bad_request(it.to_string()))?;
                policy.explain(principal, &client_id, Question::Connect)
            }
            Action::Publish => {
                let name = TopicName::parse(topic).map_err(no_topic)?;
                let publication = Publication {
                    qos: qos(explain.qos)?,
                    retain: explain.retain,
                    payload_len: 0,
                    at: now,
                };
                policy.explain(principal, &client_id, Question::Publish(&name, publication))
            }
            Action::Subscribe => {
                let filter = TopicFilter::parse(topic).map_err(no_topic)?;
                policy.explain(principal, &client_id, Question::Subscribe(&filter, now))
            }
        };
        Ok(explanation(&decision))
    }

    /// The client id a device is connected with, and what it showed. Who is away is taken to come
    /// with its own id.
    fn connection_of(&self, subject: &Subject) -> (Text, Option<Credentials>) {
        let found = self.shards.of(subject).look(|engine| {
            let mut sessions = engine.sessions().filter(|it| it.key.subject == *subject);
            sessions.find_map(|session| {
                let (_, device) = session.connected?;
                let SessionKey { client_id, .. } = session.key;
                Some((client_id.clone(), Credentials::of(device)))
            })
        });
        match found {
            Some((client_id, credentials)) => (client_id, Some(credentials)),
            None => (Text::parse(subject.id.as_str()).unwrap_or_default(), None),
        }
    }
}

fn qos(number: Option<u8>) -> Result<QoS, AdminError> {
    match number.unwrap_or_default() {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(bad_request(format!("there is no QoS {other}"))),
    }
}

fn bad_request(message: String) -> AdminError {
    AdminError {
        code: ErrorCode::BadRequest,
        message,
        details: Vec::new(),
    }
}

fn explanation(decision: &Decision) -> Explanation {
    let is_allowed = decision.is_allowed();
    let by = decision.by().map(reference);
    let is_nearest = matches!(decision, Decision::NotPermitted(_));
    let (rule, nearest) = if is_nearest { (None, by) } else { (by, None) };
    Explanation {
        decision: if is_allowed {
            Verdict::Allow
        } else {
            Verdict::Deny
        },
        rule,
        nearest,
        words: decision.to_string(),
    }
}

fn reference(deciding: &Deciding) -> RuleReference {
    match &deciding.rule {
        Origin::BuiltIn => RuleReference {
            name: "built-in".to_owned(),
            place: None,
        },
        Origin::File { file, line, name } => RuleReference {
            name: name.as_deref().unwrap_or("(no name)").to_owned(),
            place: Some(format!("{file}:{line}")),
        },
        Origin::Group { file, line, name } => RuleReference {
            name: format!("group {name}"),
            place: Some(format!("{file}:{line}")),
        },
    }
}
