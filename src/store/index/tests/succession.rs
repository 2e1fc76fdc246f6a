//! Who leads a collection, and whose snapshots are kept.

use super::*;
use crate::domain::succession::Statement;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn a_snapshot_of_somebody_who_has_no_business_here_is_passed_over_alone() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let notes = test.collection("notes").await;
    let source = test.peer("source").await;
    let identity = IdentityKey::random(&mut entropy());
    let origin = identity.public().instance();
    let foreign = MakeSnapshot::new(notes.id, 2, &[]).make(&identity, None, origin).signed;
    let theirs = MakeSnapshot::new(CollectionId::random(&mut entropy()), 1, &[]).make(&identity, None, origin).signed;
    let page = [foreign.clone(), theirs.clone()];
    assert_eq!(index.note_page(&source.id, &page, cursor(2)).await.unwrap(), [theirs.id]);
    assert_eq!(index.snapshot(&foreign.id).await.unwrap(), None);
    assert_eq!(index.peer(&source.id).await.unwrap().unwrap().cursor, Some(cursor(2)));
}

#[tokio::test]
async fn what_is_said_of_a_collection_before_it_is_known_is_judged_when_it_is() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let source = test.peer("source").await;
    let [leader, heir, stranger] = std::array::from_fn(|_| IdentityKey::random(&mut entropy()));
    let id = CollectionId::random(&mut entropy());
    let (from, heirs) = (leader.public().instance(), [heir.public().instance()].into());
    let appointment = Statement::appointment(id, leader.public(), heirs, 1, at(10), None).sign(&leader);
    let takes = |key: &IdentityKey| Statement::takeover(id, from, key.public(), 1, at(20), 2).sign(key);
    let said = [appointment, takes(&heir), takes(&stranger)].map(|signed| signed.verify().unwrap());
    index.add_statements(&said).await.unwrap();
    assert_eq!(index.statements().await.unwrap().len(), 3, "its snapshots may be about to come");

    let made =
        |key: &IdentityKey, sequence| MakeSnapshot::new(id, sequence, &[]).make(key, None, key.public().instance());
    // A later leader's comes first: it is known who founded the collection all the same.
    let [first, second, third] = [made(&leader, 1), made(&heir, 2), made(&stranger, 2)].map(|made| made.signed);
    let page = [second.clone(), third, first.clone()];
    assert_eq!(index.note_page(&source.id, &page, cursor(1)).await.unwrap(), [second.id, first.id]);
    let known = index.collection(&id).await.unwrap().unwrap();
    assert_eq!(known.line.iter().map(|reign| reign.instance).collect::<Vec<_>>(), [from, heir.public().instance()]);
    let kept: Vec<_> = index.statements().await.unwrap().iter().map(|kept| kept.statement.signer()).collect();
    assert_eq!(kept.len(), 2);
    assert!(!kept.contains(&stranger.public().instance()));
}

/// The statements come after the first snapshot, which is a later leader's.
#[tokio::test]
async fn the_founder_is_found_although_its_statements_come_late() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let source = test.peer("source").await;
    let [leader, heir] = std::array::from_fn(|_| IdentityKey::random(&mut entropy()));
    let id = CollectionId::random(&mut entropy());
    let (from, to) = (leader.public().instance(), heir.public().instance());
    let made = |key: &IdentityKey, sequence| {
        MakeSnapshot::new(id, sequence, &[]).make(key, None, key.public().instance()).signed
    };
    let (first, second) = (made(&leader, 1), made(&heir, 2));
    let page = [second.clone(), first.clone()];
    assert_eq!(index.note_page(&source.id, &page, cursor(1)).await.unwrap(), [second.id]);
    let appointment = Statement::appointment(id, leader.public(), [to].into(), 1, at(10), None).sign(&leader);
    let takeover = Statement::takeover(id, from, heir.public(), 1, at(20), 2).sign(&heir);
    let said = [appointment, takeover].map(|signed| signed.verify().unwrap());
    index.add_statements(&said).await.unwrap();
    assert_eq!(index.note_page(&source.id, std::slice::from_ref(&first), cursor(2)).await.unwrap(), [first.id]);
    let snapshots = index.snapshots(None).await.unwrap();
    let told: Vec<_> = snapshots.iter().map(|snapshot| (snapshot.id, snapshot.beside)).collect();
    assert_eq!(told, [(first.id, false), (second.id, false)]);
    assert_eq!(index.collection(&id).await.unwrap().unwrap().origin, to);
}
