//! Rows about many snapshots: nothing new, holes. What counts here are requests and bytes, so that no line is needed.

use bulbil::domain::feed::Cursor;
use bulbil::domain::manifest::SignedManifest;
use bulbil::domain::reconcile::{Salt, SaltedSet};
use bulbil::replicate::call::Callee;

use super::*;

const HOLES: u64 = 10;

/// A source with one snapshot, and a mirror that has it.
pub(super) async fn pair(net: &MemoryNet) -> (Instance, Instance, Peer, Manifest) {
    let (a, b) = (Instance::new(net, "alpha", 1).await, Instance::new(net, "beta", 2).await);
    fill(&a, &CollectionId::random(&mut entropy()), 1, &[1000]).await;
    let peer = a.let_in(&b, Role::Mirror, true).await;
    b.sync(&peer).await.unwrap();
    b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    let first = a.store.index.snapshots(None).await.unwrap().remove(0);
    let like = a.store.manifests.load(&first.id).unwrap().0.manifest;
    (a, b, peer, like)
}

/// Manifests that follow the one that is there, all of the same chunks.
pub fn more(a: &Instance, like: &Manifest, numbers: std::ops::RangeInclusive<u64>) -> Vec<SignedManifest> {
    numbers.map(|sequence| Manifest { sequence, ..like.clone() }.sign(&a.store.keys.identity)).collect()
}

/// Records manifests in an index, a page at a time.
async fn record(at: &Instance, peer: &Peer, manifests: &[SignedManifest], cursor: Cursor) {
    for page in manifests.chunks(500) {
        at.store.index.note_page(&peer.id, page, cursor).await.unwrap();
    }
}

/// Records manifests at their source; where its feed ends then.
pub async fn record_at_source(a: &Instance, manifests: &[SignedManifest]) -> Cursor {
    let guest = a.store.index.peers().await.unwrap().remove(0);
    let feed = a.store.index.feed_id().await.unwrap();
    record(a, &guest, manifests, Cursor { feed, position: 0 }).await;
    Cursor { feed, position: a.store.index.feed_head().await.unwrap() }
}

/// Both know `count` snapshots; then ten more at the source, of which the feed tells the mirror nothing.
pub(super) fn many(count: u64) -> [Row; 2] {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let net = MemoryNet::new();
        let (a, b, peer, like) = pair(&net).await;
        let manifests = more(&a, &like, 2..=count);
        let end = record_at_source(&a, &manifests).await;
        record(&b, &peer, &manifests, end).await;
        [nothing_new(&net, &b, &peer, count).await, holes(&net, &a, &b, &peer, &like, count).await]
    })
}

async fn nothing_new(net: &MemoryNet, b: &Instance, peer: &Peer, count: u64) -> Row {
    b.sync(peer).await.unwrap();
    net.reset();
    let before = cpu_time();
    let report = b.sync(peer).await.unwrap();
    let work = cpu_time() - before;
    assert!(report.new_snapshots.is_empty());
    let (counts, requests) = (net.counts(), report.requests);
    let bytes = counts.request_bytes + counts.answer_bytes;
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

async fn holes(net: &MemoryNet, a: &Instance, b: &Instance, peer: &Peer, like: &Manifest, count: u64) -> Row {
    // Under a salt they are scattered among all.
    let new = more(a, like, count + 1..=count + HOLES);
    new.iter().for_each(|signed| a.store.manifests.save(signed, &[]).unwrap());
    let end = record_at_source(a, &new).await;
    b.store.index.note_page(&peer.id, &[], end).await.unwrap();
    // What comparing costs by itself, on the wire.
    let callee = Callee { address: a.address.clone(), key: peer.identity.verify(None).unwrap().identity_key };
    let known = b.store.index.known_ids(&[like.collection].into()).await.unwrap();
    let salt = Salt::random(&mut entropy());
    let set = SaltedSet::new(salt, &known);
    let (mut asking, first) = set.ask().unwrap();
    let (mut next, mut rounds) = (Some(first), 0);
    net.reset();
    while let Some(message) = next {
        let answer = b.puller.caller().reconcile(&callee, salt, &message).await.unwrap().message;
        rounds += 1;
        next = asking.take(&answer).unwrap().1;
    }
    let counts = net.counts();
    let bytes = counts.request_bytes + counts.answer_bytes;
    // And the way that it really happens.
    let report = b.sync(peer).await.unwrap();
    let found = new.iter().filter(|signed| report.new_snapshots.contains(&signed.id)).count() as u64;
    Row {
        case: "many manifests, 10 scattered holes",
        ours: format!(
            "{count} manifests: {found} found; {rounds} round trips and {bytes} bytes for comparing, {} requests in all",
            report.requests
        ),
        original: "never found".into(),
        limit: "10, <= 3 round trips, <= 20 kB",
        holds: found == HOLES && rounds <= 3 && bytes <= 20_000,
    }
}
