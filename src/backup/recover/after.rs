//! When everything is in place: the application is started and asked, the live data checked, and what is left to do is said.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::RecoverError;
use super::report::Health;
use super::run::Work;
use crate::backup::check::live;
use crate::backup::escrow;
use crate::monitor::with_causes;
use crate::store::blocking;
use crate::transport::health::{Answer, Probe};

/// How long the application may take until it is up, if nobody says.
const WAIT: Duration = Duration::from_secs(300);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

impl Work<'_> {
    /// Starts the application, waits for it, and checks the live data.
    pub(super) async fn after(&mut self) -> Result<(), RecoverError> {
        if let Some(command) = self.options.start.clone()
            && let Err(error) = self.command("starts", command).await
        {
            self.report.failures.push(format!("the data is in place; {}", with_causes(&error)));
        }
        // What did not start is not waited for.
        let started = self.options.start.as_ref().filter(|_| self.report.failures.is_empty());
        let wait = self.options.wait.or_else(|| started.map(|_| WAIT));
        if let Some(wait) = wait
            && let Some((address, probe)) = self.probe.clone()
        {
            let at = self.begin();
            let health = self.wait_for(&address, &probe, wait).await;
            let status = health.status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
            self.end(at, format!("asked the application at {address}: {status}: {}", health.means));
            self.report.health = Some(health);
        }
        let at = self.begin();
        let (store, settings, preset) = (self.store.clone(), self.settings.clone(), self.preset.clone());
        let (secrets, monitor, cancel) = (self.options.secrets.clone(), self.monitor.clone(), self.cancel.clone());
        let checked = blocking(move || live(&store, &settings, &preset, secrets(), &*monitor, &cancel)).await?;
        self.end(at, format!("checked the live data: {} errors, {} warnings", checked.errors, checked.warnings));
        self.report.live = Some(checked);
        let (store, preset, id) = (self.store.clone(), self.preset.clone(), self.collection.id);
        let folders: Vec<PathBuf> = self.grounds.iter().map(|ground| ground.live.clone()).collect();
        let gone = blocking(move || escrow::not_beside(&store, &preset, &id, &folders)).await?;
        self.say_next(wait.is_some(), &gone);
        Ok(())
    }

    fn say_next(&mut self, waited: bool, secrets: &[String]) {
        let name = &self.collection.name;
        let put_back = |secret: &String| {
            format!(
                "put {secret} back beside the data, the application needs it: 'bulbil secret show {name} {secret}' gives it"
            )
        };
        let mut next: Vec<String> = secrets.iter().map(put_back).collect();
        match (&self.report.health, &self.options.start) {
            (Some(health), _) if !health.up => next.push(format!("the application: {}", health.means)),
            (_, None) if !waited => next.push(match &self.probe {
                Some((address, _)) => format!("start the application, and see whether {address} answers"),
                None => "start the application, and look whether all is well".to_owned(),
            }),
            _ => {}
        }
        let live = self.report.live.as_ref().is_some_and(|live| live.errors > 0);
        next.extend(
            live.then(|| format!("'bulbil check {}' shows what still does not fit together", self.collection.name)),
        );
        next.push(format!("'bulbil backup {}', when all is well", self.collection.name));
        let kept = self.report.damaged.iter().map(|path| {
            format!(
                "remove {} when nobody needs to look at it any more: it takes room, and holds what the data holds",
                path.display()
            )
        });
        next.extend(kept);
        self.report.next = next;
    }

    /// Asks until it is up, says that somebody has to do something, or the time is over.
    async fn wait_for(&self, address: &str, probe: &Probe, wait: Duration) -> Health {
        let started = Instant::now();
        loop {
            let answer = probe.ask().await;
            let over = started.elapsed() >= wait || self.cancel.is_cancelled();
            let (status, settled) = match answer {
                Answer::Status(status) => (Some(status), says_what_it_wants(status)),
                _ => (None, false),
            };
            if settled || over {
                let up = status.is_some_and(|status| (200..300).contains(&status));
                return Health { url: address.to_owned(), status, means: self.means(status), up };
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                () = self.cancel.cancelled() => {}
            }
        }
    }

    fn means(&self, status: Option<u16>) -> String {
        let Some(status) = status else { return "it did not answer in time: see its own log".to_owned() };
        let known = self.preset.health.as_ref().and_then(|health| health.means.get(&status.to_string()));
        known.cloned().unwrap_or_else(|| match status {
            200..300 => "it is up".to_owned(),
            _ => "its documentation says what that means".to_owned(),
        })
    }
}

/// Whether waiting longer changes nothing: it is up, or waits for somebody (a passphrase, another version).
fn says_what_it_wants(status: u16) -> bool {
    match status {
        200..300 => true,
        // Not there yet, too early, too often.
        404 | 408 | 425 | 429 => false,
        400..500 => true,
        _ => false,
    }
}
