//! Is there room: for the next backup, for what comes in a month, and for its files? Are the disks there?

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

use jiff::SignedDuration;

use super::{Examination, Finding};
use crate::domain::schedule::Work;
use crate::domain::words::bytes;
use crate::store::{Home, IndexError};

const ABOUT: &str = "disk";
/// Less is little for anything.
const LITTLE: u64 = 1 << 30;
/// Growth is taken from the backups of so many days.
const LOOKED_BACK: i64 = 30;
/// A disk that is full sooner is told.
const SOON_DAYS: u64 = 30;
/// Fewer new files are few.
const FEW_FILES: u64 = 10_000;
/// So many backups are looked at.
const BACKUPS: u32 = 1000;

pub(super) async fn look(of: &Examination<'_>) -> Result<Vec<Finding>, IndexError> {
    if let Err(away) = of.store.check_folders() {
        let next = "mount it; only if it is gone for good, 'bulbil scrub --accept-loss'";
        return Ok(vec![Finding::error(ABOUT, away.to_string(), next)]);
    }
    Ok(disks(&of.store.home, &growth(of).await?))
}

/// Whether there is room where the home, its chunks and its manifests are.
pub(super) fn disks(home: &Home, growth: &Growth) -> Vec<Finding> {
    let Growth { largest, daily } = *growth;
    let (mut findings, mut seen) = (Vec::new(), HashSet::new());
    for path in [home.root().to_owned(), home.chunks(), home.manifests()] {
        // Chunks and manifests may have disks of their own.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if !seen.insert(metadata.dev()) {
            continue;
        }
        let shown = path.display();
        let disk = match rustix::fs::statvfs(&path) {
            Ok(disk) => disk,
            Err(error) => {
                findings.push(Finding::error(
                    ABOUT,
                    format!("{shown} cannot be looked at: {error}"),
                    "is the disk there?",
                ));
                continue;
            }
        };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let frees = "'bulbil usage' shows what takes the space, 'bulbil prune' frees some";
        let left = bytes(free);
        findings.push(match daily {
            _ if free < largest => {
                let what = format!("{left} free at {shown}, and a backup took {} lately", bytes(largest));
                Finding::error(ABOUT, what, frees)
            }
            _ if free < LITTLE => Finding::warning(ABOUT, format!("{left} free at {shown}"), frees),
            1.. if free / daily < SOON_DAYS => {
                let what = format!("{left} free at {shown}: full in {} days, as backups grow now", free / daily);
                Finding::warning(ABOUT, what, frees)
            }
            _ => Finding::ok(ABOUT, format!("{left} free at {shown}")),
        });
        if disk.f_files > 0 && disk.f_favail < FEW_FILES {
            let what = format!("only {} more files can be made at {shown}", disk.f_favail);
            findings.push(Finding::warning(
                ABOUT,
                what,
                "remove files there, or move the home to a disk with more inodes",
            ));
        }
    }
    findings
}

/// What backups have stored lately.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// Bytes of the largest one.
    largest: u64,
    /// Bytes of a day.
    daily: u64,
}

async fn growth(of: &Examination<'_>) -> Result<Growth, IndexError> {
    let runs = of.store.index.runs(None, Some(Work::Backup.into()), BACKUPS).await?;
    let span = SignedDuration::from_hours(24 * LOOKED_BACK);
    let lately: Vec<_> = runs.iter().filter(|run| of.now.duration_since(run.started_at) <= span).collect();
    let stored = lately.iter().filter_map(|run| run.ended.as_ref()).map(|ended| ended.counts.new_bytes);
    let (largest, all) = stored.fold((0, 0), |(largest, all), one: u64| (one.max(largest), all + one));
    // A first backup is no growth: a month of them is wanted before anything is foretold.
    let oldest = runs.last().map(|run| of.now.duration_since(run.started_at));
    let daily = if oldest.is_some_and(|age| age >= span) { all / LOOKED_BACK.unsigned_abs() } else { 0 };
    Ok(Growth { largest: if lately.len() > 1 { largest } else { 0 }, daily })
}
