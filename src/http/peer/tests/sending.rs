//! Chunks on their way: as long as the peer is welcome, as fast and as much as it may have, and on record.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::replicate::pull::{PullError, Retry};
use crate::transport::{BoxedStream, Dial};

/// A chunk of a megabyte that the guest may see.
async fn long_chunk(world: &World) -> (ChunkId, Vec<u8>) {
    let next = |n: &u32| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let long: Vec<u8> = std::iter::successors(Some(1), next).take(1 << 20).map(|n| (n >> 24) as u8).collect();
    let collection = world.seen.signed.manifest.collection;
    let made = world.host.snapshot(MakeSnapshot::new(collection, 2, &[("long", &long)])).await;
    let longest = made.stored.into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    assert!(longest.1.len() > 500_000);
    longest
}

/// A connection on which the guest has asked for chunks, and of which it has read nothing.
async fn asked(net: &MemoryNet, request: Request<Body>) -> BoxedStream {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut stream = net.dial(&"http://127.0.0.1:7001".parse().unwrap()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    stream
}

#[tokio::test]
async fn r6_revoking_ends_the_stream_of_a_peer_that_reads_slowly_within_five_seconds() {
    let world = World::new(Role::Reader).await;
    let (id, stored) = long_chunk(&world).await;
    let (net, _, _) = world.online();
    let body = serde_json::to_vec(&chunks(&[id])).unwrap();
    for request in ["POST", "GET"] {
        let request = match request {
            "POST" => world.signed("POST", "/chunks", &body),
            _ => world.signed("GET", &format!("/chunks/{id}"), b""),
        };
        let mut stream = asked(&net, request).await;
        let mut first = [0; 100];
        stream.read_exact(&mut first).await.unwrap();
        assert!(first.starts_with(b"HTTP/1.1 200"));
        // As another process does it: nothing but the index tells.
        world.trust(Trust::Revoked).await;
        let revoked_at = std::time::Instant::now();
        while !world.plane.places.are_free() {
            tokio::task::yield_now().await;
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(revoked_at.elapsed() < Duration::from_secs(5), "{:?}", revoked_at.elapsed());
        assert!(rest.len() < stored.len(), "it ended in the middle of the chunk");
        world.admit(Limits::default()).await;
    }
}

#[tokio::test]
async fn r6_what_a_peer_was_given_is_recorded() {
    let world = World::new(Role::Reader).await;
    let (_net, caller, host) = world.online();
    let peer = world.host.store.index.peer(&world.keys().instance()).await.unwrap().unwrap();
    let told = async || {
        world.plane.settled().await;
        crate::replicate::exposure::exposure(&world.host.store, &peer).await.unwrap()
    };
    let before = told().await;
    assert_eq!((before.chunks, before.remake_bytes), (0, if before.may_know_more { before.remake_bytes } else { 0 }));
    let all = world.seen.chunks();
    let ids: Vec<ChunkId> = all.iter().map(|(id, _)| *id).collect();
    // One chunk, a part of another, and what may not be seen.
    let mut stream = caller.chunks(&host, &[ids[0], world.hidden.stored[0].0]).await.unwrap();
    while stream.next().await.unwrap().is_some() {}
    let mut rest = caller.rest_of_chunk(&host, &ids[1], 5).await.unwrap().unwrap();
    while rest.next().await.unwrap().is_some() {}
    drop((stream, rest));
    let of = |has: &crate::replicate::exposure::Exposure| {
        has.collections[0].snapshots.iter().find(|s| s.id == world.seen.signed.id).cloned().unwrap()
    };
    let two = told().await;
    let bytes = u64::from(all[0].1) + u64::from(all[1].1);
    assert_eq!((two.chunks, two.bytes, two.collections.len()), (2, bytes, 1));
    let snapshot = of(&two);
    assert_eq!((snapshot.given_chunks, snapshot.given_bytes, snapshot.key_given_at), (2, bytes, None));
    assert_eq!(snapshot.first_given_at, Some(NOW.parse().unwrap()));
    // The same again changes nothing, not even the date.
    world.clock.set(NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(1));
    caller.envelopes(&host, &[world.seen.signed.id, world.hidden.signed.id]).await.unwrap();
    let mut stream = caller.chunks(&host, &ids).await.unwrap();
    while stream.next().await.unwrap().is_some() {}
    let whole = of(&told().await);
    assert_eq!((whole.given_chunks, whole.first_given_at), (whole.chunks, snapshot.first_given_at));
    assert_eq!(whole.key_given_at, whole.last_given_at);
    assert!(whole.key_given_at.is_some());
    // It stays when the peer is forgotten.
    world.host.store.index.remove_peer(&peer.id).await.unwrap();
    assert_eq!(told().await.chunks, ids.len() as u64);
}

#[tokio::test]
async fn a_rate_holds_and_never_stands_still() {
    let world = World::new(Role::Reader).await;
    let (id, stored) = long_chunk(&world).await;
    let rate = stored.len() as u64;
    world.admit(Limits { rate: Some(rate), ..Limits::default() }).await;
    let begun = std::time::Instant::now();
    // Two streams share it: each has the same chunk, and the first half of it takes about a second.
    let half = async || {
        let response = world.router.clone().oneshot(world.signed("GET", &format!("/chunks/{id}"), b"")).await.unwrap();
        assert_eq!(response.headers()["content-length"], stored.len().to_string());
        let (mut pieces, mut got) = (response.into_body().into_data_stream(), 0);
        let (mut longest, mut last) = (Duration::ZERO, std::time::Instant::now());
        while got < stored.len() / 2 {
            got += pieces.next().await.unwrap().unwrap().len();
            longest = longest.max(last.elapsed());
            last = std::time::Instant::now();
        }
        longest
    };
    let (a, b) = tokio::join!(half(), half());
    assert!(begun.elapsed() > Duration::from_millis(650), "{:?}", begun.elapsed());
    assert!(a.max(b) < Duration::from_secs(1), "{a:?}, {b:?}");
}

#[tokio::test]
async fn outside_of_its_hours_a_peer_gets_no_chunks_and_everything_else() {
    let world = World::new(Role::Reader).await;
    world.admit(Limits { hours: Some("22:00-06:00".parse().unwrap()), ..Limits::default() }).await;
    let (_net, caller, host) = world.online();
    let id = world.chunk().0;
    // It is six o'clock.
    let answer = world.post("/chunks", &chunks(&[id])).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::SERVICE_UNAVAILABLE, "outside-hours".into()));
    assert_eq!(answer.headers["retry-after"], (16 * 3600).to_string());
    assert_eq!(world.get(&format!("/chunks/{id}")).await.problem(), "outside-hours");
    let cause = caller.chunks(&host, &[id]).await.unwrap_err();
    assert!(cause.to_string().ends_with("another time of the day; again in 16 h 0 min"), "{cause}");
    let error = PullError::Call { peer: "host".into(), cause };
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(3600)));
    caller.changes(&host, None, 10, Duration::ZERO).await.unwrap();
    caller.envelopes(&host, &[world.seen.signed.id]).await.unwrap();
    assert_eq!(caller.have(&host, &[id]).await.unwrap(), [true]);
    // It closes while a stream is open.
    world.clock.set("2026-11-23T05:59:59Z".parse().unwrap());
    let body = serde_json::to_vec(&chunks(&[id])).unwrap();
    let response = world.router.clone().oneshot(world.signed("POST", "/chunks", &body)).await.unwrap();
    let mut pieces = response.into_body().into_data_stream();
    pieces.next().await.unwrap().unwrap();
    world.clock.set("2026-11-23T06:00:00Z".parse().unwrap());
    assert!(pieces.next().await.unwrap().is_err());
}

