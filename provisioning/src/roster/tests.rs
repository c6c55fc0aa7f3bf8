//! Lists that are good, and lists that are not.

use super::*;

fn read(text: impl AsRef<[u8]>) -> Vec<(u64, String, Vec<String>)> {
    let roster = Roster::read(text.as_ref()).unwrap();
    let entry = |entry: &Entry| {
        let attributes = entry.attributes.iter();
        let attributes = attributes.map(|(name, value)| format!("{name}={value}"));
        (entry.line, entry.id.to_string(), attributes.collect())
    };
    roster.entries.iter().map(entry).collect()
}

fn mistakes(text: impl AsRef<[u8]>) -> Vec<String> {
    let mistakes = Roster::read(text.as_ref()).unwrap_err();
    mistakes.iter().map(ToString::to_string).collect()
}

fn row(line: u64, id: &str, attributes: &[&str]) -> (u64, String, Vec<String>) {
    let attributes = attributes.iter().map(ToString::to_string).collect();
    (line, id.to_owned(), attributes)
}

#[test]
fn a_list_is_read_however_it_was_saved() {
    let expected = [row(2, "a-1", &["site=Bern"]), row(3, "a-2", &[])];
    for text in [
        "device_id,site\na-1,Bern\na-2,\n",
        "device_id,site\r\na-1,Bern\r\na-2,\r\n",
        "\u{feff}device_id,site\na-1,Bern\na-2,",
        "site,device_id\nBern,a-1\n,a-2\n",
        "\"device_id\",\"site\"\n\"a-1\",\"Bern\"\n\"a-2\",\"\"\n",
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
    let expected = [row(1, "a-1", &["n=7", "site=Bern"]), row(3, "a-2", &[])];
    for text in [
        "{\"device_id\":\"a-1\",\"site\":\"Bern\",\"n\":7}\n\n{\"device_id\":\"a-2\",\"n\":null}\n",
        "\u{feff}{\"n\":7,\"device_id\":\"a-1\",\"site\":\"Bern\"}\r\n\r\n{\"device_id\":\"a-2\"}",
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn quotes_commas_and_other_scripts_are_text() {
    let text = "device_id,site\na-1,\"Zürich, \"\"Nord\"\" 北\"\n";
    assert_eq!(read(text), [row(2, "a-1", &["site=Zürich, \"Nord\" 北"])]);
}

#[test]
fn every_mistake_is_named_by_line_and_column() {
    let text = "device_id,site\n../x,Bern\na-1,Bern\nA-1,Bern\na-1,\n,Bern\na-2,a\tb\na-3\n";
    assert_eq!(
        mistakes(text),
        [
            "line 2, column device_id: a device id begins with a letter or a digit, not with '.'",
            "line 4, column device_id: A-1 is a-1 on line 3; ids differ by more than case",
            "line 5, column device_id: a-1 is on line 3 already",
            "line 6, column device_id: a device id has at least one character",
            "line 7, column site: a value has no control characters, such as '\\t'",
            "line 8: 1 cells stand under 2 columns",
        ]
    );
}

#[test]
fn a_hostile_list_is_refused_in_words_of_ours() {
    let long = format!("device_id,site\na-1,{}\n", "x".repeat(1 << 20));
    let long_id = format!("device_id\n{}\n", "x".repeat(1 << 20));
    let long_name = format!("device_id,{}\n", "x".repeat(1 << 20));
    let many = format!("{{\"device_id\":\"a\"{}}}", many_members(65));
    let cases: [(&[u8], &str); 24] = [
        (b"", "line 1: there is no column device_id"),
        (b"device_id\n", "line 1: there is no device in the list"),
        (b"id\na\n", "line 1: there is no column device_id"),
        (b"Device_ID\na\n", "line 1: there is no column device_id"),
        (b"device_id,device_id\na,a\n", "two columns of this name"),
        (b"device_id,a b\na,1\n", "line 1, column \"a b\": names are"),
        (b"device_id,\na,1\n", "line 1, column \"\": names are"),
        (b"device_id\n/etc/passwd\n", "not with '/'"),
        (b"device_id\na/../../b\n", "'/' is none of them"),
        (b"device_id\na\0b\n", "'\\0' is none of them"),
        (
            b"device_id,s\na,b\0c\n",
            "line 2, column s: a value has no control",
        ),
        (
            b"device_id,s\na,\"b\nc\"\n",
            "line 2, column s: a value has no control",
        ),
        (
            b"device_id,s\na,\"b\n",
            "line 2, column s: a value has no control",
        ),
        (
            b"device_id,s\na,b,c\n",
            "line 2: 3 cells stand under 2 columns",
        ),
        (
            b"device_id,s\na,\xff\n",
            "line 2, column s: is not in UTF-8",
        ),
        (b"\xff\xfed\0", "the list is in UTF-16"),
        (
            long.as_bytes(),
            "line 2, column site: a value has at most 256 octets",
        ),
        (
            long_id.as_bytes(),
            "at most 64 characters, this one has 1048576",
        ),
        (long_name.as_bytes(), "xxx…\": names are like device ids"),
        (
            b"{\"device_id\":7}",
            "line 1, column device_id: is not a text",
        ),
        (
            b"{\"device_id\":\"a\",\"device_id\":\"b\"}",
            "is given twice",
        ),
        (
            b"{\"device_id\":\"a\",\"s\":[1]}",
            "line 1, column s: is not a text",
        ),
        (
            b"{\"device_id\":\"a\"}\n{\"s\":\"x\"}\n",
            "line 2, column device_id: is missing",
        ),
        (many.as_bytes(), "65 attributes are too many"),
    ];
    for (text, words) in cases {
        let found = mistakes(text).remove(0);
        assert!(found.contains(words), "{found:?} without {words:?}");
        assert!(found.len() < 200, "{found}");
    }
}

fn many_members(count: usize) -> String {
    let members: Vec<_> = (0..count).map(|n| format!(",\"n{n}\":{n}")).collect();
    members.concat()
}

#[test]
fn json_that_is_none_is_named_by_its_line() {
    let text = "{\"device_id\":\"a\"}\n{\"device_id\":\n[1]\n";
    let found = mistakes(text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("line 2: no object of JSON: EOF"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("line 3: no object of JSON: invalid type"),
        "{found:?}"
    );
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(mistakes(deep)[0].contains("recursion limit"));
}

#[test]
fn a_mistake_after_a_cell_of_several_lines_is_named_by_the_line_of_the_file() {
    for (text, line) in [
        ("device_id,s\na,\"b\n\nc\"\n+,x\n", 5),
        ("device_id,s\r\na,\"b\r\nc\"\r\n\r\n+,x\r\n", 5),
        ("\n\ndevice_id\n\n+\n", 5),
    ] {
        let last = mistakes(text).pop().unwrap();
        let place = format!("line {line}, column device_id: ");
        assert!(last.starts_with(&place), "{last}");
    }
}
