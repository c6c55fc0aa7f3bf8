//! The names in a certificate: distinguished names (RFC 5280 §4.1.2.4, §4.1.2.6, appendix A.1) and
//! alternative names (§4.2.1.6).

use rustls_pki_types::DnsName;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::Found;
use super::extensions::is_authority;
use crate::text::escape::escaped;

/// The names of bounded length (RFC 5280 appendix A.1): object identifier, name, characters.
const BOUNDS: &[(&str, &str, usize)] = &[
    ("2.5.4.3", "common name", 64),
    ("2.5.4.5", "serial number", 64),
    ("2.5.4.7", "locality", 128),
    ("2.5.4.8", "state or province", 128),
    ("2.5.4.10", "organization", 64),
    ("2.5.4.11", "organizational unit", 64),
    ("2.5.4.12", "title", 64),
];
const COUNTRY: &str = "2.5.4.6";
/// Written as IA5 strings (RFC 5280 §4.1.2.4, §4.1.2.6): domain component and mail address.
const IA5: [&str; 2] = ["0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"];

pub(super) fn check(tbs: &TbsCertificate<'_>, found: &mut Found) {
    let alternative = alternative_names(tbs);
    let is_empty = tbs.subject.iter().next().is_none();
    let is_named_elsewhere = alternative.is_some_and(|names| names.critical);
    found.add_broken(&[
        (
            tbs.issuer.iter().next().is_some(),
            "issuer-name",
            "RFC 5280 §4.1.2.4",
            "the name of the issuer is empty",
        ),
        (
            !is_empty || !is_authority(tbs),
            "subject-name",
            "RFC 5280 §4.1.2.6",
            "the name of an authority is empty",
        ),
        (
            !is_empty || is_authority(tbs) || is_named_elsewhere,
            "subject-name",
            "RFC 5280 §4.2.1.6",
            "it names nobody: the subject is empty, and no critical alternative names are there",
        ),
    ]);
    check_name("issuer", &tbs.issuer, found);
    if tbs.subject.as_raw() != tbs.issuer.as_raw() {
        check_name("subject", &tbs.subject, found);
    }
    if let Some(names) = alternative {
        check_alternative(names, found);
    }
}

fn alternative_names<'t, 'a>(tbs: &'t TbsCertificate<'a>) -> Option<&'t X509Extension<'a>> {
    tbs.iter_extensions().find(|extension| {
        matches!(
            extension.parsed_extension(),
            ParsedExtension::SubjectAlternativeName(_)
        )
    })
}

fn check_name(whose: &str, name: &X509Name<'_>, found: &mut Found) {
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        if IA5.contains(&oid.as_str()) {
            continue;
        }
        check_form(whose, attribute, found);
        if oid == COUNTRY {
            check_country(whose, attribute, found);
        }
        let bound = BOUNDS.iter().find(|(bounded, ..)| *bounded == oid);
        let len = attribute.as_str().map_or(0, |text| text.chars().count());
        if let Some((_, what, max)) = bound
            && len > *max
        {
            let what = format!("the {what} of the {whose} has {len} characters, {max} at most");
            found.add("name-length", "RFC 5280 appendix A.1", what);
        }
    }
}

fn check_form(whose: &str, attribute: &AttributeTypeAndValue<'_>, found: &mut Found) {
    let value = attribute.attr_value();
    if value.tag() != Tag::Utf8String && value.tag() != Tag::PrintableString {
        let what = format!("a name of the {whose} is neither a UTF8String nor a PrintableString");
        found.add("name-form", "RFC 5280 §4.1.2.4", what);
    } else if value.data.is_empty() {
        let what = format!("a name of the {whose} is empty");
        found.add("name-length", "RFC 5280 appendix A.1", what);
    } else if value.tag() == Tag::PrintableString && !value.data.iter().copied().all(is_printable) {
        let what = format!("a PrintableString of the {whose} holds other characters");
        found.add("name-form", "RFC 5280 §4.1.2.4", what);
    }
}

/// X.680 §41.4.
fn is_printable(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet)
}

fn check_country(whose: &str, attribute: &AttributeTypeAndValue<'_>, found: &mut Found) {
    let is_code = |text: &str| text.len() == 2 && text.bytes().all(|it| it.is_ascii_uppercase());
    if !attribute.as_str().is_ok_and(is_code) {
        let what = format!("the country of the {whose} is not a code of two capital letters");
        found.add("name-country", "RFC 5280 appendix A.1", what);
    }
}

fn check_alternative(extension: &X509Extension<'_>, found: &mut Found) {
    let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
        return;
    };
    let mut add = |what: String| found.add("alternative-name", "RFC 5280 §4.2.1.6", what);
    if names.general_names.is_empty() {
        add("it has alternative names, and none among them".into());
    }
    for name in &names.general_names {
        match name {
            GeneralName::DNSName(name) if !is_dns(name) => {
                add(format!("\"{}\" is not a DNS name", escaped(name)));
            }
            GeneralName::URI(uri) if !is_absolute(uri) => {
                add(format!("\"{}\" is not an absolute URI", escaped(uri)));
            }
            GeneralName::IPAddress(octets) if !matches!(octets.len(), 4 | 16) => {
                add(format!(
                    "an address has {} octets, not 4 or 16",
                    octets.len()
                ));
            }
            GeneralName::RFC822Name(mail) if !is_mail(mail) => {
                add(format!("\"{}\" is not a mail address", escaped(mail)));
            }
            GeneralName::Invalid(..) => add("an alternative name is broken".into()),
            _ => {}
        }
    }
}

/// The preferred name syntax (RFC 1034 §3.5), also with a wildcard for its first label (RFC 6125
/// §6.4.3).
fn is_dns(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    DnsName::try_from(name).is_ok() && !name.ends_with('.')
}

/// RFC 3986 §4.3, with an authority where the scheme has one.
fn is_absolute(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it));
    let host = rest
        .strip_prefix("//")
        .map(|rest| rest.split(['/', '?', '#']).next());
    let has_host = host.is_none_or(|host| host.is_some_and(|host| !host.is_empty()));
    is_scheme && !rest.is_empty() && has_host && uri.bytes().all(|it| it.is_ascii_graphic())
}

fn is_mail(mail: &str) -> bool {
    mail.split_once('@')
        .is_some_and(|(local, host)| !local.is_empty() && is_dns(host))
        && mail.bytes().all(|it| it.is_ascii_graphic())
}
