//! `GET /snapshots/{id}`: one snapshot, and what can be done with it; `POST` pins and tags it; `/snapshots/{id}/delete` deletes it.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::chart::Look;
use super::charts::look;
use super::forms::Nothing;
use super::forms::{Field, full_stop};
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight, sentence};
use super::run::not_done;
use super::{Amiss, Viewer};
use crate::domain::schedule::Work;
use crate::domain::words::{bytes, count};
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession, Posted};
use crate::http::admin::view::file;
use crate::http::admin::view::snapshot::{SnapshotView, snapshots};
use crate::http::admin::{AdminPlane, ChangeSnapshot};
use crate::http::problem::Problem;
use crate::store::index::{Collection, Snapshot};

/// A snapshot, with what pages say of where it belongs.
pub(super) struct Known {
    pub snapshot: Snapshot,
    pub view: SnapshotView,
    pub collection: Collection,
}

/// Finds it: by id, or as `tales@3`.
pub(super) async fn known(plane: &AdminPlane, id: &str) -> Result<Known, Problem> {
    let (snapshot, view) = plane.snapshot(id).await?;
    let collection = plane.store().index.collection(&snapshot.collection).await?.ok_or_else(Problem::not_found)?;
    Ok(Known { snapshot, view, collection })
}

impl Known {
    /// What people call it.
    pub fn name(&self) -> String {
        format!("{}@{}", self.collection.name, self.view.sequence)
    }

    /// The path of its page.
    pub fn path(&self) -> String {
        format!("/snapshots/{}", self.view.id)
    }

    /// Whether what is in it can be read here.
    pub fn is_readable(&self) -> bool {
        self.view.has_key
    }

    /// A page about it, or below it.
    pub fn page(&self, title: impl Into<String>) -> Page {
        let name = &self.collection.name;
        Page::new(title, Here::Overview).below("/", "Overview").below(format!("/collections/{name}"), name.clone())
    }

    /// The same, of something that is one step further.
    pub fn page_below(&self, title: impl Into<String>) -> Page {
        self.page(title).below(self.path(), self.name())
    }

    /// The one before it, if it is known.
    pub async fn before(&self, plane: &AdminPlane) -> Result<Option<SnapshotView>, Amiss> {
        let all = snapshots(plane.store(), &self.snapshot.collection).await?;
        Ok(all.into_iter().find(|one| one.sequence < self.view.sequence && !one.beside))
    }
}

/// Tags as they were typed, and what is wrong with them.
pub(super) struct Typed {
    tags: String,
    wrong: String,
}

/// One snapshot.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
) -> Result<Markup, Amiss> {
    shown(&plane, &viewer, &id, None, None).await
}

pub(super) async fn shown(
    plane: &AdminPlane,
    viewer: &Viewer,
    id: &str,
    said: Option<&str>,
    typed: Option<Typed>,
) -> Result<Markup, Amiss> {
    let now = plane.now();
    let known = known(plane, id).await?;
    let before = known.before(plane).await?;
    let inside = match known.is_readable() {
        true => file::open(plane.store(), &known.view.id).await.map(|opened| opened.open.private.statistics),
        false => Err(Problem::conflict("not-readable", "its key is not here: it is kept for others who have it")),
    };
    let (light, words) = verdict(&known.view);
    let main = html! {
        div.stack {
            @if let Some(why) = said { (not_done(why)) }
            p.lead { (parts::light(light, words)) }
            @if let Some(why) = &known.view.flagged { (flagged(&known, viewer, why)) }
            @for finding in known.view.findings.iter().filter(|finding| known.view.flagged.as_deref() != Some(finding.as_str())) {
                (parts::trouble(Light::Care, "How it was taken", finding, None))
            }
            @if let Err(problem) = &inside { (parts::trouble(Light::Care, "What is in it cannot be shown", problem.reason(), None)) }
            (actions(&known, before.as_ref(), viewer, inside.is_ok()))
            section.card {
                h2 { "At a glance" }
                (parts::facts(&facts(&known, inside.as_ref().ok(), now)))
            }
            (kept(&known, viewer, typed.as_ref()))
            section.card {
                h2 { "Delete it" }
                p { "It is then gone from this machine. What goes with it, and what stays, is said before anything is done." }
                p { a.button.danger href={ (known.path()) "/delete" } { "Delete this snapshot…" } }
            }
        }
    };
    known.page(known.name()).show(plane, viewer, main).await
}

