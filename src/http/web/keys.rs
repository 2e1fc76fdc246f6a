//! `GET /keys`: what must not be lost, and how to come back without this machine. No key and no secret stands here.

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::typed::done;
use super::{Amiss, Viewer, care};
use crate::http::admin::AdminPlane;
use crate::http::admin::view::keys::{CollectionSecrets, keys};
use crate::http::problem::Problem;

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
}

/// What must not be lost.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Amiss> {
    let keys = keys(plane.store()).await.map_err(|error| Problem::internal(&error))?;
    let without = care::keys(&plane, &viewer).await?;
    let main = html! {
        div.stack {
            @if asked.done.as_deref() == Some("onion") { (done("The key of the address is taken over.")) }
            p.lead { "If this machine is gone, the recovery key opens what is left of it: an old disk, a copy at a target, or a mirror at a peer." }
            section.card {
                h2 { "Recovery key" }
                p {
                    "It was shown once, when this instance was made, and is stored nowhere here. Its name begins with "
                    code { (keys.recovery_key_id) } "; the same stands on the recovery sheet."
                }
                p { "A sheet for paper says what to do, and has the secrets of your applications, sealed. Print it anew when something of that changes." }
                div.actions { a.button href="/keys/sheet" { "Print the recovery sheet" } }
                p { "Whether the key that you kept is the right one shows when it is put on the sheet, or when it opens something:" }
                (parts::command("bulbil rescue /path/to/home-or-copy --recovery-key-file key.txt --target ./tried"))
            }
            section.card {
                h2 { "Secrets of applications" }
                @if keys.secrets.is_empty() {
                    p { "No collection here needs a secret that is not in its data, as far as is known. An application whose data is sealed \
                         with a key of its own needs that key at a restore, too. This keeps one, sealed for the recovery key:" }
                    (parts::command("bulbil secret add COLLECTION NAME"))
                } @else {
                    @for of in &keys.secrets { (secrets(of)) }
                }
            }
            (without)
            section.card {
                h2 { "This instance" }
                (parts::facts(&[
                    ("Name", html! { (keys.name) }),
                    ("Fingerprint", html! { ul.words { @for word in &keys.fingerprint { li { (word) } } } }),
                    ("Id", html! { code { (keys.instance) } }),
                    ("Key", html! { "version " (keys.key_version) ", in " code { (keys.folder) } }),
                ]))
                p.soft { "Compare the eight words with the other side over the telephone when you let somebody in." }
                div.actions {
                    a.button.quiet href="/keys/rotate" { "Replace keys" }
                    a.button.quiet href="/keys/onion" { "Keys of onion addresses" }
                }
            }
        }
    };
    Page::new("Keys and recovery", Here::Keys).show(&plane, &viewer, main).await
}

fn secrets(of: &CollectionSecrets) -> Markup {
    html! {
        h3 { (of.collection) }
        @for missing in &of.missing { (parts::trouble(Light::Bad, "A secret is kept nowhere", missing, None)) }
        (parts::facts(&[
            ("Kept here", html! { @if of.kept.is_empty() { "none" } @else { (of.kept.join(", ")) } }),
            ("Kept elsewhere", html! { @if of.elsewhere.is_empty() { "none" } @else { (of.elsewhere.join(", ")) } }),
        ]))
    }
}
