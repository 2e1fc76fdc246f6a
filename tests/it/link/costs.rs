//! Rows about what is sent and what it costs: day 2, envelopes.

use bulbil::domain::envelope::SnapshotKey;
use bulbil::domain::feed::Cursor;
use bulbil::domain::manifest::SignedManifest;
use bulbil::domain::segment;
use bulbil::replicate::call::Callee;

use super::*;

/// Of a collection that is backed up for real, one file in a hundred changes.
pub(super) fn day_two(files: u64) -> Row {
    const FILE: usize = 256 << 10;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (new, sent) = runtime.block_on(async {
        let net = MemoryNet::new();
        let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
        let notes = a.collection("notes").await;
        for n in 0..files {
            a.put(&format!("notes/{n:04}"), n, FILE);
        }
        a.backup(&notes).await;
        let peer = a.let_in(&b, Role::Reader, false).await;
        b.sync(&peer).await.unwrap();
        b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
        (0..files).step_by(100).for_each(|n| a.put(&format!("notes/{n:04}"), n + files, FILE));
        a.clock.set("2026-11-22T10:01:00Z".parse().unwrap());
        b.clock.set(a.clock_now());
        let before = a.store.index.stored_bytes().await.unwrap();
        a.backup(&notes).await;
        let new = a.store.index.stored_bytes().await.unwrap() - before;
        net.reset();
        b.sync(&peer).await.unwrap();
        b.puller.fetch(None, &[peer], &never()).await.unwrap();
        (new, net.counts().answer_bytes)
    });
    let lists = lists_of_ten_gigabytes();
    let times = sent as f64 / new as f64;
    Row {
        case: "day 2: 1 % changed (sent: a real backup of some MiB; lists and manifest: those of 10 GB)",
        ours: format!(
            "{} MiB: {:.2} MB of chunks and metadata are new, {:.2} MB were sent: {times:.3} times; manifest and new lists of 10 GB {} kB",
            files * FILE as u64 / MIB,
            new as f64 / 1e6,
            sent as f64 / 1e6,
            lists / 1000
        ),
        original: "-".into(),
        limit: "<= 1.1 times, <= 1 MB",
        holds: times <= 1.1 && lists <= 1_000_000,
    }
}

/// Bytes of the manifest and of the new lists of chunks when 1 % of 10 GB has changed: what is new stands at the end, as a backup puts it.
fn lists_of_ten_gigabytes() -> usize {
    const CHUNK: u32 = 1_500_000;
    const CHUNKS: u64 = 10_000_000_000 / CHUNK as u64;
    let entry = |n: u64| SegmentEntry { id: ChunkId::of(&n.to_be_bytes()), size_bytes: CHUNK };
    let before = segment::cut((0..CHUNKS).map(entry).collect::<Vec<_>>());
    let left = (0..CHUNKS).filter(|n| n % 100 != 50);
    let after = segment::cut(left.chain(CHUNKS..CHUNKS + CHUNKS / 100).map(entry).collect::<Vec<_>>());
    let known: Vec<ChunkId> = before.iter().map(|segment| segment.id).collect();
    let new: usize =
        after.iter().filter(|segment| !known.contains(&segment.id)).map(|segment| segment.encode().len()).sum();
    let named: Vec<SegmentSummary> = after.iter().map(SegmentSummary::from).collect();
    new + serde_json::to_vec(&named).unwrap().len() + 1000
}

/// Keys for a reader, just in time.
pub(super) fn envelopes(count: u64) -> Row {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (requests, got, work) = runtime.block_on(async {
        let net = MemoryNet::new();
        let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
        let data = CollectionId::random(&mut entropy());
        fill(&a, &data, 1, &[1000]).await;
        let peer = a.let_in(&b, Role::Reader, false).await;
        let first = a.store.index.snapshots(None).await.unwrap().remove(0);
        let like = a.store.manifests.load(&first.id).unwrap().0.manifest;
        let mut manifests: Vec<SignedManifest> = Vec::new();
        for sequence in 2..=count + 1 {
            let key = SnapshotKey::random(&mut entropy());
            let signed =
                Manifest { sequence, commitment: key.commitment(), ..like.clone() }.sign(&a.store.keys.identity);
            let vault = key.wrap_for_vault(&mut entropy(), &signed.id, &a.store.keys.master);
            a.store.manifests.save(&signed, &[vault]).unwrap();
            manifests.push(signed);
        }
        let guest = a.store.index.peers().await.unwrap().remove(0);
        let feed = a.store.index.feed_id().await.unwrap();
        for page in manifests.chunks(500) {
            a.store.index.note_page(&guest.id, page, Cursor { feed, position: 0 }).await.unwrap();
        }
        let ids: Vec<_> = manifests.iter().map(|signed| signed.id).collect();
        let identity = guest.identity.verify(None).unwrap();
        let admitted = a.serve.admit(&guest, identity).await.unwrap().unwrap();
        let key = peer.identity.verify(None).unwrap().identity_key;
        let callee = Callee { address: a.address.clone(), key };
        let caller = b.puller.caller();
        caller.envelopes(&callee, &ids[..1]).await.unwrap();
        let before = cpu_time();
        bulbil::replicate::rekey::envelopes(&a.serve, &admitted, &ids).await.unwrap();
        let work = cpu_time() - before;
        let requests = caller.client().counts().requests;
        let answers = caller.envelopes(&callee, &ids).await.unwrap();
        let got = answers.iter().filter(|answer| answer.envelope.is_some()).count() as u64;
        (caller.client().counts().requests - requests, got, work)
    });
    Row {
        case: "envelopes, just in time",
        ours: format!(
            "{got} of {count} in {requests} request, {:.3} s of work to make them (RSA-3072)",
            work.as_secs_f64()
        ),
        original: "-".into(),
        limit: "1 request, <= 0.2 s",
        holds: (requests, got) == (1, count) && work <= Duration::from_millis(200),
    }
}
