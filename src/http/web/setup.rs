//! `/collections/{name}/settings`: what is backed up, and how.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::{Field, typed_lines};
use super::layout::{Here, Page};
use super::parts;
use super::typed::{Wrong, done, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::backup::select;
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::{AdminPlane, ChangeCollection, SettingsView};
use crate::http::problem::Problem;

/// The preset of a collection without one.
const NONE: &str = "none";

/// What was typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    folders: String,
    excludes: String,
    preset: String,
    compression: String,
    done: Option<String>,
}

impl Typed {
    fn of(now: &SettingsView) -> Self {
        Self {
            folders: now.folders.join("\n"),
            excludes: now.excludes.join("\n"),
            preset: now.preset.clone().unwrap_or_else(|| NONE.to_owned()),
            compression: now.compression.to_string(),
            done: None,
        }
    }

    /// What of it is another than now: what stays is not judged again.
    fn change(&self, now: &SettingsView) -> Result<ChangeCollection, Wrong> {
        let (folders, excludes) = (typed_lines(&self.folders), typed_lines(&self.excludes));
        if folders.is_empty() {
            return Err(Wrong::at("folders", "name at least one folder"));
        }
        if let Some(one) = folders.iter().find(|folder| !folder.starts_with('/')) {
            return Err(Wrong::at("folders", format!("{one:?} is no absolute path: it begins with /")));
        }
        let level = self.compression.trim().parse::<i32>().ok().filter(|level| (1..=19).contains(level));
        let level = level.ok_or_else(|| Wrong::at("compression", "write a number from 1 to 19"))?;
        let preset = now.preset.as_deref().unwrap_or(NONE);
        Ok(ChangeCollection {
            folders: (folders != now.folders).then_some(folders),
            excludes: (excludes != now.excludes).then_some(excludes),
            preset: (self.preset != preset).then(|| self.preset.clone()),
            compression: Some(level),
        })
    }
}

/// How it is backed up.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(asked): Query<Typed>,
) -> Result<Markup, Amiss> {
    let now = match plane.settings(&name).await {
        Ok(now) => now,
        Err(problem) if problem.code() == "not-ours" => return elsewhere(&plane, &viewer, &name).await,
        Err(problem) => return Err(problem.into()),
    };
    let said = asked.done.is_some().then_some("Saved. It holds from the next backup on.");
    show(&plane, &viewer, &now, &Typed::of(&now), None, said).await
}

/// Changes it.
pub(super) async fn save(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Typed>,
) -> Result<Response, Amiss> {
    let Posted { session, form } = posted;
    let now = plane.settings(&name).await?;
    let wrong = match form.change(&now) {
        Err(wrong) => wrong,
        Ok(change) => {
            let only = match (&change.folders, &change.excludes, &change.preset) {
                (None, Some(_), None) => Some("excludes"),
                (Some(_), None, None) => Some("folders"),
                (None, None, Some(_)) => Some("preset"),
                _ => None,
            };
            match plane.change_collection(&name, change, &session.caller()).await {
                Ok(now) => return Ok(see_other(&format!("/collections/{}/settings?done=yes", now.name))),
                Err(problem) => {
                    let wrong = Wrong::told(problem)?;
                    match only {
                        Some(field) => wrong.of(field),
                        None => wrong,
                    }
                }
            }
        }
    };
    Ok(wrong.answer(show(&plane, &Viewer::from(session), &now, &form, Some(&wrong), None).await?))
}

async fn show(
    plane: &AdminPlane,
    viewer: &Viewer,
    now: &SettingsView,
    typed: &Typed,
    wrong: Option<&Wrong>,
    said: Option<&str>,
) -> Result<Markup, Amiss> {
    let names = plane.store().preset_names().map_err(|error| Problem::internal(&error))?;
    let mut presets = vec![(NONE.to_owned(), "None: plain folders".to_owned())];
    presets.extend(names.into_iter().map(|(name, _)| (name.clone(), name)));
    let path = format!("/collections/{}", now.name);
    let padded =
        if now.padding { "Sealed chunks hide their lengths." } else { "Sealed chunks do not hide their lengths." };
    let main = html! {
        div.stack {
            @if let Some(said) = said { (done(said)) }
            (wrong_of_all(wrong))
            form.card method="post" action={ (path) "/settings" } {
                (parts::csrf(viewer))
                (Field { name: "folders", label: "Folders and files", hint: "One a line, as absolute paths of this machine.", value: &typed.folders, wrong: wrong_at(wrong, "folders") }.lines(4))
                (Field { name: "excludes", label: "What is left out", hint: "Patterns as in .gitignore, one a line.", value: &typed.excludes, wrong: wrong_at(wrong, "excludes") }.lines(5))
                (Field { name: "preset", label: "Application", hint: "Its rules: what belongs together, and what has to hold.", value: &typed.preset, wrong: wrong_at(wrong, "preset") }.choice(&presets))
                (Field { name: "compression", label: "Compression", hint: "1 is fast, 19 is small; 3 is usual. What is stored already stays as it is.", value: &typed.compression, wrong: wrong_at(wrong, "compression") }.line())
                p.small.soft { (padded) " That is decided when a collection is added." }
                div.actions { button.button type="submit" { "Save" } a.button.quiet href=(path) { "Back" } }
            }
        }
    };
    let page = Page::new(format!("Settings of {}", now.name), Here::Overview);
    page.below("/", "Overview").below(path.clone(), now.name.clone()).show(plane, viewer, main).await
}

/// It is backed up by another instance.
async fn elsewhere(plane: &AdminPlane, viewer: &Viewer, name: &str) -> Result<Markup, Amiss> {
    let collection = select::collection(plane.store(), name).await.map_err(Problem::from)?;
    let path = format!("/collections/{}", collection.name);
    let main = parts::empty(
        "It is another instance's",
        "Its snapshots are made elsewhere, and so are its settings. What is done with the copy here, you can say:",
        &html! { div.actions { a.button.quiet href={ (path) "/schedule" } { "Its schedule here" } } },
    );
    let page = Page::new(format!("Settings of {}", collection.name), Here::Overview);
    page.below("/", "Overview").below(path.clone(), collection.name.clone()).show(plane, viewer, main).await
}
