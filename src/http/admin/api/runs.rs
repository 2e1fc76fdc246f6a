//! `/admin/v1/runs`: backups, verifications and other work; `/admin/v1/restores` and `/admin/v1/exports`, which write outside of the home.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::SignedDuration;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::body::Body;
use super::input::{At, Params};
use super::page::{Page, limit, number};
use super::refusals::{BadBody, Missing, Refused};
use super::targets::ReadBack;
use super::upkeep::PolicyView;
use crate::backup::open::OpenSnapshot;
use crate::backup::prune::GRACE;
use crate::backup::restore::{Overwrite, RestoreOptions};
use crate::backup::select;
use crate::backup::verify::VerifyOptions;
use crate::domain::access::Scope;
use crate::domain::audit::Who;
use crate::domain::peer::Trust;
use crate::domain::run::RunKind;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, May, MayNow, Operate, Read};
use crate::http::admin::typed;
use crate::http::admin::view::run::{LineView, RunView};
use crate::http::problem::Problem;
use crate::portable::export::{ExportError, ExportOptions};
use crate::store::index::{Collection, Peer};
use crate::store::place::Precious;
use crate::worker::jobs::{Order, StartError};
use crate::worker::runs::RunError;

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RunsQuery {
    /// Of this collection.
    collection: Option<String>,
    /// Of this kind.
    kind: Option<String>,
    /// At this target; copies to all targets are among them.
    target: Option<String>,
    /// So many at once, 1 to 500; 50 if nothing is said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Where a page before this one said that the next one begins.
    cursor: Option<String>,
}

/// What is to be done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StartRun {
    /// Make a snapshot, and verify its structure.
    Backup {
        /// Of which collection.
        collection: String,
        /// That there is less than before is as it should be.
        #[serde(default)]
        accept_shrink: bool,
    },
    /// Verify the structure of all snapshots.
    Verify {
        /// Of which collection; of all, if none is named.
        collection: Option<String>,
    },
    /// Verify every stored byte of them, too.
    VerifyData {
        /// Of which collection; of all, if none is named.
        collection: Option<String>,
    },
    /// Check the folders by the rules of their application.
    Check {
        /// Whose.
        collection: String,
    },
    /// Try a restore into a scratch folder, and compare.
    Drill {
        /// Of what.
        collection: String,
        /// Of which snapshot, as `tales@3`, or its id; of the newest, if none is named.
        snapshot: Option<String>,
    },
    /// Remove what retention does not keep.
    Prune {
        /// Of which collection; of all, if none is named.
        collection: Option<String>,
        /// So many seconds stays what nobody needs any more; a day, if nothing is said. Less than a day needs the scope `admin`.
        grace_seconds: Option<u64>,
        /// What is kept this time, instead of what was said of each collection. It needs the scope `admin`.
        policy: Option<PolicyView>,
    },
    /// Copy what is new to targets, and look at what is there then.
    Copy {
        /// Of which collection; of all, if none is named.
        collection: Option<String>,
        /// To which target; to all that take it, if none is named.
        target: Option<String>,
        /// How much of what is there then is read back.
        #[serde(default)]
        verify: ReadBack,
    },
    /// Look whether what is in a target is what it should be.
    VerifyTarget {
        /// In which.
        target: String,
        /// Read every byte that is there.
        #[serde(default)]
        data: bool,
        /// Read so many of a hundred chunks, others each time. If neither is said, names and lengths are looked at.
        #[schema(minimum = 1, maximum = 100)]
        sample_percent: Option<u8>,
        /// Write chunks anew that are damaged or missing there.
        #[serde(default)]
        repair: bool,
    },
    /// Remove from a target what was removed here.
    PruneTarget {
        /// From which.
        target: String,
        /// Only say what would go.
        #[serde(default)]
        dry_run: bool,
        /// Remove chunks at once that nobody leans on, not a day later: only if nobody reads there meanwhile.
        #[serde(default)]
        at_once: bool,
    },
    /// Count what takes the space, by snapshot and by folder: the report says it.
    Usage {
        /// Of which collection.
        collection: String,
    },
    /// Ask peers what is new.
    Sync {
        /// Which one; all that are followed, if none is named.
        peer: Option<String>,
    },
    /// Fetch missing chunks from peers.
    Fetch {
        /// Of which collection; of all, if none is named.
        collection: Option<String>,
        /// From which peer; from all that are followed, if none is named.
        peer: Option<String>,
    },
    /// Ask peers for the keys of snapshots that cannot be opened here.
    Rekey {
        /// Of which collection; of all, if none is named.
        collection: Option<String>,
        /// Which peer; all that are followed, if none is named.
        peer: Option<String>,
        /// For snapshots of others that have a key here, too.
        #[serde(default)]
        all: bool,
    },
    /// Read again everything that is stored, and have brought back from peers what is lost.
    Scrub {
        /// Of which collections; of all, if none are named.
        #[serde(default)]
        collections: Vec<String>,
    },
}

