//! `GET /snapshots/{id}/inspection`: who can open a snapshot, and how much of it is here.

use axum::extract::{Path, State};
use maud::{Markup, html};

use super::parts::{self, Light};
use super::snapshot::known;
use super::{Amiss, Viewer};
use crate::domain::words::{bytes, count, number};
use crate::http::admin::AdminPlane;

/// Who can open it.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
) -> Result<Markup, Amiss> {
    let known = known(&plane, &id).await?;
    let seen = plane.inspect(&known.view.id).await?;
    let (light, words) = match (seen.opens, &seen.closed) {
        (true, _) => (Light::Good, "It opens here".to_owned()),
        (false, why) => {
            (Light::Care, format!("It does not open here: {}", why.as_deref().unwrap_or("its key is not here")))
        }
    };
    let here = match (seen.lists_here, seen.chunks_here == seen.chunks) {
        (true, true) => parts::light(Light::Good, &format!("all of it is here: {}", count(seen.chunks, "chunk"))),
        (true, false) => {
            let words = format!("{} of {} here", number(seen.chunks_here), count(seen.chunks, "chunk"));
            parts::light(Light::Care, &words)
        }
        (false, _) => parts::light(Light::Care, "lists of chunks are missing: a fetch brings them"),
    };
    let rows: Vec<Vec<Markup>> = seen
        .envelopes
        .iter()
        .map(|one| {
            let short: String = one.recipient.chars().take(16).collect();
            vec![
                html! { (one.whose) },
                html! { code { (one.algorithm) } },
                html! { code title=(one.recipient) { (short) } },
            ]
        })
        .collect();
    let main = html! {
        div.stack {
            p.lead { (parts::light(light, &words)) }
            section.card {
                h2 { "Who can open it" }
                p { "The snapshot has one key, and it is kept wrapped for each of these. Peers that may read ask for an envelope of their own when they need it; it is made for the key that they have then." }
                (parts::table(&count(rows.len() as u64, "envelope"), &["For", "Wrapped by", "Key"], &rows))
            }
            section.card {
                h2 { "How much of it is here" }
                (parts::facts(&[
                    ("Chunks", here),
                    ("Their size", html! { (bytes(seen.chunk_bytes)) }),
                    ("Signed by", html! { code { (seen.instance) } }),
                    ("Signature", parts::light(Light::Good, "holds")),
                ]))
                p.small.soft { "Whether each chunk is what it should be a verification says." }
            }
        }
    };
    known.page_below("Who can open it").show(&plane, &viewer, main).await
}
