//! `/snapshots/{id}/restore`: into which folder, and what; then what would be done; then it is done.
//!
//! What was filled in stands in the address of the page, so that it is still there after the password was asked for. Nothing is written
//! before a run that only looks has said what would be.

use std::path::{Path as FilePath, PathBuf};

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::{Field, typed_lines};
use super::parts::{self, Light};
use super::run::{going, not_done};
use super::runs::state;
use super::snapshot::{Known, known, reason};
use super::{Amiss, Viewer, report};
use crate::domain::run::RunKind;
use crate::domain::text::path_text;
use crate::http::admin::access::local::{query_value, see_other};
use crate::http::admin::access::{FreshPosted, Posted, Session};
use crate::http::admin::view::run::{RunState, RunView};
use crate::http::admin::{AdminPlane, OverwriteRule, StartRestore};
use crate::http::problem::Problem;
use crate::store::{Store, blocking, place};
use crate::worker::jobs::Order;

/// What was looked at is done within this, or looked at again.
pub(super) const GOOD_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// What is filled in.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filled {
    #[serde(default)]
    target: String,
    /// A line each.
    #[serde(default)]
    paths: String,
    #[serde(default)]
    overwrite: String,
    /// Whatever is sent for a box that is ticked.
    #[serde(default)]
    delete: String,
    /// The run that looked what would be done.
    tried: Option<i64>,
    /// The page does not load itself again.
    still: Option<String>,
}

/// What is sent for each of these rules, and what it means.
const RULES: [(&str, &str); 3] = [
    ("if-changed", "Write them anew if they differ"),
    ("never", "Leave them: only what is missing is written"),
    ("always", "Write all of them anew"),
];

impl Filled {
    fn rule(&self) -> OverwriteRule {
        match self.overwrite.as_str() {
            "never" => OverwriteRule::Never,
            "always" => OverwriteRule::Always,
            _ => OverwriteRule::IfChanged,
        }
    }

    fn rule_word(&self) -> &'static str {
        RULES.iter().map(|(word, _)| *word).find(|word| *word == self.overwrite).unwrap_or(RULES[0].0)
    }

    fn order(&self, known: &Known, dry_run: bool) -> StartRestore {
        StartRestore {
            snapshot: known.view.id.clone(),
            target: self.target.trim().to_owned(),
            paths: typed_lines(&self.paths),
            overwrite: self.rule(),
            delete: !self.delete.is_empty(),
            dry_run,
        }
    }

    /// The page with all this.
    fn address(&self, known: &Known, tried: Option<i64>) -> String {
        let mut address = format!(
            "{}/restore?target={}&paths={}&overwrite={}",
            known.path(),
            query_value(&self.target),
            query_value(&self.paths),
            self.rule_word()
        );
        if !self.delete.is_empty() {
            address.push_str("&delete=yes");
        }
        if let Some(tried) = tried {
            address.push_str(&format!("&tried={tried}"));
        }
        address
    }

    fn hidden(&self) -> Markup {
        html! {
            input type="hidden" name="target" value=(self.target);
            // In a hidden field line breaks stay.
            input type="hidden" name="paths" value=(self.paths);
            input type="hidden" name="overwrite" value=(self.rule_word());
            @if !self.delete.is_empty() { input type="hidden" name="delete" value="yes"; }
        }
    }
}

/// The form; or, once it was tried, what would be done.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
    Query(filled): Query<Filled>,
) -> Result<Markup, Amiss> {
    let known = known(&plane, &id).await?;
    match filled.tried {
        Some(tried) => preview(&plane, &viewer, &known, &filled, tried, None).await,
        None => form(&plane, &viewer, &known, filled, None).await,
    }
}