impl StartRun {
    /// Whether it removes what the settings, which only an admin changes, would keep.
    fn is_deletion(&self) -> bool {
        match self {
            Self::Prune { grace_seconds, policy, .. } => {
                policy.is_some() || grace_seconds.is_some_and(|seconds| grace(seconds) < GRACE)
            }
            Self::PruneTarget { at_once, .. } => *at_once,
            _ => false,
        }
    }
}

/// More than a time can be is for ever.
fn grace(seconds: u64) -> SignedDuration {
    i64::try_from(seconds).map_or(SignedDuration::MAX, SignedDuration::from_secs)
}

/// What to do with files that are there already.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OverwriteRule {
    /// They stay.
    Never,
    /// They are written anew if they differ.
    #[default]
    IfChanged,
    /// They are written anew.
    Always,
}

/// A restore.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRestore {
    /// Which snapshot: `tales`, `tales@3`, or an id.
    pub snapshot: String,
    /// Into which folder of this machine: an absolute path.
    pub target: String,
    /// Only what is at or below these paths of the snapshot.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What to do with files that are there already.
    #[serde(default)]
    pub overwrite: OverwriteRule,
    /// Remove from restored folders what is not in the snapshot.
    #[serde(default)]
    pub delete: bool,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// An export.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartExport {
    /// Into which folder of this machine: an absolute path.
    pub output: String,
    /// Which collections; all, if none are named.
    #[serde(default)]
    pub collections: Vec<String>,
    /// Which snapshots alone.
    #[serde(default)]
    pub snapshots: Vec<String>,
}

/// Lists runs, the newest first
#[utoipa::path(
    get,
    path = "/admin/v1/runs",
    params(RunsQuery),
    responses((status = 200, description = "Runs", body = Page<RunView>), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_runs(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    Params(query): Params<RunsQuery>,
) -> Result<Json<Page<RunView>>, Problem> {
    let limit = limit(query.limit)?;
    let before = number(query.cursor.as_deref())?.unwrap_or(i64::MAX);
    let kind: Option<RunKind> = query.kind.map(|kind| kind.parse()).transpose().map_err(Problem::malformed)?;
    let collection = match &query.collection {
        Some(name) => Some(select::collection(&plane.store, name).await?.id),
        None => None,
    };
    let target = query.target.as_deref();
    if let Some(name) = target {
        crate::worker::targets::find(&plane.store, name)?;
    }
    let runs = plane.runs(collection.as_ref(), kind, target, before, limit + 1).await?;
    Ok(Json(Page::of(runs, limit, |run| run.id.to_string())))
}

/// Begins a run
#[utoipa::path(
    post,
    path = "/admin/v1/runs",
    params(("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: the number of the user who typed the command that asks, and their name, as `1000 alice`. The audit log has the command's own entry, then")),
    request_body = StartRun,
    responses(
        (status = 202, description = "It goes on: `Location` says where to look", body = RunView, headers(("location" = String, description = "The run"))),
        Refused, Missing, BadBody
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_run(
    May { caller, .. }: May<Operate>,
    admin: Result<MayNow<Admin>, Problem>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    Body(start): Body<StartRun>,
) -> Result<Response, Problem> {
    if start.is_deletion() {
        admin?;
    }
    let order = plane.order(start).await?;
    started(&plane, order, typed::asker(&caller, &headers)).await
}

/// One run
#[utoipa::path(
    get,
    path = "/admin/v1/runs/{id}",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "The run", body = RunView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_run(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(id): At<i64>,
) -> Result<Json<RunView>, Problem> {
    Ok(Json(run(&plane, id).await?))
}

/// What a run said
#[utoipa::path(
    get,
    path = "/admin/v1/runs/{id}/log",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "Notices and problems in order, the first 500", body = Page<LineView>), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_log(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(id): At<i64>,
) -> Result<Json<Page<LineView>>, Problem> {
    run(&plane, id).await?;
    Ok(Json(Page::whole(plane.run_log(id, 0).await?)))
}

/// Stops a run; it ends in order, soon. A restore, a recovery or an export needs the scope `admin`
#[utoipa::path(
    post,
    path = "/admin/v1/runs/{id}/cancel",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 202, description = "It is being stopped", body = RunView),
        Refused, Missing, BadBody
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_cancel(
    May { caller, .. }: May<Operate>,
    State(plane): State<AdminPlane>,
    At(id): At<i64>,
) -> Result<Response, Problem> {
    // Half of a restore is worse than none: who may not begin one does not stop one.
    let admins = [RunKind::Restore, RunKind::Recover, RunKind::Export].map(RunKind::word);
    if admins.contains(&run(&plane, id).await?.kind.as_str()) && !caller.scopes.allow(Scope::Admin) {
        return Err(Problem::wrong_scope(Scope::Admin));
    }
    plane.cancel_run(id).await?;
    Ok((StatusCode::ACCEPTED, Json(run(&plane, id).await?)).into_response())
}

