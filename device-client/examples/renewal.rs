//! A device that gets its first certificate by a one-time token, and renews it for as long as it
//! lives.
//!
//! ```sh
//! countersign ca serve --dir certs/dev
//! countersign token create sensor-1 --dir certs/dev
//! cargo run -p countersign-device-client --example renewal -- \
//!   sensor-1 home certs/dev/ca.pem https://localhost:8443 TOKEN
//! ```

use std::error::Error;
use std::fs;
use std::pin::pin;
use std::time::Duration;

use device_client::{Device, Enrolment, Identity, Renewal};
use tokio::time::interval;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [id, home, ca, server, token, broker @ ..] = arguments.as_slice() else {
        return Err("usage: renewal ID HOME CA_PEM ENROLMENT_SERVER TOKEN [BROKER]".into());
    };
    let broker = broker.first().map_or("mqtts://localhost:8883", |it| it);

    // The second time there is an identity, and the token is not used.
    let enrolment = Enrolment::by_est(server, id, token, &fs::read(ca)?)?;
    let identity = Identity::open_or_enrol(home, &enrolment).await?;
    let device = Device::builder(broker, identity)?
        .renew(Renewal::by_est(server)?)
        .connect()
        .await?;
    let (mut told, mut look) = (None, interval(Duration::from_secs(1)));
    // One for all turns: a signal that comes while we are busy is not missed.
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = look.tick() => {
                let certificate = device.status().certificate;
                let failure = certificate.last_failure.map(|why| why.to_string());
                let now = Some((certificate.not_after, certificate.renewals, failure));
                if now != told {
                    println!("good until {:?} since 1970: {now:?}", certificate.not_after);
                    told = now;
                }
            }
            _ = &mut stop => break,
        }
    }
    device.disconnect(Duration::from_secs(5)).await?;
    Ok(())
}
