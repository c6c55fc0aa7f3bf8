//! rumqttd that demands client certificates: a peer for `bench/compare`.
//!
//!     bench-rumqttd 127.0.0.1:PORT CA.pem CERT.pem KEY.pem
//!
//! Its settings are those that let it run fastest under these loads: no pause between two
//! connections, and room for what is on its way.

use rumqttd::{Broker, Config};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, ca, cert, key] = &arguments[..] else {
        eprintln!("usage: bench-rumqttd HOST:PORT CA.pem CERT.pem KEY.pem");
        return ExitCode::from(2);
    };
    let config: Config = match toml::from_str(&config(listen, [ca, cert, key])) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("bench-rumqttd: {error}");
            return ExitCode::FAILURE;
        }
    };
    match Broker::new(config).start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-rumqttd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn config(listen: &str, [ca, cert, key]: [&str; 3]) -> String {
    format!(
        r#"
        id = 0
        [router]
        id = 0
        max_connections = 20000
        max_outgoing_packet_count = 200
        max_segment_size = 104857600
        max_segment_count = 10
        [v5.1]
        name = "bench"
        listen = {listen:?}
        next_connection_delay_ms = 0
        [v5.1.tls]
        capath = {ca:?}
        certpath = {cert:?}
        keypath = {key:?}
        [v5.1.connections]
        connection_timeout_ms = 60000
        max_payload_size = 2000000
        max_inflight_count = 1000
        "#
    )
}
