//! `countersign sub`: subscribes with the identity of a device, and prints what comes.

use certs::Hex;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use clap::Args;
use device_client::{Device, Message, Properties, QoS, Retained, Stream, Subscription};
use serde_json::{Value, json};

use super::connection::{ConnectionArgs, leave, not_subscribed, parse_qos, print_line};
use super::publish::seconds;
use crate::failure::{FAILED, Failure};
use crate::signals::Ending;

/// The longest packet there can be (MQTT 5.0 §2.1.4): a person wants to see what comes.
const PACKET_LEN_MAX: u32 = 268_435_460;

/// Messages of `QoS` 0 that may wait to be printed; more are dropped, counted and reported.
const QUEUE_LEN_MAX: usize = 65_536;

/// How long the broker keeps a session that is to be gone on with.
const SESSION_EXPIRY_DEFAULT: u32 = 24 * 3600;

/// Subscribe as a device, and print what comes.
///
/// Each message is printed on a line: its payload, with -v after its topic, with --json as an
/// object. A message of QoS 1 or 2 is acknowledged when it is printed. It goes on until it is
/// interrupted, or until -C messages have come.
#[derive(Debug, Args)]
#[command(after_help = SUB_HELP)]
pub(crate) struct SubArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The topic filter; may be given more than once.
    #[arg(short, long = "topic", value_name = "FILTER", required = true)]
    topics: Vec<String>,
    /// The highest quality of service to receive messages with: 0, 1 or 2.
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = parse_qos)]
    qos: QoS,
    /// Leave after so many messages.
    #[arg(short = 'C', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Leave after so many seconds; an error when --count has not been reached by then.
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Do not receive messages that the broker kept from before.
    #[arg(short = 'R', long)]
    no_retained: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    session: SessionArgs,
}

/// How messages are printed.
#[derive(Debug, Args)]
struct OutputArgs {
    /// Print the topic before the payload.
    #[arg(short, long)]
    verbose: bool,
    /// Print an object of JSON a line: one for each subscription granted, one for each message.
    #[arg(long)]
    json: bool,
}

/// What is left at the broker.
#[derive(Debug, Args)]
struct SessionArgs {
    /// Go on with the session of the last time, and leave it for the next: messages of QoS 1 and 2
    /// wait at the broker meanwhile.
    #[arg(short = 'c', long, requires = "id")]
    resume: bool,
    /// How long the broker keeps the session, in seconds [default with --resume: a day].
    #[arg(short = 'x', long, value_name = "SECONDS", requires = "resume",
          default_value_t = SESSION_EXPIRY_DEFAULT, hide_default_value = true)]
    session_expiry: u32,
}

const SUB_HELP: &str = "\
In JSON a payload that is no text is given as \"payload_hex\".

Examples:
  countersign sub --identity certs/dev/apps/app-1 -t 'devices/+/#' -v
  countersign sub --identity certs/dev/devices/dev-1 -t 'devices/dev-1/commands/#' -q 1 -C 1
  countersign sub --identity certs/dev/apps/app-1 -t 'devices/#' -t 'broadcast/#' --json | jq .
  countersign sub --identity certs/dev/apps/app-1 -i app-1 -c -q 1 -t 'devices/+/alarm'

Exit codes: 0 done, 1 failed or too few messages in time, 2 usage,
5 refused by the broker's policy.";

pub(crate) async fn run(args: SubArgs) -> Result<(), Failure> {
    let builder = args.connection.builder("sub")?;
    let mut builder = builder
        .packet_len_max(PACKET_LEN_MAX)
        .queue_len_max(QUEUE_LEN_MAX);
    if args.session.resume {
        let expiry = Duration::from_secs(args.session.session_expiry.into());
        builder = builder.resume_session().session_expiry(expiry);
    }
    let device = args.connection.connect(builder).await?;
    // Held until we have left, so that what was not printed is not acknowledged.
    let mut subscriptions = Vec::new();
    let printed = args.subscribe_and_print(&device, &mut subscriptions).await;
    let left = leave(&device).await;
    let dropped = device.status().dropped;
    if dropped > 0 {
        eprintln!(
            "countersign: {dropped} messages of QoS 0 came faster than they could be printed"
        );
    }
    printed.and(left)
}

