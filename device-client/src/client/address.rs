//! Where the broker is: `mqtts://host:port`, or `host:port`.
//!
//! There is no scheme without TLS, and no user or password in an address: the certificate is the
//! identity.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::ServerName;
use thiserror::Error;

/// The port of MQTT over TLS, as registered with IANA.
const PORT_DEFAULT: u16 = 8883;

/// The address of a broker.
///
/// ```
/// # use device_client::BrokerAddress;
/// let address: BrokerAddress = "mqtts://localhost:8883".parse().unwrap();
/// assert_eq!(address, "localhost".parse().unwrap());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    host: String,
    port: u16,
}

/// Why a text is no address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// A scheme other than `mqtts`.
    #[error("`{0}://` is not supported: brokers are addressed as mqtts://HOST:PORT")]
    Scheme(String),
    /// A user name or password.
    #[error("an address has no user or password: the certificate is the identity")]
    UserInfo,
    /// A path, query or fragment.
    #[error("an address ends with the port: mqtts://HOST:PORT")]
    Path,
    /// The host is missing or can be none.
    #[error("`{0}` is not a host name or an IP address")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("`{0}` is not a port number")]
    Port(String),
}

impl BrokerAddress {
    /// The host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As [`str::parse`], where another port is meant by an address without one.
    pub(crate) fn parse(text: &str, port_default: u16) -> Result<Self, InvalidAddress> {
        let rest = match text.split_once("://") {
            None | Some(("mqtts", _)) => text.strip_prefix("mqtts://").unwrap_or(text),
            Some((scheme, _)) => return Err(InvalidAddress::Scheme(scheme.into())),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(InvalidAddress::UserInfo);
        }
        if authority.contains(['/', '?', '#']) {
            return Err(InvalidAddress::Path);
        }
        let (host, port) = split_port(authority, port_default)?;
        let address = Self {
            host: host.into(),
            port,
        };
        address.server_name().map(|_| address)
    }

    /// Names of hosts are the same in capital letters and in small ones.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }

    /// The name that the broker's certificate must bear.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, InvalidAddress> {
        server_name(&self.host)
    }
}

/// The name or IP address that a broker's certificate must bear.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, InvalidAddress> {
    ServerName::try_from(name.to_owned()).map_err(|_| InvalidAddress::Host(name.into()))
}

impl FromStr for BrokerAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        Self::parse(text, PORT_DEFAULT)
    }
}

/// The host, without brackets, and the port.
pub(crate) fn split_port(
    authority: &str,
    port_default: u16,
) -> Result<(&str, u16), InvalidAddress> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or_else(|| InvalidAddress::Host(authority.into()))?;
        return match port {
            "" => Ok((host, port_default)),
            port => Ok((host, parse_port(port.strip_prefix(':').unwrap_or(port))?)),
        };
    }
    match authority.split_once(':') {
        None => Ok((authority, port_default)),
        // An IPv6 address without brackets, hence without a port.
        Some((_, rest)) if rest.contains(':') => Ok((authority, port_default)),
        Some((host, port)) => Ok((host, parse_port(port)?)),
    }
}

fn parse_port(text: &str) -> Result<u16, InvalidAddress> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        Ok(_) | Err(_) => Err(InvalidAddress::Port(text.into())),
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "mqtts://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "mqtts://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_addressed_with_and_without_scheme_and_port() {
        for (text, host, port) in [
            ("mqtts://localhost:8883", "localhost", 8883),
            ("mqtts://broker.example/", "broker.example", 8883),
            ("localhost:1234", "localhost", 1234),
            ("10.0.0.1", "10.0.0.1", 8883),
            ("[::1]:99", "::1", 99),
            ("mqtts://[::1]", "::1", 8883),
            ("::1", "::1", 8883),
        ] {
            let address: BrokerAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        let text = String::from;
        for (address, expected) in [
            ("mqtt://localhost", InvalidAddress::Scheme(text("mqtt"))),
            ("wss://localhost", InvalidAddress::Scheme(text("wss"))),
            ("mqtts://me:secret@localhost", InvalidAddress::UserInfo),
            ("localhost:8883/path", InvalidAddress::Path),
            ("", InvalidAddress::Host(text(""))),
            (":8883", InvalidAddress::Host(text(""))),
            ("two words", InvalidAddress::Host(text("two words"))),
            ("[::1", InvalidAddress::Host(text("[::1"))),
            ("localhost:0", InvalidAddress::Port(text("0"))),
            ("localhost:65536", InvalidAddress::Port(text("65536"))),
            ("localhost:", InvalidAddress::Port(text(""))),
        ] {
            assert_eq!(address.parse::<BrokerAddress>(), Err(expected), "{address}");
        }
    }
}
