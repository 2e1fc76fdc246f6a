//! Rows about many snapshots: nothing new, holes, a year away.

use bulbil::domain::feed::Cursor;
use bulbil::domain::id::ManifestId;
use bulbil::domain::manifest::SignedManifest;

use super::*;

/// Manifests that follow the one that [`fill`] made, all of the same chunks.
fn more(a: &Instance, like: &Manifest, numbers: std::ops::RangeInclusive<u64>) -> Vec<SignedManifest> {
    let sign = |sequence| Manifest { sequence, ..like.clone() }.sign(&a.store.keys.identity);
    numbers.map(sign).collect()
}

/// Records manifests in the index, a page at a time.
async fn record(at: &Instance, peer: &Peer, manifests: &[SignedManifest], cursor: Cursor) {
    for page in manifests.chunks(500) {
        at.store.index.note_page(&peer.id, page, cursor).await.unwrap();
    }
}

/// A source and a mirror that know `count` snapshots.
async fn known_to_both(still: &Still, net: &MemoryNet, count: u64) -> (Instance, Mirror, Manifest) {
    let a = instance(still, net, "alpha", 1, false).await;
    let data = CollectionId::random(&mut entropy());
    fill(&a, &data, 1, &[1000]).await;
    let b = Mirror::new(still, net, LinkShape::default(), &[&a]).await;
    b.puller.fetch(None, &b.peers, &never()).await.unwrap();
    let first = a.store.index.snapshots(None).await.unwrap().remove(0);
    let like = a.store.manifests.load(&first.id).unwrap().0.manifest;
    let manifests = more(&a, &like, 2..=count);
    let end = record_at_source(&a, &manifests).await;
    record(&b.instance, &b.peers[0], &manifests, end).await;
    (a, b, like)
}

/// Records manifests at their source; where its feed ends then.
async fn record_at_source(a: &Instance, manifests: &[SignedManifest]) -> Cursor {
    let guest = a.store.index.peers().await.unwrap().remove(0);
    let feed = a.store.index.feed_id().await.unwrap();
    record(a, &guest, manifests, Cursor { feed, position: 0 }).await;
    Cursor { feed, position: a.store.index.feed_head().await.unwrap() }
}

pub(super) fn nothing_new(count: u64) -> Row {
    let (requests, bytes, work) = still(async |still| {
        let net = MemoryNet::new();
        let (_a, b, _) = known_to_both(&still, &net, count).await;
        b.puller.sync(&b.peers[0], Duration::ZERO, &never()).await.unwrap();
        net.reset();
        let before = cpu_time();
        let report = b.puller.sync(&b.peers[0], Duration::ZERO, &never()).await.unwrap();
        assert!(report.new_snapshots.is_empty());
        let counts = net.counts();
        (report.requests, counts.request_bytes + counts.answer_bytes, cpu_time() - before)
    });
    Row {
        case: "nothing changed, many snapshots known",
        ours: format!(
            "{count} snapshots: {requests} request, {bytes} bytes both ways, {:.1} ms of work on both sides",
            work.as_secs_f64() * 1e3
        ),
        original: "-".into(),
        limit: "1, <= 1,500 bytes",
        holds: requests == 1 && bytes <= 1500,
    }
}

pub(super) fn holes(count: u64) -> Row {
    const HOLES: u64 = 10;
    let (found, requests, bytes) = still(async |still| {
        let net = MemoryNet::new();
        let (a, b, like) = known_to_both(&still, &net, count).await;
        // Ten more at the source, of which the mirror hears nothing: its cursor stands behind them. Among salted ids they are scattered.
        let new = more(&a, &like, count + 1..=count + HOLES);
        new.iter().for_each(|signed| a.store.manifests.save(signed, &[]).unwrap());
        let end = record_at_source(&a, &new).await;
        b.instance.store.index.note_page(&b.peers[0].id, &[], end).await.unwrap();
        net.reset();
        let report = b.puller.sync(&b.peers[0], Duration::ZERO, &never()).await.unwrap();
        let counts = net.counts();
        let missing: Vec<ManifestId> = new.iter().map(|signed| signed.id).collect();
        let found = missing.iter().filter(|id| report.new_snapshots.contains(id)).count();
        // The manifests themselves are what was to be brought.
        let carried: u64 = new.iter().map(|signed| signed.bytes.len() as u64).sum();
        (found as u64, report.requests, counts.request_bytes + counts.answer_bytes - carried)
    });
    Row {
        case: "many manifests, 10 scattered holes",
        ours: format!(
            "{count} manifests: {found} found, {requests} requests in all, {bytes} bytes beside the manifests"
        ),
        original: "never found".into(),
        // The page, /config, three rounds, the manifests, their list of chunks is known.
        limit: "10, <= 3 round trips of comparing, <= 20 kB",
        holds: found == HOLES && requests <= 6 && bytes <= 20_000,
    }
}

pub(super) fn a_year_away(changes: u64) -> Row {
    let (arrived, requests, time) = still(async |still| {
        let net = MemoryNet::new();
        let a = instance(&still, &net, "alpha", 1, false).await;
        let data = CollectionId::random(&mut entropy());
        fill(&a, &data, 1, &[1000]).await;
        let b = Mirror::new(&still, &net, LinkShape::default(), &[&a]).await;
        b.puller.fetch(None, &b.peers, &never()).await.unwrap();
        let first = a.store.index.snapshots(None).await.unwrap().remove(0);
        let like = a.store.manifests.load(&first.id).unwrap().0.manifest;
        let new = more(&a, &like, 2..=changes + 1);
        new.iter().for_each(|signed| a.store.manifests.save(signed, &[]).unwrap());
        record_at_source(&a, &new).await;
        let started = Instant::now();
        let report = b.puller.sync(&b.peers[0], Duration::ZERO, &never()).await.unwrap();
        let known = b.instance.store.index.snapshots(None).await.unwrap();
        assert!(report.caught_up && known.iter().all(|snapshot| snapshot.complete));
        (report.new_snapshots.len() as u64, report.requests, started.elapsed())
    });
    Row {
        case: "away for a year",
        ours: format!("{changes} changes: {arrived} arrived in {requests} requests, {}", seconds(time)),
        original: "what is older than its window is lost".into(),
        limit: "all",
        holds: arrived == changes,
    }
}
