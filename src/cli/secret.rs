//! `bulbil secret add|list|show|remove|elsewhere`

use std::fs::OpenOptions;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::backup::secrets::{self, SecretsError, StoredSecret, fits, ranges, trim_end};
use crate::backup::select;
use crate::clock::Clock;
use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::dotenv;
use crate::domain::escrow::{
    EscrowDocument, EscrowedSecret, MAX_DOCUMENT_BYTES, MAX_SECRET_BYTES, SecretForm, read_papers,
};
use crate::domain::id::CollectionId;
use crate::domain::peer::is_plain_name;
use crate::domain::text::path_text;
use crate::http::admin::access::local::query_value;
use crate::http::admin::view::secret::{ElsewhereSecret, KeptSecret, RemovedSecret, RevealedSecret};
use crate::store::Store;
use crate::store::index::Collection;

use super::args::{
    SecretAddArgs, SecretCommand, SecretElsewhereArgs, SecretListArgs, SecretRemoveArgs, SecretShowArgs,
};
use super::by_server::Server;
use super::context::{Context, ask};
use super::output::Outcome;
use super::rescue::recovery_key;

/// Secrets of applications, apart from their data.
pub async fn run(command: SecretCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        SecretCommand::Add(args) => add(args, context).await,
        SecretCommand::List(args) => list(args, context).await,
        SecretCommand::Show(args) => show(args, context).await,
        SecretCommand::Remove(args) => remove(args, context).await,
        SecretCommand::Elsewhere(args) => elsewhere(args, context).await,
    }
}

async fn add(args: SecretAddArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = own(&store, &args.collection).await?;
    let (form, value) = read(&args, &collection, &store)?;
    let (fingerprint, is_new) = match Server::running(&store, None, context).await? {
        Some(server) => {
            let value = data_encoding::BASE64.encode(&value);
            let body = json!({ "name": args.name, "form": form, "value_base64": value });
            let kept: KeptSecret =
                server.post(&format!("/admin/v1/collections/{}/secrets", collection.name), &body).await?;
            (kept.fingerprint, kept.new)
        }
        None => {
            let given = (args.name.clone(), form, value);
            let (fingerprint, is_new) = secrets::add(&store, &collection, given, context.clock.now()).await?;
            (fingerprint.to_string(), is_new)
        }
    };
    let what = if is_new { "stored" } else { "known already" };
    context.output.line(format!("{}: {} {what} ({})", collection.name, args.name, short(&fingerprint)));
    let document =
        json!({ "collection": collection.name, "name": args.name, "fingerprint": fingerprint, "new": is_new });
    context.output.document("secret add", document, &[]);
    Ok(Outcome::Done)
}

async fn own(store: &Store, name: &str) -> anyhow::Result<Collection> {
    let collection = select::collection(store, name).await?;
    secrets::own(&collection)?;
    Ok(collection)
}

/// The first eight digits of a fingerprint.
fn short(fingerprint: &str) -> &str {
    fingerprint.get(..8).unwrap_or(fingerprint)
}

/// Where a secret is in the server that runs. What cannot be the name of one is stored nowhere.
fn place(collection: &Collection, name: &str) -> anyhow::Result<String> {
    ensure!(is_plain_name(name), SecretsError::NoSuch(collection.name.clone()));
    Ok(format!("/admin/v1/collections/{}/secrets/{name}", collection.name))
}

fn read(
    args: &SecretAddArgs,
    collection: &Collection,
    store: &Store,
) -> anyhow::Result<(SecretForm, Zeroizing<Vec<u8>>)> {
    if let Some(variable) = &args.from_env {
        let Some(value) = std::env::var_os(variable) else {
            bail!(
                "the variable {variable} is not set in this environment: nothing was stored. Is it exported? An .env file is read with --from-env-file"
            );
        };
        return Ok((SecretForm::Variable, Zeroizing::new(value.into_vec())));
    }
    if let Some(file) = &args.from_env_file {
        let text =
            Zeroizing::new(std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?);
        let Some(value) = dotenv::parse(&text).remove(&args.name) else {
            bail!("{} has no line {}=…: nothing was stored", file.display(), args.name);
        };
        return Ok((SecretForm::Variable, Zeroizing::new(value.as_bytes().to_vec())));
    }
    let known = secrets::known_form(store, collection, &args.name);
    if let Some(file) = &args.from_file {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut value = bounded(opened).with_context(|| format!("cannot read {}", file.display()))?;
        let form = known.unwrap_or(SecretForm::File);
        if form == SecretForm::Variable {
            trim_end(&mut value);
        }
        return Ok((form, value));
    }
    let form = known.unwrap_or(SecretForm::Variable);
    if std::io::stdin().is_terminal() {
        let typed = ask(&format!("{} (it is not shown): ", args.name))?;
        return Ok((form, Zeroizing::new(typed.expose().to_vec())));
    }
    let mut value = bounded(std::io::stdin().lock()).context("cannot read standard input")?;
    // What is no text is not a variable's value.
    let form = if std::str::from_utf8(&value).is_ok() { form } else { SecretForm::File };
    if form == SecretForm::Variable {
        trim_end(&mut value);
    }
    Ok((form, value))
}

