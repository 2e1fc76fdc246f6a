//! A backup that is carried from one instance to another, and what takes the space: in the browser.

use super::*;

#[tokio::test]
async fn a_backup_is_written_here_and_taken_over_there() {
    let (here, there) = (Bench::with_snapshots(2).await, Bench::new().await);
    here.get("/targets").await.shows("/portable");
    there.get("/").await.shows("/portable");
    let disk = here.folder.with_file_name("usb");
    std::fs::create_dir(&disk).unwrap();
    let disk = disk.to_str().unwrap();

    let nowhere = here.post("/portable/export", &[("output", "usb")]).await;
    assert_eq!(nowhere.status, StatusCode::UNPROCESSABLE_ENTITY);
    nowhere.shows("absolute path");
    nowhere.shows("output-wrong");
    let written = here.post("/portable/export", &[("output", disk), ("collections", "notes")]).await;
    assert_eq!(here.ended(written.next()).await, RunState::Done);
    here.get(written.next()).await.shows("2 snapshots");

    // A key that is none is never shown again.
    let odd = there.post("/portable/import", &[("folder", disk), ("recovery_key", "not-a-key")]).await;
    assert_eq!(odd.status, StatusCode::UNPROCESSABLE_ENTITY);
    odd.shows("recovery_key-wrong");
    odd.hides("not-a-key");
    let taken = there.post("/portable/import", &[("folder", disk), ("recovery_key", "")]).await;
    assert_eq!(there.ended(taken.next()).await, RunState::Done);
    let page = there.get(taken.next()).await;
    page.shows("2 new snapshots");
    // Instances of tests have one envelope key.
    page.shows("<dt>Can be read from now on</dt><dd>2 snapshots</dd>");
    let again = there.post("/portable/import", &[("folder", disk)]).await;
    assert_eq!(there.ended(again.next()).await, RunState::Done);
    there.get(again.next()).await.shows("0 new snapshots");
    let nothing = there.post("/portable/import", &[("folder", "/no/such/folder")]).await;
    assert_eq!(there.ended(nothing.next()).await, RunState::Failed);
}

#[tokio::test]
async fn who_can_open_a_snapshot_and_what_of_it_is_here_is_said() {
    let bench = Bench::with_snapshots(1).await;
    let id = bench.snapshot(1).await;
    bench.get(&format!("/snapshots/{id}")).await.shows(&format!("/snapshots/{id}/inspection"));
    let page = bench.get(&format!("/snapshots/{id}/inspection")).await;
    for words in ["It opens here", "this instance's master key", "this instance's recovery key", "all of it is here"] {
        page.shows(words);
    }
    let chunks = bench.planes._home.home().join("chunks");
    for folder in std::fs::read_dir(&chunks).unwrap() {
        let _ = std::fs::remove_dir_all(folder.unwrap().path());
    }
    bench.get(&format!("/snapshots/{id}/inspection")).await.shows("lists of chunks are missing");
}

#[tokio::test]
async fn what_takes_the_space_is_counted_by_folder_and_by_snapshot() {
    let bench = Bench::with_snapshots(2).await;
    std::fs::create_dir(bench.folder.join("pictures")).unwrap();
    std::fs::write(bench.folder.join("pictures/large.bin"), vec![7; 1 << 20]).unwrap();
    bench.back_up().await;
    bench.get("/collections/notes").await.shows("What takes the space");
    let counted = bench.post("/collections/notes/runs", &[("kind", "usage")]).await;
    assert_eq!(bench.ended(counted.next()).await, RunState::Done);
    let page = bench.get(counted.next()).await;
    page.shows("By folder");
    page.shows("pictures");
    page.shows(">@3</a>");
}
