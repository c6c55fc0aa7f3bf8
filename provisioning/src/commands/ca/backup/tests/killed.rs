//! A restore under `kill -9`: whenever it was stopped, the authority is there as it was or as it
//! will be, the same command given again brings it to its end, and no registry is gone.

use std::env;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::*;

const DIR: &str = "COUNTERSIGN_TEST_RESTORE_KILL_DIR";
const VICTIM: &str = "commands::ca::backup::tests::killed::victim";
const PAUSE: Duration = Duration::from_micros(300);

/// A backup, `later.age`, and a directory, `other`, each of which knows what the other does not.
fn world_of_two() -> TempDir {
    let (temp, [dir, file, other]) = world();
    issue(&dir, "dev-3", None).unwrap();
    backup(&dir, &temp.path().join("later.age"));
    restore(&file, &other).unwrap();
    revoke(&other, "dev-1", day(1)).unwrap();
    issue(&other, "dev-4", None).unwrap();
    publish(&other, day(1));
    temp
}

#[test]
fn a_restore_is_taken_up_wherever_it_was_killed() {
    let world = world_of_two();
    for into in ["other", "new"] {
        let mut kills = 0;
        while killed_after(world.path(), into, PAUSE * kills) {
            kills += 1;
        }
        println!("{into}: {kills} kills");
        assert!(kills > 5, "{into}: it was never killed on its way");
    }
}

/// Whether a restore was killed so long after it had unpacked a registry, and not done before.
fn killed_after(world: &Path, into: &str, pause: Duration) -> bool {
    let temp = tempfile::tempdir().unwrap();
    copy(world, temp.path());
    let dir = temp.path().join(into);
    let staged = [
        dir.join(".restore.new"),
        temp.path().join(".new.restore.new"),
    ];
    let mut victim = spawn(&dir);
    let is_unpacked = || {
        staged
            .iter()
            .any(|it| it.join("ca/registry.sqlite").exists())
    };
    while !is_unpacked() && victim.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    thread::sleep(pause);
    let is_done = victim.try_wait().unwrap().is_some();
    // It may be done by now.
    let _ = victim.kill();
    victim.wait().unwrap();
    if dir.exists() {
        // Somebody needs it before it is restored again.
        issue(&dir, "dev-5", None).unwrap();
    }
    restore(&temp.path().join("later.age"), &dir).unwrap();
    check_end(&dir, into);
    !is_done
}

fn check_end(dir: &Path, into: &str) {
    assert_eq!(findings(dir), []);
    assert_eq!(state(dir, "dev-3"), DeviceState::Active);
    if into == "other" {
        assert_eq!(state(dir, "dev-1"), DeviceState::Revoked);
        assert_eq!(state(dir, "dev-4"), DeviceState::Active);
        let former = |name: &PathBuf| name.to_string_lossy().starts_with("ca.before");
        assert!(
            files::names_in(dir).unwrap().iter().any(former),
            "the registry that was there is gone"
        );
    }
    publish(dir, day(3));
    assert_eq!(is_listed(dir, "dev-1"), into == "other");
}

/// Not a test: what the test starts in a process of its own, which it tells where to work.
#[test]
#[ignore = "runs only when the test of kill -9 starts it"]
fn victim() {
    let Some(dir) = env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    restore(&dir.with_file_name("later.age"), dir).unwrap();
}

fn spawn(dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([VICTIM, "--exact", "--ignored"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn copy(from: &Path, to: &Path) {
    let from = from.join(".");
    let copied = Command::new("cp").arg("-a").args([&from, to]).status();
    assert!(copied.unwrap().success());
}
