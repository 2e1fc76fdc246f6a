//! The events of a run, as the server sends them (server-sent events: HTML Living Standard, 9.2).

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::http::admin::view::run::{LineView, ProgressView, RunView};
use crate::transport::client::AnswerBody;

/// A longer event is none of ours, in bytes.
const MAX_EVENT_BYTES: usize = 8 << 20;

/// Something that a run said.
#[derive(Debug)]
pub enum Event {
    /// How far it is.
    Progress(ProgressView),
    /// A notice or a problem.
    Line(LineView),
    /// How it ended.
    End(Box<RunView>),
}

/// What comes, one event after another.
#[derive(Debug)]
pub struct Events {
    body: AnswerBody,
    text: Pending,
}

impl Events {
    /// Of an answer's body.
    pub fn new(body: AnswerBody) -> Self {
        Self { body, text: Pending::default() }
    }

    /// The next one; `None` if no more comes, for whatever reason. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(block) = self.text.take() {
                if let Some(event) = parsed(&block) {
                    return Some(event);
                }
            }
            let piece = self.body.next().await.ok().flatten()?;
            if !self.text.add(&piece) {
                return None;
            }
        }
    }
}

/// What came of events that are not whole yet.
#[derive(Debug, Default)]
struct Pending(Vec<u8>);

impl Pending {
    /// Whether that is not too much.
    fn add(&mut self, piece: &Bytes) -> bool {
        self.0.extend_from_slice(piece);
        self.0.len() <= MAX_EVENT_BYTES
    }

    /// The next whole event, without the empty line behind it.
    fn take(&mut self) -> Option<Vec<u8>> {
        let end = self.0.windows(2).position(|pair| pair == b"\n\n")?;
        let mut block: Vec<u8> = self.0.drain(..end + 2).collect();
        block.truncate(end);
        Some(block)
    }
}

/// An event; nothing if it is a comment or of a kind that is not known.
fn parsed(block: &[u8]) -> Option<Event> {
    let (mut kind, mut data) = ("", String::new());
    let text = std::str::from_utf8(block).ok()?;
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => kind = value,
            "data" => data.push_str(value),
            _ => {}
        }
    }
    match kind {
        "progress" => read(&data).map(Event::Progress),
        "line" => read(&data).map(Event::Line),
        "end" => read(&data).map(|run| Event::End(Box::new(run))),
        _ => None,
    }
}

fn read<T: DeserializeOwned>(data: &str) -> Option<T> {
    serde_json::from_str(data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_pieces_are_cut() {
        let sent = ": alive\n\nevent: line\nid: 0\ndata: {\"at\":\"2026-11-26T10:00:00Z\",\"is_problem\":true,\"subject\":\"a\",\"text\":\"it is wet\"}\n\n\
                    event: later\ndata: 1\n\nevent: line\ndata:{\"at\":\"2026-11-26T10:00:01Z\",\"is_problem\":false,\"text\":\"no\"}\n\n";
        for size in [1, 7, sent.len()] {
            let (mut pending, mut heard) = (Pending::default(), Vec::new());
            for piece in sent.as_bytes().chunks(size) {
                assert!(pending.add(&Bytes::copy_from_slice(piece)));
                while let Some(block) = pending.take() {
                    if let Some(Event::Line(line)) = parsed(&block) {
                        heard.push((line.is_problem, line.in_words()));
                    }
                }
            }
            assert_eq!(heard, [(true, "a: it is wet".to_owned()), (false, "no".to_owned())], "in pieces of {size}");
        }
    }
}
