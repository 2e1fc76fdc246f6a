//! `/collections/{name}/secrets`: what the application needs and does not keep in its data. No value stands here.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::typed::{Wrong, done, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::backup::secrets::ranges;
use crate::domain::peer::is_plain_name;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::{query_value, see_other};
use crate::http::admin::view::secret::{SecretState, SecretView};
use crate::store::index::Collection;

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
}

/// Where one is kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    secret: String,
    /// It is not kept elsewhere any more.
    undo: String,
}

/// The path of the page.
pub(super) fn place(collection: &str) -> String {
    format!("/collections/{collection}/secrets")
}

/// A collection by its name.
pub(super) async fn known(plane: &AdminPlane, name: &str) -> Result<Collection, Amiss> {
    plane.store().index.collection_named(name).await?.ok_or_else(Amiss::not_found)
}

/// All of a collection.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Amiss> {
    let said = asked.done.as_deref().and_then(|what| match what {
        "add" => Some("It is kept: sealed for this instance and for the recovery key. Print the recovery sheet anew, so that it stands there, too."),
        "known" => Some("It is the very value that is in use already: nothing was changed."),
        "remove" => Some("It is kept here no more. Portable backups and recovery sheets of before still have it."),
        "elsewhere" => Some("You keep it elsewhere. No backup stores it, and nobody is reminded of it."),
        "undo" => Some("The next backup stores it, if it finds it beside the data."),
        _ => None,
    });
    let collection = known(&plane, &name).await?;
    shown(&plane, &viewer, &collection, said, &Typed::default(), None).await
}

/// Says that one is kept elsewhere, or is not any more.
pub(super) async fn elsewhere(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Typed>,
) -> Result<Response, Amiss> {
    let Posted { session, form } = posted;
    let (collection, is_elsewhere) = (known(&plane, &name).await?, form.undo.is_empty());
    let wrong = match form.secret.trim() {
        secret if is_plain_name(secret) => {
            match plane.secret_elsewhere(&name, secret, is_elsewhere, session.caller().who()).await {
                Ok(_) => {
                    let what = if is_elsewhere { "elsewhere" } else { "undo" };
                    return Ok(see_other(&format!("{}?done={what}", place(&name))));
                }
                Err(problem) => Wrong::told(problem)?,
            }
        }
        _ => Wrong::at("secret", "a name has 1 to 64 letters, digits, '-', '_' and '.'"),
    };
    let viewer = session.into();
    Ok(wrong.answer(shown(&plane, &viewer, &collection, None, &form, Some(&wrong)).await?))
}

async fn shown(
    plane: &AdminPlane,
    viewer: &Viewer,
    collection: &Collection,
    said: Option<&str>,
    typed: &Typed,
    wrong: Option<&Wrong>,
) -> Result<Markup, Amiss> {
    let (secrets, now) = (plane.secrets(collection).await?, plane.now());
    let (name, own) = (collection.name.as_str(), collection.settings.is_some());
    let of = Of { name, own, viewer, now };
    let rows: Vec<Vec<Markup>> =
        secrets.iter().filter(|one| one.state != SecretState::Missing).map(|one| of.row(one)).collect();
    let main = html! {
        div.stack {
            @if let Some(said) = said { (done(said)) }
            (wrong_of_all(wrong))
            p.lead {
                "What the application of " a href={ "/collections/" (name) } { (name) } " needs and does not keep in its data: a password, a pepper, a key file. "
                "It is kept apart from the data, sealed for this instance and for the recovery key; no peer and no target gets it."
            }
            @for one in secrets.iter().filter(|one| one.state == SecretState::Missing) { (of.missing(one)) }
            @if !own {
                p { "Another instance leads this collection: its secrets are stored there. What came from there with a portable backup is listed here." }
            }
            @if rows.is_empty() {
                @if own {
                    @if secrets.is_empty() { (of.none_yet()) }
                    @else { div.actions { a.button.quiet href={ (place(name)) "/new" } { "Keep another secret" } } }
                }
            } @else {
                section.card {
                    h2 { "Kept secrets" }
                    (parts::table_below_heading("Kept secrets", &["Name", "How it stands", "Since", "Belongs to snapshots", "Action"], &rows))
                    @if own { div.actions { a.button href={ (place(name)) "/new" } { "Keep a secret" } } }
                    @if secrets.iter().any(|one| one.state == SecretState::Sealed) {
                        p { "What came from elsewhere is opened by the recovery key of whoever stored it, on the machine:" }
                        (parts::command(&format!("bulbil secret show {name} NAME --recovery-key-file key.txt")))
                    }
                }
            }
            @if own { (of.elsewhere(typed, wrong)) }
        }
    };
    let page = Page::new(format!("Secrets of {name}"), Here::Keys).below("/keys", "Keys and recovery");
    page.show(plane, viewer, main).await
}

