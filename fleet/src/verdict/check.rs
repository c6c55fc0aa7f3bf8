//! From what was noted to what has held.

use super::law::Distance;
use super::ledger::{Book, EXAMPLES_MAX, Ledger, Page, Way};
use super::rotation::Rotation;
use super::{Check, Invariant, Outcome};
use crate::scenario::Invariants;
use std::time::Duration;

/// What was found, before it is asked whether the scenario wants it.
struct Finding {
    outcome: Outcome,
    found: String,
    examples: Vec<String>,
}

impl Ledger {
    /// Every invariant, judged at the end.
    pub(crate) fn judge(&self, invariants: &Invariants) -> Vec<Check> {
        let book = self.book();
        let checks = Invariant::ALL.map(|invariant| {
            let finding = book.find(invariant, invariants);
            let is_left_out = invariants.left_out.contains(invariant.name());
            Check {
                invariant,
                outcome: if is_left_out {
                    Outcome::LeftOut
                } else {
                    finding.outcome
                },
                found: finding.found,
                examples: finding.examples,
            }
        });
        checks.into()
    }
}

impl Book {
    fn find(&self, invariant: Invariant, invariants: &Invariants) -> Finding {
        match invariant {
            Invariant::AcknowledgedArrives => self.arrivals(),
            Invariant::ExactlyOnce => self.doubles(),
            Invariant::NoLeak => {
                let heard = self.counts.heard;
                let found = format!("{} of {heard} messages came to others", self.leaks.count);
                judged(heard, (self.leaks.count, found), &self.leaks.examples)
            }
            Invariant::RevokedIsCut => self.cuts(invariants.revocation_max),
            Invariant::StrangersStayOut => {
                let tried = self.intruded + self.revocations().count() as u64;
                let found = format!(
                    "{} were let in, of {tried} who must not be",
                    self.let_in.count
                );
                judged(tried, (self.let_in.count, found), &self.let_in.examples)
            }
            Invariant::ReconnectLaw => self.law(),
            Invariant::RenewalWorks => self.renewals(),
            Invariant::NobodyIsSentAway => self.sent_away(),
            Invariant::SessionsAreKept => {
                let lost = &self.sessions_lost;
                let came = self.counts.connections;
                let found = format!("{} sessions were gone, in {came} connections", lost.count);
                judged(came, (lost.count, found), &lost.examples)
            }
            Invariant::EveryoneIsBack => self.missing(),
        }
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &Page)> {
        self.pages.iter().enumerate()
    }

    fn arrivals(&self) -> Finding {
        let mut examples = Vec::new();
        let (mut acknowledged, mut lost) = (0, 0);
        for (device, page) in self.numbered() {
            for (way, stream) in [(Way::Up, &page.up), (Way::Down, &page.down)] {
                acknowledged += stream.acknowledged.len();
                // What was for a device that is revoked need not come any more.
                if way == Way::Down && page.revocation.is_some() {
                    continue;
                }
                for number in stream.lost() {
                    lost += 1;
                    let of = match way {
                        Way::Up => "of",
                        Way::Down => "for",
                    };
                    examples.push(format!("message {number} {of} device {device}"));
                }
            }
        }
        let found = format!("{lost} of {acknowledged} acknowledged messages were lost");
        judged(acknowledged, (lost, found), &examples)
    }

    fn doubles(&self) -> Finding {
        let (mut heard, mut twice, mut examples) = (0, 0, Vec::new());
        for (device, page) in self.numbered().filter(|(_, page)| page.is_exactly_once()) {
            let down = if page.clones > 0 { 0 } else { page.down.twice };
            let of_device = u64::from(page.up.twice + down);
            heard += page.up.heard.len() + page.down.heard.len();
            twice += of_device;
            if of_device > 0 {
                examples.push(format!("{of_device} of device {device}"));
            }
        }
        let found = format!("{twice} of {heard} messages at QoS 2 were heard again");
        judged(heard, (twice, found), &examples)
    }

    fn revocations(&self) -> impl Iterator<Item = (usize, super::ledger::Revocation)> {
        self.numbered()
            .filter_map(|(device, page)| Some((device, page.revocation?)))
    }

    fn cuts(&self, max: Duration) -> Finding {
        let (mut revoked, mut late) = (0, Vec::new());
        let mut longest = Duration::ZERO;
        for (device, revocation) in self.revocations() {
            revoked += 1;
            let Some(cut) = revocation.cut else {
                late.push(format!("device {device} was never cut"));
                continue;
            };
            let took = cut.saturating_sub(revocation.asked);
            longest = longest.max(took);
            if took > max {
                late.push(format!("device {device} was cut after {took:.0?}"));
            }
        }
        let count = late.len();
        let found =
            format!("{count} of {revoked} later than {max:?}; the last cut took {longest:.1?}");
        judged(revoked, (count as u64, found), &late)
    }

    fn law(&self) -> Finding {
        let Some(law) = self.law.distance() else {
            let found = "too few attempts to see how they were spread".to_owned();
            return judged(0, (0, found), &[]);
        };
        let Distance { attempts, is, max } = law;
        let found = format!("{attempts} attempts are {is:.3} from full jitter, at most {max:.3}");
        judged(attempts, (u64::from(is > max), found), &[])
    }

    fn renewals(&self) -> Finding {
        let (mut begun, mut open) = (0, Vec::new());
        for (device, page) in self.numbered() {
            let (tried, done) = page.renewals;
            begun += u64::from(tried);
            if done < tried && page.revocation.is_none() {
                open.push(format!("device {device}"));
            }
        }
        let count = open.len();
        let found = format!("{count} of {begun} new certificates were not let in");
        judged(begun, (count as u64, found), &open)
    }

    /// A stage that is due and not done is a breach: somebody has not followed.
    fn sent_away(&self) -> Finding {
        let Rotation {
            stages_due: due,
            stages_done: done,
            sent_away,
            ..
        } = &self.rotation;
        let found = if *due == 0 {
            format!("{} were sent away for their certificates", sent_away.count)
        } else {
            let count = sent_away.count;
            format!("{count} were sent away, in {done} of {due} stages of a rotation")
        };
        let breaches = sent_away.count + u64::from(due - done);
        let came = self.counts.connections;
        judged(came, (breaches, found), &sent_away.examples)
    }

    fn missing(&self) -> Finding {
        let due = |(_, page): &(usize, &Page)| page.revocation.is_none();
        let missing: Vec<_> = self
            .numbered()
            .filter(due)
            .filter(|(_, page)| !page.is_connected)
            .map(|(device, _)| format!("device {device}"))
            .collect();
        let all = self.numbered().filter(due).count();
        let found = format!("{} of {all} devices are missing", missing.len());
        judged(all as u64, (missing.len() as u64, found), &missing)
    }
}

/// Held, if it was tried and nothing broke it.
fn judged(tried: u64, (breaches, found): (u64, String), examples: &[String]) -> Finding {
    Finding {
        outcome: match (tried, breaches) {
            (_, 1..) => Outcome::Broken,
            (0, 0) => Outcome::NotTried,
            (1.., 0) => Outcome::Held,
        },
        found,
        examples: examples.iter().take(EXAMPLES_MAX).cloned().collect(),
    }
}
