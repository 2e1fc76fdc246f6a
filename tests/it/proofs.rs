//! A copy that is claimed is a copy that was proved: by mirrors, blind ones too, and not by anybody who has lost a byte of it.

use std::sync::{Arc, Mutex};

use bulbil::clock::Clock;
use bulbil::domain::id::{ChunkId, ManifestId};
use bulbil::domain::peer::{Rights, Role, Scope, Trust};
use bulbil::domain::proof::{Digest, MAX_CLAIMS, MAX_SAMPLE, Sample};
use bulbil::domain::wire::messages::{ChallengeAnswer, ProofRequest};
use bulbil::replicate::call::{CallError, Callee};
use bulbil::replicate::prove::{KeptCopy, Proving, copies, prove};
use bulbil::replicate::pull::PullError;
use bulbil::store::index::Peer;
use bulbil::store::{Rotate, Store};
use bulbil::transport::memory::{Fault, MemoryNet};
use bulbil::worker::prove::Prover;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::replicate::{Instance, never, small_source, wait_for};

/// Somebody that keeps everything of a source; and the source, as it knows it.
async fn keeper(net: &MemoryNet, source: &Instance, name: &str, port: u16, role: Role) -> (Instance, Peer) {
    let keeper = Instance::new(net, name, port).await;
    let peer = source.let_in(&keeper, role, false).await;
    pull(&keeper, &peer).await;
    (keeper, peer)
}

async fn pull(keeper: &Instance, peer: &Peer) {
    keeper.sync(peer).await.unwrap();
    keeper.puller.fetch(None, std::slice::from_ref(peer), &never()).await.unwrap();
}

async fn proves(keeper: &Instance, peer: &Peer) -> Proving {
    prove(&keeper.puller, peer, &never()).await.unwrap()
}

/// What the source's status has of its only collection.
async fn told(source: &Instance) -> Vec<KeptCopy> {
    let collection = source.store.index.collections().await.unwrap().remove(0).id;
    copies(&source.store, &collection).await.unwrap()
}

/// Name, sampled and right of the only copy.
async fn only(source: &Instance) -> (u32, u32) {
    let told = told(source).await;
    assert_eq!(told.len(), 1, "{told:?}");
    (told[0].last.proof.sampled, told[0].last.proof.right)
}

fn later(instances: &[&Instance], by: SignedDuration) -> Timestamp {
    let now = instances[0].clock.now() + by;
    instances.iter().for_each(|instance| instance.clock.set(now));
    now
}

fn file(instance: &Instance, id: &ChunkId) -> std::path::PathBuf {
    let name = id.to_string();
    instance.dir.path().join("home/chunks").join(&name[..2]).join(&name[2..4]).join(name)
}

fn flip(instance: &Instance, id: &ChunkId) {
    let mut bytes = std::fs::read(file(instance, id)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file(instance, id), &bytes).unwrap();
}

fn callee(of: &Instance) -> Callee {
    Callee { address: of.address.clone(), key: of.store.keys.identity.public() }
}

async fn challenge(source: &Instance, keeper: &Instance, claims: &[ManifestId]) -> Result<ChallengeAnswer, CallError> {
    keeper.puller.caller().challenge(&callee(source), claims).await
}

async fn answer(
    source: &Instance,
    keeper: &Instance,
    to: &ChallengeAnswer,
    digests: Vec<Vec<Option<Digest>>>,
) -> Result<(), CallError> {
    let proof = ProofRequest { challenge: to.challenge, digests };
    keeper.puller.caller().prove(&callee(source), &proof, Default::default()).await
}