fn verdict(view: &SnapshotView) -> (Light, &'static str) {
    match look(view) {
        _ if view.partial => (Light::Care, "Interrupted: not everything is in it"),
        _ if !view.complete => (Light::Care, "Not all of it is here yet"),
        Look::Bad => (Light::Bad, "Suspect"),
        Look::Good => (Light::Good, "Found good"),
        Look::Unproved => (Light::Unknown, "Not looked at yet"),
    }
}

fn flagged(known: &Known, viewer: &Viewer, why: &str) -> Markup {
    let next = html! {
        (parts::button(viewer, &known.path(), &[("action", "unflag")], "I have looked: it is good", Weight::Quiet))
    };
    parts::trouble(Light::Bad, "Something is held against it", why, Some(&next))
}

fn actions(known: &Known, before: Option<&SnapshotView>, viewer: &Viewer, is_open: bool) -> Markup {
    let path = known.path();
    let to = format!("/collections/{}/runs", known.collection.name);
    html! {
        div.actions {
            @if is_open {
                a.button href={ (path) "/files" } { "Browse the files" }
                a.button.quiet href={ (path) "/restore" } { "Restore…" }
                (parts::button(viewer, &to, &[("kind", Work::Drill.word()), ("snapshot", &known.view.id)], "Try a restore", Weight::Quiet))
                @if before.is_some_and(|before| before.has_key) {
                    a.button.quiet href={ (path) "/changes" } { "What changed" }
                }
            }
            a.button.quiet href={ (path) "/inspection" } { "Who can open it" }
        }
    }
}

fn facts<'a>(
    known: &Known,
    inside: Option<&crate::domain::manifest::Statistics>,
    now: Timestamp,
) -> Vec<(&'a str, Markup)> {
    let view = &known.view;
    let mut facts = vec![
        ("Made", html! { (parts::moment(view.created_at, now)) span.soft { ", " (parts::exact(view.created_at)) } }),
        ("Collection", html! { a href={ "/collections/" (known.collection.name) } { (known.collection.name) } }),
    ];
    if let Some(inside) = inside {
        facts.push(("In it", html! {
            (count(inside.files, "file")) " in " (count(inside.directories, "folder")) ", " (parts::size(inside.bytes))
        }));
    }
    facts.push((
        "Stored",
        html! {
            (parts::size(view.stored_bytes)) " in " (count(view.chunks, "chunk"))
        },
    ));
    facts.push(("Found whole", parts::moment_or(view.whole_at, now, "not looked at yet")));
    facts.push(("Every byte found right", parts::moment_or(view.verified_at, now, "not looked at yet")));
    if view.beside {
        facts.push((
            "Beside the others",
            html! { "A former leader made it, not knowing that another one led already." },
        ));
    }
    facts.push(("Id", html! { code { (view.id) } }));
    facts
}

/// Pinned and tagged.
fn kept(known: &Known, viewer: &Viewer, typed: Option<&Typed>) -> Markup {
    let (path, tags) = (known.path(), known.view.tags.join(" "));
    html! {
        section.card {
            h2 { "Kept as" }
            @if known.view.pinned {
                p { "It is pinned: it stays, whatever is said of how long snapshots are kept." }
                (parts::button(viewer, &path, &[("action", "unpin")], "Unpin", Weight::Quiet))
            } @else {
                p { "It stays as long as the collection's rules say. Pinned, it stays for good." }
                (parts::button(viewer, &path, &[("action", "pin")], "Pin", Weight::Quiet))
            }
            form method="post" action=(path) {
                (parts::csrf(viewer))
                input type="hidden" name="action" value="tags";
                (Field {
                    name: "tags",
                    label: "Tags",
                    hint: "Words to find it by, apart by spaces: letters, digits, '-', '_' and '.'.",
                    value: typed.map_or(tags.as_str(), |typed| typed.tags.as_str()),
                    wrong: typed.map(|typed| typed.wrong.as_str()),
                }.line())
                div.actions { button.button.quiet type="submit" { "Save the tags" } }
            }
        }
    }
}

