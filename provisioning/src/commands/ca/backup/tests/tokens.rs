//! No token comes back that may have been used or taken away meanwhile.

use super::*;
use crate::{TokenRequest, TokenState, token_create, token_list, token_revoke};
use std::time::Duration;

fn token(dir: &Path, device: &str) -> i64 {
    let request = TokenRequest {
        dir,
        device: &DeviceId::parse(device).unwrap(),
        ttl: Duration::from_hours(24 * 7),
        again: false,
    };
    token_create(&request, day(1)).unwrap().number
}

fn states(dir: &Path) -> Vec<(String, TokenState)> {
    let mut all: Vec<_> = token_list(dir, day(2))
        .unwrap()
        .into_iter()
        .map(|it| (it.device.to_string(), it.state))
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

#[test]
fn where_the_directory_was_lost_no_token_is_good_any_more() {
    let (_temp, [dir, _, other]) = world();
    token(&dir, "new-1");
    let file = dir.with_file_name("later.age");
    backup(&dir, &file);
    restore(&file, &other).unwrap();
    assert_eq!(states(&other), [("new-1".into(), TokenState::Revoked)]);
    // The device can have another one.
    token(&other, "new-1");
}

#[test]
fn where_each_went_its_own_way_a_token_is_good_only_as_the_directory_says() {
    let (_temp, [dir, file, other]) = world();
    let taken_away = token(&dir, "new-1");
    token(&dir, "new-2");
    let later = dir.with_file_name("later.age");
    backup(&dir, &later);
    token_revoke(&dir, taken_away, day(2)).unwrap();
    token(&dir, "new-3");
    // Another directory, restored from before any of them, goes its own way.
    restore(&file, &other).unwrap();
    issue(&other, "elsewhere", None).unwrap();
    let elsewhere = dir.with_file_name("elsewhere.age");
    backup(&other, &elsewhere);
    let expected = [
        ("new-1".to_owned(), TokenState::Revoked),
        ("new-2".to_owned(), TokenState::Open),
        ("new-3".to_owned(), TokenState::Open),
    ];
    for backup in [elsewhere, later] {
        restore(&backup, &dir).unwrap();
        assert_eq!(states(&dir), expected);
    }
}
