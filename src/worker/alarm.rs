//! Tells an admin what is wrong, and when it is over.
//!
//! Each way is tried until it took the message, and no way holds another up. What goes on being wrong is told again once a day. As long as
//! nothing is wrong, an address may be called now and then: whoever watches there hears the silence when this machine is gone.

mod force; // what holds of it now
mod ways; // how an admin is told

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::watch::look;
use crate::clock::Clock;
use crate::domain::alert::Alert;
use crate::monitor::with_causes;
use crate::store::index::KnownAlert;
use crate::store::{Store, StoreError};
use crate::transport::mail::MailConfig;

pub use force::{Alerting, InForce};
use ways::Message;
pub use ways::{AlarmError, Line, Told, Way, Ways};

/// How often is looked.
const STEP: Duration = Duration::from_secs(60);
/// What goes on is told again after this time.
const AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// So many alerts are told at a time.
const AT_A_TIME: usize = 4;

/// `[alerts]`: who is told, how, and of what.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertConfig {
    /// A command line for `sh`: `BULBIL_ALERT_KIND`, `…_SUBJECT`, `…_MESSAGE`, `…_STATE` (`open` or `over`) and `…_INSTANCE` say what is wrong.
    pub command: Option<String>,
    /// An address to which each alert is posted as JSON.
    pub webhook: Option<String>,
    /// An address that is called while nothing is wrong.
    pub ping: Option<String>,
    /// Minutes between two such calls; 1 to 1440.
    pub ping_minutes: Option<u32>,
    /// A mailbox that is written to.
    pub mail: Option<MailConfig>,
    /// A SOCKS proxy for webhook and ping, e.g. `socks5h://127.0.0.1:9050`. Without it they are reached directly, and see this machine's address.
    pub proxy: Option<String>,
    /// Certificates (PEM) that are believed beside the system's: for a server of one's own.
    pub certificates: Option<PathBuf>,
    /// Hours after which a followed peer that was not heard of is told.
    pub silent_peer_hours: Option<u32>,
    /// Percent of the home's disk that are to stay free; 0 to 50.
    pub free_percent: Option<u8>,
}

impl std::fmt::Debug for AlertConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Addresses and commands hold secrets.
        f.debug_struct("AlertConfig").finish_non_exhaustive()
    }
}

/// Tells what is wrong.
#[derive(Debug)]
pub struct Alarm {
    store: Store,
    clock: Arc<dyn Clock>,
    alerting: Alerting,
    /// When each of those was called who watch over this instance.
    pinged_at: BTreeMap<String, Timestamp>,
    /// What could not be written down.
    unsaved: Vec<KnownAlert>,
}

impl Alarm {
    /// Tells of this repository.
    ///
    /// # Errors
    /// [`AlarmError`] if an address, the proxy, the mail server or the certificates cannot be used.
    pub fn new(store: Store, clock: Arc<dyn Clock>, config: AlertConfig) -> Result<Self, AlarmError> {
        let alerting = Alerting::new(store.clone(), config)?;
        Ok(Self { store, clock, alerting, pinged_at: BTreeMap::new(), unsaved: Vec::new() })
    }

    /// What holds: whoever changes it changes what is done here from the next step on.
    pub fn alerting(&self) -> Alerting {
        self.alerting.clone()
    }