/// What is to change.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    action: String,
    #[serde(default)]
    tags: String,
}

/// Pins, tags, or takes away what is held against it.
pub(super) async fn change(
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
    posted: Posted<Change>,
) -> Result<Response, Amiss> {
    let Change { action, tags } = posted.form;
    let change = match action.as_str() {
        "pin" => ChangeSnapshot { pinned: Some(true), ..ChangeSnapshot::default() },
        "unpin" => ChangeSnapshot { pinned: Some(false), ..ChangeSnapshot::default() },
        "unflag" => ChangeSnapshot { unflag: true, ..ChangeSnapshot::default() },
        "tags" => {
            let typed = tags.split([' ', ',', '\t']).filter(|tag| !tag.is_empty()).map(str::to_owned);
            ChangeSnapshot { tags: Some(typed.collect()), ..ChangeSnapshot::default() }
        }
        other => return Err(Problem::invalid(format!("{other:?} is nothing that can be done with a snapshot")).into()),
    };
    match plane.change_snapshot(&id, change, &posted.session.caller()).await {
        Ok(view) => Ok(see_other(&format!("/snapshots/{}", view.id))),
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let typed = Typed { tags, wrong: problem.reason().to_owned() };
            let page = shown(&plane, &posted.session.into(), &id, None, Some(typed)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// Says what goes, and asks.
pub(super) async fn ask_delete(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
) -> Result<Markup, Amiss> {
    deletion(&plane, &session.into(), &id, None).await
}

/// Deletes it.
pub(super) async fn delete(
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
    posted: FreshPosted<Nothing>,
) -> Result<Response, Amiss> {
    let collection = known(&plane, &id).await?.collection.name;
    match plane.delete_snapshot(&id, posted.session.caller().who()).await {
        Ok(()) => Ok(see_other(&format!("/collections/{collection}"))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let page = deletion(&plane, &posted.session.into(), &id, Some(problem.reason())).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn deletion(plane: &AdminPlane, viewer: &Viewer, id: &str, said: Option<&str>) -> Result<Markup, Amiss> {
    let known = known(plane, id).await?;
    let freed = plane.store().index.only_in(&[known.snapshot.id]).await?;
    let (path, name, view) = (known.path(), known.name(), &known.view);
    let to = format!("{path}/delete");
    let main = html! {
        div.stack {
            @if let Some(why) = said { (not_done(why)) }
            section.card {
                h2 { "What goes" }
                (parts::facts(&[
                    ("Snapshot", html! {
                        (name) ", made " (parts::exact(view.created_at))
                        @if !view.tags.is_empty() { ", tagged " (view.tags.join(", ")) }
                    }),
                    ("Freed", html! {
                        @match freed.bytes {
                            0 => { "nothing: other snapshots lean on all of it" }
                            freed => { (bytes(freed)) " that no other snapshot leans on, when the grace period is over and a prune runs" }
                        }
                    }),
                    ("Stays", html! { "Every other snapshot, whole. Peers and targets that have this one keep it as long as they want." }),
                ]))
                p { strong { "It cannot be taken back." } @if view.pinned { " It is pinned: unpin it first." } }
            }
            div.actions {
                @if !view.pinned {
                    (parts::button(viewer, &to, &[("back", &to)], &format!("Delete {name}"), Weight::Danger))
                }
                a.button.quiet href=(path) { "Keep it" }
            }
        }
    };
    known.page_below(format!("Delete {name}?")).show(plane, viewer, main).await
}

/// A problem that belongs on the page, as a sentence.
pub(super) fn reason(problem: &Problem) -> String {
    full_stop(&sentence(problem.reason()))
}
