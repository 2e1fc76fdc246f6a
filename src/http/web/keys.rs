//! `GET /keys`: what must not be lost, and how to come back without this machine. No key and no secret stands here.

use axum::extract::{Query, State};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::secrets::place;
use super::typed::done;
use super::{Amiss, Viewer, care};
use crate::http::admin::AdminPlane;
use crate::http::admin::view::keys::KeysView;
use crate::http::admin::view::secret::{SecretState, SecretView};
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
    let keys = KeysView::of(plane.store(), Vec::new());
    let rows = rows(&plane).await?;
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
                p {
                    "An application whose data is sealed with a key of its own needs that key at a restore, too. What a backup finds of it is kept here, \
                     sealed for the recovery key and apart from the data; what it does not find you can give."
                }
                @if rows.is_empty() {
                    p { "There is no collection yet whose application could have any. " a href="/new/collection" { "Add a collection" } }
                } @else {
                    (parts::table_below_heading("Secrets of each collection", &["Collection", "Kept here", "Kept elsewhere", "Kept nowhere"], &rows))
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

/// Each collection that is led here, and those of others of which secrets came along.
async fn rows(plane: &AdminPlane) -> Result<Vec<Vec<Markup>>, Problem> {
    let mut rows = Vec::new();
    for collection in plane.store().index.collections().await? {
        let secrets = match plane.secrets(&collection).await {
            Ok(secrets) => secrets,
            Err(problem) if problem.status() == StatusCode::CONFLICT => {
                let wrong =
                    html! { (parts::light(Light::Bad, "cannot be read")) " " span.small { (problem.reason()) } };
                rows.push(vec![html! { (collection.name) }, wrong, html! {}, html! {}]);
                continue;
            }
            Err(problem) => return Err(problem),
        };
        if collection.settings.is_none() && secrets.is_empty() {
            continue;
        }
        rows.push(vec![
            html! { a href=(place(&collection.name)) { (collection.name) } },
            names(&secrets, |state| matches!(state, SecretState::InUse | SecretState::Earlier | SecretState::Sealed)),
            names(&secrets, |state| state == SecretState::Elsewhere),
            missing(&secrets),
        ]);
    }
    Ok(rows)
}

/// Those that are asked for and not there.
fn missing(secrets: &[SecretView]) -> Markup {
    let mut missing = secrets.iter().filter(|one| one.state == SecretState::Missing).peekable();
    html! {
        @if missing.peek().is_none() { span.soft { "nothing is missing" } }
        @for one in missing { (parts::light(Light::Bad, &one.name)) " " }
    }
}

/// Their names, each once.
fn names(secrets: &[SecretView], of: impl Fn(SecretState) -> bool) -> Markup {
    let mut names: Vec<&str> = secrets.iter().filter(|one| of(one.state)).map(|one| one.name.as_str()).collect();
    names.dedup();
    html! { @if names.is_empty() { span.soft { "none" } } @else { (names.join(", ")) } }
}
