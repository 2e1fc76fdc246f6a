//! `/collections/{name}/recover`: the live folders brought back: from what; then what would be done; then it is done.
//!
//! As with a restore, what was filled in stands in the address, and nothing is touched before a run that only looks has said what would be.

use std::path::PathBuf;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::forms::{Field, typed_lines};
use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::restore::GOOD_FOR;
use super::run::{going, not_done};
use super::runs::state;
use super::snapshot::reason;
use super::typed::tick;
use super::{Amiss, Viewer, report};
use crate::backup::recover::{RecoverOptions, candidates};
use crate::domain::run::RunKind;
use crate::domain::words::count;
use crate::http::admin::access::local::{query_value, see_other};
use crate::http::admin::access::{FreshPosted, Posted, Session};
use crate::http::admin::view::run::{RunState, RunView};
use crate::http::admin::{AdminPlane, StartRecovery};
use crate::http::problem::Problem;
use crate::store::index::{Collection, CollectionKind};

/// So many places are named one by one.
const LISTED: usize = 20;
/// So many snapshots can be chosen.
const CHOICES: usize = 60;

/// What is filled in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filled {
    /// A number; the newest that is sound, if it is empty.
    snapshot: String,
    /// A line each.
    paths: String,
    drop_sessions: String,
    force: String,
    /// The run that looked what would be done.
    tried: Option<i64>,
    /// The page does not load itself again.
    still: Option<String>,
}

impl Filled {
    fn order(&self, name: &str, dry_run: bool) -> StartRecovery {
        StartRecovery {
            collection: name.to_owned(),
            snapshot: Some(self.snapshot.trim().to_owned()).filter(|which| !which.is_empty()),
            paths: typed_lines(&self.paths),
            // That the application runs is said by the look, too.
            force: !self.force.is_empty(),
            drop_sessions: !self.drop_sessions.is_empty(),
            dry_run,
        }
    }

    /// The page with all this.
    fn address(&self, name: &str, tried: Option<i64>) -> String {
        let (snapshot, paths) = (query_value(&self.snapshot), query_value(&self.paths));
        let mut address = format!("/collections/{name}/recover?snapshot={snapshot}&paths={paths}");
        if !self.drop_sessions.is_empty() {
            address.push_str("&drop_sessions=yes");
        }
        if let Some(tried) = tried {
            address.push_str(&format!("&tried={tried}"));
        }
        address
    }
}

/// The form; or, once it was tried, what would be done.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(filled): Query<Filled>,
) -> Result<Markup, Amiss> {
    let collection = known(&plane, &name).await?;
    match filled.tried {
        Some(tried) => preview(&plane, &viewer, &collection, &filled, tried, None).await,
        None => form(&plane, &viewer, &collection, &filled, None).await,
    }
}

