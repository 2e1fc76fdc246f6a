//! `bulbil init`

use serde_json::{Value, json};

use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::peer::fingerprint_words;
use crate::domain::target::BucketAddress;
use crate::domain::text::path_text;
use crate::store::{BucketStore, CreateOptions, Store};

use super::args::InitArgs;
use super::context::{Context, ask};
use super::output::Outcome;
use super::target::bucket_key;

/// Makes a home.
pub async fn run(args: InitArgs, context: &Context) -> anyhow::Result<Outcome> {
    let passphrase = if args.passphrase {
        let first = ask("new passphrase: ")?;
        let second = ask("the same again: ")?;
        anyhow::ensure!(first.expose() == second.expose(), "the two passphrases differ; nothing was made");
        Some(first)
    } else {
        context.passphrase_from_file()?
    };
    let bucket = match &args.store {
        Some(url) => {
            let bucket = &args.bucket;
            let address = BucketAddress::parse(url, bucket.endpoint.as_deref(), bucket.region.as_deref())?;
            Some(BucketStore { address, key: bucket_key(bucket)? })
        }
        None => None,
    };
    let protected = passphrase.is_some();
    let options = CreateOptions { name: args.name, passphrase };
    let (store, recovery) = match bucket {
        Some(bucket) => Store::create_in_bucket(&context.home, options, bucket).await?,
        None => Store::create(&context.home, options).await?,
    };
    show(&store, &recovery, protected, context);
    let shown = document(&store, &recovery, protected);
    context.output.document("init", shown, &[]);
    Ok(Outcome::Done)
}

/// Shows a fresh home and its recovery key.
pub(super) fn show(store: &Store, recovery: &RecoveryKey, protected: bool, context: &Context) {
    let instance = store.keys.instance();
    let out = &context.output;
    out.line(format!("home         {}", context.home.display()));
    out.line(format!("name         {}", store.keys.name));
    out.line(format!("instance     {instance}"));
    out.line(format!("fingerprint  {}", fingerprint_words(&instance).join(" ")));
    out.line("");
    out.line("recovery key, shown this once. Write it down and keep it away from this machine:");
    out.line("");
    out.line(format!("    {}", recovery.to_text().as_str()));
    out.line("");
    out.line("With it and the chunks and manifests of this home (or of a mirror) everything can be restored when");
    out.line("this disk is gone. Without it and without this home's keys, nothing can.");
    if !protected {
        out.remark("The keys are protected by file permissions only; 'bulbil init --passphrase' protects them better.");
    }
}

/// The same as JSON.
pub(super) fn document(store: &Store, recovery: &RecoveryKey, protected: bool) -> Value {
    let instance = store.keys.instance();
    json!({
        "home": path_text(store.home.root()), "name": store.keys.name, "instance": instance,
        "fingerprint": fingerprint_words(&instance).join(" "), "recovery_key": recovery.to_text().as_str(),
        "passphrase": protected,
    })
}
