//! Commands of the user: hooks before and after a backup, and commands whose output is backed up.
//!
//! Each runs with `sh -c` in a process group of its own, without a terminal and with nothing to read. Whatever ends it early (a time limit,
//! a cancelled backup) ends everything that it has started.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio_util::sync::CancellationToken;

/// How often is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So long may what a command has started hold its output after it has ended: what is in the pipe has to be read first.
const HELD_FOR: Duration = Duration::from_secs(30);
/// Of a line so much is kept.
const LINE_BYTES: usize = 500;
/// So many of its last lines are kept, for the message.
const LINES: usize = 5;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("it cannot be started")]
    Start(#[source] std::io::Error),
    /// It ended with a failure.
    #[error("it ended with {}{}", how(.0), said(.1))]
    Failed(ExitStatus, Vec<String>),
    /// It took too long and was ended.
    #[error("it took longer than {} s and was ended: give it more time, or make it faster", .0.as_secs())]
    TooLong(Duration),
    /// The backup was cancelled.
    #[error("it was ended because the backup was cancelled")]
    Cancelled,
    /// What it wrote could not be read.
    #[error("its output cannot be read")]
    Read(#[source] std::io::Error),
    /// It ended well, and something that it has started goes on and holds its output.
    #[error("it has ended, and something that it started goes on and may still write: have it wait for all of it")]
    Held,
    /// It wrote nothing.
    #[error("it wrote nothing, and ended as if all were well")]
    Nothing,
}

fn how(status: &ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "a failure".to_owned(),
    }
}

fn said(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!(" and said: {}", lines.join(" / ")) }
}

/// Runs a command to its end.
///
/// # Errors
/// [`CommandError`]; nothing of it runs any more then.
pub fn run(
    command: &str,
    environment: &[(&str, OsString)],
    limit: Duration,
    cancel: &CancellationToken,
) -> Result<(), CommandError> {
    let (said, writer) = std::io::pipe().map_err(CommandError::Start)?;
    let mut child = {
        let mut sh = shell(command, environment);
        sh.stdout(writer.try_clone().map_err(CommandError::Start)?).stderr(writer);
        sh.spawn().map_err(CommandError::Start)?
    };
    let lines = listen(said);
    let started = Instant::now();
    loop {
        match child.try_wait().map_err(CommandError::Start)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(CommandError::Failed(status, settled(&lines))),
            None if cancel.is_cancelled() => {
                end(&mut child);
                return Err(CommandError::Cancelled);
            }
            None if started.elapsed() > limit => {
                end(&mut child);
                return Err(CommandError::TooLong(limit));
            }
            None => thread::sleep(LOOK_EVERY),
        }
    }
}

/// A command whose output is being read. Dropped before [`Self::finish`], it is ended.
#[derive(Debug)]
pub struct Output {
    child: Child,
    out: ChildStdout,
    lines: Lines,
    over: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    any: bool,
    cancel: CancellationToken,
}

impl Output {
    /// Starts it. It is ended when `cancel` is cancelled.
    ///
    /// # Errors
    /// [`CommandError::Start`].
    pub fn start(
        command: &str,
        environment: &[(&str, OsString)],
        cancel: &CancellationToken,
    ) -> Result<Self, CommandError> {
        let mut sh = shell(command, environment);
        let mut child = sh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(CommandError::Start)?;
        let (out, error) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
        let over = Arc::new(AtomicBool::new(false));
        let held = Arc::new(AtomicBool::new(false));
        let (group, seen, cancelled) = (Pid::from_child(&child), over.clone(), cancel.clone());
        let said = held.clone();
        thread::spawn(move || {
            let mut gone_since = None;
            while !seen.load(Ordering::Acquire) {
                if gone_since.is_none() && has_ended(group) {
                    gone_since = Some(Instant::now());
                }
                let is_held = gone_since.is_some_and(|since: Instant| since.elapsed() > HELD_FOR);
                said.fetch_or(is_held, Ordering::AcqRel);
                if is_held || cancelled.is_cancelled() {
                    let _ = kill_process_group(group, Signal::KILL);
                    return;
                }
                thread::sleep(LOOK_EVERY);
            }
        });
        Ok(Self { child, out, lines: listen(error), over, held, any: false, cancel: cancel.clone() })
    }

