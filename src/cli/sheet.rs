//! `bulbil recovery sheet`: what to keep on paper.
//!
//! What stands on it is of no use without the recovery key, which is printed only if somebody gives it.

mod html; // a page for printing
mod text; // for a terminal

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use crate::backup::select;
use crate::clock::Clock;
use crate::domain::escrow::papers;
use crate::domain::peer::fingerprint_words;
use crate::domain::preset::Preset;
use crate::domain::text::path_text;
use crate::store::Store;
use crate::store::index::Collection;

use super::args::{RecoveryCommand, SheetArgs};
use super::context::Context;
use super::output::Outcome;
use super::rescue::recovery_key;
use super::secret::write_new;

/// What stands on the paper.
struct Sheet {
    name: String,
    instance: String,
    fingerprint: String,
    host: String,
    home: String,
    made: Timestamp,
    /// The beginning of the name of the recovery key.
    key_id: String,
    /// The key itself, if it was given.
    key: Option<Zeroizing<String>>,
    collections: Vec<OfCollection>,
    /// Who else may have copies.
    peers: Vec<String>,
    /// Where copies go.
    targets: Vec<String>,
}

struct OfCollection {
    name: String,
    folders: Vec<String>,
    about: Option<String>,
    preset: Option<String>,
    newest: Option<String>,
    secrets: Vec<OfSecret>,
    /// Secrets of which nothing can be printed, and why.
    without: Vec<String>,
}

struct OfSecret {
    name: String,
    what: Option<String>,
    /// Where the application looks for it.
    place: Option<String>,
    since: Timestamp,
    fingerprint: String,
    codes: Vec<String>,
}

/// Prints it.
pub async fn run(command: RecoveryCommand, context: &Context) -> anyhow::Result<Outcome> {
    let RecoveryCommand::Sheet(args) = command;
    let store = context.store().await?;
    let sheet = gather(&args, &store, context).await?;
    if let Some(path) = &args.output {
        write_new(path, html::page(&sheet)?.as_bytes())?;
        context
            .output
            .line(format!("the sheet is in {}: open it in a browser, print it, and remove it", path.display()));
    } else {
        for line in text::lines(&sheet)? {
            context.output.line(line);
        }
    }
    if sheet.key.is_some() {
        context.output.remark("The recovery key is on it: whoever has the sheet and a backup can read everything.");
    }
    let collections: Vec<_> = sheet.collections.iter().map(document).collect();
    let document = json!({
        "name": sheet.name, "instance": sheet.instance, "made_at": sheet.made, "recovery_key_id": sheet.key_id,
        "with_recovery_key": sheet.key.is_some(), "collections": collections, "output": args.output.as_ref().map(path_text),
    });
    context.output.document("recovery sheet", document, &[]);
    Ok(Outcome::Done)
}

fn document(of: &OfCollection) -> serde_json::Value {
    let secret = |secret: &OfSecret| json!({ "name": secret.name, "since": secret.since, "fingerprint": secret.fingerprint, "codes": secret.codes });
    json!({
        "name": of.name, "folders": of.folders, "secrets": of.secrets.iter().map(secret).collect::<Vec<_>>(), "without": of.without,
    })
}

async fn gather(args: &SheetArgs, store: &Store, context: &Context) -> anyhow::Result<Sheet> {
    let recipient = store.keys.recovery.id();
    let key = match &args.recovery_key_file {
        Some(file) => {
            let key = recovery_key(Some(file), context)?;
            ensure!(
                key.recipient() == store.keys.recovery,
                "the recovery key in {} is not this instance's: nothing was printed",
                file.display()
            );
            Some(key.to_text())
        }
        None => None,
    };
    let mut wanted = Vec::new();
    for name in &args.collections {
        wanted.push(select::collection(store, name).await?);
    }
    if wanted.is_empty() {
        wanted = store.index.collections().await?;
    }
    let mut collections = Vec::new();
    for collection in &wanted {
        collections.push(of_collection(collection, store, &recipient).await?);
    }
    let instance = store.keys.instance();
    let home = store.home.root();
    Ok(Sheet {
        name: store.keys.name.clone(),
        instance: instance.to_string(),
        fingerprint: fingerprint_words(&instance).join(" "),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        home: home.canonicalize().unwrap_or_else(|_| home.to_owned()).display().to_string(),
        made: context.clock.now(),
        key_id: recipient[..8].to_owned(),
        key,
        collections,
        peers: store.index.peers().await?.into_iter().map(|peer| peer.name).collect(),
        targets: store.targets()?.into_iter().map(|target| target.location.to_string()).collect(),
    })
}

