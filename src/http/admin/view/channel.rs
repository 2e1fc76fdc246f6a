//! How an admin is told what is wrong, as a resource: which ways there are, never where they lead.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::worker::alarm::{Told, Way, Ways};

/// A way to tell an admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// `webhook`, `mail`, `command`, or `ping`, which is called as long as nothing is wrong.
    pub name: String,
    /// Whether it is configured, in `[alerts]` of `bulbil.toml`.
    pub configured: bool,
    /// What it does.
    pub about: String,
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelTestView {
    /// Which way.
    pub name: String,
    /// Whether the message was taken.
    pub taken: bool,
    /// What became of it, in words.
    pub in_words: String,
}

/// What a way does, for people.
fn about(way: Way) -> &'static str {
    match way {
        Way::Webhook => "posts each alert as JSON to an address",
        Way::Mail => "writes each alert to a mailbox",
        Way::Command => "runs a command on this machine for each alert",
    }
}

/// All ways, whether they are configured or not.
pub fn channels(ways: &Ways) -> Vec<ChannelView> {
    let known = ways.known();
    let channel = |way: Way| ChannelView {
        name: way.word().to_owned(),
        configured: known.contains(&way),
        about: about(way).to_owned(),
    };
    let ping = ChannelView {
        name: "ping".to_owned(),
        configured: ways.is_watched(),
        about: "calls an address as long as nothing is wrong: whoever watches there hears the silence".to_owned(),
    };
    Way::ALL.into_iter().map(channel).chain([ping]).collect()
}

impl From<Told> for ChannelTestView {
    fn from((way, told): Told) -> Self {
        let in_words = match (&told, way) {
            (Err(why), _) => format!("it did not get through: {why}"),
            (Ok(()), Way::Webhook) => "the address took it".to_owned(),
            (Ok(()), Way::Mail) => "the mail server took it: look into the mailbox".to_owned(),
            (Ok(()), Way::Command) => "the command ran, and ended well".to_owned(),
        };
        Self { name: way.word().to_owned(), taken: told.is_ok(), in_words }
    }
}
