//! How an admin is told: an address, a mailbox, a command. Each by itself, so that none holds another up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::AlertConfig;
use crate::domain::channel::{AlertSettings, Channel, How};
use crate::monitor::with_causes;
use crate::transport::mail::{Mail, MailConfig, MailError};
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
    /// An address that is called while nothing is wrong. It is told nothing.
    Ping,
}

impl Way {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Mail => "mail",
            Self::Command => "command",
            Self::Ping => "ping",
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

/// What became of telling somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which channel.
    pub name: String,
    /// Which way.
    pub way: Way,
    /// Why it did not get there, if it did not.
    pub took: Result<(), String>,
}

/// What is at the end of it.
enum Reach {
    Webhook(Webhook),
    Mail(Box<Mail>),
    Command(String),
}

/// Somebody who is told, or watches over this instance.
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Which way.
    pub way: Way,
    /// Whether it stands in `bulbil.toml`.
    pub is_in_file: bool,
    /// Where it leads, as far as that may be shown.
    pub to: Option<String>,
    reach: Result<Reach, String>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses and commands hold secrets.
        f.debug_struct("Line").field("name", &self.name).field("way", &self.way).finish_non_exhaustive()
    }
}

impl Line {
    /// One of the file's.
    fn of_file(way: Way, reach: Reach) -> Self {
        Self { name: way.word().to_owned(), way, is_in_file: true, to: None, reach: Ok(reach) }
    }

    /// One that was named since. What cannot be used is there all the same, and says so.
    fn of(channel: &Channel, config: &AlertConfig) -> Self {
        let made = reach(&channel.how, config);
        let way = match &channel.how {
            How::Webhook { .. } => Way::Webhook,
            How::Mail { .. } => Way::Mail,
            How::Ping { .. } => Way::Ping,
        };
        let to = match (&channel.how, &made) {
            (How::Mail { to, .. }, _) => Some(to.clone()),
            (_, Ok(Reach::Webhook(webhook))) => Some(webhook.host().to_owned()),
            _ => None,
        };
        let reach = made.map_err(|error| with_causes(&error));
        Self { name: channel.name.clone(), way, is_in_file: false, to, reach }
    }

    /// Why it cannot be used, if it cannot.
    pub fn trouble(&self) -> Option<&str> {
        self.reach.as_ref().err().map(String::as_str)
    }

    /// Tells it.
    async fn tell(&self, message: &Message<'_>, cancel: &CancellationToken) -> Told {
        let took = match &self.reach {
            Err(why) => Err(why.clone()),
            Ok(Reach::Webhook(webhook)) => webhook.post(message).await.map_err(|error| with_causes(&error)),
            Ok(Reach::Mail(mail)) => write(mail, message).await,
            Ok(Reach::Command(command)) => run(command, message, cancel).await,
        };
        Told { name: self.name.clone(), way: self.way, took }
    }
}

/// Makes what is at the end; nothing is dialled.
///
/// # Errors
/// [`AlarmError`] if the address, the proxy, the mail server or the certificates cannot be used.
fn reach(how: &How, config: &AlertConfig) -> Result<Reach, AlarmError> {
    let certificates = config.certificates.as_deref();
    Ok(match how {
        How::Webhook { address, proxy } | How::Ping { address, proxy } => {
            let proxy = proxy.as_deref().or(config.proxy.as_deref());
            Reach::Webhook(Webhook::new(address.expose(), proxy, certificates)?)
        }
        How::Mail { server, port, tls, from, to, user, password } => {
            let mail = MailConfig {
                server: server.clone(),
                port: *port,
                tls: *tls,
                from: from.clone(),
                to: to.clone(),
                user: user.clone(),
                password_file: None,
            };
            let password = password.as_ref().map(|password| password.expose());
            Reach::Mail(Box::new(Mail::with_password(&mail, password, certificates)?))
        }
    })
}

/// Those that are told. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    lines: Arc<[Line]>,
}

impl Ways {
    /// As they are configured, and named since; nothing is dialled.
    ///
    /// # Errors
    /// [`AlarmError`] if an address, the proxy, the mail server or the certificates of the configuration cannot be used.
    pub fn new(config: &AlertConfig, said: &AlertSettings) -> Result<Self, AlarmError> {
        let (proxy, certificates) = (config.proxy.as_deref(), config.certificates.as_deref());
        let reach = |address: &str| Webhook::new(address, proxy, certificates).map(Reach::Webhook);
        let mut lines = Vec::new();
        if let Some(address) = &config.webhook {
            lines.push(Line::of_file(Way::Webhook, reach(address)?));
        }
        if let Some(mail) = &config.mail {
            lines.push(Line::of_file(Way::Mail, Reach::Mail(Box::new(Mail::new(mail, certificates)?))));
        }
        if let Some(command) = &config.command {
            lines.push(Line::of_file(Way::Command, Reach::Command(command.clone())));
        }
        if let Some(address) = &config.ping {
            lines.push(Line::of_file(Way::Ping, reach(address)?));
        }
        lines.extend(said.channels.iter().map(|channel| Line::of(channel, config)));
        Ok(Self { lines: lines.into() })
    }

