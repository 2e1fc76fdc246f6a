//! `/admin/v1/onions`: the keys of this instance's onion services, which are its addresses.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::body::SecretBody;
use super::idempotency::Unrepeatable;
use super::input::At;
use super::keys::RestartView;
use super::refusals::{BadBody, Missing, Refused};
use crate::domain::audit::Who;
use crate::domain::crypto::onion::OnionKey;
use crate::domain::onion::DEFAULT_PORT;
use crate::domain::tar::private_folder;
use crate::http::admin::access::{Admin, Caller, MayNow};
use crate::http::admin::change::Change;
use crate::http::admin::{AdminPlane, typed};
use crate::http::hidden::Hidden;
use crate::http::problem::Problem;
use crate::store::{OnionImportError, OnionName, blocking};

/// Which onion service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// For peers.
    Peer,
    /// For the admin.
    Admin,
}

impl Service {
    /// As it stands in paths.
    pub(in crate::http) fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Admin => "admin",
        }
    }
}

impl From<Service> for OnionName {
    fn from(service: Service) -> Self {
        match service {
            Service::Peer => Self::Peer,
            Service::Admin => Self::Admin,
        }
    }
}

/// A key that an onion service is to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportOnion {
    /// What is in C tor's `hs_ed25519_secret_key`, 96 bytes, as base64.
    #[schema(value_type = String)]
    pub(in crate::http) secret_key: Hidden,
    /// Give up the address that the service has now.
    #[serde(default)]
    pub(in crate::http) replace: bool,
    /// If the server has to start again: stop what goes on now. Otherwise nothing is done while something goes on.
    #[serde(default)]
    pub(in crate::http) stop_runs: bool,
}

/// A key was taken over.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportedView {
    /// The name that the service has with it.
    pub host: String,
    /// The server starts again to be at it; nothing if that need not be.
    pub restart: Option<RestartView>,
}

/// An onion service.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnionView {
    /// Which one.
    pub service: Service,
    /// Its name, ending in `.onion`; nothing as long as it has no key. It is drawn when it is first needed.
    pub host: Option<String>,
}

/// Shows the name that an onion service has, whether it is hosted now or not
#[utoipa::path(
    get,
    path = "/admin/v1/onions/{service}",
    params(("service" = Service, Path, description = "For whom")),
    responses((status = 200, description = "Its name", body = OnionView), Refused, Missing),
    security(("token" = ["admin"]))
)]
pub(super) async fn get_onion(
    _: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(service): At<Service>,
) -> Result<Json<OnionView>, Problem> {
    let store = plane.store().clone();
    let key = blocking(move || store.known_onion_key(service.into())).await?;
    let address = key.map(|key| key.address(DEFAULT_PORT)).transpose();
    let address = address.map_err(|error| Problem::internal(&error))?;
    Ok(Json(OnionView { service, host: address.map(|address| address.reveal()) }))
}

/// Gives out the key of an onion service, as C tor keeps it: whoever has it is at this address
#[utoipa::path(
    post,
    path = "/admin/v1/onions/{service}/export",
    params(("service" = Service, Path, description = "For whom")),
    responses(
        (status = 200, description = "A tar archive with a HiddenServiceDir", body = Vec<u8>, content_type = "application/x-tar"),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_export(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(service): At<Service>,
) -> Result<(Extension<Unrepeatable>, Response), Problem> {
    Ok((Extension(Unrepeatable), plane.export_onion(service, &caller).await?))
}

/// Takes over a key, and with it its address. Where that is one that is hosted now, the server ends in order and starts again at it
#[utoipa::path(
    post,
    path = "/admin/v1/onions/{service}/import",
    params(("service" = Service, Path, description = "For whom")),
    request_body = ImportOnion,
    responses(
        (status = 200, description = "It is taken over", body = ImportedView),
        (status = 202, description = "It is about to be. `/admin/v1/onions/{service}` shows it once the server has started again; the audit log says if it failed", body = ImportedView),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_import(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At(service): At<Service>,
    SecretBody(import): SecretBody<ImportOnion>,
) -> Result<(StatusCode, Json<ImportedView>), Problem> {
    let imported = plane.import_onion(service, &import, typed::asker(&caller, &headers)).await?;
    let status = if imported.restart.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(imported)))
}

impl AdminPlane {
    /// Gives an onion service another key. Where the old one is in use, the server starts again.
    pub(in crate::http) async fn import_onion(
        &self,
        service: Service,
        import: &ImportOnion,
        by: Who,
    ) -> Result<ImportedView, Problem> {
        let digits: Zeroizing<Vec<u8>> =
            import.secret_key.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>().into();
        let file = data_encoding::BASE64.decode(&digits).map(Zeroizing::new);
        let file =
            file.map_err(|_| Problem::invalid("secret_key is no base64: 'base64 hs_ed25519_secret_key' makes it"))?;
        let key = OnionKey::from_ctor_secret(&file).map_err(|error| Problem::invalid(error.to_string()))?;
        let address = key.address(DEFAULT_PORT).map_err(|error| Problem::invalid(error.to_string()))?;
        let (name, replace) = (OnionName::from(service), import.replace);
        let store = self.store().clone();
        let checking = move || {
            let is_new = store.check_onion_import(name, &key, replace)?;
            Ok::<_, OnionImportError>((key, is_new, store.known_onion_key(name)?))
        };
        let (key, is_new, former) = blocking(checking).await.map_err(|error| match error {
            OnionImportError::Store(error) => error.into(),
            OnionImportError::OtherService => Problem::conflict("other-service", error.to_string()),
            OnionImportError::HasAddress => Problem::conflict("has-address", error.to_string()),
        })?;
        let host = address.reveal();
        if !is_new {
            return Ok(ImportedView { host, restart: None });
        }
        if former.is_some_and(|former| self.is_at(&former)) {
            let by_hand = "bulbil onion import";
            self.change_at_rest(Change::Onion(name, key), by, import.stop_runs, by_hand).await?;
            return Ok(ImportedView { host, restart: Some(self.restart()) });
        }
        let store = self.store().clone();
        blocking(move || store.replace_onion_key(name, &key)).await?;
        self.record_of(by, "onion import", vec![service.word().to_owned()]).await?;
        Ok(ImportedView { host, restart: None })
    }

    /// Whether the server is at the address of a key.
    fn is_at(&self, key: &OnionKey) -> bool {
        let Ok(address) = key.address(DEFAULT_PORT) else { return false };
        let (host, addresses) = (address.reveal(), self.network().addresses());
        addresses.peer.iter().chain(&addresses.admin_onion).any(|address| address.contains(&host))
    }

    /// The key of an onion service as an archive of C tor's folder. That it was given out is on record before it goes.
    pub(crate) async fn export_onion(&self, service: Service, by: &Caller) -> Result<Response, Problem> {
        let (store, now) = (self.store().clone(), self.now());
        let key = blocking(move || store.onion_key(service.into())).await?;
        let folder = key.to_ctor_folder().map_err(|error| Problem::internal(&error))?;
        let files = folder.each_ref().map(|(name, bytes)| (*name, bytes.as_slice()));
        let name = format!("onion-{}", service.word());
        let archive = private_folder(&name, &files, now);
        self.record(by, "onion export", vec![service.word().to_owned()]).await?;
        let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}.tar\""));
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
            (header::CONTENT_DISPOSITION, disposition.expect("names of services are plain")),
            // Should a browser show it all the same, it may do nothing.
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")),
        ];
        Ok((headers, archive.to_vec()).into_response())
    }
}
