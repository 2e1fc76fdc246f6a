//! Work that the server of this home does for a command, so that there is one writer: it is begun over the admin plane, followed,
//! and stopped by Ctrl-C.
//!
//! What came of it is the report of the run, the same type of which the command speaks when it does the work by itself.

mod events; // what a run says as it goes on
mod restart; // what the server ends for, and starts again

use anyhow::{Context as _, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::http::admin::typed::typed_by;
use crate::http::admin::view::run::{LineView, ProgressView, RunState, RunView};
use crate::monitor::{Monitor, Problem};
use crate::store::Store;

use super::admin::{AdminClient, Refusal};
use super::audit::me;
use super::context::{Context, Signals};
use super::progress::Progress;
use events::{Event, Events};

/// The server that runs in this home, and does the work.
pub struct Server<'a> {
    client: AdminClient,
    context: &'a Context,
    signals: Signals,
}

impl<'a> Server<'a> {
    /// `None` if no server runs: the command does it by itself. So it does with `only_here`, an option that the server does not know.
    ///
    /// # Errors
    /// If a server runs that does not answer, or is of another version: there are no two writers by accident.
    pub async fn running(store: &Store, only_here: Option<&str>, context: &'a Context) -> anyhow::Result<Option<Self>> {
        let Some(client) = AdminClient::of_running(store)? else { return Ok(None) };
        if let Some(option) = only_here {
            tracing::info!("a server runs in this home; what {option} asks for is done by this command itself");
            return Ok(None);
        }
        let (theirs, ours) = (client.version().await?, env!("CARGO_PKG_VERSION"));
        if theirs != ours {
            bail!(
                "the server that runs in this home is version {theirs}, and this program is version {ours}: restart the server, then try again"
            );
        }
        Ok(Some(Self { client, context, signals: context.signals() }))
    }

    /// Stopped by Ctrl-C: nothing further is to be begun.
    pub fn stop(&self) -> &CancellationToken {
        &self.signals.first
    }

    /// Looks at something.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> anyhow::Result<R> {
        self.client.get(path).await.map_err(in_its_words)
    }

    /// Has something made that is done at once.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn post<R: DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<R> {
        self.client.post(path, body, typed_by(&me()).as_deref()).await.map_err(in_its_words)
    }

    /// Has something put into a place.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn put<R: DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<R> {
        self.client.put(path, body, typed_by(&me()).as_deref()).await.map_err(in_its_words)
    }

    /// Has something removed.
    ///
    /// # Errors
    /// In the server's words.
    pub async fn delete<R: DeserializeOwned>(&self, path: &str) -> anyhow::Result<R> {
        self.client.delete(path, typed_by(&me()).as_deref()).await.map_err(in_its_words)
    }

    /// Has something done, as `POST /admin/v1/runs` takes it, and waits for its end. What came of it; `None` if there was nothing to do.
    /// What failed and has a report all the same is told by the command.
    ///
    /// # Errors
    /// If nothing came of it, in the server's words; if the server ended in the middle; after a second Ctrl-C, which leaves it going.
    pub async fn run<R: DeserializeOwned>(&self, order: &Value, progress: &Progress) -> anyhow::Result<Option<R>> {
        self.run_of("/admin/v1/runs", order, progress).await
    }

    /// The same, where another path takes the order.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_of<R: DeserializeOwned>(
        &self,
        path: &str,
        order: &Value,
        progress: &Progress,
    ) -> anyhow::Result<Option<R>> {
        let begun: anyhow::Result<RunView> = self.client.post(path, order, typed_by(&me()).as_deref()).await;
        let run = begun.map_err(in_its_words)?;
        let ended = match self.follow(run.id, progress).await? {
            Some(ended) => ended,
            // The connection broke, or it began and had to wait for another one.
            None => self.look(&run).await?,
        };
        let message = |otherwise: &str| ended.message.clone().unwrap_or_else(|| otherwise.to_owned());
        match (ended.state, ended.report) {
            (RunState::Failed, None) => bail!(message("it failed")),
            (RunState::Interrupted, None) => bail!("{}: nothing came of it", message("it was stopped")),
            (_, None) => Ok(None),
            (_, Some(report)) => {
                let report = serde_json::from_value(report);
                Ok(Some(report.context("the server that runs in this home is of another version: restart it")?))
            }
        }
    }

    /// Waits until the server has visited everybody whom it follows, and fetched what it mirrors.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn round(&self) -> anyhow::Result<()> {
        self.client.sync().await.map(drop)
    }

    /// Has something done that takes no while, and hears what came of it.
    ///
    /// # Errors
    /// If nothing came of it, in the server's words.
    pub async fn ask<R: DeserializeOwned>(&self, path: &str, order: &Value) -> anyhow::Result<R> {
        self.client.post(path, order, typed_by(&me()).as_deref()).await.map_err(in_its_words)
    }

    /// Shows what goes on; how it ended, if that was heard.
    async fn follow(&self, run: i64, progress: &Progress) -> anyhow::Result<Option<RunView>> {
        let Ok(body) = self.client.events(run).await else { return Ok(None) };
        let mut events = Events::new(body);
        let mut asked_to_stop = false;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Progress(view)) => show(&view, progress),
                    Some(Event::Line(line)) => tell(line, progress),
                    Some(Event::End(ended)) => return Ok(Some(*ended)),
                    None => return Ok(None),
                },
                () = self.signals.first.cancelled(), if !asked_to_stop => {
                    asked_to_stop = true;
                    self.context.output.remark("stopping; what was reached is kept (again to leave it to the server)");
                    // It may have ended just now.
                    if let Err(error) = self.client.cancel(run).await {
                        tracing::debug!(%error, "the run was not stopped");
                    }
                }
                () = self.signals.second.cancelled() => {
                    bail!("run {run} was asked to stop, and ends in the server: 'bulbil runs' shows what became of it");
                }
            }
        }
    }

    /// How a run ended whose end was not heard.
    async fn look(&self, run: &RunView) -> anyhow::Result<RunView> {
        let kind = &run.kind;
        match self.client.run(run.id).await {
            Ok(run) if run.ended_at.is_some() => Ok(run),
            Err(error) if error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.code == "not-found") => {
                bail!("it did not begin, since another {kind} goes on: try again when that has ended")
            }
            _ => bail!(
                "the server that runs in this home ended, or answers no more, before the {kind} was done: \
                 'bulbil runs' shows what became of it; start it again"
            ),
        }
    }
}

/// Why the server did not begin, as if it had been tried here.
fn in_its_words(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Refusal>() {
        Ok(Refusal { detail: Some(detail), .. }) => anyhow!(detail),
        Ok(refusal) => refusal.into(),
        Err(error) => error,
    }
}

fn show(view: &ProgressView, progress: &Progress) {
    if let Some(task) = &view.task {
        progress.show(task, view.in_bytes, view.done, view.total);
    }
}

fn tell(line: LineView, progress: &Progress) {
    if !line.is_problem {
        return progress.notice(&line.text);
    }
    progress.problem(Problem { subject: line.subject.unwrap_or_default(), message: line.text });
}
