//! `/alerts/channels/…`: somebody is told what is wrong from now on, or no more; the list stands on the page of alerts.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::{Field, Nothing};
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::typed::{Wrong, one_of, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::domain::channel::{Channel, How, MailTls, Secret};
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::admin::view::channel::{ChannelTestView, ChannelView};
use crate::http::admin::view::configuration::FactSource;
use crate::http::admin::{AdminPlane, ChannelField};

/// What goes into `bulbil.toml`.
const EXAMPLE: &str = "[alerts]\ncommand = \"notify-admin\"";
const TLS: [(&str, &str); 3] = [
    ("wrapped", "TLS from the beginning (port 465)"),
    ("starttls", "STARTTLS (port 587)"),
    ("none", "none: only for a server on this machine (port 25)"),
];

/// What was typed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    kind: String,
    name: String,
    /// Such addresses hold secrets: it is not shown again.
    address: String,
    proxy: String,
    server: String,
    port: String,
    tls: String,
    from: String,
    to: String,
    user: String,
    /// Never shown again.
    password: String,
}

/// What a kind of channel is called.
pub(super) fn kind(kind: &str) -> &'static str {
    match kind {
        "webhook" => "Webhook",
        "mail" => "Mail",
        "command" => "Command",
        _ => "Sign of life",
    }
}

/// Who is told, as a card of the page of alerts.
pub(super) fn list(plane: &AdminPlane, viewer: &Viewer) -> Markup {
    let (channels, is_told) = (plane.channels(), plane.ways().tell_anybody());
    let rows: Vec<Vec<Markup>> = channels.iter().map(|one| row(one, viewer)).collect();
    html! {
        section.card #channels {
            h2 { "Who is told" }
            @if !is_told {
                p { (parts::light(Light::Care, "Nobody is told when something is wrong: you see it only if you look here.")) }
            }
            @if !rows.is_empty() {
                (parts::table_below_heading("Who is told", &["Name", "What it does", "Where", "Said by", "Do"], &rows))
            }
            div.actions {
                a.button href="/alerts/channels/new" { @if is_told { "Add another" } @else { "Have yourself told" } }
                @if is_told { (parts::button(viewer, "/alerts/test", &[], "Send a test alert to all", Weight::Quiet)) }
            }
            (parts::more("What can only be said in the configuration", &html! { div.stack {
                p { "A command of this machine is named in " code { "bulbil.toml" } " of the home, and read when the server starts: who may log in here may not run what they like there." }
                pre.text tabindex="0" { code { (EXAMPLE) } }
                p { "What stands there goes before what is said here, and is changed there." }
            } }))
        }
    }
}

fn row(one: &ChannelView, viewer: &Viewer) -> Vec<Markup> {
    let path = format!("/alerts/channels/{}", one.name);
    vec![
        html! { (one.name) br; span.small.soft { (kind(&one.kind)) } },
        html! {
            (parts::sentence(&one.about)) "."
            @if let Some(why) = &one.trouble { br; (parts::light(Light::Bad, &format!("cannot be used: {why}"))) }
        },
        html! { @match &one.to { Some(to) => { (to) } None => { span.soft { "not shown" } } } },
        html! { (one.source.in_words()) },
        html! {
            div.actions {
                @if one.kind != "ping" { (parts::button(viewer, &format!("{path}/test"), &[], "Test", Weight::Quiet)) }
                @if one.source == FactSource::AdminPlane { a.button.quiet href={ (path) "/remove" } { "Remove" } }
            }
        },
    ]
}

/// What became of a test.
pub(super) fn outcome(told: &[ChannelTestView]) -> Markup {
    let light = |one: &ChannelTestView| if one.taken { Light::Good } else { Light::Bad };
    html! {
        section.card #test role="status" {
            h2 { "The test" }
            ul.plain { @for one in told { li { (parts::light(light(one), &format!("{}: {}", one.name, one.in_words))) } } }
            @if told.iter().any(|one| !one.taken) {
                p {
                    "One that was added here is removed, and added anew as it should be. What is set in " code { "[alerts]" } " of " code { "bulbil.toml" }
                    " is changed there, and read when the server starts. More is said in its log."
                }
            } @else {
                p { "Look whether it arrived, too: it says that it is a test." }
            }
        }
    }
}

/// The form.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
) -> Result<Response, Amiss> {
    let typed = Typed { kind: "mail".to_owned(), ..Typed::default() };
    Ok(asked(&plane, &Viewer::from(session), &typed, None).await?.into_response())
}

/// One more is told; what is wrong is said beside what was typed.
pub(super) async fn post(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let wrong = match wanted(&form) {
        Err(wrong) => wrong,
        Ok(channel) => match plane.add_channel(channel, &session.caller()).await {
            Ok(_) => return Ok(see_other("/alerts?done=add#channels")),
            Err(refused) => {
                let wrong = Wrong::told(refused.problem)?;
                match refused.field {
                    Some(ChannelField::Name) => wrong.of("name"),
                    Some(ChannelField::Reach) if form.kind == "mail" => wrong.of("server"),
                    Some(ChannelField::Reach) => wrong.of("address"),
                    None => wrong,
                }
            }
        },
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?))
}

