//! `countersign bench`: puts a broker under load and says what the load cost it.

mod bar;
mod plan;

use crate::failure::{FAILED, Failure, USAGE};
use bar::Bar;
use clap::{Args, Subcommand, ValueEnum};
use fleet::load::floor::{Floor, FloorPlan};
use fleet::load::plan::Plan;
use fleet::load::{LoadError, Observer};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Measure a broker over mutual TLS.
#[derive(Debug, Subcommand)]
#[command(after_help = BENCH_HELP)]
pub(crate) enum BenchCommand {
    /// Make and close connections: TCP, TLS with a client certificate, CONNECT, CONNACK.
    ///
    /// Microseconds of broker CPU are for one connection from beginning to end.
    #[command(after_help = "Examples:\n  \
        countersign bench connect --pid PID\n  \
        countersign bench connect --pid PID --resumed --key-exchange hybrid")]
    Connect(ConnectArgs),
    /// Keep connections that say nothing but PINGREQ: memory for each, and CPU at rest.
    #[command(after_help = "Example:\n  countersign bench idle --pid PID --connections 10000")]
    Idle(IdleArgs),
    /// Many devices publish, one application (or several) hears all of them.
    #[command(after_help = "Example:\n  \
        countersign bench fanin --pid PID --publishers 50 --qos 1 --payload 256")]
    Fanin(FaninArgs),
    /// One application publishes, many devices hear it.
    #[command(after_help = "Examples:\n  \
        countersign bench fanout --pid PID --subscribers 1000 --qos 0\n  \
        countersign bench fanout --pid PID --subscribers 100 --stalled 1")]
    Fanout(FanoutArgs),
    /// Each publisher has a subscriber of its own.
    #[command(after_help = "Example:\n  countersign bench pair --pid PID --pairs 200 --qos 1")]
    Pair(PairArgs),
    /// So many messages a second, evenly, whether or not the broker keeps up: the latency that
    /// devices see.
    #[command(after_help = "Examples:\n  \
        countersign bench rate --pid PID --per-second 5000 --qos 1 --payload 256\n  \
        countersign bench rate --pid PID --per-second 5000 --retained 10000")]
    Rate(RateArgs),
    /// Like fanin, with each message written on its own, as devices do that have one thing to say.
    #[command(after_help = "Example:\n  countersign bench unbatched --pid PID --qos 1")]
    Unbatched(FaninArgs),
    /// Devices publish for an application that is away; then it comes back and takes everything.
    ///
    /// How fast and at what cost messages are acknowledged that must outlive the process, and are
    /// handed over: 100,000 of them, or as `--count` says. The broker must let so many wait for one
    /// session: `limits.queue_len_max` and `queue_bytes_max`.
    #[command(after_help = "Examples:\n  \
        countersign bench durable --pid PID --count 100000 --payload 256\n  \
        countersign bench durable --half store; kill -9 PID; # start it again, and then\n  \
        countersign bench durable --half drain")]
    Durable(DurableArgs),
    /// Serve as the floor: forward the same messages with no broker behind TLS.
    ///
    /// What any broker pays at least; measure it like one. It prints its address and process id
    /// as one line of JSON, and serves until it is stopped.
    #[command(after_help = "Example:\n  \
        countersign bench floor --identities certs/dev --listen 127.0.0.1:8884")]
    Floor(FloorArgs),
}

const BENCH_HELP: &str = "\
First make a broker with enough devices, and look up its process:
  countersign up --devices 200
  countersign bench fanin --pid $(pgrep -n countersign)

Every message is checked. A message that is lost, comes twice or comes late fails the load, with
exit code 1 and no figures. Any MQTT broker over mutual TLS can be measured that lets a device
publish below devices/<id>/, an application below broadcast/, and both use client ids that begin
with their id.

What is on its way at once is bounded from publisher to subscriber, so that a broker which drops
when it is flooded is measured by what it carries.";

pub(crate) fn run(command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Connect(args) => load(&args.plan(), &args.common),
        BenchCommand::Idle(args) => load(&args.plan(), &args.common),
        BenchCommand::Fanin(args) => load(&args.plan(), &args.common),
        BenchCommand::Fanout(args) => load(&args.plan(), &args.common),
        BenchCommand::Pair(args) => load(&args.plan(), &args.common),
        BenchCommand::Rate(args) => load(&args.plan(), &args.fanin.common),
        BenchCommand::Unbatched(args) => load(&args.unbatched_plan(), &args.common),
        BenchCommand::Durable(args) => load(&args.plan(), &args.common),
        BenchCommand::Floor(args) => floor(&args),
    }
}

fn load(plan: &Plan, common: &CommonArgs) -> Result<(), Failure> {
    let bar = Bar::new();
    let report = fleet::load::run(plan, &Observer::new(&|phase| bar.show(phase)));
    bar.clear();
    let report = report.map_err(|error| failure(&error))?;
    if common.json {
        println!("{}", json!(report));
    } else {
        print!("{report}");
    }
    Ok(())
}

fn floor(args: &FloorArgs) -> Result<(), Failure> {
    let plan = FloorPlan {
        listen: args.listen,
        identities: args.identities.clone(),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .worker_threads(args.threads.max(1))
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::from_error(FAILED, &error))?;
    runtime
        .block_on(async {
            let floor = Floor::bind(&plan).await?;
            let ready = json!({ "listening": floor.address()?, "pid": std::process::id() });
            println!("{ready}");
            floor.serve().await
        })
        .map_err(|error| failure(&error))
}

