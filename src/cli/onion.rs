//! `bulbil onion …`: the address of this instance, brought along from C tor or taken there.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use zeroize::Zeroizing;

use crate::domain::crypto::onion::{OnionKey, SECRET_FILE};
use crate::domain::onion::DEFAULT_PORT;
use crate::store::{OnionImportError, OnionName, Store};

use super::args::{OnionAddressArgs, OnionCommand, OnionExportArgs, OnionImportArgs};
use super::by_server::Server;
use super::context::Context;
use super::output::Outcome;

/// A key has 96 bytes; whatever is longer is none.
const MAX_BYTES: u64 = 4096;

/// Shows, imports or exports.
pub async fn run(command: OnionCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    match command {
        OnionCommand::Address(args) => address(&args, &store, context),
        OnionCommand::Import(args) => import(&args, &store, context).await,
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

async fn import(args: &OnionImportArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let path = if args.from.is_dir() { args.from.join(SECRET_FILE) } else { args.from.clone() };
    let file = fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize));
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BYTES), &mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let key = OnionKey::from_ctor_secret(&bytes).with_context(|| format!("{} was not imported", path.display()))?;
    let service = name(args.admin);
    // What it says of a server's refusal is said with the words of this command.
    let is_new = match store.check_onion_import(service, &key, args.replace) {
        Err(OnionImportError::HasAddress) => bail!(
            "this instance has an onion address already, which peers may know: --replace gives it up ('bulbil onion export' \
             keeps a copy)"
        ),
        checked => checked?,
    };
    match Server::running(store, None, context).await?.filter(|_| is_new) {
        Some(server) => by_server(server, args, &bytes, store).await?,
        None => store.replace_onion_key(service, &key)?,
    }
    let address = revealed(&key, args.admin, context)?;
    context.output.line(&address);
    context.output.remark(
        "This is the address from now on. Stop the other tor's service before 'bulbil serve': two at one address get in each other's way.",
    );
    context.output.document("onion import", json!({ "address": address }), &[]);
    Ok(Outcome::Done)
}

/// The server takes it over; if it is at the address of before, it starts again.
async fn by_server(mut server: Server<'_>, args: &OnionImportArgs, key: &[u8], store: &Store) -> anyhow::Result<()> {
    let order = json!({
        "secret_key": data_encoding::BASE64.encode(key), "replace": args.replace, "stop_runs": args.stop_runs,
    });
    let service = if args.admin { "admin" } else { "peer" };
    let answer = server.ask_and_wait(store, &format!("/admin/v1/onions/{service}/import"), &order).await?;
    let now: serde_json::Value = server.get(&format!("/admin/v1/onions/{service}")).await?;
    ensure!(now["host"] == answer["host"], "the server started again at the address of before: why stands in its log");
    Ok(())
}

fn export(args: &OnionExportArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let key = store.onion_key(name(args.admin))?;
    let fail = || format!("cannot make {}", args.to.display());
    fs::DirBuilder::new().mode(0o700).create(&args.to).with_context(fail)?;
    for (name, bytes) in key.to_ctor_folder()? {
        write(&args.to, name, &bytes)?;
    }
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
