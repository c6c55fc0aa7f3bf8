//! The certificates in what an enrolment server answers: a PKCS #7 of the degenerate sort, which
//! signs nothing and holds certificates only (RFC 7030 §4.1.3, RFC 5652 §5.1).
//!
//! What is read came from outside: nothing here can run off the end, and nothing is recursive.

use rustls::pki_types::CertificateDer;

/// As many as two roots can have below them while one takes the place of the other.
const CERTIFICATES_MAX: usize = 16;

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed: the content, and in it the certificates.
const CONTEXT_0: u8 = 0xA0;

/// 1.2.840.113549.1.7.2, id-signedData.
const SIGNED_DATA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x02];

/// The certificates in `der`, at least one, each a DER `SEQUENCE` and not looked into.
pub(super) fn certificates(der: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let mut certificates = Vec::new();
    let mut set = certificate_set(der).ok_or("it is no PKCS #7 SignedData in DER")?;
    while !set.0.is_empty() {
        let certificate = set
            .whole(SEQUENCE)
            .ok_or("one is not an X.509 certificate")?;
        if certificates.len() == CERTIFICATES_MAX {
            return Err("there are more than 16");
        }
        certificates.push(CertificateDer::from(certificate.to_vec()));
    }
    if certificates.is_empty() {
        return Err("there are none");
    }
    Ok(certificates)
}

/// What is in the `certificates` of `ContentInfo { contentType, [0] SignedData }`, where nothing
/// follows it.
fn certificate_set(der: &[u8]) -> Option<Reader<'_>> {
    let mut outer = Reader(der);
    let mut content_info = outer.contents(SEQUENCE)?;
    let is_signed_data = content_info.contents(OBJECT_ID)?.0 == SIGNED_DATA;
    let mut content = content_info.contents(CONTEXT_0)?;
    let mut signed_data = content.contents(SEQUENCE)?;
    let is_all = outer.0.is_empty() && content_info.0.is_empty() && content.0.is_empty();
    // The version, the digest algorithms, and what is signed: nothing.
    signed_data.contents(INTEGER)?;
    signed_data.contents(SET)?;
    signed_data.contents(SEQUENCE)?;
    let certificates = signed_data.contents(CONTEXT_0)?;
    (is_signed_data && is_all).then_some(certificates)
}

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The contents of the element that comes next, if it has this tag.
    fn contents(&mut self, tag: u8) -> Option<Self> {
        let (found, rest) = self.0.split_first()?;
        let (len, rest) = len(rest)?;
        let (contents, rest) = rest.split_at_checked(len)?;
        if *found != tag {
            return None;
        }
        self.0 = rest;
        Some(Reader(contents))
    }

    /// The same with its tag and length.
    fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.contents(tag)?;
        before.get(..before.len() - self.0.len())
    }
}

