//! Addresses outside of all peers that an admin wants to be told: the only place that looks up names, and that uses TLS.
//!
//! An admin names them, in `bulbil.toml` or on the admin plane; nothing that a peer says leads here. No redirect is followed, no proxy is taken
//! from the environment, and of an answer only its status is looked at. An onion address is reached through the proxy that is
//! named, or not at all (R9).

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, Method, Proxy, Url};
use serde::Serialize;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No address.
    #[error("{0:?} is no address that can be told: it begins with https:// or http://")]
    Address(String),
    /// An onion address, and no proxy.
    #[error(
        "an onion address is told through Tor alone: name a SOCKS proxy, [alerts] proxy = \"socks5h://127.0.0.1:9050\""
    )]
    OnionWithoutProxy,
    /// No proxy.
    #[error("{0:?} is no proxy: it looks like socks5h://127.0.0.1:9050")]
    Proxy(String),
    /// No certificates.
    #[error("the certificates in {} cannot be used", path.display())]
    Certificates {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Option<std::io::Error>,
    },
    /// No client can be made.
    #[error("TLS cannot be used")]
    Client(#[source] reqwest::Error),
    /// It was not reached.
    #[error("the address for alerts was not reached")]
    Unreached(#[source] reqwest::Error),
    /// It did not want it.
    #[error("the address for alerts answered {0}")]
    Refused(u16),
}

/// One address.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    url: Url,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Such addresses hold secrets.
        f.write_str("Webhook(…)")
    }
}

impl Webhook {
    /// An address, reached directly or through a proxy.
    ///
    /// # Errors
    /// [`WebhookError`]; nothing is dialled.
    pub fn new(address: &str, proxy: Option<&str>, certificates: Option<&Path>) -> Result<Self, WebhookError> {
        let wrong = || WebhookError::Address(address.split('/').take(3).collect::<Vec<_>>().join("/"));
        let url: Url = address.parse().map_err(|_| wrong())?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
            return Err(wrong());
        }
        let is_onion = url.host_str().is_some_and(is_onion);
        let mut client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(LIMIT)
            .pool_max_idle_per_host(0);
        match proxy {
            // The name is looked up by the proxy, never here.
            Some(proxy) if proxy.starts_with("socks5h://") => {
                client = client.proxy(Proxy::all(proxy).map_err(|_| WebhookError::Proxy(proxy.to_owned()))?);
            }
            Some(proxy) => return Err(WebhookError::Proxy(proxy.to_owned())),
            None if is_onion => return Err(WebhookError::OnionWithoutProxy),
            None => {}
        }
        if let Some(path) = certificates {
            let fail = |cause| WebhookError::Certificates { path: path.to_owned(), cause };
            let pem = std::fs::read(path).map_err(|cause| fail(Some(cause)))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|_| fail(None))? {
                client = client.add_root_certificate(certificate);
            }
        }
        Ok(Self { client: client.build().map_err(WebhookError::Client)?, url })
    }

    /// Where it leads, as far as it may be shown: what stands after the host is a secret, and so is an onion address.
    pub fn host(&self) -> &str {
        match self.url.host_str() {
            Some(host) if is_onion(host) => "an onion address",
            host => host.unwrap_or_default(),
        }
    }

    /// Posts a message as JSON.
    ///
    /// # Errors
    /// [`WebhookError::Unreached`], [`WebhookError::Refused`]. The message may have arrived all the same.
    pub async fn post(&self, message: &impl Serialize) -> Result<(), WebhookError> {
        let body = serde_json::to_vec(message).expect("a message has no maps with odd keys");
        self.call(Method::POST, Some(body)).await
    }

    /// Calls it.
    ///
    /// # Errors
    /// [`WebhookError::Unreached`], [`WebhookError::Refused`].
    pub async fn get(&self) -> Result<(), WebhookError> {
        self.call(Method::GET, None).await
    }

    async fn call(&self, method: Method, body: Option<Vec<u8>>) -> Result<(), WebhookError> {
        let mut request = self.client.request(method, self.url.clone());
        if let Some(body) = body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        }
        // The address holds a secret, and an error is logged.
        let answer = request.send().await.map_err(|error| WebhookError::Unreached(error.without_url()))?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(WebhookError::Refused(answer.status().as_u16())),
        }
    }
}

fn is_onion(host: &str) -> bool {
    host.trim_end_matches('.').to_ascii_lowercase().ends_with(".onion")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r9_an_onion_address_is_told_through_a_proxy_or_not_at_all() {
        let new = |address: &str, proxy: Option<&str>| Webhook::new(address, proxy, None);
        assert!(matches!(new("http://abc.onion/x", None), Err(WebhookError::OnionWithoutProxy)));
        assert!(matches!(new("http://abc.ONION./x", None), Err(WebhookError::OnionWithoutProxy)));
        assert!(new("http://abc.onion/x", Some("socks5h://127.0.0.1:9050")).is_ok());
        assert!(matches!(new("http://abc.onion/x", Some("socks5://127.0.0.1:9050")), Err(WebhookError::Proxy(_))));
        assert!(
            matches!(new("ftp://example.org/secret", None), Err(WebhookError::Address(shown)) if !shown.contains("secret"))
        );
    }
}
