//! The admin protocol to the letter: both ends are built from these lines.

use super::*;
use crate::serial::Serial;
use crate::status::RevocationReason;
use crate::subject::Subject;

fn device() -> Subject {
    Subject::parse("dev-1").unwrap()
}

fn issuer() -> KeyId {
    KeyId([0xaa; 4].into())
}

fn serial() -> Serial {
    Serial::parse("0aff").unwrap()
}

fn revoke(target: Target, time: Option<u64>) -> Request {
    Request::Revoke(Revoke {
        target,
        reason: RevocationReason::KeyCompromise,
        time,
    })
}

fn check_request(request: &Request, line: &str) {
    let line = format!("{{\"version\":1,\"request\":{line}}}\n");
    let written = write_request(request).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), line);
    assert_eq!(read_request(line.as_bytes()).as_ref(), Ok(request));
    assert_eq!(
        read_request(line.trim_end().as_bytes()).as_ref(),
        Ok(request)
    );
}

#[test]
fn every_request_for_something_to_be_done_has_its_line() {
    let certificate = Target::Certificate {
        issuer: issuer(),
        serial: serial(),
    };
    for (request, line) in [
        (Request::Status, r#""status""#),
        (Request::Reload, r#""reload""#),
        (
            revoke(Target::Device(device()), None),
            r#"{"revoke":{"target":{"device":"dev-1"},"reason":"key-compromise"}}"#,
        ),
        (
            revoke(certificate, Some(7)),
            concat!(
                r#"{"revoke":{"target":{"certificate":{"issuer":"aaaaaaaa","serial":"0aff"}},"#,
                r#""reason":"key-compromise","time":7}}"#,
            ),
        ),
    ] {
        check_request(&request, line);
    }
}

#[test]
fn every_question_has_its_line() {
    let explain = Explain {
        device: device(),
        action: Action::Publish,
        topic: "devices/dev-1/\u{0}\"é".to_owned(),
        qos: Some(1),
        retain: true,
    };
    let filter = SessionFilter {
        device: Some(device()),
        limit: Some(9),
        ..Default::default()
    };
    for (request, line) in [
        (
            Request::Sessions(SessionFilter::default()),
            r#"{"sessions":{}}"#,
        ),
        (
            Request::Sessions(filter),
            r#"{"sessions":{"device":"dev-1","limit":9}}"#,
        ),
        (
            Request::Explain(explain),
            concat!(
                r#"{"explain":{"device":"dev-1","action":"publish","#,
                r#""topic":"devices/dev-1/\u0000\"é","qos":1,"retain":true}}"#,
            ),
        ),
        (
            Request::WouldCut(NewPolicy {
                name: "new.toml".to_owned(),
                text: "[[rule]]\n".to_owned(),
            }),
            r#"{"would-cut":{"name":"new.toml","text":"[[rule]]\n"}}"#,
        ),
        (
            Request::Why(Why::Device("dev-1".to_owned())),
            r#"{"why":{"device":"dev-1"}}"#,
        ),
        (
            Request::Why(Why::Address([127, 0, 0, 1].into())),
            r#"{"why":{"address":"127.0.0.1"}}"#,
        ),
        (
            Request::Why(Why::Serial(serial())),
            r#"{"why":{"serial":"0aff"}}"#,
        ),
        (
            Request::Why(Why::Sha256(issuer())),
            r#"{"why":{"sha256":"aaaaaaaa"}}"#,
        ),
        (Request::Why(Why::Anybody), r#"{"why":"anybody"}"#),
        (
            Request::Unknown(UnknownFilter { limit: Some(3) }),
            r#"{"unknown":{"limit":3}}"#,
        ),
    ] {
        check_request(&request, line);
    }
}

fn receipt() -> Receipt {
    Receipt {
        target: Some(Target::Device(device())),
        reason: RevocationReason::KeyCompromise,
        time: 7,
        list_number: None,
        already: false,
        sessions_closed: 2,
        milliseconds: 31,
        durable: true,
    }
}

fn check(answer: Result<Answer, AdminError>, line: &str) {
    let line = format!("{{\"version\":1,{line}}}\n");
    let written = write_answer(answer.clone()).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), line);
    assert_eq!(read_answer(line.as_bytes()), Ok(answer));
}

#[test]
fn what_is_done_has_its_line() {
    check(
        Ok(Answer::Revoked(receipt())),
        concat!(
            r#""answer":{"revoked":{"target":{"device":"dev-1"},"reason":"key-compromise","#,
            r#""time":7,"already":false,"sessions_closed":2,"milliseconds":31,"durable":true}}"#,
        ),
    );
    let of_list = Receipt {
        target: None,
        list_number: Some(8.into()),
        ..receipt()
    };
    check(
        Ok(Answer::Revoked(of_list)),
        concat!(
            r#""answer":{"revoked":{"reason":"key-compromise","time":7,"list_number":"8","#,
            r#""already":false,"sessions_closed":2,"milliseconds":31,"durable":true}}"#,
        ),
    );
    let part = ReloadedPart {
        part: "policy".to_owned(),
        outcome: Outcome::Kept,
        problems: vec!["policy.toml: line 3".to_owned()],
    };
    check(
        Ok(Answer::Reloaded(Reloaded {
            parts: vec![part],
            sessions_closed: 0,
            milliseconds: 4,
        })),
        concat!(
            r#""answer":{"reloaded":{"parts":[{"part":"policy","outcome":"kept","#,
            r#""problems":["policy.toml: line 3"]}],"sessions_closed":0,"milliseconds":4}}"#,
        ),
    );
    let error = AdminError {
        code: ErrorCode::NotFound,
        message: "no such device".to_owned(),
        details: vec![],
    };
    check(
        Err(error),
        r#""error":{"code":"not-found","message":"no such device"}"#,
    );
}

#[test]
fn a_status_has_its_line() {
    let list = ListStatus {
        id: crate::ListId::parse("aa/all").unwrap(),
        number: 8.into(),
        entries: 3,
        this_update: 1,
        next_update: 2,
        state: ListState::NotYet,
    };
    let listener = ListenerStatus {
        name: "tls".to_owned(),
        address: ([127, 0, 0, 1], 8883).into(),
        tls_generation: 1,
        not_after: 9,
    };
    let status = Status {
        version: "0.1.0".to_owned(),
        started: 1,
        now: 2,
        listeners: vec![listener],
        connections: 3,
        sessions: 4,
        revocation_lists: vec![list],
        own_revocations: 5,
        registry: Some(RegistryStatus {
            number: 6,
            devices: 7,
            created: 8,
            next_update: 9,
        }),
        policy_generation: 1,
        warnings: vec![],
    };
    check(
        Ok(Answer::Status(status)),
        concat!(
            r#""answer":{"status":{"version":"0.1.0","started":1,"now":2,"#,
            r#""listeners":[{"name":"tls","#,
            r#""address":"127.0.0.1:8883","tls_generation":1,"not_after":9}],"connections":3,"#,
            r#""sessions":4,"revocation_lists":[{"id":"aa/all","number":"8","entries":3,"#,
            r#""this_update":1,"next_update":2,"state":"not-yet"}],"own_revocations":5,"#,
            r#""registry":{"number":6,"devices":7,"created":8,"next_update":9},"#,
            r#""policy_generation":1}}"#,
        ),
    );
}

#[test]
fn a_page_of_sessions_has_its_line() {
    let session = SessionRow {
        device: device(),
        client: "dev-1".to_owned(),
        address: Some(([127, 0, 0, 1], 9).into()),
        since: 1,
        mqtt: "5.0".to_owned(),
        serial: Some(serial()),
        not_after: Some(2),
        subscriptions: 3,
        queued: 4,
    };
    let page = SessionPage {
        total: 2,
        sessions: vec![session],
        more: Some("dev-1/dev-1".to_owned()),
    };
    check(
        Ok(Answer::Sessions(page)),
        concat!(
            r#""answer":{"sessions":{"total":2,"sessions":[{"device":"dev-1","client":"dev-1","#,
            r#""address":"127.0.0.1:9","since":1,"mqtt":"5.0","serial":"0aff","not_after":2,"#,
            r#""subscriptions":3,"queued":4}],"more":"dev-1/dev-1"}}"#,
        ),
    );
}

#[test]
fn whoever_was_refused_has_a_line() {
    let refusal = RefusalRow {
        time: 1,
        address: [127, 0, 0, 1].into(),
        device: Some("dev-1".to_owned()),
        serial: None,
        sha256: None,
        reason: "expired".to_owned(),
        words: "expired 3 d ago".to_owned(),
    };
    check(
        Ok(Answer::Why(vec![refusal])),
        concat!(
            r#""answer":{"why":[{"time":1,"address":"127.0.0.1","device":"dev-1","#,
            r#""reason":"expired","words":"expired 3 d ago"}]}"#,
        ),
    );
    let unknown = UnknownRow {
        device: device(),
        sha256: "ab".to_owned(),
        address: [127, 0, 0, 1].into(),
        first: 1,
        last: 2,
        count: 3,
    };
    check(
        Ok(Answer::Unknown(UnknownPage {
            total: 1,
            devices: vec![unknown],
        })),
        concat!(
            r#""answer":{"unknown":{"total":1,"devices":[{"device":"dev-1","sha256":"ab","#,
            r#""address":"127.0.0.1","first":1,"last":2,"count":3}]}}"#,
        ),
    );
    let rule = RuleReference {
        name: "own".to_owned(),
        place: Some("policy.toml:3".to_owned()),
    };
    let explanation = Explanation {
        decision: Decision::Deny,
        rule: None,
        nearest: Some(rule),
        words: "no rule permits it".to_owned(),
    };
    check(
        Ok(Answer::Explained(explanation)),
        concat!(
            r#""answer":{"explained":{"decision":"deny","nearest":{"name":"own","#,
            r#""place":"policy.toml:3"},"words":"no rule permits it"}}"#,
        ),
    );
}

#[test]
fn what_a_policy_would_cut_has_its_line() {
    let loss = LossRow {
        device: device(),
        client: "dev-1".to_owned(),
        ends: false,
        closes: true,
        subscriptions: 1,
        filters: vec!["a/#".to_owned()],
    };
    let cut = Cut {
        sessions: 1,
        connections: 2,
        subscriptions: 3,
        losses: vec![loss],
        more: 4,
    };
    check(
        Ok(Answer::WouldCut(cut)),
        concat!(
            r#""answer":{"would-cut":{"sessions":1,"connections":2,"subscriptions":3,"#,
            r#""losses":[{"device":"dev-1","client":"dev-1","ends":false,"closes":true,"#,
            r#""subscriptions":1,"filters":["a/#"]}],"more":4}}"#,
        ),
    );
}

#[test]
fn what_is_not_said_in_full_is_not_guessed() {
    let malformed = |line: &str| match read_request(line.as_bytes()) {
        Err(InvalidLine::Malformed(why)) => why,
        other => panic!("{line}: {other:?}"),
    };
    for line in [
        "",
        "{}",
        "[]",
        r#"{"version":1}"#,
        r#"{"version":1,"request":"restart"}"#,
        r#"{"version":1,"request":"status","force":true}"#,
        r#"{"version":1,"request":{"revoke":{"target":{"device":"dev-1"}}}}"#,
        r#"{"version":1,"request":{"revoke":{"target":{"device":"+"},"reason":"superseded"}}}"#,
        r#"{"version":1,"request":{"revoke":{"target":{"device":"dev-1"},"reason":"boredom"}}}"#,
        r#"{"version":1,"request":{"sessions":{"devices":"dev-1"}}}"#,
        r#"{"version":1,"request":{"why":{"serial":"0g"}}}"#,
        "{\"version\":1,\"request\":\"status\"}\n{\"version\":1,\"request\":\"status\"}\n",
    ] {
        assert!(!malformed(line).contains(char::is_control), "{line}");
    }
    let later = read_request(br#"{"version":2,"request":"dance","to":"it"}"#);
    assert_eq!(later, Err(InvalidLine::Version(2)));
    let told = AdminError::from(&later.unwrap_err());
    assert_eq!(told.code, ErrorCode::UnsupportedVersion);
    let told = AdminError::from(&InvalidLine::Malformed("x".into()));
    assert_eq!(told.code, ErrorCode::BadRequest);
    for line in [
        r#"{"version":1}"#,
        r#"{"version":1,"answer":{"why":[]},"error":{"code":"busy","message":""}}"#,
    ] {
        assert!(read_answer(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn no_line_is_longer_than_its_limit() {
    let explain = |len| {
        Request::Explain(Explain {
            device: device(),
            action: Action::Subscribe,
            topic: "\u{1}".repeat(len),
            qos: None,
            retain: false,
        })
    };
    assert!(
        write_request(&explain(65_535)).is_ok(),
        "the longest topic, escaped"
    );
    let too_long = write_request(&explain(100_000));
    assert!(
        matches!(too_long, Err(InvalidLine::TooLong { .. })),
        "{too_long:?}"
    );
    let line = vec![b' '; REQUEST_LEN_MAX + 1];
    let (len, max) = (line.len(), REQUEST_LEN_MAX);
    assert_eq!(read_request(&line), Err(InvalidLine::TooLong { len, max }));
    let line = vec![b' '; ANSWER_LEN_MAX + 1];
    assert!(matches!(
        read_answer(&line),
        Err(InvalidLine::TooLong { .. })
    ));
}
