//! Whom the certificate of a broker must name.

use rustls_pki_types::ServerName;

/// The host of `host:port`, with or without the brackets of an IPv6 address.
pub(crate) fn server_name(address: &str) -> Option<ServerName<'static>> {
    let (host, _) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_stands_before_the_last_colon() {
        for (address, expected) in [
            ("localhost:8883", Some("localhost")),
            ("127.0.0.1:8883", Some("127.0.0.1")),
            ("[::1]:8883", Some("::1")),
            ("localhost", None),
            (":8883", None),
            ("a b:8883", None),
        ] {
            let name = server_name(address).map(|name| name.to_str().into_owned());
            assert_eq!(name.as_deref(), expected, "{address}");
        }
    }
}