/// One byte more than a secret may have, at most.
fn bounded(from: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut value = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    from.take(MAX_SECRET_BYTES as u64 + 1).read_to_end(&mut value)?;
    Ok(value)
}

async fn list(args: SecretListArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collections = match &args.collection {
        Some(name) => vec![select::collection(&store, name).await?],
        None => store.index.collections().await?,
    };
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for collection in &collections {
        for kept in secrets::list(&store, collection).await? {
            for StoredSecret { secret, in_use, opens_here, snapshots } in kept.stored {
                rows.push([
                    collection.name.clone(),
                    secret.name.clone(),
                    secret.fingerprint.short(),
                    format!("{:.0}", secret.since),
                    ranges(&snapshots),
                    match (opens_here, in_use) {
                        (false, _) => "from elsewhere: its recovery key opens it".to_owned(),
                        (true, true) => "in use".to_owned(),
                        (true, false) => "earlier".to_owned(),
                    },
                ]);
                documents.push(json!({
                    "collection": collection.name, "name": secret.name, "form": secret.form, "fingerprint": secret.fingerprint,
                    "since": secret.since, "in_use": in_use, "opens_here": opens_here, "snapshots": snapshots,
                }));
            }
            for name in kept.elsewhere {
                documents.push(json!({ "collection": collection.name, "name": name, "elsewhere": true }));
                let nothing = String::new;
                rows.push([
                    collection.name.clone(),
                    name,
                    nothing(),
                    nothing(),
                    nothing(),
                    "kept elsewhere".to_owned(),
                ]);
            }
        }
    }
    if rows.is_empty() {
        context.output.remark(
            "No secrets are stored: a backup by a preset stores what it finds, 'bulbil secret add' what you give.",
        );
    } else {
        let head = ["collection", "secret", "fingerprint", "since", "snapshots", ""].map(str::to_owned);
        context.output.table(&head, &rows);
    }
    context.output.document("secret list", documents, &[]);
    Ok(Outcome::Done)
}

/// A secret that was opened, wherever it came from.
struct Shown {
    name: String,
    form: SecretForm,
    fingerprint: String,
    since: Timestamp,
    value: Zeroizing<Vec<u8>>,
}

impl From<(EscrowedSecret, Zeroizing<Vec<u8>>)> for Shown {
    fn from((secret, value): (EscrowedSecret, Zeroizing<Vec<u8>>)) -> Self {
        let EscrowedSecret { name, form, fingerprint, since, .. } = secret;
        Self { name, form, fingerprint: fingerprint.to_string(), since, value }
    }
}

