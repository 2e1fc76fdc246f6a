//! How an admin is told: an address, a mailbox, a command. Each by itself, so that none holds another up.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::AlertConfig;
use crate::monitor::with_causes;
use crate::transport::mail::{Mail, MailError};
use crate::transport::webhook::{Webhook, WebhookError};
use crate::worker::hook;

/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// What a test is about.
const TEST: &str = "test";

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
pub enum AlarmError {
    /// An address.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// A mailbox.
    #[error(transparent)]
    Mail(#[from] MailError),
}

/// A way to tell an admin. As text: one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// An address, to which it is posted as JSON.
    Webhook,
    /// A mailbox.
    Mail,
    /// A command.
    Command,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Webhook, Self::Mail, Self::Command];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Mail => "mail",
            Self::Command => "command",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is told.
#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    pub(super) version: u32,
    pub(super) instance: &'a str,
    pub(super) kind: &'a str,
    pub(super) subject: &'a str,
    pub(super) message: &'a str,
    pub(super) state: &'static str,
    pub(super) since: Timestamp,
}

/// A way that was taken, and why it did not get there, if it did not.
pub type Told = (Way, Result<(), String>);

/// The ways that there are. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ways {
    webhook: Option<Webhook>,
    mail: Option<Mail>,
    command: Option<String>,
    /// Whoever watches over this instance: called while nothing is wrong.
    pub(super) ping: Option<Webhook>,
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses and commands hold secrets.
        f.debug_struct("Ways").field("known", &self.known()).finish_non_exhaustive()
    }
}

impl Ways {
    /// As they are configured; nothing is dialled.
    ///
    /// # Errors
    /// [`AlarmError`] if an address, the proxy, the mail server or the certificates cannot be used.
    pub fn new(config: &AlertConfig) -> Result<Self, AlarmError> {
        let (proxy, certificates) = (config.proxy.as_deref(), config.certificates.as_deref());
        let reach = |address: &Option<String>| {
            address.as_deref().map(|address| Webhook::new(address, proxy, certificates)).transpose()
        };
        Ok(Self {
            webhook: reach(&config.webhook)?,
            mail: config.mail.as_ref().map(|mail| Mail::new(mail, certificates)).transpose()?,
            command: config.command.clone(),
            ping: reach(&config.ping)?,
        })
    }

    /// Which there are.
    pub fn known(&self) -> Vec<Way> {
        let is_there = |way: &Way| match way {
            Way::Webhook => self.webhook.is_some(),
            Way::Mail => self.mail.is_some(),
            Way::Command => self.command.is_some(),
        };
        Way::ALL.into_iter().filter(is_there).collect()
    }

    /// Whether somebody watches over this instance.
    pub fn is_watched(&self) -> bool {
        self.ping.is_some()
    }

    /// Says by every way that this is a test. Nobody who watches over the instance is called: that means that all is well.
    pub async fn test(&self, instance: &str, now: Timestamp, cancel: &CancellationToken) -> Vec<Told> {
        let text = "This is a test: somebody asked whether alerts reach you. Nothing is wrong because of it.";
        let message =
            Message { version: 1, instance, kind: TEST, subject: "alerts", message: text, state: TEST, since: now };
        self.tell(&message, |_| true, cancel).await
    }

    /// Tells by those ways that are wanted, all at once.
    pub(super) async fn tell(
        &self,
        message: &Message<'_>,
        wanted: impl Fn(Way) -> bool,
        cancel: &CancellationToken,
    ) -> Vec<Told> {
        let (posted, sent, run) = tokio::join!(
            async { if wanted(Way::Webhook) { self.post(message).await } else { None } },
            async { if wanted(Way::Mail) { self.write(message).await } else { None } },
            async { if wanted(Way::Command) { self.run(message, cancel).await } else { None } },
        );
        let ways = [(Way::Webhook, posted), (Way::Mail, sent), (Way::Command, run)];
        ways.into_iter().filter_map(|(way, took)| Some((way, took?))).collect()
    }

    /// Nothing if there is no such way.
    async fn post(&self, message: &Message<'_>) -> Option<Result<(), String>> {
        Some(self.webhook.as_ref()?.post(message).await.map_err(|error| with_causes(&error)))
    }

    /// Nothing if there is no such way.
    async fn write(&self, message: &Message<'_>) -> Option<Result<(), String>> {
        let word = if message.state == "over" { "well again" } else { message.kind };
        let subject = format!("[{}] {}: {word}", message.instance, message.subject);
        let (state, since) = (message.state, message.since);
        let text = match state {
            TEST => format!("{}\r\n", message.message),
            _ => format!("{}\r\n\r\n{state} since {since:.0}\r\n", message.message),
        };
        Some(self.mail.as_ref()?.send(&subject, text).await.map_err(|error| with_causes(&error)))
    }

    /// Nothing if there is no such way.
    async fn run(&self, message: &Message<'_>, cancel: &CancellationToken) -> Option<Result<(), String>> {
        let command = self.command.clone()?;
        let environment = [
            ("BULBIL_ALERT_INSTANCE", message.instance.into()),
            ("BULBIL_ALERT_KIND", message.kind.into()),
            ("BULBIL_ALERT_SUBJECT", message.subject.into()),
            ("BULBIL_ALERT_MESSAGE", message.message.into()),
            ("BULBIL_ALERT_STATE", message.state.into()),
        ];
        let cancel = cancel.clone();
        let run = tokio::task::spawn_blocking(move || hook::run(&command, &environment, COMMAND_LIMIT, &cancel)).await;
        Some(match run {
            Ok(run) => run.map_err(|error| error.to_string()),
            Err(_) => Err("the command could not be run".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_test_says_of_each_way_what_became_of_it_and_shows_no_address() {
        let dir = tempfile::tempdir().unwrap();
        let heard = dir.path().join("heard");
        let command = format!("echo \"$BULBIL_ALERT_KIND $BULBIL_ALERT_STATE\" > {}", heard.display());
        // Nothing listens on port 1.
        let webhook = Some("http://127.0.0.1:1/a-secret".to_owned());
        let config = AlertConfig {
            webhook,
            command: Some(command),
            ping: Some("http://127.0.0.1:1/b".to_owned()),
            ..AlertConfig::default()
        };
        let ways = Ways::new(&config).unwrap();
        assert_eq!((ways.known(), ways.is_watched()), (vec![Way::Webhook, Way::Command], true));
        let told = ways.test("alpha", "2026-11-27T02:00:00Z".parse().unwrap(), &CancellationToken::new()).await;
        let [(Way::Webhook, Err(why)), (Way::Command, Ok(()))] = told.as_slice() else { panic!("{told:?}") };
        assert!(why.contains("was not reached") && !why.contains("a-secret"), "{why}");
        assert_eq!(std::fs::read_to_string(heard).unwrap(), "test test\n");
        assert!(Ways::default().test("alpha", Timestamp::UNIX_EPOCH, &CancellationToken::new()).await.is_empty());
    }
}
