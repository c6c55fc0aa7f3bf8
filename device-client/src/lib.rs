//! Speaks MQTT over mutual TLS for one device.
//!
//! What [`Device::publish`] accepted is answered: by the broker's acknowledgement, or by an error
//! that says why there is none. Connections come and go underneath; messages, subscriptions and
//! their order stay.
//!
//! ```no_run
//! use device_client::{Device, Identity, QoS};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::open("certs/dev/devices/dev-1")?;
//! let device = Device::connect("mqtts://localhost:8883", identity).await?;
//! let mut commands = device.subscribe("devices/dev-1/commands/#", QoS::AtLeastOnce).await?;
//! device.publish("devices/dev-1/state", "awake", QoS::AtLeastOnce).await?;
//! while let Some(command) = commands.next().await {
//!     println!("{}", command?.topic);
//! }
//! # Ok(())
//! # }
//! ```

pub mod blocking;
mod chance;
mod client;
mod disk;
mod error;
mod identity;
mod message;
mod outbox;
mod payload;
mod reason_code;
mod reconnect;
mod renewal;
mod topic;
mod wire;

pub use client::{
    BrokerAddress, BuildError, Builder, CertificateStatus, Device, InvalidAddress, Link, Receipt,
    ReceiveError, Received, RequestError, Requester, Status, Subscription, TypedSubscription,
};
/// What a [`Subscription`] is.
pub use futures_core::Stream;
/// Where a key is that stays in a token ([`Identity::from_pkcs11`]), and what opens it.
pub use pkcs11::{InvalidUri, KeyUri, Pin, TokenError};

pub use error::{ConnectError, DisconnectError, PublishError, SubscribeError};
pub use identity::{Identity, IdentityError, NoDevice, Validity};
pub use message::{Message, Presence, Properties, Publish, QoS, Will};
pub use outbox::disk::{OutboxError, WhenDamaged};
pub use outbox::{OutboxCounts, WhenFull};
pub use payload::{Encoding, PayloadError};
pub use reason_code::ReasonCode;
pub use reconnect::{Backoff, ServerReferences, WhenRefused};
pub use renewal::{
    EnrolError, Enrolment, Renewal, RenewalKey, RenewalTrust, TrustBundleError, Unfit,
};
pub use topic::InvalidTopic;
pub use wire::{Retained, Version};
