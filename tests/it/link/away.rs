//! The row about a year away: pages, tombstones, a line that breaks, and a source whose index was lost meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use bulbil::domain::id::{CollectionId, ManifestId};
use bulbil::transport::memory::{Fault, MemoryNet};
use sqlx::{ConnectOptions, SqliteConnection};

use super::sets::{more, pair, record_at_source};
use super::{Row, seconds};
use crate::replicate::Instance;

async fn connection(instance: &Instance) -> SqliteConnection {
    let path = instance.dir.path().join("home/index.db");
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).foreign_keys(true).connect().await.unwrap()
}

/// Deletes snapshots of a collection up to a number, and tells of it.
async fn bury(instance: &Instance, collection: &CollectionId, up_to: u64) {
    let mut connection = connection(instance).await;
    for statement in [
        "UPDATE snapshot SET deleted = 1, complete = 0
         WHERE sequence BETWEEN 2 AND ?2 AND collection_no = (SELECT no FROM collection WHERE id = ?1)",
        "INSERT INTO feed (kind, snapshot_no) SELECT 1, s.no FROM snapshot s JOIN collection c ON c.no = s.collection_no
         WHERE c.id = ?1 AND s.sequence BETWEEN 2 AND ?2 ORDER BY s.sequence",
    ] {
        let query = sqlx::query(statement).bind(collection.as_bytes().to_vec()).bind(up_to as i64);
        query.execute(&mut connection).await.unwrap();
    }
}

/// Begins another feed, which tells of everything in another order: as after a rebuild.
pub async fn begin_anew(instance: &Instance) {
    let mut connection = connection(instance).await;
    for statement in [
        "UPDATE feed_name SET id = randomblob(16)",
        "DELETE FROM feed",
        "DELETE FROM sqlite_sequence WHERE name = 'feed'",
        "INSERT INTO feed (kind, snapshot_no) SELECT 0, no FROM snapshot WHERE announced = 1 AND deleted = 0 ORDER BY id",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
}

/// A tenth of the changes are deletions. Half-way the line breaks, and before it is back the feed begins anew.
pub(super) fn a_year(changes: u64) -> Row {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let deleted = changes / 10;
    let made = changes - deleted;
    let (arrived, requests, time) = runtime.block_on(async {
        let net = MemoryNet::new();
        let (a, b, peer, like) = pair(&net).await;
        let new = more(&a, &like, 2..=made + 1);
        let files: Vec<_> = new.iter().map(|signed| (signed.clone(), vec![])).collect();
        a.store.manifests.save_all(&files).unwrap();
        record_at_source(&a, &new).await;
        bury(&a, &like.collection, deleted + 1).await;
        let known = async || {
            let snapshots = b.store.index.snapshots(None).await.unwrap();
            snapshots.into_iter().map(|snapshot| snapshot.id).collect::<BTreeSet<ManifestId>>()
        };
        net.reset();
        // A change takes about a kilobyte.
        net.strike(Fault::Cut, (made - deleted) * 500);
        let started = std::time::Instant::now();
        b.sync(&peer).await.unwrap_err();
        let half = known().await.len() as u64;
        assert!(half > 1 && half < made - deleted, "{half} snapshots were known when the line broke");
        begin_anew(&a).await;
        let report = b.sync(&peer).await.unwrap();
        let time: Duration = started.elapsed();
        assert!(report.caught_up);
        assert_eq!(b.sync(&peer).await.unwrap().new_snapshots, []);
        let there = known().await;
        let readable = |id: &ManifestId| there.contains(id) && b.store.manifests.load(id).is_ok();
        let arrived = new[deleted as usize..].iter().filter(|signed| readable(&signed.id)).count() as u64;
        (arrived, report.requests, time)
    });
    Row {
        case: "away for a year, the line breaks half-way, and the feed begins anew",
        ours: format!(
            "{changes} changes, {deleted} of them deletions: {arrived} of {} arrived, in {requests} requests after the new feed; {} without a line",
            made - deleted,
            seconds(time)
        ),
        original: "what is older than its window is lost".into(),
        limit: "all",
        holds: arrived == made - deleted,
    }
}
