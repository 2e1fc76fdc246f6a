//! The audit log: who did what, one line of JSON each, each holding the hash of the line before it.
//!
//! A line that is changed, taken out or put in breaks the chain behind it. Lines at the end can be cut off unnoticed by the chain alone:
//! the index has a copy, and whoever notes the hash of the newest line elsewhere can tell later that nothing before it was touched. It
//! shows what an honest machine did; who rules the machine can write a log from its beginning anew.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::id::InstanceId;

/// The version of a line.
pub const VERSION: u32 = 1;
/// No line is longer, in bytes.
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// A text in a line is cut at so many characters.
const MAX_TEXT: usize = 1000;
/// So many things are named in a line, at most.
const MAX_SUBJECTS: usize = 50;

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Who {
    /// A user of this machine, who typed a command.
    User {
        /// Their number.
        uid: u32,
        /// Their name, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Somebody with the token of the admin plane.
    AdminToken,
    /// Somebody with a token that was made for them.
    Token {
        /// What it is called.
        name: String,
    },
    /// Somebody who logged in in a browser.
    Browser,
    /// A peer.
    Peer {
        /// Which one.
        instance: InstanceId,
    },
    /// The server by itself: a schedule.
    Server,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It goes on.
    Begun,
    /// All of it was done.
    Done,
    /// Done, but not everything.
    Partly,
    /// Nothing came of it.
    Failed,
}

/// Something that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who did it.
    pub who: Who,
    /// What: the words of the command, as `peer trust`; `unlock`, `recovery-key`, `pair`.
    pub what: String,
    /// To what: snapshots, collections, peers, folders.
    pub subjects: Vec<String>,
    /// How it ended.
    pub ending: Ending,
    /// Why it failed.
    pub why: Option<String>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`VERSION`].
    pub v: u32,
    /// Its number, from 1.
    pub n: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Who did it.
    pub who: Who,
    /// What was done.
    pub what: String,
    /// To what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// How it ended.
    pub ending: Ending,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// SHA-256 of the line before it, without the line's end; of the first one 64 zeros.
    pub before: String,
}

/// The end of a chain: the number of its last line, and that line's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number; 0 if there is none.
    pub n: u64,
    /// The hash, 64 hex digits.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { n: 0, hash: "0".repeat(64) }
    }
}

/// The first thing that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A line is none of ours.
    #[error("line {0} is no entry of an audit log: it was changed or put in")]
    NoEntry(u64),
    /// Numbers are left out.
    #[error("{} cut out before line {line}", entries(.from, .to))]
    CutOut {
        /// The line in the file.
        line: u64,
        /// The first entry that is not there.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// A number comes again.
    #[error("line {line} is entry {n} again, or was put in")]
    Again {
        /// The line in the file.
        line: u64,
        /// What it says.
        n: u64,
    },
    /// A line is not what it was.
    #[error("line {0} was changed: it is not what the index has of it")]
    Changed(u64),
    /// The chain does not hold.
    #[error("line {} was changed, or line {line} was: the one does not hold the hash of the other", line - 1)]
    Chain {
        /// The later one.
        line: u64,
    },
    /// The end is not there.
    #[error("{} cut off the end", entries(.from, .to))]
    CutOff {
        /// The first entry that is not there.
        from: u64,
        /// The last one.
        to: u64,
    },
}

fn entries(from: &u64, to: &u64) -> String {
    if from == to { format!("entry {from} was") } else { format!("entries {from} to {to} were") }
}

/// The hash of a line, without its end.
pub fn hash(line: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(line))
}

impl Head {
    /// The line that goes on from here, without its end, and the new head.
    pub fn next(&self, event: &Event, at: Timestamp) -> (Vec<u8>, Head) {
        let entry = Entry {
            v: VERSION,
            n: self.n + 1,
            at,
            who: event.who.clone(),
            what: cut(&event.what),
            subjects: event.subjects.iter().take(MAX_SUBJECTS).map(|subject| cut(subject)).collect(),
            ending: event.ending,
            why: event.why.as_deref().map(cut),
            before: self.hash.clone(),
        };
        let line = serde_json::to_vec(&entry).expect("an entry has no maps with odd keys");
        let head = Head { n: entry.n, hash: hash(&line) };
        (line, head)
    }

