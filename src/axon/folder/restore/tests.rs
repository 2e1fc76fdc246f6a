//! Restores of a made-up applet.

use super::*;
use crate::axon::testing::{Counting, NOW, applet_data, keys, sealed, write_backup, write_chunks};
use crate::domain::axon::cipher::Sealed;
use crate::domain::axon::json::Object;
use crate::domain::axon::manifest::Manifest;
use crate::monitor::Tally;
use crate::store::testing::TestStore;

const ID: &str = "11111111-1111-4111-8111-111111111111";
const OTHER: &str = "22222222-2222-4222-8222-222222222222";

/// A home, and a backup beside it.
struct Place {
    host: TestStore,
    collection: Collection,
    tally: Tally,
}

impl Place {
    async fn new() -> Self {
        let host = TestStore::new().await;
        let collection = host.collection("axon").await;
        Self { host, collection, tally: Tally::default() }
    }

    fn backup(&self) -> std::path::PathBuf {
        self.host.dir.path().join("backup_20261121_205042")
    }

    fn shelf(&self) -> AxonShelf {
        self.host.store.axon(self.collection.id)
    }

    async fn restore(&self, existing: Existing) -> RestoreReport {
        let keys = Arc::new(keys());
        let (store, collection, now) = (&self.host.store, &self.collection, NOW.parse().unwrap());
        let restore = Restore { store, collection, keys, now, monitor: &self.tally };
        let options = RestoreOptions { existing, ..RestoreOptions::default() };
        restore.run(BackupFolder::open(&self.backup()).unwrap(), &options, &CancellationToken::new()).await.unwrap()
    }

    fn problems(&self) -> String {
        format!("{:?}", self.tally.problems())
    }

    /// Puts an item on the shelf, whole and open.
    async fn has(&self, sealed: &Sealed, manifest: &Manifest) {
        for (id, bytes) in sealed.chunk_hashes.iter().zip(&sealed.chunks) {
            self.host.store.chunks.write(id, bytes).unwrap();
        }
        let sizes = sealed.chunks.iter().map(|chunk| chunk.len() as u32);
        let item = Item {
            content_hash: manifest.content_hash(),
            kinds: [ContentType::AppletData].into(),
            manifest: manifest.to_value().to_line(),
            key: crate::domain::crypto::secret::Secret::from_slice(sealed.key.expose()),
            complete: true,
            changed_at: NOW.parse().unwrap(),
            chunks: manifest.chunk_hashes().iter().copied().zip(sizes).collect(),
        };
        self.shelf().put(&Change { items: vec![item], ..Change::default() }).await.unwrap();
    }
}

#[tokio::test]
async fn r8_chunks_that_a_killed_restore_copied_are_durable_before_the_applet_is_named() {
    let mut place = Place::new().await;
    let (code, manifest) = sealed(b"{\"type\": \"applet_code\", \"code\": \"1\"}", true);
    write_backup(&place.backup(), ID, Some(&manifest), &[]);
    write_chunks(&place.backup().join("Star/chunks"), &code.chunks);
    place.host.store.chunks.write(&code.chunk_hashes[0], &code.chunks[0]).unwrap();
    let counting = Counting::new(place.host.store.chunks.clone());
    place.host.store.chunks = counting.clone();
    let report = place.restore(Existing::Stays).await;
    assert_eq!((report.chunks, report.restored.len()), (0, 1));
    assert_eq!(counting.syncs(), 1);
}

#[tokio::test]
async fn data_of_another_applet_is_left_out_when_it_is_on_the_shelf_already() {
    let place = Place::new().await;
    let ((foreign, one), (own, two)) = (sealed(&applet_data(OTHER, "x"), true), sealed(&applet_data(ID, "x"), true));
    write_backup(&place.backup(), ID, None, &[("ann", &one), ("bob", &two)]);
    place.has(&foreign, &one).await;
    place.has(&own, &two).await;
    let report = place.restore(Existing::Stays).await;
    assert_eq!(report.data, 1, "{}", place.problems());
    assert!(place.problems().contains("ann") && place.problems().contains("belongs to another applet"));
}

#[tokio::test]
async fn data_that_is_too_long_to_be_looked_into_is_left_out_and_it_is_said() {
    let place = Place::new().await;
    let (long, manifest) = sealed(&applet_data(OTHER, &"x".repeat(65 << 20)), true);
    write_backup(&place.backup(), ID, None, &[("ann", &manifest)]);
    write_chunks(&place.backup().join("Star/data_chunks/ann"), &long.chunks);
    let report = place.restore(Existing::Stays).await;
    assert_eq!(report.data, 0);
    assert!(place.problems().contains("64 MiB"), "{}", place.problems());
}

/// The manifest with an envelope for this instance in which there is nothing.
fn with_bad_envelope(manifest: &Manifest) -> Manifest {
    let mut object = manifest.object().clone();
    let mut envelopes: Object = object.need_object("encrypted_aes_keys").unwrap().clone();
    envelopes.set(keys().own.name().as_str(), data_encoding::BASE64.encode(&[7; 256]));
    object.set("encrypted_aes_keys", envelopes);
    Manifest::from_object(object).unwrap()
}

#[tokio::test]
async fn an_envelope_that_does_not_open_is_no_hole_and_nothing_where_another_one_opens() {
    for opens in [true, false] {
        let place = Place::new().await;
        let (old, first) = sealed(b"{\"type\": \"applet_code\", \"code\": \"1\"}", true);
        write_backup(&place.backup(), ID, Some(&first), &[]);
        write_chunks(&place.backup().join("Star/chunks"), &old.chunks);
        place.restore(Existing::Stays).await;
        let (new, second) = sealed(b"{\"type\": \"applet_code\", \"code\": \"2\"}", opens);
        write_backup(&place.backup(), ID, Some(&with_bad_envelope(&second)), &[]);
        write_chunks(&place.backup().join("Star/chunks"), &new.chunks);
        let report = place.restore(Existing::Replaced).await;
        assert_eq!(report.replaced, ["Star"], "{}", place.problems());
        let lacks: Vec<&Lack> = report.left.iter().map(|left| &left.lack).collect();
        let expected: &[&Lack] = if opens { &[] } else { &[&Lack::Key { given: true }] };
        assert_eq!(lacks, expected);
        assert_eq!(place.problems().contains("envelope does not open"), !opens, "{}", place.problems());
    }
}

#[tokio::test]
async fn r12_a_users_data_that_a_backup_calls_code_stays_a_users() {
    let place = Place::new().await;
    let (data, manifest) = sealed(&applet_data(OTHER, "x"), true);
    write_backup(&place.backup(), ID, Some(&manifest), &[]);
    write_chunks(&place.backup().join("Star/chunks"), &data.chunks);
    place.restore(Existing::Stays).await;
    let item = place.shelf().item(&manifest.content_hash()).await.unwrap();
    assert_eq!(item.map(|item| item.kinds), Some([ContentType::AppletData].into()), "{}", place.problems());
    // Nor is it called anything else once it is known.
    place.restore(Existing::Replaced).await;
    let item = place.shelf().item(&manifest.content_hash()).await.unwrap().unwrap();
    assert_eq!(item.kinds, [ContentType::AppletData].into());
}
