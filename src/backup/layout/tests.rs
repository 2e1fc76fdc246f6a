use super::*;

struct World {
    dir: tempfile::TempDir,
    layout: Layout,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("data"), CollectionId::from_slice(&[1; 16]).unwrap()).unwrap();
        Self { dir, layout }
    }

    fn read(&self, place: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(place).join("file")).ok()
    }

    /// Lays out snapshot `n`, dying at the `dies_at`-th step.
    fn lay_out(&self, n: u64, dies_at: usize) -> Result<LaidOut, LayoutError> {
        let now = Timestamp::UNIX_EPOCH;
        let next = Next { snapshot: ManifestId::of(&[n as u8]), sequence: n, created_at: now, now };
        let mut taken = 0;
        let mut steps = |_: &'static str| {
            taken += 1;
            if taken == dies_at { Err(LayoutError::Cancelled) } else { Ok(()) }
        };
        self.layout.lay_out_by(next, |scratch| write(scratch, n), &mut steps)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn write(scratch: &Path, n: u64) -> Result<(), LayoutError> {
    fs::write(scratch.join("file"), n.to_string()).map_err(|cause| LayoutError::io("write", scratch, cause))
}

#[test]
fn the_newest_is_in_place_the_one_before_beside_it_and_older_ones_are_gone() {
    let world = World::new();
    for n in 1..=4 {
        let laid = world.lay_out(n, 0).unwrap();
        assert_eq!(world.layout.current().unwrap(), Some(laid));
        assert_eq!(world.read("data"), Some(n.to_string()));
        assert_eq!(world.read("data.previous"), (n > 1).then(|| (n - 1).to_string()));
    }
    assert_eq!(world.names(), ["data", "data.bulbil.json", "data.previous"]);
}

/// With `twice`, as on a file system that cannot exchange.
fn dies_at_each_step(before: u64) {
    for dies_at in 1.. {
        let world = World::new();
        for n in 1..=before {
            world.lay_out(n, 0).unwrap();
        }
        let died = world.lay_out(before + 1, dies_at).is_err();
        let seen = world.read("data").and_then(|text| text.parse::<u64>().ok());
        let whole = if before == 0 { [None, Some(1)] } else { [Some(before), Some(before + 1)] };
        assert!(whole.contains(&seen), "at step {dies_at}: {seen:?}");
        let current = world.layout.current().unwrap().map(|laid| laid.sequence);
        assert_eq!(current, seen, "at step {dies_at}: what is said is what is there");
        // The next run, of the same or of a newer one, clears everything up.
        let newest = before + 1 + dies_at as u64 % 2;
        world.lay_out(newest, 0).unwrap();
        assert_eq!(world.read("data"), Some(newest.to_string()), "after dying at step {dies_at}");
        let kept = world.read("data.previous");
        // Without one in place, the one that was whole may have come into it first.
        if let Some(seen) = seen.filter(|seen| *seen != newest) {
            assert_eq!(kept, Some(seen.to_string()), "after dying at step {dies_at}");
        }
        let allowed = ["data", "data.bulbil.json", "data.previous"];
        assert!(world.names().iter().all(|name| allowed.contains(&name.as_str())), "{:?}", world.names());
        if !died {
            assert!(dies_at > 5);
            return;
        }
    }
}

#[test]
fn killed_at_any_step_the_folder_is_a_whole_snapshot_and_nothing_is_left() {
    (0..=3).for_each(dies_at_each_step);
}

#[test]
fn killed_between_two_renames_the_new_one_is_put_in_place() {
    let world = World::new();
    world.lay_out(1, 0).unwrap();
    world.lay_out(2, 0).unwrap();
    // Made and whole, but not in place.
    assert!(world.lay_out(3, 4).is_err());
    let dying = world.layout.rename_twice(&mut |_| Err(LayoutError::Cancelled));
    assert!(dying.is_err());
    assert_eq!((world.read("data"), world.read("data.previous")), (None, Some("2".into())));
    world.lay_out(4, 0).unwrap();
    assert_eq!((world.read("data"), world.read("data.previous")), (Some("4".into()), Some("3".into())));
    assert_eq!(world.names(), ["data", "data.bulbil.json", "data.previous"]);
}

#[test]
fn what_was_changed_by_hand_becomes_the_previous_one_as_a_whole() {
    let world = World::new();
    world.lay_out(1, 0).unwrap();
    fs::write(world.dir.path().join("data/file"), "by hand").unwrap();
    fs::write(world.dir.path().join("data/more"), "by hand").unwrap();
    world.lay_out(2, 0).unwrap();
    assert_eq!(world.read("data"), Some("2".into()));
    assert!(!world.dir.path().join("data/more").exists());
    assert_eq!(world.read("data.previous"), Some("by hand".into()));
    assert!(world.dir.path().join("data.previous/more").exists());
}

#[test]
fn what_is_not_ours_is_never_touched() {
    for name in ["data", "data.previous", "data.bulbil-new"] {
        let world = World::new();
        let foreign = world.dir.path().join(name);
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("file"), "theirs").unwrap();
        assert!(world.layout.check().is_err(), "{name}");
        assert!(world.lay_out(1, 0).is_err(), "{name}");
        world.layout.clear();
        assert_eq!(world.read(name), Some("theirs".into()));
    }
    // A folder in the place of one that was ours, and a link.
    let world = World::new();
    world.lay_out(1, 0).unwrap();
    fs::remove_dir_all(world.dir.path().join("data")).unwrap();
    std::os::unix::fs::symlink("/", world.dir.path().join("data")).unwrap();
    assert!(matches!(world.lay_out(2, 0), Err(LayoutError::NotOurs { .. })));
    fs::remove_file(world.dir.path().join("data")).unwrap();
    fs::create_dir(world.dir.path().join("data")).unwrap();
    fs::write(world.dir.path().join("data/file"), "theirs").unwrap();
    assert!(matches!(world.lay_out(2, 0), Err(LayoutError::NotOurs { .. })));
    assert_eq!(world.read("data"), Some("theirs".into()));
    // An empty one may be used.
    fs::remove_file(world.dir.path().join("data/file")).unwrap();
    world.lay_out(2, 0).unwrap();
    assert_eq!(world.read("data"), Some("2".into()));
}

#[test]
fn a_marker_of_another_collection_or_a_damaged_one_is_an_error() {
    let world = World::new();
    world.lay_out(1, 0).unwrap();
    let other = Layout::new(&world.layout.into, CollectionId::from_slice(&[2; 16]).unwrap()).unwrap();
    assert!(matches!(other.check(), Err(LayoutError::OtherCollection { .. })));
    fs::write(&world.layout.marker, b"{\"format\":").unwrap();
    assert!(matches!(world.lay_out(2, 0), Err(LayoutError::Marker { .. })));
    assert_eq!(world.read("data"), Some("1".into()));
    assert!(matches!(Layout::new(Path::new("/"), other.collection), Err(LayoutError::NotAPlace { .. })));
    assert!(matches!(Layout::new(Path::new("data"), other.collection), Err(LayoutError::NotAPlace { .. })));
}
