//! Results: text for people, or one JSON document.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::monitor::Problem;

/// Version of the JSON documents; raised when a field changes its meaning or goes away.
pub const JSON_VERSION: u32 = 1;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
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

/// Bytes for people: `512 B`, `1.4 MB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with thousands apart: `42 000`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 file`, `3 files`.
pub fn count(n: u64, noun: &str) -> String {
    let (stem, plural) = if n == 1 {
        (noun.to_owned(), "")
    } else if let Some(stem) = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o'])) {
        (stem.to_owned(), "ies")
    } else {
        (noun.to_owned(), "s")
    };
    format!("{} {stem}{plural}", number(n))
}

/// How long something took: `0.4 s`, `3 min 12 s`.
pub fn took(duration: std::time::Duration) -> String {
    let secs = duration.as_secs();
    if secs >= 3600 {
        format!("{} h {} min", secs / 3600, secs / 60 % 60)
    } else if secs >= 60 {
        format!("{} min {} s", secs / 60, secs % 60)
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// An estimate, from seconds: `less than a minute`, `about 28 minutes`, `about 5 hours`.
pub fn about(secs: u64) -> String {
    match secs {
        ..60 => "less than a minute".to_owned(),
        60..7200 => format!("about {}", count(secs / 60, "minute")),
        7200..172_800 => format!("about {}", count(secs / 3600, "hour")),
        _ => format!("about {}", count(secs / 86_400, "day")),
    }
}

/// How long ago something was, from seconds: `just now`, `5 minutes`, `3 days`.
pub fn age(secs: i64) -> String {
    match secs {
        ..60 => "just now".to_owned(),
        60..3600 => format!("{} ago", count((secs / 60) as u64, "minute")),
        3600..172_800 => format!("{} ago", count((secs / 3600) as u64, "hour")),
        _ => format!("{} ago", count((secs / 86_400) as u64, "day")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_400_000), "1.4 MB");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(count(1, "directory"), "1 directory");
        assert_eq!(count(2, "directory"), "2 directories");
        assert_eq!(age(3 * 86_400), "3 days ago");
        assert_eq!(age(60), "1 minute ago");
    }
}
