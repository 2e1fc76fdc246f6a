//! What holds of alerts now: what `bulbil.toml` said when the server started, and beside it what was said on the admin plane since.
//!
//! What stands in the file goes before what was said on the plane: whoever owns the machine has the last word, and nobody in a browser
//! takes away whom they want to be told.

use std::sync::{Arc, Mutex, PoisonError};

use super::AlertConfig;
use super::ways::{AlarmError, Ways};
use crate::domain::channel::AlertSettings;
use crate::monitor::with_causes;
use crate::store::{Store, StoreError};
use crate::worker::watch::Bounds;

/// Minutes between two calls while nothing is wrong, if nobody says.
const PING_MINUTES: u32 = 60;

/// What is done at this moment.
#[derive(Debug, Clone)]
pub struct InForce {
    /// Who is told.
    pub ways: Ways,
    /// What counts as wrong.
    pub bounds: Bounds,
    /// Minutes between two calls while nothing is wrong; 1 to 1440.
    pub ping_minutes: u32,
}

/// Knows what holds, whoever changed it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Alerting {
    store: Store,
    config: Arc<AlertConfig>,
    /// What was read last, and what it leads to: channels are made once, not at each look.
    known: Arc<Mutex<(AlertSettings, Ways)>>,
}

impl AlertConfig {
    /// What counts as wrong, with what was said since.
    pub fn bounds(&self, said: &AlertSettings) -> Bounds {
        let own = Bounds::default();
        Bounds {
            silent_peer_hours: self.silent_peer_hours.or(said.silent_peer_hours).unwrap_or(own.silent_peer_hours),
            free_percent: self.free_percent.or(said.free_percent).unwrap_or(own.free_percent),
        }
    }

    /// Minutes between two calls while nothing is wrong, with what was said since.
    pub fn ping_minutes(&self, said: &AlertSettings) -> u32 {
        self.ping_minutes.or(said.ping_minutes).unwrap_or(PING_MINUTES).clamp(1, 1440)
    }
}

impl Alerting {
    /// With what the file says. What was said since, and cannot be read, does not keep those of the file from being told.
    ///
    /// # Errors
    /// [`AlarmError`] if what the file says cannot be used.
    pub fn new(store: Store, config: AlertConfig) -> Result<Self, AlarmError> {
        let said = store.alert_settings().unwrap_or_else(|error| {
            tracing::error!(error = with_causes(&error), "who is told of alerts cannot be read");
            AlertSettings::default()
        });
        let ways = Ways::new(&config, &said)?;
        Ok(Self { store, config: Arc::new(config), known: Arc::new(Mutex::new((said, ways))) })
    }

    /// With nothing in the file.
    pub fn without_file(store: Store) -> Self {
        let known = (AlertSettings::default(), Ways::default());
        Self { store, config: Arc::default(), known: Arc::new(Mutex::new(known)) }
    }

    /// What the file said when the server started.
    pub fn config(&self) -> &AlertConfig {
        &self.config
    }

    /// What was said since.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn said(&self) -> Result<AlertSettings, StoreError> {
        self.store.alert_settings()
    }

    /// What is done at this moment. What cannot be read is as it was read last.
    pub fn now(&self) -> InForce {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match self.said() {
            Ok(said) if said == known.0 => {}
            Ok(said) => match Ways::new(&self.config, &said) {
                Ok(ways) => *known = (said, ways),
                // Certificates that are not there any more: what was made with them goes on.
                Err(error) => {
                    tracing::error!(error = with_causes(&error), "who is told of alerts is as it was before");
                }
            },
            Err(error) => tracing::error!(error = with_causes(&error), "who is told of alerts cannot be read"),
        }
        let (said, ways) = &*known;
        InForce { ways: ways.clone(), bounds: self.config.bounds(said), ping_minutes: self.config.ping_minutes(said) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::channel::{Channel, How, Secret};
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn what_the_file_says_goes_before_what_was_said_since_and_that_holds_at_once() {
        let home = TestStore::new().await;
        let config = AlertConfig { free_percent: Some(7), command: Some("true".to_owned()), ..AlertConfig::default() };
        let alerting = Alerting::new(home.store.clone(), config).unwrap();
        let names = || alerting.now().ways.lines().iter().map(|line| line.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(), alerting.now().bounds.silent_peer_hours), (vec!["command".to_owned()], 72));
        let onion = How::Webhook { address: Secret::new("http://abc.onion/x"), proxy: None };
        let set = home.store.change_alert_settings(|said| {
            (said.free_percent, said.silent_peer_hours, said.ping_minutes) = (Some(20), Some(5), Some(9999));
            said.add(Channel { name: "ops".to_owned(), how: onion }).expect("there is none yet");
            Ok::<_, StoreError>(())
        });
        set.unwrap();
        let now = alerting.now();
        assert_eq!((now.bounds.free_percent, now.bounds.silent_peer_hours, now.ping_minutes), (7, 5, 1440));
        assert_eq!(names(), ["command", "ops"]);
        // One that cannot be used is there to be seen, and keeps nobody else from being told.
        assert!(now.ways.lines()[1].trouble().is_some_and(|why| why.contains("proxy")));
        // What cannot be read any more goes on as it was.
        std::fs::write(home.home().join("keys/alerts"), b"damaged").unwrap();
        assert_eq!(names(), ["command", "ops"]);
        assert!(alerting.said().is_err());
    }
}