fn failure(error: &LoadError) -> Failure {
    let code = match error {
        LoadError::BadAddress { .. }
        | LoadError::BadSetting { .. }
        | LoadError::NoIdentities { .. } => USAGE,
        _ => FAILED,
    };
    Failure::from_error(code, error)
}

/// What every load needs.
#[derive(Debug, Args)]
struct CommonArgs {
    /// The broker; its certificate must name this host.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8883")]
    broker: String,
    /// The directory with `devices/ID/{cert,key,ca}.pem` and apps/app-1, as `countersign up`
    /// makes it. With fewer devices than clients, certificates are used again.
    #[arg(long, value_name = "DIR", default_value = "certs/dev")]
    identities: PathBuf,
    /// The process of the broker; without it only what clients see is measured.
    #[arg(long)]
    pid: Option<u32>,
    /// What is spoken.
    #[arg(long, value_enum, default_value = "5")]
    protocol: Protocol,
    /// The key exchange that clients offer.
    #[arg(long, value_enum, default_value = "x25519")]
    key_exchange: Exchange,
    /// How long each run is measured.
    #[arg(long, default_value = "5")]
    seconds: Seconds,
    /// How long each run warms up before it is measured.
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    warmup: Seconds,
    /// Measure this many messages or connections, each of them, instead of a time.
    #[arg(long, conflicts_with_all = ["seconds", "warmup"])]
    count: Option<u64>,
    /// How often; figures are the medians.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Threads of the generator.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Also count the system calls of the broker, in one more run (`perf`, as root).
    #[arg(long, requires = "pid")]
    system_calls: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// How messages are published.
#[derive(Debug, Args)]
struct MessageArgs {
    /// The QoS of publishers and subscribers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Bytes of a payload, from 24.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Messages of one publisher on their way at once, up to the last subscriber [default: 20,
    /// 2 in `unbatched`, 20000 over all at QoS 0; less where they are many or large]
    #[arg(long)]
    window: Option<u64>,
}

/// `bench connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Go on with an earlier TLS session in every handshake.
    #[arg(long)]
    resumed: bool,
    /// How many connections are under way at once.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Close without DISCONNECT, for brokers that cannot cope with both.
    #[arg(long)]
    without_disconnect: bool,
}

/// `bench idle`.
#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// How many connections are kept.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Seconds of keep-alive; each connection pings twice in it.
    #[arg(long, default_value_t = 60)]
    keep_alive: u16,
}

/// `bench fanin` and `bench unbatched`.
#[derive(Debug, Args)]
pub(crate) struct FaninArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    messages: MessageArgs,
    /// How many devices publish.
    #[arg(long, default_value_t = 50)]
    publishers: usize,
    /// How many applications hear all of them.
    #[arg(long, default_value_t = 1)]
    subscribers: usize,
}

/// `bench fanout`.
#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    messages: MessageArgs,
    /// How many applications publish.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// How many devices hear all of them.
    #[arg(long, default_value_t = 100)]
    subscribers: usize,
    /// How many more devices subscribe and then never read again: compare the others, and the
    /// memory of the broker, with and without.
    #[arg(long, default_value_t = 0)]
    stalled: usize,
}

/// `bench pair`.
#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    messages: MessageArgs,
    /// How many pairs.
    #[arg(long, default_value_t = 200)]
    pairs: usize,
}

/// `bench rate`.
#[derive(Debug, Args)]
pub(crate) struct RateArgs {
    #[command(flatten)]
    fanin: FaninArgs,
    /// Messages a second, over all publishers.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    per_second: u32,
    /// Lay down this many retained messages first; meanwhile a device asks for all of them, again
    /// and again: compare the latency of the others with and without.
    #[arg(long, default_value_t = 0)]
    retained: usize,
}

/// `bench durable`.
#[derive(Debug, Args)]
pub(crate) struct DurableArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The QoS of publishers and of the application.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    qos: u8,
    /// Bytes of a payload, from 24.
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// How many devices publish.
    #[arg(long, default_value_t = 50)]
    publishers: usize,
    /// Messages of one publisher that are not acknowledged at once.
    #[arg(long, default_value_t = 50)]
    window: u64,
    /// One half of it alone; the settings of both must agree.
    #[arg(long, value_enum)]
    half: Option<DurableHalf>,
}

/// Which half is done.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurableHalf {
    /// Publish for a session that is left behind
    Store,
    /// Take up that session and all that waits in it
    Drain,
}

/// `bench floor`.
#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    /// Where to listen; port 0 is any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The directory with broker/{cert,key,ca}.pem, as `countersign up` makes it.
    #[arg(long, value_name = "DIR", default_value = "certs/dev")]
    identities: PathBuf,
    /// Threads of the floor.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// A time on the command line.
#[derive(Clone, Copy, Debug)]
struct Seconds(Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds: f64 = text
            .parse()
            .map_err(|_| "a number of seconds, such as 2.5")?;
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    #[value(name = "3.1.1")]
    V311,
    #[value(name = "5")]
    V5,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Exchange {
    /// X25519
    X25519,
    /// X25519MLKEM768
    Hybrid,
}