    /// Whether a channel could be used.
    ///
    /// # Errors
    /// [`AlarmError`] if it could not.
    pub fn check(channel: &Channel, config: &AlertConfig) -> Result<(), AlarmError> {
        reach(&channel.how, config).map(drop)
    }

    /// All of them: the file's first.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The one of this name.
    pub fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// Whether anybody is told of what is wrong.
    pub fn tell_anybody(&self) -> bool {
        self.lines.iter().any(|line| line.way != Way::Ping)
    }

    /// Says that this is a test, to all or to one of them. Nobody who watches over the instance is called: that means that all is well.
    pub async fn test(
        &self,
        only: Option<&str>,
        instance: &str,
        now: Timestamp,
        cancel: &CancellationToken,
    ) -> Vec<Told> {
        let text = "This is a test: somebody asked whether alerts reach you. Nothing is wrong because of it.";
        let message =
            Message { version: 1, instance, kind: TEST, subject: "alerts", message: text, state: TEST, since: now };
        self.tell(&message, |line| only.is_none_or(|name| line.name == name), cancel).await
    }

    /// Tells those that are wanted, all at once.
    pub(super) async fn tell(
        &self,
        message: &Message<'_>,
        wanted: impl Fn(&Line) -> bool,
        cancel: &CancellationToken,
    ) -> Vec<Told> {
        let lines = self.lines.iter().filter(|line| line.way != Way::Ping && wanted(line));
        join_all(lines.map(|line| line.tell(message, cancel))).await
    }

    /// Calls those who watch over this instance, of whom it is time.
    pub(super) async fn call(&self, due: impl Fn(&str) -> bool) -> Vec<(String, Result<(), String>)> {
        let lines = self.lines.iter().filter(|line| line.way == Way::Ping && due(&line.name));
        let called = lines.map(async |line| {
            let came = match &line.reach {
                Ok(Reach::Webhook(ping)) => ping.get().await.map_err(|error| with_causes(&error)),
                Ok(_) => Ok(()),
                Err(why) => Err(why.clone()),
            };
            (line.name.clone(), came)
        });
        join_all(called).await
    }
}

async fn write(mail: &Mail, message: &Message<'_>) -> Result<(), String> {
    let word = if message.state == "over" { "well again" } else { message.kind };
    let subject = format!("[{}] {}: {word}", message.instance, message.subject);
    let (state, since) = (message.state, message.since);
    let text = match state {
        TEST => format!("{}\r\n", message.message),
        _ => format!("{}\r\n\r\n{state} since {since:.0}\r\n", message.message),
    };
    mail.send(&subject, text).await.map_err(|error| with_causes(&error))
}

async fn run(command: &str, message: &Message<'_>, cancel: &CancellationToken) -> Result<(), String> {
    let environment = [
        ("BULBIL_ALERT_INSTANCE", message.instance.into()),
        ("BULBIL_ALERT_KIND", message.kind.into()),
        ("BULBIL_ALERT_SUBJECT", message.subject.into()),
        ("BULBIL_ALERT_MESSAGE", message.message.into()),
        ("BULBIL_ALERT_STATE", message.state.into()),
    ];
    let (command, cancel) = (command.to_owned(), cancel.clone());
    let run = tokio::task::spawn_blocking(move || hook::run(&command, &environment, COMMAND_LIMIT, &cancel)).await;
    match run {
        Ok(run) => run.map_err(|error| error.to_string()),
        Err(_) => Err("the command could not be run".to_owned()),
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
        let ways = Ways::new(&config, &AlertSettings::default()).unwrap();
        let known: Vec<Way> = ways.lines().iter().map(|line| line.way).collect();
        assert_eq!((known, ways.tell_anybody()), (vec![Way::Webhook, Way::Command, Way::Ping], true));
        let told = ways.test(None, "alpha", "2026-11-27T02:00:00Z".parse().unwrap(), &CancellationToken::new()).await;
        let [Told { way: Way::Webhook, took: Err(why), .. }, Told { way: Way::Command, took: Ok(()), .. }] =
            told.as_slice()
        else {
            panic!("{told:?}")
        };
        assert!(why.contains("was not reached") && !why.contains("a-secret"), "{why}");
        assert_eq!(std::fs::read_to_string(heard).unwrap(), "test test\n");
        assert!(Ways::default().test(None, "alpha", Timestamp::UNIX_EPOCH, &CancellationToken::new()).await.is_empty());
    }
}
