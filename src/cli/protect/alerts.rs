//! Who is told: `[alerts]` in `bulbil.toml`.

use anyhow::Context as _;

use super::super::args::ProtectArgs;
use super::super::context::Context;
use crate::config::Config;
use crate::monitor::Problem;
use crate::store::Store;
use crate::store::dir::{Access, Dir};
use crate::transport::webhook::Webhook;

const FILE: &str = "bulbil.toml";

/// Who is to be told.
pub struct Wanted {
    fields: Vec<(&'static str, String)>,
}

impl Wanted {
    /// What was typed. An address that is none is refused before anything is done.
    pub fn of(args: &ProtectArgs, context: &Context) -> anyhow::Result<Self> {
        let given = [("webhook", &args.webhook), ("command", &args.alert_command), ("ping", &args.ping)];
        let fields: Vec<_> =
            given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.clone()))).collect();
        let wanted = Self { fields };
        for address in args.webhook.iter().chain(&args.ping) {
            Webhook::new(address, None, None)?;
        }
        context.config()?;
        Ok(wanted)
    }

    /// Whether somebody is told: by this, by what stood in the file before, or by what was said on the admin plane.
    pub fn is_any(&self, store: &Store, context: &Context) -> bool {
        let told = context.config().is_ok_and(|config: Config| {
            let alerts = config.alerts;
            alerts.webhook.is_some() || alerts.command.is_some() || alerts.ping.is_some() || alerts.mail.is_some()
        });
        told || !self.fields.is_empty() || store.alert_settings().is_ok_and(|said| !said.channels.is_empty())
    }

    fn table(&self) -> String {
        let line = |(name, value): &(&str, String)| format!("{name} = {}\n", toml::Value::String(value.clone()));
        self.fields.iter().map(line).collect()
    }

    /// Adds it to the file; a problem if the file says already who is told.
    pub fn write(&self, context: &Context) -> anyhow::Result<Option<Problem>> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let path = context.home.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let document: toml::Table = toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(known) = document.get("alerts") {
            let same = self.fields.iter().all(|(name, value)| known.get(name).and_then(|v| v.as_str()) == Some(value));
            let message = "it says already who is told: change it there; nothing of it was changed".to_owned();
            return Ok((!same).then(|| Problem { subject: format!("[alerts] in {}", path.display()), message }));
        }
        let gap = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
        let gap = if text.is_empty() || text.ends_with('\n') { gap.to_owned() } else { format!("\n{gap}") };
        // Addresses are secrets.
        Dir::open(&context.home)?.save(
            FILE,
            format!("{text}{gap}[alerts]\n{}", self.table()).as_bytes(),
            Access::Owner,
        )?;
        Ok(None)
    }
}
