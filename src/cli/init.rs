//! `bulbil init`

use serde_json::json;

use crate::domain::peer::fingerprint_words;
use crate::store::{CreateOptions, Store};

use super::args::InitArgs;
use super::context::{Context, ask};
use super::output::Outcome;

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
    let protected = passphrase.is_some();
    let (store, recovery) = Store::create(&context.home, CreateOptions { name: args.name, passphrase }).await?;
    let instance = store.keys.instance();
    let words = fingerprint_words(&instance).join(" ");
    let recovery = recovery.to_text();
    let out = &context.output;
    out.line(format!("home         {}", context.home.display()));
    out.line(format!("name         {}", store.keys.name));
    out.line(format!("instance     {instance}"));
    out.line(format!("fingerprint  {words}"));
    out.line("");
    out.line("recovery key, shown this once. Write it down and keep it away from this machine:");
    out.line("");
    out.line(format!("    {}", recovery.as_str()));
    out.line("");
    out.line("With it and the chunks and manifests of this home (or of a mirror) everything can be restored when");
    out.line("this disk is gone. Without it and without this home's keys, nothing can.");
    if !protected {
        out.remark("The keys are protected by file permissions only; 'bulbil init --passphrase' protects them better.");
    }
    let document = json!({
        "home": context.home, "name": store.keys.name, "instance": instance, "fingerprint": words,
        "recovery_key": recovery.as_str(), "passphrase": protected,
    });
    out.document("init", document, &[]);
    Ok(Outcome::Done)
}
