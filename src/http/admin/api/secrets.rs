//! `/admin/v1/collections/{name}/secrets`: what an application needs and does not keep in its data.
//!
//! A value comes in with one request and goes out with one other. No log, no record and no error text has it, nor any answer that is kept.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

use super::body::{Body, SecretBody};
use super::idempotency::Unrepeatable;
use super::input::{At, Params};
use super::page::Page;
use super::refusals::{BadBody, Missing, Refused};
use crate::backup::secrets::{self, SecretsError};
use crate::backup::select;
use crate::domain::audit::Who;
use crate::domain::escrow::{EscrowError, SecretForm};
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, May, MayNow, Read};
use crate::http::admin::typed;
use crate::http::admin::view::secret::{
    ElsewhereSecret, KeptSecret, RemovedSecret, RevealedSecret, SecretView,
};
use crate::http::hidden::Hidden;
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::store::index::Collection;
use crate::store::{EscrowFileError, blocking};

/// A secret that is to be stored. The value is given as text or in base64; at most 64 KiB.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepSecret {
    /// What it is called: the variable, or the file. 1 to 64 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What it is in the application. If nothing is said: what the preset says of this name, and otherwise the value of a variable if it
    /// is given as text, the content of a file if it is given in base64; line breaks at the end of a variable's value are left out then.
    #[serde(default)]
    pub form: Option<SecretForm>,
    /// The value, as text.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub value: Option<Hidden>,
    /// The value, in standard base64: for what is no text.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub value_base64: Option<Hidden>,
}

/// Which one is to be shown.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevealSecret {
    /// How its fingerprint begins, if there were several; the one in use if nothing is said.
    #[serde(default)]
    pub fingerprint: Option<String>,
}

/// Which ones are to be forgotten.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RemoveQuery {
    /// How the fingerprint begins of the one to forget; all of this name if nothing is said.
    fingerprint: Option<String>,
    /// Also if snapshots are of little use without it.
    #[serde(default)]
    force: bool,
}

/// What of a secret that is to be stored is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretField {
    /// Its name.
    Name,
    /// Its value.
    Value,
}

/// Why a secret is not stored.
#[derive(Debug)]
pub struct KeepError {
    /// What is to be typed anew, if it is that.
    pub field: Option<SecretField>,
    /// The reason.
    pub problem: Problem,
}

impl KeepError {
    fn value(why: &str) -> Self {
        Self { field: Some(SecretField::Value), problem: Problem::invalid(why) }
    }
}

impl From<SecretsError> for KeepError {
    fn from(error: SecretsError) -> Self {
        let field = match &error {
            SecretsError::Stored(EscrowFileError::Escrow(EscrowError::BadName(_))) => Some(SecretField::Name),
            SecretsError::Stored(EscrowFileError::Escrow(EscrowError::Empty(_) | EscrowError::TooLong(_))) => {
                Some(SecretField::Value)
            }
            _ => None,
        };
        Self { field, problem: error.into() }
    }
}

impl From<Problem> for KeepError {
    fn from(problem: Problem) -> Self {
        Self { field: None, problem }
    }
}

impl From<SecretsError> for Problem {
    fn from(error: SecretsError) -> Self {
        match error {
            SecretsError::NotOurs(_) => Self::conflict("not-ours", error.to_string()),
            SecretsError::NoSuch(_) => Self::no_such(error.to_string()),
            SecretsError::Needed { .. } => Self::conflict("needed", error.to_string()),
            SecretsError::BadName(_) => Self::invalid(error.to_string()),
            SecretsError::Stored(error) => error.into(),
            SecretsError::Index(error) => error.into(),
        }
    }
}

impl From<EscrowFileError> for Problem {
    fn from(error: EscrowFileError) -> Self {
        let words = with_causes(&error);
        match error {
            EscrowFileError::Store(error) => error.into(),
            EscrowFileError::Full => Self::conflict("full", words),
            EscrowFileError::Damaged { .. } => Self::conflict("damaged", words),
            EscrowFileError::Escrow(EscrowError::Empty(_) | EscrowError::TooLong(_) | EscrowError::BadName(_)) => {
                Self::invalid(words)
            }
            // Sealed for others, changed where it is kept, or of a newer form.
            EscrowFileError::Escrow(_) => Self::conflict("does-not-open", words),
        }
    }
}