    /// The head after a line that is there.
    pub fn of(line: &[u8]) -> Option<Head> {
        let entry: Entry = serde_json::from_slice(line).ok()?;
        Some(Head { n: entry.n, hash: hash(line) })
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// A log that is looked through, line by line.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    head: Head,
    line: u64,
}

impl Chain {
    /// Where it stands.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Looks at the next line, without its end. `kept`: what the index has of the entry with this number.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn push(&mut self, line: &[u8], kept: Option<&[u8]>) -> Result<Entry, Broken> {
        self.line += 1;
        let entry: Entry = serde_json::from_slice(line).map_err(|_| Broken::NoEntry(self.line))?;
        if entry.v != VERSION {
            return Err(Broken::NoEntry(self.line));
        }
        let expected = self.head.n + 1;
        if entry.n > expected {
            return Err(Broken::CutOut { line: self.line, from: expected, to: entry.n - 1 });
        }
        if entry.n < expected {
            return Err(Broken::Again { line: self.line, n: entry.n });
        }
        if kept.is_some_and(|kept| kept != line) {
            return Err(Broken::Changed(self.line));
        }
        if entry.before != self.head.hash {
            return Err(Broken::Chain { line: self.line });
        }
        self.head = Head { n: entry.n, hash: hash(line) };
        Ok(entry)
    }

    /// At the end: `last` is the number of the last entry that the index knows.
    ///
    /// # Errors
    /// [`Broken::CutOff`].
    pub fn end(&self, last: u64) -> Result<(), Broken> {
        if last > self.head.n { Err(Broken::CutOff { from: self.head.n + 1, to: last }) } else { Ok(()) }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::User { name: Some(name), .. } => f.write_str(name),
            Who::User { uid, name: None } => write!(f, "user {uid}"),
            Who::AdminToken => f.write_str("admin token"),
            Who::Token { name } => write!(f, "token {name}"),
            Who::Browser => f.write_str("browser"),
            Who::Peer { instance } => write!(f, "peer {}", instance.short()),
            Who::Server => f.write_str("server"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ending::Begun => "begun",
            Ending::Done => "done",
            Ending::Partly => "partly",
            Ending::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(number: u64) -> Vec<Vec<u8>> {
        let (mut head, mut lines) = (Head::default(), Vec::new());
        for n in 0..number {
            let who = Who::User { uid: 1000, name: Some("ada".into()) };
            let event = Event {
                who,
                what: "backup".into(),
                subjects: vec![format!("notes@{n}")],
                ending: Ending::Done,
                why: None,
            };
            let (line, next) = head.next(&event, Timestamp::UNIX_EPOCH);
            lines.push(line);
            head = next;
        }
        lines
    }

    fn look(lines: &[Vec<u8>], kept: &[Vec<u8>]) -> Result<(), Broken> {
        let mut chain = Chain::default();
        for line in lines {
            let kept = kept.get(chain.head().n as usize).map(Vec::as_slice);
            chain.push(line, kept)?;
        }
        chain.end(kept.len() as u64)
    }

    #[test]
    fn the_first_line_that_was_changed_or_cut_out_is_named() {
        let lines = log(10);
        assert_eq!(look(&lines, &[]), Ok(()));
        assert_eq!(look(&lines, &lines), Ok(()));
        for at in 0..10 {
            let mut changed = lines.clone();
            changed[at] = String::from_utf8(changed[at].clone()).unwrap().replace("ada", "eve").into_bytes();
            assert_eq!(look(&changed, &lines), Err(Broken::Changed(at as u64 + 1)));
            // Without the copy the next line shows it; of the last one nobody knows.
            let alone = if at == 9 { Ok(()) } else { Err(Broken::Chain { line: at as u64 + 2 }) };
            assert_eq!(look(&changed, &[]), alone);
            let mut cut = lines.clone();
            cut.remove(at);
            let n = at as u64 + 1;
            let expected = match at {
                9 => Broken::CutOff { from: 10, to: 10 },
                _ => Broken::CutOut { line: n, from: n, to: n },
            };
            assert_eq!(look(&cut, &lines), Err(expected));
            let mut twice = lines.clone();
            twice.insert(at, lines[at].clone());
            assert_eq!(look(&twice, &lines), Err(Broken::Again { line: n + 1, n }));
            let mut garbage = lines.clone();
            garbage[at] = b"hello".to_vec();
            assert_eq!(look(&garbage, &lines), Err(Broken::NoEntry(n)));
        }
    }
}
