//! Items laid out from a library that was made up.

use std::path::PathBuf;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::axon::extract::{ExtractOptions, ExtractReport, extract};
use crate::axon::library::Library;
use crate::axon::testing::{NOW, sealed};
use crate::domain::crypto::secret::Secret;
use crate::monitor::{Monitor, Problem, Tally};
use crate::store::testing::TestStore;

struct Place {
    host: TestStore,
    library: Library,
}

impl Place {
    async fn new() -> Self {
        Self { host: TestStore::new().await, library: Library::default() }
    }

    /// Adds an item with all its chunks, and one who knows how long they are or not.
    fn has(&mut self, plain: &[u8], kinds: &[ContentType], complete: bool, sizes_known: bool) -> ContentHash {
        let (sealed, manifest) = sealed(plain, false);
        for (id, bytes) in sealed.chunk_hashes.iter().zip(&sealed.chunks) {
            self.host.store.chunks.write(id, bytes).unwrap();
        }
        let sizes = sealed.chunks.iter().map(|chunk| if sizes_known { chunk.len() as u32 } else { 0 });
        let item = Item {
            content_hash: manifest.content_hash(),
            kinds: kinds.iter().cloned().collect(),
            manifest: manifest.to_value().to_line(),
            key: Secret::from_slice(sealed.key.expose()),
            complete,
            changed_at: NOW.parse().unwrap(),
            chunks: manifest.chunk_hashes().iter().copied().zip(sizes).collect(),
        };
        self.library.items.insert(item.content_hash, item);
        manifest.content_hash()
    }

    fn target(&self) -> PathBuf {
        self.host.dir.path().join("out")
    }

    fn extract(&self, monitor: &dyn Monitor) -> ExtractReport {
        let target = self.target();
        let options = ExtractOptions { target: &target, applet: None, now: NOW.parse().unwrap() };
        extract(&self.host.store, &self.library, &options, monitor, &CancellationToken::new()).unwrap()
    }
}

fn message(board: &str, body: &str) -> Vec<u8> {
    format!("{{\"board\": \"{board}\", \"body\": \"{body}\", \"subject\": \"\", \"type\": \"message\"}}").into_bytes()
}

#[tokio::test]
async fn an_item_that_is_not_whole_is_not_opened() {
    let mut place = Place::new().await;
    place.has(&message("b", "x"), &[ContentType::Message], false, false);
    let report = place.extract(&Tally::default());
    assert_eq!((report.messages, report.not_opened.len()), (0, 1));
    assert!(report.not_opened[0].1.contains("bulbil axon download"), "{:?}", report.not_opened);
}

#[tokio::test]
async fn what_is_too_large_is_written_as_it_is_and_counted_however_long_it_was_said_to_be() {
    let mut place = Place::new().await;
    let long = message("b", &"x".repeat(MAX_OPENED as usize + 1));
    let hash = place.has(&long, &[ContentType::Message, ContentType::Pm], true, false);
    let report = place.extract(&Tally::default());
    assert_eq!((report.messages, report.other), (0, 1));
    assert_eq!(std::fs::read(place.target().join(format!("other/{hash}.json"))).unwrap(), long);
}

#[tokio::test]
async fn a_message_of_two_kinds_is_laid_out_once() {
    let mut place = Place::new().await;
    place.has(&message("b", "x"), &[ContentType::Message, ContentType::Pm], true, true);
    let report = place.extract(&Tally::default());
    assert_eq!(report.messages, 1);
    let lines = std::fs::read_to_string(place.target().join("boards/b.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
}

/// Hears notices.
#[derive(Default)]
struct Listening {
    notices: Mutex<Vec<String>>,
}

impl Monitor for Listening {
    fn task(&self, _: &str, _: Counter, _: Option<u64>) {}

    fn add(&self, _: Counter, _: u64) {}

    fn take_back(&self, _: Counter, _: u64) {}

    fn notice(&self, text: &str) {
        self.notices.lock().unwrap().push(text.to_owned());
    }

    fn problem(&self, _: Problem) {}
}

#[tokio::test]
async fn messages_of_many_boards_stand_in_their_order() {
    let mut place = Place::new().await;
    let mut order: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for n in 0..300 {
        let hash = place.has(&message(&format!("b{}", n % 100), &n.to_string()), &[ContentType::Message], true, true);
        let at = NOW.parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_secs(n);
        place.library.items.get_mut(&hash).unwrap().changed_at = at;
        order.entry(n as usize % 100).or_default().push(n.to_string());
    }
    assert_eq!(place.extract(&Tally::default()).messages, 300);
    for (board, bodies) in order {
        let text = std::fs::read_to_string(place.target().join(format!("boards/b{board}.jsonl"))).unwrap();
        let body =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["body"].as_str().unwrap().to_owned();
        assert_eq!(text.lines().map(body).collect::<Vec<_>>(), bodies);
    }
}

#[tokio::test]
async fn what_a_kill_left_and_cannot_be_removed_holds_nothing_up() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new().await;
    let left = place.host.dir.path().join(".bulbil-unfinished-7-0");
    std::fs::create_dir(&left).unwrap();
    // A name that is no text leads nowhere.
    std::fs::write(left.join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();
    let listening = Listening::default();
    place.extract(&listening);
    assert!(place.target().join("report.json").exists());
    let notices = listening.notices.lock().unwrap();
    assert!(notices.iter().any(|text| text.contains(".bulbil-unfinished-7-0")), "{notices:?}");
}
