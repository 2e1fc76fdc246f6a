use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::RecoverError;
use super::journal::{Carry, Journal, Move, Number, Staged};
use super::swap::{by_two_renames, go, take_back};
use crate::domain::id::CollectionId;

/// A live tree with two parts, a third that the snapshot does not have and a fourth that only the snapshot has; something that is left
/// out in the first.
struct World {
    dir: tempfile::TempDir,
    journal: Journal,
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (live, new, kept) = (dir.path().join("app"), dir.path().join("stage/new"), dir.path().join("damaged"));
        write(&live.join("code"), "code");
        write(&live.join("data/file"), "old");
        write(&live.join("data/deep/mine"), "mine");
        write(&live.join("index"), "old");
        write(&live.join("late/file"), "old");
        write(&new.join("data/file"), "new");
        write(&new.join("index"), "new");
        write(&new.join("public/files/file"), "new");
        let mut journal = Journal::new(CollectionId::from_slice(&[1; 16]).unwrap(), Timestamp::UNIX_EPOCH);
        let one = |path: &str, is_new: bool, is_old: bool| Move {
            live: live.join(path),
            staged: is_new.then(|| staged(&new.join(path))),
            kept: is_old.then(|| kept.join(path)),
        };
        journal.moves = vec![
            one("data", true, true),
            one("index", true, true),
            one("late", false, true),
            one("public/files", true, false),
        ];
        journal.carried = vec![Carry { from: kept.join("data/deep/mine"), to: live.join("data/deep/mine") }];
        Self { dir, journal }
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(path)).ok()
    }

    fn is_old(&self) -> bool {
        let is = |path: &str, text: &str| self.read(path).as_deref() == Some(text);
        is("app/data/file", "old")
            && is("app/index", "old")
            && is("app/late/file", "old")
            && is("app/data/deep/mine", "mine")
            && self.read("app/public/files/file").is_none()
    }

    fn is_new(&self) -> bool {
        let is = |path: &str, text: &str| self.read(path).as_deref() == Some(text);
        is("app/data/file", "new")
            && is("app/index", "new")
            && is("app/public/files/file", "new")
            && is("app/data/deep/mine", "mine")
            && self.read("app/late/file").is_none()
    }

    fn old_is_kept(&self) -> bool {
        ["data/file", "index", "late/file"]
            .iter()
            .all(|path| self.read(&format!("damaged/{path}")).as_deref() == Some("old"))
    }

    /// Goes until it dies at the `dies_at`-th step.
    fn go(&self, dies_at: usize) -> Result<(), RecoverError> {
        let mut taken = 0;
        go(&self.journal, &mut |_| {
            taken += 1;
            if taken == dies_at { Err(RecoverError::Cancelled) } else { Ok(()) }
        })
    }
}

fn staged(path: &Path) -> Staged {
    Staged { path: path.to_owned(), number: Number::of(path).unwrap().unwrap() }
}

#[test]
fn row_11_killed_at_any_step_it_is_finished_or_taken_back_and_each_part_is_always_one_of_both() {
    let mut died = 0;
    for dies_at in 1.. {
        for back in [false, true] {
            let world = World::new();
            let dies = world.go(dies_at).is_err();
            died += usize::from(dies);
            for part in ["data/file", "index"] {
                let text = world.read(&format!("app/{part}"));
                assert!(["old", "new"].map(Some).contains(&text.as_deref()), "{part} after step {dies_at}: {text:?}");
            }
            assert_eq!(world.read("app/code").as_deref(), Some("code"));
            if back {
                take_back(&world.journal).unwrap();
                assert!(world.is_old(), "taken back after step {dies_at}");
                // Taken back twice it is the same, and it can be done again.
                take_back(&world.journal).unwrap();
                assert!(world.is_old(), "taken back twice after step {dies_at}");
            }
            world.go(0).unwrap();
            assert!(world.is_new() && world.old_is_kept(), "finished after step {dies_at}, back: {back}");
            world.go(0).unwrap();
            assert!(world.is_new() && world.old_is_kept(), "finished twice after step {dies_at}");
            if !dies && back {
                assert!(died > 12, "only {died} steps died");
                return;
            }
        }
    }
}

#[test]
fn row_11_killed_between_two_renames_the_new_one_is_put_in_place_or_the_old_one_back() {
    for back in [false, true] {
        let world = World::new();
        let Move { live, staged, kept } = &world.journal.moves[0];
        let (staged, kept) = (&staged.as_ref().unwrap().path, kept.as_ref().unwrap());
        assert!(by_two_renames(staged, live, kept, &mut |_| Err(RecoverError::Cancelled)).is_err());
        assert!(!live.exists());
        if back {
            take_back(&world.journal).unwrap();
            assert!(world.is_old());
        }
        world.go(0).unwrap();
        assert!(world.is_new() && world.old_is_kept());
    }
}

#[test]
fn what_is_in_the_place_of_what_is_kept_is_not_touched() {
    let world = World::new();
    write(&world.dir.path().join("damaged/index"), "theirs");
    assert!(world.go(0).is_err());
    assert_eq!(world.read("damaged/index").as_deref(), Some("theirs"));
}
