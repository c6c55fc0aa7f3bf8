//! `countersign pub`: publishes messages with the identity of a device, and waits for each to be
//! acknowledged.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, Read as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use device_client::{Device, Publish, QoS, Receipt};
use serde_json::json;
use tokio::sync::mpsc;

use super::connection::{ConnectionArgs, leave, not_published, parse_qos, print_line};
use crate::failure::{FAILED, Failure, USAGE};

/// Messages under way at a time; the acknowledgement of the first is awaited before another is
/// sent.
const UNDER_WAY_MAX: usize = 256;

/// Publish messages as a device.
///
/// The message is taken from -m, from a file, or from standard input. At QoS 1 and 2 the command
/// succeeds when the broker has acknowledged every message; a connection lost meanwhile is made
/// again.
#[derive(Debug, Args)]
#[command(after_help = PUB_HELP)]
pub(crate) struct PubArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The topic of the messages.
    #[arg(short, long, value_name = "TOPIC")]
    topic: String,
    #[command(flatten)]
    source: Source,
    /// The quality of service: 0, 1 (at least once) or 2 (exactly once).
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = parse_qos)]
    qos: QoS,
    /// Ask the broker to keep the last message for those who subscribe later.
    #[arg(short, long)]
    retain: bool,
    #[command(flatten)]
    properties: Properties,
    /// Publish the message so many times.
    #[arg(
        long,
        visible_alias = "count",
        value_name = "N",
        default_value_t = 1,
        conflicts_with = "stdin_lines"
    )]
    repeat: u32,
    /// Pause so many seconds between messages.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    repeat_delay: Option<Duration>,
    /// Print an object of JSON for each message when it is acknowledged.
    #[arg(long)]
    json: bool,
}

/// What to publish. Without any of these, all of standard input is one message.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Source {
    /// The message.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<String>,
    /// A file that is the message.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Each line of standard input is a message.
    #[arg(short = 'l', long)]
    stdin_lines: bool,
    /// The message is empty; with --retain it deletes the one that is kept.
    #[arg(short, long)]
    null_message: bool,
}

/// What to say about the messages (MQTT 5.0 §3.3.2.3).
#[derive(Debug, Args)]
struct Properties {
    /// A property of your own; may be given more than once.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = name_and_value)]
    user: Vec<(String, String)>,
    /// What the payload is, for instance application/json.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Where an answer is awaited.
    #[arg(long, value_name = "TOPIC")]
    response_topic: Option<String>,
    /// What an answer must carry.
    #[arg(long, value_name = "TEXT")]
    correlation_data: Option<String>,
    /// Deliver the messages to nobody after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    expiry: Option<u32>,
}

const PUB_HELP: &str = "\
Examples:
  countersign pub --identity certs/dev/devices/dev-1 -t devices/dev-1/temperature -m 21.5 -q 1
  countersign pub --identity certs/dev/devices/dev-1 -t devices/dev-1/state -m here -r \\
      --property firmware=1.2.0 --content-type text/plain
  journalctl -f | countersign pub --identity certs/dev/devices/dev-1 -t devices/dev-1/log -l -q 1
  countersign pub --identity certs/dev/devices/dev-1 -t devices/dev-1/photo < photo.jpg

Exit codes: 0 all messages acknowledged, 1 failed, 2 usage, 5 refused by the broker's policy.";

pub(crate) async fn run(args: PubArgs) -> Result<(), Failure> {
    let device = args
        .connection
        .connect(args.connection.builder("pub")?)
        .await?;
    let published = args.publish_all(&device).await;
    let left = leave(&device).await;
    published.and(left)
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self {
                message: Some(text),
                ..
            } => Ok(text.clone().into_bytes()),
            Self {
                file: Some(path), ..
            } => std::fs::read(path).map_err(|error| {
                Failure::new(USAGE, format!("reading {}", path.display())).because(&error)
            }),
            Self {
                null_message: true, ..
            } => Ok(Vec::new()),
            _ => {
                let mut all = Vec::new();
                io::stdin()
                    .lock()
                    .read_to_end(&mut all)
                    .map_err(|error| not_read(&error))?;
                Ok(all)
            }
        }
    }
}

