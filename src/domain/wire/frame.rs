//! Many chunks in one stream: the answer to `POST /chunks`.
//!
//! `"BLBF" 0x01`, then frames: kind (1 byte) ‖ id (32) ‖ length (u32 BE) ‖ bytes. Kind 1 is a chunk, kind 2 a chunk that is not
//! here (length 0), kind 3 the end: its id is the SHA-256 of all frame heads before it, its length the number of frames
//! before it, and no bytes follow. A stream without its end was cut off, and a frame that was lost on the way shows there.
//!
//! The decoder holds at most one chunk, and looks at a length before it makes room (R13). It does not compare chunks with
//! their names: who stores them does.

use sha2::{Digest, Sha256};

use crate::domain::chunk::MAX_STORED;
use crate::domain::id::ChunkId;

/// First bytes of a stream; the last one is the version.
pub const MAGIC: &[u8; 5] = b"BLBF\x01";
/// Length of a frame without its bytes.
pub const HEAD_LEN: usize = 1 + ChunkId::LEN + 4;
/// The content type of such a stream.
pub const CONTENT_TYPE: &str = "application/vnd.bulbil.chunks";

const CHUNK: u8 = 1;
const MISSING: u8 = 2;
const END: u8 = 3;

/// Writes the heads of a stream. The bytes of a chunk are sent after its head, without being copied.
#[derive(Debug, Default)]
pub struct FrameEncoder {
    heads: Sha256,
    frames: u32,
}

impl FrameEncoder {
    /// Begins a stream; send [`MAGIC`] first.
    pub fn new() -> Self {
        Self::default()
    }

    /// The head of a chunk of `len` bytes, at most [`MAX_STORED`].
    pub fn chunk(&mut self, id: &ChunkId, len: u32) -> [u8; HEAD_LEN] {
        self.head(CHUNK, id, len)
    }

    /// The frame of a chunk that is not here.
    pub fn missing(&mut self, id: &ChunkId) -> [u8; HEAD_LEN] {
        self.head(MISSING, id, 0)
    }

    /// The last frame.
    pub fn finish(self) -> [u8; HEAD_LEN] {
        head(END, &self.heads.finalize().into(), self.frames)
    }

    fn head(&mut self, kind: u8, id: &ChunkId, len: u32) -> [u8; HEAD_LEN] {
        let head = head(kind, id.as_bytes(), len);
        self.heads.update(head);
        self.frames += 1;
        head
    }
}

fn head(kind: u8, id: &[u8; 32], len: u32) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[0] = kind;
    head[1..33].copy_from_slice(id);
    head[33..].copy_from_slice(&len.to_be_bytes());
    head
}

/// What a stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A chunk. Its bytes are not compared with its name yet.
    Chunk {
        /// The name.
        id: ChunkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The sender does not have it, or we may not have it.
    Missing {
        /// The name.
        id: ChunkId,
    },
    /// The stream is whole.
    End,
}

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It does not begin as one, or has a frame of an unknown kind.
    #[error("the peer's answer is not a stream of chunks of a version this program knows")]
    NotFrames,
    /// A chunk longer than any chunk can be.
    #[error("the peer announces a chunk of {0} bytes; none is longer than {MAX_STORED}")]
    TooLong(u32),
    /// More frames than chunks that were asked for.
    #[error("the peer sends more chunks than it was asked for")]
    TooMany,
    /// Its end contradicts what came before.
    #[error("the stream of chunks was changed on its way: its end does not fit what came before")]
    WrongEnd,
    /// Something comes after the end.
    #[error("the peer goes on after the end of the stream")]
    AfterEnd,
    /// It stops before its end.
    #[error("the stream of chunks was cut off")]
    Truncated,
}

/// Reads a stream piece by piece.
#[derive(Debug)]
pub struct FrameDecoder {
    state: State,
    heads: Sha256,
    frames: u32,
    max_frames: u32,
}

#[derive(Debug)]
enum State {
    Head { have: usize, bytes: [u8; HEAD_LEN], wanted: Wanted },
    Body { id: ChunkId, len: usize, bytes: Vec<u8> },
    Ended,
    Failed(FrameError),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wanted {
    Magic,
    Frame,
}

impl FrameDecoder {
    /// For an answer to a request for `asked` chunks.
    pub fn new(asked: usize) -> Self {
        Self {
            state: next_head(Wanted::Magic),
            heads: Sha256::new(),
            frames: 0,
            max_frames: u32::try_from(asked).unwrap_or(u32::MAX),
        }
    }

