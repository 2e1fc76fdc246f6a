//! Whom to tell what is wrong, as it was said while the server ran: `keys/alerts`, sealed JSON.
//!
//! A file and not the index: who rebuilds the index goes on being told. Sealed, since addresses and passwords stand in it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Store, StoreError, lock};
use crate::domain::channel::AlertSettings;

const FILE: &str = "alerts";
const FORMAT: &str = "bulbil-alerts/1";

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    #[serde(flatten)]
    settings: AlertSettings,
}

#[derive(Deserialize)]
struct Head {
    format: String,
}

impl Store {
    /// What was said of alerts; nothing before somebody did.
    ///
    /// # Errors
    /// [`StoreError::KeysDamaged`], [`StoreError::NewerHome`], [`StoreError::Io`].
    pub fn alert_settings(&self) -> Result<AlertSettings, StoreError> {
        let Some(plain) = self.keys.load_sealed(&self.home, FILE)? else { return Ok(AlertSettings::default()) };
        let path = || self.home.keys().join(FILE);
        let damaged = |_| StoreError::KeysDamaged { path: path() };
        let head: Head = serde_json::from_slice(&plain).map_err(damaged)?;
        if head.format != FORMAT {
            return Err(StoreError::NewerHome { path: path(), found: head.format });
        }
        Ok(serde_json::from_slice::<Document>(&plain).map_err(damaged)?.settings)
    }

    /// Changes what is said of alerts, one at a time.
    ///
    /// # Errors
    /// What `change` says, and then nothing is kept; what [`alert_settings`](Self::alert_settings) says.
    pub fn change_alert_settings<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut AlertSettings) -> Result<T, E>,
    ) -> Result<T, E> {
        let _turn = lock::lock_keys(&self.home)?;
        let mut settings = self.alert_settings()?;
        let came = change(&mut settings)?;
        let document = Document { format: FORMAT.to_owned(), settings };
        let plain = Zeroizing::new(serde_json::to_vec(&document).expect("settings have no maps with odd keys"));
        self.keys.save_sealed(&self.home, FILE, &plain)?;
        Ok(came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::channel::{Channel, How, Secret};
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn what_was_said_of_alerts_is_there_again_sealed_and_outlives_the_index() {
        let home = TestStore::new().await;
        let address = Secret::new("https://example.org/a-secret");
        let ops = Channel { name: "ops".to_owned(), how: How::Webhook { address, proxy: None } };
        let said = home.store.change_alert_settings(|settings| {
            settings.free_percent = Some(9);
            settings.add(ops.clone()).expect("there is none yet");
            Ok::<_, StoreError>(())
        });
        said.unwrap();
        let bytes = std::fs::read(home.home().join("keys/alerts")).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("example.org"));
        let again = home.store.alert_settings().unwrap();
        assert_eq!((again.channels, again.free_percent), (vec![ops], Some(9)));
        // What is refused changes nothing.
        let refused = home.store.change_alert_settings(|settings| {
            settings.channels.clear();
            Err::<(), _>(StoreError::KeysDamaged { path: home.home() })
        });
        assert!(refused.is_err() && home.store.alert_settings().unwrap().channels.len() == 1);
    }
}