impl SubArgs {
    async fn subscribe_and_print(
        &self,
        device: &Device,
        subscriptions: &mut Vec<Subscription>,
    ) -> Result<(), Failure> {
        for filter in &self.topics {
            let retained = if self.no_retained {
                Retained::Skip
            } else {
                Retained::Send
            };
            let subscription = device.subscribe_with(filter, self.qos, retained).await;
            let subscription = subscription.map_err(|error| not_subscribed(filter, &error))?;
            self.tell_granted(&subscription)?;
            subscriptions.push(subscription);
        }
        let mut came = 0;
        let over = self.time_is_over();
        let mut over = std::pin::pin!(over);
        let mut ending = Ending::listen()?;
        while self.count.is_none_or(|count| came < count) {
            let message = tokio::select! {
                message = next(subscriptions) => message?,
                () = &mut over => return self.enough(came),
                () = ending.asked() => return Ok(()),
            };
            let Some(message) = message else { break };
            came += 1;
            if self.print(&message)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    async fn time_is_over(&self) {
        match self.timeout {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    }

    fn enough(&self, came: u64) -> Result<(), Failure> {
        match self.count {
            Some(wanted) => {
                let words = format!("the time is over: {came} of {wanted} messages came");
                Err(Failure::new(FAILED, words))
            }
            None => Ok(()),
        }
    }

    fn tell_granted(&self, subscription: &Subscription) -> Result<(), Failure> {
        let (filter, granted) = (subscription.filter(), subscription.granted_qos());
        if self.output.json {
            let line = json!({ "subscribed": filter, "qos": granted.level() });
            let _ = print_line(line.to_string().as_bytes())?;
        } else if granted < self.qos {
            eprintln!(
                "countersign: {filter} is granted with QoS {} only",
                granted.level()
            );
        }
        Ok(())
    }

    fn print(&self, message: &Message) -> Result<ControlFlow<()>, Failure> {
        if self.output.json {
            return print_line(json_of(message).to_string().as_bytes());
        }
        if self.output.verbose {
            return print_line(&[message.topic.as_bytes(), b" ", &message.payload].concat());
        }
        print_line(&message.payload)
    }
}

/// The next message of any subscription; `None` when all have ended.
async fn next(subscriptions: &mut [Subscription]) -> Result<Option<Message>, Failure> {
    poll_fn(|context| {
        let mut ended = true;
        for subscription in subscriptions.iter_mut() {
            match Pin::new(&mut *subscription).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => return Poll::Ready(Ok(Some(message))),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(not_subscribed(subscription.filter(), &error)));
                }
                Poll::Ready(None) => {}
                Poll::Pending => ended = false,
            }
        }
        if ended {
            Poll::Ready(Ok(None))
        } else {
            Poll::Pending
        }
    })
    .await
}

fn json_of(message: &Message) -> Value {
    let text = std::str::from_utf8(&message.payload).ok();
    let properties = json_of_properties(&message.properties);
    present([
        ("topic", Some(json!(message.topic))),
        ("qos", Some(json!(message.qos.level()))),
        ("retain", Some(json!(message.retain))),
        ("payload", text.map(Value::from)),
        (
            "payload_hex",
            text.is_none()
                .then(|| Hex(&message.payload).to_string().into()),
        ),
        (
            "properties",
            (properties != json!({})).then_some(properties),
        ),
    ])
}

fn json_of_properties(properties: &Properties) -> Value {
    let Properties {
        content_type,
        response_topic,
        correlation_data,
        expiry,
        user,
        ..
    } = properties;
    present([
        ("content_type", content_type.as_deref().map(Value::from)),
        ("response_topic", response_topic.as_deref().map(Value::from)),
        (
            "correlation_data_hex",
            correlation_data
                .as_ref()
                .map(|data| Hex(data).to_string().into()),
        ),
        (
            "expiry_seconds",
            expiry.map(|expiry| expiry.as_secs().into()),
        ),
        // A name may occur more than once, and the order counts.
        ("user", (!user.is_empty()).then(|| json!(user))),
    ])
}

/// An object of the fields that are there.
fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.into(), value?)));
    Value::Object(present.collect())
}