    /// Takes bytes from the front of `input` until an event is complete; `None` when all of `input` is taken.
    ///
    /// # Errors
    /// [`FrameError`]; from then on always the same one.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, FrameError> {
        loop {
            match self.step(input) {
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Ok(Step::NeedMore) => return Ok(None),
                Ok(Step::Again) => {}
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
    }

    /// The bytes of the frame that has begun are kept here meanwhile: at most one chunk.
    pub fn buffered_bytes(&self) -> usize {
        match &self.state {
            State::Head { have, .. } => *have,
            State::Body { bytes, .. } => bytes.len(),
            State::Ended | State::Failed(_) => 0,
        }
    }

    /// The chunk that has begun, and how many of its bytes are here.
    pub fn part(&self) -> Option<(ChunkId, usize)> {
        match &self.state {
            State::Body { id, bytes, .. } => Some((*id, bytes.len())),
            State::Head { .. } | State::Ended | State::Failed(_) => None,
        }
    }

    /// The chunk that had begun when the peer stopped: its name, and the bytes that came. Nothing of it was checked.
    pub fn into_part(self) -> Option<(ChunkId, Vec<u8>)> {
        match self.state {
            State::Body { id, bytes, .. } => Some((id, bytes)),
            State::Head { .. } | State::Ended | State::Failed(_) => None,
        }
    }

    /// Call it when the peer sends no more.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if the end has not been seen.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.state {
            State::Ended => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(FrameError::Truncated),
        }
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Step, FrameError> {
        match &mut self.state {
            State::Failed(error) => Err(*error),
            State::Ended if input.is_empty() => Ok(Step::NeedMore),
            State::Ended => Err(FrameError::AfterEnd),
            State::Head { have, bytes, wanted } => {
                let wanted = *wanted;
                let len = if wanted == Wanted::Magic { MAGIC.len() } else { HEAD_LEN };
                let taken = take(input, len - *have);
                bytes[*have..*have + taken.len()].copy_from_slice(taken);
                *have += taken.len();
                if *have < len {
                    return Ok(Step::NeedMore);
                }
                let bytes = *bytes;
                if wanted == Wanted::Magic {
                    if bytes[..len] != MAGIC[..] {
                        return Err(FrameError::NotFrames);
                    }
                    self.state = next_head(Wanted::Frame);
                    return Ok(Step::Again);
                }
                self.frame(&bytes)
            }
            State::Body { id, len, bytes } => {
                bytes.extend_from_slice(take(input, *len - bytes.len()));
                if bytes.len() < *len {
                    return Ok(Step::NeedMore);
                }
                let event = Event::Chunk { id: *id, bytes: std::mem::take(bytes) };
                self.state = next_head(Wanted::Frame);
                Ok(Step::Event(event))
            }
        }
    }

