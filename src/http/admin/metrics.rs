//! `GET /metrics`: how it stands, for Prometheus (text format 0.0.4).

use std::fmt::Write;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use jiff::Timestamp;

use super::AdminPlane;
use super::access::{May, Metrics};
use crate::domain::alert::AlertKind;
use crate::domain::schedule::Work;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::problem::Problem;
use crate::store::{IndexError, Store};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How it stands, for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "Gauges in Prometheus' text format 0.0.4; moments are seconds since 1970", body = String, content_type = "text/plain"),
        (status = 401, description = "No token, or a wrong one", body = ProblemDocument),
        (status = 403, description = "The token is not good for this", body = ProblemDocument)
    ),
    security(("token" = ["metrics"]))
)]
pub(super) async fn get_metrics(
    _: May<Metrics>,
    State(plane): State<AdminPlane>,
) -> Result<impl IntoResponse, Problem> {
    let text = metrics(&plane.store, plane.clock.now()).await.map_err(|error| Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, FORMAT)], text))
}

/// One name with its values.
struct Gauge {
    name: &'static str,
    help: &'static str,
    lines: Vec<String>,
}

impl Gauge {
    fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, lines: Vec::new() }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        self.lines.push(format!("{}{{{}}} {value}", self.name, labels.join(",")));
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} gauge", self.name, self.help, self.name);
        self.lines.iter().for_each(|line| {
            let _ = writeln!(out, "{line}");
        });
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

async fn metrics(store: &Store, now: Timestamp) -> Result<String, IndexError> {
    let mut good = Gauge::new("bulbil_last_verified_snapshot_seconds", "When the newest verified snapshot was made");
    let mut rpo = Gauge::new("bulbil_rpo_seconds", "How old the newest verified snapshot may be");
    let mut snapshots = Gauge::new("bulbil_snapshots", "Snapshots that are known");
    let mut missing = Gauge::new("bulbil_missing_bytes", "Bytes of chunks that are not here");
    let mut ended = Gauge::new("bulbil_run_ended_seconds", "When the last run of something ended");
    let mut took = Gauge::new("bulbil_run_duration_seconds", "How long it took");
    let mut done = Gauge::new("bulbil_run_done", "1 if all was well with it");
    let mut stored = Gauge::new("bulbil_run_stored_bytes", "What it stored");
    for collection in store.index.collections().await? {
        let labels = [("collection", collection.name.as_str())];
        if let Some((_, at)) = store.index.last_good(&collection.id, now).await? {
            good.add(&labels, seconds(at));
        }
        if let Some(hours) = collection.upkeep.rpo_hours {
            rpo.add(&labels, u64::from(hours) * 3600);
        }
        snapshots.add(&labels, store.index.snapshots(Some(&collection.id)).await?.len());
        missing.add(&labels, store.index.count_missing(Some(&collection.id)).await?.1);
        for work in Work::ALL {
            let runs = store.index.runs(Some(&collection.id), Some(work.into()), 2).await?;
            let Some((run, end)) = runs.iter().find_map(|run| Some((run, run.ended.as_ref()?))) else { continue };
            let labels = [("collection", collection.name.as_str()), ("work", work.word())];
            ended.add(&labels, seconds(end.at));
            took.add(&labels, end.at.duration_since(run.started_at).as_secs_f64());
            done.add(&labels, u8::from(end.result == crate::store::index::RunResult::Done));
            stored.add(&labels, end.counts.new_bytes);
        }
    }
    let mut alerts = Gauge::new("bulbil_alerts", "What is wrong now, by kind");
    let known = store.index.alerts().await?;
    for kind in AlertKind::ALL {
        let open = known.iter().filter(|known| known.over_at.is_none() && known.alert.kind == kind).count();
        alerts.add(&[("kind", kind.word())], open);
    }
    let mut text = String::new();
    for gauge in [good, rpo, snapshots, missing, ended, took, done, stored, alerts] {
        gauge.write(&mut text);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn a_collection_and_each_kind_of_alert_has_its_lines() {
        let host = TestStore::new().await;
        let collection = host.collection("notes").await;
        let upkeep = crate::domain::schedule::Upkeep { rpo_hours: Some(24), ..Default::default() };
        host.store.index.set_upkeep(&collection.id, &upkeep).await.unwrap();
        let text = metrics(&host.store, Timestamp::UNIX_EPOCH).await.unwrap();
        for line in [
            "bulbil_rpo_seconds{collection=\"notes\"} 86400",
            "bulbil_snapshots{collection=\"notes\"} 0",
            "bulbil_alerts{kind=\"late\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("bulbil_last_verified_snapshot_seconds{"), "there is none");
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
