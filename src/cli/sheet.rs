//! `bulbil recovery sheet`: what to keep on paper.

mod text; // for a terminal

use anyhow::Context as _;
use serde_json::json;

use crate::backup::sheet;
use crate::clock::Clock;
use crate::domain::text::path_text;
use crate::http::admin::view::sheet::SheetView;
use crate::http::web::paper;

use super::args::RecoveryCommand;
use super::context::Context;
use super::output::Outcome;
use super::rescue::recovery_key;
use super::secret::write_new;

/// Prints it.
pub async fn run(command: RecoveryCommand, context: &Context) -> anyhow::Result<Outcome> {
    let RecoveryCommand::Sheet(args) = command;
    let store = context.store().await?;
    let key = match &args.recovery_key_file {
        Some(file) => {
            let key = sheet::own_key(&store, recovery_key(Some(file), context)?);
            Some(key.with_context(|| format!("the key in {} was not taken", file.display()))?)
        }
        None => None,
    };
    let sheet = sheet::gather(&store, &args.collections, key.as_ref(), context.clock.now()).await?;
    if let Some(path) = &args.output {
        write_new(path, paper::document(&sheet, None)?.into_string().as_bytes())?;
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
    let mut document = serde_json::to_value(SheetView::from(&sheet)).context("a sheet is JSON")?;
    document["with_recovery_key"] = json!(sheet.key.is_some());
    document["output"] = json!(args.output.as_ref().map(path_text));
    context.output.document("recovery sheet", document, &[]);
    Ok(Outcome::Done)
}
