//! `GET /peers`: other instances, how they are, and what they have. `/new/peer`: notes one by its address.

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::typed::{Wrong, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::domain::peer::{PeerAddress, is_plain_name};
use crate::domain::text::shown;
use crate::domain::words::{about, bytes, count};
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::view::peer::PeerView;
use crate::http::admin::view::snapshot::snapshots;
use crate::http::admin::{AddPeer, AdminPlane};
use crate::store::IndexError;
use crate::store::index::Peer;

/// What is still to be fetched from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lag {
    snapshots: u64,
    bytes: u64,
}

impl Lag {
    /// Of a peer that is followed: what is known, and not here yet.
    pub(super) async fn of(plane: &AdminPlane, peer: &Peer) -> Result<Option<Self>, IndexError> {
        if !peer.follow {
            return Ok(None);
        }
        let (store, mut lag) = (plane.store(), Self::default());
        let granted = peer.granted.as_ref().and_then(|granted| granted.collections.as_ref());
        for collection in store.index.collections().await? {
            let given = collection.origin == peer.id || granted.is_none_or(|names| names.contains(&collection.name));
            if !given || store.keys.is_ours(&collection.origin) || !peer.mirror.includes(&collection.id) {
                continue;
            }
            let lacking = snapshots(store, &collection.id).await?.iter().filter(|one| !one.complete).count() as u64;
            if lacking > 0 {
                lag.snapshots += lacking;
                lag.bytes += store.index.count_missing(Some(&collection.id)).await?.1;
            }
        }
        Ok(Some(lag))
    }

    /// For people, with how fast it has come lately.
    pub(super) fn in_words(self, bytes_per_second: Option<u64>) -> String {
        if self.snapshots == 0 {
            return "nothing: all that it told of is here".to_owned();
        }
        let what = format!("{} to pull", count(self.snapshots, "snapshot"));
        match bytes_per_second.filter(|rate| *rate > 0) {
            Some(rate) => format!("{what}, {}", about(self.bytes / rate)),
            None => format!("{what}, {}", bytes(self.bytes)),
        }
    }
}

/// Where a peer's page is; its name is plain.
pub(super) fn path(peer: &PeerView) -> String {
    format!("/peers/{}", peer.name)
}

/// All of them.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    let now = plane.now();
    let mut cards = Vec::new();
    for peer in plane.store().index.peers().await? {
        let lag = Lag::of(&plane, &peer).await?;
        cards.push(card(&plane.peer_view(peer).await?, lag, now));
    }
    let next = html! {
        div.actions {
            a.button href="/invites/new" { "Invite somebody" }
            a.button.quiet href="/new/clone" { "Join with an invite" }
            a.button.quiet href="/new/peer" { "Note one by its address" }
        }
    };
    let main = html! {
        div.stack {
            @if cards.is_empty() {
                (parts::empty("No other instance is known here", "A peer is an instance of somebody whom you trust. It keeps copies of what you let it have, and \
                    can take over if this machine is gone. Invite one, and send the line to its admin; or join with the line that they sent you.", &next))
            } @else {
                (next)
                section.cards aria-label="Peers" { @for card in &cards { (card) } }
            }
        }
    };
    Page::new("Peers", Here::Peers).show(&plane, &viewer, main).await
}

fn card(peer: &PeerView, lag: Option<Lag>, now: Timestamp) -> Markup {
    let (light, words) = state(peer);
    html! {
        article.card {
            div.head { h2 { a href=(path(peer)) { (shown(&peer.name)) } } }
            p { (parts::light(light, &words)) }
            (parts::facts(&how(peer, lag, now)))
            (fingerprint(&peer.fingerprint))
        }
    }
}

/// How it is with a peer, in short.
pub(super) fn how(peer: &PeerView, lag: Option<Lag>, now: Timestamp) -> Vec<(&'static str, Markup)> {
    vec![
        ("May have here", html! { (peer.rights_in_words.as_deref().unwrap_or("nothing")) }),
        (
            "To pull",
            html! {
                @match lag { Some(lag) => (lag.in_words(peer.bytes_per_second)), None => { span.soft { "it is not followed" } } }
            },
        ),
        (
            "Speed",
            html! {
                @match peer.bytes_per_second { Some(rate) => { (bytes(rate)) " a second" }, None => { span.soft { "nothing was fetched lately" } } }
            },
        ),
        ("Last contact", parts::moment_or(peer.last_contact_at, now, "never")),
        ("Reached", html! { (reached(peer, now)) }),
    ]
}

