//! `countersign completions|man`.

use crate::{run, text};
use std::fs;
use std::process::Command;

#[test]
fn pages_are_written_where_they_are_wanted() {
    let temp = tempfile::tempdir().unwrap();
    let out = text(&temp.path().join("man1"));
    for _ in 0..2 {
        let done = run(&["man", "--out", &out, "--json"]).ok().json();
        let pages = done[0]["pages"].as_array().unwrap();
        assert_eq!(pages.len(), fs::read_dir(&out).unwrap().count());
    }
    let page = fs::read_to_string(format!("{out}/countersign-ca-restore.1")).unwrap();
    assert!(page.contains(".TH countersign-ca-restore 1"), "{page}");
    let words = run(&["man", "--out", &out]).ok().out;
    assert!(words.contains("next: man "), "{words}");
}

#[test]
fn a_shell_that_is_none_is_a_mistake() {
    assert_eq!(run(&["completions", "abacus"]).code, 2);
    let script = run(&["completions", "bash"]).ok().out;
    assert!(script.contains("complete -F"), "{script}");
}

#[test]
#[ignore = "needs bash; scripts/test runs it"]
fn bash_reads_its_completions() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("completions");
    fs::write(&path, run(&["completions", "bash"]).ok().out).unwrap();
    let ran = Command::new("bash").arg("-n").arg(&path).output().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
