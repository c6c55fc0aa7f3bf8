//! The language in which an operator's program talks with a running broker over its admin socket.
//!
//! One line of JSON each way, of bounded length: a [`Request`], and an [`Answer`] or an
//! [`AdminError`]. A connection may carry several, one after the other. Who may ask is for the
//! socket's permissions to say (mode 0600). A field that is not known is an error, so that nobody
//! believes to have said something; whoever adds one that must be understood raises [`VERSION`].

mod answer;
mod line;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{
    AdminError, Answer, Cut, Decision, ErrorCode, Explanation, ListState, ListStatus,
    ListenerStatus, LossRow, Outcome, Receipt, RefusalRow, RegistryStatus, Reloaded, ReloadedPart,
    RuleReference, SessionPage, SessionRow, Status, UnknownPage, UnknownRow,
};
pub use line::{
    ANSWER_LEN_MAX, InvalidLine, REQUEST_LEN_MAX, read_answer, read_request, write_answer,
    write_request,
};
pub use request::{
    Action, Explain, KeyId, NewPolicy, PAGE_LEN_MAX, Request, Revoke, SessionFilter, Target,
    UnknownFilter, Why,
};

/// The version of this language.
pub const VERSION: u32 = 1;
