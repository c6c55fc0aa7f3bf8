//! New configuration files: what is given is set, all else stands there as a comment.
//!
//! Only the settings themselves say what there is, so that no example can lag behind.

use super::choice::quoted;
use super::file::{
    Admin, Anchor, Audit, Limits, Listener, Log, Policy, Registry, Revocation, Storage,
};
use super::section::Section;
use std::net::{Ipv4Addr, SocketAddr};

const PREAMBLE: &str = "\
# Configuration of a Countersign broker.
#
# A setting that is commented out is at the value it shows. Paths begin in the folder of this
# file. `countersign broker check --config FILE` names every mistake in it.
";

/// What a new configuration sets.
#[derive(Clone, Debug)]
pub struct NewConfig<'a> {
    /// Where devices connect.
    pub address: SocketAddr,
    /// The broker's certificate. All paths are as they are written in the file.
    pub certificate: &'a str,
    /// Its private key.
    pub key: &'a str,
    /// The certificate of the authority whose devices are trusted.
    pub anchor: &'a str,
    /// The trust domain of that authority.
    pub trust_domain: &'a str,
    /// The file or directory of revocation lists.
    pub revocation_lists: &'a str,
    /// The policy file.
    pub policy: &'a str,
    /// The data directory.
    pub directory: &'a str,
    /// The socket for operators.
    pub admin_socket: &'a str,
    /// The audit log.
    pub audit: &'a str,
}

impl NewConfig<'_> {
    /// The text of the file.
    pub fn to_toml(&self) -> String {
        let address = quoted(&self.address.to_string());
        [
            PREAMBLE.to_owned(),
            section::<Listener>(&[
                ("address", address),
                ("certificate", quoted(self.certificate)),
                ("key", quoted(self.key)),
            ]),
            section::<Anchor>(&[
                ("file", quoted(self.anchor)),
                ("trust_domain", quoted(self.trust_domain)),
            ]),
            section::<Revocation>(&[("lists", quoted(self.revocation_lists))]),
            section::<Registry>(&[]),
            section::<Policy>(&[("file", quoted(self.policy))]),
            section::<Storage>(&[("directory", quoted(self.directory))]),
            section::<Limits>(&[]),
            section::<Admin>(&[("socket", quoted(self.admin_socket))]),
            section::<Log>(&[]),
            section::<Audit>(&[("file", quoted(self.audit))]),
        ]
        .join("\n")
    }
}

/// A configuration that shows every setting.
pub fn example() -> String {
    let example = NewConfig {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8883)),
        certificate: "broker/cert.pem",
        key: "broker/key.pem",
        anchor: "ca.pem",
        trust_domain: "fleet.example",
        revocation_lists: "crl",
        policy: "policy.toml",
        directory: "data",
        admin_socket: "admin.sock",
        audit: "audit.jsonl",
    };
    example.to_toml()
}

fn section<S: Section>(set: &[(&str, String)]) -> String {
    let mut lines = comment(S::ABOUT);
    lines.push(S::HEADER.to_owned());
    for setting in S::default().settings() {
        lines.extend(comment(setting.about));
        let given = set
            .iter()
            .find(|(key, _)| *key == setting.key)
            .map(|(_, value)| value);
        lines.extend(match (given, setting.default) {
            (Some(value), _) => Some(format!("{} = {value}", setting.key)),
            (None, Some(default)) => Some(format!("#{} = {default}", setting.key)),
            (None, None) => None,
        });
    }
    lines.push(String::new());
    lines.join("\n")
}

fn comment(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| format!("#{line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LogLevel};
    use std::path::Path;

    fn parse(text: &str) -> Config {
        Config::parse(Path::new("broker.toml"), text).unwrap()
    }

    #[test]
    fn the_committed_example_is_the_generated_one() {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/countersign.example.toml");
        if std::env::var_os("WRITE_EXAMPLE").is_some() {
            std::fs::write(committed, example()).unwrap();
        }
        let text = std::fs::read_to_string(committed).unwrap_or_default();
        assert!(
            text == example(),
            "run this test with WRITE_EXAMPLE=1 and commit {committed}"
        );
    }

    #[test]
    fn the_values_shown_in_comments_are_the_defaults() {
        let uncommented = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
            _ => line.to_owned(),
        };
        let text: Vec<String> = example().lines().map(uncommented).collect();
        let text = text.join("\n");
        assert!(!example().contains("\ntls_min") && text.contains("\ntls_min"));
        assert_eq!(parse(&text), parse(&example()));
    }

    #[test]
    fn a_new_configuration_says_what_it_was_given() {
        let text = NewConfig {
            address: "[::1]:0".parse().unwrap(),
            certificate: "b/c \"1\".pem",
            key: "b/k.pem",
            anchor: "a\\b.pem",
            trust_domain: "dev.local",
            revocation_lists: "crl",
            policy: "p.toml",
            directory: "d",
            admin_socket: "a.sock",
            audit: "a.jsonl",
        }
        .to_toml();
        let config = parse(&text);
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(config.listeners[0].address, "[::1]:0".parse().unwrap());
        assert_eq!(config.listeners[0].certificate, Path::new("b/c \"1\".pem"));
        assert_eq!(config.listeners[0].key, Path::new("b/k.pem"));
        assert_eq!(config.anchors.len(), 1);
        assert_eq!(config.anchors[0].file, Path::new("a\\b.pem"));
        assert_eq!(config.anchors[0].trust_domain.as_str(), "dev.local");
        assert_eq!(config.revocation.lists, [Path::new("crl")]);
        assert_eq!(config.policy.as_deref(), Some(Path::new("p.toml")));
        assert_eq!(config.admin_socket.as_deref(), Some(Path::new("a.sock")));
        assert_eq!(config.storage.directory.as_deref(), Some(Path::new("d")));
        assert_eq!(config.log.level, LogLevel::Info);
    }
}
