//! A restore under `kill -9`: whenever it was stopped, the authority is there as it was or as it
//! will be, the same command given again brings it to its end, and no registry is gone.

use std::cell::Cell;
use std::env;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::*;

const DIR: &str = "COUNTERSIGN_TEST_RESTORE_KILL_DIR";
const VICTIM: &str = "commands::ca::backup::tests::killed::victim";
/// So often in the time that a restore takes.
const KILLS: u32 = 40;

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
        // One that is left alone tells how long it takes.
        let (whole, _) = restore_until(world.path(), into, |_, _| false);
        let pauses = (0..KILLS).map(|kill| whole * kill / KILLS);
        let ends = pauses.map(|pause| restore_until(world.path(), into, |_, took| took >= pause).1);
        let killed = ends.filter(|end| !end.success()).count();
        println!("{into}: {killed} kills in {whole:?}");
        assert!(killed > 5, "{into}: it was never killed on its way");
    }
}

#[test]
fn a_restore_that_is_killed_once_the_new_authority_is_in_its_place_has_kept_the_former() {
    let world = world_of_two();
    for _ in 0..5 {
        let id = |dir: &Path| fs::metadata(dir.join("ca")).unwrap().ino();
        let before = Cell::new(None);
        restore_until(world.path(), "other", |dir, _| {
            let first = before.get().unwrap_or_else(|| id(dir));
            before.set(Some(first));
            id(dir) != first
        });
    }
}

/// Restores, in a process that is killed when `is_time`, once it has unpacked a registry, and
/// again. How long it took from there, and how it ended.
fn restore_until(
    world: &Path,
    into: &str,
    is_time: impl Fn(&Path, Duration) -> bool,
) -> (Duration, ExitStatus) {
    let temp = tempfile::tempdir().unwrap();
    copy(world, temp.path());
    let dir = temp.path().join(into);
    let staged = [
        dir.join(".restore.new"),
        temp.path().join(".new.restore.new"),
    ];
    let mut victim = spawn(&dir);
    let is_unpacked = |it: &PathBuf| it.join("ca/registry.sqlite").exists();
    while !staged.iter().any(is_unpacked) && victim.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    let begin = Instant::now();
    while !is_time(&dir, begin.elapsed()) && victim.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    let took = begin.elapsed();
    // It may be done by now.
    let _ = victim.kill();
    let end = victim.wait().unwrap();
    if dir.exists() {
        // Somebody needs it before it is restored again.
        issue(&dir, "dev-5", None).unwrap();
    }
    restore(&temp.path().join("later.age"), &dir).unwrap();
    check_end(&dir, into);
    (took, end)
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
