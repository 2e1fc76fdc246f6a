//! Changes for which the server ends in order, makes them while nobody is at work in the home, and starts again: other keys.
//!
//! What runs knows the keys by which it began: it signs, seals and is reached by them. To put others under it while it works would be a
//! second way for each of them to come in; a start is the one that is there.

use tokio::sync::mpsc;

use super::AdminPlane;
use crate::domain::audit::Who;
use crate::domain::crypto::onion::OnionKey;
use crate::http::problem::Problem;
use crate::store::{OnionName, Rotate};

/// What is changed.
#[derive(Debug)]
pub enum Change {
    /// Keys are replaced by new ones.
    Rotate(Rotate),
    /// An onion service gets another key.
    Onion(OnionName, OnionKey),
}

/// A change, and who asked for it.
#[derive(Debug)]
pub struct AskedChange {
    /// What.
    pub change: Change,
    /// Who.
    pub by: Who,
}

/// The bell of a server that starts again by itself. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Restarts(mpsc::Sender<AskedChange>);

impl Restarts {
    /// The bell, and where it is heard. It rings once.
    pub fn new() -> (Self, mpsc::Receiver<AskedChange>) {
        let (ring, heard) = mpsc::channel(1);
        (Self(ring), heard)
    }
}

impl AdminPlane {
    /// Whether the server can start again by itself.
    pub(in crate::http) fn starts_again(&self) -> bool {
        self.restarts.is_some()
    }

    /// Has the server end in order, make the change, and start again. It is about to do so when this returns.
    pub(in crate::http) async fn change_at_rest(
        &self,
        change: Change,
        by: Who,
        stop_runs: bool,
        by_hand: &str,
    ) -> Result<(), Problem> {
        let Some(Restarts(ring)) = &self.restarts else {
            let why = format!("this server does not start again by itself: stop it, run '{by_hand}', and start it");
            return Err(Problem::conflict("no-restart", why));
        };
        let going_on = self.jobs.live().numbers();
        if going_on.is_empty() {
            // That of a command that works by itself; one of ours is stopped with the server.
            drop(self.store.lock_backup()?);
        } else if !stop_runs {
            return Err(Problem::conflict("runs-go-on", self.in_words(&going_on).await?));
        }
        let again = |_| Problem::conflict("in-progress", "the server is about to start again: wait until it has");
        ring.try_send(AskedChange { change, by }).map_err(again)
    }

    async fn in_words(&self, runs: &[i64]) -> Result<String, Problem> {
        let mut words = Vec::new();
        for no in runs {
            let kind = self.store.index.run(*no).await?.map(|run| run.kind.to_string()).unwrap_or_default();
            words.push(format!("{kind} (run {no})"));
        }
        let verb = if words.len() == 1 { "goes" } else { "go" };
        Ok(format!(
            "{} {verb} on, and the server has to start again: wait until that has ended, or have it stopped (stop_runs)",
            words.join(", ")
        ))
    }
}
