//! What takes the space of a collection, as tables: the report of a run of the kind `usage`.

use maud::{Markup, html};
use serde_json::Value;

use super::parts;
use crate::domain::text::shown;
use crate::domain::words::{bytes, count, number};

/// So many rows are shown of each.
const LISTED: usize = 50;

/// By folder, and by snapshot.
pub(super) fn tables(report: &Value) -> Markup {
    let at = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let list = |name: &str| report[name].as_array().map_or(&[][..], Vec::as_slice);
    let (folders, snapshots) = (list("folders"), list("snapshots"));
    html! {
        p { (bytes(at("/stored/bytes"))) " in " (count(at("/stored/chunks"), "chunk")) ", each counted once." }
        section.card {
            h2 { "By folder" }
            p.soft { "What each folder takes over all snapshots, with everything below it." }
            (parts::table(&caption(folders.len(), "folder"), &["Folder", "Stored", "Size now", "Files"], &folders.iter().take(LISTED).map(folder).collect::<Vec<_>>()))
            p.small.soft { "Everything else, names and attributes among it: " (bytes(at("/other_bytes"))) }
        }
        section.card {
            h2 { "By snapshot" }
            p.soft { "“Alone” is what only this snapshot needs: what there would be to free without it." }
            (parts::table(&caption(snapshots.len(), "snapshot"), &["Number", "Alone", "Stored"], &snapshots.iter().rev().take(LISTED).map(snapshot).collect::<Vec<_>>()))
        }
    }
}

fn caption(all: usize, noun: &str) -> String {
    match all > LISTED {
        true => format!("{LISTED} of {}", count(all as u64, noun)),
        false => count(all as u64, noun),
    }
}

fn of(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or(0)
}

fn folder(row: &Value) -> Vec<Markup> {
    vec![
        html! { code { (shown(row["path"].as_str().unwrap_or_default())) } },
        parts::size(of(row, "stored_bytes")),
        parts::size(of(row, "bytes")),
        html! { (number(of(row, "files"))) },
    ]
}

fn snapshot(row: &Value) -> Vec<Markup> {
    let id = row["id"].as_str().unwrap_or_default();
    vec![
        html! { a href={ "/snapshots/" (id) } { "@" (of(row, "sequence")) } },
        parts::size(of(&row["alone"], "bytes")),
        parts::size(of(row, "chunk_bytes")),
    ]
}
