//! What a guest sees, and what it does not.

use super::*;
use crate::axon::library::{ACTIONS, APPLETS, CONFIG};
use crate::domain::id::CollectionId;
use crate::store::axon::Record;
use crate::store::index::NewCollection;

const EVERYTHING: &str = "0001-01-01T00:00:00Z";
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn content(text: &str) -> Vec<u8> {
    format!("{{\"body\": \"{text}\"}}").into_bytes()
}

impl World {
    async fn has(&self, key: &PrivateKey, hash: &ContentHash) -> StatusCode {
        self.ask(self.signed(key, &format!("/api/bitsync/has_content/{hash}/"))).await.0
    }

    /// Gives an item of the default collection other kinds.
    async fn call_it(&self, hash: &ContentHash, kinds: &[ContentType]) {
        let shelf = self.host.store.axon(default_collection(&self.host.store).await.unwrap().id);
        let item = shelf.item(hash).await.unwrap().unwrap();
        let item = Item { kinds: kinds.iter().cloned().collect(), ..item };
        shelf.put(&Change { items: vec![item], ..Change::default() }).await.unwrap();
    }

    async fn gives(&self, guest: &PrivateKey, rights: AxonRights) {
        self.trust(guest.public(), AxonTrust::Trusted(rights)).await;
    }