/// A length and what follows it. No certificate needs one of more than three octets.
fn len(octets: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = octets.split_first()?;
    let count = match first {
        0..=0x7F => return Some((usize::from(*first), rest)),
        0x81..=0x83 => usize::from(first & 0x7F),
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(count)?;
    let len = digits
        .iter()
        .fold(0, |len, digit| len << 8 | usize::from(*digit));
    let is_shortest = digits.first() != Some(&0) && len > 0x7F;
    is_shortest.then_some((len, rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// An element with this tag.
    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let [.., high, low] = contents.len().to_be_bytes();
        let len = match contents.len() {
            0..=0x7F => vec![low],
            0x80..=0xFF => vec![0x81, low],
            _ => vec![0x82, high, low],
        };
        [&[tag], &*len, contents].concat()
    }

    /// What a server answers with these certificates.
    pub(crate) fn answer(certificates: &[&[u8]]) -> Vec<u8> {
        let data = element(
            OBJECT_ID,
            &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x01],
        );
        let signed_data = [
            element(INTEGER, &[1]),
            element(SET, &[]),
            element(SEQUENCE, &data),
            element(CONTEXT_0, &certificates.concat()),
            element(SET, &[]),
        ];
        let signed_data = element(SEQUENCE, &signed_data.concat());
        let content = element(CONTEXT_0, &signed_data);
        element(
            SEQUENCE,
            &[element(OBJECT_ID, SIGNED_DATA), content].concat(),
        )
    }

    /// Stands in for a certificate of this length.
    fn certificate(len: usize) -> Vec<u8> {
        element(SEQUENCE, &vec![7; len])
    }

    #[test]
    fn the_certificates_come_as_they_stand_there() {
        let (short, long) = (certificate(3), certificate(900));
        let found = certificates(&answer(&[&short, &long])).unwrap();
        assert_eq!(
            found.iter().map(|it| &**it).collect::<Vec<_>>(),
            [&*short, &*long]
        );
    }

    /// `openssl req -x509 -newkey ed25519 -nodes -subj /CN=a -out cert.pem`, then
    /// `openssl crl2pkcs7 -nocrl -certfile cert.pem -outform DER | base64 -w 88`.
    const OPENSSL: &str = "\
        MIIBWwYJKoZIhvcNAQcCoIIBTDCCAUgCAQExADALBgkqhkiG9w0BBwGgggEwMIIBLDCB36ADAgECAhR9OJB+bl4V\
        tk+YXU79wiz6gmEBBTAFBgMrZXAwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjIxNTUxMDFaFw0yNjExMjMxNTUxMDFa\
        MAwxCjAIBgNVBAMMAWEwKjAFBgMrZXADIQAaBb53X2Y/+FBgTDODB+XeazzXTuLrw8WkxpZmHh/FK6NTMFEwHQYD\
        VR0OBBYEFLVuAYC4UuDlzkeIVaH74yNMu4heMB8GA1UdIwQYMBaAFLVuAYC4UuDlzkeIVaH74yNMu4heMA8GA1Ud\
        EwEB/wQFMAMBAf8wBQYDK2VwA0EA1aXEosJixOkcfqfkGl0BsoJ9fBnPPw+HvyA6hVRANa1ib/ys2TOXCBDMUsZ+\
        EuWGZkOEaBdu0kwno2LCjmFVDzEA";

    #[test]
    fn what_openssl_writes_is_read() {
        let found = certificates(&STANDARD.decode(OPENSSL).unwrap()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            &*certs::Certificate::read(&found[0]).unwrap().subject,
            "CN=a"
        );
    }

    #[test]
    fn an_answer_without_certificates_or_with_too_many_is_refused() {
        assert_eq!(certificates(&answer(&[])), Err("there are none"));
        let one = certificate(3);
        assert_eq!(certificates(&answer(&[&*one; 8])).unwrap().len(), 8);
        assert_eq!(
            certificates(&answer(&[&*one; 17])),
            Err("there are more than 16")
        );
        let attribute = element(0xA1, &[1, 2]);
        let mixed = certificates(&answer(&[&one, &attribute]));
        assert_eq!(mixed, Err("one is not an X.509 certificate"));
    }

    #[test]
    fn an_answer_that_is_cut_or_goes_on_is_refused() {
        let good = answer(&[&certificate(300), &certificate(3)]);
        for end in 0..good.len() {
            assert!(certificates(&good[..end]).is_err(), "cut at {end}");
        }
        assert!(certificates(&[&*good, &[0]].concat()).is_err());
    }

    #[test]
    fn no_change_of_an_octet_leads_astray() {
        let good = answer(&[&certificate(300), &certificate(3)]);
        for place in 0..good.len() {
            for value in 0..=u8::MAX {
                let mut changed = good.clone();
                changed[place] = value;
                let found = certificates(&changed).unwrap_or_default();
                let octets: usize = found.iter().map(|it| it.len()).sum();
                assert!(octets <= changed.len(), "{value} at {place}");
            }
        }
    }

    #[test]
    fn lengths_are_definite_and_the_shortest() {
        assert_eq!(len(&[0x82, 1, 0, 9]), Some((256, &[9][..])));
        for bad in [
            &[0x80][..],
            &[0x81, 5],
            &[0x82, 0, 0xFF],
            &[0x84, 0, 0, 1, 0],
            &[0xFF],
            &[],
        ] {
            assert_eq!(len(bad), None, "{bad:x?}");
        }
    }
}