/// Whose they are, and who looks.
struct Of<'a> {
    name: &'a str,
    own: bool,
    viewer: &'a Viewer,
    now: Timestamp,
}

impl Of<'_> {
    fn to(&self, what: &str) -> String {
        format!("{}/{what}", place(self.name))
    }

    fn missing(&self, one: &SecretView) -> Markup {
        let next = html! {
            a.button href={ (self.to("new")) "?secret=" (query_value(&one.name)) } { "Keep it here" }
            (parts::button(self.viewer, &self.to("elsewhere"), &[("secret", &one.name)], "I keep it elsewhere", Weight::Quiet))
        };
        let reason = one.reason.as_deref().unwrap_or_default();
        let message = format!("{reason}. Without it the data is of little use after a restore");
        parts::trouble(Light::Bad, &format!("{} is kept nowhere", one.name), &format!("{message}."), Some(&next))
    }

    fn none_yet(&self) -> Markup {
        let next = html! { div.actions { a.button href=(self.to("new")) { "Keep a secret" } } };
        let text = "A backup by a preset keeps what it finds beside the data. What it cannot find, for instance because it comes from the environment, you can give here.";
        parts::empty("No secret is kept", text, &next)
    }

    fn row(&self, one: &SecretView) -> Vec<Markup> {
        let (light, words) = match one.state {
            SecretState::InUse => (Light::Good, "in use"),
            SecretState::Earlier => (Light::Unknown, "earlier"),
            SecretState::Sealed => (Light::Care, "from elsewhere: its recovery key opens it"),
            SecretState::Elsewhere => (Light::Unknown, "kept elsewhere"),
            SecretState::Missing => (Light::Bad, "kept nowhere"),
        };
        vec![
            html! {
                span.path { (one.name) }
                @if let Some(fingerprint) = &one.fingerprint { br; span.small.soft { "fingerprint " code { (short(fingerprint)) } } }
            },
            parts::light(light, words),
            parts::moment_or(one.since_at, self.now, ""),
            html! { @if one.snapshots.is_empty() { span.soft { "none" } } @else { (ranges(&one.snapshots)) } },
            self.actions(one),
        ]
    }

    fn actions(&self, one: &SecretView) -> Markup {
        let fingerprint = one.fingerprint.as_deref().unwrap_or_default();
        let which = [("secret", one.name.as_str()), ("fingerprint", fingerprint), ("back", &place(self.name))];
        html! {
            @match one.state {
                SecretState::InUse | SecretState::Earlier => {
                    div.actions {
                        (parts::button(self.viewer, &self.to("show"), &which, "Show", Weight::Quiet))
                        @if self.own {
                            a.button.quiet href={ (self.to("remove")) "?secret=" (query_value(&one.name)) "&fingerprint=" (fingerprint) } { "Remove…" }
                        }
                    }
                }
                SecretState::Elsewhere if self.own => {
                    (parts::button(self.viewer, &self.to("elsewhere"), &[("secret", &one.name), ("undo", "yes")], "Not any more", Weight::Quiet))
                }
                _ => {}
            }
        }
    }

    fn elsewhere(&self, typed: &Typed, wrong: Option<&Wrong>) -> Markup {
        html! {
            section.card {
                h2 { "Kept elsewhere" }
                p {
                    "If two keepers shall be needed, one for the data and one for its key, keep the key elsewhere: in a password manager, on paper. No backup stores it \
                     then, and nobody is reminded of it. What is stored of it already stays until it is removed."
                }
                form method="post" action=(self.to("elsewhere")) {
                    (parts::csrf(self.viewer))
                    (Field { name: "secret", label: "Name", hint: "The variable, or the file, as the application calls it.", value: &typed.secret, wrong: wrong_at(wrong, "secret") }.line())
                    div.actions { button.button.quiet type="submit" { "I keep it elsewhere" } }
                }
            }
        }
    }
}

/// The first eight digits of a fingerprint.
pub(super) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..8).unwrap_or(fingerprint)
}
