//! `bulbil onion …`: the address of this instance, brought along from C tor or taken there.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::json;
use zeroize::Zeroizing;

use crate::domain::crypto::onion::OnionKey;
use crate::domain::onion::DEFAULT_PORT;
use crate::store::{OnionName, Store};

use super::args::{OnionAddressArgs, OnionCommand, OnionExportArgs, OnionImportArgs};
use super::context::Context;
use super::output::Outcome;

const SECRET: &str = "hs_ed25519_secret_key";
const PUBLIC: &str = "hs_ed25519_public_key";
const HOSTNAME: &str = "hostname";
/// A key has 96 bytes; whatever is longer is none.
const MAX_BYTES: u64 = 4096;

/// Shows, imports or exports.
pub async fn run(command: OnionCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    match command {
        OnionCommand::Address(args) => address(&args, &store, context),
        OnionCommand::Import(args) => import(&args, &store, context),
        OnionCommand::Export(args) => export(&args, &store, context),
    }
}

fn name(admin: bool) -> OnionName {
    if admin { OnionName::Admin } else { OnionName::Peer }
}

/// The address, for who asks for it.
fn revealed(key: &OnionKey, admin: bool, context: &Context) -> anyhow::Result<String> {
    let port = if admin { DEFAULT_PORT } else { context.config()?.tor.port.get() };
    Ok(format!("http://{}", key.address(port)?.reveal_authority()))
}

fn address(args: &OnionAddressArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let key = store.onion_key(name(args.admin))?;
    let address = revealed(&key, args.admin, context)?;
    context.output.line(&address);
    context.output.document("onion address", json!({ "address": address }), &[]);
    Ok(Outcome::Done)
}

fn import(args: &OnionImportArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let path = if args.from.is_dir() { args.from.join(SECRET) } else { args.from.clone() };
    let file = fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bytes = Zeroizing::new(Vec::new());
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BYTES), &mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let key = OnionKey::from_ctor_secret(&bytes).with_context(|| format!("{} was not imported", path.display()))?;
    ensure!(
        store.running_server().is_none(),
        "a server runs in this home with the old address: stop it first, then run this again"
    );
    let other = store.known_onion_key(name(!args.admin))?;
    ensure!(
        other.is_none_or(|other| other.public() != key.public()),
        "this is the key of this instance's other onion service: peers and admin have an address each, and neither shows the other"
    );
    if let Some(known) = store.known_onion_key(name(args.admin))? {
        ensure!(
            known.public() == key.public() || args.replace,
            "this instance has an onion address already, which peers may know: --replace gives it up ('bulbil onion export' \
             keeps a copy)"
        );
    }
    store.replace_onion_key(name(args.admin), &key)?;
    let address = revealed(&key, args.admin, context)?;
    context.output.line(&address);
    context.output.remark(
        "This is the address from now on. Stop the other tor's service before 'bulbil serve': two at one address get in each other's way.",
    );
    context.output.document("onion import", json!({ "address": address }), &[]);
    Ok(Outcome::Done)
}

fn export(args: &OnionExportArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let key = store.onion_key(name(args.admin))?;
    let fail = || format!("cannot make {}", args.to.display());
    fs::DirBuilder::new().mode(0o700).create(&args.to).with_context(fail)?;
    let host = key.address(DEFAULT_PORT)?.reveal();
    write(&args.to, SECRET, &key.to_ctor_secret())?;
    write(&args.to, PUBLIC, &key.to_ctor_public())?;
    write(&args.to, HOSTNAME, format!("{host}\n").as_bytes())?;
    context.output.line(format!("{} is a HiddenServiceDir now", args.to.display()));
    context
        .output
        .remark("Whoever has this folder is at this address. Give it to tor's user (chown), and nobody else.");
    context.output.document("onion export", json!({ "folder": args.to.display().to_string() }), &[]);
    Ok(Outcome::Done)
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = dir.join(name);
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write {}", path.display()))
}
