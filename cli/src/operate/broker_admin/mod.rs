//! `countersign broker status|reload|revoke|sessions|explain|why|unknown`: asks a broker that runs.
//!
//! Words and tables for people, with `--json` the answer as the broker gave it for scripts.

pub(crate) mod table;
mod words;

use crate::failure::{Failure, USAGE};
use crate::operate::admin::{AskError, ask};
use certs::admin::{
    Action, Answer, Explain, KeyId, Request, Revoke, SessionFilter, Target, UnknownFilter, Why,
};
use certs::{RevocationReason, Serial, Subject};
use clap::{Args, Subcommand, ValueEnum};
use provisioning::Layout;
use std::net::IpAddr;
use std::path::PathBuf;

pub(crate) use words::{losses, receipt};

/// What a broker that runs can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Say how a running broker is: listeners, sessions, revocation lists, registry.
    #[command(after_help = "Example:\n  countersign broker status --dir certs/dev")]
    Status(Whom),
    /// Let a running broker read its files again, each whole or not at all.
    ///
    /// Certificate and key, anchors, revocation lists, registry, policy and limits. A bad file
    /// changes nothing and is named; the exit code is 1 then.
    #[command(after_help = "Example:\n  countersign broker reload --dir certs/dev")]
    Reload(Whom),
    /// Revoke a device or a certificate at one running broker, at once and durably.
    ///
    /// It is refused there until it is issued a certificate later on. To revoke it everywhere, and
    /// on the list of its authority, use `countersign device revoke`.
    #[command(after_help = REVOKE_HELP)]
    Revoke(RevokeArgs),
    /// List the sessions of a running broker.
    #[command(
        after_help = "Example:\n  countersign broker sessions --dir certs/dev --device dev-1"
    )]
    Sessions(SessionArgs),
    /// Say whether a device may do something, and which rule of the policy says so.
    ///
    /// Exit code 0 whether it may or not: what was asked for was said.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Say why somebody was refused of late.
    #[command(after_help = WHY_HELP)]
    Why(WhyArgs),
    /// List devices that were refused because the registry does not have them.
    #[command(after_help = "Example:\n  countersign broker unknown --dir certs/dev")]
    Unknown(Whom),
}

const REVOKE_HELP: &str = "\
Examples:
  countersign broker revoke dev-1 --reason key-compromise --dir certs/dev
  countersign broker revoke --issuer 5f1c…9a --serial 0a1b… --admin /run/countersign/admin.sock";

const EXPLAIN_HELP: &str = "\
Examples:
  countersign broker explain dev-1 publish devices/dev-1/temperature --dir certs/dev
  countersign broker explain app/app-1 subscribe 'devices/+/#' --qos 1 --dir certs/dev";

const WHY_HELP: &str = "\
Examples:
  countersign broker why dev-1 --dir certs/dev
  countersign broker why 192.0.2.7 --dir certs/dev
  countersign broker why --serial 0a1b2c --dir certs/dev";

/// Which broker.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    #[command(flatten)]
    socket: Socket,
    /// Print the answer as one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// Where it can be asked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Socket {
    /// The broker's admin socket.
    #[arg(long, value_name = "PATH")]
    admin: Option<PathBuf>,
    /// The directory it was made in; its socket is DIR/broker/admin.sock.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Whom to revoke.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// A device id, or app/ and the id of an application.
    #[arg(value_name = "ID", value_parser = subject, required_unless_present = "serial")]
    id: Option<Subject>,
    /// The issuer of one certificate: its subject key identifier.
    #[arg(long, value_name = "HEX", value_parser = key_id, requires = "serial")]
    issuer: Option<KeyId>,
    /// The serial number of one certificate.
    #[arg(long, value_name = "HEX", value_parser = serial, requires = "issuer")]
    #[arg(conflicts_with = "id")]
    serial: Option<Serial>,
    /// Why (RFC 5280 §5.3.1).
    #[arg(long, value_name = "REASON", value_parser = reasons(), default_value = "unspecified")]
    reason: RevocationReason,
    #[command(flatten)]
    whom: Whom,
}

