//! What is wrong, as a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Alert, AlertKind};
use crate::store::{Store, StoreError};
use crate::worker::watch::{Bounds, MANIFESTS, look};

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertView {
    /// What kind of thing, e.g. `late`.
    #[schema(value_type = String)]
    pub kind: AlertKind,
    /// With what: a collection and what was done for it, a peer, the home.
    pub subject: String,
    /// A sentence: what is wrong, and what to do.
    pub message: String,
    /// The page of this plane on which something can be done about it, as a path; nothing if that is done elsewhere.
    pub href: Option<String>,
    /// Since when that is known; nothing if it was found just now.
    #[schema(value_type = Option<String>)]
    pub since_at: Option<Timestamp>,
    /// When somebody was told of it last.
    #[schema(value_type = Option<String>)]
    pub told_at: Option<Timestamp>,
}

/// All that is wrong now, in the order in which it was found.
///
/// # Errors
/// [`StoreError`] if the home cannot be looked at.
pub async fn alerts(store: &Store, bounds: Bounds, now: Timestamp) -> Result<Vec<AlertView>, StoreError> {
    let known = store.index.alerts().await?;
    let view = |alert: Alert| {
        let same = known.iter().find(|known| {
            known.over_at.is_none() && known.alert.kind == alert.kind && known.alert.subject == alert.subject
        });
        AlertView {
            since_at: same.map(|known| known.since),
            told_at: same.and_then(|known| known.told_at),
            href: href(alert.kind, &alert.subject),
            kind: alert.kind,
            subject: alert.subject,
            message: alert.message,
        }
    };
    Ok(look(store, bounds, now).await?.into_iter().map(view).collect())
}

/// Where something can be done about it. Names have no colons, so that what stands before the first one is a name.
fn href(kind: AlertKind, subject: &str) -> Option<String> {
    let (name, rest) = subject.split_once(": ").unwrap_or((subject, ""));
    Some(match kind {
        // Mounted it is on the machine.
        AlertKind::Away => return None,
        AlertKind::Failed | AlertKind::DrillFailed => format!("/runs?collection={name}&kind={rest}"),
        AlertKind::Corrupt if name == MANIFESTS => "/schedules#scrub".to_owned(),
        AlertKind::Late | AlertKind::Shrunk | AlertKind::Suspect | AlertKind::Corrupt => format!("/collections/{name}"),
        AlertKind::SilentPeer => format!("/peers/{name}"),
        AlertKind::TargetFailed => format!("/targets/{}", name.strip_prefix("target ")?),
        AlertKind::DiskFull => "/schedules".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_leads_to_where_something_can_be_done() {
        for (kind, subject, wanted) in [
            (AlertKind::Late, "notes", Some("/collections/notes")),
            (AlertKind::Failed, "notes: verify-data", Some("/runs?collection=notes&kind=verify-data")),
            (AlertKind::DrillFailed, "notes: drill", Some("/runs?collection=notes&kind=drill")),
            (AlertKind::Corrupt, "notes: lists", Some("/collections/notes")),
            (AlertKind::Corrupt, "manifests", Some("/schedules#scrub")),
            (AlertKind::SilentPeer, "beta", Some("/peers/beta")),
            (AlertKind::TargetFailed, "target nas: notes", Some("/targets/nas")),
            (AlertKind::DiskFull, "home", Some("/schedules")),
            (AlertKind::Away, "home", None),
        ] {
            assert_eq!(href(kind, subject).as_deref(), wanted, "{kind} {subject}");
        }
    }
}
