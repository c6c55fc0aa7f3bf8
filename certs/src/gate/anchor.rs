//! Anchor: an authority whose word counts, and for whom it may speak.
//!
//! One id is one device: anchors of several trust domains must not be able to name the same.

use std::sync::Arc;

use super::name::IdFrom;
use crate::refusal::Refusal;
use crate::subject::{Subject, TrustDomain};

/// An authority whose certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// What it is called in the configuration, if anything.
    pub name: Option<Arc<str>>,
    /// The identifier of its key.
    pub key_id: Box<[u8]>,
    /// The trust domain it speaks for.
    pub trust_domain: TrustDomain,
    /// How an id is read from the certificates below it.
    pub id_from: IdFrom,
    /// What each id begins with; nothing where there is one trust domain only.
    pub id_prefix: Box<str>,
}

impl Anchor {
    /// Whether it could name a device that `other` names, too. Anchors of one trust domain may:
    /// there an id is the same device, whoever of them has issued to it.
    pub fn collides_with(&self, other: &Self) -> bool {
        let (one, two) = (&*self.id_prefix, &*other.id_prefix);
        self.trust_domain != other.trust_domain && (one.starts_with(two) || two.starts_with(one))
    }

    /// Checks that a name is one of those it may give.
    pub(super) fn check_name(&self, subject: Subject) -> Result<Subject, Refusal> {
        if subject.id.as_str().starts_with(&*self.id_prefix) {
            return Ok(subject);
        }
        Err(Refusal::ForeignId {
            id: subject.id,
            prefix: self.id_prefix.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(trust_domain: &str, id_prefix: &str) -> Anchor {
        Anchor {
            name: None,
            key_id: Box::default(),
            trust_domain: TrustDomain::parse(trust_domain).unwrap(),
            id_from: IdFrom::Uri,
            id_prefix: id_prefix.into(),
        }
    }

    #[test]
    fn anchors_of_several_trust_domains_collide_unless_their_prefixes_tell_them_apart() {
        let cases = [
            (("a.example", ""), ("a.example", ""), false),
            (("a.example", ""), ("b.example", ""), true),
            (("a.example", "a-"), ("b.example", ""), true),
            (("a.example", "a-"), ("b.example", "a-b"), true),
            (("a.example", "a-"), ("b.example", "b-"), false),
        ];
        for (one, two, collide) in cases {
            let (one, two) = (anchor(one.0, one.1), anchor(two.0, two.1));
            assert_eq!(one.collides_with(&two), collide, "{one:?} {two:?}");
            assert_eq!(two.collides_with(&one), collide, "{two:?} {one:?}");
        }
    }
}
