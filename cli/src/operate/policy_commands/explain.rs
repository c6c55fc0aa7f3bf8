//! `countersign policy explain`: one question to a policy, and the answer with its reason.

use super::{read, read_policy, subject};
use crate::failure::{Failure, USAGE};
use broker::config::Config;
use broker::engine::Time;
use broker::engine::policy::explain::{Decision, Moment, Question};
use broker::engine::policy::{
    Attributes, Credentials, Entry, Origin, Policy, Principal, Publication,
};
use certs::Subject;
use clap::{Args, Subcommand};
use protocol::Text;
use protocol::packet::QoS;
use protocol::topic::{TopicFilter, TopicName};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const EXAMPLES: &str = "\
Examples:
  countersign policy explain --policy policy.toml --device dev-1 publish devices/dev-1/t
  countersign policy explain --config broker.toml --device app/app-1 subscribe 'devices/+/#'";

/// What is refused by policy.
const DENIED: u8 = 5;

/// Who asks, and what.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The policy file.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "config",
        required_unless_present = "config"
    )]
    policy: Option<PathBuf>,
    /// The broker's configuration, which names the policy.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The device id, or app/ and the id of an application.
    #[arg(long, value_name = "ID", value_parser = parse_subject)]
    device: Subject,
    /// The MQTT client id; by default the device id.
    #[arg(long, value_name = "ID", value_parser = parse_text)]
    client_id: Option<Text>,
    /// The common name in its certificate.
    #[arg(long, value_name = "NAME")]
    cn: Option<String>,
    /// An organizational unit in its certificate; may be repeated.
    #[arg(long, value_name = "NAME")]
    ou: Vec<String>,
    /// An organization in its certificate; may be repeated.
    #[arg(long, value_name = "NAME")]
    o: Vec<String>,
    /// The identifier of the key that issued its certificate, in hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    issuer_key: Option<String>,
    /// The trust anchor that its certificate comes from.
    #[arg(long, value_name = "NAME")]
    anchor: Option<String>,
    /// An attribute in the registry; may be repeated.
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = parse_attribute)]
    attributes: Vec<(String, String)>,
    /// A group in the registry; may be repeated.
    #[arg(long = "registered", value_name = "GROUP")]
    groups: Vec<String>,
    /// The listener it comes to.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// When, in UTC; by default now.
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Answer with one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    asked: Asked,
}

/// What it would do.
#[derive(Debug, Subcommand)]
enum Asked {
    /// Connect.
    Connect,
    /// Publish to a topic.
    Publish {
        /// The topic name.
        #[arg(value_parser = parse_topic)]
        topic: TopicName,
        /// The QoS.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
        qos: u8,
        /// As a retained message.
        #[arg(long)]
        retain: bool,
        /// How long the payload is.
        #[arg(long, default_value_t = 0, value_name = "BYTES")]
        payload_bytes: usize,
    },
    /// Subscribe to a filter.
    Subscribe {
        /// The topic filter.
        #[arg(value_parser = parse_filter)]
        filter: TopicFilter,
    },
}

pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let policy = load(args)?.with_attributes(Arc::new(attributes(args)));
    let credentials = credentials(args);
    let principal = Principal {
        subject: &args.device,
        credentials: Some(&credentials),
    };
    let own_id = Text::parse(args.device.id.as_str()).ok();
    let client_id = args.client_id.clone().or(own_id);
    let client_id = client_id.ok_or_else(|| Failure::new(USAGE, "no client id"))?;
    let now = args.at.map_or_else(now, |at| at.0);
    let decision = match &args.asked {
        Asked::Connect => policy.explain(principal, &client_id, Question::Connect),
        Asked::Publish {
            topic,
            qos,
            retain,
            payload_bytes,
        } => {
            let publication = Publication {
                qos: QoS::from_bits(*qos).unwrap_or_default(),
                retain: *retain,
                payload_len: *payload_bytes,
                at: now,
            };
            policy.explain(principal, &client_id, Question::Publish(topic, publication))
        }
        Asked::Subscribe { filter } => {
            policy.explain(principal, &client_id, Question::Subscribe(filter, now))
        }
    };
    if args.json {
        println!("{}", in_json(&decision));
    } else {
        println!("{decision}");
    }
    if decision.is_allowed() {
        Ok(())
    } else {
        Err(Failure::silent(DENIED))
    }
}

fn load(args: &ExplainArgs) -> Result<Policy, Failure> {
    if let Some(file) = &args.policy {
        return read_policy(file);
    }
    let path = args.config.as_deref().unwrap_or_else(|| Path::new(""));
    let config = Config::parse(path, &read(path)?)
        .map_err(|mistakes| Failure::mistakes(USAGE, &mistakes))?;
    match &config.policy {
        Some(file) => read_policy(file),
        None => Ok(Policy::built_in()),
    }
}

fn attributes(args: &ExplainArgs) -> Attributes {
    let entry = Entry {
        groups: args
            .groups
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        values: args
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
    };
    [(args.device.clone(), entry)].into_iter().collect()
}

fn credentials(args: &ExplainArgs) -> Credentials {
    let names = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    Credentials {
        common_name: args.cn.as_deref().map(Into::into),
        organizational_units: Some(names(&args.ou)),
        organizations: Some(names(&args.o)),
        anchor: args.anchor.as_deref().map(Into::into),
        issuer_key_id: args.issuer_key.as_deref().map(Into::into),
        serial: None,
        listener: args.listener.as_deref().map(Into::into),
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    Time::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn in_json(decision: &Decision) -> Value {
    let by = decision.by().map(|by| {
        let (file, line, name) = match &by.rule {
            Origin::BuiltIn => (None, None, None),
            Origin::File { file, line, name } => (Some(file), Some(line), name.as_deref()),
            Origin::Group { file, line, name } => (Some(file), Some(line), Some(&**name)),
        };
        json!({
            "rule": by.rule.to_string(),
            "file": file.map(|file| &**file),
            "line": line,
            "name": name,
            "filter": &*by.filter,
            "role": by.role.as_deref(),
        })
    });
    let missing: Vec<String> = decision.missing().iter().map(ToString::to_string).collect();
    json!({
        "allowed": decision.is_allowed(),
        "by": by,
        "missing": missing,
        "why": decision.to_string(),
    })
}

fn parse_subject(text: &str) -> Result<Subject, String> {
    subject(text).ok_or_else(|| "write a device id, or app/ and an id".to_owned())
}

fn parse_text(text: &str) -> Result<Text, String> {
    Text::parse(text).map_err(|error| error.to_string())
}

fn parse_topic(text: &str) -> Result<TopicName, String> {
    TopicName::parse(text).map_err(|error| error.to_string())
}

fn parse_filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::parse(text).map_err(|error| error.to_string())
}

fn parse_attribute(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let parts = parts.filter(|(name, _)| !name.is_empty());
    parts
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}