    fn frame(&mut self, head: &[u8; HEAD_LEN]) -> Result<Step, FrameError> {
        let (kind, id) = (head[0], &head[1..33]);
        let len = u32::from_be_bytes(head[33..].try_into().expect("four bytes are left"));
        if kind == END {
            let heads = std::mem::take(&mut self.heads).finalize();
            if len != self.frames || heads[..] != *id {
                return Err(FrameError::WrongEnd);
            }
            self.state = State::Ended;
            return Ok(Step::Event(Event::End));
        }
        if self.frames == self.max_frames {
            return Err(FrameError::TooMany);
        }
        self.frames += 1;
        self.heads.update(head);
        let id = ChunkId::from_slice(id).expect("an id has 32 bytes");
        match kind {
            CHUNK if len as usize > MAX_STORED => Err(FrameError::TooLong(len)),
            CHUNK => {
                let len = len as usize;
                self.state = State::Body { id, len, bytes: Vec::with_capacity(len) };
                Ok(Step::Again)
            }
            MISSING if len == 0 => {
                self.state = next_head(Wanted::Frame);
                Ok(Step::Event(Event::Missing { id }))
            }
            _ => Err(FrameError::NotFrames),
        }
    }
}

enum Step {
    Event(Event),
    Again,
    NeedMore,
}

fn next_head(wanted: Wanted) -> State {
    State::Head { have: 0, bytes: [0; HEAD_LEN], wanted }
}

fn take<'a>(input: &mut &'a [u8], at_most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(at_most.min(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(chunks: &[Option<Vec<u8>>]) -> (Vec<u8>, Vec<Event>) {
        let mut encoder = FrameEncoder::new();
        let (mut bytes, mut events) = (MAGIC.to_vec(), Vec::new());
        for (n, chunk) in chunks.iter().enumerate() {
            match chunk {
                Some(content) => {
                    let id = ChunkId::of(content);
                    bytes.extend_from_slice(&encoder.chunk(&id, content.len() as u32));
                    bytes.extend_from_slice(content);
                    events.push(Event::Chunk { id, bytes: content.clone() });
                }
                None => {
                    let id = ChunkId::of(&n.to_be_bytes());
                    bytes.extend_from_slice(&encoder.missing(&id));
                    events.push(Event::Missing { id });
                }
            }
        }
        bytes.extend_from_slice(&encoder.finish());
        events.push(Event::End);
        (bytes, events)
    }

    fn decode(bytes: &[u8], pieces: usize, asked: usize) -> Result<Vec<Event>, FrameError> {
        let mut decoder = FrameDecoder::new(asked);
        let mut events = Vec::new();
        for mut piece in bytes.chunks(pieces.max(1)) {
            while let Some(event) = decoder.next(&mut piece)? {
                events.push(event);
            }
        }
        decoder.finish().map(|()| events)
    }

    fn chunks() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
        proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)), 0..12)
    }

    proptest! {
        #[test]
        fn cut_anyhow_it_reads_the_same(chunks in chunks(), pieces in 1usize..300) {
            let (bytes, events) = stream(&chunks);
            prop_assert_eq!(decode(&bytes, pieces, chunks.len()), Ok(events));
        }

        #[test]
        fn r13_a_shorter_stream_is_noticed(chunks in chunks(), cut in any::<prop::sample::Index>()) {
            let (bytes, _) = stream(&chunks);
            let cut = cut.index(bytes.len());
            prop_assert_eq!(decode(&bytes[..cut], 64, chunks.len()), Err(FrameError::Truncated));
        }

        #[test]
        fn no_bytes_make_it_panic_or_hoard(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut all = MAGIC.to_vec();
            all.extend_from_slice(&bytes);
            let _ = decode(&all, 7, 3);
            let _ = decode(&bytes, 7, 3);
        }

        #[test]
        fn a_changed_head_is_noticed(chunks in chunks(), frame in any::<prop::sample::Index>(), byte in 0..HEAD_LEN) {
            let (mut bytes, events) = stream(&chunks);
            let mut at = MAGIC.len();
            for event in &events[..frame.index(events.len())] {
                at += HEAD_LEN + if let Event::Chunk { bytes, .. } = event { bytes.len() } else { 0 };
            }
            bytes[at + byte] ^= 1;
            prop_assert!(decode(&bytes, 50, chunks.len()).is_err());
        }
    }

    #[test]
    fn r13_a_huge_length_is_refused_before_room_is_made() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&head(CHUNK, &[0; 32], u32::MAX));
        assert_eq!(decode(&bytes, 100, 1), Err(FrameError::TooLong(u32::MAX)));
    }

    #[test]
    fn of_a_stream_that_breaks_off_the_part_is_left() {
        let (bytes, _) = stream(&[Some(b"first".to_vec()), Some(b"second".to_vec())]);
        let mut decoder = FrameDecoder::new(2);
        let mut input = &bytes[..MAGIC.len() + 2 * HEAD_LEN + 5 + 3];
        while decoder.next(&mut input).unwrap().is_some() {}
        assert_eq!(decoder.into_part(), Some((ChunkId::of(b"second"), b"sec".to_vec())));
        assert_eq!(FrameDecoder::new(1).into_part(), None);
    }

    #[test]
    fn more_than_asked_for_and_more_after_the_end_are_refused() {
        let (mut bytes, _) = stream(&[None, None]);
        assert_eq!(decode(&bytes, 100, 1), Err(FrameError::TooMany));
        bytes.push(0);
        assert_eq!(decode(&bytes, 1000, 2), Err(FrameError::AfterEnd));
    }

    /// The bytes of version 1, as every later program must write and read them.
    #[test]
    fn golden_stream() {
        let text = include_str!("../../../tests/data/wire/1/frames.hex");
        let golden = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).unwrap();
        let (bytes, events) = stream(&[Some(b"chunk".to_vec()), None, Some(Vec::new())]);
        assert_eq!(data_encoding::HEXLOWER.encode(&bytes), text.trim());
        assert_eq!(decode(&golden, 10, 3), Ok(events));
    }
}
