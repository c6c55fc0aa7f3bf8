//! `countersign up`: from an empty directory to a broker that serves, in one command.

use crate::failure::{FAILED, Failure, USAGE};
use crate::logging;
use crate::operate::broker_commands::start;
use broker::Plan;
use broker::config::NewConfig;
use broker::engine::policy;
use clap::Args;
use provisioning::{
    IdentityFiles, Layout, Outcome, Prepared, PreparedPeer, UpRequest, quoted, up_prepare,
};
use rustls_pki_types::UnixTime;
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Make a CA, a broker, devices and an application in a directory, and serve them.
///
/// The first run makes everything that is missing; a later one reuses it, adds devices if more are
/// asked for, and renews what is near its end. The keys are not encrypted: this is for development.
#[derive(Debug, Args)]
#[command(after_help = UP_HELP)]
pub(crate) struct UpArgs {
    /// Where everything is made.
    #[arg(long, value_name = "DIR", default_value = "certs/dev")]
    dir: PathBuf,
    /// Where to listen this time; port 0 takes any that is free [default: as in DIR/broker.toml,
    /// which says 127.0.0.1:8883 when it is made].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// How many devices there must be: dev-1, dev-2, …
    #[arg(long, value_name = "N", default_value_t = 3)]
    devices: u32,
    /// Print one line of JSON on stdout once the broker serves, instead of words.
    #[arg(long)]
    json: bool,
}

const UP_HELP: &str = "\
In DIR:
  ca.pem                      what devices trust
  ca/                         the authorities' keys and the registry of what was issued
  broker/{cert,key,ca}.pem    who the broker is and whom it trusts
  devices/<id>/{cert,key,ca}.pem, apps/app-1/…
  data/                       what must outlive the broker: sessions, messages
  broker.toml, policy.toml    yours to change; `countersign broker check` finds mistakes

Examples:
  countersign up
  countersign up --dir /tmp/world --devices 100 --listen 127.0.0.1:0 --json";

const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8883);

pub(crate) async fn run(args: UpArgs) -> Result<(), Failure> {
    let request = UpRequest {
        dir: &args.dir,
        devices: args.devices,
        server_names: &[],
        trust_domain: None,
    };
    let prepared = up_prepare(&request, UnixTime::now())?;
    write_settings(&prepared)?;
    let plan = Plan::load(&prepared.layout.broker_toml());
    let mut plan = plan.map_err(|mistakes| Failure::mistakes(USAGE, &mistakes))?;
    if let Some(address) = args.listen {
        plan = plan.listening_at(address);
    }
    logging::start(plan.log());
    let serving = start(plan).await?;
    let Some(address) = serving.address() else {
        return Err(Failure::new(
            USAGE,
            "broker.toml: there is no listener to try it with",
        ));
    };
    let ready = Ready {
        prepared: &prepared,
        address: *address,
    };
    if args.json {
        println!("{}", ready.json());
    } else {
        println!("{}", ready.words());
    }
    // Whoever waits for the line waits for it now.
    let _ = std::io::stdout().flush();
    serving.until_signalled().await
}

/// Writes the configuration and the policy, where there are none yet.
fn write_settings(prepared: &Prepared) -> Result<(), Failure> {
    let lists = prepared.layout.broker().dir.join("crl");
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&lists);
    made.map_err(|error| {
        Failure::new(FAILED, format!("{}: cannot be made", lists.display())).because(&error)
    })?;
    let config = NewConfig {
        address: DEFAULT_ADDRESS,
        certificate: "broker/cert.pem",
        key: "broker/key.pem",
        anchor: "broker/ca.pem",
        trust_domain: prepared.trust_domain.as_str(),
        revocation_lists: "broker/crl",
        policy: "policy.toml",
        directory: "data",
        admin_socket: "broker/admin.sock",
        audit: "audit.jsonl",
    };
    write_new(&prepared.layout.policy_toml(), policy::example())?;
    write_new(&prepared.layout.broker_toml(), &config.to_toml())
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| {
        Failure::new(FAILED, format!("{}: cannot be written", path.display())).because(&error)
    };
    match fs::File::create_new(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map_err(failed),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// What is ready, for people and for scripts.
struct Ready<'a> {
    prepared: &'a Prepared,
    address: SocketAddr,
}

impl Ready<'_> {
    fn json(&self) -> serde_json::Value {
        let layout = &self.prepared.layout;
        let id = |peer: &PreparedPeer| peer.subject.id.to_string();
        json!({
            "listening": self.address,
            "dir": layout.dir(),
            "ca": layout.ca_pem(),
            "devices": self.prepared.devices.iter().map(id).collect::<Vec<_>>(),
            "apps": self.prepared.apps.iter().map(id).collect::<Vec<_>>(),
            "subscribe": self.subscribe(),
            "publish": self.publish(),
        })
    }

    fn words(&self) -> String {
        let Self { prepared, address } = self;
        let layout = &prepared.layout;
        format!(
            "Countersign serves mqtts://{address}\n\n  \
             {dir}: {authorities} authorities, {broker} broker, {devices}, application app-1\n\n\
             Listen, as the application:\n\n  {subscribe}\n\n\
             Speak, as a device:\n\n  {publish}\n",
            dir = layout.dir().display(),
            authorities = word(prepared.authorities),
            broker = word(prepared.broker),
            devices = devices(layout, prepared.devices.len()),
            subscribe = self.subscribe(),
            publish = self.publish(),
        )
    }

    fn subscribe(&self) -> String {
        let Some(app) = self.prepared.apps.first() else {
            return String::new();
        };
        format!(
            "{} -t 'devices/+/#' -q 1 -v",
            self.mosquitto("sub", &app.files)
        )
    }

    fn publish(&self) -> String {
        let Some(device) = self.prepared.devices.first() else {
            return String::new();
        };
        let topic = format!("devices/{}/temperature", device.subject.id);
        format!(
            "{} -t {topic} -m 21.5 -q 1",
            self.mosquitto("pub", &device.files)
        )
    }

    fn mosquitto(&self, verb: &str, files: &IdentityFiles) -> String {
        format!(
            "mosquitto_{verb} -h {} -p {} --cafile {} --cert {} --key {}",
            self.address.ip(),
            self.address.port(),
            quoted(&files.ca),
            quoted(&files.cert),
            quoted(&files.key),
        )
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Kept => "kept",
        Outcome::Made => "new",
        Outcome::Renewed => "renewed",
        Outcome::Revoked => "revoked",
    }
}

fn devices(layout: &Layout, count: usize) -> String {
    let dir = layout.peers(certs::Kind::Device);
    match count {
        0 => "no devices".to_owned(),
        1 => format!("device dev-1 in {}", dir.display()),
        count => format!("devices dev-1 to dev-{count} in {}", dir.display()),
    }
}