fn wanted(typed: &Typed) -> Result<Channel, Wrong> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let needed = |field: &'static str, text: &str, why: &str| given(text).ok_or_else(|| Wrong::at(field, why));
    let address = || needed("address", &typed.address, "write the address: it begins with https:// or http://");
    let how = match typed.kind.as_str() {
        "webhook" => How::Webhook { address: Secret::new(address()?), proxy: given(&typed.proxy) },
        "ping" => How::Ping { address: Secret::new(address()?), proxy: given(&typed.proxy) },
        "mail" => How::Mail {
            server: needed("server", &typed.server, "write the name of the mail server that takes the mails")?,
            port: match given(&typed.port).map(|port| port.parse()) {
                None => None,
                Some(Ok(port)) if port > 0 => Some(port),
                Some(_) => return Err(Wrong::at("port", "a port is a number from 1 to 65535, or nothing")),
            },
            tls: match typed.tls.as_str() {
                "starttls" => MailTls::Starttls,
                "none" => MailTls::None,
                _ => MailTls::Wrapped,
            },
            from: needed("from", &typed.from, "write who is shown as the sender")?,
            to: needed("to", &typed.to, "write where the mails shall go")?,
            user: given(&typed.user),
            password: Some(&typed.password).filter(|text| !text.is_empty()).map(Secret::new),
        },
        _ => return Err(Wrong::at("kind", "choose one of them")),
    };
    Ok(Channel { name: needed("name", &typed.name, "give it a name")?, how })
}

async fn asked(plane: &AdminPlane, viewer: &Viewer, typed: &Typed, wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let kinds = [
        ("mail", "Mail: each alert is written to a mailbox"),
        ("webhook", "Webhook: each alert is posted to an address, as JSON"),
        (
            "ping",
            "Sign of life: an address is called as long as nothing is wrong, and whoever watches there hears the silence",
        ),
    ];
    let kinds = kinds.map(|(kind, words)| (kind.to_owned(), words.to_owned(), typed.kind == kind));
    let field = |name: &'static str, label: &'static str, hint: &'static str, value| Field {
        name,
        label,
        hint,
        value,
        wrong: wrong_at(wrong, name),
    };
    let again = "It is kept sealed under the keys of this home, and shown by nothing. If something is wrong here, type it again.";
    let tls = TLS.map(|(word, words)| (word.to_owned(), words.to_owned()));
    let chosen = if typed.tls.is_empty() { "wrapped" } else { &typed.tls };
    let main = html! {
        div.stack {
            p.lead { "Alerts go there from the next minute on, those that are open now, too." }
            (wrong_of_all(wrong))
            form.card method="post" action="/alerts/channels/new" {
                (parts::csrf(viewer))
                input type="hidden" name="back" value="/alerts/channels/new";
                (field("name", "Name", "How you call it: letters, digits, '-', '_' and '.', for example ops.", &typed.name).line())
                (one_of("kind", "How", &kinds, wrong_at(wrong, "kind")))
                fieldset {
                    legend { "For mail" }
                    (field("to", "To", "The mailbox, for example admin@example.org.", &typed.to).line())
                    (field("from", "From", "Who is shown as the sender, for example Bulbil <bulbil@example.org>.", &typed.from).line())
                    (field("server", "Mail server", "It is reached directly, and sees this machine's address. For example mail.example.org.", &typed.server).line())
                    (field("tls", "Encryption", "", chosen).choice(&tls))
                    (field("port", "Port", "Empty: the usual one.", &typed.port).line())
                    (field("user", "User", "Empty: the server takes mails without a login.", &typed.user).line())
                    (field("password", "Password", again, "").secret())
                }
                fieldset {
                    legend { "For a webhook, or a sign of life" }
                    (field("address", "Address", again, "").secret())
                    (field("proxy", "SOCKS proxy", "Empty: that of bulbil.toml, or none, and the other side sees this machine's address. For an onion address socks5h://127.0.0.1:9050.", &typed.proxy).line())
                }
                div.actions {
                    button.button type="submit" { "Add it" }
                    a.button.quiet href="/alerts#channels" { "Back" }
                }
            }
            p.small.soft { "Nothing is sent yet: the next page has a button for a test." }
        }
    };
    Page::new("Have somebody told", Here::Alerts).below("/alerts", "Alerts").show(plane, viewer, main).await
}

/// Asks whether it is to be removed.
pub(super) async fn ask_remove(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
) -> Result<Response, Amiss> {
    let (viewer, channel) = (Viewer::from(session), plane.channel(&name)?);
    let ways = plane.ways();
    let is_last = channel.kind != "ping" && ways.lines().iter().filter(|line| line.way.word() != "ping").count() == 1;
    let to = format!("/alerts/channels/{}/remove", channel.name);
    let main = html! {
        div.stack {
            p.lead { "No alert goes there any more, and its address and password are forgotten." }
            @if is_last { p { (parts::light(Light::Care, "It is the last one: then nobody is told when something is wrong.")) } }
            form method="post" action=(to) {
                (parts::csrf(&viewer))
                input type="hidden" name="back" value=(to);
                div.actions {
                    button.button.danger type="submit" { "Remove it" }
                    a.button.quiet href="/alerts#channels" { "Leave it as it is" }
                }
            }
        }
    };
    let page = Page::new(format!("Remove {}?", channel.name), Here::Alerts).below("/alerts", "Alerts");
    Ok(page.show(&plane, &viewer, main).await?.into_response())
}

/// Removes it.
pub(super) async fn remove(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Nothing>,
) -> Result<Response, Amiss> {
    plane.remove_channel(&name, &posted.session.caller()).await?;
    Ok(see_other("/alerts?done=remove#channels"))
}
