//! How instances come in: with an invite, and without.

use super::*;
use crate::replicate::join::{JoinError, join};
use crate::replicate::pair;

#[tokio::test]
async fn an_invite_lets_one_instance_in() {
    let world = World::new(Role::Reader).await;
    let (net, _, host) = world.online();
    let (joiner, other) = tokio::join!(TestStore::new(), TestStore::new());
    let rights = Rights { scope: Scope::All, role: Role::Reader, onward: true, from: None, limits: Default::default() };
    let expires: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
    let store = &world.host.store;
    let invite = pair::invite(store, host.address.clone(), rights.clone(), expires).await.unwrap();

    let caller = world.caller(&net, &joiner);
    let peer = join(&caller, &invite).await.unwrap();
    assert_eq!((peer.id, peer.follow), (host.instance(), true));
    let mut granted = peer.granted.unwrap().collections.unwrap();
    granted.sort_unstable();
    assert_eq!(granted, ["hidden", "seen"]);
    let known = store.index.peer(&joiner.store.keys.instance()).await.unwrap().unwrap();
    assert_eq!(known.trust, Trust::Trusted(rights));
    assert_eq!(known.name, "test");
    assert_eq!(caller.have(&host, &[world.hidden.stored[0].0]).await.unwrap(), [true]);
    // The answer may have been lost.
    assert!(join(&caller, &invite).await.is_ok());

    // Used by somebody else, expired, unknown: all the same to a stranger.
    let stranger = world.caller(&net, &other);
    let code = async |invite| match join(&stranger, invite).await {
        Err(JoinError::Call(CallError::Refused { code, .. })) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&invite).await, "invite-refused");
    let short = pair::invite(store, host.address.clone(), Rights::none(), NOW.parse().unwrap()).await.unwrap();
    assert_eq!(code(&short).await, "invite-refused");
    let elsewhere = pair::invite(&joiner.store, host.address.clone(), Rights::none(), expires).await.unwrap();
    let unknown = crate::domain::invite::Invite { instance: host.instance(), ..elsewhere };
    assert_eq!(code(&unknown).await, "invite-refused");
    assert!(store.index.peer(&other.store.keys.instance()).await.unwrap().is_none());
}

#[tokio::test]
async fn without_an_invite_an_admin_decides() {
    let world = World::new(Role::Reader).await;
    let (net, _, host) = world.online();
    let joiner = TestStore::new().await;
    let caller = world.caller(&net, &joiner);
    assert!(pair::knock(&caller, &host).await.unwrap().is_none());
    assert!(pair::knock(&caller, &host).await.unwrap().is_none());
    let index = &world.host.store.index;
    let mut peer = index.peer(&joiner.store.keys.instance()).await.unwrap().unwrap();
    assert_eq!(peer.trust, Trust::Pending);
    assert!(matches!(caller.config(&host).await, Err(CallError::Refused { .. })));
    peer.trust = Trust::Trusted(crate::store::testing::everything());
    index.save_peer(&peer).await.unwrap();
    assert!(pair::knock(&caller, &host).await.unwrap().is_some());
    assert!(caller.config(&host).await.is_ok());

    // The number of those who wait is bounded.
    for n in 0..pair::MAX_PENDING {
        let mut waiting = crate::store::testing::peer(&format!("waiting-{n}"));
        waiting.trust = Trust::Pending;
        index.save_peer(&waiting).await.unwrap();
    }
    let late = TestStore::new().await;
    assert!(matches!(pair::knock(&world.caller(&net, &late), &host).await, Err(CallError::Busy { .. })));
}

#[tokio::test]
async fn somebody_elses_identity_cannot_be_put_forward() {
    let world = World::new(Role::Reader).await;
    let (thief, host) = (IdentityKey::random(&mut entropy()), world.host.store.keys.instance());
    let identity = world.keys().identity_document();
    let body = serde_json::to_vec(&serde_json::json!({ "identity": identity })).unwrap();
    let answer = world.send(world.signed_by(&thief, &host, "POST", "/pair", &body)).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::UNAUTHORIZED, "unauthorized".into()));
}