/// Which sessions.
#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    /// Those of this device, or app/ and the id of an application.
    #[arg(long, value_name = "ID", value_parser = subject)]
    device: Option<Subject>,
    /// Those with this client id.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Those with a connection.
    #[arg(long, conflicts_with = "offline")]
    connected: bool,
    /// Those without a connection.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    whom: Whom,
}

/// What is to be explained.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A device id, or app/ and the id of an application.
    #[arg(value_name = "ID", value_parser = subject)]
    id: Subject,
    /// What it wants to do.
    #[arg(value_name = "ACTION")]
    action: ActionArg,
    /// The topic name, the topic filter, or the client id.
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// At this quality of service.
    #[arg(long, value_name = "QOS", value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: Option<u8>,
    /// With the retain flag.
    #[arg(long)]
    retain: bool,
    #[command(flatten)]
    whom: Whom,
}

/// What policy decides about.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ActionArg {
    Connect,
    Publish,
    Subscribe,
}

/// About whom.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// A device id or an address; everybody when nothing is said.
    #[arg(value_name = "ID|ADDRESS")]
    whose: Option<String>,
    /// The certificate with this serial number.
    #[arg(long, value_name = "HEX", value_parser = serial, conflicts_with = "whose")]
    serial: Option<Serial>,
    /// The certificate with this SHA-256.
    #[arg(long, value_name = "HEX", value_parser = key_id)]
    #[arg(conflicts_with_all = ["whose", "serial"])]
    sha256: Option<KeyId>,
    #[command(flatten)]
    whom: Whom,
}

pub(crate) fn subject(text: &str) -> Result<Subject, String> {
    let expected = || "a device id, or app/ and the id of an application, is needed".to_owned();
    Subject::parse(text).ok_or_else(expected)
}

fn serial(text: &str) -> Result<Serial, String> {
    Serial::parse(text).ok_or_else(|| "a serial number has hexadecimal digits".to_owned())
}

fn key_id(text: &str) -> Result<KeyId, String> {
    let octets = serde_json::from_value(serde_json::Value::String(text.to_owned()));
    octets.map_err(|_| "hexadecimal digits are needed, with or without colons".to_owned())
}

/// The reasons that we give, so that `--help` lists them.
pub(crate) fn reasons() -> impl clap::builder::TypedValueParser<Value = RevocationReason> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(RevocationReason::GIVEN.map(RevocationReason::as_str))
        .map(|text| RevocationReason::parse(&text).unwrap_or(RevocationReason::Unspecified))
}

pub(crate) fn run(command: AdminCommand) -> Result<(), Failure> {
    let (request, whom) = request(command)?;
    match request {
        Request::Sessions(filter) => all_sessions(filter, &whom),
        request => whom.print(&whom.ask(&request)?),
    }
}

fn request(command: AdminCommand) -> Result<(Request, Whom), Failure> {
    Ok(match command {
        AdminCommand::Status(whom) => (Request::Status, whom),
        AdminCommand::Reload(whom) => (Request::Reload, whom),
        AdminCommand::Unknown(whom) => (Request::Unknown(UnknownFilter::default()), whom),
        AdminCommand::Revoke(args) => {
            let (reason, time) = (args.reason, None);
            (
                Request::Revoke(Revoke {
                    target: args.target()?,
                    reason,
                    time,
                }),
                args.whom,
            )
        }
        AdminCommand::Sessions(args) => {
            let filter = SessionFilter {
                device: args.device,
                client: args.client,
                connected: (args.connected || args.offline).then_some(args.connected),
                ..SessionFilter::default()
            };
            (Request::Sessions(filter), args.whom)
        }
        AdminCommand::Explain(args) => {
            let action = match args.action {
                ActionArg::Connect => Action::Connect,
                ActionArg::Publish => Action::Publish,
                ActionArg::Subscribe => Action::Subscribe,
            };
            let (device, topic, qos, retain) = (args.id, args.topic, args.qos, args.retain);
            (
                Request::Explain(Explain {
                    device,
                    action,
                    topic,
                    qos,
                    retain,
                }),
                args.whom,
            )
        }
        AdminCommand::Why(args) => (Request::Why(args.about()), args.whom),
    })
}