/// Lists the secrets of a collection's application: what is known of each, never a value
#[utoipa::path(
    get,
    path = "/admin/v1/collections/{name}/secrets",
    params(("name" = String, Path, description = "The collection")),
    responses(
        (status = 200, description = "All of them: those that are missing, stored, and kept elsewhere", body = Page<SecretView>),
        (status = 409, description = "What is stored is damaged, or of a newer form", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn get_secrets(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<Page<SecretView>>, Problem> {
    let collection = select::collection(plane.store(), &name).await?;
    Ok(Json(Page::whole(plane.secrets(&collection).await?)))
}

/// Stores a secret, sealed for this instance and for the recovery key, apart from the data
#[utoipa::path(
    post,
    path = "/admin/v1/collections/{name}/secrets",
    params(
        ("name" = String, Path, description = "The collection"),
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    request_body = KeepSecret,
    responses(
        (status = 201, description = "It is the one in use from now on", body = KeptSecret),
        (status = 200, description = "It is the one in use already", body = KeptSecret),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_secret(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At(name): At<String>,
    SecretBody(keep): SecretBody<KeepSecret>,
) -> Result<(StatusCode, Json<KeptSecret>), Problem> {
    let kept = plane.keep_secret(&name, keep, typed::asker(&caller, &headers)).await.map_err(|error| error.problem)?;
    let status = if kept.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(kept)))
}

/// Shows a secret. That it was shown is on record, and the answer is kept nowhere
#[utoipa::path(
    post,
    path = "/admin/v1/collections/{name}/secrets/{secret}/reveal",
    params(
        ("name" = String, Path, description = "The collection"),
        ("secret" = String, Path, description = "What the secret is called"),
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    request_body = RevealSecret,
    responses((status = 200, description = "The secret, with its value", body = RevealedSecret), Refused, Missing, BadBody),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_reveal(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At((name, secret)): At<(String, String)>,
    Body(which): Body<RevealSecret>,
) -> Result<Response, Problem> {
    let which = (secret.as_str(), which.fingerprint.as_deref());
    let revealed = plane.reveal_secret(&name, which, typed::asker(&caller, &headers)).await?;
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((Extension(Unrepeatable), no_store, Json(revealed)).into_response())
}

/// Forgets a secret, or one that is not in use any more
#[utoipa::path(
    delete,
    path = "/admin/v1/collections/{name}/secrets/{secret}",
    params(
        ("name" = String, Path, description = "The collection"),
        ("secret" = String, Path, description = "What the secret is called"),
        RemoveQuery,
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    responses(
        (status = 200, description = "What is stored here no more", body = RemovedSecret),
        (status = 409, description = "Snapshots need it; or its collection is another instance's", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_secret(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At((name, secret)): At<(String, String)>,
    Params(query): Params<RemoveQuery>,
) -> Result<Json<RemovedSecret>, Problem> {
    let which = (secret.as_str(), query.fingerprint.as_deref());
    Ok(Json(plane.remove_secret(&name, which, query.force, typed::asker(&caller, &headers)).await?))
}

/// Says that a secret is kept elsewhere: no backup stores it, and nobody is reminded of it. What is stored of it stays
#[utoipa::path(
    put,
    path = "/admin/v1/collections/{name}/secrets/{secret}/elsewhere",
    params(
        ("name" = String, Path, description = "The collection"),
        ("secret" = String, Path, description = "What the secret is called"),
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    responses(
        (status = 200, description = "It is kept elsewhere", body = ElsewhereSecret),
        (status = 409, description = "The collection is another instance's; or what is stored is damaged", body = ProblemDocument),
        (status = 422, description = "It cannot be called so", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn put_elsewhere(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At((name, secret)): At<(String, String)>,
) -> Result<Json<ElsewhereSecret>, Problem> {
    Ok(Json(plane.secret_elsewhere(&name, &secret, true, typed::asker(&caller, &headers)).await?))
}

/// Says that a secret is not kept elsewhere any more: the next backup stores it, if it finds it
#[utoipa::path(
    delete,
    path = "/admin/v1/collections/{name}/secrets/{secret}/elsewhere",
    params(
        ("name" = String, Path, description = "The collection"),
        ("secret" = String, Path, description = "What the secret is called"),
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    responses(
        (status = 200, description = "It is not kept elsewhere", body = ElsewhereSecret),
        (status = 409, description = "The collection is another instance's; or what is stored is damaged", body = ProblemDocument),
        (status = 422, description = "It cannot be called so", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_elsewhere(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At((name, secret)): At<(String, String)>,
) -> Result<Json<ElsewhereSecret>, Problem> {
    Ok(Json(plane.secret_elsewhere(&name, &secret, false, typed::asker(&caller, &headers)).await?))
}

/// What the audit log has of a secret: its name, and how its fingerprint begins.
fn on_record(name: &str, fingerprint: &str) -> String {
    format!("{name} {}", fingerprint.get(..8).unwrap_or(fingerprint))
}

impl AdminPlane {
    /// The secrets of a collection.
    pub(crate) async fn secrets(&self, collection: &Collection) -> Result<Vec<SecretView>, Problem> {
        let (store, of) = (self.store().clone(), collection.clone());
        let missing = blocking(move || secrets::missing(&store, &of)).await?;
        Ok(SecretView::all(missing, secrets::list(self.store(), collection).await?))
    }

    /// Stores one.
    pub(crate) async fn keep_secret(&self, name: &str, keep: KeepSecret, by: Who) -> Result<KeptSecret, KeepError> {
        let store = self.store();
        let collection = select::collection(store, name).await.map_err(Problem::from)?;
        secrets::own(&collection)?;
        let (mut value, usual) = match (&keep.value, &keep.value_base64) {
            (Some(text), None) => (Zeroizing::new(text.as_bytes().to_vec()), SecretForm::Variable),
            (None, Some(text)) => {
                let bytes = data_encoding::BASE64.decode(text.as_bytes());
                let bytes = bytes.map_err(|_| KeepError::value("value_base64 is no standard base64"))?;
                (Zeroizing::new(bytes), SecretForm::File)
            }
            _ => return Err(KeepError::value("give the value: either as text, or in base64")),
        };
        let form = match keep.form {
            Some(form) => form,
            None => {
                let form = secrets::known_form(store, &collection, &keep.name).unwrap_or(usual);
                if form == SecretForm::Variable {
                    secrets::trim_end(&mut value);
                }
                form
            }
        };
        let given = (keep.name.clone(), form, value);
        let (fingerprint, new) = secrets::add(store, &collection, given, self.now()).await?;
        let fingerprint = fingerprint.to_string();
        let subjects = vec![collection.name.clone(), on_record(&keep.name, &fingerprint)];
        self.record_of(by, "secret add", subjects).await?;
        Ok(KeptSecret { collection: collection.name, name: keep.name, fingerprint, new })
    }

    /// Opens one, for whoever asked for it; on record before it is shown.
    pub(crate) async fn reveal_secret(
        &self,
        name: &str,
        (secret, fingerprint): (&str, Option<&str>),
        by: Who,
    ) -> Result<RevealedSecret, Problem> {
        let collection = select::collection(self.store(), name).await?;
        let (store, of) = (self.store().clone(), collection.clone());
        let (secret, fingerprint) = (secret.to_owned(), fingerprint.map(str::to_owned));
        let opened = blocking(move || secrets::open(&store, &of, (&secret, fingerprint.as_deref()), None)).await;
        let (secret, value) = opened?;
        let subjects = vec![collection.name.clone(), on_record(&secret.name, &secret.fingerprint.to_string())];
        self.record_of(by, "secret show", subjects).await?;
        Ok(RevealedSecret::of(&collection.name, secret, &value))
    }

    /// Forgets one, or all of a name.
    pub(crate) async fn remove_secret(
        &self,
        name: &str,
        (secret, fingerprint): (&str, Option<&str>),
        force: bool,
        by: Who,
    ) -> Result<RemovedSecret, Problem> {
        let collection = select::collection(self.store(), name).await?;
        let removed = secrets::remove(self.store(), &collection, (secret, fingerprint), force).await?;
        let removed: Vec<String> = removed.iter().map(ToString::to_string).collect();
        let gone = removed.iter().map(|fingerprint| on_record(secret, fingerprint));
        let subjects = std::iter::once(collection.name.clone()).chain(gone).collect();
        self.record_of(by, "secret remove", subjects).await?;
        Ok(RemovedSecret { collection: collection.name, name: secret.to_owned(), removed })
    }

    /// Says that one is kept elsewhere, or is not any more.
    pub(crate) async fn secret_elsewhere(
        &self,
        name: &str,
        secret: &str,
        elsewhere: bool,
        by: Who,
    ) -> Result<ElsewhereSecret, Problem> {
        let collection = select::collection(self.store(), name).await?;
        let stored = secrets::elsewhere(self.store(), &collection, secret, elsewhere).await?;
        let undone = (!elsewhere).then(|| "undo".to_owned());
        let subjects = [collection.name.clone(), secret.to_owned()].into_iter().chain(undone).collect();
        self.record_of(by, "secret elsewhere", subjects).await?;
        Ok(ElsewhereSecret { collection: collection.name, name: secret.to_owned(), elsewhere, stored })
    }
}
