//! `bulbil rotate-key`: other keys for this instance.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::json;

use crate::clock::Clock;
use crate::replicate::succession::renew_appointments;
use crate::store::{Rotate, Store};

use super::args::{RotateArg, RotateKeyArgs};
use super::context::Context;
use super::output::{Outcome, count};
use super::remote::{confirm, words};

/// Replaces keys.
pub async fn run(args: RotateKeyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let wanted: BTreeSet<RotateArg> = args.keys.into_iter().collect();
    let which =
        Rotate { envelope: wanted.contains(&RotateArg::Envelope), identity: wanted.contains(&RotateArg::Identity) };
    let out = &context.output;
    if which.identity && !args.yes {
        out.warning("With another identity key this instance gets other fingerprint words. Trusted peers follow by themselves: the old key signs the new one. Invites that are still open lose their worth.");
        ensure!(confirm("Replace the identity key?", false), "nothing was changed: answer yes, or give --yes");
    }
    let before = context.store().await?;
    ensure!(
        before.running_server().is_none(),
        "the server of this home is running, with the keys of now: stop it, rotate, and start it again"
    );
    let former = before.keys.instance();
    let version = before.keys.key_version;
    // Clocks differ: a renewal is not earlier than what it goes on from.
    let since = before.index.collections().await?.into_iter().flat_map(|collection| collection.line);
    let since = since.filter_map(|reign| reign.since).max();
    let now =
        since.map_or(context.clock.now(), |since| context.clock.now().max(since + std::time::Duration::from_nanos(1)));
    before.index.close().await;
    drop(before);
    let store = Store::rotate_keys(&context.home, context.passphrase()?, which, now).await?;
    let renewed = if which.identity { renew_appointments(&store, context.clock.now()).await? } else { 0 };
    let keys = &store.keys;
    if which.envelope {
        out.line(format!("envelope key  version {version} was replaced by version {}", keys.key_version));
    }
    if which.identity {
        out.line(format!("instance      {} goes on as {}", former.short(), keys.instance().short()));
        out.line(format!("fingerprint   {}", words(&keys.instance())));
    }
    if renewed > 0 {
        out.line(format!("heirs of {} were appointed anew", count(renewed, "collection")));
    }
    out.line("Peers are shown the new keys with the next sync; snapshots stay as they are.");
    out.remark(
        "The old key file was overwritten. Copies of keys/ that you keep elsewhere are out of date: make new ones.",
    );
    let document = json!({
        "instance": keys.instance(), "former": former, "fingerprint": words(&keys.instance()),
        "envelope_key": { "id": keys.envelope.recipient().id(), "version": keys.key_version },
    });
    out.document("rotate-key", document, &[]);
    Ok(Outcome::Done)
}
