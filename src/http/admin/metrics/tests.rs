use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{Method, StatusCode};
use jiff::SignedDuration;

use super::catalog::ALL;
use super::text::{Kind, Page};
use super::*;
use crate::domain::schedule::{Upkeep, Work};
use crate::http::admin::tests::plane_of;
use crate::http::traffic::{Asked, Plane};
use crate::store::index::{Begin, Cause, Collection, Counts, Ended, Proof, RunResult};
use crate::store::testing::{MakeSnapshot, TestStore};

/// Figures by name and labels, from a text that must be of the format to the letter.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let (mut figures, mut types) = (BTreeMap::new(), BTreeMap::new());
    let (mut current, mut helped) = (String::new(), BTreeSet::new());
    assert!(text.ends_with('\n'), "the last line ends, too");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()), "{name} is explained twice");
            assert!(!help.is_empty() && is_name(name), "{line}");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(helped.contains(name) && ["gauge", "counter", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
            name.clone_into(&mut current);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| {
            (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("not closed: {line}")))
        });
        assert!(is_name(name), "{line}");
        let family = match types[&current].as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap(),
            _ => name,
        };
        assert_eq!(family, current, "figures of a name stand together, after its type: {line}");
        labels_hold(labels, line);
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(value.is_finite(), "{line}");
        assert!(figures.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    figures
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `name="value",…`, with nothing in a value that has to be escaped.
fn labels_hold(labels: &str, line: &str) {
    let (mut rest, mut names) = (labels, BTreeSet::new());
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        assert!(is_name(name) && names.insert(name), "{line}");
        let (mut end, mut escaped) = (None, false);
        for (at, c) in after.char_indices() {
            match c {
                _ if escaped => {
                    assert!(['\\', '"', 'n'].contains(&c), "{line}");
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let after = &after[end.unwrap_or_else(|| panic!("not closed: {line}")) + 1..];
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None => {
                assert!(after.is_empty(), "{line}");
                ""
            }
        };
    }
}

fn begun(collection: &Collection, work: Work, at: Timestamp) -> Begin<'_> {
    Begin {
        collection: Some(&collection.id),
        target: None,
        kind: work.into(),
        cause: Cause::Command,
        by: None,
        pid: 1,
        at,
    }
}

#[test]
fn what_stands_in_labels_breaks_no_line() {
    let mut page = Page::default();
    page.add(catalog::RPO, &[("collection", "a\"b\\c\nd")], 1);
    let text = page.text(ALL);
    assert!(text.contains("bulbil_rpo_seconds{collection=\"a\\\"b\\\\c\\nd\"} 1\n"), "{text}");
    assert_eq!(parsed(&text).len(), 1);
}

#[test]
fn names_are_of_base_units() {
    for metric in ALL {
        let name = metric.name;
        assert!(name.starts_with("bulbil_") || name == "process_start_time_seconds", "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        for unit in ["_hours", "_minutes", "_days", "_ms", "_milliseconds", "_kb", "_mb", "_percent"] {
            assert!(!name.contains(unit), "{name}");
        }
    }
}

#[tokio::test]
async fn everything_that_is_known_has_its_figures_in_a_text_that_holds() {
    let host = TestStore::new().await;
    let index = &host.store.index;
    let collection = host.collection("notes").await;
    let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
    let at = |minutes: i64| now - SignedDuration::from_mins(minutes);
    index.set_upkeep(&collection.id, &Upkeep { rpo_hours: Some(24), ..Default::default() }).await.unwrap();
    let made = host.snapshot(MakeSnapshot::new(collection.id, 1, &[("a", b"one")])).await;
    let snapshot = made.signed.id;
    index.note_verified(&[snapshot], at(5)).await.unwrap();
    for (minutes, result) in [(60, RunResult::Done), (30, RunResult::Partly)] {
        let no = index.begin_run(begun(&collection, Work::Drill, at(minutes))).await.unwrap();
        let ended = Ended {
            at: at(minutes - 2),
            result,
            message: None,
            snapshot: None,
            counts: Counts::default(),
            report: None,
        };
        index.end_run(no, &ended).await.unwrap();
    }
    index.begin_run(begun(&collection, Work::Verify, at(1))).await.unwrap();
    index.note_copied("nas", &collection.id, &snapshot, at(9)).await.unwrap();
    index.note_copy_verified("nas", &collection.id, &snapshot, at(8), true).await.unwrap();
    let peer = host.peer("beta").await;
    index.note_contact(&peer.id, at(7), None).await.unwrap();
    let proof = Proof { peer: peer.id, collection: collection.id, snapshot, proved_at: at(6), sampled: 8, right: 8 };
    index.note_proof(&proof).await.unwrap();
    let plane = plane_of(&host.store);
    let asked = Asked::new(Plane::Peer, &Method::GET, Some("/peer/v1/changes"));
    plane.traffic.note(asked, StatusCode::OK, Duration::from_millis(300));
    let _open = plane.traffic.open(Plane::Admin).one();

    let text = metrics(&plane, now).await.unwrap();
    let figures = parsed(&text);
    let of = |series: &str| *figures.get(series).unwrap_or_else(|| panic!("{series} in\n{text}"));
    for (series, value) in [
        ("bulbil_rpo_seconds{collection=\"notes\"}", 86_400.0),
        ("bulbil_snapshots{collection=\"notes\",state=\"verified\"}", 1.0),
        ("bulbil_snapshots{collection=\"notes\",state=\"suspect\"}", 0.0),
        ("bulbil_alerts{kind=\"late\"}", 0.0),
        ("bulbil_last_drill_good{collection=\"notes\"}", 0.0),
        ("bulbil_last_drill_timestamp_seconds{collection=\"notes\"}", at(28).as_second() as f64),
        ("bulbil_last_good_drill_timestamp_seconds{collection=\"notes\"}", at(58).as_second() as f64),
        ("bulbil_last_drill_duration_seconds{collection=\"notes\"}", 120.0),
        ("bulbil_runs{collection=\"notes\",work=\"drill\",result=\"partly\"}", 1.0),
        ("bulbil_runs_open{work=\"verify\"}", 1.0),
        ("bulbil_proved_copies{collection=\"notes\"}", 1.0),
        ("bulbil_peer_copy_proved{collection=\"notes\",peer=\"beta\"}", 1.0),
        ("bulbil_peer_last_contact_timestamp_seconds{peer=\"beta\"}", at(7).as_second() as f64),
        ("bulbil_target_copied_timestamp_seconds{collection=\"notes\",target=\"nas\"}", at(9).as_second() as f64),
        ("bulbil_peers{state=\"trusted\"}", 1.0),
        ("bulbil_http_open_connections{plane=\"admin\"}", 1.0),
        ("bulbil_http_open_connections{plane=\"peer\"}", 0.0),
        ("bulbil_http_requests_total{plane=\"peer\",method=\"GET\",route=\"/peer/v1/changes\",status=\"200\"}", 1.0),
        (
            "bulbil_http_request_duration_seconds_bucket{plane=\"peer\",method=\"GET\",route=\"/peer/v1/changes\",le=\"0.1\"}",
            0.0,
        ),
        (
            "bulbil_http_request_duration_seconds_bucket{plane=\"peer\",method=\"GET\",route=\"/peer/v1/changes\",le=\"0.5\"}",
            1.0,
        ),
        (
            "bulbil_http_request_duration_seconds_bucket{plane=\"peer\",method=\"GET\",route=\"/peer/v1/changes\",le=\"+Inf\"}",
            1.0,
        ),
        // A drill in which something was wrong is an alert.
        ("bulbil_degraded", 1.0),
    ] {
        assert_eq!(of(series), value, "{series}");
    }
    assert!(of("bulbil_store_bytes") > 0.0 && of("bulbil_disk_free_bytes{place=\"home\"}") > 0.0);
    assert!(of("bulbil_collection_stored_bytes{collection=\"notes\"}") > 0.0);
    // What needs Tor, a pass of the scrub or a line that was measured is not here; all else is.
    let is_without = |name: &str| {
        ["tor_", "onion_", "clock_", "scrub_all", "scrub_last", "peer_failures", "peer_latency", "peer_fetch"]
            .iter()
            .any(|part| name.contains(part))
    };
    for metric in ALL.iter().filter(|metric| !is_without(metric.name)) {
        let has = figures.keys().any(|series| series.starts_with(metric.name));
        assert!(has, "{} has no figure in\n{text}", metric.name);
    }
}

/// Every name that stands in what is given to Prometheus and Grafana, and that is ours.
fn named_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("bulbil_") || word.starts_with("process_"))
        .collect()
}

