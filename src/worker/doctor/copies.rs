//! Is there a copy elsewhere that is known to be right, and are the peers heard of?

use super::{Examination, Finding};
use crate::domain::peer::Trust;
use crate::replicate::prove;
use crate::store::StoreError;

pub(super) async fn look(of: &Examination<'_>) -> Result<Vec<Finding>, StoreError> {
    let (store, index) = (of.store, &of.store.index);
    let mut findings = Vec::new();
    let known = index.target_copies().await?;
    for collection in index.collections().await? {
        let is_made = index.latest(&collection.id, false).await?.is_some();
        if !store.keys.is_ours(&collection.origin) || !is_made {
            continue;
        }
        let name = &collection.name;
        let copies = prove::copies(store, &collection.id).await?;
        let mut places: Vec<String> =
            copies.into_iter().filter(|copy| copy.is_proved(of.now)).map(|copy| copy.name).collect();
        let right = known.iter().filter(|copy| copy.collection == collection.id && copy.failed.is_none());
        places.extend(right.filter(|copy| copy.verified.is_some()).map(|copy| copy.target.clone()));
        findings.push(match places.as_slice() {
            [] => {
                let next = "'bulbil invite --role mirror' lets another machine keep a copy, 'bulbil target add NAME PLACE' names another disk or a bucket";
                Finding::warning(name, "no copy elsewhere is known to be right", next)
            }
            places => Finding::ok(name, format!("right copies elsewhere: {}", places.join(", "))),
        });
    }
    for peer in index.peers().await? {
        let about = format!("peer {}", peer.name);
        if peer.trust == Trust::Pending {
            let next = format!("compare the fingerprint words, then 'bulbil peer trust {}'", peer.name);
            findings.push(Finding::warning(about, "waits for a decision", next));
            continue;
        }
        if !peer.follow || peer.trust == Trust::Revoked {
            continue;
        }
        let seen = peer.last_contact_at.map_or_else(|| "never".to_owned(), |at| of.ago(at));
        findings.push(match peer.last_error {
            Some(error) => {
                Finding::warning(about, format!("last reached {seen}; then: {error}"), "'bulbil sync' tries again")
            }
            None if peer.last_contact_at.is_none() => {
                Finding::warning(about, "was never reached", "'bulbil sync' tries it")
            }
            None => Finding::ok(about, format!("last reached {seen}")),
        });
    }
    Ok(findings)
}
