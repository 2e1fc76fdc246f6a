//! Results: text for people, or one JSON document.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::monitor::Problem;

pub use crate::domain::words::{about, age, bytes, count, number, took};

/// Version of the JSON documents; raised when a field changes its meaning or goes away.
pub const JSON_VERSION: u32 = 1;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// The server ended, and the program is to be started again in its place.
    Again,
    /// Something was left: exit code 2.
    NotEverything,
    /// It was looked, and something has to be mended: exit code 1.
    Wrong,
}

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON document on standard output.
    pub json: bool,
    /// Nothing but results and errors.
    pub quiet: bool,
}

impl Output {
    /// Writes a line of a result. A reader that went away (`| head`) is no error.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            let _ = writeln!(std::io::stdout().lock(), "{}", text.as_ref());
        }
    }

    /// Writes rows under a head, each column as wide as its widest cell. Columns of numbers are set to the right.
    pub fn table<const N: usize>(&self, head: &[String; N], rows: &[[String; N]]) {
        let width = |at: usize| rows.iter().chain([head]).map(|row| row[at].chars().count()).max().unwrap_or(0);
        let numeric = |at: usize| rows.iter().all(|row| row[at].starts_with(|c: char| c.is_ascii_digit() || c == '?'));
        let columns: [(usize, bool); N] = std::array::from_fn(|at| (width(at), !rows.is_empty() && numeric(at)));
        for row in [head].into_iter().chain(rows) {
            let cells: Vec<String> = row
                .iter()
                .zip(columns)
                .map(|(cell, (width, right))| if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") })
                .collect();
            self.line(cells.join("  ").trim_end());
        }
    }

    /// Writes a remark to standard error, unless it is to be quiet.
    pub fn remark(&self, text: impl AsRef<str>) {
        if !self.json && !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// Writes a warning to standard error.
    pub fn warning(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
    }

    /// Writes the JSON document of a command, if JSON is wanted.
    pub fn document(&self, command: &str, result: impl Serialize, problems: &[Problem]) {
        if self.json {
            let problems: Vec<Value> =
                problems.iter().map(|p| json!({ "subject": p.subject, "message": p.message })).collect();
            let document =
                json!({ "version": JSON_VERSION, "command": command, "result": result, "problems": problems });
            let _ = writeln!(std::io::stdout().lock(), "{document}");
        }
    }

    /// Writes problems to standard error and says how the command ended.
    pub fn outcome(&self, problems: &[Problem]) -> Outcome {
        if problems.is_empty() {
            return Outcome::Done;
        }
        if !self.json {
            for problem in problems {
                self.warning(format!("problem: {}: {}", problem.subject, problem.message));
            }
            let plural = if problems.len() == 1 { "" } else { "s" };
            self.warning(format!("{} problem{plural}: not everything was done", problems.len()));
        }
        Outcome::NotEverything
    }

    /// Writes an error with its causes; the exit code of failure.
    pub fn failure(&self, error: &anyhow::Error) -> ExitCode {
        let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
        let text = one_line(error);
        if self.json {
            let document =
                json!({ "version": JSON_VERSION, "error": { "message": error.to_string(), "causes": causes } });
            let _ = writeln!(std::io::stdout().lock(), "{document}");
        }
        let _ = writeln!(std::io::stderr().lock(), "error: {text}");
        ExitCode::FAILURE
    }
}

/// An error with its causes; what a cause only repeats is left out.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
