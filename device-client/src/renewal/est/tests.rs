//! Where enrolment servers are, and what their answers come to.

use super::*;

#[test]
fn a_server_is_addressed_with_and_without_port_and_path() {
    for (url, host, port, path) in [
        ("https://ca.example", "ca.example", 443, WELL_KNOWN),
        ("https://ca.example/", "ca.example", 443, WELL_KNOWN),
        ("https://ca.example:8443", "ca.example", 8443, WELL_KNOWN),
        ("https://[::1]:9/a/b/", "::1", 9, "/a/b"),
        (
            "https://10.0.0.1/.well-known/est/label",
            "10.0.0.1",
            443,
            "/.well-known/est/label",
        ),
    ] {
        let server = Server::parse(url).unwrap();
        let found = (server.host.as_str(), server.port, server.path.as_str());
        assert_eq!(found, (host, port, path), "{url}");
    }
}

#[test]
fn what_is_no_address_of_a_server_is_refused() {
    for url in [
        "http://ca.example",
        "ca.example",
        "https://",
        "https://me:secret@ca.example",
        "https://ca.example/a?b",
        "https://ca.example/a#b",
        "https://two words",
        "https://ca.example:0",
        "https://ca.example:port",
    ] {
        let refused = Server::parse(url);
        assert!(matches!(refused, Err(EnrolError::Url { .. })), "{url}");
    }
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_static(value))
    });
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect(),
        body: body.to_owned().into(),
    }
}

#[test]
fn an_answer_says_whether_to_come_again_and_when() {
    let at = |seconds| Some(Duration::from_secs(seconds));
    for (status, after, expected) in [
        (202, "120", at(120)),
        (202, " 7 ", at(7)),
        (503, "1", at(1)),
        (429, "-1", None),
        (500, "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (500, "99999999999999999999", None),
        (408, "", None),
    ] {
        let error = read(&answer(status, &[("retry-after", after)], "")).unwrap_err();
        let EnrolError::NotNow { retry_after, .. } = error else {
            panic!("{status}: {error:?}")
        };
        assert_eq!(retry_after, expected, "{status} {after}");
    }
}

#[test]
fn a_refusal_is_told_in_the_first_words_of_the_server_and_breaks_no_line() {
    for status in [400, 401, 403, 404, 409] {
        let error = read(&answer(status, &[], "device\nrevoked\x1b[2J")).unwrap_err();
        let told = format!("the enrolment server refuses ({status}): device revoked [2J");
        assert_eq!(error.to_string(), told);
    }
    let long = "x".repeat(10_000);
    let error = read(&answer(403, &[], &long)).unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn what_is_neither_a_certificate_nor_a_refusal_is_an_error_of_the_protocol() {
    for status in [100, 201, 204, 301, 307] {
        let error = read(&answer(status, &[], "")).unwrap_err();
        assert!(matches!(error, EnrolError::Protocol { .. }), "{error:?}");
    }
    for (body, expected) in [("!", "base64"), ("", "PKCS #7"), ("MAA=", "PKCS #7")] {
        let error = read(&answer(200, &[], body)).unwrap_err();
        assert!(error.to_string().contains(expected), "{body}: {error}");
    }
}

#[test]
fn base64_may_be_broken_into_lines() {
    let text = STANDARD.encode(pkcs7::tests::answer(&[b"\x30\x03\x02\x01\x05"]));
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(7)
        .map(|it| str::from_utf8(it).unwrap())
        .collect();
    let found = read(&answer(200, &[], &lines.join("\r\n"))).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn a_token_is_not_shown() {
    let value = basic("dev-1", "secret").unwrap();
    assert_eq!(format!("{value:?}"), "Sensitive");
    assert_eq!(value.as_bytes(), b"Basic ZGV2LTE6c2VjcmV0");
}
