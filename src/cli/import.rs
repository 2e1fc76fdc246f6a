//! `bulbil import`

use std::sync::Arc;

use crate::monitor::{Monitor, Problem};
use crate::portable::At;
use crate::portable::import::{ImportOptions, Imported, import_from};
use crate::store::Store;

use super::admin::AdminClient;
use super::args::ImportArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count};
use super::remote::words;
use super::target::place;

/// Takes snapshots from a portable backup.
pub async fn run(args: ImportArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let recovery = match args.rekey {
        true => Some(Arc::new(super::rescue::recovery_key(args.recovery_key_file.as_deref(), context)?)),
        false => None,
    };
    let at = match args.dir.to_str().filter(|dir| dir.starts_with("s3://")) {
        Some(url) => place(url, &args.bucket)?,
        None => At::Folder(args.dir),
    };
    let is_rekeying = recovery.is_some();
    let options = ImportOptions { collections: args.collections, skip_chunks: args.skip_chunks, recovery };
    let progress = context.progress();
    let imported = import_from(&store, &at, &options, progress.clone(), &context.cancellation()).await?;
    AdminClient::feed_changed(&store).await;
    progress.finish();
    say(&store, &imported, context).await?;
    let opened_nothing = is_rekeying && imported.keys == 0 && imported.without_key > 0;
    if opened_nothing {
        let message =
            "the recovery key opened nothing: is it that of the instance that made these snapshots?".to_owned();
        progress.problem(Problem { subject: "recovery key".to_owned(), message });
    }
    let problems = progress.problems();
    context.output.document("import", &imported, &problems);
    Ok(context.output.outcome(&problems))
}

async fn say(store: &Store, imported: &Imported, context: &Context) -> anyhow::Result<()> {
    let out = &context.output;
    let known = store.index.collections().await?;
    let named = |id| known.iter().find(|known| known.id == id).map(|known| known.name.clone());
    let names: Vec<String> = imported.collections.iter().filter_map(|id| named(*id)).collect();
    if names.is_empty() {
        out.line("nothing came");
    } else {
        out.line(format!("imported {}", names.join(", ")));
    }
    out.line(format!(
        "  {}, {} known before; {} ({}); {}",
        count(imported.new_snapshots, "new snapshot"),
        imported.known_snapshots,
        count(imported.filled.chunks, "chunk"),
        bytes(imported.filled.bytes),
        count(imported.keys, "key"),
    ));
    if imported.secrets > 0 {
        out.line(format!("  {} of the application, sealed: 'bulbil secret list'", count(imported.secrets, "secret")));
    }
    if imported.deleted_here > 0 {
        out.remark(format!("{} were deleted here before, and stay so", count(imported.deleted_here, "snapshot")));
    }
    if imported.without_key > 0 {
        out.remark(format!(
            "{} cannot be read here: with the recovery key of the instance that made them 'bulbil import --rekey' opens them, or it exports them with '--for' this one",
            count(imported.without_key, "snapshot")
        ));
    }
    for stranger in &imported.strangers {
        out.remark(format!(
            "made by an instance that is no peer here: {}. Compare the words with those that its 'bulbil status' shows",
            words(stranger)
        ));
    }
    Ok(())
}
