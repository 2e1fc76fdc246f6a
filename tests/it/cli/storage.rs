//! A folder of the home whose disk is not mounted: every command says so, and nothing is written into what shows in its place.

use super::*;

#[test]
fn a_folder_without_its_disk_is_named_and_not_written_into_until_its_loss_is_accepted() {
    let place = Place::with_snapshot();
    let home = place.home();
    fs::rename(home.join("chunks"), home.join("mounted")).unwrap();
    fs::create_dir(home.join("chunks")).unwrap();
    for command in [&["backup"][..], &["scrub", "--now"], &["verify"], &["rebuild"]] {
        fails(&home, command, &["chunks is not the folder", "Is its disk mounted?", "scrub --accept-loss"]);
    }
    assert!(crate::support::expect(2, &home, &["status"]).contains("Is its disk mounted?"));
    let status: serde_json::Value =
        serde_json::from_str(&crate::support::expect(2, &home, &["--json", "status"])).unwrap();
    assert!(status["result"]["storage_problem"].as_str().unwrap().contains("chunks"));
    assert_eq!(status["result"]["alerts"][0]["kind"], "away");
    assert_eq!(fs::read_dir(home.join("chunks")).unwrap().count(), 0);

    let output = run(&home, &["scrub", "--accept-loss"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(crate::support::expect(2, &home, &["status"]).contains("lost"));
    good(&home, &["backup"]);
}

#[test]
fn a_manifest_that_nobody_has_is_named_and_is_exit_code_2() {
    let place = Place::with_snapshot();
    let home = place.home();
    let names = fs::read_dir(home.join("manifests")).unwrap().map(|entry| entry.unwrap().path());
    let manifest = names.into_iter().find(|path| path.file_name().unwrap().len() == 64).unwrap();
    fs::write(&manifest, b"{}").unwrap();
    let output = run(&home, &["scrub", "--now"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(crate::support::expect(2, &home, &["status"]).contains("1 manifest lost"));
    assert_eq!(json(&home, &["scrub"])["lost_manifests"].as_array().unwrap().len(), 1);
}