async fn of_collection(collection: &Collection, store: &Store, recipient: &str) -> anyhow::Result<OfCollection> {
    let settings = collection.settings.as_ref();
    let application = settings.and_then(|settings| settings.application.as_ref());
    let preset: Option<Preset> = application.and_then(|application| store.preset(&application.preset).ok());
    let place = |name: &str| preset.iter().flat_map(|preset| &preset.secrets).find(|secret| secret.name == name);
    let mut of = OfCollection {
        name: collection.name.clone(),
        folders: settings.iter().flat_map(|s| &s.roots).map(|root| root.path.display().to_string()).collect(),
        about: preset.as_ref().map(|preset| preset.about.clone()).filter(|about| !about.is_empty()),
        preset: preset.as_ref().map(|preset| preset.name.clone()),
        newest: store.index.latest(&collection.id, false).await?.map(|newest| {
            format!("{}@{} of {}", collection.name, newest.sequence, crate::backup::create::moment(newest.created_at))
        }),
        secrets: Vec::new(),
        without: Vec::new(),
    };
    let escrows = store.escrows(&collection.id).context("the stored secrets cannot be used")?;
    for escrow in &escrows {
        for (secret, codes) in papers(&escrow.document, recipient) {
            if of.secrets.iter().any(|known| known.name == secret.name) {
                continue;
            }
            let known = place(&secret.name);
            of.secrets.push(OfSecret {
                name: secret.name.clone(),
                what: known.map(|known| known.what.clone()),
                place: known.map(|known| known.files.join(", ")),
                since: secret.since,
                fingerprint: secret.fingerprint.short(),
                codes,
            });
        }
        for name in &escrow.document.elsewhere {
            of.without.push(format!("{name}: you keep it elsewhere. Write down where:"));
        }
    }
    let is_known = |name: &str| {
        of.secrets.iter().any(|secret| secret.name == name)
            || escrows.iter().any(|escrow| escrow.document.elsewhere.iter().any(|known| known == name))
    };
    let missing =
        preset.iter().flat_map(|preset| &preset.secrets).filter(|secret| secret.required && !is_known(&secret.name));
    let missing: Vec<String> = missing
        .map(|secret| {
            format!(
                "{} ({}): not stored. 'bulbil secret add {} {}' stores it; then print this again",
                secret.name, secret.what, of.name, secret.name
            )
        })
        .collect();
    of.without.extend(missing);
    Ok(of)
}

/// A picture of a code for a camera.
fn code(text: &str) -> anyhow::Result<qrcode::QrCode> {
    qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::M).context("this is too long for a QR code")
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    match text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:".contains(c)) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// What to do, step by step: what, and the commands.
fn steps(sheet: &Sheet) -> Vec<(String, Vec<String>)> {
    let collection = sheet.collections.first();
    let name = collection.map_or("NAME", |of| of.name.as_str());
    let folder = collection.and_then(|of| of.folders.first()).map_or("DIR", String::as_str);
    let quoted = quoted(folder);
    let place = sheet.targets.first().map_or_else(|| "/media/DISK".to_owned(), |place| self::quoted(place));
    let mut steps = vec![
        (
            "On a new machine install bulbil. Type the recovery key into a file that only you can read.".to_owned(),
            vec!["(umask 077; cat > key.txt)".to_owned()],
        ),
        (
            match sheet.targets.as_slice() {
                [] => "You have a portable backup (a disk with a folder backup_…):".to_owned(),
                targets => format!(
                    "Copies go to {} ('bulbil import --help' says how a bucket is reached):",
                    targets.join(", ")
                ),
            },
            vec![
                format!("bulbil init --name {}-2", sheet.name),
                format!("bulbil import {place} --rekey --recovery-key-file key.txt"),
                format!("bulbil restore {name} --target {quoted}"),
            ],
        ),
        (
            format!(
                "Or a peer has a copy it can read{}: there the first, here the others.",
                match sheet.peers.as_slice() {
                    [] => " (none was known when this was printed)".to_owned(),
                    peers => format!(" (peers: {})", peers.join(", ")),
                }
            ),
            vec![
                format!("bulbil invite --collections {name} --onward"),
                "bulbil clone 'bulbil:…'".to_owned(),
                format!("bulbil restore {name} --target {quoted}"),
            ],
        ),
        (
            "Or you have the folders chunks/ and manifests/ (of the old disk, or of a mirror):".to_owned(),
            vec![
                "bulbil rescue /mnt/FOLDER --recovery-key-file key.txt".to_owned(),
                format!("bulbil rescue /mnt/FOLDER --recovery-key-file key.txt {name} --target {quoted}"),
            ],
        ),
    ];
    if sheet.collections.iter().any(|of| !of.secrets.is_empty()) {
        steps.push((
            "Give the application its secrets: scan the codes of this sheet into a file, and put what is shown where the application looks \
             for it. After an import with --rekey the second line does it without this sheet."
                .to_owned(),
            vec![
                "bulbil secret show NAME --document scanned.txt --recovery-key-file key.txt".to_owned(),
                format!("bulbil secret show {name} NAME"),
            ],
        ));
    }
    let preset =
        collection.and_then(|of| of.preset.as_ref()).map(|preset| format!("--preset {preset} ")).unwrap_or_default();
    steps.push((
        "Look whether all is well, start the application, back it up again (as a new collection, unless the old home is back), and remove the \
         key."
        .to_owned(),
        vec![
            format!("bulbil check {name} --snapshot latest"),
            format!("bulbil collection add {name}-2 {preset}{quoted}"),
            "bulbil backup; bulbil status".to_owned(),
            "shred -u key.txt scanned.txt".to_owned(),
        ],
    ));
    steps
}