    /// Fills `buffer` as far as the output goes; how many bytes there were.
    ///
    /// # Errors
    /// [`CommandError::Read`].
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, CommandError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.out.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => (filled, self.any) = (filled + n, true),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CommandError::Read(error)),
            }
        }
        Ok(filled)
    }

    /// Its output has ended: whether it ended well, too.
    ///
    /// # Errors
    /// [`CommandError`]: what was read is not all that there should be.
    pub fn finish(mut self) -> Result<(), CommandError> {
        let status = self.child.wait().map_err(CommandError::Read)?;
        self.over.store(true, Ordering::Release);
        match status.success() {
            true if self.held.load(Ordering::Acquire) => Err(CommandError::Held),
            true if !self.any => Err(CommandError::Nothing),
            true => Ok(()),
            false if self.cancel.is_cancelled() => Err(CommandError::Cancelled),
            false => Err(CommandError::Failed(status, settled(&self.lines))),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.over.swap(true, Ordering::AcqRel) {
            end(&mut self.child);
        }
    }
}

/// Whether a process has ended, and nobody has asked yet how.
fn has_ended(process: Pid) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(process), look).is_ok_and(|found| found.is_some())
}

fn shell(command: &str, environment: &[(&str, OsString)]) -> Command {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(command).envs(environment.iter().map(|(name, value)| (name, value)));
    sh.stdin(Stdio::null()).process_group(0);
    sh
}

type Lines = Arc<(Mutex<Vec<String>>, AtomicBool)>;

/// Keeps the last lines. It ends when nobody can say anything any more, which a service that the command has started may do for long.
fn listen(said: impl Read + Send + 'static) -> Lines {
    let lines: Lines = Arc::default();
    let kept = lines.clone();
    thread::spawn(move || {
        each_line(said, |line| {
            tracing::info!(%line, "a command says");
            let mut lines = kept.0.lock().expect("no holder of this lock can panic");
            lines.push(line);
            if lines.len() > LINES {
                lines.remove(0);
            }
        });
        kept.1.store(true, Ordering::Release);
    });
    lines
}

/// Calls `each` with every line, of which at most 500 bytes are kept, however long one is.
pub fn each_line(said: impl Read, mut each: impl FnMut(String)) {
    let mut reader = BufReader::new(said);
    let (mut line, mut any) = (Vec::new(), false);
    loop {
        let (len, ends) = match reader.fill_buf() {
            Ok([]) | Err(_) => break,
            Ok(bytes) => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let part = &bytes[..end.unwrap_or(bytes.len())];
                line.extend_from_slice(&part[..part.len().min(LINE_BYTES - line.len())]);
                (end.map_or(bytes.len(), |end| end + 1), end.is_some())
            }
        };
        reader.consume(len);
        any = !ends;
        if ends {
            each(String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned());
        }
    }
    if any {
        each(String::from_utf8_lossy(&line).into_owned());
    }
}

/// What it said last: there is a moment between its end and the last line.
fn settled(lines: &Lines) -> Vec<String> {
    let started = Instant::now();
    while !lines.1.load(Ordering::Acquire) && started.elapsed() < Duration::from_secs(1) {
        thread::sleep(LOOK_EVERY);
    }
    lines.0.lock().expect("no holder of this lock can panic").clone()
}

fn end(child: &mut Child) {
    if let Err(errno) = kill_process_group(Pid::from_child(child), Signal::KILL) {
        tracing::warn!(%errno, "a command cannot be ended");
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn how_it_ended_is_told_and_what_it_said_last() {
        let never = CancellationToken::new();
        assert!(run("test \"$WHICH\" = 7", &[("WHICH", "7".into())], LONG, &never).is_ok());
        let error = run("echo no space; exit 3", &[], LONG, &never).unwrap_err().to_string();
        assert_eq!(error, "it ended with exit code 3 and said: no space");
        let started = Instant::now();
        assert!(matches!(run("sleep 600 & wait", &[], Duration::ZERO, &never), Err(CommandError::TooLong(_))));
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn a_line_of_any_length_takes_no_memory() {
        let mut lines = Vec::new();
        each_line(std::io::repeat(b'x').take(1 << 20).chain(&b"\nlast"[..]), |line| lines.push(line));
        assert_eq!(lines, ["x".repeat(LINE_BYTES), "last".to_owned()]);
    }

    #[test]
    fn output_that_was_cut_off_is_no_output() {
        let cancel = CancellationToken::new();
        let whole = |command: &str| {
            let mut output = Output::start(command, &[], &cancel)?;
            let mut buffer = [0; 100];
            let len = output.fill(&mut buffer)?;
            output.finish().map(|()| String::from_utf8_lossy(&buffer[..len]).into_owned())
        };
        assert_eq!(whole("printf abc").unwrap(), "abc");
        assert!(matches!(whole("printf abc; exit 1"), Err(CommandError::Failed(..))));
        assert!(matches!(whole("printf abc; kill -9 $$"), Err(CommandError::Failed(..))));
        assert!(matches!(whole("true"), Err(CommandError::Nothing)));
        cancel.cancel();
        assert!(matches!(whole("sleep 600"), Err(CommandError::Cancelled)));
    }
}
