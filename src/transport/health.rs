//! Whether an application on this machine answers: a plain HTTP question to the loopback.
//!
//! The address stands in a preset, which anybody may have written: nothing but this machine is asked, no name is looked up, no redirect
//! followed, no proxy used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::{Client, Url};

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Why an application cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// No address on this machine.
    #[error("{0:?} is no address of an application on this machine: it looks like http://127.0.0.1:3000/health")]
    Address(String),
    /// No client can be made.
    #[error("HTTP cannot be used")]
    Client(#[source] reqwest::Error),
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP status.
    Status(u16),
    /// Nobody listens there.
    Nobody,
    /// Somebody listens, and does not answer in HTTP, or not in time.
    Unclear,
}

/// Where to ask.
#[derive(Debug, Clone)]
pub struct Probe {
    client: Client,
    url: Url,
}

impl Probe {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// [`HealthError`].
    pub fn new(address: &str) -> Result<Self, HealthError> {
        let wrong = || HealthError::Address(address.to_owned());
        let url: Url = address.parse().map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']');
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if url.scheme() != "http" || !here {
            return Err(wrong());
        }
        let port = url.port_or_known_default().ok_or_else(wrong)?;
        let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(LIMIT)
            .pool_max_idle_per_host(0)
            .resolve_to_addrs("localhost", &local.map(|address| SocketAddr::new(address, port)));
        Ok(Self { client: client.build().map_err(HealthError::Client)?, url })
    }

    /// Asks once.
    pub async fn ask(&self) -> Answer {
        match self.client.get(self.url.clone()).send().await {
            Ok(answer) => Answer::Status(answer.status().as_u16()),
            Err(error) if error.is_connect() => Answer::Nobody,
            Err(_) => Answer::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_this_machine_is_asked_and_what_it_says_is_told_apart() {
        for elsewhere in
            ["http://example.org/", "http://192.0.2.1/", "https://127.0.0.1/", "http://localhost.example/", "x"]
        {
            assert!(matches!(Probe::new(elsewhere), Err(HealthError::Address(_))), "{elsewhere}");
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answering = std::thread::spawn(move || {
            use std::io::{Read, Write};
            for answer in ["HTTP/1.1 423 Locked\r\ncontent-length: 0\r\n\r\n", "nonsense\r\n\r\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1000]);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let probe = Probe::new(&format!("http://localhost:{port}/health")).unwrap();
        assert_eq!(probe.ask().await, Answer::Status(423));
        assert_eq!(probe.ask().await, Answer::Unclear);
        answering.join().unwrap();
        assert_eq!(probe.ask().await, Answer::Nobody);
    }
}
