//! `countersign device issue --format … --out …`.

use crate::{run, text, world};
use std::fs;

#[test]
fn a_device_gets_one_file_and_a_script_hears_where_it_is() {
    let (temp, dir) = world();
    for (format, begins) in [
        ("jsonl", "{\"device_id\":\"dev-1\""),
        ("c-header", "/* The identity"),
    ] {
        let out = text(&temp.path().join(format));
        let issue = [
            "device", "issue", "dev-1", "--dir", &dir, "--format", format, "--out", &out,
        ];
        let json = run(&[&issue[..], &["--json"]].concat()).ok().json();
        assert_eq!(json[0]["out"], out);
        assert_eq!(json[0]["format"], format);
        assert!(json[0]["superseded"].is_string());
        let written = fs::read_to_string(&out).unwrap();
        assert!(written.starts_with(begins), "{written}");
        let again = run(&issue);
        assert_eq!(again.code, 5, "{}", again.err);
    }
    let (out, password) = (
        text(&temp.path().join("p12")),
        text(&temp.path().join("password")),
    );
    fs::write(&password, "secret\n").unwrap();
    let issue = ["device", "issue", "dev-1", "--dir", &dir];
    let under = ["--password-file", &password];
    assert_eq!(run(&[&issue[..], &under].concat()).code, 2);
    let p12 = [&issue[..], &["--format", "p12", "--out", &out]].concat();
    assert_eq!(run(&p12).code, 2);
    run(&[&p12[..], &under].concat()).ok();
    assert_eq!(fs::read(&out).unwrap()[0], 0x30);
    let out = text(&temp.path().join("out"));
    let words = run(&["device", "issue", "dev-2", "--dir", &dir, "--out", &out])
        .ok()
        .out;
    assert!(
        words.contains("next: countersign device show dev-2"),
        "{words}"
    );
    assert!(temp.path().join("out/dev-2/key.pem").exists());
}

#[test]
fn a_form_that_is_none_or_goes_nowhere_is_a_mistake() {
    let (_temp, dir) = world();
    for more in [["--format", "p13"], ["--format", "jsonl"]] {
        let ran = run(&[&["device", "issue", "dev-1", "--dir", &dir][..], &more].concat());
        assert_eq!(ran.code, 2, "{}", ran.err);
    }
}
