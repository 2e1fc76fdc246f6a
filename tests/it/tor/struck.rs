//! Struck in the middle of a transfer: whatever happens, it goes on where it was and ends in the same place.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::whole::complete_snapshots;
use crate::support::running::Running;
use crate::support::world::{Instance, World};

/// So much noise that its transfer takes seconds.
const FILES: u64 = 50;
const FILE_BYTES: usize = 1_000_000;

/// Waits until some chunks have come, and not all; false if the command has ended before.
fn in_the_middle(world: &World, command: &mut Running, of: &Instance<'_>, chunks: usize) {
    world.until("some chunks to arrive", || {
        assert!(command.ended().is_none(), "it ended too early:\n{}\n{}", command.out(), command.err());
        of.chunks().0 >= chunks
    });
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn a_killed_clone_goes_on_where_it_was() {
    let world = World::new();
    let alpha = world.with_notes("alpha", FILES, FILE_BYTES);
    let _serving = alpha.serves_reachably();
    let beta = world.future("beta");
    let invite = alpha.invite(&[]);
    let clone = ["clone", &invite, "--name", "beta", "--yes"];
    for chunks in [3, 12] {
        let mut cloning = beta.starts(&clone);
        in_the_middle(&world, &mut cloning, &beta, chunks);
        cloning.kill();
    }
    let (_, kept) = beta.chunks();
    let report = beta.json(&clone);
    let (_, whole) = beta.chunks();
    let fetched = report["fetched"]["bytes"].as_u64().unwrap();
    assert!(kept > 0 && fetched > 0);
    assert!(fetched + kept <= whole, "{kept} bytes were there, {fetched} of {whole} were fetched again");
    beta.does(&["verify", "--data"]);
    beta.has_the_same_as(&alpha);
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn a_killed_server_is_started_again_and_the_clone_ends_whole() {
    let world = World::new();
    let alpha = world.with_notes("alpha", FILES, FILE_BYTES);
    let mut serving = alpha.serves_reachably();
    let beta = world.future("beta");
    let invite = alpha.invite(&[]);
    let clone = ["clone", &invite, "--name", "beta", "--yes"];
    let mut cloning = beta.starts(&clone);
    in_the_middle(&world, &mut cloning, &beta, 6);
    serving.kill();
    let _serving = alpha.serves();
    // It goes on by itself, or says that it could not and is run again.
    if cloning.code(world.deadline()) != 0 {
        beta.does_at_last(&clone);
    }
    beta.does(&["verify", "--data"]);
    beta.has_the_same_as(&alpha);
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn one_of_two_sources_is_killed_in_the_middle_and_the_other_brings_the_rest() {
    let world = World::new();
    let alpha = world.with_notes("alpha", FILES, FILE_BYTES);
    let mut serving = alpha.serves_reachably();
    let beta = world.future("beta");
    beta.does(&["clone", &alpha.invite(&["--role", "mirror", "--onward"]), "--name", "beta", "--yes", "-q"]);
    let _mirroring = beta.serves_reachably();
    let gamma = world.future("gamma");
    for invite in [alpha.invite(&[]), beta.invite(&["--role", "mirror"])] {
        gamma.does(&["clone", &invite, "--name", "gamma", "--yes", "--skip-collections", "-q"]);
    }
    gamma.does(&["sync"]);
    // Keys are alpha's alone to give, and they are here now. Chunks come from both, at once.
    let given =
        |source: &Instance<'_>| source.json(&["peer", "exposure", "gamma"])["exposure"]["bytes"].as_u64().unwrap();
    let mut fetching = gamma.starts(&["fetch", "--max-circuits", "2"]);
    in_the_middle(&world, &mut fetching, &gamma, 8);
    fetching.held(|| world.until("both to have given some", || given(&alpha) > 0 && given(&beta) > 0));
    assert!(fetching.ended().is_none(), "it ended too early:\n{}", fetching.out());
    serving.kill();
    assert_eq!(fetching.code(world.deadline()), 0, "{}\n{}", fetching.out(), fetching.err());
    let ((_, whole), rest) = (gamma.chunks(), given(&beta));
    assert!(rest < whole, "alpha has brought nothing");
    gamma.does(&["verify", "--data"]);
    gamma.has_the_same_as(&alpha);
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn r6_a_peer_that_is_revoked_in_the_middle_gets_no_more() {
    let world = World::new();
    let alpha = world.with_notes("alpha", FILES, FILE_BYTES);
    let _serving = alpha.serves_reachably();
    let beta = world.future("beta");
    let mut cloning = beta.starts(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes"]);
    in_the_middle(&world, &mut cloning, &beta, 4);
    cloning.held(|| alpha.does(&["peer", "revoke", "beta"]));
    assert_ne!(cloning.code(world.deadline()), 0, "{}", cloning.out());
    let (chunks, bytes) = beta.chunks();
    assert!(bytes < FILES * FILE_BYTES as u64, "{chunks} chunks came");
    for command in ["sync", "fetch"] {
        let (code, out, err) = beta.tries(&[command]);
        assert_ne!(code, 0, "{command}: {out}");
        assert!(err.contains("the peer refuses"), "{command}: {err}");
    }
    assert_eq!(beta.chunks(), (chunks, bytes));
}

/// A network of its own, which may be paused while other tests use theirs.
struct Network {
    dir: tempfile::TempDir,
}

const TORNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/script/tornet");

impl Network {
    fn start() -> Self {
        let network = Self { dir: tempfile::tempdir().unwrap() };
        network.order("start", &["--owner-pid", &std::process::id().to_string()]);
        network
    }

    fn order(&self, order: &str, more: &[&str]) {
        let mut command = Command::new(TORNET);
        let output = command.arg(order).arg("--dir").arg(self.dir.path()).args(more).output().unwrap();
        assert!(output.status.success(), "tornet {order}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn arti(&self) -> &Path {
        // It is written beside the nodes, under the name that `tornet` gives it.
        self.dir.path()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new(TORNET).args(["stop", "--dir"]).arg(self.dir.path()).output();
    }
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn when_the_tor_network_is_back_a_mirror_catches_up_without_a_human() {
    let network = Network::start();
    let world = World::with(&network.arti().join("arti.toml"), Duration::from_secs(420));
    let alpha = world.with_notes("alpha", FILES, FILE_BYTES);
    let _serving = alpha.serves_reachably();
    let beta = world.future("beta");
    beta.does(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes", "--skip-collections"]);
    beta.address();
    beta.is_told("[sync]\ninterval_s = 5\n");
    let mut following = beta.serves();
    in_the_middle(&world, &mut following, &beta, 4);
    network.order("pause", &[]);
    std::fs::write(alpha.source().join("later"), "news").unwrap();
    alpha.does(&["backup", "-q"]);
    // Long enough for both sides to notice.
    world.until("the trouble to be told", || !alpha.is_reachable());
    network.order("resume", &[]);
    let back = Instant::now();
    world.until("the new snapshot to arrive", || complete_snapshots(&beta) == 2);
    println!("caught up {:.0} s after the network was back", back.elapsed().as_secs_f64());
    beta.has_the_same_as(&alpha);
    world.until("the service to be reachable again", || alpha.is_reachable());
    println!("reachable {:.0} s after the network was back", back.elapsed().as_secs_f64());
}
