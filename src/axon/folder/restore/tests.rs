//! Restores of a made-up applet.

use super::*;
use crate::axon::testing::{Counting, NOW, keys, sealed, write_backup, write_chunks};
use crate::monitor::Tally;
use crate::store::testing::TestStore;

const ID: &str = "11111111-1111-4111-8111-111111111111";

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

    async fn restore(&self, existing: Existing) -> RestoreReport {
        let keys = Arc::new(keys());
        let (store, collection, now) = (&self.host.store, &self.collection, NOW.parse().unwrap());
        let restore = Restore { store, collection, keys, now, monitor: &self.tally };
        let options = RestoreOptions { existing, ..RestoreOptions::default() };
        restore.run(BackupFolder::open(&self.backup()).unwrap(), &options, &CancellationToken::new()).await.unwrap()
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