    /// The IV with which some content is told.
    async fn iv(&self, key: &PrivateKey, hash: &ContentHash) -> String {
        let (_, _, body) = self.ask(self.signed(key, &format!("/api/sync/?since={EVERYTHING}"))).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let is_it = |manifest: &&Value| manifest["content_hash"] == hash.to_string();
        let found = answer["manifests"].as_array().unwrap().iter().find(is_it).unwrap();
        found["encryption_iv"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn r12_what_is_for_one_user_is_nothing_else_whatever_somebody_calls_it() {
    let guest = key("b");
    let world = World::new(guest.public()).await;
    let [data, pm] = world.keep(["data", "pm"].map(content).into_iter()).await.try_into().unwrap();
    world.call_it(&data, &[ContentType::AppletData, ContentType::File]).await;
    world.call_it(&pm, &[ContentType::Pm, ContentType::File]).await;
    assert_eq!(world.told(&guest, EVERYTHING).await, [pm.to_string(), pm.to_string()]);
    assert_eq!(world.has(&guest, &data).await, StatusCode::NOT_FOUND);
    world.gives(&guest, AxonRights { without_pms: true, ..AxonRights::default() }).await;
    assert_eq!(world.told(&guest, EVERYTHING).await, Vec::<String>::new());
    assert_eq!(world.has(&guest, &pm).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn r12_what_came_before_a_day_and_actions_are_left_out_when_that_is_said() {
    let guest = key("b");
    let world = World::new(guest.public()).await;
    let early = world.keep_as(ContentType::File, at(LONG_AGO), [content("early")].into_iter()).await;
    let late = world.keep_as(ContentType::File, at("2026-03-01T00:00:00Z"), [content("late")].into_iter()).await;
    let action = r#"{"id": "11111111-2222-4333-8444-555555555555", "action_type": "unpin_content", "pubkey_target": null,
        "content_hash_target": null, "action_details": {}, "created_at": "2026-03-01T00:00:00+00:00"}"#;
    let path = format!("{ACTIONS}11111111-2222-4333-8444-555555555555.json");
    let record = Record { path, bytes: action.as_bytes().to_vec(), changed_at: at("2026-03-01T00:00:00Z") };
    let collection = default_collection(&world.host.store).await.unwrap().id;
    let change = Change { records: vec![record], ..Change::default() };
    world.host.store.axon(collection).put(&change).await.unwrap();
    let actions = async || {
        let (_, _, body) = world.ask(world.signed(&guest, &format!("/api/sync/?since={EVERYTHING}"))).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        answer["federated_actions"].as_array().unwrap().len()
    };
    assert_eq!((world.told(&guest, EVERYTHING).await.len(), actions().await), (2, 1));
    let rights = AxonRights { from: Some(at("2026-02-01T00:00:00Z")), without_actions: true, ..AxonRights::default() };
    world.gives(&guest, rights).await;
    assert_eq!((world.told(&guest, EVERYTHING).await, actions().await), (vec![late[0].to_string()], 0));
    assert_eq!(world.has(&guest, &early[0]).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_took_long_to_come_is_told_to_who_knows_everything_else() {
    let guest = key("b");
    let world = World::new(guest.public()).await;
    world.keep([content("first")].into_iter()).await;
    let since = async || {
        let since = world.clock.now() - jiff::SignedDuration::from_mins(10);
        world.told(&guest, &since.to_string()).await
    };
    for _ in 0..20 {
        since().await;
        world.later(2);
    }
    assert_eq!(since().await, Vec::<String>::new(), "everything is settled");
    // Begun half an hour ago, and ended now.
    let began = world.clock.now() - jiff::SignedDuration::from_mins(30);
    let late = world.keep_as(ContentType::File, began, [content("late")].into_iter()).await;
    world.later(2);
    assert_eq!(since().await, [late[0].to_string()]);
}

#[tokio::test]
async fn content_that_stands_on_two_shelves_is_always_shown_of_the_same_one() {
    let guest = key("b");
    let world = World::new(guest.public()).await;
    let store = &world.host.store;
    let [hash] =
        world.keep_as(ContentType::File, at(LONG_AGO), [content("same")].into_iter()).await.try_into().unwrap();
    let first = default_collection(store).await.unwrap().id;
    let before = store.axon(first).item(&hash).await.unwrap().unwrap();
    let iv = world.iv(&guest, &hash).await;
    // It comes to another collection, sealed anew, and then something becomes known of the first one.
    let id = CollectionId::random(&mut entropy());
    let settings = store.index.collection(&first).await.unwrap().unwrap().settings;
    let other = NewCollection { id, name: "other".to_owned(), origin: store.keys.instance(), settings };
    store.index.add_collection(&other).await.unwrap();
    let sealed = cipher::seal(&content("same"), &mut entropy());
    for (id, bytes) in sealed.chunk_hashes.iter().zip(&sealed.chunks) {
        store.chunks.write(id, bytes).unwrap();
    }
    let sizes = sealed.chunks.iter().map(|chunk| u32::try_from(chunk.len()).unwrap());
    let chunks = sealed.chunk_hashes.iter().copied().zip(sizes).collect();
    let manifest = Manifest::of(&sealed).to_value().to_line();
    let anew = Item {
        content_hash: hash,
        kinds: before.kinds.clone(),
        manifest,
        key: Some(sealed.key),
        complete: true,
        changed_at: at("2026-02-01T00:00:00Z"),
        chunks,
    };
    store.axon(id).put(&Change { items: vec![anew], ..Change::default() }).await.unwrap();
    assert_eq!(world.iv(&guest, &hash).await, iv);
    let later = Item { changed_at: at("2026-03-01T00:00:00Z"), ..before };
    store.axon(first).put(&Change { items: vec![later], ..Change::default() }).await.unwrap();
    assert_eq!(world.iv(&guest, &hash).await, iv);
    // After a restart, too.
    let serve = AxonServe::new(store.clone(), key("a").public().clone());
    let plane = AxonPlane::new(serve, world.clock.clone(), PeerLimits::default());
    let again = World { router: axon_router(plane.clone()), plane, ..world };
    assert_eq!(again.iv(&guest, &hash).await, iv);
}

#[tokio::test]
async fn a_document_that_is_none_holds_up_nothing_else() {
    let guest = key("b");
    let world = World::new(guest.public()).await;
    let kept = world.keep([content("kept")].into_iter()).await;
    let record = |path: String| Record { path, bytes: b"{".to_vec(), changed_at: at(LONG_AGO) };
    let records = vec![
        record(format!("{APPLETS}11111111-2222-4333-8444-555555555555/metadata.json")),
        record(format!("{ACTIONS}11111111-2222-4333-8444-555555555555.json")),
        record(format!("{CONFIG}core.user.json")),
    ];
    let collection = default_collection(&world.host.store).await.unwrap().id;
    world.host.store.axon(collection).put(&Change { records, ..Change::default() }).await.unwrap();
    assert_eq!(world.told(&guest, EVERYTHING).await, [kept[0].to_string()]);
    assert_eq!(world.has(&guest, &kept[0]).await, StatusCode::OK);
    let (status, _, body) = world.ask(world.signed(&guest, "/api/federation/export_config/")).await;
    assert_eq!((status, body.as_slice()), (StatusCode::OK, b"[]".as_slice()));
}
