//! Comparing sets with a peer that dies at the worst moment: while it answers, between two answers, and for longer.

use std::collections::BTreeSet;

use bulbil::domain::feed::Cursor;
use bulbil::domain::id::{CollectionId, ManifestId};
use bulbil::domain::manifest::Manifest;
use bulbil::domain::peer::Role;
use bulbil::store::entropy;
use bulbil::store::index::Peer;
use bulbil::transport::memory::{Fault, MemoryNet};

use crate::link::{begin_anew, fill, more, record_at_source};
use crate::replicate::Instance;

/// More than one answer has room for.
const HOLES: u64 = 1100;
/// How often a peer dies, each time somewhere else; and then once not at all.
const DEATHS: usize = 10;

/// A source, mirrors that know its first snapshot, and all others, of which they have not heard.
struct Scene {
    net: MemoryNet,
    source: Instance,
    mirrors: Vec<(Instance, Peer)>,
    holes: BTreeSet<ManifestId>,
}

impl Scene {
    async fn new(mirrors: usize) -> Self {
        let net = MemoryNet::new();
        let source = Instance::new(&net, "alpha", 1).await;
        fill(&source, &CollectionId::random(&mut entropy()), 1, &[1000]).await;
        let mut paired = Vec::new();
        for port in 0..mirrors {
            let mirror = Instance::new(&net, "beta", 10 + port as u16).await;
            let peer = source.let_in(&mirror, Role::Mirror, true).await;
            mirror.sync(&peer).await.unwrap();
            paired.push((mirror, peer));
        }
        let first = source.store.index.snapshots(None).await.unwrap().remove(0);
        let like: Manifest = source.store.manifests.load(&first.id).unwrap().0.manifest;
        let new = more(&source, &like, 2..=HOLES + 1);
        let files: Vec<_> = new.iter().map(|signed| (signed.clone(), vec![])).collect();
        source.store.manifests.save_all(&files).unwrap();
        record_at_source(&source, &new).await;
        let holes = new.iter().map(|signed| signed.id).collect();
        Self { net, source, mirrors: paired, holes }
    }

    /// Mirrors believe that they have read the feed to its end.
    async fn forget_to_tell(&self) {
        let index = &self.source.store.index;
        let cursor = Cursor { feed: index.feed_id().await.unwrap(), position: index.feed_head().await.unwrap() };
        for (mirror, peer) in &self.mirrors {
            mirror.store.index.note_page(&peer.id, &[], cursor).await.unwrap();
        }
    }

    /// The source dies at places spread over all that it answers, with one mirror after the other.
    async fn dies_everywhere(&self) {
        let (last, others) = self.mirrors.split_last().unwrap();
        self.net.reset();
        last.0.sync(&last.1).await.unwrap();
        let total = self.net.counts().answer_bytes;
        self.is_whole(last).await;
        let mut deaths = 0;
        for (n, pair) in others.iter().enumerate() {
            let (mirror, peer) = pair;
            self.net.reset();
            self.net.strike(Fault::Cut, n as u64 * total / others.len() as u64 + n as u64 % 7);
            // Every other one finds it gone when it dials again, and again.
            (1..=n as u64 % 2 * 3).for_each(|dial| self.net.refuse_dial(dial));
            let mut failures = 0;
            while let Err(error) = mirror.sync(peer).await {
                failures += 1;
                assert!(failures <= 6, "it died at place {n}, and still: {error}");
                let known = mirror.store.index.peer(&peer.id).await.unwrap().unwrap();
                assert!(known.last_error.is_some(), "nobody was told");
            }
            self.is_whole(pair).await;
            deaths += usize::from(failures > 0);
        }
        assert!(deaths * 4 >= others.len() * 3, "only {deaths} of {} struck a sync", others.len());
    }

    /// All holes are filled, each file is one that the index knows, and the next visit has nothing to do.
    async fn is_whole(&self, (mirror, peer): &(Instance, Peer)) {
        let known = mirror.store.index.snapshots(None).await.unwrap();
        let known: BTreeSet<ManifestId> = known.into_iter().map(|snapshot| snapshot.id).collect();
        assert!(self.holes.is_subset(&known), "{} are missing", self.holes.difference(&known).count());
        assert_eq!(mirror.store.manifests.list().unwrap().into_iter().collect::<BTreeSet<_>>(), known);
        assert!(known.iter().all(|id| mirror.store.manifests.load(id).is_ok()));
        let report = mirror.sync(peer).await.unwrap();
        assert_eq!((report.requests, report.new_snapshots.len(), report.caught_up), (1, 0, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_are_filled_wherever_the_peer_dies_meanwhile() {
    let scene = Scene::new(DEATHS + 1).await;
    scene.forget_to_tell().await;
    scene.dies_everywhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_new_feed_is_taken_over_wherever_the_peer_dies_meanwhile() {
    let scene = Scene::new(DEATHS + 1).await;
    begin_anew(&scene.source).await;
    scene.dies_everywhere().await;
}
