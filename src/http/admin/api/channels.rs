//! `/admin/v1/alerts/channels` and `/admin/v1/alerts/test`: who is told, and whether that gets through.

use std::fmt;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::body::Body;
use super::input::At;
use super::page::Page;
use super::refusals::{BadBody, Missing, Refused};
use crate::domain::channel::{Channel, ChannelError, How, MailTls, Secret};
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, Caller, May, MayNow, Operate, Read};
use crate::http::admin::view::channel::{ChannelTestView, ChannelView};
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::store::StoreError;
use crate::worker::alarm::{Way, Ways};

/// Somebody who shall be told of alerts. Addresses and passwords are kept sealed, and shown by nothing.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AddChannel {
    /// Each alert is posted there as JSON.
    Webhook {
        /// 1 to 64 letters, digits, `-`, `_` and `.`.
        name: String,
        /// `https://…`, or `http://…`.
        address: String,
        /// A SOCKS proxy, as `socks5h://127.0.0.1:9050`; that of `bulbil.toml`, if none is named. An onion address needs one.
        proxy: Option<String>,
    },
    /// Each alert is written to a mailbox.
    Mail {
        /// 1 to 64 letters, digits, `-`, `_` and `.`.
        name: String,
        /// The name of the mail server.
        server: String,
        /// Its port; the usual one, if none is named.
        #[schema(minimum = 1)]
        port: Option<u16>,
        /// How it is spoken to.
        #[serde(default)]
        tls: MailTls,
        /// Who is shown as the sender: `Bulbil <bulbil@example.org>`.
        from: String,
        /// Who gets it.
        to: String,
        /// Who logs in there, if one has to.
        user: Option<String>,
        /// With what.
        password: Option<String>,
    },
    /// Called as long as nothing is wrong: whoever watches there hears the silence.
    Ping {
        /// 1 to 64 letters, digits, `-`, `_` and `.`.
        name: String,
        /// `https://…`, or `http://…`.
        address: String,
        /// A SOCKS proxy, as for a webhook.
        proxy: Option<String>,
    },
}

impl fmt::Debug for AddChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddChannel(…)")
    }
}

impl From<AddChannel> for Channel {
    fn from(new: AddChannel) -> Self {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (name, how) = match new {
            AddChannel::Webhook { name, address, proxy } => {
                (name, How::Webhook { address: Secret::new(address), proxy: given(proxy) })
            }
            AddChannel::Ping { name, address, proxy } => {
                (name, How::Ping { address: Secret::new(address), proxy: given(proxy) })
            }
            AddChannel::Mail { name, server, port, tls, from, to, user, password } => {
                let password = given(password).map(Secret::new);
                (name, How::Mail { server, port, tls, from, to, user: given(user), password })
            }
        };
        Self { name, how }
    }
}

/// What of a new channel is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelField {
    /// Its name.
    Name,
    /// Where it leads.
    Reach,
}

/// Why a channel is not added.
#[derive(Debug)]
pub struct AddChannelError {
    /// What is to be typed anew, if it is that.
    pub field: Option<ChannelField>,
    /// The reason.
    pub problem: Problem,
}

impl From<Problem> for AddChannelError {
    fn from(problem: Problem) -> Self {
        Self { field: None, problem }
    }
}

impl From<StoreError> for AddChannelError {
    fn from(error: StoreError) -> Self {
        Problem::from(error).into()
    }
}

impl From<ChannelError> for Problem {
    fn from(error: ChannelError) -> Self {
        let why = error.to_string();
        match error {
            ChannelError::Name(_) => Self::invalid(why),
            ChannelError::NameOfFile(_) | ChannelError::NameTaken(_) => Self::conflict("name-taken", why),
            ChannelError::TooMany => Self::conflict("too-many", why),
            ChannelError::NoSuch(_) => Self::no_such(why),
            ChannelError::InFile(_) => Self::conflict("in-file", why),
        }
    }
}

