//! `/keys/onion`: the keys of this instance's addresses.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::{Field, Nothing};
use super::layout::{Here, Page};
use super::parts::{self, Weight};
use super::rotate;
use super::typed::{Wrong, one_of, tick, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::admin::{AdminPlane, ImportOnion, ImportedView, Service};
use crate::http::hidden::Hidden;

/// A key that is to be taken over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    service: Option<Service>,
    secret_key: Hidden,
    replace: Option<String>,
    stop_runs: Option<String>,
}

/// What can be done with them.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
) -> Result<Response, Amiss> {
    Ok(shown(&plane, &Viewer::from(session), &Typed::default(), None).await?.into_response())
}

/// Takes a key over.
pub(super) async fn import(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let (replace, stop_runs) = (form.replace.is_some(), form.stop_runs.is_some());
    let wrong = match form.service {
        None => Wrong::at("service", "choose one"),
        Some(_) if form.secret_key.trim().is_empty() => Wrong::at("secret_key", "paste what the command prints"),
        Some(service) => {
            let import = ImportOnion { secret_key: form.secret_key, replace, stop_runs };
            match plane.import_onion(service, &import, session.caller().who()).await {
                Ok(ImportedView { restart: Some(_), .. }) => {
                    return rotate::starting(&plane, &Viewer::from(session), "The key of the address is replaced")
                        .await;
                }
                Ok(_) => return Ok(see_other("/keys?done=onion")),
                Err(problem) => Wrong::told(problem)?,
            }
        }
    };
    let typed = Typed { service: form.service, replace: form.replace, stop_runs: form.stop_runs, ..Typed::default() };
    Ok(wrong.answer(shown(&plane, &Viewer::from(session), &typed, Some(&wrong)).await?))
}

async fn shown(plane: &AdminPlane, viewer: &Viewer, typed: &Typed, wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let main = html! {
        div.stack {
            p.lead {
                "This instance has an onion address for peers, and one for its admin. Each is a key: whoever has the key is at that address. \
                 A copy lets you move an address to another machine, or to a tor that runs already."
            }
            (wrong_of_all(wrong))
            p {
                "What is downloaded here is not sealed: a tar archive with the folder that C tor calls HiddenServiceDir. Unpack it where only you \
                 can read it, and remove the download. Two programs must not be at one address at a time."
            }
            (export(viewer, Service::Peer, "The address for peers", "Download the key for peers", "Whoever has this key can answer your peers \
                in this instance's place. They notice, since answers are signed with another key, but they do not reach you."))
            (export(viewer, Service::Admin, "The address for the admin", "Download the key for the admin", "Whoever has this key can show you a \
                login page of their own at your address, and read the password that you type there."))
            (take_over(viewer, typed, wrong))
            p.soft { "The addresses themselves stand under " a href="/settings/addresses" { "Settings" } "." }
        }
    };
    Page::new("Keys of onion addresses", Here::Keys).below("/keys", "Keys and recovery").show(plane, viewer, main).await
}

fn take_over(viewer: &Viewer, typed: &Typed, wrong: Option<&Wrong>) -> Markup {
    let service =
        |service: Service, words: &str| (service.word().to_owned(), words.to_owned(), typed.service == Some(service));
    let services = [service(Service::Peer, "Peers"), service(Service::Admin, "The admin")];
    html! {
        section.card {
            h2 { "Take over an address" }
            p { "Of an onion service of C tor, or of another home that gave its key out. Stop whatever is at that address now. This prints the key as text:" }
            (parts::command("base64 -w0 hs_ed25519_secret_key"))
            form.stack method="post" action="/keys/onion" {
                (parts::csrf(viewer))
                input type="hidden" name="back" value="/keys/onion";
                (one_of("service", "For whom", &services, wrong_at(wrong, "service")))
                (Field {
                    name: "secret_key",
                    label: "The key",
                    hint: "128 characters of base64.",
                    value: "",
                    wrong: wrong_at(wrong, "secret_key"),
                }.secret())
                (tick("replace", "Give up the address that this instance has now. Peers that know it look for it there.", typed.replace.is_some()))
                (tick("stop_runs", "Stop what goes on now; otherwise nothing is done meanwhile", typed.stop_runs.is_some()))
                p.soft { "A server that is at the address of before ends in order, and starts again at the new one. You have to log in again then." }
                div.actions { button.button.danger type="submit" { "Take this address over" } a.button.quiet href="/keys" { "Back" } }
            }
        }
    }
}

fn export(viewer: &Viewer, service: Service, title: &str, label: &str, danger: &str) -> Markup {
    let action = format!("/keys/onion/{}/export", service.word());
    html! {
        section.card {
            h2 { (title) }
            p { (danger) }
            div.actions { (parts::button(viewer, &action, &[("back", "/keys/onion")], label, Weight::Danger)) }
        }
    }
}

/// Gives the key out.
pub(super) async fn download(
    State(plane): State<AdminPlane>,
    Path(service): Path<Service>,
    posted: FreshPosted<Nothing>,
) -> Result<Response, Amiss> {
    Ok(plane.export_onion(service, &posted.session.caller()).await?)
}