/// Looks what would be done. Nothing is written.
pub(super) async fn look(
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
    posted: Posted<Filled>,
) -> Result<Response, Amiss> {
    let (session, filled) = (posted.session, posted.form);
    let known = known(&plane, &id).await?;
    match begin(&plane, &session, filled.order(&known, true)).await {
        Ok(run) => Ok(see_other(&filled.address(&known, Some(run)))),
        Err(problem) if is_said(&problem) => {
            let status = problem.status();
            let page = form(&plane, &session.into(), &known, filled, Some(&problem)).await?;
            Ok((status, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// Does it. It needs a run that looked first, at the very same.
pub(super) async fn now(
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
    posted: FreshPosted<Filled>,
) -> Result<Response, Amiss> {
    let (session, filled) = (posted.session, posted.form);
    let known = known(&plane, &id).await?;
    let run = match filled.tried {
        Some(run) => plane.run(run).await?,
        None => None,
    };
    let tried = match run {
        Some(run) if is_look_at(&plane, &run, &known, &filled).await => Some(run),
        _ => None,
    };
    let Some(tried) = tried else {
        let problem = Problem::conflict("not-looked", "look first what would be done, then restore");
        let page = form(&plane, &session.into(), &known, filled, Some(&problem)).await?;
        return Ok((StatusCode::CONFLICT, page).into_response());
    };
    match begin(&plane, &session, filled.order(&known, false)).await {
        Ok(run) => Ok(see_other(&format!("/runs/{run}"))),
        Err(problem) if is_said(&problem) => {
            let status = problem.status();
            let page = preview(&plane, &session.into(), &known, &filled, tried.id, Some(&problem)).await?;
            Ok((status, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn begin(plane: &AdminPlane, session: &Session, start: StartRestore) -> Result<i64, Problem> {
    plane.start(plane.restore_order(start).await?, session.caller().who()).await
}

/// Whether it is said on the page.
fn is_said(problem: &Problem) -> bool {
    matches!(problem.status(), StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY)
}

/// Whether a run looked at the very same, not long ago.
async fn is_look_at(plane: &AdminPlane, run: &RunView, known: &Known, filled: &Filled) -> bool {
    let report = |at: &str| run.report.as_ref().and_then(|report| report.pointer(at));
    let Ok(Order::Restore { options, target, .. }) = plane.restore_order(filled.order(known, true)).await else {
        return false;
    };
    run.kind == RunKind::Restore.word()
        && matches!(run.state, RunState::Done | RunState::Partly)
        && run.ended_at.is_some_and(|ended| plane.now().duration_since(ended) < GOOD_FOR)
        && run.snapshot.as_deref() == Some(known.view.id.as_str())
        && report("/dry_run").and_then(serde_json::Value::as_bool) == Some(true)
        && report("/target").and_then(serde_json::Value::as_str) == Some(path_text(target).as_str())
        && report("/asked") == Some(&options.document())
}

async fn form(
    plane: &AdminPlane,
    viewer: &Viewer,
    known: &Known,
    mut filled: Filled,
    wrong: Option<&Problem>,
) -> Result<Markup, Amiss> {
    if filled.target.is_empty() && wrong.is_none() {
        filled.target = beside(plane.store(), known).await;
    }
    let invalid = wrong.filter(|problem| problem.status() == StatusCode::UNPROCESSABLE_ENTITY).map(Problem::reason);
    // What is no path of the snapshot is said of the paths, all else of the folder.
    let of_paths = invalid.filter(|why| !why.starts_with("target"));
    let main = html! {
        div.stack {
            @if let Some(problem) = wrong.filter(|_| invalid.is_none()) { (not_done(&reason(problem))) }
            p.lead { "Files are written into a folder of the machine that this server runs on. First you see what would be done." }
            form.card method="post" action={ (known.path()) "/restore" } {
                (parts::csrf(viewer))
                (Field {
                    name: "target",
                    label: "Into this folder",
                    hint: "An absolute path. It is made if it is not there. The one that stands here at first is new.",
                    value: &filled.target,
                    wrong: invalid.filter(|why| why.starts_with("target")),
                }.line())
                (Field {
                    name: "paths",
                    label: "Only these",
                    hint: "Paths in the snapshot, a line each, as they stand where you browse it. Empty: all of it.",
                    value: &filled.paths,
                    wrong: of_paths,
                }.lines(3))
                fieldset.field {
                    legend { "Files that are there already" }
                    @for (word, words) in RULES {
                        p { label { input type="radio" name="overwrite" value=(word) checked[word == filled.rule_word()]; (words) } }
                    }
                    p { label {
                        input type="checkbox" name="delete" value="yes" checked[!filled.delete.is_empty()];
                        "Remove from the folder what is not in the snapshot"
                    } }
                }
                div.actions {
                    button.button type="submit" { "Show what would be done" }
                    a.button.quiet href=(known.path()) { "Back to the snapshot" }
                }
            }
        }
    };
    known.page_below(format!("Restore {}", known.name())).show(plane, viewer, main).await
}

async fn preview(
    plane: &AdminPlane,
    viewer: &Viewer,
    known: &Known,
    filled: &Filled,
    tried: i64,
    wrong: Option<&Problem>,
) -> Result<Markup, Amiss> {
    let run = plane.run(tried).await?.filter(|run| run.kind == RunKind::Restore.word()).ok_or_else(Amiss::not_found)?;
    let (running, still) = (run.state == RunState::Running, filled.still.is_some());
    let here = filled.address(known, Some(tried));
    let same = is_look_at(plane, &run, known, filled).await;
    let main = html! {
        div.stack {
            @if let Some(problem) = wrong { (not_done(&reason(problem))) }
            @if running {
                (going(&run, &plane.run_log(tried, 0).await?, viewer, (&here, still), plane.now()))
            } @else if same {
                p.lead { "Nothing is written yet. Look at it, then say so:" }
                (report::in_words(&run))
                @for line in plane.run_log(tried, 0).await?.iter().filter(|line| line.is_problem).take(20) {
                    (parts::trouble(Light::Care, "A problem", &line.in_words(), None))
                }
                @if is_live(known, FilePath::new(filled.target.trim())) {
                    (parts::trouble(Light::Care, "This is a folder that is backed up", "Files in it that are in use now are replaced by older \
                        ones. Stop the application first, and make a backup of it as it is.", None))
                }
                form method="post" action={ (known.path()) "/restore/now" } {
                    (parts::csrf(viewer))
                    (filled.hidden())
                    input type="hidden" name="tried" value=(tried);
                    input type="hidden" name="back" value=(here);
                    div.actions {
                        button.button type="submit" { "Restore now" }
                        a.button.quiet href=(filled.address(known, None)) { "Change something" }
                    }
                }
            } @else {
                p.lead { (state(&run)) }
                (parts::trouble(Light::Bad, "What would be done cannot be said", run.message.as_deref().unwrap_or("what was looked at is something else, or was looked at too long ago: look again"), None))
                p { a.button.quiet href=(filled.address(known, None)) { "Change something" } }
            }
        }
    };
    let page = known.page_below(format!("Restore {}", known.name()));
    let page = match (running, still) {
        (true, false) => page.live().refreshed(),
        (true, true) => page.live(),
        (false, _) => page,
    };
    page.show(plane, viewer, main).await
}

/// The folders that the collection is backed up from on this machine.
fn live_folders(known: &Known) -> impl Iterator<Item = &FilePath> {
    known.collection.settings.iter().flat_map(|settings| &settings.roots).map(|root| root.path.as_path())
}

/// Whether a folder is one that is backed up, is in one, or holds one.
fn is_live(known: &Known, target: &FilePath) -> bool {
    let real = place::real(target).unwrap_or_else(|_| target.to_owned());
    live_folders(known).any(|folder| real.starts_with(folder) || folder.starts_with(&real))
}

/// A folder that is not there yet: beside the first one that is backed up, or beside the home.
async fn beside(store: &Store, known: &Known) -> String {
    let first = live_folders(known).next().unwrap_or_else(|| store.home.root());
    let parent = first.parent().unwrap_or(first).to_owned();
    let name = format!("{}-restored-{}", known.collection.name, known.view.sequence);
    let free = blocking(move || {
        let parent = std::path::absolute(&parent).unwrap_or(parent);
        let candidates = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name}-{n}") });
        let mut paths = candidates.map(|name| parent.join(name));
        paths.find(|path: &PathBuf| path.symlink_metadata().is_err()).expect("there are more numbers than folders")
    });
    crate::domain::text::path_text(free.await)
}
