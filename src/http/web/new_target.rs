//! `/new/target`: a place that copies go to is named.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts;
use super::typed::{Wrong, boxes, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::admin::{AddTarget, AdminPlane, Credentials, TargetField};

/// What was typed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    name: String,
    location: String,
    endpoint: String,
    region: String,
    access_key_id: String,
    /// Never shown again.
    secret_access_key: String,
    collections: Vec<String>,
}

/// The form.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
) -> Result<Response, Amiss> {
    Ok(asked(&plane, &Viewer::from(session), &Typed::default(), None).await?.into_response())
}

/// Names it; what is wrong is said beside what was typed.
pub(super) async fn post(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let wrong = match plane.add_target(wanted(&form), session.caller().who()).await {
        Ok((target, _)) => return Ok(see_other(&format!("/targets/{}?done=add", target.name))),
        Err(refused) => {
            let wrong = Wrong::told(refused.problem)?;
            match refused.field {
                Some(field) => wrong.of(field_name(field)),
                None => wrong,
            }
        }
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?))
}

fn wanted(typed: &Typed) -> AddTarget {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let key = given(&typed.access_key_id).or_else(|| given(&typed.secret_access_key));
    AddTarget {
        name: typed.name.trim().to_owned(),
        location: typed.location.trim().to_owned(),
        endpoint: given(&typed.endpoint),
        region: given(&typed.region),
        credentials: key.map(|_| Credentials {
            access_key_id: typed.access_key_id.trim().to_owned(),
            secret_access_key: typed.secret_access_key.trim().to_owned(),
            session_token: None,
        }),
        collections: typed.collections.clone(),
    }
}

fn field_name(field: TargetField) -> &'static str {
    match field {
        TargetField::Name => "name",
        TargetField::Location => "location",
        TargetField::Key => "access_key_id",
        TargetField::Collections => "collections",
    }
}

async fn asked(plane: &AdminPlane, viewer: &Viewer, typed: &Typed, wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let names = plane.store().index.collections().await?.into_iter().map(|one| one.name);
    let collections: Vec<_> =
        names.map(|name| (name.clone(), name.clone(), typed.collections.contains(&name))).collect();
    let main = html! {
        div.stack {
            p.lead { "A target is a place that snapshots are copied to: another disk, a mounted share, or a bucket. What goes there is sealed." }
            (wrong_of_all(wrong))
            form.card method="post" action="/new/target" {
                (parts::csrf(viewer))
                input type="hidden" name="back" value="/new/target";
                (Field { name: "name", label: "Name", hint: "How you call it: letters, digits, '-', '_' and '.', for example nas.", value: &typed.name, wrong: wrong_at(wrong, "name") }.line())
                (Field {
                    name: "location",
                    label: "Place",
                    hint: "An empty folder on the machine that this server runs on, for example /mnt/nas/bulbil; or a bucket, for example s3://backups/alpha. \
                        The folder has to be there: where a disk is not mounted none is made.",
                    value: &typed.location,
                    wrong: wrong_at(wrong, "location"),
                }.line())
                fieldset {
                    legend { "Only for a bucket" }
                    (Field { name: "endpoint", label: "Endpoint", hint: "Where the object store answers, for example https://s3.example.org. Empty: that of AWS.", value: &typed.endpoint, wrong: None }.line())
                    (Field { name: "region", label: "Region", hint: "Empty: us-east-1.", value: &typed.region, wrong: None }.line())
                    (Field { name: "access_key_id", label: "Key id", hint: "The access key that the store gave you. One that may list, read, write and delete in this bucket, and nothing else, is best.", value: &typed.access_key_id, wrong: wrong_at(wrong, "access_key_id") }.line())
                    (Field { name: "secret_access_key", label: "Secret key", hint: "It is kept sealed under the keys of this home, and shown by nothing. If something is wrong here, type it again.", value: "", wrong: None }.secret())
                }
                @if !collections.is_empty() {
                    (boxes("collections", "Collections (none ticked: all)", &collections, wrong_at(wrong, "collections")))
                }
                div.actions {
                    button.button type="submit" { "Add the target" }
                    a.button.quiet href="/targets" { "Back" }
                }
            }
            p.small.soft { "Its disk, or its bucket, is looked at now. Nothing is copied yet: the next page has the button for it." }
        }
    };
    Page::new("Add a target", Here::Targets).below("/targets", "Targets").show(plane, viewer, main).await
}