/// Messages on their way.
struct Sent<'a> {
    args: &'a PubArgs,
    device: &'a Device,
    under_way: VecDeque<UnderWay>,
}

struct UnderWay {
    receipt: Receipt,
    len: usize,
    since: Instant,
}

impl Sent<'_> {
    async fn message(&mut self, payload: Vec<u8>) -> Result<(), Failure> {
        for number in 0..self.args.repeat {
            if number > 0 {
                self.pause().await;
            }
            self.send(payload.clone()).await?;
        }
        Ok(())
    }

    async fn lines(&mut self) -> Result<(), Failure> {
        let mut lines = lines_of_stdin();
        while let Some(line) = lines.recv().await {
            self.send(line.map_err(|error| not_read(&error))?).await?;
            self.pause().await;
        }
        Ok(())
    }

    async fn send(&mut self, payload: Vec<u8>) -> Result<(), Failure> {
        self.acknowledged_down_to(UNDER_WAY_MAX - 1).await?;
        let (len, since) = (payload.len(), Instant::now());
        let receipt = self.device.queue(self.args.publish(payload)).await;
        let receipt = receipt.map_err(|error| not_published(&self.args.topic, &error))?;
        self.under_way.push_back(UnderWay {
            receipt,
            len,
            since,
        });
        Ok(())
    }

    /// Waits until no more messages than this are under way.
    async fn acknowledged_down_to(&mut self, left: usize) -> Result<(), Failure> {
        while self.under_way.len() > left {
            let Some(UnderWay {
                receipt,
                len,
                since,
            }) = self.under_way.pop_front()
            else {
                break;
            };
            receipt
                .await
                .map_err(|error| not_published(&self.args.topic, &error))?;
            if self.args.json {
                self.args.print_acknowledged(len, since.elapsed())?;
            }
        }
        Ok(())
    }

    async fn pause(&self) {
        if let Some(delay) = self.args.repeat_delay {
            tokio::time::sleep(delay).await;
        }
    }
}

impl PubArgs {
    async fn publish_all(&self, device: &Device) -> Result<(), Failure> {
        let mut sent = Sent {
            args: self,
            device,
            under_way: VecDeque::new(),
        };
        if self.source.stdin_lines {
            sent.lines().await?;
        } else {
            sent.message(self.source.read()?).await?;
        }
        sent.acknowledged_down_to(0).await
    }

    fn publish(&self, payload: Vec<u8>) -> Publish {
        let mut publish = Publish::new(self.topic.as_str(), payload).qos(self.qos);
        if self.retain {
            publish = publish.retained();
        }
        let Properties {
            user,
            content_type,
            response_topic,
            correlation_data,
            expiry,
        } = &self.properties;
        for (name, value) in user {
            publish = publish.user_property(name, value);
        }
        if let Some(content_type) = content_type {
            publish = publish.content_type(content_type);
        }
        if let Some(topic) = response_topic {
            publish = publish.response_topic(topic);
        }
        if let Some(data) = correlation_data {
            publish = publish.correlation_data(data.clone());
        }
        if let Some(seconds) = expiry {
            publish = publish.expiry(Duration::from_secs((*seconds).into()));
        }
        publish
    }

    fn print_acknowledged(&self, len: usize, after: Duration) -> Result<(), Failure> {
        let acknowledged = json!({
            "topic": self.topic,
            "qos": self.qos.level(),
            "bytes": len,
            "acknowledged_after_ms": (after.as_secs_f64() * 1e6).round() / 1e3,
        });
        // What was published is published, whether or not somebody reads about it.
        print_line(acknowledged.to_string().as_bytes()).map(|_| ())
    }
}

/// The lines of standard input, read in a thread of its own, a few ahead.
fn lines_of_stdin() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (lines, receive) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receive
}

fn not_read(error: &io::Error) -> Failure {
    Failure::new(FAILED, "reading standard input").because(error)
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("it is written NAME=VALUE".into()),
    }
}

/// A number of seconds that may have a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .map_err(|_| "it is a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
