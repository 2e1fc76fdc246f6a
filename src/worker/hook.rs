//! A command that an admin wants to be run: by `sh`, in a process group of its own, with a time limit; what it says goes to the log.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio_util::sync::CancellationToken;

use crate::source::command::each_line;

/// How often is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of its that are logged; the rest is read and thrown away.
const MAX_LINES: u32 = 1000;

/// What was wrong with a hook.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error("the hook cannot be started: {0}")]
    Start(#[source] std::io::Error),
    #[error("the hook ended with {0}: what it said is in the log")]
    Failed(std::process::ExitStatus),
    #[error("the hook took longer than {} s and was ended", .0.as_secs())]
    TooLong(Duration),
    #[error("the hook was ended, since the server stops; it runs again")]
    Cancelled,
}

/// Runs a hook to its end. Blocks.
pub(super) fn run(
    command: &str,
    environment: &[(&str, std::ffi::OsString)],
    limit: Duration,
    cancel: &CancellationToken,
) -> Result<(), HookError> {
    let mut child = start(command, environment).map_err(HookError::Start)?;
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(HookError::Failed(status)),
            Ok(None) if cancel.is_cancelled() => {
                end(&mut child);
                return Err(HookError::Cancelled);
            }
            Ok(None) if started.elapsed() > limit => {
                end(&mut child);
                return Err(HookError::TooLong(limit));
            }
            Ok(None) => thread::sleep(LOOK_EVERY),
            Err(error) => return Err(HookError::Start(error)),
        }
    }
}

fn start(command: &str, environment: &[(&str, std::ffi::OsString)]) -> std::io::Result<Child> {
    let (said, writer) = std::io::pipe()?;
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(command).envs(environment.iter().map(|(name, value)| (name, value)));
    sh.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = sh.spawn()?;
    // It ends when nobody can say anything any more, which a service that the hook has started may do for long.
    thread::spawn(move || {
        let mut number = 0;
        each_line(said, |line| {
            number += 1;
            if number <= MAX_LINES {
                tracing::info!(%line, "a hook says");
            }
        });
    });
    Ok(child)
}

/// Ends it with all that it has started.
fn end(child: &mut Child) {
    if let Err(errno) = kill_process_group(Pid::from_child(child), Signal::KILL) {
        tracing::warn!(%errno, "a hook cannot be ended");
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_is_told_what_happened_and_how_it_ended_is_told() {
        let never = CancellationToken::new();
        let environment = [("BULBIL_SEQUENCE", "7".into())];
        assert!(run("test \"$BULBIL_SEQUENCE\" = 7", &environment, LONG, &never).is_ok());
        assert!(matches!(run("echo no; exit 3", &[], LONG, &never), Err(HookError::Failed(_))));
    }

    #[test]
    fn one_that_does_not_end_is_ended_with_its_children() {
        let (never, cancelled) = (CancellationToken::new(), CancellationToken::new());
        cancelled.cancel();
        assert!(matches!(run("sleep 600 & wait", &[], Duration::ZERO, &never), Err(HookError::TooLong(_))));
        assert!(matches!(run("sleep 600", &[], LONG, &cancelled), Err(HookError::Cancelled)));
    }
}