/// Looks what would be done. Nothing is touched.
pub(super) async fn look(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Filled>,
) -> Result<Response, Amiss> {
    let (session, filled) = (posted.session, Filled { force: String::new(), ..posted.form });
    let collection = known(&plane, &name).await?;
    match begin(&plane, &session, filled.order(&name, true)).await {
        Ok(run) => Ok(see_other(&filled.address(&name, Some(run)))),
        Err(problem) if is_said(&problem) => {
            let page = form(&plane, &session.into(), &collection, &filled, Some(&problem)).await?;
            Ok((problem.status(), page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// Does it. It needs a run that looked first, at the very same.
pub(super) async fn now(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Filled>,
) -> Result<Response, Amiss> {
    let (session, filled) = (posted.session, posted.form);
    let collection = known(&plane, &name).await?;
    let tried = match filled.tried {
        Some(run) => plane.run(run).await?.filter(|run| is_look_at(&plane, run, &collection, &filled)),
        None => None,
    };
    let Some(tried) = tried else {
        let problem = Problem::conflict("not-looked", "look first what would be done, then bring it back");
        let page = form(&plane, &session.into(), &collection, &filled, Some(&problem)).await?;
        return Ok((StatusCode::CONFLICT, page).into_response());
    };
    // The snapshot that was shown, though a newer one was made meanwhile.
    let shown = chosen(&tried).map(|(sequence, _)| sequence.to_string());
    let snapshot = shown.unwrap_or_else(|| filled.snapshot.clone());
    let order = Filled { snapshot, ..filled.clone() }.order(&name, false);
    match begin(&plane, &session, order).await {
        Ok(run) => Ok(see_other(&format!("/runs/{run}"))),
        Err(problem) if is_said(&problem) => {
            let page = preview(&plane, &session.into(), &collection, &filled, tried.id, Some(&problem)).await?;
            Ok((problem.status(), page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn known(plane: &AdminPlane, name: &str) -> Result<Collection, Amiss> {
    plane.store().index.collection_named(name).await?.ok_or_else(Amiss::not_found)
}

async fn begin(plane: &AdminPlane, session: &Session, start: StartRecovery) -> Result<i64, Problem> {
    plane.start(plane.recovery_order(start).await?, session.caller().who()).await
}

/// Whether it is said on the page.
fn is_said(problem: &Problem) -> bool {
    matches!(problem.status(), StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::NOT_FOUND)
}

/// Whether a run looked at the very same, not long ago.
fn is_look_at(plane: &AdminPlane, run: &RunView, collection: &Collection, filled: &Filled) -> bool {
    let StartRecovery { paths, drop_sessions, .. } = filled.order(&collection.name, true);
    let paths = paths.into_iter().map(PathBuf::from).collect();
    let asked = RecoverOptions { paths, drop_sessions, ..RecoverOptions::plain() }.document();
    let of_run = run.report.as_ref().and_then(|report| report.get("asked"));
    of_run == Some(&asked)
        && run.ended_at.is_some_and(|ended| plane.now().duration_since(ended) < GOOD_FOR)
        && run.kind == RunKind::Recover.word()
        && matches!(run.state, RunState::Done | RunState::Partly)
        && run.collection.as_deref() == Some(collection.name.as_str())
        && report::is_only_look(run)
}

/// The number of the snapshot that would be taken, and why that one.
fn chosen(run: &RunView) -> Option<(u64, &str)> {
    let chosen = run.report.as_ref()?.pointer("/report/chosen")?;
    Some((chosen.get("sequence")?.as_u64()?, chosen.get("why")?.as_str()?))
}

fn texts<'a>(run: &'a RunView, at: &str) -> Vec<&'a str> {
    let list = run.report.as_ref().and_then(|report| report.pointer(at)).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn framed(collection: &Collection) -> Page {
    let name = &collection.name;
    Page::new(format!("Bring the live folders of {name} back"), Here::Overview)
        .below("/", "Overview")
        .below(format!("/collections/{name}"), name.clone())
}

async fn form(
    plane: &AdminPlane,
    viewer: &Viewer,
    collection: &Collection,
    filled: &Filled,
    wrong: Option<&Problem>,
) -> Result<Markup, Amiss> {
    let (store, name) = (plane.store(), &collection.name);
    let settings = collection.settings.as_ref().filter(|settings| settings.kind == CollectionKind::Directory);
    let Some(settings) = settings else {
        let readable = store.index.newest_readable(&collection.id).await?;
        let main = parts::empty(
            "Its folders are not on this machine",
            "What is not backed up here has no live folders to bring back. Restore a snapshot of it into any folder instead.",
            &html! {
                div.actions {
                    @if let Some(newest) = readable { a.button href={ "/snapshots/" (newest.id) "/restore" } { "Restore the newest snapshot" } }
                    a.button.quiet href={ "/collections/" (name) } { "Back" }
                }
            },
        );
        return framed(collection).show(plane, viewer, main).await;
    };
    let preset = store.preset_of(Some(settings)).ok();
    let has_sessions = preset.is_some_and(|preset| !preset.sessions.is_empty());
    let mut choices = vec![(String::new(), "The newest that is complete, sound and not flagged".to_owned())];
    for one in candidates(store, &collection.id).await?.into_iter().take(CHOICES) {
        let against = one.passed_over.map(|why| format!("; {why}")).unwrap_or_default();
        let made = parts::exact(one.created_at);
        choices.push((one.sequence.to_string(), format!("@{} of {made}{against}", one.sequence)));
    }
    let invalid = wrong.filter(|problem| problem.status() == StatusCode::UNPROCESSABLE_ENTITY).map(Problem::reason);
    let main = html! {
        div.stack {
            @if let Some(problem) = wrong.filter(|_| invalid.is_none()) { (not_done(&reason(problem))) }
            p.lead {
                "A snapshot is made beside the live folders, every byte is compared, and then it takes their place. What is there now is \
                 kept beside, under a name with the date. First you see what would be done."
            }
            section.card {
                h2 { "What would be replaced" }
                ul { @for root in &settings.roots { li { code { (root.path.display()) } } } }
                p { strong { "Stop the application first." } " While it runs nothing is changed: what it still holds in memory would be written \
                     over what is brought back. Start it again when the run has ended." }
            }
            form.card method="post" action={ "/collections/" (name) "/recover" } {
                (parts::csrf(viewer))
                (Field {
                    name: "snapshot",
                    label: "From which snapshot",
                    hint: "What is against one stands beside it.",
                    value: &filled.snapshot,
                    wrong: None,
                }.choice(&choices))
                (Field {
                    name: "paths",
                    label: "Only these",
                    hint: "Files and folders below the collection's folder, a line each. Empty: all of it.",
                    value: &filled.paths,
                    wrong: invalid,
                }.lines(3))
                @if has_sessions { (tick("drop_sessions", "Log everybody out: sessions do not come back", !filled.drop_sessions.is_empty())) }
                div.actions {
                    button.button type="submit" { "Show what would be done" }
                    a.button.quiet href={ "/collections/" (name) } { "Back" }
                }
            }
            p.small.soft { "Commands that stop and start the application by themselves are for the terminal: " code { "bulbil recover " (name) " --stop … --start …" } "." }
        }
    };
    framed(collection).show(plane, viewer, main).await
}

async fn preview(
    plane: &AdminPlane,
    viewer: &Viewer,
    collection: &Collection,
    filled: &Filled,
    tried: i64,
    wrong: Option<&Problem>,
) -> Result<Markup, Amiss> {
    let is_of_it =
        |run: &RunView| run.kind == RunKind::Recover.word() && run.collection.as_ref() == Some(&collection.name);
    let run = plane.run(tried).await?.filter(is_of_it).ok_or_else(Amiss::not_found)?;
    let (running, still) = (run.state == RunState::Running, filled.still.is_some());
    let here = filled.address(&collection.name, Some(tried));
    let back = filled.address(&collection.name, None);
    let main = html! {
        div.stack {
            @if let Some(problem) = wrong { (not_done(&reason(problem))) }
            @if running {
                (going(&run, &plane.run_log(tried, 0).await?, viewer, (&here, still), plane.now()))
            } @else if is_look_at(plane, &run, collection, filled) {
                p.lead { "Nothing is changed yet. Look at it, then say so:" }
                (planned(&run))
                form method="post" action={ "/collections/" (collection.name) "/recover/now" } {
                    (parts::csrf(viewer))
                    input type="hidden" name="snapshot" value=(filled.snapshot);
                    input type="hidden" name="paths" value=(filled.paths);
                    @if !filled.drop_sessions.is_empty() { input type="hidden" name="drop_sessions" value="yes"; }
                    input type="hidden" name="tried" value=(tried);
                    input type="hidden" name="back" value=(here);
                    (tick("force", "Go on although the application seems to run, or the snapshot has faults", false))
                    div.actions {
                        button.button.danger type="submit" { "Bring it back now" }
                        a.button.quiet href=(back) { "Change something" }
                    }
                }
            } @else {
                p.lead { (state(&run)) }
                (parts::trouble(Light::Bad, "What would be done cannot be said", run.message.as_deref().unwrap_or("the run that looked was of something else"), None))
                p { a.button.quiet href=(back) { "Change something" } }
            }
        }
    };
    let page = framed(collection);
    let page = match (running, still) {
        (true, false) => page.live().refreshed(),
        (true, true) => page.live(),
        (false, _) => page,
    };
    page.show(plane, viewer, main).await
}

/// What would be done.
fn planned(run: &RunView) -> Markup {
    let (replaced, kept) = (texts(run, "/report/replaced"), texts(run, "/report/damaged"));
    html! {
        @for warning in texts(run, "/report/warnings") { (parts::trouble(Light::Care, "Before you go on", warning, None)) }
        section.card {
            h2 { "What would be done" }
            (parts::facts(&[
                ("From", html! {
                    @match chosen(run) {
                        Some((sequence, why)) => { "snapshot @" (sequence) span.soft { ": " (why) } }
                        None => "no snapshot: it is only emptied",
                    }
                }),
                ("Replaced", html! {
                    @if replaced.is_empty() { "nothing" }
                    ul { @for path in replaced.iter().take(LISTED) { li { code { (path) } } } }
                    @if replaced.len() > LISTED { p.soft { "and " (count((replaced.len() - LISTED) as u64, "more place")) } }
                }),
                ("Kept in", html! { ul { @for path in &kept { li { code { (path) } } } } }),
            ]))
            p.small.soft { "The name of what is kept has the date and time of the moment at which it is done." }
        }
    }
}
