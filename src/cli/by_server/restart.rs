//! What the server ends for and starts again.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::admin::AdminClient;
use crate::store::Store;

use super::Server;

/// How often it is looked whether it runs again.
const LOOK: Duration = Duration::from_millis(100);
/// How long it may take: what goes on is stopped in order, a key is drawn.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of `GET /admin/v1/instance`.
#[derive(Deserialize)]
struct Started {
    started_at: Timestamp,
}

impl Server<'_> {
    /// Waits until the server that said it would start again has done so, and goes on with that one.
    ///
    /// # Errors
    /// If it does not come back.
    pub async fn started_again(&mut self, store: &Store, before: Timestamp) -> anyhow::Result<()> {
        let patience = Instant::now() + PATIENCE;
        loop {
            // Between the two there is no server, or one that does not answer yet.
            if let Ok(Some(client)) = AdminClient::of_running(store)
                && let Ok(started) = client.get::<Started>("/admin/v1/instance").await
                && started.started_at != before
            {
                self.client = client;
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.signals.first.cancelled() => bail!("the server starts again by itself: 'bulbil audit' shows what came of it"),
            }
            if Instant::now() > patience {
                bail!("the server ended to do it, and has not come back: look into its log, and start it");
            }
        }
    }

    /// Has the server do something for which it may have to start again, and waits for that. What it answered at first.
    ///
    /// # Errors
    /// In its words, or if it does not come back.
    pub async fn ask_and_wait(&mut self, store: &Store, path: &str, order: &Value) -> anyhow::Result<Value> {
        let answer: Value = self.ask(path, order).await?;
        // It is at the top of what is nothing but a restart.
        let restart = if answer["started_at"].is_null() { &answer["restart"] } else { &answer };
        if let Some(before) = restart["started_at"].as_str() {
            let before = before.parse().context("the server that runs in this home is of another version")?;
            self.started_again(store, before).await?;
        }
        Ok(answer)
    }
}
