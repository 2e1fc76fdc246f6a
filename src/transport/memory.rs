//! Connections inside one process, for tests: instances meet in a [`MemoryNet`], which counts and, when told, misbehaves.
//!
//! Faults strike answers (what the dialling side reads), at a place that counts the bytes of all connections together, so
//! that a test can go through n = 1, 2, 3 … until nothing happens any more. Each strikes once.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

use super::{BoxedStream, Dial, DialError, Listen};
use crate::domain::peer::PeerAddress;

const BUFFER: usize = 64 << 10;
const BACKLOG: usize = 64;

/// What happens to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends.
    Cut,
    /// The lowest bit of one byte changes.
    Flip,
    /// Nothing comes any more, and the connection stays open.
    Stall,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts to dial.
    pub dials: u64,
    /// Bytes from the dialling side.
    pub request_bytes: u64,
    /// Bytes to the dialling side.
    pub answer_bytes: u64,
}

/// Where instances of one process meet. Cheap to clone: all clones are one net.
#[derive(Debug, Clone, Default)]
pub struct MemoryNet {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    listeners: HashMap<PeerAddress, mpsc::Sender<DuplexStream>>,
    counts: Counts,
    faults: Vec<(u64, Fault)>,
    refused_dials: BTreeSet<u64>,
}

impl MemoryNet {
    /// A net with nobody in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens at an address; whoever listened there before hears no more.
    pub fn listen(&self, address: &PeerAddress) -> MemoryListener {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.state().listeners.insert(address.clone(), sender);
        MemoryListener { receiver, address: address.clone() }
    }

    /// The counters.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Sets the counters to 0 and forgets all faults to come.
    pub fn reset(&self) {
        let mut state = self.state();
        state.counts = Counts::default();
        state.faults.clear();
        state.refused_dials.clear();
    }

    /// Lets `fault` strike before the `at`-th byte of all answers from now on, counted from 0.
    pub fn strike(&self, fault: Fault, at: u64) {
        let mut state = self.state();
        let at = state.counts.answer_bytes + at;
        state.faults.push((at, fault));
    }

    /// Refuses the `n`-th dial from now on, counted from 1.
    pub fn refuse_dial(&self, n: u64) {
        let mut state = self.state();
        let n = state.counts.dials + n;
        state.refused_dials.insert(n);
    }

    /// Whether a fault is still to come.
    pub fn has_faults_left(&self) -> bool {
        let state = self.state();
        !state.faults.is_empty() || !state.refused_dials.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}

impl Dial for MemoryNet {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            let refused = |text| DialError::Unreachable {
                address: address.clone(),
                cause: io::Error::new(ErrorKind::ConnectionRefused, text),
            };
            let sender = {
                let mut state = self.state();
                state.counts.dials += 1;
                let n = state.counts.dials;
                if state.refused_dials.remove(&n) {
                    return Err(refused("this dial was to be refused"));
                }
                state.listeners.get(address).cloned().ok_or_else(|| refused("nobody listens"))?
            };
            let (near, far) = tokio::io::duplex(BUFFER);
            sender.send(far).await.map_err(|_| refused("nobody listens any more"))?;
            Ok(Box::new(FaultyStream { inner: near, net: self.clone(), struck: None }) as BoxedStream)
        })
    }
}

/// Takes in what is dialled within the process.
#[derive(Debug)]
pub struct MemoryListener {
    receiver: mpsc::Receiver<DuplexStream>,
    address: PeerAddress,
}

impl Listen for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        Box::pin(async move {
            let stream = self.receiver.recv().await.ok_or(ErrorKind::NotConnected)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }

    fn address(&self) -> PeerAddress {
        self.address.clone()
    }
}

/// The dialling side of a connection.
struct FaultyStream {
    inner: DuplexStream,
    net: MemoryNet,
    struck: Option<Fault>,
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.struck {
            Some(Fault::Cut) => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            Some(Fault::Stall) => return Poll::Pending,
            Some(Fault::Flip) | None => {}
        }
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        let struck = {
            let mut state = self.net.state();
            let start = state.counts.answer_bytes;
            state.counts.answer_bytes += read;
            let next = state.faults.iter().enumerate().filter(|(_, (at, _))| (start..start + read).contains(at));
            let next = next.min_by_key(|(_, (at, _))| *at).map(|(n, _)| n);
            next.map(|n| state.faults.swap_remove(n)).map(|(at, fault)| (before + (at - start) as usize, fault))
        };
        match struck {
            None => Poll::Ready(Ok(())),
            Some((at, Fault::Flip)) => {
                buffer.filled_mut()[at] ^= 1;
                Poll::Ready(Ok(()))
            }
            // What came before still arrives.
            Some((at, fault)) => {
                self.struck = Some(fault);
                buffer.set_filled(at);
                if at > before { Poll::Ready(Ok(())) } else { self.poll_read(context, buffer) }
            }
        }
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        self.net.state().counts.request_bytes += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn read_with(fault: Option<(Fault, u64)>) -> io::Result<Vec<u8>> {
        let net = MemoryNet::new();
        let address: PeerAddress = "http://127.0.0.1:1".parse().unwrap();
        let mut listener = net.listen(&address);
        if let Some((fault, at)) = fault {
            net.strike(fault, at);
        }
        let (near, far) = tokio::join!(net.dial(&address), listener.accept());
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        far.write_all(b"answer").await.unwrap();
        drop(far);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await?;
        assert_eq!(net.counts(), Counts { dials: 1, request_bytes: 0, answer_bytes: 6 });
        assert_eq!(net.has_faults_left(), fault.is_some_and(|(_, at)| at >= 6));
        Ok(answer)
    }

    #[tokio::test]
    async fn faults_strike_where_they_are_told_to() {
        assert_eq!(read_with(None).await.unwrap(), b"answer");
        assert_eq!(read_with(Some((Fault::Flip, 1))).await.unwrap(), b"aoswer");
        assert_eq!(read_with(Some((Fault::Cut, 2))).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(read_with(Some((Fault::Cut, 6))).await.unwrap(), b"answer");
    }

    #[tokio::test]
    async fn the_nth_dial_is_refused() {
        let net = MemoryNet::new();
        let address: PeerAddress = "http://127.0.0.1:1".parse().unwrap();
        let _listener = net.listen(&address);
        net.refuse_dial(2);
        assert!(net.dial(&address).await.is_ok());
        assert!(net.dial(&address).await.is_err());
        assert!(net.dial(&address).await.is_ok());
    }
}
