//! Presets of one's own.

use super::{World, said, write};

#[test]
fn presets_are_listed_and_shown_and_a_wrong_one_is_a_sentence() {
    let world = World::new();
    let listed = world.good(&["preset", "list"]);
    for name in ["quilltap", "quilltap-4", "axon-bbs", "generic"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert!(world.good(&["preset", "show", "quilltap"]).contains("public/data/files"));
    let none = world.run(&["preset", "show", "nothing"]);
    assert!(none.status.code() == Some(1) && said(&none).contains("no preset \"nothing\""), "{}", said(&none));
    write(&world.home().join("presets/mine.toml"), "name = \"mine\"\nversion = 1\nabout = \"x\"\nnonsense = 1\n");
    let wrong = world.run(&["preset", "show", "mine"]);
    assert!(wrong.status.code() == Some(1) && said(&wrong).contains("nonsense"), "{}", said(&wrong));
    // One that is wrong does not hide the others.
    assert!(world.good(&["preset", "list"]).contains("quilltap-4"));
}
