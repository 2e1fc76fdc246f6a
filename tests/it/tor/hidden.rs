//! Restricted discovery: who has no key does not find the service.

use crate::support::world::World;

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn a_hidden_service_is_found_with_an_invite_and_not_by_its_address_alone() {
    let world = World::new();
    let alpha = world.with_notes("alpha", 4, 300_000);
    alpha.is_told("[tor]\nrestricted_discovery = true\n");
    let _serving = alpha.serves_reachably();

    let gamma = world.instance("gamma");
    let started = gamma.tries(&["peer", "add", &alpha.address()]);
    assert_eq!(started.0, 1, "{}", started.1);
    assert!(started.2.contains("only to those who have a key"), "{}", started.2);

    let beta = world.future("beta");
    beta.does_at_last(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes", "-q"]);
    beta.has_the_same_as(&alpha);
    beta.does(&["sync"]);

    alpha.does(&["peer", "revoke", "beta"]);
    let (code, out, err) = beta.tries(&["sync"]);
    assert_eq!(code, 1, "{out}");
    assert!(!err.is_empty());
}
