//! `/settings/tokens`: what lets programs in.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::typed::{Wrong, boxes, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::domain::access::{Lifetime, Scope, Scopes};
use crate::domain::peer::is_plain_name;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::admin::view::token::TokenView;

/// What was typed.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    name: String,
    scopes: Vec<String>,
    expires: String,
}

impl Default for Typed {
    fn default() -> Self {
        Self { name: String::new(), scopes: Vec::new(), expires: "90d".to_owned() }
    }
}

/// Which token.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    name: String,
}

/// What a scope is good for, in words.
fn good_for(scope: Scope) -> &'static str {
    match scope {
        Scope::Metrics => "metrics: figures and health, for monitoring",
        Scope::Read => "read: to see everything but content, keys and secrets",
        Scope::Operate => "operate: to see, and to start and stop work",
        Scope::Content => "content: to see, and to download files",
        Scope::Admin => "admin: everything",
    }
}

/// All tokens.
pub(super) fn list(plane: &AdminPlane, viewer: &Viewer) -> Result<Markup, Amiss> {
    let now = plane.now();
    let row = |token: TokenView| {
        let revoke = [("name", token.name.as_str()), ("back", "/settings")];
        vec![
            html! { (token.name) },
            html! { (token.scopes) },
            html! {
                @if token.expired { (parts::light(Light::Unknown, "expired")) }
                @else { (parts::moment_or(token.expires_at, now, "never")) }
            },
            html! { @match token.last_used_on { Some(day) => (day), None => { span.soft { "never" } } } },
            parts::button(viewer, "/settings/tokens/revoke", &revoke, "Revoke", Weight::Danger),
        ]
    };
    let tokens = plane.gate().tokens()?;
    let rows: Vec<Vec<Markup>> = tokens.into_iter().map(|token| row(TokenView::of(token, now))).collect();
    Ok(html! {
        section.card #tokens {
            h2 { "Tokens" }
            @if rows.is_empty() {
                p { "None. A token lets a script or a monitoring system in, for as much and as long as you say." }
            } @else {
                (parts::table_below_heading("Tokens", &["Name", "Good for", "Expires", "Last used", "Action"], &rows))
            }
            div.actions { a.button.quiet href="/settings/tokens/new" { "Make a token" } }
        }
    })
}

/// Asks what it shall be good for.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
) -> Result<Response, Amiss> {
    Ok(asked(&plane, &Viewer::from(session), &Typed::default(), None).await?.into_response())
}

/// Makes one, and shows it: once.
pub(super) async fn make(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let wrong = match wanted(&form) {
        Err(wrong) => wrong,
        Ok((name, scopes, lifetime)) => {
            match plane.gate().make_token(&session.caller(), name, scopes, lifetime).await {
                Err(problem) => Wrong::told(problem)?.of("name"),
                Ok((token, kept)) => {
                    let kept = TokenView::of(kept, plane.now());
                    let page = made(&plane, &Viewer::from(session), &token.reveal(), &kept).await?;
                    return Ok(page.into_response());
                }
            }
        }
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?))
}

/// Revokes one.
pub(super) async fn revoke(State(plane): State<AdminPlane>, posted: FreshPosted<Named>) -> Result<Response, Amiss> {
    plane.gate().revoke_token(&posted.session.caller(), posted.form.name).await?;
    Ok(see_other("/settings?done=token#tokens"))
}

fn wanted(typed: &Typed) -> Result<(String, Scopes, Lifetime), Wrong> {
    let name = typed.name.trim();
    if !is_plain_name(name) {
        return Err(Wrong::at("name", "a name has 1 to 64 letters, digits, '-', '_' and '.'"));
    }
    let scopes: Result<BTreeSet<Scope>, _> = typed.scopes.iter().map(|word| word.parse()).collect();
    let scopes = scopes.and_then(Scopes::try_from).map_err(|error| Wrong::at("scopes", error.to_string()))?;
    let lifetime = typed
        .expires
        .trim()
        .parse()
        .map_err(|error: crate::domain::access::LifetimeError| Wrong::at("expires", error.to_string()))?;
    Ok((name.to_owned(), scopes, lifetime))
}

async fn asked(plane: &AdminPlane, viewer: &Viewer, typed: &Typed, wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let scope = |scope: Scope| {
        let word = scope.word().to_owned();
        let ticked = typed.scopes.contains(&word);
        (word, good_for(scope).to_owned(), ticked)
    };
    let scopes: Vec<_> = Scope::ALL.into_iter().map(scope).collect();
    let main = html! {
        div.stack {
            p.lead { "A token lets a program in without a password. Give it no more than it needs." }
            (wrong_of_all(wrong))
            form.card method="post" action="/settings/tokens/new" {
                (parts::csrf(viewer))
                input type="hidden" name="back" value="/settings/tokens/new";
                (Field { name: "name", label: "Name", hint: "By which you know it again, for instance grafana.", value: &typed.name, wrong: wrong_at(wrong, "name") }.line())
                (boxes("scopes", "Good for", &scopes, wrong_at(wrong, "scopes")))
                (Field { name: "expires", label: "Expires", hint: "A number and h or d, as in 12h or 90d; or never.", value: &typed.expires, wrong: wrong_at(wrong, "expires") }.line())
                div.actions { button.button type="submit" { "Make the token" } a.button.quiet href="/settings" { "Back" } }
            }
        }
    };
    Page::new("Make a token", Here::Settings).below("/settings", "Settings").show(plane, viewer, main).await
}

async fn made(plane: &AdminPlane, viewer: &Viewer, token: &str, kept: &TokenView) -> Result<Markup, Amiss> {
    let until = kept.expires_at.map_or_else(|| "it is revoked".to_owned(), parts::exact);
    let main = html! {
        div.stack {
            p.lead { "It is shown this once, and stored nowhere here. Put it where the program finds it." }
            section.card {
                h2 { (kept.name) }
                (parts::command(token))
                (parts::facts(&[("Good for", html! { (kept.scopes) }), ("Good until", html! { (until) })]))
                p { "A program sends it with each request, in the header " code { "Authorization: Bearer …" } "." }
                div.actions { a.button.quiet href="/settings" { "To the settings" } }
            }
        }
    };
    Page::new("A token", Here::Settings).below("/settings", "Settings").show(plane, viewer, main).await
}
