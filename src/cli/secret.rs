//! `bulbil secret add|list|show|remove|elsewhere`

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::backup::escrow;
use crate::backup::select;
use crate::clock::Clock;
use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::dotenv;
use crate::domain::escrow::{
    EscrowDocument, EscrowedSecret, Fingerprint, MAX_DOCUMENT_BYTES, MAX_SECRET_BYTES, SecretForm, read_papers,
};
use crate::domain::id::CollectionId;
use crate::domain::text::path_text;
use crate::store::index::Collection;
use crate::store::{EscrowFileError, Store, blocking};

use super::args::{
    SecretAddArgs, SecretCommand, SecretElsewhereArgs, SecretListArgs, SecretRemoveArgs, SecretShowArgs,
};
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
    let (in_store, of, name, now) = (store.clone(), collection.clone(), args.name.clone(), context.clock.now());
    let (fingerprint, is_new) = blocking(move || escrow::add(&in_store, &of, (&name, form, &value), now)).await?;
    let what = if is_new { "stored" } else { "known already" };
    context.output.line(format!("{}: {} {what} ({})", collection.name, args.name, fingerprint.short()));
    let document =
        json!({ "collection": collection.name, "name": args.name, "fingerprint": fingerprint, "new": is_new });
    context.output.document("secret add", document, &[]);
    Ok(Outcome::Done)
}

async fn own(store: &Store, name: &str) -> anyhow::Result<Collection> {
    let collection = select::collection(store, name).await?;
    ensure!(
        collection.settings.is_some(),
        "collection {name:?} belongs to another instance: its secrets are stored there"
    );
    Ok(collection)
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
    let application = collection.settings.as_ref().and_then(|settings| settings.application.as_ref());
    let preset = application.and_then(|application| store.preset(&application.preset).ok());
    let known = preset.and_then(|preset| preset.secrets.into_iter().find(|secret| secret.name == args.name));
    if let Some(file) = &args.from_file {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut value = bounded(opened).with_context(|| format!("cannot read {}", file.display()))?;
        let form = match known {
            Some(known) if !known.whole_file => SecretForm::Variable,
            _ => SecretForm::File,
        };
        if form == SecretForm::Variable {
            trim_end(&mut value);
        }
        return Ok((form, value));
    }
    let form = if known.is_some_and(|known| known.whole_file) { SecretForm::File } else { SecretForm::Variable };
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

fn trim_end(value: &mut Vec<u8>) {
    while value.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        value.pop();
    }
}