impl RevokeArgs {
    fn target(&self) -> Result<Target, Failure> {
        match (&self.id, &self.issuer, self.serial) {
            (Some(id), _, _) => Ok(Target::Device(id.clone())),
            (None, Some(issuer), Some(serial)) => Ok(Target::Certificate {
                issuer: issuer.clone(),
                serial,
            }),
            (None, _, _) => Err(Failure::new(
                USAGE,
                "name a device, or --issuer and --serial",
            )),
        }
    }
}

impl WhyArgs {
    fn about(&self) -> Why {
        if let Some(serial) = self.serial {
            return Why::Serial(serial);
        }
        if let Some(sha256) = &self.sha256 {
            return Why::Sha256(sha256.clone());
        }
        match &self.whose {
            None => Why::Anybody,
            Some(text) => match text.parse::<IpAddr>() {
                Ok(address) => Why::Address(address),
                Err(_) => Why::Device(text.clone()),
            },
        }
    }
}

/// All pages, one after the other.
fn all_sessions(mut filter: SessionFilter, whom: &Whom) -> Result<(), Failure> {
    let mut all: Option<certs::admin::SessionPage> = None;
    loop {
        let answer = whom.ask(&Request::Sessions(filter.clone()))?;
        let Answer::Sessions(page) = answer else {
            return whom.print(&answer);
        };
        let more = page.more.clone();
        match &mut all {
            None => all = Some(page),
            Some(all) => all.sessions.extend(page.sessions),
        }
        // A page that ends where it began would be asked for without end.
        if more.is_none() || more == filter.after {
            break;
        }
        filter.after = more;
    }
    let Some(mut all) = all else { return Ok(()) };
    all.more = None;
    whom.print(&Answer::Sessions(all))
}

impl Socket {
    pub(crate) fn path(&self) -> PathBuf {
        match (&self.admin, &self.dir) {
            (Some(admin), _) => admin.clone(),
            (None, dir) => Layout::new(dir.clone().unwrap_or_default()).admin_socket(),
        }
    }
}

