//! Runs whose process ended in the middle.

use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, test_kill_process};

use crate::store::index::{Counts, Ended, Run, RunResult};
use crate::store::{IndexError, Store};

/// Two clocks that are compared may differ by so much.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// Closes the records of runs whose process ended without doing so: it was killed.
///
/// # Errors
/// [`IndexError`].
pub async fn close_dead(store: &Store, now: Timestamp, is_alive: impl Fn(u32) -> bool) -> Result<(), IndexError> {
    // A process that began after the run is another one with the same number.
    let goes_on = |run: &Run| {
        is_alive(run.pid)
            && !has_ended(run.pid)
            && begun_at(run.pid, now).is_none_or(|begun| begun <= run.started_at + SLACK)
    };
    for run in store.index.open_runs().await?.into_iter().filter(|run| !goes_on(run)) {
        let ended = Ended {
            at: now,
            result: RunResult::Interrupted,
            message: Some("its process ended in the middle".to_owned()),
            snapshot: None,
            counts: Counts::default(),
            report: None,
        };
        store.index.end_run(run.no, &ended).await?;
    }
    Ok(())
}

/// Whether a process has ended, and only its number is left because nobody has asked yet how.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('Z' | 'X'))
}

/// When a process began, by this clock; unknown where `/proc` does not say.
fn begun_at(pid: u32, now: Timestamp) -> Option<Timestamp> {
    // Behind the name, which may hold anything, in ticks since the machine was started; a tick is a hundredth of a second for programs.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks: i64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let age = SignedDuration::try_from_secs_f64(up - ticks as f64 / 100.0).ok()?;
    now.checked_sub(age).ok()
}

/// Whether a process runs.
pub fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}
