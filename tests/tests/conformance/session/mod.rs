//! §4.1 session state, §4.3 delivery, §4.4 delivery again, §4.9 flow control.
//!
//! A message accepted for a session is lost by no change of connection.

mod flow;
mod inbound;
mod outbound;
mod resend;
mod state;