/// Restores a snapshot, or parts of it, into a folder of this machine
#[utoipa::path(
    post,
    path = "/admin/v1/restores",
    request_body = StartRestore,
    responses(
        (status = 202, description = "It goes on: `Location` says where to look", body = RunView, headers(("location" = String, description = "The run"))),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_restore(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    Body(start): Body<StartRestore>,
) -> Result<Response, Problem> {
    let order = plane.restore_order(start).await?;
    started(&plane, order, caller.who()).await
}

/// Writes snapshots into a portable backup in a folder of this machine
#[utoipa::path(
    post,
    path = "/admin/v1/exports",
    request_body = StartExport,
    responses(
        (status = 202, description = "It goes on: `Location` says where to look", body = RunView, headers(("location" = String, description = "The run"))),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_export(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    Body(start): Body<StartExport>,
) -> Result<Response, Problem> {
    let order = plane.export_order(start).await?;
    started(&plane, order, caller.who()).await
}

async fn run(plane: &AdminPlane, id: i64) -> Result<RunView, Problem> {
    plane.run(id).await?.ok_or_else(|| Problem::no_such(format!("there is no run {id}")))
}

pub(super) async fn started(plane: &AdminPlane, order: Order, by: Who) -> Result<Response, Problem> {
    let id = plane.start(order, by).await?;
    let view = run(plane, id).await?;
    let location = HeaderValue::try_from(format!("/admin/v1/runs/{id}")).expect("digits and letters");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view)).into_response())
}

pub(super) fn absolute(text: &str, what: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(text);
    let is_plain = path.is_absolute() && !text.contains('\0');
    if is_plain {
        Ok(path)
    } else {
        Err(Problem::invalid(format!("{what} has to be an absolute path on this machine")))
    }
}

impl AdminPlane {
    /// Begins something; its number.
    pub(crate) async fn start(&self, order: Order, by: Who) -> Result<i64, Problem> {
        self.jobs.start(order, by).await.map_err(|error| match error {
            StartError::Nothing(why) => Problem::conflict("nothing-to-do", why),
            StartError::Run(error) if error.is_busy() => Problem::conflict("busy", crate::monitor::with_causes(&error)),
            StartError::Run(
                error @ (RunError::Restore(_) | RunError::Open(_) | RunError::Copies(_) | RunError::Preset(_)),
            ) => Problem::conflict("not-begun", crate::monitor::with_causes(&error)),
            StartError::Run(error) => Problem::internal(&error),
            StartError::Died => Problem::internal(&StartError::Died),
        })
    }

    /// Stops a run that goes on in this server.
    pub(crate) async fn cancel_run(&self, id: i64) -> Result<(), Problem> {
        let known = self.run(id).await?.ok_or_else(|| Problem::no_such(format!("there is no run {id}")))?;
        match self.jobs.live().get(id) {
            Some(live) => {
                live.cancel();
                Ok(())
            }
            None if known.ended_at.is_some() => Err(Problem::conflict("ended", "it has ended")),
            None => Err(Problem::conflict("elsewhere", "it goes on in another process: stop it there, with Ctrl-C")),
        }
    }

