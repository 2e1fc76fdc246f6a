//! Of which collections a peer may take the lead when this instance is gone, as a form of its page.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde::Deserialize;

use super::peers::path;
use super::typed::{Wrong, boxes, wrong_of_all};
use super::{Viewer, parts};
use crate::http::admin::AdminPlane;
use crate::http::admin::view::peer::PeerView;
use crate::http::problem::Problem;
use crate::store::index::Peer;

/// What was ticked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    heir: BTreeSet<String>,
}

/// Of which collections that are led from here a peer is an heir, and of which it could be.
pub(super) struct Heritage {
    all: Vec<String>,
    named: BTreeSet<String>,
}

impl Heritage {
    pub(super) async fn of(plane: &AdminPlane, peer: &Peer) -> Result<Self, Problem> {
        let mut heritage = Self { all: Vec::new(), named: BTreeSet::new() };
        let store = plane.store();
        for collection in store.index.collections().await? {
            if collection.origin != store.keys.instance() {
                continue;
            }
            if plane.heirs(&collection).await?.iter().any(|heir| heir.instance == peer.id.to_string()) {
                heritage.named.insert(collection.name.clone());
            }
            heritage.all.push(collection.name);
        }
        Ok(heritage)
    }

    /// What is to be changed: of each collection, whether the peer is to be an heir.
    pub(super) fn changes(&self, typed: &Typed) -> Vec<(&str, bool)> {
        let all = self.all.iter().map(|name| (name.as_str(), typed.heir.contains(name)));
        all.filter(|(name, is_heir)| *is_heir != self.named.contains(*name)).collect()
    }
}

/// What stands of it on the page of a peer.
pub(super) fn section(viewer: &Viewer, peer: &PeerView, heritage: &Heritage, typed: Option<&(Typed, Wrong)>) -> Markup {
    let (ticked, wrong) = typed.map_or((&heritage.named, None), |(form, wrong)| (&form.heir, Some(wrong)));
    let boxed: Vec<_> = heritage.all.iter().map(|name| (name.clone(), name.clone(), ticked.contains(name))).collect();
    html! {
        section.card {
            h2 { "If this machine is gone for good" }
            p { "An heir may take a collection over: it backs it up from then on, and all peers follow it. Name one now: afterwards nobody can." }
            (wrong_of_all(wrong))
            @if boxed.is_empty() {
                p.soft { "No collection is led from here." }
            } @else {
                form method="post" action={ (path(peer)) "/heir" } {
                    (parts::csrf(viewer))
                    input type="hidden" name="back" value=(path(peer));
                    (boxes("heir", "It may take over", &boxed, None))
                    div.actions { button.button.quiet type="submit" { "Save" } }
                }
            }
        }
    }
}