impl Whom {
    fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        ask(&self.socket.path(), request).map_err(|error: AskError| error.failure())
    }

    fn print(&self, answer: &Answer) -> Result<(), Failure> {
        if self.json {
            println!("{}", words::json(answer)?);
        } else {
            print!("{}", words::words(answer));
        }
        words::failure(answer).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::admin::tests::fake_broker;
    use certs::admin::{Receipt, SessionPage, SessionRow, write_answer};
    use clap::Parser;
    use std::os::unix::net::UnixListener;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: AdminCommand,
    }

    fn parse(line: &str) -> Result<(Request, Whom), clap::Error> {
        let words = std::iter::once("broker").chain(line.split(' '));
        Program::try_parse_from(words).map(|program| request(program.command).unwrap())
    }

    #[test]
    fn what_is_typed_is_what_is_asked_for() {
        for (line, expected) in [
            ("status", r#""status""#),
            ("reload", r#""reload""#),
            (
                "revoke dev-1 --reason key-compromise",
                r#"{"revoke":{"target":{"device":"dev-1"},"reason":"key-compromise"}}"#,
            ),
            (
                "revoke --issuer AA:BB --serial 0A",
                concat!(
                    r#"{"revoke":{"target":{"certificate":{"issuer":"aabb","serial":"0a"}},"#,
                    r#""reason":"unspecified"}}"#,
                ),
            ),
            ("sessions", r#"{"sessions":{}}"#),
            (
                "sessions --device app/a --client a:1 --offline",
                r#"{"sessions":{"device":"app/a","client":"a:1","connected":false}}"#,
            ),
            (
                "explain dev-1 subscribe a/+ --qos 1",
                r#"{"explain":{"device":"dev-1","action":"subscribe","topic":"a/+","qos":1}}"#,
            ),
            ("why", r#"{"why":"anybody"}"#),
            ("why dev-1", r#"{"why":{"device":"dev-1"}}"#),
            ("why ::1", r#"{"why":{"address":"::1"}}"#),
            ("why --serial 0a", r#"{"why":{"serial":"0a"}}"#),
            ("unknown", r#"{"unknown":{}}"#),
        ] {
            let (request, whom) = parse(&format!("{line} --dir x")).unwrap();
            assert_eq!(serde_json::to_string(&request).unwrap(), expected, "{line}");
            assert_eq!(whom.socket.path(), PathBuf::from("x/broker/admin.sock"));
        }
        let (_, whom) = parse("status --admin /run/a.sock --json").unwrap();
        assert_eq!(
            (whom.socket.path(), whom.json),
            (PathBuf::from("/run/a.sock"), true)
        );
    }

    #[test]
    fn what_makes_no_sense_is_a_mistake_of_usage() {
        for line in [
            "status",
            "status --dir x --admin y",
            "revoke --dir x",
            "revoke + --dir x",
            "revoke dev-1 --reason certificate-hold --dir x",
            "revoke dev-1 --issuer aa --serial 0a --dir x",
            "revoke --serial 0a --dir x",
            "revoke --issuer aa --dir x",
            "explain dev-1 dance a --dir x",
            "explain dev-1 publish a --qos 3 --dir x",
            "sessions --connected --offline --dir x",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn pages_are_asked_for_until_there_is_no_more() {
        use std::io::{BufRead, BufReader, Write};
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let broker = std::thread::spawn(move || {
            let pages = [("a", Some("b")), ("b", Some("b")), ("never", None)];
            let mut asked = Vec::new();
            for (id, more) in pages.into_iter().take(2) {
                let (stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                asked.push(line);
                let sessions = vec![session(id)];
                let more = more.map(str::to_owned);
                let page = SessionPage {
                    total: 2,
                    sessions,
                    more,
                };
                (&stream)
                    .write_all(&write_answer(Ok(Answer::Sessions(page))).unwrap())
                    .unwrap();
            }
            asked
        });
        let whom = Whom {
            socket: Socket {
                admin: Some(path),
                dir: None,
            },
            json: true,
        };
        all_sessions(SessionFilter::default(), &whom).unwrap();
        let asked = broker.join().unwrap();
        assert!(
            !asked[0].contains("after") && asked[1].contains(r#""after":"b""#),
            "{asked:?}"
        );
    }

    fn session(id: &str) -> SessionRow {
        SessionRow {
            device: Subject::parse(id).unwrap(),
            client: id.to_owned(),
            address: None,
            since: 1,
            mqtt: "5.0".to_owned(),
            serial: None,
            not_after: None,
            subscriptions: 0,
            queued: 0,
        }
    }

    /// What a broker says that has revoked `dev-1`.
    pub(super) fn revoked() -> Receipt {
        Receipt {
            target: Some(Target::Device(Subject::parse("dev-1").unwrap())),
            reason: RevocationReason::KeyCompromise,
            time: 1_795_331_658,
            list_number: None,
            already: false,
            sessions_closed: 1,
            milliseconds: 31,
            durable: true,
        }
    }

    #[test]
    fn a_receipt_comes_from_the_broker() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("admin.sock");
        let said = revoked();
        let line = write_answer(Ok(Answer::Revoked(said.clone()))).unwrap();
        let broker = fake_broker(&path, line);
        let command = format!(
            "revoke dev-1 --reason key-compromise --admin {}",
            path.display()
        );
        let (request, whom) = parse(&command).unwrap();
        assert_eq!(whom.ask(&request).unwrap(), Answer::Revoked(said));
        assert_eq!(broker.join().unwrap(), request);
    }
}
