//! Looks whether something is wrong that an admin should hear of. Reads the index and the disk, and changes nothing; the server, and
//! `bulbil status`, see the same.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::domain::alert::{Alert, AlertKind};
use crate::domain::manifest::SHRANK;
use crate::domain::peer::Trust;
use crate::domain::schedule::{Work, grace};
use crate::store::index::{Collection, RunResult, TargetCopy};
use crate::store::{Store, StoreError};

/// So many times in a row something may be broken off before that is told.
const BROKEN_OFF: usize = 3;
/// So much later than its time a copy may be made before that is told.
const LATE_COPY: SignedDuration = SignedDuration::from_hours(6);
/// So many runs are looked at to find one that came to an end.
const RUNS_LOOKED_AT: u32 = 20;

/// The subject of an alert on manifests that are lost. A collection of that name has the same one: it is looked at with the rest.
pub const MANIFESTS: &str = "manifests";

/// What counts as wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Hours after which a followed peer that was not heard of is told.
    pub silent_peer_hours: u32,
    /// Percent of the home's disk that are to stay free; 0 to 50.
    pub free_percent: u8,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { silent_peer_hours: 72, free_percent: 5 }
    }
}

/// All that is wrong now.
///
/// # Errors
/// [`StoreError`] if the home cannot be looked at.
pub async fn look(store: &Store, bounds: Bounds, now: Timestamp) -> Result<Vec<Alert>, StoreError> {
    let mut alerts = Vec::new();
    let mut add = |kind, subject: String, message: String| alerts.push(Alert { kind, subject, message });
    let away = store.check_folders().err();
    if let Some(away) = &away {
        add(AlertKind::Away, "home".to_owned(), away.to_string());
    }
    let (marks, targets) = (store.index.marks().await?, store.targets()?);
    for collection in store.index.collections().await? {
        let name = &collection.name;
        if let Some(message) = late(store, &collection, now).await? {
            add(AlertKind::Late, name.clone(), message);
        }
        let newest = store.index.latest(&collection.id, false).await?;
        let flagged = newest.and_then(|newest| marks.get(&newest.id)).and_then(|mark| mark.flagged.clone());
        // A target tells by itself what is wrong with it.
        let has_target = targets.iter().any(|target| target.takes(&collection.id));
        let led_here = store.keys.is_ours(&collection.origin);
        for work in Work::ALL
            .into_iter()
            .filter(|work| *work != Work::Backup || led_here)
            .filter(|work| *work != Work::Copy || !has_target)
        {
            let Some(Failed { message, why, result }) = failed(store, &collection, work).await? else { continue };
            // What is known against the snapshot that came of it is told as that.
            let is_told = |flag: &String| flag.contains(&why) || why.contains(flag.as_str());
            if work == Work::Backup && result == RunResult::Partly && flagged.as_ref().is_some_and(is_told) {
                continue;
            }
            // A drill that could not be made says nothing of the snapshot.
            let is_bad = work == Work::Drill && result == RunResult::Partly;
            let kind = if is_bad { AlertKind::DrillFailed } else { AlertKind::Failed };
            add(kind, format!("{name}: {work}"), message);
        }
        if let Some(flagged) = flagged {
            let kind = if flagged.starts_with(SHRANK) { AlertKind::Shrunk } else { AlertKind::Suspect };
            add(kind, name.clone(), flagged);
        }
        let (lost, _) = store.index.count_missing(Some(&collection.id)).await?;
        let lists = store.index.count_missing_lists(&collection.id).await?;
        if lists > 0 && led_here && away.is_none() {
            let message = format!(
                "{lists} lists of its chunks are lost here, and the snapshots that lean on them cannot be restored: 'bulbil verify' names them, 'bulbil fetch' gets the lists if a peer has them"
            );
            add(AlertKind::Corrupt, format!("{name}: lists"), message);
        }
        if lost > 0 && led_here && away.is_none() {
            let message = format!(
                "{lost} chunks of it are lost here: 'bulbil fetch' gets them if a peer has them, the next backup stores anew what is still there"
            );
            add(AlertKind::Corrupt, name.clone(), message);
        }
    }
    if away.is_none() {
        let lost = store.lost_manifests().await?;
        if !lost.is_empty() {
            let message = format!("the manifests of {} snapshots are lost: 'bulbil scrub' names them", lost.len());
            add(AlertKind::Corrupt, MANIFESTS.to_owned(), message);
        }
    }
    for (subject, message) in copies(store, now).await? {
        add(AlertKind::TargetFailed, subject, message);
    }
    let silence = SignedDuration::from_hours(bounds.silent_peer_hours.max(1).into());
    for peer in store.index.peers().await? {
        let heard_at = peer.last_contact_at.unwrap_or(peer.added_at);
        if matches!(peer.trust, Trust::Trusted(_)) && peer.follow && now.duration_since(heard_at) > silence {
            let hours = now.duration_since(heard_at).as_hours();
            let message = format!("nothing was heard of it for {hours} hours: is it gone, or has it a new address?");
            add(AlertKind::SilentPeer, peer.name.clone(), message);
        }
    }
    if let Some(message) = full(store, bounds) {
        add(AlertKind::DiskFull, "home".to_owned(), message);
    }
    Ok(alerts)
}

