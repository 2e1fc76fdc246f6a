//! R9: nothing goes around Tor. The binary runs where no network is, under strace, and what it tries is looked at.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::running::Running;
use crate::support::world::{Instance, World, tornet};

/// Where the relays of the network listen.
fn relays() -> BTreeSet<String> {
    let network = fs::read_to_string(tornet("TORNET_JSON")).unwrap();
    let network: serde_json::Value = serde_json::from_str(&network).unwrap();
    network["orports"].as_object().unwrap().values().map(|port| format!("127.0.0.1:{port}")).collect()
}

/// Starts a command in a network namespace of its own that has loopback and no route, and nobody else in it.
fn cut_off(world: &World, instance: &Instance<'_>, args: &[&str], trace: &Path) -> Running {
    let wanted = instance.command(args);
    let mut command = Command::new("unshare");
    command.args(["--net", "--map-root-user", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    // -D: the process that was started is the traced one, so that signals reach it.
    command.args(["strace", "-D", "-f", "-qq", "-e", "trace=network,open,openat", "-o"]).arg(trace);
    command.arg(wanted.get_program()).args(wanted.get_args());
    command.envs(wanted.get_envs().filter_map(|(key, value)| Some((key, value?))));
    world.start(command)
}

/// Where a command wanted to go, by what strace saw. Panics if it asked for a name, or sent something off without a connection.
fn targets(trace: &Path) -> BTreeSet<String> {
    let trace = String::from_utf8_lossy(&fs::read(trace).unwrap()).into_owned();
    assert!(trace.contains("socket(AF_"), "nothing was traced");
    let between = |line: &str, from: &str, to: &str| -> Option<String> {
        let (_, rest) = line.split_once(from)?;
        Some(rest.split_once(to)?.0.to_owned())
    };
    let mut targets = BTreeSet::new();
    for line in trace.lines() {
        assert!(!line.contains("resolv.conf"), "it wanted to look names up: {line}");
        assert!(!(line.contains("socket(AF_INET") && line.contains("SOCK_DGRAM")), "a datagram socket: {line}");
        assert!(!(line.contains("send") && line.contains("sin")), "something was sent off: {line}");
        if !line.contains("connect(") || line.contains("sa_family=AF_UNIX") {
            continue;
        }
        let (port, ip) = (between(line, "sin_port=htons(", ")"), between(line, "inet_addr(\"", "\")"));
        let (Some(port), Some(ip)) = (port, ip) else { panic!("a connection of another kind: {line}") };
        targets.insert(format!("{ip}:{port}"));
    }
    targets
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn r9_without_a_network_only_relays_are_tried_and_everything_fails_closed() {
    let world = World::new();
    let alpha = world.with_notes("alpha", 2, 100_000);
    let mut serving = alpha.serves_reachably();
    let beta = world.future("beta");
    beta.does(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes", "-q"]);
    serving.stop(world.deadline());
    // One that knows the network already, one that has never seen it, and a server.
    let gamma = world.future("gamma");
    let clone = ["clone", &alpha.invite(&[]), "--name", "gamma", "--yes"];
    let traces = ["serve", "clone", "sync"].map(|name| world.path(name));
    let mut serving = cut_off(&world, &alpha, &["serve"], &traces[0]);
    let mut cloning = cut_off(&world, &gamma, &clone, &traces[1]);
    let mut syncing = cut_off(&world, &beta, &["sync"], &traces[2]);
    for command in [&mut cloning, &mut syncing] {
        assert_eq!(command.code(world.deadline()), 1, "{}{}", command.out(), command.err());
        let said = command.err();
        assert!(said.contains("error:") && said.contains("Tor"), "{said}");
        let last = said.lines().rfind(|line| line.contains("error:")).unwrap();
        assert!(last.contains("Tor is not ready") || last.contains("onion service is not reached"), "{last}");
    }
    assert!(serving.ended().is_none(), "a server waits for Tor: {}", serving.err());
    serving.stop(world.deadline());
    assert!(serving.err().contains("connecting to Tor"), "{}", serving.err());
    let relays = relays();
    for trace in &traces {
        let targets = targets(trace);
        assert!(!targets.is_empty(), "{} tried nothing", trace.display());
        assert!(targets.is_subset(&relays), "{}: {targets:?}, and relays are {relays:?}", trace.display());
    }
}
