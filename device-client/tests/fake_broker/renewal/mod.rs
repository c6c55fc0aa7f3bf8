//! Certificates that an enrolment server gives a device, the first and those that follow.

mod enrolling;
mod est;
mod renewing;
mod trusting;
