//! §3.8 SUBSCRIBE to §3.11 UNSUBACK, §4.7 topics, §4.8 subscriptions.
//!
//! Who has subscribed gets what matches, once, and nobody else does.

mod matching;
mod options;
mod overlap;
mod shared;
mod suback;
mod unsubscribe;
