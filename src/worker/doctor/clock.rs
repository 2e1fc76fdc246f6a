//! Is the clock right? It decides what is due, what is old, and whether peers and Tor believe this machine.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::{Examination, Finding, ServerState};
use crate::store::IndexError;

const ABOUT: &str = "clock";
/// Clocks may differ by so much without anything being from the future.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);
/// Before this program was written, 2026-01-01: a clock that shows less was never set.
const NEVER_BEFORE: i64 = 1_767_225_600;
/// There while something keeps the clock right.
const KEEPERS: [&str; 6] = [
    "/run/systemd/timesync/synchronized",
    "/run/chrony/chronyd.pid",
    "/run/chronyd.pid",
    "/run/ntpd.pid",
    "/run/openntpd.pid",
    "/run/ntpsec/ntpd.pid",
];

pub(super) async fn look(of: &Examination<'_>) -> Result<Vec<Finding>, IndexError> {
    let mut findings = Vec::new();
    let set_it = "set the clock right, and have it kept so: 'timedatectl set-ntp true'";
    if of.now.as_second() < NEVER_BEFORE {
        findings.push(Finding::error(ABOUT, format!("shows {:.0}, which cannot be", of.now), set_it));
    }
    let later = |at: &Timestamp| at.duration_since(of.now) > AHEAD;
    let snapshots = of.store.index.snapshots(None).await?;
    let heard = of.store.index.peers().await?.into_iter().filter_map(|peer| peer.last_contact_at);
    if let Some(newest) = snapshots.iter().map(|snapshot| snapshot.created_at).filter(later).max() {
        let (number, hours) = (snapshots.iter().filter(|s| later(&s.created_at)).count(), hours(newest, of.now));
        let what = format!("{number} snapshots are from the future, the newest by {hours} hours");
        let next = "is this clock behind ('timedatectl')? If it is right, the machine that made them was ahead; they count as new until then";
        findings.push(Finding::warning(ABOUT, what, next));
    } else if let Some(at) = heard.filter(later).max() {
        let what = format!("a peer was heard of {} hours from now: the clock was set back", hours(at, of.now));
        findings.push(Finding::warning(ABOUT, what, set_it));
    }
    if let ServerState::Running { clock: Some(Some(wrong)), .. } = &of.server {
        findings.push(Finding::error(ABOUT, format!("Tor says that it is {wrong}"), set_it));
    }
    if findings.is_empty() {
        let says = match of.server {
            ServerState::Running { clock: Some(None), .. } => "right, as far as Tor can tell",
            _ => "nothing here is from the future",
        };
        findings.push(Finding::ok(ABOUT, says));
    }
    // Without a service manager (a container) somebody else keeps it.
    if !of.units.is_empty() && !KEEPERS.iter().any(|keeper| Path::new(keeper).exists()) {
        let what = "nothing keeps it right, as far as can be seen";
        findings.push(Finding::note(ABOUT, what, "'timedatectl set-ntp true' does, if it is not done in another way"));
    }
    Ok(findings)
}

fn hours(at: Timestamp, now: Timestamp) -> i64 {
    at.duration_since(now).as_hours()
}