async fn list(args: SecretListArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collections = match &args.collection {
        Some(name) => vec![select::collection(&store, name).await?],
        None => store.index.collections().await?,
    };
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for collection in &collections {
        let users = users(&store, collection).await?;
        for escrow in store.escrows(&collection.id)? {
            let document = &escrow.document;
            let mut secrets: Vec<&EscrowedSecret> = document.secrets.iter().collect();
            secrets.sort_by(|a, b| a.name.cmp(&b.name).then(b.since.cmp(&a.since)));
            for secret in secrets {
                let in_use = document.current(&secret.name) == Some(secret);
                let users = users.get(&(secret.name.clone(), secret.fingerprint)).cloned().unwrap_or_default();
                let opens = escrow.key.is_some();
                rows.push([
                    collection.name.clone(),
                    secret.name.clone(),
                    secret.fingerprint.short(),
                    format!("{:.0}", secret.since),
                    ranges(&users),
                    match (opens, in_use) {
                        (false, _) => "from elsewhere: its recovery key opens it".to_owned(),
                        (true, true) => "in use".to_owned(),
                        (true, false) => "earlier".to_owned(),
                    },
                ]);
                documents.push(json!({
                    "collection": collection.name, "name": secret.name, "form": secret.form, "fingerprint": secret.fingerprint,
                    "since": secret.since, "in_use": in_use, "opens_here": opens, "snapshots": users,
                }));
            }
            for name in &document.elsewhere {
                rows.push([
                    collection.name.clone(),
                    name.clone(),
                    String::new(),
                    String::new(),
                    String::new(),
                    "kept elsewhere".to_owned(),
                ]);
                documents.push(json!({ "collection": collection.name, "name": name, "elsewhere": true }));
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

type Users = BTreeMap<(String, Fingerprint), Vec<u64>>;

/// Numbers of the snapshots to which each secret belongs.
async fn users(store: &Store, collection: &Collection) -> anyhow::Result<Users> {
    let captures = store.index.captures(&collection.id).await?;
    let mut users = Users::new();
    for snapshot in store.index.snapshots(Some(&collection.id)).await? {
        let capture = captures.iter().find(|(id, _)| *id == snapshot.id).map(|(_, capture)| capture);
        for mark in capture.iter().flat_map(|capture| &capture.secrets) {
            users.entry((mark.name.clone(), mark.fingerprint)).or_default().push(snapshot.sequence);
        }
    }
    users.values_mut().for_each(|numbers| numbers.sort_unstable());
    Ok(users)
}

/// `1-4, 7`
fn ranges(numbers: &[u64]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 >= *number => *end = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let one = |(from, to): &(u64, u64)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

async fn show(args: SecretShowArgs, context: &Context) -> anyhow::Result<Outcome> {
    let (secret, value) = match &args.document {
        Some(document) => from_document(&args, document, context)?,
        None => from_home(&args, context).await?,
    };
    context.note(format!("{} {}", secret.name, secret.fingerprint.short()));
    let mut result =
        json!({ "name": secret.name, "form": secret.form, "fingerprint": secret.fingerprint, "since": secret.since });
    if let Some(path) = &args.output {
        write_new(path, &value)?;
        context.output.line(format!("{} is in {}", secret.name, path.display()));
        result["output"] = json!(path_text(path));
        context.output.document("secret show", result, &[]);
        return Ok(Outcome::Done);
    }
    if context.output.json {
        match std::str::from_utf8(&value) {
            Ok(text) => result["value"] = Value::from(text),
            Err(_) => result["value_base64"] = Value::from(data_encoding::BASE64.encode(&value)),
        }
        context.output.document("secret show", result, &[]);
        return Ok(Outcome::Done);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(&value)?;
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

async fn from_home(args: &SecretShowArgs, context: &Context) -> anyhow::Result<(EscrowedSecret, Zeroizing<Vec<u8>>)> {
    let [collection, name] = args.what.as_slice() else {
        bail!("say which secret: bulbil secret show COLLECTION NAME; 'bulbil secret list' lists them")
    };
    let store = context.store().await?;
    let collection = select::collection(&store, collection).await?;
    let recovery = args.recovery_key_file.as_deref().map(|file| recovery_key(Some(file), context)).transpose()?;
    let mut refused = None;
    for escrow in store.escrows(&collection.id)? {
        let Some(secret) = chosen(&escrow.document.secrets, name, args.fingerprint.as_deref()) else { continue };
        let opened = match &recovery {
            Some(key) => secret.open_with_recovery(&collection.id, key),
            None => escrow.open(secret, &store),
        };
        match opened {
            Ok(value) => return Ok((secret.clone(), value)),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) => Err(error.into()),
        None => bail!("no such secret of {} is stored: 'bulbil secret list' lists those that are", collection.name),
    }
}

/// The newest one with this name, and this fingerprint if one is given.
fn chosen<'a>(secrets: &'a [EscrowedSecret], name: &str, fingerprint: Option<&str>) -> Option<&'a EscrowedSecret> {
    secrets.iter().rfind(|secret| secret.name == name && fits(&secret.fingerprint, fingerprint))
}

fn fits(fingerprint: &Fingerprint, digits: Option<&str>) -> bool {
    digits.is_none_or(|digits| !digits.is_empty() && fingerprint.to_string().starts_with(&digits.to_lowercase()))
}

fn from_document(
    args: &SecretShowArgs,
    document: &Path,
    context: &Context,
) -> anyhow::Result<(EscrowedSecret, Zeroizing<Vec<u8>>)> {
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
    Ok((secret.clone(), secret.open_with_recovery(collection, &key)?))
}

async fn remove(args: SecretRemoveArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = own(&store, &args.collection).await?;
    let users = users(&store, &collection).await?;
    let goes =
        |secret: &EscrowedSecret| secret.name == args.name && fits(&secret.fingerprint, args.fingerprint.as_deref());
    let escrow = store.escrows(&collection.id)?.into_iter().find(|escrow| escrow.key.is_some());
    let going: Vec<EscrowedSecret> =
        escrow.iter().flat_map(|escrow| &escrow.document.secrets).filter(|secret| goes(secret)).cloned().collect();
    ensure!(
        !going.is_empty(),
        "no such secret of {} is stored: 'bulbil secret list' lists those that are",
        collection.name
    );
    let needing =
        going.iter().flat_map(|secret| users.get(&(secret.name.clone(), secret.fingerprint)).into_iter().flatten());
    let mut needing: Vec<u64> = needing.copied().collect();
    needing.sort_unstable();
    if !needing.is_empty() && !args.force {
        bail!(
            "it belongs to snapshots {} of {}: what is sealed with it in them would open no more. --force removes it all the same",
            ranges(&needing),
            collection.name
        );
    }
    store.change_escrow((&collection.id, &collection.name), |document, _| {
        document.secrets.retain(|secret| !goes(secret));
        Ok::<_, EscrowFileError>(())
    })?;
    context.output.line(format!("{}: removed {} of {}", collection.name, going.len(), args.name));
    let removed: Vec<String> = going.iter().map(|secret| secret.fingerprint.to_string()).collect();
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
    ensure!(
        crate::domain::peer::is_plain_name(&args.name),
        "{:?} is no name for a secret: use letters, digits, '-', '_' and '.'",
        args.name
    );
    let stored = store.change_escrow((&collection.id, &collection.name), |document, _| {
        document.elsewhere.retain(|name| *name != args.name);
        if !args.undo {
            document.elsewhere.push(args.name.clone());
        }
        Ok::<_, EscrowFileError>(document.current(&args.name).is_some())
    })?;
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

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_in_a_row_are_said_together() {
        assert_eq!(super::ranges(&[1, 2, 3, 5, 7, 8]), "1-3, 5, 7-8");
        assert_eq!(super::ranges(&[]), "");
    }
}