async fn show(args: SecretShowArgs, context: &Context) -> anyhow::Result<Outcome> {
    let secret = match &args.document {
        Some(document) => from_document(&args, document, context)?,
        None => from_home(&args, context).await?,
    };
    let value = &secret.value;
    context.note(format!("{} {}", secret.name, short(&secret.fingerprint)));
    let mut result =
        json!({ "name": secret.name, "form": secret.form, "fingerprint": secret.fingerprint, "since": secret.since });
    if let Some(path) = &args.output {
        write_new(path, value)?;
        context.output.line(format!("{} is in {}", secret.name, path.display()));
        result["output"] = json!(path_text(path));
        context.output.document("secret show", result, &[]);
        return Ok(Outcome::Done);
    }
    if context.output.json {
        match std::str::from_utf8(value) {
            Ok(text) => result["value"] = Value::from(text),
            Err(_) => result["value_base64"] = Value::from(data_encoding::BASE64.encode(value)),
        }
        context.output.document("secret show", result, &[]);
        return Ok(Outcome::Done);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(value)?;
    // A file goes into a pipe as it is.
    if secret.form == SecretForm::Variable || std::io::stdout().is_terminal() {
        out.write_all(b"\n")?;
    }
    Ok(Outcome::Done)
}

/// Writes a file that is there for its owner alone from its first moment on.
pub(super) fn write_new(path: &Path, value: &[u8]) -> anyhow::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.with_context(|| format!("cannot make {}: it must not be there yet", path.display()))?;
    let written = file.write_all(value).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

async fn from_home(args: &SecretShowArgs, context: &Context) -> anyhow::Result<Shown> {
    let [collection, name] = args.what.as_slice() else {
        bail!("say which secret: bulbil secret show COLLECTION NAME; 'bulbil secret list' lists them")
    };
    let store = context.store().await?;
    let collection = select::collection(&store, collection).await?;
    let recovery = args.recovery_key_file.as_deref().map(|file| recovery_key(Some(file), context)).transpose()?;
    // The recovery key goes to no other process.
    let only_here = recovery.as_ref().map(|_| "--recovery-key-file");
    if let Some(server) = Server::running(&store, only_here, context).await? {
        let path = format!("{}/reveal", place(&collection, name)?);
        let revealed: RevealedSecret = server.post(&path, &json!({ "fingerprint": args.fingerprint })).await?;
        let value = revealed.bytes().context("the server that runs in this home is of another version: restart it")?;
        let RevealedSecret { name, form, fingerprint, since_at, .. } = revealed;
        return Ok(Shown { name, form, fingerprint, since: since_at, value });
    }
    Ok(secrets::open(&store, &collection, (name, args.fingerprint.as_deref()), recovery.as_ref())?.into())
}

fn from_document(args: &SecretShowArgs, document: &Path, context: &Context) -> anyhow::Result<Shown> {
    let from_stdin = document == Path::new("-");
    ensure!(
        !from_stdin || args.recovery_key_file.is_some(),
        "the document is read from standard input: give the recovery key with --recovery-key-file"
    );
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT_BYTES as u64;
    let read = match from_stdin {
        true => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        false => std::fs::File::open(document).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("cannot read {}", document.display()))?;
    let all: Vec<(CollectionId, EscrowedSecret)> = match bytes.trim_ascii_start().first() {
        Some(b'{') => {
            let document = EscrowDocument::parse(&bytes)?;
            document.secrets.into_iter().map(|secret| (document.collection, secret)).collect()
        }
        _ => {
            let papers = read_papers(&String::from_utf8_lossy(&bytes))?;
            papers.into_iter().map(|paper| (paper.collection, paper.secret)).collect()
        }
    };
    let fit = |(_, secret): &&(CollectionId, EscrowedSecret)| {
        args.what.last().is_none_or(|name| secret.name == *name)
            && fits(&secret.fingerprint, args.fingerprint.as_deref())
    };
    let found: Vec<&(CollectionId, EscrowedSecret)> = all.iter().filter(fit).collect();
    let mut names: Vec<&str> = found.iter().map(|(_, secret)| secret.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let (collection, secret) = match (found.last(), names.as_slice()) {
        (Some(one), [_]) => *one,
        (None, _) => bail!(
            "no such secret is in it; there are: {}",
            all.iter().map(|(_, secret)| secret.name.as_str()).collect::<Vec<_>>().join(", ")
        ),
        (_, names) => bail!("several secrets are in it: name one of {}", names.join(", ")),
    };
    let key: RecoveryKey = recovery_key(args.recovery_key_file.as_deref(), context)?;
    let value = secret.open_with_recovery(collection, &key)?;
    Ok((secret.clone(), value).into())
}

async fn remove(args: SecretRemoveArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = own(&store, &args.collection).await?;
    let removed: Vec<String> = match Server::running(&store, None, context).await? {
        Some(server) => {
            let only = args.fingerprint.as_deref().map(|digits| format!("&fingerprint={}", query_value(digits)));
            let query = format!("?force={}{}", args.force, only.unwrap_or_default());
            let path = format!("{}{query}", place(&collection, &args.name)?);
            server.delete::<RemovedSecret>(&path).await?.removed
        }
        None => {
            let which = (args.name.as_str(), args.fingerprint.as_deref());
            let removed = secrets::remove(&store, &collection, which, args.force).await?;
            removed.iter().map(ToString::to_string).collect()
        }
    };
    context.output.line(format!("{}: removed {} of {}", collection.name, removed.len(), args.name));
    context.output.document(
        "secret remove",
        json!({ "collection": collection.name, "name": args.name, "removed": removed }),
        &[],
    );
    Ok(Outcome::Done)
}

async fn elsewhere(args: SecretElsewhereArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = own(&store, &args.collection).await?;
    ensure!(is_plain_name(&args.name), SecretsError::BadName(args.name.clone()));
    let stored = match Server::running(&store, None, context).await? {
        Some(server) => {
            let path = format!("{}/elsewhere", place(&collection, &args.name)?);
            let said: ElsewhereSecret = match args.undo {
                true => server.delete(&path).await?,
                false => server.put(&path, &json!({})).await?,
            };
            said.stored
        }
        None => secrets::elsewhere(&store, &collection, &args.name, !args.undo).await?,
    };
    context.output.line(match args.undo {
        true => format!("{}: {} is stored with the next backup, if it is found", collection.name, args.name),
        false => format!("{}: you keep {} elsewhere", collection.name, args.name),
    });
    if stored && !args.undo {
        context.output.remark(format!(
            "What is stored of it stays: 'bulbil secret remove {} {}' forgets it.",
            collection.name, args.name
        ));
    }
    context.output.document(
        "secret elsewhere",
        json!({ "collection": collection.name, "name": args.name, "elsewhere": !args.undo }),
        &[],
    );
    Ok(Outcome::Done)
}
