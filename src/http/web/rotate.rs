//! `/keys/rotate`: other keys for this instance, and what is shown while the server starts again.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Here, Page};
use super::parts;
use super::typed::{Wrong, boxes, tick, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::admin::{AdminPlane, NewRotation, ReplaceableKey};

/// Where the browser goes by itself, after so many seconds.
const THEN: (HeaderName, HeaderValue) = (HeaderName::from_static("refresh"), HeaderValue::from_static("10; url=/keys"));

/// What was ticked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    keys: BTreeSet<ReplaceableKey>,
    stop_runs: Option<String>,
}

/// Asks which.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
) -> Result<Response, Amiss> {
    Ok(asked(&plane, &Viewer::from(session), &Typed::default(), None).await?.into_response())
}

/// Has the server do it.
pub(super) async fn replace(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let wrong = if form.keys.is_empty() {
        Wrong::at("keys", "tick at least one")
    } else {
        let new = NewRotation { keys: form.keys.clone(), stop_runs: form.stop_runs.is_some() };
        match plane.rotate(&new, session.caller().who()).await {
            Ok(_) => return starting(&plane, &Viewer::from(session), "The key is replaced").await,
            Err(problem) => Wrong::told(problem)?,
        }
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?))
}

async fn asked(plane: &AdminPlane, viewer: &Viewer, typed: &Typed, wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let key = |value: &str, words: &str, key| (value.to_owned(), words.to_owned(), typed.keys.contains(&key));
    let keys = [
        key(
            "envelope",
            "The key for which peers seal. They are shown the new one with their next sync; nothing else changes for anybody.",
            ReplaceableKey::Envelope,
        ),
        key(
            "identity",
            "The key that signs. This instance gets another id and other fingerprint words; trusted peers follow by themselves, since the \
             old key signs the new one. Invites that are still open lose their worth.",
            ReplaceableKey::Identity,
        ),
    ];
    let main = html! {
        div.stack {
            p.lead { "If somebody else may have seen the keys of this instance, give it other ones. Snapshots stay as they are." }
            (wrong_of_all(wrong))
            @if plane.starts_again() {
                form.card method="post" action="/keys/rotate" {
                    (parts::csrf(viewer))
                    input type="hidden" name="back" value="/keys/rotate";
                    (boxes("keys", "Which keys", &keys, wrong_at(wrong, "keys")))
                    (tick("stop_runs", "Stop what goes on now; otherwise nothing is done meanwhile", typed.stop_runs.is_some()))
                    p.soft {
                        "The server ends in order, replaces the key, and starts again: a few seconds in which nobody is answered. You have to \
                         log in again. Over Tor it takes some minutes until it is found again."
                    }
                    div.actions { button.button.danger type="submit" { "Replace, and start again" } a.button.quiet href="/keys" { "Back" } }
                }
            } @else {
                section.card {
                    p { "This server does not start again by itself. On its machine, stop it, run one of these or both, and start it:" }
                    (parts::command("bulbil rotate-key envelope"))
                    (parts::command("bulbil rotate-key identity"))
                    div.actions { a.button.quiet href="/keys" { "Back" } }
                }
            }
        }
    };
    Page::new("Replace keys", Here::Keys).below("/keys", "Keys and recovery").show(plane, viewer, main).await
}

/// What is shown while the server starts again.
pub(super) async fn starting(plane: &AdminPlane, viewer: &Viewer, what: &str) -> Result<Response, Amiss> {
    let main = html! {
        div.stack {
            p.lead { (what) " while the server rests, and it starts again at once." }
            section.card {
                p { "Wait some seconds. This page then goes on by itself to the keys, where you see what came of it; log in again if you are asked." }
                p { "If nothing answers yet, wait a moment and load it again. Over Tor it takes some minutes until it is found again." }
                div.actions { a.button href="/keys" { "To the keys" } }
            }
            p.soft { "Should it be as before, the " a href="/audit" { "audit log" } " says why." }
        }
    };
    let page =
        Page::new("Starting again", Here::Keys).below("/keys", "Keys and recovery").show(plane, viewer, main).await?;
    Ok((StatusCode::ACCEPTED, [THEN], page).into_response())
}
