//! A greenhouse that says how warm it is and when its window opens. Which broker it is connected to
//! is for the caller to say: a program in the field, or a test.

use device_client::{Device, PublishError, QoS};

/// Above it the window opens, in degrees Celsius.
const TOO_WARM: f32 = 30.0;

/// One greenhouse.
#[derive(Debug)]
pub struct Greenhouse {
    id: String,
    device: Device,
}

impl Greenhouse {
    /// The greenhouse that is called `id`, over its connection.
    pub fn new(id: &str, device: Device) -> Self {
        let id = id.to_owned();
        Self { id, device }
    }

    /// Tells how warm it is, in degrees Celsius, and opens the window if that is too much.
    ///
    /// # Errors
    /// [`PublishError`] where the broker does not have it.
    pub async fn feel(&self, degrees: f32) -> Result<(), PublishError> {
        self.tell("temperature", &degrees.to_string()).await?;
        if degrees > TOO_WARM {
            self.tell("window", "open").await?;
        }
        Ok(())
    }

    async fn tell(&self, what: &str, words: &str) -> Result<(), PublishError> {
        let topic = format!("devices/{}/{what}", self.id);
        let said = words.to_owned();
        self.device.publish(topic, said, QoS::AtLeastOnce).await
    }
}
