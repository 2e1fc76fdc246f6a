//! Messages to an admin's mailbox, over SMTP.
//!
//! Like a [webhook](super::webhook) the server is named by an admin and by nobody else, and sees this machine's address. Without TLS
//! only a server on this machine is used.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::Deserialize;

pub use crate::domain::channel::MailTls;

/// How long a server may take for one step.
const LIMIT: Duration = Duration::from_secs(60);

/// Why there was no mail.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// A mailbox that is none.
    #[error("{0:?} is no mail address: it looks like admin@example.org, or Bulbil <bulbil@example.org>")]
    Address(String),
    /// A password that would be read by others on its way.
    #[error("without TLS mail goes to a server on this machine only: set tls = \"wrapped\" or \"starttls\" for {0}")]
    Unencrypted(String),
    /// The password, or the certificates.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The certificates.
    #[error("the certificates cannot be used")]
    Tls(#[source] lettre::transport::smtp::Error),
    /// It cannot be written.
    #[error("the mail cannot be written")]
    Message(#[source] lettre::error::Error),
    /// It was not taken.
    #[error("the mail server did not take it")]
    Send(#[source] lettre::transport::smtp::Error),
}

/// `[alerts.mail]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// The server's name.
    pub server: String,
    /// Its port; the usual one if it is not said.
    #[serde(default)]
    pub port: Option<u16>,
    /// How it is spoken to.
    #[serde(default)]
    pub tls: MailTls,
    /// Who is shown as the sender.
    pub from: String,
    /// Who gets it.
    pub to: String,
    /// Who logs in there, if one has to.
    #[serde(default)]
    pub user: Option<String>,
    /// A file whose first line is the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// A mailbox.
#[derive(Clone)]
pub struct Mail {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Mailbox,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mail(…)")
    }
}

impl Mail {
    /// To this mailbox. `certificates`: PEM, believed beside the system's.
    ///
    /// # Errors
    /// [`MailError`]; nothing is dialled.
    pub fn new(config: &MailConfig, certificates: Option<&Path>) -> Result<Self, MailError> {
        let password = match (&config.user, &config.password_file) {
            (Some(_), Some(path)) => {
                Some(String::from_utf8_lossy(&read(path)?).lines().next().unwrap_or_default().to_owned())
            }
            _ => None,
        };
        Self::with_password(config, password.as_deref(), certificates)
    }

    /// The same, with a password that stands in no file.
    ///
    /// # Errors
    /// [`MailError`]; nothing is dialled.
    pub fn with_password(
        config: &MailConfig,
        password: Option<&str>,
        certificates: Option<&Path>,
    ) -> Result<Self, MailError> {
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|_| MailError::Address(text.to_owned()));
        let (from, to) = (mailbox(&config.from)?, mailbox(&config.to)?);
        let mut tls = TlsParameters::builder(config.server.clone());
        if let Some(path) = certificates {
            tls = tls.add_root_certificate(Certificate::from_pem(&read(path)?).map_err(MailError::Tls)?);
        }
        let (tls, usual) = match config.tls {
            MailTls::Wrapped => (Tls::Wrapper(tls.build().map_err(MailError::Tls)?), 465),
            MailTls::Starttls => (Tls::Required(tls.build().map_err(MailError::Tls)?), 587),
            MailTls::None => {
                let here = config.server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
                if !here && config.server != "localhost" {
                    return Err(MailError::Unencrypted(config.server.clone()));
                }
                (Tls::None, 25)
            }
        };
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.server)
            .port(config.port.unwrap_or(usual))
            .tls(tls)
            .timeout(Some(LIMIT));
        if let Some(user) = &config.user {
            server = server.credentials(Credentials::new(user.clone(), password.unwrap_or_default().to_owned()));
        }
        Ok(Self { server: server.build(), from, to })
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// [`MailError::Message`], [`MailError::Send`]. It may have arrived all the same.
    pub async fn send(&self, subject: &str, text: String) -> Result<(), MailError> {
        // A line of its own would begin another header.
        let subject: String = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let message = Message::builder().from(self.from.clone()).to(self.to.clone()).subject(subject);
        let message = message.body(text).map_err(MailError::Message)?;
        self.server.send(message).await.map(drop).map_err(MailError::Send)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, MailError> {
    std::fs::read(path).map_err(|cause| MailError::Read { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_goes_anywhere_in_the_clear() {
        let config = |server: &str, tls| MailConfig {
            server: server.to_owned(),
            port: None,
            tls,
            from: "Bulbil <bulbil@example.org>".to_owned(),
            to: "admin@example.org".to_owned(),
            user: Some("me".to_owned()),
            password_file: None,
        };
        let new = |server: &str, tls| Mail::new(&config(server, tls), None);
        assert!(matches!(new("mail.example.org", MailTls::None), Err(MailError::Unencrypted(_))));
        assert!(new("127.0.0.1", MailTls::None).is_ok() && new("mail.example.org", MailTls::Starttls).is_ok());
        let bad = MailConfig { to: "nobody".to_owned(), ..config("localhost", MailTls::None) };
        assert!(matches!(Mail::new(&bad, None), Err(MailError::Address(_))));
    }
}
