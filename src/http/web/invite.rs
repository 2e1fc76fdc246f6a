//! `/invites/new`: a line that lets another instance in, once.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts;
use super::pictures::qr_code;
use super::rights::RightsForm;
use super::typed::{Wrong, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::admin::{AdminPlane, InviteView, MakeInvite};

/// What a guest may have, to begin with: nothing is ticked.
fn usual() -> RightsForm {
    RightsForm { expires: "24".to_owned(), ..RightsForm::of(None) }
}

/// Asks what the guest may have.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
) -> Result<Response, Amiss> {
    let viewer = Viewer::from(session);
    Ok(asked(&plane, &viewer, &usual(), None).await?.into_response())
}

/// Makes an invite, and shows it: once.
pub(super) async fn make(State(plane): State<AdminPlane>, posted: FreshPosted<RightsForm>) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let wrong = match wanted(&form) {
        Err(wrong) => wrong,
        Ok(make) => match plane.invite(make, &session.caller()).await {
            Ok(invite) => return Ok(made(&plane, &Viewer::from(session), &invite).await?.into_response()),
            Err(problem) => Wrong::told(problem)?,
        },
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?))
}

fn wanted(form: &RightsForm) -> Result<MakeInvite, Wrong> {
    if form.collections.is_empty() {
        return Err(Wrong::at("collections", "tick at least one: a guest without any has nothing to fetch"));
    }
    let rights = form.body()?;
    let hours = form.expires.trim().parse::<i64>().ok().filter(|hours| (1..=2160).contains(hours));
    let hours = hours.ok_or_else(|| Wrong::at("expires", "write a number of hours, from 1 to 2160"))?;
    Ok(MakeInvite { rights, expires_in_hours: Some(hours) })
}

async fn asked(
    plane: &AdminPlane,
    viewer: &Viewer,
    typed: &RightsForm,
    wrong: Option<&Wrong>,
) -> Result<Markup, Amiss> {
    let names: Vec<String> = plane.store().index.collections().await?.into_iter().map(|one| one.name).collect();
    let main = html! {
        div.stack {
            p.lead { "An invite is one line of text. Whoever has it is let in once, without comparing words, and gets what you choose here." }
            (wrong_of_all(wrong))
            form.card method="post" action="/invites/new" {
                (parts::csrf(viewer))
                input type="hidden" name="back" value="/invites/new";
                (typed.fields(&names, wrong))
                (Field { name: "expires", label: "Good for so many hours", hint: "24 is a day, 168 a week.", value: &typed.expires, wrong: wrong_at(wrong, "expires") }.line())
                div.actions { button.button type="submit" { "Make the invite" } a.button.quiet href="/peers" { "Back" } }
            }
        }
    };
    Page::new("Invite somebody", Here::Peers).below("/peers", "Peers").show(plane, viewer, main).await
}

async fn made(plane: &AdminPlane, viewer: &Viewer, invite: &InviteView) -> Result<Markup, Amiss> {
    let now = plane.now();
    let picture = qr_code(&invite.invite).map(|(png, side)| (plane.pictures().keep(png, now), side));
    let main = html! {
        div.stack {
            p.lead { "It is shown this once. Send it by a way that nobody else reads: it is a key." }
            section.card {
                h2 { "The invite" }
                (parts::command(&invite.invite))
                (parts::facts(&[
                    ("The guest may have", html! { (invite.rights_in_words) }),
                    ("Good until", html! { (parts::exact(invite.expires_at)) ", for one guest" }),
                ]))
                @if let Some((path, side)) = &picture {
                    figure.qr {
                        img src=(path) width=(side) height=(side) alt="The invite as a QR code: the same text as above";
                        figcaption.small.soft { "The same for a camera. The picture is gone after two minutes." }
                    }
                }
            }
            section.card {
                h2 { "On the other machine" }
                p { "Its admin runs this, pastes the line in place of INVITE, and lets the server run from then on:" }
                (parts::command("bulbil clone INVITE"))
                (parts::command("bulbil serve"))
                p { "It stands among your peers as soon as it has called." }
                div.actions { a.button.quiet href="/peers" { "To the peers" } }
            }
        }
    };
    Page::new("An invite", Here::Peers).below("/peers", "Peers").show(plane, viewer, main).await
}
