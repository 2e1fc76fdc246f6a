//! What an admin says of alerts while the server runs: whom to tell, and what counts as wrong. What `bulbil.toml` says goes before it.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::peer::is_plain_name;

/// So many channels there may be beside those in `bulbil.toml`.
pub const MOST_CHANNELS: usize = 16;
/// The names of those in `bulbil.toml`.
pub const NAMES_OF_FILE: [&str; 4] = ["webhook", "mail", "command", "ping"];

/// A text that is nobody's business. Wiped when dropped, and shown by nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MailTls {
    /// TLS from the beginning, port 465.
    #[default]
    Wrapped,
    /// TLS after a first word, or not at all: port 587.
    Starttls,
    /// None; loopback only. Port 25.
    None,
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum How {
    /// Each alert is posted there as JSON.
    Webhook {
        /// Where; such addresses hold secrets.
        address: Secret,
        /// A SOCKS proxy; that of `bulbil.toml`, if none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proxy: Option<String>,
    },
    /// Each alert is written to a mailbox.
    Mail {
        /// The server's name.
        server: String,
        /// Its port; the usual one if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// How it is spoken to.
        #[serde(default)]
        tls: MailTls,
        /// Who is shown as the sender.
        from: String,
        /// Who gets it.
        to: String,
        /// Who logs in there, if one has to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// With what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<Secret>,
    },
    /// Called as long as nothing is wrong: whoever watches there hears the silence.
    Ping {
        /// Where.
        address: Secret,
        /// A SOCKS proxy; that of `bulbil.toml`, if none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proxy: Option<String>,
    },
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// What its admin calls it.
    pub name: String,
    /// How.
    #[serde(flatten)]
    pub how: How,
}

/// Why a channel is not kept, or not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// No name.
    #[error("{0:?} cannot be a channel's name: use letters, digits and -_., 64 at most")]
    Name(String),
    /// A name of `bulbil.toml`.
    #[error("{0:?} is what the one in bulbil.toml is called: give it another name")]
    NameOfFile(String),
    /// There is one of this name.
    #[error("there is a channel {0:?} already: remove it first, or give this one another name")]
    NameTaken(String),
    /// There are too many.
    #[error("there are {MOST_CHANNELS} channels already: remove one first")]
    TooMany,
    /// There is none of this name.
    #[error("there is no channel {0:?} here")]
    NoSuch(String),
    /// It stands in the file.
    #[error("channel {0:?} stands in [alerts] of bulbil.toml: it is changed there, and the server started again")]
    InFile(String),
}

/// What an admin said of alerts while the server ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertSettings {
    /// Who is told, by name.
    #[serde(default)]
    pub channels: Vec<Channel>,
    /// Hours after which a followed peer that was not heard of is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_peer_hours: Option<u32>,
    /// Percent of the disks that are to stay free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_percent: Option<u8>,
    /// Minutes between two calls while nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_minutes: Option<u32>,
}

impl AlertSettings {
    /// One more is told.
    ///
    /// # Errors
    /// [`ChannelError`], if it cannot be one more.
    pub fn add(&mut self, channel: Channel) -> Result<(), ChannelError> {
        let Channel { name, .. } = &channel;
        if !is_plain_name(name) {
            return Err(ChannelError::Name(name.clone()));
        }
        if NAMES_OF_FILE.contains(&name.as_str()) {
            return Err(ChannelError::NameOfFile(name.clone()));
        }
        if self.channels.iter().any(|known| known.name == *name) {
            return Err(ChannelError::NameTaken(name.clone()));
        }
        if self.channels.len() >= MOST_CHANNELS {
            return Err(ChannelError::TooMany);
        }
        self.channels.push(channel);
        self.channels.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// One is told no more.
    ///
    /// # Errors
    /// [`ChannelError::NoSuch`], [`ChannelError::InFile`].
    pub fn remove(&mut self, name: &str) -> Result<(), ChannelError> {
        let before = self.channels.len();
        self.channels.retain(|known| known.name != name);
        match self.channels.len() == before {
            false => Ok(()),
            true if NAMES_OF_FILE.contains(&name) => Err(ChannelError::InFile(name.to_owned())),
            true => Err(ChannelError::NoSuch(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(name: &str) -> Channel {
        let address = Secret::new("https://example.org/a-secret");
        Channel { name: name.to_owned(), how: How::Webhook { address, proxy: None } }
    }

    #[test]
    fn a_channel_has_a_name_of_its_own_and_shows_no_secret() {
        let mut settings = AlertSettings::default();
        settings.add(ops("ops")).unwrap();
        assert_eq!(settings.add(ops("ops")), Err(ChannelError::NameTaken("ops".to_owned())));
        assert_eq!(settings.add(ops("mail")), Err(ChannelError::NameOfFile("mail".to_owned())));
        assert_eq!(settings.add(ops("a b")), Err(ChannelError::Name("a b".to_owned())));
        assert!(!format!("{settings:?}").contains("a-secret"));
        for n in 1..MOST_CHANNELS {
            settings.add(ops(&format!("one-{n}"))).unwrap();
        }
        assert_eq!(settings.add(ops("more")), Err(ChannelError::TooMany));
        assert_eq!(settings.remove("mail"), Err(ChannelError::InFile("mail".to_owned())));
        settings.remove("ops").unwrap();
        assert_eq!(settings.remove("ops"), Err(ChannelError::NoSuch("ops".to_owned())));
    }
}
