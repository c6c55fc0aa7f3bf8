//! What the commands of the inventory are told.

use super::subject;
use crate::provision::passphrase::PassphraseArgs;
use certs::{DeviceId, Subject, check_name, check_value};
use clap::{Args, ValueEnum};
use provisioning::{DeviceState, Filter, LabelChange, Labels};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Which device.
#[derive(Debug, Args)]
pub(crate) struct WhichArgs {
    /// The device id, or app/ and the id of an application.
    #[arg(value_name = "ID", value_parser = subject)]
    pub(super) id: Subject,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    pub(super) json: bool,
}

/// As the next command takes it.
impl fmt::Display for WhichArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} --dir {}", self.id, self.dir.display())
    }
}

/// What to say of a device.
#[derive(Debug, Args)]
pub(crate) struct LabelsArgs {
    /// Set an attribute, which policies see; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = attribute)]
    set: Vec<(Box<str>, Box<str>)>,
    /// Put it into a group, which policies see; may be given several times.
    #[arg(long = "group", value_name = "GROUP", value_parser = name)]
    groups: Vec<Box<str>>,
    /// Give it a tag, for operators alone; may be given several times.
    #[arg(long = "tag", value_name = "TAG", value_parser = name)]
    tags: Vec<Box<str>>,
}

impl LabelsArgs {
    pub(super) fn labels(&self) -> Labels {
        Labels {
            attributes: self.set.iter().cloned().collect(),
            groups: self.groups.iter().cloned().collect(),
            tags: self.tags.iter().cloned().collect(),
        }
    }
}

/// Whom to take in.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(super) which: WhichArgs,
    #[command(flatten)]
    pub(super) labels: LabelsArgs,
}

/// What to say of whom, and what no longer.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    #[command(flatten)]
    pub(super) which: WhichArgs,
    #[command(flatten)]
    labels: LabelsArgs,
    /// Take an attribute away; may be given several times.
    #[arg(long = "unset", value_name = "NAME", value_parser = name)]
    unset: Vec<Box<str>>,
    /// Take it out of a group; may be given several times.
    #[arg(long = "no-group", value_name = "GROUP", value_parser = name)]
    no_groups: Vec<Box<str>>,
    /// Take a tag away; may be given several times.
    #[arg(long = "no-tag", value_name = "TAG", value_parser = name)]
    no_tags: Vec<Box<str>>,
}

impl LabelArgs {
    pub(super) fn change(&self) -> LabelChange {
        LabelChange {
            set: self.labels.labels(),
            without_attributes: self.unset.iter().cloned().collect(),
            without_groups: self.no_groups.iter().cloned().collect(),
            without_tags: self.no_tags.iter().cloned().collect(),
        }
    }
}

/// Which devices to list, and how.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Only those whose certificate ends within a time, such as 14d or 36h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expiring: Option<Duration>,
    /// Only those in a group; given several times, in all of them.
    #[arg(long = "group", value_name = "GROUP", value_parser = name)]
    groups: Vec<Box<str>>,
    /// Only those with a tag; given several times, with all of them.
    #[arg(long = "tag", value_name = "TAG", value_parser = name)]
    tags: Vec<Box<str>>,
    /// Only those of which this is said.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(Box<str>, Box<str>)>,
    /// Only those that hold a certificate of a device CA, by its number.
    #[arg(long, value_name = "NUMBER")]
    device_ca: Option<u32>,
    /// Only those that stand so.
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Only those that were revoked and have no certificate since: --state revoked.
    #[arg(long, conflicts_with = "state")]
    revoked: bool,
    /// Print a line of JSON for each instead of a table.
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,
    /// Print CSV instead of a table.
    #[arg(long)]
    pub(super) csv: bool,
}

/// How a device stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// It never had a certificate.
    New,
    /// It has a certificate that counts.
    Active,
    /// Its certificate's time is over.
    Expired,
    /// It has a certificate that does not count for now.
    Suspended,
    /// It was revoked, and has no certificate since.
    Revoked,
    /// It was taken out of the inventory.
    Removed,
}

impl ListArgs {
    pub(super) fn filter(&self) -> Filter {
        let state = match self.state {
            None if self.revoked => Some(DeviceState::Revoked),
            None => None,
            Some(State::New) => Some(DeviceState::New),
            Some(State::Active) => Some(DeviceState::Active),
            Some(State::Expired) => Some(DeviceState::Expired),
            Some(State::Suspended) => Some(DeviceState::Suspended),
            Some(State::Revoked) => Some(DeviceState::Revoked),
            Some(State::Removed) => Some(DeviceState::Removed),
        };
        Filter {
            state,
            expiring: self.expiring,
            groups: self.groups.clone(),
            tags: self.tags.clone(),
            attributes: self.attributes.clone(),
            device_ca: self.device_ca,
        }
    }
}

/// Whose certificate to renew.
#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// The device id.
    #[arg(value_name = "ID", value_parser = device_id)]
    pub(super) id: DeviceId,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// A certificate signing request in PEM or DER, if the device has made its own key.
    #[arg(long, value_name = "FILE")]
    pub(super) csr: Option<PathBuf>,
    /// The directory in which the device has its own, such as the --out of its batch
    /// [default: DIR/devices].
    #[arg(long, value_name = "OUT")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    pub(super) json: bool,
}

fn device_id(text: &str) -> Result<DeviceId, String> {
    DeviceId::parse(text).map_err(|error| error.to_string())
}

fn name(text: &str) -> Result<Box<str>, String> {
    check_name(text).map_err(|error| error.to_string())?;
    Ok(text.into())
}

fn attribute(text: &str) -> Result<(Box<str>, Box<str>), String> {
    let parts = text.split_once('=');
    let (attribute, value) = parts.ok_or("a name, '=' and a value are needed")?;
    check_value(value).map_err(|error| error.to_string())?;
    Ok((name(attribute)?, value.into()))
}

/// A number of days, hours, minutes or seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a whole number and d, h, m or s are needed, such as 14d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let digits = text.strip_suffix(unit).unwrap_or_default();
    let only_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
    let count: Option<u64> = digits.parse().ok().filter(|_| only_digits);
    let seconds = count.and_then(|count| count.checked_mul(seconds));
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// How long a certificate is valid: as [`duration`], and more than no time.
pub(crate) fn lifetime(text: &str) -> Result<Duration, String> {
    let is_some = |time: &Duration| !time.is_zero();
    let time = Some(duration(text)?).filter(is_some);
    time.ok_or_else(|| "nothing is valid for no time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_and_a_unit() {
        for (text, seconds) in [("14d", 1_209_600), ("36h", 129_600), ("5m", 300), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "d",
            "14",
            "-1d",
            "+1d",
            "1.5d",
            "14dd",
            "1w",
            "99999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lifetime_is_more_than_no_time() {
        assert_eq!(lifetime("1s"), Ok(Duration::from_secs(1)));
        for text in ["0s", "0d", "week"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_attribute_is_a_name_and_a_value() {
        let said = |name: &str, value: &str| Ok((name.into(), value.into()));
        assert_eq!(attribute("site=Bern"), said("site", "Bern"));
        assert_eq!(attribute("url=a=b"), said("url", "a=b"));
        assert_eq!(attribute("site="), said("site", ""));
        for text in ["site", "=x", "a b=x", "site=a\nb", "../x=y"] {
            assert!(attribute(text).is_err(), "{text}");
        }
    }
}
