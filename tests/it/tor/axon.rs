//! Beside an Axon BBS, which has its onion address and its SOCKS port from C tor.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::axon::peer;
use crate::support::ctor::{Control, free_port, socks};
use crate::support::world::World;

/// A BBS of the test peer, in a folder of the world.
struct Bbs<'a> {
    world: &'a World,
    name: &'static str,
}

impl<'a> Bbs<'a> {
    fn new(world: &'a World, name: &'static str, onion: &str) -> Self {
        let bbs = Self { world, name };
        bbs.run("new", &["--onion", onion]);
        bbs
    }

    fn run(&self, command: &str, args: &[&str]) -> Value {
        let output = peer().arg(command).arg(self.world.path(self.name)).args(args).output().unwrap();
        assert!(output.status.success(), "{command} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn trusts(&self, pem: &str, url: &str) {
        let file = self.world.path("key.pem");
        std::fs::write(&file, pem).unwrap();
        self.run("trust", &["--pem", file.to_str().unwrap(), "--url", url]);
    }

    fn serves(&self, port: u16) -> Serving {
        let mut command = peer();
        command.arg("serve").arg(self.world.path(self.name)).args(["--port", &port.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Serving(child)
    }

    /// How much it has, all of which opens.
    fn has(&self) -> usize {
        let dump = self.run("dump", &[]);
        let rows = ["messages", "files", "pms"].iter().flat_map(|table| dump[table].as_array().unwrap());
        rows.filter(|row| row["content"]["plaintext_is_content_hash"] == true).count()
    }
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn a_bbs_is_cloned_from_its_onion_and_others_pull_from_ours_through_their_socks_port() {
    let world = World::new();
    let alpha = world.instance("alpha");
    alpha.is_told("[axon]\nserve = true\n");
    let pem = alpha.does(&["axon", "key"]);
    let pem = pem.split_inclusive("-----END PUBLIC KEY-----").next().unwrap();

    let (mut tor, port, other_port) = (Control::open(), free_port(), free_port());
    let onion = tor.host(&format!("127.0.0.1:{port}"));
    let bbs = Bbs::new(&world, "bbs", &onion);
    bbs.run(
        "fill",
        &["--messages", "3", "--files", "2", "--applets", "2", "--pms", "0", "--at", "2026-01-02T03:04:05+00:00"],
    );
    bbs.trusts(pem, &alpha.address());
    let source = bbs.serves(port);
    let cloned = ["axon", "clone", &format!("http://{onion}"), "--yes", "-q"];
    alpha.does_at_last(&cloned);
    drop(source);

    let other_onion = tor.host(&format!("127.0.0.1:{other_port}"));
    let other = Bbs::new(&world, "other", &other_onion);
    other.trusts(pem, &alpha.address());
    let shows_its_key = other.serves(other_port);
    alpha.does_at_last(&[
        "peer",
        "add",
        "--kind",
        "axon",
        &format!("http://{other_onion}"),
        "--name",
        "other",
        "--yes",
    ]);
    drop(shows_its_key);
    alpha.does(&["peer", "rights", "other", "--all"]);

    let _serving = alpha.serves_reachably();
    let whole = bbs.has();
    world.until("the other BBS to have everything", || {
        other.run("pull", &["--socks", &socks()]);
        other.has() == whole
    });
}
