//! `/peers/{name}`: one peer, what it has got, and what it may have.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::{Field, Nothing};
use super::heir::{self, Heritage};
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::peers::{Lag, button, fingerprint, how, path, state};
use super::rights::RightsForm;
use super::typed::{Wrong, boxes, done, tick, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::domain::peer::Scope;
use crate::domain::text::shown;
use crate::domain::words::{bytes, count};
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession, Posted};
use crate::http::admin::view::exposure::ExposureView;
use crate::http::admin::view::peer::PeerView;
use crate::http::admin::{AdminPlane, ChangePeer, TrustPeer};
use crate::http::problem::Problem;
use crate::replicate::exposure::exposure;
use crate::store::index::Peer;

/// So many snapshots of a collection are listed.
const LISTED: usize = 20;

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

/// Whether it is followed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct FollowForm {
    follow: Option<String>,
    mirror: Vec<String>,
}

/// What is shown of what was typed.
#[derive(Debug, Default)]
struct Typed {
    rights: Option<(RightsForm, Wrong)>,
    follow: Option<(FollowForm, Wrong)>,
    heir: Option<(heir::Typed, Wrong)>,
    other: Option<Wrong>,
}

/// One peer.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(said): Query<Done>,
) -> Result<Markup, Amiss> {
    let words = said.done.as_deref().and_then(|what| match what {
        "trust" => Some("It may have now what stands below."),
        "follow" => Some("What is fetched from it is changed."),
        "heir" => Some("Who may take over is changed. Peers hear of it with their next sync."),
        "key" => Some("It has a new key: envelopes for it are made for that one from now on."),
        "same-key" => Some("It still has the key that is known here."),
        "reset" => Some("Its list is read from its beginning with the next sync. What is here stays here."),
        "revoke" => Some("It is shut out: its next request is refused. What it has got, it keeps; that stands below."),
        _ => None,
    });
    show(&plane, &viewer, plane.peer(&name).await?, &Typed::default(), words).await
}

/// Lets it in, or changes what it may have.
pub(super) async fn trust(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<RightsForm>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let peer = plane.peer(&name).await?;
    let is_trusted = peer.trust.word() == "trusted";
    let wrong = match form.body() {
        Err(wrong) => wrong,
        Ok(rights) => {
            let typed = form.words.trim().to_owned();
            let fingerprint = (!is_trusted || !typed.is_empty()).then_some(typed);
            // Who is trusted already is followed as before.
            let trust = TrustPeer { fingerprint, rights, follow: is_trusted.then_some(peer.follow) };
            match plane.trust_peer(&name, trust, &session.caller()).await {
                Ok(peer) => return Ok(see_other(&format!("{}?done=trust", path(&peer)))),
                Err(problem) => match Wrong::told(problem)? {
                    wrong if !is_trusted => wrong.of("words"),
                    wrong => wrong,
                },
            }
        }
    };
    let typed = Typed { rights: Some((form, wrong.clone())), ..Typed::default() };
    Ok(wrong.answer(show(&plane, &Viewer::from(session), peer, &typed, None).await?))
}

/// Follows it, or no longer.
pub(super) async fn follow(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<FollowForm>,
) -> Result<Response, Amiss> {
    let Posted { session, form } = posted;
    let change = ChangePeer { follow: Some(form.follow.is_some()), mirror: Some(form.mirror.clone()) };
    let wrong = match plane.change_peer(&name, change, &session.caller()).await {
        Ok(peer) => return Ok(see_other(&format!("{}?done=follow", path(&peer)))),
        Err(problem) => Wrong::told(problem)?,
    };
    let typed = Typed { follow: Some((form, wrong.clone())), ..Typed::default() };
    Ok(wrong.answer(show(&plane, &Viewer::from(session), plane.peer(&name).await?, &typed, None).await?))
}

/// Says of which collections it may take the lead.
pub(super) async fn heir(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<heir::Typed>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let peer = plane.peer(&name).await?;
    let heritage = Heritage::of(&plane, &peer).await?;
    for (collection, is_heir) in heritage.changes(&form) {
        if let Err(problem) = plane.set_heir(collection, &peer.name, is_heir, &session.caller()).await {
            let wrong = Wrong::told(problem)?;
            let typed = Typed { heir: Some((form, wrong.clone())), ..Typed::default() };
            return Ok(wrong.answer(show(&plane, &Viewer::from(session), peer, &typed, None).await?));
        }
    }
    Ok(see_other(&format!("/peers/{}?done=heir", peer.name)))
}

