//! Whatever of a change is on the disk when the power goes, what is there opens, and is one of the
//! two identities it may be.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::identity::Identity;
use crate::identity::tests::{Files as Issued, TestCa};

/// A directory as it was issued, and two more identities of the same device.
struct Stage {
    directory: TempDir,
    issued: [Issued; 3],
}

impl Stage {
    fn new() -> Self {
        let ca = TestCa::new();
        let issued = [(); 3].map(|()| ca.device("dev-1"));
        let directory = TempDir::new().unwrap();
        issued[0].write(directory.path());
        Self { directory, issued }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Replaces the identity by another one.
    fn renew(&self, home: &mut Home, number: usize) {
        let next = &self.issued[number];
        let staged = home.stage(&next.key()).unwrap();
        home.switch(
            &staged,
            (next.chain.as_bytes(), next.authorities.as_bytes()),
        )
        .unwrap();
    }

    /// Issues another identity to the top, whose certificate begins later than the others.
    fn reissue(&self) -> Issued {
        let mut params = crate::identity::tests::device_params("dev-1");
        params.not_before = time::OffsetDateTime::now_utc();
        let reissued = TestCa::new().issue(&params);
        reissued.write(self.path());
        reissued
    }

    /// Which identity opens.
    fn opens(&self) -> usize {
        self.opens_in(self.path()).unwrap()
    }

    fn opens_in(&self, directory: &Path) -> Result<usize, IdentityError> {
        let serial = Identity::open(directory)?.serial();
        let is_it = |issued: &Issued| issued.identity().unwrap().serial() == serial;
        Ok(self.issued.iter().position(is_it).unwrap())
    }

    fn names(&self) -> BTreeSet<String> {
        names(self.path())
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn an_issued_directory_is_renewed_and_keeps_the_version_before_until_it_is_retired() {
    let stage = Stage::new();
    let mut home = Home::open(stage.path()).unwrap();
    stage.renew(&mut home, 1);
    assert_eq!(stage.opens(), 1);
    assert_eq!(
        stage.names(),
        set(&["ca.pem", "cert.pem", "current", "key.pem", "v1"])
    );
    home.retire().unwrap();
    assert_eq!(stage.names(), set(&["current", "v1"]));
    stage.renew(&mut home, 2);
    assert_eq!(stage.names(), set(&["current", "v1", "v2"]));
    home.retire().unwrap();
    assert_eq!((stage.opens(), stage.names()), (2, set(&["current", "v2"])));
    let mode = |name: &str| {
        let metadata = fs::metadata(stage.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("v2"), mode("v2/key.pem")), (0o700, 0o600));
}

#[test]
fn a_version_that_is_given_up_leaves_nothing_behind() {
    let stage = Stage::new();
    let mut home = Home::open(stage.path()).unwrap();
    let before = stage.names();
    let staged = home.stage(&Key::File(PemFile::new(KEY, b"key"))).unwrap();
    home.discard(&staged).unwrap();
    assert_eq!(stage.names(), before);
    stage.renew(&mut home, 1);
    home.revert().unwrap();
    assert_eq!((stage.opens(), stage.names()), (0, before));
    stage.renew(&mut home, 1);
    home.retire().unwrap();
    stage.renew(&mut home, 2);
    home.revert().unwrap();
    assert_eq!((stage.opens(), stage.names()), (1, set(&["current", "v1"])));
}

#[test]
fn a_directory_is_renewed_by_one_device_at_a_time() {
    let stage = Stage::new();
    let home = Home::open(stage.path()).unwrap();
    let refused = Home::open(stage.path());
    assert!(
        matches!(refused, Err(IdentityError::InUse { .. })),
        "{refused:?}"
    );
    drop(home);
    Home::open(stage.path()).unwrap();
}

#[test]
fn a_link_may_be_a_file_and_leads_nowhere_else() {
    let stage = Stage::new();
    let mut home = Home::open(stage.path()).unwrap();
    stage.renew(&mut home, 1);
    let link = stage.path().join(CURRENT);
    for (name, expected) in [
        ("v1", true),
        ("v1\n", true),
        ("../v1", false),
        ("v01", false),
        ("v0", false),
        ("v+1", false),
        ("", false),
    ] {
        fs::remove_file(&link).unwrap();
        fs::write(&link, name).unwrap();
        assert_eq!(stage.opens_in(stage.path()).is_ok(), expected, "{name:?}");
    }
}

#[test]
fn what_is_issued_to_the_top_later_counts_instead() {
    let stage = Stage::new();
    let mut home = Home::open(stage.path()).unwrap();
    stage.renew(&mut home, 1);
    home.retire().unwrap();
    drop(home);
    let reissued = stage.reissue();
    let serial = || Identity::open(stage.path()).unwrap().serial();
    assert_eq!(serial(), reissued.identity().unwrap().serial());
    let mut home = Home::open(stage.path()).unwrap();
    assert_eq!(serial(), reissued.identity().unwrap().serial());
    stage.renew(&mut home, 2);
    // Its certificate begins before: the link counts once the top is gone.
    home.retire().unwrap();
    assert_eq!(stage.opens(), 2);
}

#[test]
fn a_top_that_is_half_removed_does_not_count() {
    let stage = Stage::new();
    let mut home = Home::open(stage.path()).unwrap();
    let serial = |issued: &Issued| issued.identity().unwrap().serial();
    let (reissued, renewed) = (serial(&stage.reissue()), serial(&stage.issued[2]));
    stage.renew(&mut home, 2);
    drop(home);
    let all = remove(stage.path(), Version(0));
    for cut in 0..=all.len() {
        for survivors in survivors(&all[..cut]) {
            let copy = copy(stage.path());
            for step in &survivors {
                let _ = moved(step, stage.path(), copy.path()).carry_out();
            }
            let opened = Identity::open(copy.path()).unwrap().serial();
            assert!([reissued, renewed].contains(&opened), "{survivors:?}");
        }
    }
}

/// The steps of a whole renewal, and which identity may be found after each.
fn steps(stage: &Stage, directory: &Path, (from, to): (u32, usize)) -> Vec<Step> {
    let (version, next) = (Version(from + 1), &stage.issued[to]);
    let mut steps = super::stage(directory, version, next.key().file());
    let files = (next.chain.as_bytes(), next.authorities.as_bytes());
    steps.extend(switch(directory, version, files));
    steps.extend(remove(directory, Version(from)));
    steps.push(Step::Sync(directory.into()));
    steps
}

/// All that can be on the disk when the power goes after these steps: of the changes to names that
/// were not synced, each may be missing, as long as what remains can stand without it.
fn survivors(steps: &[Step]) -> Vec<Vec<Step>> {
    let is_durable = |(number, step): (usize, &Step)| {
        let later = steps.iter().skip(number);
        let parent = changed(step);
        later
            .filter(|later| matches!(later, Step::Sync(path) if Some(path.as_path()) == parent))
            .count()
            > 0
    };
    let at_risk: Vec<usize> = (0..steps.len())
        .filter(|number| changed(&steps[*number]).is_some())
        .filter(|number| !is_durable((*number, &steps[*number])))
        .collect();
    assert!(at_risk.len() < 12, "{at_risk:?}");
    (0_u32..1 << at_risk.len())
        .map(|kept| {
            let is_lost = |number: usize| {
                let place = at_risk.iter().position(|at_risk| *at_risk == number);
                place.is_some_and(|place| kept & 1 << place == 0)
            };
            let kept = steps
                .iter()
                .enumerate()
                .filter(|(number, _)| !is_lost(*number));
            kept.map(|(_, step)| step.clone()).collect()
        })
        .collect()
}

/// The directory whose names a step changes.
fn changed(step: &Step) -> Option<&Path> {
    match step {
        Step::MakeDirectory(path)
        | Step::Write(path, _)
        | Step::Link(path, _)
        | Step::Rename(_, path)
        | Step::Remove(path)
        | Step::RemoveDirectory(path) => path.parent(),
        Step::Sync(_) => None,
    }
}

#[test]
fn the_power_may_go_at_any_step_of_a_renewal() {
    let mut tried = 0;
    for from in [0, 1] {
        let stage = Stage::new();
        let mut home = Home::open(stage.path()).unwrap();
        if from == 1 {
            stage.renew(&mut home, 1);
            home.retire().unwrap();
        }
        let old = usize::try_from(from).unwrap();
        let all = steps(&stage, stage.path(), (from, 2));
        let is_link = |step: &Step| matches!(step, Step::Rename(..));
        let link_durable = all.iter().position(is_link).unwrap() + 2;
        for cut in 0..=all.len() {
            for survivors in survivors(&all[..cut]) {
                let copy = copy(stage.path());
                for step in &survivors {
                    // What stands on a change that was lost is lost with it.
                    let _ = moved(step, stage.path(), copy.path()).carry_out();
                }
                check(&stage, copy.path(), (cut < link_durable).then_some(old));
                tried += 1;
            }
        }
    }
    println!("{tried} disks");
    assert!(tried > 100, "{tried}");
}

#[test]
fn a_first_key_is_there_whenever_the_power_goes_once_it_was_kept() {
    let (top, directory) = (Path::new("top"), Path::new("top/dev-1"));
    let mut steps = first::make(directory);
    steps.extend(first::place(directory, "key.pem", b"key"));
    for survivors in survivors(&steps) {
        let disk = TempDir::new().unwrap();
        for step in &survivors {
            moved(step, top, disk.path()).carry_out().unwrap();
        }
        assert_eq!(fs::read(disk.path().join("dev-1/key.pem")).unwrap(), b"key");
    }
    // What stands in the directory that the process is in has a parent, too.
    let made = first::make(Path::new("dev-1"));
    assert_eq!(made[1], Step::Sync(PathBuf::new()));
    made[1].carry_out().unwrap();
}

/// After a loss of power: one of two opens, and only the new one once it was durable; whoever
/// renews the identity next finds no half of a version, and can.
fn check(stage: &Stage, directory: &Path, old: Option<usize>) {
    let opens = stage.opens_in(directory).unwrap();
    assert!(
        opens == 2 || Some(opens) == old,
        "{opens}: {:?}",
        names(directory)
    );
    let mut home = Home::open(directory).unwrap();
    assert_eq!(stage.opens_in(directory).unwrap(), opens);
    home.retire().unwrap();
    assert_eq!(stage.opens_in(directory).unwrap(), opens);
    let counts = home.counts;
    let expected = match counts {
        Version(0) => set(&[KEY, CHAIN, AUTHORITIES]),
        version => set(&[CURRENT, &version.name()]),
    };
    assert_eq!(names(directory), expected);
    stage.renew(&mut home, 1);
    home.retire().unwrap();
    assert_eq!(stage.opens_in(directory).unwrap(), 1);
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        let found = fs::symlink_metadata(&from).unwrap();
        if found.is_symlink() {
            let target = fs::read_link(&from).unwrap();
            std::os::unix::fs::symlink(target, to).unwrap();
        } else if found.is_dir() {
            fs::create_dir(&to).unwrap();
            copy_into(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// The same step elsewhere.
fn moved(step: &Step, from: &Path, to: &Path) -> Step {
    let moved = |path: &PathBuf| to.join(path.strip_prefix(from).unwrap());
    match step {
        Step::MakeDirectory(path) => Step::MakeDirectory(moved(path)),
        Step::Write(path, contents) => Step::Write(moved(path), contents.clone()),
        Step::Link(path, target) => Step::Link(moved(path), target.clone()),
        Step::Rename(from, to) => Step::Rename(moved(from), moved(to)),
        Step::Remove(path) => Step::Remove(moved(path)),
        Step::RemoveDirectory(path) => Step::RemoveDirectory(moved(path)),
        Step::Sync(path) => Step::Sync(moved(path)),
    }
}
