//! Requests and their answers (MQTT 5.0 §4.10): one topic for the answers, known by their
//! correlation data.
//!
//! An answer goes to the request it belongs to or to nobody; a request that nobody waits for any
//! more leaves nothing behind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::debug;

use super::{Device, Subscription};
use crate::chance::chance;
use crate::error::{PublishError, SubscribeError};
use crate::message::{Message, Publish, QoS};
use crate::wire::Version;

/// Asks others and waits for their answers.
///
/// ```no_run
/// # use device_client::{Device, Publish, QoS};
/// # use std::time::Duration;
/// # async fn run(device: &Device) -> Result<(), Box<dyn std::error::Error>> {
/// let requester = device.requester("devices/dev-1/answers").await?;
/// let question = Publish::new("clock/now", "").qos(QoS::AtLeastOnce);
/// let answer = requester.request(question, Duration::from_secs(5)).await?;
/// println!("{:?}", answer.payload);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Requester {
    device: Device,
    answers: String,
    waiting: Arc<Waiting>,
    task: AbortHandle,
}

/// Who waits for the answer with this correlation data.
#[derive(Debug)]
struct Waiting(Mutex<Questions>);

#[derive(Debug)]
struct Questions {
    /// Drawn once, so that a late answer to an earlier run is nobody's.
    run: u32,
    asked: u32,
    open: HashMap<Bytes, oneshot::Sender<Message>>,
    /// Why there will be no answers any more.
    ended: Option<RequestError>,
}

/// Why a request has no answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not published.
    #[error("the request could not be published")]
    Publish(#[from] PublishError),
    /// No answer came in time. The request may have arrived.
    #[error("no answer came within {within:?}")]
    TimedOut {
        /// How long was waited.
        within: Duration,
    },
    /// The subscription to the answers has ended.
    #[error("no answers come any more")]
    Ended(#[source] Option<SubscribeError>),
}

impl Device {
    /// Subscribes to the topic `answers`, to which others are asked to answer. It must be this
    /// device's own: what others hear there is no secret to them.
    ///
    /// # Errors
    /// As [`Device::subscribe`].
    pub async fn requester(&self, answers: impl Into<String>) -> Result<Requester, SubscribeError> {
        if self.version == Version::V3_1_1 {
            return Err(SubscribeError::NeedsMqtt5 { what: "a request" });
        }
        let answers = answers.into();
        let subscription = self.subscribe(answers.clone(), QoS::AtLeastOnce).await?;
        let waiting = Arc::new(Waiting(Mutex::new(Questions {
            run: chance(),
            asked: 0,
            open: HashMap::new(),
            ended: None,
        })));
        let task = tokio::spawn(hand_out(subscription, Arc::clone(&waiting)));
        Ok(Requester {
            device: self.clone(),
            answers,
            waiting,
            task: task.abort_handle(),
        })
    }
}

impl Requester {
    /// Publishes a request and waits for its answer, for as long as `within`, after which the
    /// request itself expires too. Its response topic and correlation data are ours to set.
    ///
    /// # Errors
    /// [`RequestError`]: it could not be published, or no answer came.
    pub async fn request(
        &self,
        request: Publish,
        within: Duration,
    ) -> Result<Message, RequestError> {
        let (correlation, answer) = self.waiting.ask()?;
        let question = Question {
            waiting: &self.waiting,
            correlation,
        };
        let request = request
            .response_topic(self.answers.clone())
            .correlation_data(question.correlation.clone())
            .expiry(within);
        let exchange = async {
            self.device.publish_with(request).await?;
            answer.await.map_err(|_| self.waiting.ended())
        };
        match timeout(within, exchange).await {
            Ok(result) => result,
            Err(_) => Err(RequestError::TimedOut { within }),
        }
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Message {
    /// The answer to this message, if it is a request.
    pub fn answer(&self, payload: impl Into<Bytes>) -> Option<Publish> {
        let topic = self.properties.response_topic.clone()?;
        let answer = Publish::new(topic, payload).qos(self.qos);
        Some(match &self.properties.correlation_data {
            Some(data) => answer.correlation_data(data.clone()),
            None => answer,
        })
    }
}

/// A request that somebody waits for.
struct Question<'a> {
    waiting: &'a Waiting,
    correlation: Bytes,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.waiting.lock().open.remove(&self.correlation);
    }
}

impl Waiting {
    fn ask(&self) -> Result<(Bytes, oneshot::Receiver<Message>), RequestError> {
        let mut questions = self.lock();
        if let Some(ended) = &questions.ended {
            return Err(ended.clone());
        }
        questions.asked = questions.asked.wrapping_add(1);
        let correlation = Bytes::from(format!("{:08x}{:08x}", questions.run, questions.asked));
        let (answer, answered) = oneshot::channel();
        questions.open.insert(correlation.clone(), answer);
        Ok((correlation, answered))
    }

    fn ended(&self) -> RequestError {
        self.lock()
            .ended
            .clone()
            .unwrap_or(RequestError::Ended(None))
    }

    fn lock(&self) -> MutexGuard<'_, Questions> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives each answer to who waits for it, to the end of the subscription.
async fn hand_out(mut answers: Subscription, waiting: Arc<Waiting>) {
    let error = loop {
        match answers.next().await {
            Some(Ok(answer)) => {
                let data = answer.properties.correlation_data.as_ref();
                let question = data.and_then(|data| waiting.lock().open.remove(data));
                if let Some(question) = question {
                    let _ = question.send(answer);
                } else {
                    debug!(topic = ?answer.topic, "an answer nobody waits for");
                }
            }
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    let mut questions = waiting.lock();
    questions.ended = Some(RequestError::Ended(error));
    questions.open.clear();
}
