//! Who is told what is wrong, and what counts as wrong, as resources: which ways there are, never where exactly they lead.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::configuration::{FactSource, FactView};
use crate::domain::channel::AlertSettings;
use crate::worker::alarm::{AlertConfig, Line, Told, Way};

/// Somebody who is told of alerts, or watches over this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// What it is called; one in `bulbil.toml` is called as its kind.
    pub name: String,
    /// `webhook`, `mail`, `command`, or `ping`, which is called as long as nothing is wrong.
    pub kind: String,
    /// Where it stands: `file`, and it is changed there; or `admin-plane`, and it can be removed here.
    pub source: FactSource,
    /// Where it leads, as far as that is no secret: the host of an address, the mailbox. Nothing for one in `bulbil.toml`.
    pub to: Option<String>,
    /// What it does.
    pub about: String,
    /// Why it cannot be used, if it cannot.
    pub trouble: Option<String>,
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelTestView {
    /// Which channel.
    pub name: String,
    /// Whether the message was taken.
    pub taken: bool,
    /// What became of it, in words.
    pub in_words: String,
}

/// A number, and who said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SaidView {
    /// What holds.
    pub value: u32,
    /// Who said it. What stands in `bulbil.toml` (`file`) is changed there alone.
    pub source: FactSource,
}

/// What counts as wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertSettingsView {
    /// Hours after which a followed peer that was not heard of is told.
    pub silent_peer_hours: SaidView,
    /// Percent of the disks of the home, of `chunks/` and of `manifests/` that are to stay free.
    pub free_percent: SaidView,
    /// Minutes between two calls of a `ping`, while nothing is wrong.
    pub ping_minutes: SaidView,
}

/// What a way does, for people.
fn about(way: Way) -> &'static str {
    match way {
        Way::Webhook => "posts each alert as JSON to an address",
        Way::Mail => "writes each alert to a mailbox",
        Way::Command => "runs a command on this machine for each alert",
        Way::Ping => "calls an address as long as nothing is wrong: whoever watches there hears the silence",
    }
}

impl From<&Line> for ChannelView {
    fn from(line: &Line) -> Self {
        Self {
            name: line.name.clone(),
            kind: line.way.word().to_owned(),
            source: if line.is_in_file { FactSource::File } else { FactSource::AdminPlane },
            to: line.to.clone(),
            about: about(line.way).to_owned(),
            trouble: line.trouble().map(str::to_owned),
        }
    }
}

impl From<Told> for ChannelTestView {
    fn from(Told { name, way, took }: Told) -> Self {
        let in_words = match (&took, way) {
            (Err(why), _) => format!("it did not get through: {why}"),
            (Ok(()), Way::Webhook | Way::Ping) => "the address took it".to_owned(),
            (Ok(()), Way::Mail) => "the mail server took it: look into the mailbox".to_owned(),
            (Ok(()), Way::Command) => "the command ran, and ended well".to_owned(),
        };
        Self { name, taken: took.is_ok(), in_words }
    }
}

impl AlertSettingsView {
    /// What holds, of what the file says and what was said since.
    pub fn of(file: &AlertConfig, said: &AlertSettings) -> Self {
        let bounds = file.bounds(said);
        let source = |in_file: bool, is_said: bool| match (in_file, is_said) {
            (true, _) => FactSource::File,
            (false, true) => FactSource::AdminPlane,
            (false, false) => FactSource::Default,
        };
        Self {
            silent_peer_hours: SaidView {
                value: bounds.silent_peer_hours,
                source: source(file.silent_peer_hours.is_some(), said.silent_peer_hours.is_some()),
            },
            free_percent: SaidView {
                value: bounds.free_percent.into(),
                source: source(file.free_percent.is_some(), said.free_percent.is_some()),
            },
            ping_minutes: SaidView {
                value: file.ping_minutes(said),
                source: source(file.ping_minutes.is_some(), said.ping_minutes.is_some()),
            },
        }
    }

    /// The same where all that is in force is shown.
    pub fn overlay(&self, facts: &mut [FactView]) {
        for (name, said) in [
            ("alerts.silent_peer_hours", &self.silent_peer_hours),
            ("alerts.free_percent", &self.free_percent),
            ("alerts.ping_minutes", &self.ping_minutes),
        ] {
            if let Some(fact) = facts.iter_mut().find(|fact| fact.name == name) {
                (fact.value, fact.source) = (said.value.to_string(), said.source);
            }
        }
    }
}
