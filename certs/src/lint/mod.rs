//! What is wrong with a certificate: each breach of RFC 5280, or of our own profile, by its clause.
//!
//! Unlike the gate, which stops at the first reason to refuse, this goes on to the end: whoever
//! makes certificates wants to hear everything. No signature is verified and no clock is read. A
//! clean certificate is one that says what it should, not one to be believed.

mod body;
mod extensions;
mod names;
mod profile;
#[cfg(test)]
mod spoil;
#[cfg(test)]
mod tests;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub(crate) use self::profile::wrong_names;
use crate::profile::{InvalidProfile, Role};

/// A breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LintFinding {
    /// The name of the rule, for programs.
    pub rule: &'static str,
    /// Where the rule stands.
    pub clause: Box<str>,
    /// What is wrong, for people.
    pub what: Box<str>,
}

/// Lists all breaches of RFC 5280 in the certificate `der` and, when `role` is said, of the profile
/// of that role.
///
/// # Errors
/// [`InvalidProfile`] when the profile file does not say what a profile must.
pub fn lint(der: &[u8], role: Option<Role>) -> Result<Vec<LintFinding>, InvalidProfile> {
    let mut found = Found::default();
    match X509Certificate::from_der(der) {
        Ok(([], x509)) => {
            body::check(&x509, &mut found);
            names::check(&x509.tbs_certificate, &mut found);
            extensions::check(&x509.tbs_certificate, &mut found);
            if let Some(role) = role {
                profile::check(der, (&x509, role), &mut found)?;
            }
        }
        Ok(_) => found.add(
            "form",
            "RFC 5280 §4.1",
            "other data follows the certificate",
        ),
        Err(_) => found.add(
            "form",
            "RFC 5280 §4.1",
            "it is not one X.509 certificate in DER",
        ),
    }
    Ok(found.0)
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<LintFinding>);

impl Found {
    fn add(&mut self, rule: &'static str, clause: &str, what: impl Into<Box<str>>) {
        self.0.push(LintFinding {
            rule,
            clause: clause.into(),
            what: what.into(),
        });
    }

    /// Adds what does not hold: whether it does, the rule, its clause, and what is wrong then.
    fn add_broken(&mut self, rules: &[(bool, &'static str, &str, &str)]) {
        for (holds, rule, clause, what) in rules {
            if !holds {
                self.add(rule, clause, *what);
            }
        }
    }
}
