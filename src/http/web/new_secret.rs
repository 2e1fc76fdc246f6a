//! `/collections/{name}/secrets/new`: a secret is given, and kept.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts;
use super::secrets::{known, place};
use super::typed::{Wrong, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::backup::secrets;
use crate::domain::escrow::{MAX_SECRET_BYTES, SecretForm};
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::admin::{AdminPlane, KeepSecret, SecretField};
use crate::http::hidden::Hidden;
use crate::http::problem::Problem;
use crate::store::index::Collection;

/// What was typed. The values are never shown again.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    secret: String,
    /// One line.
    value: Hidden,
    /// Several.
    text: Hidden,
}

/// The form.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(typed): Query<Named>,
) -> Result<Response, Amiss> {
    let collection = known(&plane, &name).await?;
    secrets::own(&collection).map_err(Problem::from)?;
    Ok(asked(&plane, &Viewer::from(session), &collection, &typed.secret, None).await?.into_response())
}

/// Which one, if that is known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    secret: String,
}

/// Keeps it; what is wrong is said beside what was typed.
pub(super) async fn post(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Typed>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let collection = known(&plane, &name).await?;
    let secret = form.secret.trim().to_owned();
    let wrong = match wanted(&plane, &collection, &secret, form) {
        Err(wrong) => wrong,
        Ok(keep) => match plane.keep_secret(&name, keep, session.caller().who()).await {
            Ok(kept) => {
                let done = if kept.new { "add" } else { "known" };
                return Ok(see_other(&format!("{}?done={done}", place(&name))));
            }
            Err(refused) => {
                let wrong = Wrong::told(refused.problem)?;
                match refused.field {
                    Some(SecretField::Name) => wrong.of("secret"),
                    Some(SecretField::Value) => wrong.of("value"),
                    None => wrong,
                }
            }
        },
    };
    let page = asked(&plane, &Viewer::from(session), &collection, &secret, Some(&wrong)).await?;
    Ok(wrong.answer(page))
}

fn wanted(plane: &AdminPlane, collection: &Collection, secret: &str, typed: Typed) -> Result<KeepSecret, Wrong> {
    let name = secret.to_owned();
    match (typed.value.is_empty(), typed.text.is_empty()) {
        (true, true) => Err(Wrong::at("value", "type the value: nothing was kept")),
        (false, false) => Err(Wrong::at("value", "give the value in one of the two fields: nothing was kept")),
        (false, true) => Ok(KeepSecret { name, value: Some(typed.value), ..KeepSecret::default() }),
        (true, false) => {
            // Forms send other line ends than files of this machine have.
            let text: Hidden = typed.text.replace("\r\n", "\n").into();
            // What the preset calls a variable is one, also if it was pasted with a line end.
            let known = secrets::known_form(plane.store(), collection, secret);
            let form = Some(SecretForm::File).filter(|_| known != Some(SecretForm::Variable));
            Ok(KeepSecret { name, form, value: Some(text), ..KeepSecret::default() })
        }
    }
}

async fn asked(
    plane: &AdminPlane,
    viewer: &Viewer,
    collection: &Collection,
    secret: &str,
    wrong: Option<&Wrong>,
) -> Result<Markup, Amiss> {
    let to = format!("{}/new", place(&collection.name));
    let names: Vec<String> = secrets::known(plane.store(), collection).into_iter().map(|place| place.name).collect();
    let hint = match names.as_slice() {
        [] => "The variable, or the file, as the application calls it: letters, digits, '-', '_' and '.'.".to_owned(),
        names => {
            format!("The variable, or the file, as the application calls it. Its preset knows of {}.", names.join(", "))
        }
    };
    let main = html! {
        div.stack {
            p.lead { "The value is sealed at once, for this instance and for the recovery key. It stands in no log, and this page does not show it again." }
            (wrong_of_all(wrong))
            form.card method="post" action=(to) autocomplete="off" {
                (parts::csrf(viewer))
                input type="hidden" name="back" value=(to);
                (Field { name: "secret", label: "Name", hint: &hint, value: secret, wrong: wrong_at(wrong, "secret") }.line())
                (Field { name: "value", label: "Value", hint: "One line, as it stands after NAME= in the file of variables; without quotation marks around it. If something is wrong here, type it again.", value: "", wrong: wrong_at(wrong, "value") }.secret_of(MAX_SECRET_BYTES))
                details open[wrong.is_some()] {
                    summary { "Or the text of a whole file" }
                    (Field { name: "text", label: "Text of the file", hint: "Several lines, for instance a key file; leave the field above empty then. It can be read while it stands here.", value: "", wrong: None }.lines(8))
                    p.small.soft { "A file that is no text, or that has to stay the same to the byte, is kept by a command on the machine:" }
                    (parts::command(&format!("bulbil secret add {} NAME --from-file FILE", collection.name)))
                }
                div.actions {
                    button.button type="submit" { "Keep it" }
                    a.button.quiet href=(place(&collection.name)) { "Back" }
                }
            }
        }
    };
    let page = Page::new("Keep a secret", Here::Keys)
        .below("/keys", "Keys and recovery")
        .below(place(&collection.name), format!("Secrets of {}", collection.name));
    page.show(plane, viewer, main).await
}
