//! `bulbil openapi`: the descriptions of the two planes, written or compared.

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::http::{openapi_admin, openapi_peer};

use super::args::OpenapiArgs;
use super::context::Context;
use super::output::Outcome;

/// Writes or checks `bulbil-peer.json` and `bulbil-admin.json`.
pub fn run(args: OpenapiArgs, context: &Context) -> anyhow::Result<Outcome> {
    let documents = [("bulbil-peer.json", openapi_peer()), ("bulbil-admin.json", openapi_admin())];
    let dir = args.output.as_ref().or(args.check.as_ref()).context("say where: --output DIR or --check DIR")?;
    for (name, document) in &documents {
        let path = dir.join(name);
        let text = document.to_pretty_json()? + "\n";
        if args.output.is_some() {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            context.output.line(format!("wrote {}", path.display()));
        } else {
            let found = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if found != text {
                bail!(
                    "{} is not what the program serves: run 'bulbil openapi --output {}' and commit it",
                    path.display(),
                    dir.display()
                );
            }
        }
    }
    if args.check.is_some() {
        context.output.line("the descriptions are those of the program");
    }
    context.output.document("openapi", json!({ "directory": dir }), &[]);
    Ok(Outcome::Done)
}