#[test]
fn rules_and_dashboard_name_only_what_there_is() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring");
    let known: BTreeSet<String> = ALL
        .iter()
        .flat_map(|metric| match metric.kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name)).to_vec(),
            Kind::Gauge | Kind::Counter => vec![metric.name.to_owned()],
        })
        .collect();
    for (file, at_least) in [("alerts.yml", 12), ("grafana-dashboard.json", 15), ("README.md", 0)] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let named = named_in(&text);
        assert!(named.len() >= at_least, "{file} names {named:?}");
        let unknown: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(unknown.is_empty(), "{file} names what /metrics does not give: {unknown:?}");
    }
}

#[test]
fn kinds_of_alerts_in_the_rules_are_real_ones() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring/alerts.yml");
    let text = std::fs::read_to_string(file).unwrap();
    let mut kinds = 0;
    for (at, _) in text.match_indices("kind=\"") {
        let kind = text[at + 6..].split('"').next().unwrap();
        assert!(kind.parse::<crate::domain::alert::AlertKind>().is_ok(), "{kind}");
        kinds += 1;
    }
    assert!(kinds > 0, "no rule looks at a kind of alert");
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring/grafana-dashboard.json");
    let board: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(board["id"].is_null() && board["schemaVersion"].as_u64() >= Some(36), "it is imported as a new one");
    assert!(board["title"].is_string() && board["uid"].is_string());
    assert_eq!(board["__inputs"][0]["type"], "datasource");
    let panels = board["panels"].as_array().unwrap();
    let (mut ids, mut places) = (BTreeSet::new(), Vec::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()) && panel["title"].is_string(), "{panel}");
        let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        let [x, y, w, h] = place;
        assert!(x + w <= 24, "{panel}");
        let overlaps = |[ox, oy, ow, oh]: &[u64; 4]| x < ox + ow && *ox < x + w && y < oy + oh && *oy < y + h;
        assert!(!places.iter().any(overlaps), "{} lies on another one", panel["title"]);
        places.push(place);
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty() && targets.iter().all(|target| target["expr"].is_string()), "{panel}");
            assert_eq!(panel["datasource"]["type"], "prometheus");
        }
    }
}
