//! `/admin/v1/invites`: lines that let another instance in, once.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::idempotency::Unrepeatable;
use super::refusals::{BadBody, Refused};
use super::rights::RightsBody;
use crate::domain::crypto::discovery::{DiscoveryKey, MAX_RECIPIENTS};
use crate::domain::peer::PeerAddress;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, Caller, MayNow};
use crate::http::problem::Problem;
use crate::replicate::pair;
use crate::replicate::trust::rights_in_words;
use crate::store::entropy;

/// How long an invite is good, if nothing is said: a day.
const DAY: i64 = 24;
/// At most so many hours: 90 days.
const MOST: i64 = 90 * 24;

/// An invite.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeInvite {
    /// What the guest may have.
    pub rights: RightsBody,
    /// How long it is good, in hours; 24 if nothing is said, 2160 at most.
    #[schema(minimum = 1, maximum = 2160)]
    pub expires_in_hours: Option<i64>,
}

/// An invite that was made. It carries a secret, and is shown once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InviteView {
    /// Which one.
    pub id: String,
    /// The line for `bulbil clone`.
    pub invite: String,
    /// What the guest may have, in words.
    pub rights_in_words: String,
    /// Until when it is good.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Makes an invite
#[utoipa::path(
    post,
    path = "/admin/v1/invites",
    request_body = MakeInvite,
    responses((status = 201, description = "It is good once", body = InviteView), (status = 404, description = "There is no such collection", body = crate::domain::wire::messages::ProblemDocument), Refused, BadBody),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_invite(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    Body(make): Body<MakeInvite>,
) -> Result<(StatusCode, Extension<Unrepeatable>, Json<InviteView>), Problem> {
    Ok((StatusCode::CREATED, Extension(Unrepeatable), Json(plane.invite(make, &caller).await?)))
}

impl AdminPlane {
    /// Makes an invite.
    pub(crate) async fn invite(&self, make: MakeInvite, by: &Caller) -> Result<InviteView, Problem> {
        if make.rights.collections.is_empty() {
            return Err(Problem::invalid("say what the guest may have: names of collections, or all"));
        }
        let hours = make.expires_in_hours.unwrap_or(DAY);
        if !(1..=MOST).contains(&hours) {
            return Err(Problem::invalid(format!("expires_in_hours is a number from 1 to {MOST}")));
        }
        let rights = make.rights.resolve(self.store()).await?;
        let address = self.guest_address()?;
        if matches!(&address, PeerAddress::Onion(onion) if onion.discovery().is_some()) {
            let keys = self.store().index.discovery_keys(self.now()).await?.len();
            // One is this instance's own, one is for the guest.
            if keys + 2 > MAX_RECIPIENTS {
                let why = "so many peers and invites have a key to find this hidden service that there is no room for more: remove peers, or wait until invites have expired";
                return Err(Problem::conflict("no-room", why));
            }
        }
        let expires_at = self.now().saturating_add(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MAX);
        let words = rights_in_words(self.store(), &rights).await?;
        let invite = pair::invite(self.store(), address, rights, expires_at).await?;
        self.record(by, "invite", vec![format!("{}: {words}", invite.id.short())]).await?;
        Ok(InviteView { id: invite.id.to_string(), invite: invite.to_text(), rights_in_words: words, expires_at })
    }

    /// Where guests reach this instance.
    fn guest_address(&self) -> Result<PeerAddress, Problem> {
        let text = self.network.addresses().peer.into_iter().next();
        let address: Option<PeerAddress> = text.and_then(|text| text.parse().ok());
        let address = address.filter(|address| match address {
            PeerAddress::Direct(socket) => !socket.ip().is_unspecified(),
            PeerAddress::Onion(_) => true,
        });
        let why = "nobody can call this instance as it is: say in bulbil.toml where it is reached, [peer] address";
        Ok(match address.ok_or_else(|| Problem::conflict("no-address", why))? {
            // Whoever has the invite finds the hidden service with a key of their own.
            PeerAddress::Onion(onion) if self.network.network().onion.is_some_and(|onion| onion.restricted) => {
                PeerAddress::Onion(onion.found_with(Some(DiscoveryKey::random(&mut entropy()))))
            }
            address => address,
        })
    }
}