    /// Runs until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            if let Some(Err(error)) = cancel.run_until_cancelled(self.step(&cancel)).await {
                tracing::error!(error = with_causes(&error), "it could not be looked whether all is well");
            }
            let _ = cancel.run_until_cancelled(tokio::time::sleep(STEP)).await;
        }
    }

    /// Looks once, and tells what is new. How much is wrong.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn step(&mut self, cancel: &CancellationToken) -> Result<usize, StoreError> {
        let (now, force) = (self.clock.now(), self.alerting.now());
        let found = look(&self.store, force.bounds, now).await?;
        let mut known = self.store.index.alerts().await?;
        let is = |one: &Alert, other: &Alert| one.kind == other.kind && one.subject == other.subject;
        for unsaved in std::mem::take(&mut self.unsaved) {
            known.retain(|other| !is(&other.alert, &unsaved.alert));
            known.push(unsaved);
        }
        let mut all: Vec<KnownAlert> = Vec::new();
        for alert in &found {
            let before = known.iter().find(|known| is(&known.alert, alert) && known.over_at.is_none());
            let fresh =
                KnownAlert { alert: alert.clone(), since: now, over_at: None, told_at: None, told: BTreeSet::new() };
            let mut current = before.cloned().unwrap_or_else(|| {
                tracing::warn!(kind = %alert.kind, subject = alert.subject, "{}", alert.message);
                fresh
            });
            current.alert = alert.clone();
            if current.told_at.is_some_and(|told_at| now.duration_since(told_at) >= AGAIN) {
                (current.told, current.told_at) = (BTreeSet::new(), None);
            }
            all.push(current);
        }
        for mut over in known.into_iter().filter(|known| !found.iter().any(|alert| is(alert, &known.alert))) {
            if over.over_at.is_none() {
                tracing::info!(kind = %over.alert.kind, subject = over.alert.subject, "it is well again");
                (over.over_at, over.told, over.told_at) = (Some(now), BTreeSet::new(), None);
            }
            all.push(over);
        }
        // What is wrong is on record before anybody is told, and one who does not answer keeps nobody from hearing.
        for known in &all {
            self.save(known).await;
        }
        let told: Vec<(KnownAlert, bool)> = futures_util::stream::iter(all)
            .map(|known| self.tell(known, &force.ways, now, cancel))
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        self.unsaved.clear();
        for (known, everybody) in told {
            match known.over_at {
                Some(_) if everybody => self.store.index.drop_alert(&known.alert).await?,
                // On a full disk it cannot be written down who was told: it is not told again all the same.
                _ if !self.save(&known).await => self.unsaved.push(known),
                _ => {}
            }
        }
        if found.is_empty() {
            self.call(&force, now).await;
        }
        Ok(found.len())
    }

    /// Writes it down; whether that went well.
    async fn save(&self, known: &KnownAlert) -> bool {
        let saved = self.store.index.put_alert(known).await;
        if let Err(error) = &saved {
            tracing::warn!(error = with_causes(error), "an alert could not be written down");
        }
        saved.is_ok()
    }

    /// Tells those who do not know yet, all ways at once; whether everybody knows.
    async fn tell(
        &self,
        mut known: KnownAlert,
        ways: &Ways,
        now: Timestamp,
        cancel: &CancellationToken,
    ) -> (KnownAlert, bool) {
        let state = if known.over_at.is_some() { "over" } else { "open" };
        let message = Message {
            version: 1,
            instance: &self.store.keys.name,
            kind: known.alert.kind.word(),
            subject: &known.alert.subject,
            message: &known.alert.message,
            state,
            since: known.since,
        };
        let told = ways.tell(&message, |line| !known.told.contains(&line.name), cancel).await;
        for (name, error) in told.iter().filter_map(|told| Some((&told.name, told.took.as_ref().err()?))) {
            tracing::warn!(channel = name, error, "an alert could not be told; it is tried again");
        }
        let everybody = told.iter().all(|told| told.took.is_ok());
        let took: Vec<String> = told.into_iter().filter(|told| told.took.is_ok()).map(|told| told.name).collect();
        if !took.is_empty() {
            known.told_at = Some(now);
            known.told.extend(took);
        }
        (known, everybody)
    }

    /// Calls those who watch over this instance, if it is time.
    async fn call(&mut self, force: &InForce, now: Timestamp) {
        let every = SignedDuration::from_mins(force.ping_minutes.into());
        let due = |name: &str| self.pinged_at.get(name).is_none_or(|at| now.duration_since(*at) >= every);
        for (name, came) in force.ways.call(due).await {
            match came {
                Ok(()) => drop(self.pinged_at.insert(name, now)),
                Err(error) => {
                    tracing::warn!(channel = name, error, "whoever watches over this instance was not reached")
                }
            }
        }
    }
}
