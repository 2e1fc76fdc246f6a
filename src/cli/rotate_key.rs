//! `bulbil rotate-key`: other keys for this instance.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::json;

use crate::http::admin::view::keys::KeysView;
use crate::replicate::rotate::rotate;
use crate::store::{Rotate, Store};

use super::args::{RotateArg, RotateKeyArgs};
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, count};
use super::remote::{confirm, words};

/// What came of it.
struct Done {
    instance: String,
    instance_short: String,
    fingerprint: String,
    key: String,
    version: u64,
    renewed: u64,
}

/// Replaces keys.
pub async fn run(args: RotateKeyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let wanted: BTreeSet<RotateArg> = args.keys.iter().copied().collect();
    let which =
        Rotate { envelope: wanted.contains(&RotateArg::Envelope), identity: wanted.contains(&RotateArg::Identity) };
    let out = &context.output;
    if which.identity && !args.yes {
        out.warning("With another identity key this instance gets other fingerprint words. Trusted peers follow by themselves: the old key signs the new one. Invites that are still open lose their worth.");
        ensure!(confirm("Replace the identity key?", false), "nothing was changed: answer yes, or give --yes");
    }
    let store = context.store().await?;
    let (former, version) = (store.keys.instance(), store.keys.key_version);
    let done = match Server::running(&store, None, context).await? {
        Some(server) => by_server(server, &store, which, args.stop_runs).await?,
        None => here(&store, which, context).await?,
    };
    if which.envelope {
        out.line(format!("envelope key  version {version} was replaced by version {}", done.version));
    }
    if which.identity {
        out.line(format!("instance      {} goes on as {}", former.short(), done.instance_short));
        out.line(format!("fingerprint   {}", done.fingerprint));
    }
    if done.renewed > 0 {
        out.line(format!("heirs of {} were appointed anew", count(done.renewed, "collection")));
    }
    out.line("Peers are shown the new keys with the next sync; snapshots stay as they are.");
    out.remark(
        "The old key file was overwritten. Copies of keys/ that you keep elsewhere are out of date: make new ones.",
    );
    let document = json!({
        "instance": done.instance, "former": former, "fingerprint": done.fingerprint,
        "envelope_key": { "id": done.key, "version": done.version },
    });
    out.document("rotate-key", document, &[]);
    Ok(Outcome::Done)
}

async fn here(store: &Store, which: Rotate, context: &Context) -> anyhow::Result<Done> {
    let rotated = rotate(store, which, &*context.clock).await?;
    store.index.close().await;
    let keys = &rotated.store.keys;
    let done = Done {
        instance: keys.instance().to_string(),
        instance_short: keys.instance().short().to_string(),
        fingerprint: words(&keys.instance()),
        key: keys.envelope.recipient().id().to_string(),
        version: keys.key_version,
        renewed: rotated.renewed,
    };
    rotated.store.index.close().await;
    Ok(done)
}

/// The server ends, replaces them, and starts again.
async fn by_server(mut server: Server<'_>, store: &Store, which: Rotate, stop_runs: bool) -> anyhow::Result<Done> {
    let wanted = [(which.envelope, "envelope"), (which.identity, "identity")];
    let keys: Vec<&str> = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
    let order = json!({ "keys": keys, "stop_runs": stop_runs });
    server.ask_and_wait(store, "/admin/v1/keys/rotations", &order).await?;
    let now: KeysView = server.get("/admin/v1/keys").await?;
    let former = &store.keys;
    let done = (!which.envelope || now.key_version > former.key_version)
        && (!which.identity || now.instance != former.instance().to_string());
    ensure!(done, "the server started again with the keys of before: why stands in its log");
    let instance_short = now.instance.chars().take(former.instance().short().to_string().len()).collect();
    Ok(Done {
        instance_short,
        fingerprint: now.fingerprint.join(" "),
        instance: now.instance,
        key: now.envelope_key_id,
        version: now.key_version,
        renewed: 0,
    })
}