/// What is wrong with the last run of some work.
struct Failed {
    /// A whole sentence.
    message: String,
    /// What the run itself says of it.
    why: String,
    result: RunResult,
}

/// What was wrong with the last run of something. What goes on, or was interrupted, says nothing yet.
async fn failed(store: &Store, collection: &Collection, work: Work) -> Result<Option<Failed>, StoreError> {
    let runs = store.index.runs(Some(&collection.id), Some(work.into()), RUNS_LOOKED_AT).await?;
    let broken_off =
        runs.iter().filter_map(|run| run.ended.as_ref()).take_while(|ended| ended.result == RunResult::Interrupted);
    let broken_off = broken_off.count();
    if broken_off >= BROKEN_OFF {
        let message = format!(
            "the last {broken_off} times {work} was broken off before its end: is it killed, or the machine switched off meanwhile?"
        );
        return Ok(Some(Failed { why: message.clone(), message, result: RunResult::Failed }));
    }
    let mut ended = runs.into_iter().filter_map(|run| run.ended);
    let Some(last) = ended.find(|ended| ended.result != RunResult::Interrupted) else { return Ok(None) };
    let why = last.message.unwrap_or_else(|| "'bulbil runs' shows it".to_owned());
    let message = match last.result {
        RunResult::Failed => format!("the last {work} failed: {why}"),
        RunResult::Partly => format!("something was wrong with the last {work}: {why}"),
        RunResult::Done | RunResult::Interrupted => return Ok(None),
    };
    Ok(Some(Failed { message, why, result: last.result }))
}

/// Targets without a right copy of something: each by its name, whatever others have.
async fn copies(store: &Store, now: Timestamp) -> Result<Vec<(String, String)>, StoreError> {
    let (targets, known) = (store.targets()?, store.index.target_copies().await?);
    let collections = store.index.collections().await?;
    let mut failed = Vec::new();
    for target in targets {
        for collection in collections.iter().filter(|collection| target.takes(&collection.id)) {
            let Some(copying) = collection.upkeep.scheduled.iter().find(|one| one.work == Work::Copy) else { continue };
            let of = |copy: &&TargetCopy| copy.target == target.name && copy.collection == collection.id;
            let copied_at = known.iter().find(of).and_then(|copy| copy.copied).map(|(at, _)| at);
            let since = copied_at.unwrap_or(copying.since);
            let allowed = copying.pattern.longest_pause(now).saturating_add(LATE_COPY);
            if now.duration_since(since) > allowed && store.index.latest(&collection.id, false).await?.is_some() {
                let message = match copied_at {
                    Some(_) => format!(
                        "the last copy is {} hours old: does the server run, and 'bulbil copy'?",
                        now.duration_since(since).as_hours()
                    ),
                    None => "nothing was ever copied to it: does the server run, and 'bulbil copy'?".to_owned(),
                };
                failed.push((format!("target {}: {}", target.name, collection.name), message));
            }
        }
        for copy in known.iter().filter(|copy| copy.target == target.name) {
            let of = collections.iter().find(|known| known.id == copy.collection && target.takes(&known.id));
            let (Some(collection), Some((since, why))) = (of, &copy.failed) else { continue };
            let message = format!("nothing was copied, or it is wrong there, since {since:.0}: {why}");
            failed.push((format!("target {}: {}", target.name, collection.name), message));
        }
    }
    Ok(failed)
}

/// Why more may be lost of a collection than was said.
async fn late(store: &Store, collection: &Collection, now: Timestamp) -> Result<Option<String>, StoreError> {
    let Some(hours) = collection.upkeep.rpo_hours else { return Ok(None) };
    let allowed = SignedDuration::from_hours(hours.into()).saturating_add(grace(hours));
    let Some((_, good_at)) = store.index.last_good(&collection.id, now).await? else {
        let since = collection.upkeep.scheduled.iter().map(|one| one.since).min();
        let is_new = since.is_some_and(|since| now.duration_since(since) <= allowed);
        let message = format!(
            "there is no verified snapshot of it at all, and {hours} hours may be lost: 'bulbil backup' makes one"
        );
        return Ok((!is_new).then_some(message));
    };
    let age = now.duration_since(good_at);
    Ok((age > allowed).then(|| {
        let old = age.as_hours();
        format!("its newest verified snapshot is {old} hours old, and {hours} may be lost: 'bulbil runs' shows what came of its backups")
    }))
}

fn full(store: &Store, bounds: Bounds) -> Option<String> {
    // Chunks and manifests may have disks of their own.
    let places = [store.home.root().to_owned(), store.home.chunks(), store.home.manifests()];
    places.iter().find_map(|place| full_at(place, bounds))
}

fn full_at(place: &Path, bounds: Bounds) -> Option<String> {
    let disk = rustix::fs::statvfs(place).ok()?;
    let percent = u64::from(bounds.free_percent.min(50));
    let (free, all) = (disk.f_bavail, disk.f_blocks.max(1));
    (free.saturating_mul(100) < all.saturating_mul(percent)).then(|| {
        let left = free.saturating_mul(disk.f_frsize) >> 20;
        let place = place.display();
        format!("the disk of {place} has {left} MiB left, less than {percent} %: 'bulbil usage' shows what takes the space, 'bulbil prune' frees some")
    })
}