/// Asks it for the key that it has now. What it does not answer is said.
pub(super) async fn refresh_key(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, Amiss> {
    let Posted { session, .. } = posted;
    let peer = plane.peer(&name).await?;
    match plane.refresh_key(&peer.name, &session.caller()).await {
        Ok(came) => {
            let done = if came.changed { "key" } else { "same-key" };
            Ok(see_other(&format!("/peers/{}?done={done}", peer.name)))
        }
        Err(problem) => {
            let wrong = Wrong::told(problem)?;
            let typed = Typed { other: Some(wrong.clone()), ..Typed::default() };
            Ok(wrong.answer(show(&plane, &Viewer::from(session), peer, &typed, None).await?))
        }
    }
}

/// Reads its list from the beginning.
pub(super) async fn reset(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, Amiss> {
    let peer = plane.reset_peer(&name, &posted.session.caller()).await?;
    Ok(see_other(&format!("{}?done=reset", path(&peer))))
}

/// Asks once more, and shows what it has got.
pub(super) async fn ask_revoke(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
) -> Result<Response, Amiss> {
    let viewer = Viewer::from(session);
    let peer = plane.peer(&name).await?;
    let has = got(&plane, &peer).await?;
    let view = plane.peer_view(peer).await?;
    let to = path(&view);
    let main = html! {
        div.stack {
            p.lead {
                "Its next request is refused, and what is being sent to it now is cut off. What it has got already, it keeps: nobody can take that back."
            }
            (has)
            form method="post" action={ (to) "/revoke" } {
                (parts::csrf(&viewer))
                input type="hidden" name="back" value={ (to) "/revoke" };
                div.actions {
                    button.button.danger type="submit" { "Shut it out" }
                    a.button.quiet href=(to) { "Leave it as it is" }
                }
            }
        }
    };
    let title = format!("Shut out {}?", shown(&view.name));
    let page = Page::new(title, Here::Peers).below("/peers", "Peers").below(to.clone(), view.name.clone());
    Ok(page.show(&plane, &viewer, main).await?.into_response())
}

/// Shuts it out.
pub(super) async fn revoke(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Nothing>,
) -> Result<Response, Amiss> {
    plane.revoke_peer(&name, &posted.session.caller()).await?;
    let view = plane.peer_view(plane.peer(&name).await?).await?;
    Ok(see_other(&format!("{}?done=revoke", path(&view))))
}

/// Forgets it.
pub(super) async fn forget(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Nothing>,
) -> Result<Response, Amiss> {
    plane.remove_peer(&name, &posted.session.caller()).await?;
    Ok(see_other("/peers"))
}

async fn show(
    plane: &AdminPlane,
    viewer: &Viewer,
    peer: Peer,
    typed: &Typed,
    said: Option<&str>,
) -> Result<Markup, Amiss> {
    let now = plane.now();
    let lag = Lag::of(plane, &peer).await?;
    let has = got(plane, &peer).await?;
    let collections = plane.store().index.collections().await?;
    let names: Vec<String> = collections.iter().map(|one| one.name.clone()).collect();
    let follow = FollowForm {
        follow: peer.follow.then(|| "yes".to_owned()),
        mirror: match &peer.mirror {
            Scope::All => vec!["all".to_owned()],
            scope => collections.iter().filter(|one| scope.includes(&one.id)).map(|one| one.name.clone()).collect(),
        },
    };
    let others: Vec<String> =
        collections.iter().filter(|one| !plane.store().keys.is_ours(&one.origin)).map(|one| one.name.clone()).collect();
    let heritage = Heritage::of(plane, &peer).await?;
    let view = plane.peer_view(peer).await?;
    let (light, words) = state(&view);
    let mut facts = how(&view, lag, now);
    facts.push(("Lets us have", html! { (view.granted_in_words.as_deref().unwrap_or("not said yet")) }));
    facts.push(("We keep of it", html! { (view.mirrored_in_words) }));
    facts.push(("Known since", parts::moment(view.added_at, now)));
    facts.push(("Fingerprint", fingerprint(&view.fingerprint)));
    facts.push(("Id", html! { code { (view.instance) } }));
    let main = html! {
        div.stack {
            @if let Some(said) = said { (done(said)) }
            p.lead { (parts::light(light, &words)) }
            section.card { h2 { "How it is" } (parts::facts(&facts)) }
            (rights(viewer, &view, &names, typed.rights.as_ref()))
            @if view.state == "trusted" { (following(viewer, &view, follow, &others, typed.follow.as_ref())) }
            @if view.state == "trusted" { (heir::section(viewer, &view, &heritage, typed.heir.as_ref())) }
            (has)
            section.card {
                h2 { "Other things" }
                (wrong_of_all(typed.other.as_ref()))
                @if view.has_address {
                    p { "If it cannot open what it is sent, it may have a new key that is not known here yet." }
                    (button(viewer, &view, "refresh-key", "Ask for its key", Weight::Quiet))
                    p { "If something of it seems to be missing here, its list can be read once more from the beginning." }
                    (button(viewer, &view, "reset", "Read its list again", Weight::Quiet))
                }
                @if view.state != "revoked" {
                    p { "Whom you no longer trust you shut out. That holds until you let it in again, and is recorded." }
                    div.actions { a.button.danger href={ (path(&view)) "/revoke" } { "Shut it out…" } }
                }
                details {
                    summary { "Forget it" }
                    p {
                        "It is struck off this list; what was pulled from it stays. "
                        @if view.state == "revoked" { "One that was shut out could ask to be let in again: leave it on the list, and it cannot." }
                        @else { "Shut it out first if it is not to come back." }
                    }
                    (button(viewer, &view, "forget", "Forget it", Weight::Danger))
                }
            }
        }
    };
    Page::new(view.name.clone(), Here::Peers).below("/peers", "Peers").show(plane, viewer, main).await
}

fn rights(viewer: &Viewer, peer: &PeerView, names: &[String], typed: Option<&(RightsForm, Wrong)>) -> Markup {
    let now = RightsForm::of(peer.rights.as_ref());
    let (form, wrong) = typed.map_or((&now, None), |(form, wrong)| (form, Some(wrong)));
    let is_trusted = peer.state == "trusted";
    html! {
        section.card {
            h2 { @if is_trusted { "What it may have" } @else { "Let it in" } }
            (wrong_of_all(wrong))
            form method="post" action={ (path(peer)) "/trust" } {
                (parts::csrf(viewer))
                @if !is_trusted {
                    p {
                        "Call its admin, by telephone or whatever you trust, and have them read out the eight words that "
                        "their page " strong { "Keys and recovery" } " shows. Type what you hear."
                    }
                    (Field { name: "words", label: "The eight words", hint: "Do not copy them from this page: then nothing is compared.", value: &form.words, wrong: wrong_at(wrong, "words") }.line())
                }
                (form.fields(names, wrong))
                div.actions { button.button type="submit" { @if is_trusted { "Save" } @else { "Trust it" } } }
            }
        }
    }
}

fn following(
    viewer: &Viewer,
    peer: &PeerView,
    now: FollowForm,
    others: &[String],
    typed: Option<&(FollowForm, Wrong)>,
) -> Markup {
    let (form, wrong) = typed.map_or((&now, None), |(form, wrong)| (form, Some(wrong)));
    let has = |name: &str| form.mirror.iter().any(|one| one == name);
    let all = ("all".to_owned(), "All that it lets us have".to_owned(), has("all"));
    let boxed: Vec<_> =
        std::iter::once(all).chain(others.iter().map(|name| (name.clone(), name.clone(), has(name)))).collect();
    html! {
        section.card {
            h2 { "What is fetched from it" }
            (wrong_of_all(wrong))
            form method="post" action={ (path(peer)) "/follow" } {
                (parts::csrf(viewer))
                (tick("follow", "Ask it for news, and fetch what is new", form.follow.is_some()))
                (boxes("mirror", "Keep the content of", &boxed, None))
                p.small.soft { "Of the others only the list of snapshots is kept." }
                div.actions { button.button.quiet type="submit" { "Save" } }
            }
        }
    }
}

/// What a peer has got from here.
async fn got(plane: &AdminPlane, peer: &Peer) -> Result<Markup, Amiss> {
    let has = exposure(plane.store(), peer).await.map_err(|error| Problem::internal(&error))?;
    let (has, now) = (ExposureView::of(&peer.name, has), plane.now());
    let rows = |snapshots: &[crate::http::admin::view::exposure::ExposedSnapshotView]| -> Vec<Vec<Markup>> {
        let row = |one: &crate::http::admin::view::exposure::ExposedSnapshotView| {
            let key = match one.key_given_at {
                Some(at) => html! { "given " (parts::moment(at, now)) },
                None if one.key_may_be_known => html! { "may be known" },
                None => html! { span.soft { "not given" } },
            };
            vec![
                html! { "@" (one.sequence) },
                parts::moment(one.created_at, now),
                key,
                html! { (one.given_chunks) " of " (count(one.chunks, "chunk")) ", " (bytes(one.given_bytes)) },
            ]
        };
        snapshots.iter().rev().take(LISTED).map(row).collect()
    };
    Ok(html! {
        section.card #exposure {
            h2 { "What it has got from here" }
            @if has.chunks == 0 {
                p { "No chunk was sent to it, as far as is recorded (since " (parts::exact(has.recorded_since)) ")." }
            } @else {
                p {
                    (count(has.chunks, "chunk")) " with " (bytes(has.chunk_bytes))
                    " were sent to it, and it keeps them whatever becomes of its rights."
                }
            }
            @if has.may_know_more {
                p {
                    (parts::light(
                        Light::Care,
                        "Before it was recorded, its rights let it see something: all of that counts as known to it.",
                    ))
                }
            }
            @for one in &has.collections {
                @let all = one.snapshots.len();
                @let caption = format!("{}: {}", shown(&one.name), count(all as u64, "snapshot"));
                (parts::table(&caption, &["Number", "Made", "Key", "Sent"], &rows(&one.snapshots)))
                @if all > LISTED { p.small.soft { "The newest " (LISTED) " are shown." } }
            }
        }
    })
}