/// Who is told what is wrong
#[utoipa::path(
    get,
    path = "/admin/v1/alerts/channels",
    responses((status = 200, description = "Those of `bulbil.toml`, then those that were added here; no address, no password", body = Page<ChannelView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_channels(_: May<Read>, State(plane): State<AdminPlane>) -> Json<Page<ChannelView>> {
    Json(Page::whole(plane.channels()))
}

/// One more is told what is wrong
#[utoipa::path(
    post,
    path = "/admin/v1/alerts/channels",
    request_body = AddChannel,
    responses(
        (status = 201, description = "It is told from now on; nothing was sent yet", body = ChannelView, headers(("location" = String, description = "The channel"))),
        Refused, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_channel(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    Body(new): Body<AddChannel>,
) -> Result<Response, Problem> {
    let view = plane.add_channel(new.into(), &caller).await.map_err(|error| error.problem)?;
    let location = HeaderValue::try_from(format!("/admin/v1/alerts/channels/{}", view.name));
    let location = location.expect("a plain name has only letters, digits, '-', '_' and '.'");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// One of those who are told
#[utoipa::path(
    get,
    path = "/admin/v1/alerts/channels/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The channel", body = ChannelView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_channel(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<ChannelView>, Problem> {
    Ok(Json(plane.channel(&name)?))
}

/// One is told no more
#[utoipa::path(
    delete,
    path = "/admin/v1/alerts/channels/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Nothing goes there any more, and its secrets are forgotten"),
        (status = 409, description = "It stands in `bulbil.toml`: it is changed there", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_channel(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<StatusCode, Problem> {
    plane.remove_channel(&name, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test to all who are told, and says what became of it; that takes up to two minutes
#[utoipa::path(
    post,
    path = "/admin/v1/alerts/test",
    responses(
        (status = 200, description = "What became of it, one by one", body = Page<ChannelTestView>),
        (status = 409, description = "Nobody is told, or another test goes on; or the same idempotency key is in use at this moment", body = ProblemDocument),
        (status = 422, description = "The idempotency key was used for another request", body = ProblemDocument),
        (status = 413, description = "The body is too long", body = ProblemDocument),
        Refused
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_test(
    May { caller, .. }: May<Operate>,
    State(plane): State<AdminPlane>,
) -> Result<Json<Page<ChannelTestView>>, Problem> {
    Ok(Json(Page::whole(plane.test_alerts(None, &caller).await?)))
}

/// Sends a test to one of those who are told, and says what became of it; that takes up to two minutes
#[utoipa::path(
    post,
    path = "/admin/v1/alerts/channels/{name}/test",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "What became of it", body = ChannelTestView),
        (status = 409, description = "It is a ping, which means that all is well, or another test goes on; or the same idempotency key is in use at this moment", body = ProblemDocument),
        (status = 422, description = "The idempotency key was used for another request", body = ProblemDocument),
        (status = 413, description = "The body is too long", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_channel_test(
    May { caller, .. }: May<Operate>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<ChannelTestView>, Problem> {
    let told = plane.test_alerts(Some(&name), &caller).await?.into_iter().next();
    told.map(Json).ok_or_else(Problem::not_found)
}

impl AdminPlane {
    /// All who are told.
    pub(crate) fn channels(&self) -> Vec<ChannelView> {
        self.ways().lines().iter().map(ChannelView::from).collect()
    }

    /// One of them.
    pub(crate) fn channel(&self, name: &str) -> Result<ChannelView, Problem> {
        let ways = self.ways();
        let line = ways.line(name).ok_or_else(|| ChannelError::NoSuch(name.to_owned()))?;
        Ok(line.into())
    }

    /// One more is told.
    pub(crate) async fn add_channel(&self, new: Channel, by: &Caller) -> Result<ChannelView, AddChannelError> {
        let name = new.name.clone();
        Ways::check(&new, self.alerting.config()).map_err(|error| AddChannelError {
            field: Some(ChannelField::Reach),
            problem: Problem::invalid(with_causes(&error)),
        })?;
        let added = self.store().change_alert_settings(|settings| Ok::<_, StoreError>(settings.add(new)));
        added?.map_err(|error| AddChannelError { field: Some(ChannelField::Name), problem: error.into() })?;
        self.record(by, "alert channel add", vec![name.clone()]).await?;
        Ok(self.channel(&name)?)
    }

    /// One is told no more.
    pub(crate) async fn remove_channel(&self, name: &str, by: &Caller) -> Result<(), Problem> {
        // One of the file that is not there is none.
        let no_such = |error| match error {
            ChannelError::InFile(name) if self.ways().line(&name).is_none() => ChannelError::NoSuch(name),
            error => error,
        };
        let removed = self.store().change_alert_settings(|settings| Ok::<_, StoreError>(settings.remove(name)));
        removed?.map_err(no_such)?;
        self.record(by, "alert channel remove", vec![name.to_owned()]).await
    }

    /// Sends a test, to all or to one.
    pub(crate) async fn test_alerts(&self, only: Option<&str>, by: &Caller) -> Result<Vec<ChannelTestView>, Problem> {
        let ways = self.ways();
        if let Some(name) = only {
            let line = ways.line(name).ok_or_else(|| ChannelError::NoSuch(name.to_owned()))?;
            if line.way == Way::Ping {
                let why = "it is called by itself as long as nothing is wrong: a test would say that all is well";
                return Err(Problem::conflict("ping", why));
            }
        } else if !ways.tell_anybody() {
            let why = "nobody is told of anything: add a webhook or a mailbox, or name a command in [alerts] of bulbil.toml and start the server again";
            return Err(Problem::conflict("no-channel", why));
        }
        let busy = || Problem::conflict("busy", "another test goes on: wait until it has ended");
        let _one_at_a_time = self.testing.try_lock().map_err(|_| busy())?;
        let instance = self.store().keys.name.clone();
        let told = ways.test(only, &instance, self.now(), &CancellationToken::new()).await;
        let told: Vec<ChannelTestView> = told.into_iter().map(ChannelTestView::from).collect();
        let subject = |one: &ChannelTestView| format!("{}: {}", one.name, if one.taken { "taken" } else { "failed" });
        self.record(by, "alert test", told.iter().map(subject).collect()).await?;
        Ok(told)
    }
}
