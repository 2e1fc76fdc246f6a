//! One secret of a collection: `…/secrets/show`, `…/secrets/download`, `…/secrets/remove`. A value is shown to whoever just typed the
//! password, and each time that is on record.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::secrets::{known, place, short};
use super::typed::{Wrong, tick, wrong_of_all};
use super::{Amiss, Viewer};
use crate::backup::secrets::{own, ranges};
use crate::domain::escrow::SecretForm;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession, Session};
use crate::http::admin::view::secret::{RevealedSecret, SecretState, SecretView};
use crate::http::problem::Problem;
use crate::store::index::Collection;

/// Which one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    secret: String,
    /// The whole of it.
    fingerprint: String,
    /// Also if snapshots need it.
    force: String,
}

/// Opens it; that is on record.
async fn opened(
    plane: &AdminPlane,
    collection: &str,
    which: &Which,
    session: &Session,
) -> Result<RevealedSecret, Amiss> {
    let fingerprint = Some(which.fingerprint.as_str()).filter(|digits| !digits.is_empty());
    Ok(plane.reveal_secret(collection, (&which.secret, fingerprint), session.caller().who()).await?)
}

/// Its value, as a page.
pub(super) async fn show(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Which>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let revealed = opened(&plane, &name, &form, &session).await?;
    let page = value(&plane, &Viewer::from(session), &revealed).await?;
    Ok(([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], page).into_response())
}

/// Its value, as a file.
pub(super) async fn download(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Which>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let revealed = opened(&plane, &name, &form, &session).await?;
    // An empty file would pass for the secret.
    let bytes = revealed.bytes().ok_or_else(|| Problem::internal(&std::io::Error::other("a value is no base64")))?;
    let disposition = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{}", revealed.name));
    let disposition = disposition.expect("a plain name has only letters, digits, '-', '_' and '.'");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, bytes.to_vec()).into_response())
}

async fn value(plane: &AdminPlane, viewer: &Viewer, revealed: &RevealedSecret) -> Result<Markup, Amiss> {
    let (collection, now) = (revealed.collection.as_str(), plane.now());
    let to = |what: &str| format!("{}/{what}", place(collection));
    let (list, is_file) = (place(collection), revealed.form == SecretForm::File);
    let which = [("secret", revealed.name.as_str()), ("fingerprint", &revealed.fingerprint), ("back", &list)];
    let main = html! {
        div.stack {
            p.lead { "That you looked at it is on record. Leave this page when you have what you need: whoever sees the screen can read it." }
            section.card {
                h2 { "Value" }
                @match &revealed.value {
                    Some(text) if is_file => { pre.text tabindex="0" { code { (&**text) } } }
                    Some(text) => { (parts::command(text)) }
                    None => { p { "It is no text. As a download it is the very file." } }
                }
                div.actions {
                    @if is_file || revealed.value.is_none() {
                        (parts::button(viewer, &to("download"), &which, "Download the file", Weight::First))
                    }
                    a.button.quiet href=(list) { "Back to the secrets" }
                }
            }
            section.card {
                h2 { "About it" }
                (parts::facts(&[
                    ("Collection", html! { a href={ "/collections/" (collection) } { (collection) } }),
                    ("In the application", html! { @if is_file { "a whole file" } @else { "the value of a variable" } }),
                    ("Fingerprint", html! { code { (short(&revealed.fingerprint)) } }),
                    ("Since", html! { (parts::moment(revealed.since_at, now)) span.soft { ", " (parts::exact(revealed.since_at)) } }),
                ]))
            }
        }
    };
    below(collection, revealed.name.clone()).show(plane, viewer, main).await
}

fn below(collection: &str, title: String) -> Page {
    Page::new(title, Here::Keys)
        .below("/keys", "Keys and recovery")
        .below(place(collection), format!("Secrets of {collection}"))
}

/// Asks whether it is to be forgotten.
pub(super) async fn ask_remove(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Amiss> {
    let (collection, view) = stored(&plane, &name, &which).await?;
    Ok(asked(&plane, &Viewer::from(session), &collection, &view, None).await?.into_response())
}

/// Forgets it.
pub(super) async fn remove(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Which>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let (collection, view) = stored(&plane, &name, &form).await?;
    let (which, force) = ((form.secret.as_str(), Some(form.fingerprint.as_str())), !form.force.is_empty());
    match plane.remove_secret(&name, which, force, session.caller().who()).await {
        Ok(_) => Ok(see_other(&format!("{}?done=remove", place(&name)))),
        Err(problem) if problem.code() == "needed" => {
            let why =
                Problem::conflict("needed", "Snapshots need it: tick the box if it shall be removed all the same");
            let wrong = Wrong::told(why)?;
            Ok(wrong.answer(asked(&plane, &Viewer::from(session), &collection, &view, Some(&wrong)).await?))
        }
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let wrong = Wrong::told(problem)?;
            Ok(wrong.answer(asked(&plane, &Viewer::from(session), &collection, &view, Some(&wrong)).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// One that is stored here.
async fn stored(plane: &AdminPlane, name: &str, which: &Which) -> Result<(Collection, SecretView), Amiss> {
    let collection = known(plane, name).await?;
    own(&collection).map_err(Problem::from)?;
    let is_it = |one: &SecretView| {
        let stored = matches!(one.state, SecretState::InUse | SecretState::Earlier);
        stored && one.name == which.secret && one.fingerprint.as_deref() == Some(which.fingerprint.as_str())
    };
    let view = plane.secrets(&collection).await?.into_iter().find(is_it).ok_or_else(Amiss::not_found)?;
    Ok((collection, view))
}

async fn asked(
    plane: &AdminPlane,
    viewer: &Viewer,
    collection: &Collection,
    view: &SecretView,
    wrong: Option<&Wrong>,
) -> Result<Markup, Amiss> {
    let (list, fingerprint) = (place(&collection.name), view.fingerprint.as_deref().unwrap_or_default());
    let which = match view.state {
        SecretState::InUse => "the one in use",
        _ => "an earlier one",
    };
    let main = html! {
        div.stack {
            (wrong_of_all(wrong))
            p.lead {
                "This forgets the value with the fingerprint " code { (short(fingerprint)) } ", " (which)
                " of " (view.name) ". It cannot be brought back from here."
            }
            @if view.snapshots.is_empty() {
                p { "No snapshot is known to need it." }
            } @else {
                @let words = format!("It belongs to {} of {}", numbered(&view.snapshots), collection.name);
                (parts::trouble(Light::Bad, &words, "what is sealed with it there will open no more, also after a restore. Remove it only if you keep the value elsewhere.", None))
            }
            @if view.state == SecretState::InUse {
                p { "If the next backup finds it beside the data it is kept again, unless you say that you keep it elsewhere." }
            }
            form method="post" action={ (list) "/remove" } {
                (parts::csrf(viewer))
                input type="hidden" name="back" value=(list);
                input type="hidden" name="secret" value=(view.name);
                input type="hidden" name="fingerprint" value=(fingerprint);
                @if !view.snapshots.is_empty() { (tick("force", "Remove it all the same", false)) }
                div.actions {
                    button.button.danger type="submit" { "Remove it" }
                    a.button.quiet href=(list) { "Leave it as it is" }
                }
            }
        }
    };
    below(&collection.name, format!("Remove {}?", view.name)).show(plane, viewer, main).await
}

fn numbered(numbers: &[u64]) -> String {
    let word = if numbers.len() == 1 { "snapshot" } else { "snapshots" };
    format!("{word} {}", ranges(numbers))
}
