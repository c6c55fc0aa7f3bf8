//! An error and all its causes on one line, as people and logs are told.

use std::error::Error;
use std::fmt;

/// An error and all its causes: `what failed: why: why that`.
#[derive(Clone, Copy, Debug)]
pub struct WithCauses<'a>(pub &'a dyn Error);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Told {
        what: &'static str,
        #[source]
        why: Option<Box<Told>>,
    }

    #[test]
    fn each_cause_follows_what_it_caused() {
        let mut told = Told {
            what: "no disk",
            why: None,
        };
        assert_eq!(WithCauses(&told).to_string(), "no disk");
        for what in ["no log", "no start"] {
            told = Told {
                what,
                why: Some(Box::new(told)),
            };
        }
        assert_eq!(WithCauses(&told).to_string(), "no start: no log: no disk");
    }
}
