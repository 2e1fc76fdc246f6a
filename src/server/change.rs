//! What is changed between two starts of a server.

use crate::clock::Clock;
use crate::domain::audit::{Ending, Event, Who};
use crate::http::admin::change::{AskedChange, Change};
use crate::monitor::with_causes;
use crate::replicate::rotate::{RotateError, rotate};
use crate::store::{OnionName, Store, blocking};

/// Makes a change; the server of this home has ended. What came of it is on record, and in the log if it failed: the home is as it was then.
/// A command that asked puts it on record by itself. `store` is out of date afterwards.
///
/// # Errors
/// [`RotateError`].
pub async fn make(asked: AskedChange, store: &Store, clock: &dyn Clock) -> Result<(), RotateError> {
    let AskedChange { change, by } = asked;
    let (what, subjects) = match &change {
        Change::Rotate(which) => {
            let keys = [(which.envelope, "envelope"), (which.identity, "identity")];
            ("rotate-key", keys.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word.to_owned()).collect())
        }
        Change::Onion(OnionName::Peer, _) => ("onion import", vec!["peer".to_owned()]),
        Change::Onion(OnionName::Admin, _) => ("onion import", vec!["admin".to_owned()]),
    };
    let made = match change {
        Change::Rotate(which) => match rotate(store, which, clock).await {
            Ok(rotated) => {
                rotated.store.index.close().await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        Change::Onion(name, key) => {
            let store = store.clone();
            blocking(move || store.replace_onion_key(name, &key)).await.map_err(RotateError::from)
        }
    };
    if let Err(error) = &made {
        tracing::error!(error = with_causes(error), what, "what the server ended for was not done");
    }
    if !matches!(by, Who::User { .. }) {
        let (ending, why) = match &made {
            Ok(()) => (Ending::Done, None),
            Err(error) => (Ending::Failed, Some(with_causes(error))),
        };
        let event = Event { who: by, what: what.to_owned(), subjects, ending, why };
        store.record(&event, clock.now()).await?;
    }
    made
}
