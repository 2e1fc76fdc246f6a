//! By whose rules content is judged, and what opens its sealed fields.

use std::collections::BTreeSet;

use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::domain::content::Secrets;
use crate::domain::dotenv;
use crate::domain::preset::Preset;
use crate::store::Store;
use crate::store::index::Collection;

use super::args::RulesArgs;

/// The preset that was named, or the collection's; and the secrets, if some were given.
///
/// # Errors
/// If there is no such preset, or the file has nothing that opens what is sealed by it.
pub fn of(args: &RulesArgs, store: &Store, collection: &Collection) -> anyhow::Result<(Preset, Option<Secrets>)> {
    let preset = match &args.preset {
        Some(name) => store.preset(name)?,
        None => store.preset_of(collection.settings.as_ref())?,
    };
    let secrets = args.secrets.as_deref().map(|file| read_secrets_for(&preset, file)).transpose()?;
    Ok((preset, secrets))
}

/// An option by which content is judged otherwise than by the server.
pub fn only_here(args: &RulesArgs) -> Option<&'static str> {
    args.preset.as_ref().map(|_| "--preset").or_else(|| args.secrets.as_ref().map(|_| "--secrets"))
}

/// Reads `NAME=value` lines, as in an `.env` file, of which at least one has to be what opens sealed fields by this preset: a file that
/// opens nothing would pass each time.
fn read_secrets_for(preset: &Preset, path: &std::path::Path) -> anyhow::Result<Secrets> {
    let secrets = read_secrets(path)?;
    let wanted: BTreeSet<&str> = preset.checks.sealed.iter().map(|sealed| sealed.secret.as_str()).collect();
    anyhow::ensure!(
        wanted.is_empty() || wanted.iter().any(|name| secrets.has(name)),
        "{} has no line {}=…: nothing that is sealed could be opened with it",
        path.display(),
        wanted.into_iter().collect::<Vec<_>>().join("=… or ")
    );
    Ok(secrets)
}

/// Reads `NAME=value` lines, as in an `.env` file.
pub fn read_secrets(path: &std::path::Path) -> anyhow::Result<Secrets> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the secrets in {}", path.display()))?;
    let text = Zeroizing::new(text);
    let mut secrets = Secrets::new();
    dotenv::parse(&text).into_iter().for_each(|(name, value)| secrets.insert(name, value));
    Ok(secrets)
}
