//! What of that which was granted may leave, and how much of the configuration shows (R12): decided from values, for
//! [`super::serve`].

use std::collections::BTreeSet;

use crate::domain::id::{CollectionId, InstanceId};
use crate::domain::peer::{Rights, Role, Scope};
use crate::domain::wire::messages::{CollectionConfig, CollectionPolicy, ConfigAnswer};
use crate::store::index::{Collection, Peer};

/// Narrows what was granted to what may leave: collections that are or were led from here; and those of others whose origin said
/// that we may serve them onward. What the guest itself leads it always sees, and all of it: a source whose disk is gone
/// heals from whoever keeps its copy. The scope is spelled out.
pub fn effective(
    granted: &Rights,
    guest: &InstanceId,
    here: &InstanceId,
    collections: &[Collection],
    peers: &[Peer],
) -> Rights {
    let may_leave = |c: &&Collection| c.origin != *guest && c.may_leave(here, peers);
    let ids = collections.iter().filter(may_leave).map(|c| c.id).filter(|id| granted.scope.includes(id)).collect();
    let own: BTreeSet<CollectionId> = collections.iter().filter(|c| c.origin == *guest).map(|c| c.id).collect();
    let scope = if own.is_empty() { Scope::Only(ids) } else { Scope::Guest { granted: ids, own } };
    Rights { scope, ..granted.clone() }
}

/// The collections as a peer with these rights may see them. To a mirror names and excludes are sealed.
pub(super) fn visible_config(rights: &Rights, collections: &[Collection]) -> ConfigAnswer {
    let readable = rights.role == Role::Reader;
    let policy = |collection: &Collection| {
        collection.settings.as_ref().filter(|_| readable).map(|settings| CollectionPolicy {
            excludes: settings.excludes.clone(),
            level: settings.level,
            padding: settings.padding,
        })
    };
    let mut visible: Vec<CollectionConfig> = collections
        .iter()
        .filter(|collection| rights.scope.includes(&collection.id))
        .map(|collection| CollectionConfig {
            id: collection.id,
            name: readable.then(|| collection.name.clone()),
            own: collection.settings.is_some(),
            settings: policy(collection),
        })
        .collect();
    visible.sort_by_key(|collection: &CollectionConfig| -> CollectionId { collection.id });
    ConfigAnswer { collections: visible, role: rights.role, onward: rights.onward }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chunk::Padding;
    use crate::domain::crypto::secret::Secret;
    use crate::domain::crypto::sign::IdentityKey;
    use crate::domain::identity::SignedIdentity;
    use crate::domain::peer::Trust;
    use crate::domain::succession::Reign;
    use crate::store::index::{CollectionKind, CollectionSettings, Granted, Root};

    fn instance(n: u8) -> InstanceId {
        InstanceId::from_slice(&[n; 32]).unwrap()
    }

    fn collection(n: u8, origin: InstanceId, own: bool) -> Collection {
        let settings = own.then(|| CollectionSettings {
            application: None,
            roots: vec![Root { name: "secret-root".to_owned(), path: "/secret/path".into() }],
            excludes: vec!["*.tmp".to_owned()],
            level: 3,
            padding: Padding::None,
            kind: CollectionKind::Directory,
        });
        let id = CollectionId::from_slice(&[n; 16]).unwrap();
        Collection {
            no: i64::from(n),
            id,
            name: format!("c{n}"),
            origin,
            line: vec![Reign::founder(origin)],
            settings,
            standby: None,
            upkeep: Default::default(),
            retention: None,
        }
    }

    fn source(id: InstanceId, onward: bool) -> Peer {
        let signature = IdentityKey::from_seed(&Secret::from_bytes([1; 32])).sign_raw(b"");
        Peer {
            id,
            name: "source".to_owned(),
            address: None,
            trust: Trust::Trusted(Rights::none()),
            identity: SignedIdentity { document: String::new(), signature },
            follow: true,
            mirror: Scope::All,
            granted: Some(Granted { role: Role::Mirror, onward, collections: None }),
            cursor: None,
            added_at: jiff::Timestamp::UNIX_EPOCH,
            last_contact_at: None,
            last_error: None,
            discovery: None,
        }
    }

    fn all(role: Role) -> Rights {
        Rights { scope: Scope::All, role, onward: false, from: None, limits: Default::default() }
    }

    #[test]
    fn what_came_from_elsewhere_leaves_only_if_its_origin_allows() {
        let (here, origin, guest) = (instance(1), instance(2), instance(3));
        let collections = [
            collection(1, here, true),
            collection(2, origin, false),
            collection(3, instance(9), false),
            collection(4, guest, false),
        ];
        let scope =
            |onward| effective(&all(Role::Reader), &guest, &here, &collections, &[source(origin, onward)]).scope;
        let only = |some: &[usize]| Scope::Only(some.iter().map(|n| collections[*n].id).collect());
        let ids = |some: &[usize]| some.iter().map(|n| collections[*n].id).collect();
        let with_own = |granted: &[usize]| Scope::Guest { granted: ids(granted), own: ids(&[3]) };
        assert_eq!(scope(false), with_own(&[0]));
        assert_eq!(scope(true), with_own(&[0, 1]));
        let narrow = Rights { scope: only(&[1]), ..all(Role::Reader) };
        assert_eq!(effective(&narrow, &guest, &here, &collections, &[source(origin, false)]).scope, with_own(&[]));
        let stranger = effective(&all(Role::Reader), &instance(5), &here, &collections, &[source(origin, false)]);
        assert_eq!(stranger.scope, only(&[0]));

        // Whoever made a collection sees all of it, also where nothing was granted; of the rest only what is new.
        let from = Some("2026-11-22T10:00:00Z".parse().unwrap());
        let narrow = Rights { from, ..all(Role::Reader) };
        let rights = effective(&narrow, &guest, &here, &collections, &[]);
        let old = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(rights.may_see(&collections[3].id, old) && !rights.may_see(&collections[0].id, old));
        let rights = effective(&Rights::none(), &guest, &here, &collections, &[]);
        assert!(rights.may_see(&collections[3].id, old) && !rights.may_see(&collections[0].id, old));
    }

    #[test]
    fn r12_configuration_never_has_paths_and_for_a_mirror_no_names() {
        let collections = [collection(1, instance(1), true), collection(2, instance(1), true)];
        let rights = |role| Rights { scope: Scope::Only([collections[0].id].into()), ..all(role) };
        let reader = visible_config(&rights(Role::Reader), &collections);
        assert_eq!(reader.collections.len(), 1);
        assert_eq!(reader.collections[0].name.as_deref(), Some("c1"));
        let text = serde_json::to_string(&reader).unwrap();
        assert!(text.contains("*.tmp") && !text.contains("secret"));
        let mirror = serde_json::to_string(&visible_config(&rights(Role::Mirror), &collections)).unwrap();
        assert!(!mirror.contains("c1") && !mirror.contains("*.tmp"));
    }
}
