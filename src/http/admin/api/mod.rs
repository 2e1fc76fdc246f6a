//! `/admin/v1`: what can be seen and done, as resources. One file a resource; all of them in `openapi/bulbil-admin.json`.
//!
//! A handler says in its first argument what it needs ([`May`](super::access::May)), takes its input by [`At`], [`Params`] and [`Body`],
//! whose rejections are problem documents, calls one function, and renders.

mod alert_settings; // what counts as wrong
mod body; // JSON that comes in, with its bounds
mod channels; // who is told what is wrong
mod clones; // instances that are joined
mod collections; // what is backed up
mod configuration; // what is in force
mod etag; // whether settings were changed meanwhile
mod events; // a run, as it goes on
mod files; // what is in a snapshot
mod heirs; // who may take collections over
pub(super) mod idempotency; // a POST that is repeated is done once
mod imports; // portable backups, brought in
mod input; // what stands in the path and in the query
mod inspections; // who can open a snapshot
mod instance; // who this is, what is wrong, who did what
mod invites; // lines that let another instance in
mod keys; // whose keys these are, and others in their place
mod onions; // the keys of addresses
mod page; // lists, a page at a time
mod peers; // other instances, and what they may have
mod presets; // what is known of applications
mod promotions; // collections that are taken over
mod recoveries; // live folders brought back
pub(super) mod refusals; // what every route may answer instead
mod rights; // what a peer may have, as it is sent
mod runs; // backups, restores and other work
mod secrets; // what an application needs and does not keep in its data
mod sheet; // what to keep on paper
mod snapshots; // pinned, tagged, deleted
mod standbys; // collections of others that are kept laid out
mod targets; // places that copies go to
#[cfg(test)]
mod tests;
mod tokens; // what lets programs in
mod upkeep; // what is done by itself, and what is kept

pub(in crate::http) use alert_settings::SetAlerts;
pub(super) use body::MAX_BODY_BYTES;
pub(in crate::http) use channels::ChannelField;
pub(in crate::http) use collections::{AddCollection, AddField};
pub(super) use files::DOWNLOADS;
pub(in crate::http) use imports::{ImportRefused, StartImport};
pub(in crate::http) use keys::{NewRotation, ReplaceableKey};
pub(in crate::http) use onions::{ImportOnion, ImportedView, Service};
pub(in crate::http) use promotions::Promote;
pub(in crate::http) use recoveries::StartRecovery;
pub(in crate::http) use runs::{OverwriteRule, StartExport, StartRestore, StartRun};
pub(in crate::http) use secrets::{KeepSecret, SecretField};
pub(in crate::http) use snapshots::ChangeSnapshot;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AdminPlane;

// What pages fill in and show, too.
pub(in crate::http) use collections::{ChangeCollection, SettingsView};
pub(in crate::http) use invites::{InviteView, MakeInvite};
pub(in crate::http) use peers::{AddPeer, ChangePeer, TrustPeer};
pub(in crate::http) use rights::RightsBody;
pub use targets::Credentials;
pub(in crate::http) use targets::{AddTarget, ReadBack, TargetField};
pub(in crate::http) use upkeep::{PolicyView, PreviewView, SetRetention, SetSchedule, SetUpkeep, UpkeepView};

pub(super) fn routes() -> OpenApiRouter<AdminPlane> {
    OpenApiRouter::new()
        .routes(routes!(runs::get_runs, runs::post_run))
        .routes(routes!(runs::get_run))
        .routes(routes!(runs::get_log))
        .routes(routes!(runs::post_cancel))
        .routes(routes!(runs::post_restore))
        .routes(routes!(runs::post_export))
        .routes(routes!(recoveries::post_recovery))
        .routes(routes!(clones::post_clone))
        .routes(routes!(peers::post_refresh_key))
        .routes(routes!(inspections::get_inspection))
        .routes(routes!(imports::post_import))
        .routes(routes!(heirs::get_heirs))
        .routes(routes!(heirs::put_heir, heirs::delete_heir))
        .routes(routes!(promotions::post_promotion))
        .routes(routes!(presets::get_presets))
        .routes(routes!(presets::get_preset))
        .routes(routes!(standbys::get_standbys, standbys::post_standby))
        .routes(routes!(standbys::get_standby, standbys::delete_standby))
        .routes(routes!(standbys::post_standby_run))
        .routes(routes!(peers::get_mirror, peers::put_mirror))
        .routes(routes!(events::get_events))
        .routes(routes!(instance::get_instance))
        .routes(routes!(instance::get_alerts))
        .routes(routes!(instance::get_audit))
        .routes(routes!(channels::get_channels, channels::post_channel))
        .routes(routes!(channels::get_channel, channels::delete_channel))
        .routes(routes!(channels::post_channel_test))
        .routes(routes!(channels::post_test))
        .routes(routes!(alert_settings::get_alert_settings, alert_settings::put_alert_settings))
        .routes(routes!(configuration::get_configuration))
        .routes(routes!(collections::get_collections, collections::post_collection))
        .routes(routes!(collections::get_collection))
        .routes(routes!(collections::get_settings, collections::patch_settings))
        .routes(routes!(secrets::get_secrets, secrets::post_secret))
        .routes(routes!(secrets::delete_secret))
        .routes(routes!(secrets::post_reveal))
        .routes(routes!(secrets::put_elsewhere, secrets::delete_elsewhere))
        .routes(routes!(upkeep::get_schedule, upkeep::put_schedule))
        .routes(routes!(upkeep::get_retention, upkeep::put_retention))
        .routes(routes!(upkeep::get_preview))
        .routes(routes!(snapshots::get_snapshots))
        .routes(routes!(snapshots::get_snapshot, snapshots::patch_snapshot, snapshots::delete_snapshot))
        .routes(routes!(files::get_files))
        .routes(routes!(files::get_changes))
        .routes(routes!(files::get_content))
        .routes(routes!(peers::get_peers, peers::post_peer))
        .routes(routes!(peers::get_peer, peers::patch_peer, peers::delete_peer))
        .routes(routes!(peers::get_trust, peers::put_trust))
        .routes(routes!(peers::post_revoke))
        .routes(routes!(peers::get_exposure))
        .routes(routes!(peers::post_reset))
        .routes(routes!(invites::post_invite))
        .routes(routes!(targets::get_targets, targets::post_target))
        .routes(routes!(targets::get_target, targets::delete_target))
        .routes(routes!(onions::get_onion))
        .routes(routes!(onions::post_export))
        .routes(routes!(onions::post_import))
        .routes(routes!(keys::get_keys))
        .routes(routes!(keys::post_rotation))
        .routes(routes!(sheet::get_sheet, sheet::post_sheet))
        .routes(routes!(tokens::get_tokens, tokens::post_token))
        .routes(routes!(tokens::delete_token))
}