    /// What was asked for, with names resolved.
    pub(crate) async fn order(&self, start: StartRun) -> Result<Order, Problem> {
        let store = &self.store;
        let find = async |name: &str| -> Result<Box<Collection>, Problem> {
            Ok(Box::new(select::collection(store, name).await?))
        };
        Ok(match start {
            StartRun::Backup { collection, accept_shrink } => {
                let collection = find(&collection).await?;
                if collection.settings.is_none() {
                    let why = "it is another instance's: its snapshots are made there";
                    return Err(Problem::conflict("not-ours", why));
                }
                Order::Backup { collection, accept_shrink }
            }
            StartRun::Verify { collection } => self.verify(collection, false).await?,
            StartRun::VerifyData { collection } => self.verify(collection, true).await?,
            StartRun::Check { collection } => Order::Check { collection: find(&collection).await? },
            StartRun::Drill { collection, snapshot } => {
                let collection = find(&collection).await?;
                let snapshot = match snapshot {
                    Some(text) => Some(Box::new(select::snapshot(store, &text).await?)),
                    None => None,
                };
                if snapshot.as_ref().is_some_and(|snapshot| snapshot.collection != collection.id) {
                    return Err(Problem::invalid("the snapshot is of another collection"));
                }
                Order::Drill { collection, snapshot }
            }
            StartRun::Prune { collection, grace_seconds, policy } => {
                let collections = match collection {
                    Some(name) => vec![*find(&name).await?],
                    None => store.index.collections().await?,
                };
                let otherwise = policy.map(|policy| policy.policy()).transpose()?;
                Order::Prune { collections, otherwise, grace: grace_seconds.map_or(GRACE, grace) }
            }
            StartRun::Copy { collection, target, verify } => {
                self.copy_order(collection.as_deref(), target.as_deref(), verify).await?
            }
            StartRun::VerifyTarget { target, data, sample_percent, repair } => {
                self.verify_target_order(&target, data, sample_percent, repair)?
            }
            StartRun::PruneTarget { target, dry_run, at_once } => self.prune_target_order(&target, dry_run, at_once)?,
            StartRun::Usage { collection } => Order::Usage { collection: find(&collection).await? },
            StartRun::Sync { peer } => Order::Sync { peer: self.pulled(peer).await? },
            StartRun::Fetch { collection, peer } => {
                let collection = match collection {
                    Some(name) => Some(find(&name).await?),
                    None => None,
                };
                Order::Fetch { collection, peer: self.pulled(peer).await? }
            }
            StartRun::Rekey { collection, peer, all } => {
                let collection = match collection {
                    Some(name) => Some(find(&name).await?),
                    None => None,
                };
                Order::Rekey { collection, peer: self.pulled(peer).await?, all }
            }
            StartRun::Scrub { collections } => {
                let mut found = Vec::new();
                for name in &collections {
                    found.push(*find(name).await?);
                }
                Order::Scrub { collections: found }
            }
        })
    }

    /// The peer that is named, if it is pulled from.
    async fn pulled(&self, name: Option<String>) -> Result<Option<Box<Peer>>, Problem> {
        let Some(name) = name else { return Ok(None) };
        let peer = self.store.index.peer_named(&name).await?;
        let peer = peer.ok_or_else(|| Problem::no_such(format!("there is no peer {name:?} here")))?;
        if !matches!(peer.trust, Trust::Trusted(_)) || peer.address.is_none() {
            let why = "nothing is pulled from this peer: it is not trusted, or its address is not known";
            return Err(Problem::conflict("not-pulled", why));
        }
        Ok(Some(Box::new(peer)))
    }

    async fn verify(&self, collection: Option<String>, data: bool) -> Result<Order, Problem> {
        let mut options = VerifyOptions { data, ..VerifyOptions::default() };
        let collections = match collection {
            Some(name) => {
                let collection = select::collection(&self.store, &name).await?;
                options.collections.push(collection.id);
                vec![collection]
            }
            None => self.store.index.collections().await?,
        };
        Ok(Order::Verify { collections, options })
    }

    /// A restore, with names resolved.
    pub(crate) async fn restore_order(&self, start: StartRestore) -> Result<Order, Problem> {
        let target = absolute(&start.target, "target")?;
        let snapshot = select::snapshot(&self.store, &start.snapshot).await?;
        let unreadable = |error: crate::backup::open::OpenSnapshotError| {
            Problem::conflict("not-readable", crate::monitor::with_causes(&error))
        };
        let open = OpenSnapshot::open(&self.store, &snapshot.id).map_err(unreadable)?;
        let path = |path: &String| select::path(std::path::Path::new(path), &open.private);
        let paths = start.paths.iter().map(path).collect::<Result<Vec<_>, _>>()?;
        let overwrite = match start.overwrite {
            OverwriteRule::Never => Overwrite::Never,
            OverwriteRule::IfChanged => Overwrite::IfChanged,
            OverwriteRule::Always => Overwrite::Always,
        };
        let options = RestoreOptions { paths, overwrite, delete: start.delete, dry_run: start.dry_run };
        Ok(Order::Restore { snapshot: Box::new(snapshot), target, options })
    }

    /// An export, with names resolved.
    pub(crate) async fn export_order(&self, start: StartExport) -> Result<Order, Problem> {
        let output = absolute(&start.output, "output")?;
        if Precious::Home.holds(&output) {
            return Err(Problem::invalid(ExportError::Home(output).to_string()));
        }
        let mut options = ExportOptions::default();
        for name in &start.collections {
            options.collections.push(select::collection(&self.store, name).await?.id);
        }
        for name in &start.snapshots {
            let snapshot = select::snapshot(&self.store, name).await?;
            options.snapshots.push(snapshot.id);
            options.collections.push(snapshot.collection);
        }
        Ok(Order::Export { output, options: Box::new(options) })
    }
}
