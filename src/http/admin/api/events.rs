//! `GET /admin/v1/runs/{id}/events`: a run as it goes on, as server-sent events (HTML Living Standard, 9.2).
//!
//! `line` is a notice or a problem, with its number as the event's id: whoever reconnects goes on after the last one. `progress` comes when
//! something has changed, at most twice a second. `end` is the last one, with the run as it ended.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use http::HeaderMap;

use super::input::At;
use super::refusals::{Missing, Refused};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Caller, May, Read};
use crate::http::admin::view::run::{LineView, ProgressView, RunView};
use crate::http::problem::Problem;

/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Follows a run until it ends
#[utoipa::path(
    get,
    path = "/admin/v1/runs/{id}/events",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "Events: line, progress, end", body = String, content_type = "text/event-stream"), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_events(
    May { caller, .. }: May<Read>,
    State(plane): State<AdminPlane>,
    At(id): At<i64>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    plane.run(id).await?.ok_or_else(|| Problem::no_such(format!("there is no run {id}")))?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let following = Following {
        plane,
        caller,
        id,
        told: last.map_or(0, |last| last.saturating_add(1)),
        progress: None,
        begun: false,
    };
    let events = stream::unfold(Some(following), |following| async move {
        let mut following = following?;
        let (events, goes_on) = following.next().await;
        Some((stream::iter(events.into_iter().map(Ok)), goes_on.then_some(following)))
    });
    Ok(Sse::new(futures_util::StreamExt::flatten(events)).keep_alive(KeepAlive::default()))
}

struct Following {
    plane: AdminPlane,
    caller: Caller,
    id: i64,
    /// Lines that were told.
    told: usize,
    progress: Option<ProgressView>,
    begun: bool,
}

impl Following {
    /// What is new, and whether more may come.
    async fn next(&mut self) -> (Vec<Event>, bool) {
        loop {
            if self.begun {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            self.begun = true;
            // A token that is revoked, a browser that is logged out: nothing more is told.
            if !self.plane.gate().is_good(&self.caller) {
                return (Vec::new(), false);
            }
            // In this order: what is said before it ends is told before its end.
            let run = self.plane.run(self.id).await;
            let lines = self.plane.run_log(self.id, self.told).await;
            let (Ok(Some(run)), Ok(lines)) = (run, lines) else { return (Vec::new(), false) };
            let mut events = self.lines(lines);
            if run.ended_at.is_some() {
                events.push(ended(&run));
                return (events, false);
            }
            if run.progress.is_some() && run.progress != self.progress {
                events.extend(
                    run.progress
                        .as_ref()
                        .and_then(|progress| Event::default().event("progress").json_data(progress).ok()),
                );
                self.progress = run.progress;
            }
            if !events.is_empty() {
                return (events, true);
            }
        }
    }

    fn lines(&mut self, lines: Vec<LineView>) -> Vec<Event> {
        let mut events = Vec::with_capacity(lines.len());
        for line in lines {
            events.extend(Event::default().event("line").id(self.told.to_string()).json_data(&line).ok());
            self.told += 1;
        }
        events
    }
}

fn ended(run: &RunView) -> Event {
    Event::default().event("end").json_data(run).unwrap_or_default()
}
