//! Together with C tor, in both roles.

use std::fs;
use std::os::unix::fs::DirBuilderExt;

use crate::support::ctor::{Control, free_port, get, make_service, socks};
use crate::support::world::World;

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn c_tors_client_finds_the_peer_plane_and_nothing_of_the_admin_plane() {
    let world = World::new();
    let alpha = world.with_notes("alpha", 4, 300_000);
    let _serving = alpha.serves_reachably();
    let address = alpha.address();
    let onion = address.strip_prefix("http://").unwrap();
    let mut identity = None;
    world.until("C tor to reach it", || {
        identity = get(onion, "/peer/v1/identity");
        identity.is_some()
    });
    let (status, body) = identity.unwrap();
    assert_eq!(status, 200, "{body}");
    let nowhere = get(onion, "/no/such/thing").unwrap();
    assert_eq!(nowhere.0, 401, "whoever does not sign sees no difference between paths");
    for path in ["/", "/admin/v1/status", "/admin/v1/sync", "/admin", "/healthz", "/readyz", "/metrics", "/status"] {
        assert_eq!(get(onion, path).unwrap(), nowhere, "{path}");
    }

    // Our own client through C tor.
    let beta = world.future("beta");
    let clone = ["clone", &alpha.invite(&[]), "--name", "beta", "--yes", "-q", "--socks", &socks()];
    beta.does(&clone);
    beta.has_the_same_as(&alpha);
    assert!(!beta.home.join("tor").exists(), "it started a Tor of its own");
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn a_service_that_c_tor_hosts_is_cloned_from() {
    let world = World::new();
    let alpha = world.with_notes("alpha", 4, 300_000);
    let port = free_port();
    let mut tor = Control::open();
    let onion = tor.host(&format!("127.0.0.1:{port}"));
    alpha.is_told(&format!(
        "[tor]\nsocks = \"{}\"\n[peer]\nlisten = \"127.0.0.1:{port}\"\naddress = \"http://{onion}\"\n",
        socks()
    ));
    let _serving = alpha.serves_reachably();
    let beta = world.future("beta");
    beta.does(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes", "-q"]);
    beta.has_the_same_as(&alpha);
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn an_address_that_c_tor_made_is_taken_over() {
    let world = World::new();
    let alpha = world.with_notes("alpha", 4, 300_000);
    let folder = world.path("service");
    let onion = make_service(&world, &folder);
    let (code, _, err) = alpha.tries(&["onion", "import", folder.to_str().unwrap(), "-q"]);
    assert!(code == 1 && err.contains("--replace"), "{err}");
    let imported = alpha.command(&["onion", "import", folder.to_str().unwrap(), "--replace"]).output().unwrap();
    assert!(imported.status.success());
    assert_eq!(alpha.address(), format!("http://{onion}"));
    let _serving = alpha.serves_reachably();
    let beta = world.future("beta");
    beta.does(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes", "-q"]);
    beta.has_the_same_as(&alpha);
    assert_eq!(get(&onion, "/peer/v1/identity").unwrap().0, 200);
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn an_exported_address_is_hosted_by_c_tor() {
    let world = World::new();
    let alpha = world.with_notes("alpha", 4, 300_000);
    let (address, port) = (alpha.address(), free_port());
    let folder = world.path("services");
    fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    let folder = folder.join("alpha");
    alpha.does(&["onion", "export", folder.to_str().unwrap()]);
    let mut tor = Control::open();
    tor.ask(&format!("SETCONF HiddenServiceDir=\"{}\" HiddenServicePort=\"80 127.0.0.1:{port}\"", folder.display()));
    assert_eq!(fs::read_to_string(folder.join("hostname")).unwrap().trim(), &address["http://".len()..]);
    alpha.is_told(&format!(
        "[tor]\nsocks = \"{}\"\n[peer]\nlisten = \"127.0.0.1:{port}\"\naddress = \"{address}\"\n",
        socks()
    ));
    let _serving = alpha.serves_reachably();
    let beta = world.future("beta");
    beta.does(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes", "-q"]);
    beta.has_the_same_as(&alpha);
    tor.ask("RESETCONF HiddenServiceDir HiddenServicePort");
}
