//! `/admin/v1/collections`: what is backed up, and what of others is kept.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::Body;
use super::etag::{tagged, unchanged};
use super::input::At;
use super::page::Page;
use super::refusals::{BadBody, Missing, Refused, Stale};
use crate::backup::collections::{self, CollectionError, NewFolders};
use crate::backup::select;
use crate::domain::text::path_text;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, May, Read};
use crate::http::admin::view::collection::CollectionView;
use crate::http::problem::Problem;
use crate::source::Excludes;
use crate::store::IndexError;
use crate::store::index::{Application, CollectionSettings};

/// A collection of folders that is to be backed up.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCollection {
    /// 1 to 64 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Folders and files of this machine: absolute paths.
    #[schema(min_items = 1)]
    pub folders: Vec<String>,
    /// What is left out: patterns as in `.gitignore`.
    #[serde(default)]
    pub excludes: Vec<String>,
    /// The preset of its application, e.g. `quilltap`.
    pub preset: Option<String>,
    /// How hard it is compressed: zstd, 1 to 19; 3 if nothing is said.
    #[schema(minimum = 1, maximum = 19)]
    pub compression: Option<i32>,
    /// Whether sealed chunks hide their lengths.
    #[serde(default)]
    pub padding: bool,
}

/// What is to change of how a collection is backed up. What is not named stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCollection {
    /// Folders and files in place of those of before.
    #[schema(min_items = 1)]
    pub folders: Option<Vec<String>>,
    /// What is left out.
    pub excludes: Option<Vec<String>>,
    /// The preset of its application; `none` for none.
    pub preset: Option<String>,
    /// How hard it is compressed from now on: zstd, 1 to 19.
    #[schema(minimum = 1, maximum = 19)]
    pub compression: Option<i32>,
}

/// Lists collections
#[utoipa::path(
    get,
    path = "/admin/v1/collections",
    responses((status = 200, description = "All of them, by name", body = Page<CollectionView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_collections(
    _: May<Read>,
    State(plane): State<AdminPlane>,
) -> Result<Json<Page<CollectionView>>, Problem> {
    let mut views = Vec::new();
    for collection in plane.store().index.collections().await? {
        views.push(CollectionView::gather(plane.store(), &collection, plane.now()).await?.0);
    }
    Ok(Json(Page::whole(views)))
}

/// Adds a collection
#[utoipa::path(
    post,
    path = "/admin/v1/collections",
    request_body = AddCollection,
    responses(
        (status = 201, description = "It is added; nothing is backed up yet", body = CollectionView, headers(("location" = String, description = "The collection"))),
        Refused, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_collection(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    Body(add): Body<AddCollection>,
) -> Result<Response, Problem> {
    let view = plane.add_collection(add, &caller).await?;
    let location = HeaderValue::try_from(format!("/admin/v1/collections/{}", view.name));
    let location = location.expect("a plain name has only letters, digits, '-', '_' and '.'");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// One collection
#[utoipa::path(
    get,
    path = "/admin/v1/collections/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The collection", body = CollectionView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_collection(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<CollectionView>, Problem> {
    Ok(Json(plane.collection_view(&name).await?))
}

/// How a collection is backed up
#[utoipa::path(
    get,
    path = "/admin/v1/collections/{name}/settings",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Its settings, with an `ETag`", body = SettingsView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_settings(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Response, Problem> {
    Ok(tagged(&plane.settings(&name).await?))
}

/// Changes how a collection is backed up
#[utoipa::path(
    patch,
    path = "/admin/v1/collections/{name}/settings",
    params(
        ("name" = String, Path, description = "Its name"),
        ("if-match" = Option<String>, Header, description = "The `ETag` of the settings that are to be changed")
    ),
    request_body = ChangeCollection,
    responses((status = 200, description = "Its settings now, with an `ETag`", body = SettingsView), Refused, Missing, BadBody, Stale),
    security(("token" = ["admin"]))
)]
pub(super) async fn patch_settings(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    headers: HeaderMap,
    Body(change): Body<ChangeCollection>,
) -> Result<Response, Problem> {
    let _one_at_a_time = plane.changing.lock().await;
    unchanged(&headers, &plane.settings(&name).await?)?;
    Ok(tagged(&plane.change_collection(&name, change, &caller).await?))
}

/// How a collection is backed up.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize, ToSchema)]
pub struct SettingsView {
    /// Its name.
    pub name: String,
    /// Folders and files.
    pub folders: Vec<String>,
    /// What is left out.
    pub excludes: Vec<String>,
    /// The preset of its application.
    pub preset: Option<String>,
    /// How hard it is compressed: zstd, 1 to 19.
    pub compression: i32,
    /// Whether sealed chunks hide their lengths.
    pub padding: bool,
}

impl SettingsView {
    fn of(name: &str, settings: &CollectionSettings) -> Self {
        Self {
            name: name.to_owned(),
            folders: settings.roots.iter().map(|root| path_text(&root.path)).collect(),
            excludes: settings.excludes.clone(),
            preset: settings.application.as_ref().map(|application| application.preset.clone()),
            compression: settings.level,
            padding: settings.padding != crate::domain::chunk::Padding::None,
        }
    }
}

impl From<CollectionError> for Problem {
    fn from(error: CollectionError) -> Self {
        match &error {
            CollectionError::Index(IndexError::NameTaken { .. }) => Self::conflict("name-taken", error.to_string()),
            CollectionError::Index(cause) => Self::internal(cause),
            CollectionError::Store(cause) => Self::internal(cause),
            _ => Self::invalid(crate::monitor::with_causes(&error)),
        }
    }
}

/// What of a new collection is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddField {
    /// Its name.
    Name,
    /// Its folders.
    Folders,
    /// What is left out.
    Excludes,
    /// Its preset.
    Preset,
}

/// Why a collection is not added.
#[derive(Debug)]
pub struct AddError {
    /// What is to be typed anew, if it is that.
    pub field: Option<AddField>,
    /// The reason.
    pub problem: Problem,
}

impl From<CollectionError> for AddError {
    fn from(error: CollectionError) -> Self {
        let field = match &error {
            CollectionError::Name(_)
            | CollectionError::Reserved(_)
            | CollectionError::Index(IndexError::NameTaken { .. }) => Some(AddField::Name),
            CollectionError::Excludes(_) => Some(AddField::Excludes),
            CollectionError::Preset(_) | CollectionError::PresetValue { .. } => Some(AddField::Preset),
            CollectionError::Index(_) | CollectionError::Store(_) | CollectionError::Axon(_) => None,
            _ => Some(AddField::Folders),
        };
        Self { field, problem: error.into() }
    }
}

impl From<Problem> for AddError {
    fn from(problem: Problem) -> Self {
        Self { field: None, problem }
    }
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        error.problem
    }
}

