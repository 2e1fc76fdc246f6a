//! The real binary as a process that goes on: a server, or a command that is to be struck in the middle.
//!
//! What it says goes to a file, so that nothing is lost whatever becomes of it. Nothing outlives the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until something is true, and says what was waited for if it does not become so.
pub fn until(deadline: Instant, what: &str, mut reached: impl FnMut() -> bool) {
    while !reached() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

/// The same for a moment that may be over soon: it looks again at once.
pub fn until_seen(deadline: Instant, what: &str, mut reached: impl FnMut() -> bool) {
    while !reached() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// A process and what it says.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    /// Starts it; its output goes to `log.out` and `log.err`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let (out, err) = (log.with_extension("out"), log.with_extension("err"));
        // What asked the same before stays in the file: it is searched, too.
        let open = |path| fs::File::options().create(true).append(true).open(path).unwrap();
        command.stdin(Stdio::null()).stdout(open(&out)).stderr(open(&err));
        Self { child: command.spawn().unwrap(), out, err }
    }

    /// What it has said on standard output.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap()).into_owned()
    }

    /// What it has said on standard error.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap()).into_owned()
    }

    /// Whether it runs no longer, and how it ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; its exit code, or -1 if it was killed.
    pub fn code(&mut self, deadline: Instant) -> i32 {
        let mut status = None;
        until(deadline, "a command to end", || {
            status = self.ended();
            status.is_some()
        });
        status.unwrap().code().unwrap_or(-1)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Holds it where it is (SIGSTOP), does something, and lets it go on.
    pub fn held<T>(&self, then: impl FnOnce() -> T) -> T {
        self.signal(Signal::STOP);
        let done = then();
        self.signal(Signal::CONT);
        done
    }

    /// Asks it to end, and waits.
    pub fn stop(&mut self, deadline: Instant) {
        self.signal(Signal::TERM);
        self.code(deadline);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