/// The right digests, as `prover` would make them with the chunks of `of`.
fn digests(of: &Instance, prover: &Instance, samples: &[Sample]) -> Vec<Vec<Option<Digest>>> {
    let id = prover.store.keys.instance();
    let one = |sample: &Sample, chunk: &ChunkId| sample.digest(&id, chunk, &of.store.chunks.read(chunk).unwrap());
    samples.iter().map(|sample| sample.ids.iter().map(|chunk| Some(one(sample, chunk))).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_and_a_blind_mirror_prove_what_they_keep_and_how_far_behind_it_is() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (b, of_b) = keeper(&net, &a, "beta", 2, Role::Reader).await;
    let (c, of_c) = keeper(&net, &a, "gamma", 3, Role::Mirror).await;
    assert_eq!(told(&a).await, []);
    let objects = a.store.index.present_chunks().await.unwrap().len() as u64;
    assert!((4..=32).contains(&objects));
    let whole = Proving { claimed: 1, challenged: 1, sampled: objects, ..Proving::default() };
    assert_eq!((proves(&b, &of_b).await, proves(&c, &of_c).await), (whole, whole));
    let mut names: Vec<String> = told(&a).await.into_iter().map(|copy| copy.name).collect();
    names.sort();
    assert_eq!(names, ["beta", "gamma"]);
    assert!(told(&a).await.iter().all(|copy| copy.is_proved(a.clock.now()) && copy.last.behind == 0));

    // The source goes on, beta follows, gamma does not.
    let collection = a.store.index.collections().await.unwrap().remove(0);
    for n in 0..2 {
        later(&[&a, &b, &c], SignedDuration::from_mins(2));
        a.put("notes/new", 100 + n, 10_000);
        a.backup(&collection).await;
    }
    pull(&b, &of_b).await;
    proves(&b, &of_b).await;
    proves(&c, &of_c).await;
    let behind = |copies: &[KeptCopy], name: &str| copies.iter().find(|copy| copy.name == name).unwrap().last.clone();
    let copies = told(&a).await;
    assert_eq!((behind(&copies, "beta").behind, behind(&copies, "gamma").behind), (0, 2));
    assert_eq!(behind(&copies, "gamma").proof.snapshot, id);

    // A proof counts for three days, and one of somebody who is no longer trusted not at all.
    let now = a.clock.now();
    assert!(copies.iter().all(|copy| copy.is_proved(now + SignedDuration::from_hours(71))));
    assert!(!copies.iter().any(|copy| copy.is_proved(now + SignedDuration::from_hours(73))));
    let known = a.store.index.peer(&c.store.keys.instance()).await.unwrap().unwrap();
    a.store.index.save_peer(&Peer { trust: Trust::Revoked, ..known }).await.unwrap();
    assert_eq!(told(&a).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_and_a_missing_chunk_are_found_and_a_liar_is_not_believed() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (b, of_b) = keeper(&net, &a, "beta", 2, Role::Mirror).await;
    let objects = a.store.index.present_chunks().await.unwrap();
    let all = objects.len() as u32;
    flip(&b, &objects[0]);
    assert_eq!(proves(&b, &of_b).await.lacking, 1);
    assert_eq!(only(&a).await, (all, all - 1));
    later(&[&a, &b], SignedDuration::from_mins(2));
    std::fs::remove_file(file(&b, &objects[1])).unwrap();
    assert_eq!(proves(&b, &of_b).await.lacking, 2);
    assert_eq!(only(&a).await, (all, all - 2));
    assert!(!told(&a).await[0].is_proved(a.clock.now()));

    // A digest over the bytes that it has instead, or over a part of them, is as wrong as none.
    later(&[&a, &b], SignedDuration::from_mins(2));
    let asked = challenge(&a, &b, &[id]).await.unwrap();
    let mut lies = digests(&a, &b, &asked.claims);
    let sample = &asked.claims[0];
    let place = sample.ids.iter().position(|chunk| *chunk == objects[0]).unwrap();
    let rotten = std::fs::read(file(&b, &objects[0])).unwrap();
    lies[0][place] = Some(sample.digest(&b.store.keys.instance(), &objects[0], &rotten));
    answer(&a, &b, &asked, lies).await.unwrap();
    assert_eq!(only(&a).await, (all, all - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_borrowed_expired_and_misshapen_proofs_are_refused() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (b, _) = keeper(&net, &a, "beta", 2, Role::Mirror).await;
    let (c, _) = keeper(&net, &a, "gamma", 3, Role::Mirror).await;
    let minutes = |n| later(&[&a, &b, &c], SignedDuration::from_mins(n));

    // What gamma proves is no proof of beta's, neither its challenge nor its digests.
    let (of_b, of_c) = (challenge(&a, &b, &[id]).await.unwrap(), challenge(&a, &c, &[id]).await.unwrap());
    let refused = answer(&a, &b, &of_c, digests(&c, &c, &of_c.claims)).await;
    assert!(matches!(refused, Err(CallError::NotFound)), "{refused:?}");
    answer(&a, &b, &of_b, digests(&c, &c, &of_b.claims)).await.unwrap();
    assert_eq!(only(&a).await.1, 0);
    // Used up, although the right digests come now.
    let again = answer(&a, &b, &of_b, digests(&b, &b, &of_b.claims)).await;
    assert!(matches!(again, Err(CallError::NotFound)), "{again:?}");
    answer(&a, &c, &of_c, digests(&c, &c, &of_c.claims)).await.unwrap();
    assert!(told(&a).await.iter().any(|copy| copy.name == "gamma" && copy.is_proved(a.clock.now())));

    // At most one challenge in a minute.
    let refused = challenge(&a, &b, &[id]).await;
    let Err(CallError::Busy { retry_after: Some(wait), .. }) = refused else { panic!("{refused:?}") };
    assert!((1..=60).contains(&wait.as_secs()));

    // Ten minutes, and not eleven.
    minutes(2);
    let old = challenge(&a, &b, &[id]).await.unwrap();
    minutes(11);
    let late = answer(&a, &b, &old, digests(&b, &b, &old.claims)).await;
    assert!(matches!(late, Err(CallError::NotFound)), "{late:?}");

    // A new challenge takes the place of an open one.
    let first = challenge(&a, &b, &[id]).await.unwrap();
    minutes(2);
    let second = challenge(&a, &b, &[id]).await.unwrap();
    assert_ne!(first.claims[0].salt, second.claims[0].salt);
    assert!(answer(&a, &b, &first, digests(&b, &b, &first.claims)).await.is_err());

    // Too few, too many: refused, and the challenge is used up.
    let mut few = digests(&b, &b, &second.claims);
    few[0].pop();
    let refused = answer(&a, &b, &second, few).await;
    assert!(matches!(&refused, Err(CallError::Refused { code, .. }) if code == "malformed"), "{refused:?}");
    assert!(answer(&a, &b, &second, digests(&b, &b, &second.claims)).await.is_err());
    minutes(2);
    let third = challenge(&a, &b, &[id]).await.unwrap();
    let mut many = digests(&b, &b, &third.claims);
    many.push(vec![None]);
    assert!(answer(&a, &b, &third, many).await.is_err());
    minutes(2);
    let refused = challenge(&a, &b, &[id; MAX_CLAIMS + 1]).await;
    assert!(matches!(&refused, Err(CallError::Refused { code, .. }) if code == "malformed"), "{refused:?}");
    // The most that can be: the same one is drawn from once.
    assert_eq!(challenge(&a, &b, &[id; MAX_CLAIMS]).await.unwrap().claims.len(), 1);
    assert_eq!(told(&a).await.iter().filter(|copy| copy.is_right()).count(), 1, "only gamma's was right");
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_claim_of_what_may_not_be_seen_is_left_out_like_one_of_what_does_not_exist() {
    let net = MemoryNet::new();
    let (a, seen) = small_source(&net).await;
    let hidden = a.collection("hidden").await;
    a.put("hidden/secret", 9, 100_000);
    let secret = a.backup(&hidden).await;
    let (b, _) = keeper(&net, &a, "beta", 2, Role::Reader).await;
    let notes = a.store.index.snapshot(&seen).await.unwrap().unwrap().collection;
    let known = a.store.index.peer(&b.store.keys.instance()).await.unwrap().unwrap();
    let scope = Scope::Only([notes].into());
    let rights = Rights { scope, role: Role::Reader, onward: false, from: None, limits: Default::default() };
    a.store.index.save_peer(&Peer { trust: Trust::Trusted(rights), ..known }).await.unwrap();
    let asked = challenge(&a, &b, &[secret, ManifestId::of(b"nothing"), seen]).await.unwrap();
    assert_eq!(asked.claims.iter().map(|sample| sample.manifest).collect::<Vec<_>>(), [seen]);
    later(&[&a, &b], SignedDuration::from_mins(2));
    assert_eq!(challenge(&a, &b, &[secret]).await.unwrap().claims, []);
    later(&[&a, &b], SignedDuration::from_mins(2));
    assert_eq!(challenge(&a, &b, &[ManifestId::of(b"nothing")]).await.unwrap().claims, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_own_disk_rots_blames_nobody() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let (b, of_b) = keeper(&net, &a, "beta", 2, Role::Mirror).await;
    let objects = a.store.index.present_chunks().await.unwrap();
    let all = objects.len() as u32;
    flip(&a, &objects[0]);
    std::fs::remove_file(file(&a, &objects[1])).unwrap();
    proves(&b, &of_b).await;
    assert_eq!(only(&a).await, (all - 2, all - 2));
    // Both have lost the same one: nobody can tell.
    later(&[&a, &b], SignedDuration::from_mins(2));
    flip(&b, &objects[0]);
    assert_eq!(proves(&b, &of_b).await.lacking, 1);
    assert_eq!(only(&a).await, (all - 2, all - 2));
    // Without a single chunk of its own it learns nothing, and remembers what it knew.
    later(&[&a, &b], SignedDuration::from_mins(2));
    objects.iter().for_each(|id| drop(std::fs::remove_file(file(&a, id))));
    let before = told(&a).await;
    proves(&b, &of_b).await;
    assert_eq!(told(&a).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_under_another_key_takes_its_proofs_along() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let (b, of_b) = keeper(&net, &a, "beta", 2, Role::Mirror).await;
    proves(&b, &of_b).await;
    let (before, now) = (told(&a).await, later(&[&a], SignedDuration::from_mins(2)));
    let (dir, _) = b.ended().await;
    let which = Rotate { envelope: false, identity: true };
    let store = Store::rotate_keys(&dir.path().join("home"), None, which, now).await.unwrap();
    let b = Instance::around(&net, dir, store, 2);
    b.clock.set(now);
    b.sync(&of_b).await.unwrap();
    let moved = told(&a).await;
    assert_eq!(moved[0].last.proof.peer, b.store.keys.instance());
    assert_eq!((moved.len(), &moved[0].name), (1, &before[0].name));
    assert_eq!(proves(&b, &of_b).await.lacking, 0);
    assert_eq!(told(&a).await[0].last.proof.proved_at, now);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_proves_by_itself_though_a_line_breaks_and_nothing_is_claimed_of_others() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let (b, of_b) = keeper(&net, &a, "beta", 2, Role::Mirror).await;
    // Its own collection is nobody else's business.
    let own = b.collection("own").await;
    b.put("own/file", 7, 1000);
    b.backup(&own).await;
    assert_eq!(b.store.index.newest_kept(&of_b.id).await.unwrap().len(), 1);
    let (cancel, tasks) = (never(), TaskTracker::new());
    let running = tasks.spawn(Prover::new(b.puller.clone()).with_first(Default::default()).run(cancel.clone()));
    wait_for(async || told(&a).await.iter().any(|copy| copy.is_proved(a.clock.now()))).await;
    cancel.cancel();
    running.await.unwrap();

    // Cut at any byte, the next attempt goes through.
    for at in [1u64, 400, 1200, 2500, 5000] {
        later(&[&a, &b], SignedDuration::from_mins(2));
        net.reset();
        net.strike(Fault::Cut, at);
        while prove(&b.puller, &of_b, &never()).await.is_err() {
            later(&[&a, &b], SignedDuration::from_mins(2));
        }
        assert!(told(&a).await[0].is_proved(a.clock.now()), "cut at {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_challenge_cannot_ask_what_else_a_keeper_has() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let (dir, net) = a.ended().await;
    let store = Store::open(&dir.path().join("home"), None).await.unwrap();
    // What the keeper is asked for instead.
    let lie: Arc<Mutex<Vec<Value>>> = Arc::default();
    let told = lie.clone();
    let edit = move |answer: &mut Value| {
        let Some(claims) = answer.get_mut("claims").and_then(Value::as_array_mut) else { return };
        match told.lock().unwrap().pop() {
            Some(Value::String(id)) => claims[0]["ids"].as_array_mut().unwrap().fill(id.into()),
            Some(Value::Null) => claims.push(claims[0].clone()),
            Some(ids) => claims[0]["ids"] = ids,
            None => {}
        }
    };
    let a = Instance::lying(&net, dir, store, 1, Some(Arc::new(edit)));
    let (b, of_b) = keeper(&net, &a, "beta", 2, Role::Mirror).await;
    let own = b.collection("own").await;
    b.put("own/file", 7, 1000);
    b.backup(&own).await;
    let of_source = a.store.index.present_chunks().await.unwrap();
    let mut foreign = b.store.index.present_chunks().await.unwrap();
    foreign.retain(|id| !of_source.contains(id));

    lie.lock().unwrap().push(foreign[0].to_string().into());
    let proving = proves(&b, &of_b).await;
    assert!(proving.sampled > 0 && proving.lacking == proving.sampled, "{proving:?}");
    let too_many = vec![Value::from(of_source[0].to_string()); MAX_SAMPLE + 1];
    for garbage in [Value::Null, too_many.into(), Value::from(vec!["../../keys/master"]), Value::from(7)] {
        later(&[&a, &b], SignedDuration::from_mins(2));
        lie.lock().unwrap().push(garbage);
        let refused = prove(&b.puller, &of_b, &never()).await;
        assert!(matches!(&refused, Err(PullError::Call { cause: CallError::Malformed(_), .. })), "{refused:?}");
    }
    later(&[&a, &b], SignedDuration::from_mins(2));
    assert_eq!(proves(&b, &of_b).await.lacking, 0);
}