/// Whether it can be reached.
fn reached(peer: &PeerView, now: Timestamp) -> Markup {
    let next = |at: Option<Timestamp>| html! { @if let Some(at) = at.filter(|at| *at > now) { "; the next try " (parts::moment(at, now)) } };
    html! {
        @match &peer.following {
            _ if !peer.has_address => { "it calls us: its address is not known" }
            Some(one) if one.busy => { "yes: something is fetched now" }
            Some(one) if one.failures > 0 => {
                "not at the last " (count(one.failures.into(), "try")) (next(one.next_at))
            }
            Some(one) if one.listening => { "yes: it tells at once when there is news" }
            Some(one) if one.last_at.is_some() => { "yes" (next(one.next_at)) }
            Some(_) => { "not tried yet" }
            None if peer.follow => { "not tried yet" }
            None => { span.soft { "it is not called" } }
        }
        @if let Some(ms) = peer.latency_ms { ", answers in " (ms) " ms" }
    }
}

/// What it is, and how well.
pub(super) fn state(peer: &PeerView) -> (Light, String) {
    match peer.state.as_str() {
        "pending" => (Light::Care, "Waits for you: compare the eight words with its admin".to_owned()),
        "revoked" => (Light::Unknown, "Shut out".to_owned()),
        _ => match &peer.last_error {
            Some(error) => (Light::Care, format!("Trusted; the last time failed: {}", shown(error))),
            None => (Light::Good, "Trusted".to_owned()),
        },
    }
}

/// The eight words.
pub(super) fn fingerprint(words: &str) -> Markup {
    html! { ul.words aria-label="Fingerprint" { @for word in words.split(' ') { li { (word) } } } }
}

/// What was typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Noted {
    url: String,
    name: String,
}

/// Asks for an address.
pub(super) async fn new(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    asked(&plane, &viewer, &Noted::default(), None).await
}

/// Notes a peer.
pub(super) async fn add(State(plane): State<AdminPlane>, posted: Posted<Noted>) -> Result<Response, Amiss> {
    let Posted { session, form } = posted;
    let name = form.name.trim();
    let name = (!name.is_empty()).then(|| name.to_owned());
    let added = match (form.url.trim().parse::<PeerAddress>(), &name) {
        (Err(error), _) => Err(Wrong::at("url", error.to_string())),
        (_, Some(name)) if !is_plain_name(name) => {
            Err(Wrong::at("name", "a name has 1 to 64 letters, digits, '-', '_' and '.'"))
        }
        (Ok(_), _) => {
            let add = AddPeer { url: form.url.trim().to_owned(), name: name.clone() };
            match plane.add_peer(add, &session.caller()).await {
                Ok(peer) => return Ok(see_other(&path(&peer))),
                Err(problem) => Err(Wrong::told(problem)?.of("url")),
            }
        }
    };
    let wrong = added.map_or_else(|wrong| wrong, |()| Wrong::at("url", "it is not known"));
    let page = asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?;
    Ok(wrong.answer(page))
}

async fn asked(plane: &AdminPlane, viewer: &Viewer, typed: &Noted, wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let main = html! {
        div.stack {
            p.lead { "Its admin finds the address with the command below. It is noted as pending: neither side gets anything before you have compared the words." }
            (parts::command("bulbil status --show-address"))
            (wrong_of_all(wrong))
            form.card method="post" action="/new/peer" {
                (parts::csrf(viewer))
                (Field { name: "url", label: "Address", hint: "For instance http://….onion", value: &typed.url, wrong: wrong_at(wrong, "url") }.line())
                (Field { name: "name", label: "Name", hint: "What it is called here. Empty: what it calls itself.", value: &typed.name, wrong: wrong_at(wrong, "name") }.line())
                div.actions { button.button type="submit" { "Call it, and note it" } a.button.quiet href="/peers" { "Back" } }
            }
        }
    };
    Page::new("A peer by its address", Here::Peers).below("/peers", "Peers").show(plane, viewer, main).await
}

/// A button below a peer.
pub(super) fn button(viewer: &Viewer, peer: &PeerView, what: &str, label: &str, weight: Weight) -> Markup {
    parts::button(viewer, &format!("{}/{what}", path(peer)), &[], label, weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_pulled_is_said_in_words() {
        let lag = Lag { snapshots: 3, bytes: 120_000_000 };
        assert_eq!(lag.in_words(Some(1_000_000)), "3 snapshots to pull, about 2 minutes");
        assert_eq!(lag.in_words(None), "3 snapshots to pull, 120.0 MB");
        assert_eq!(Lag::default().in_words(Some(5)), "nothing: all that it told of is here");
    }
}