#[tokio::test]
async fn a_quota_holds_over_restarts_until_the_month_is_over() {
    let world = World::new(Role::Reader).await;
    let (id, stored) = long_chunk(&world).await;
    let quota = 300_000;
    world.admit(Limits { quota: Some(quota), ..Limits::default() }).await;
    let body = serde_json::to_vec(&chunks(&[id])).unwrap();
    let response = world.router.clone().oneshot(world.signed("POST", "/chunks", &body)).await.unwrap();
    let (mut pieces, mut got, mut cut) = (response.into_body().into_data_stream(), 0, false);
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => got += piece.len() as u64,
            Err(_) => cut = true,
        }
    }
    drop(pieces);
    assert!(cut && (quota..quota + 20_000).contains(&got) && got < stored.len() as u64, "{got}");
    world.plane.settled().await;
    let again = PeerPlane::new(Serve::new(world.host.store.clone()), world.clock.clone(), PeerLimits::default());
    for plane in [world.plane.clone(), again] {
        let world = async |method: &str| {
            let request = world.signed(method, &format!("/chunks/{id}"), b"");
            peer_router(plane.clone()).oneshot(request).await.unwrap()
        };
        let answer = world("GET").await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()["retry-after"], (8 * 86_400 + 18 * 3600).to_string());
        assert_eq!(world("HEAD").await.status(), StatusCode::OK);
    }
    world.clock.set("2026-12-01T00:00:00Z".parse().unwrap());
    let answer = world.router.clone().oneshot(world.signed("GET", &format!("/chunks/{id}"), b"")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}