fn absolute(folders: &[String]) -> Result<Vec<PathBuf>, Problem> {
    if folders.is_empty() {
        return Err(Problem::invalid("name at least one folder"));
    }
    let path = |text: &String| {
        let path = PathBuf::from(text);
        let fine = path.is_absolute() && !text.contains('\0');
        if fine { Ok(path) } else { Err(Problem::invalid(format!("{text:?} is no absolute path"))) }
    };
    folders.iter().map(path).collect()
}

fn level(compression: Option<i32>) -> Result<Option<i32>, Problem> {
    match compression {
        None | Some(1..=19) => Ok(compression),
        Some(_) => Err(Problem::invalid("compression is a number from 1 to 19")),
    }
}

impl AdminPlane {
    /// A collection as it is.
    pub(crate) async fn collection_view(&self, name: &str) -> Result<CollectionView, Problem> {
        let collection = select::collection(self.store(), name).await?;
        Ok(CollectionView::gather(self.store(), &collection, self.now()).await?.0)
    }

    /// How a collection is backed up.
    pub(crate) async fn settings(&self, name: &str) -> Result<SettingsView, Problem> {
        let collection = select::collection(self.store(), name).await?;
        let settings = collection.settings.as_ref().ok_or_else(not_ours)?;
        Ok(SettingsView::of(&collection.name, settings))
    }

    /// Adds a collection.
    pub(crate) async fn add_collection(
        &self,
        add: AddCollection,
        by: &crate::http::admin::access::Caller,
    ) -> Result<CollectionView, AddError> {
        let new = NewFolders {
            folders: absolute(&add.folders).map_err(|problem| AddError { field: Some(AddField::Folders), problem })?,
            name: add.name,
            names: Vec::new(),
            excludes: add.excludes,
            preset: add.preset,
            level: level(add.compression)?,
            padding: add.padding,
        };
        let (collection, _) = collections::add(self.store(), new).await?;
        self.record(by, "collection add", vec![collection.name.clone()]).await?;
        Ok(self.collection_view(&collection.name).await?)
    }

    /// Changes how a collection is backed up.
    pub(crate) async fn change_collection(
        &self,
        name: &str,
        change: ChangeCollection,
        by: &crate::http::admin::access::Caller,
    ) -> Result<SettingsView, Problem> {
        let store = self.store();
        let collection = select::collection(store, name).await?;
        let mut settings = collection.settings.clone().ok_or_else(not_ours)?;
        if let Some(folders) = &change.folders {
            settings.roots = collections::moved(&settings, &absolute(folders)?, &collection.name, store)?;
        }
        if let Some(excludes) = change.excludes {
            Excludes::new(&excludes).map_err(CollectionError::from)?;
            settings.excludes = excludes;
        }
        let folders: Vec<PathBuf> = settings.roots.iter().map(|root| root.path.clone()).collect();
        match (change.preset.as_deref(), &mut settings.application) {
            (Some("none"), application) => *application = None,
            (Some(name), application) => {
                let preset = collections::choose(store, name, &folders)?.name;
                let hooks = application.take().and_then(|known| known.hooks);
                *application = Some(Application { preset, hooks });
            }
            (None, Some(application)) if change.folders.is_some() => {
                application.preset = collections::choose(store, &application.preset, &folders)?.name;
            }
            (None, _) => {}
        }
        settings.level = level(change.compression)?.unwrap_or(settings.level);
        store.index.update_settings(&collection.id, &settings).await?;
        self.record(by, "collection set", vec![collection.name.clone()]).await?;
        Ok(SettingsView::of(&collection.name, &settings))
    }
}

fn not_ours() -> Problem {
    Problem::conflict("not-ours", "it is another instance's: its settings are made there")
}
