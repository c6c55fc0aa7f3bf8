//! One address for a broker that listens at another one each time it is started.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes on what comes, while there is somebody to pass it on to.
pub(crate) struct Relay {
    address: SocketAddr,
    broker: Arc<Mutex<SocketAddr>>,
}

impl Relay {
    pub(crate) fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let broker = Arc::new(Mutex::new(broker));
        let target = Arc::clone(&broker);
        thread::spawn(move || {
            for device in listener.incoming() {
                let target = *target.lock().unwrap();
                // A broker that is gone is a connection that ends at once.
                if let Ok(broker) = TcpStream::connect(target) {
                    join(device.unwrap(), broker).unwrap();
                }
            }
        });
        Self { address, broker }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtts://{}", self.address)
    }

    /// The broker has moved.
    pub(crate) fn point_to(&self, broker: SocketAddr) {
        *self.broker.lock().unwrap() = broker;
    }
}

fn join(one: TcpStream, other: TcpStream) -> io::Result<()> {
    for (from, to) in [(one.try_clone()?, other.try_clone()?), (other, one)] {
        to.set_nodelay(true)?;
        thread::spawn(move || {
            let _ = io::copy(&mut &from, &mut &to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
