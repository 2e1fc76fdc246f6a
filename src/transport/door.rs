//! Through the server that runs in the same home: one Tor client for both, with circuits that are warm already.
//!
//! A Unix socket in the home's folder of locks, which only its owner can enter. The caller writes the address and a line end;
//! the server answers one line of JSON, `null` or the fault, and from then on passes bytes both ways. Onion addresses only:
//! this is no way around what a transport allows (R9).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional_with_sizes};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::onions::OnionFault;
use super::{BoxedStream, Dial, DialError};
use crate::domain::peer::PeerAddress;

/// Longest line.
const MAX_LINE_BYTES: u64 = 4096;
/// How long the server may take to connect: longer than its own patience.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long a caller may take to say where to.
const HEAD: Duration = Duration::from_secs(10);
/// Callers at once.
const CALLERS: usize = 64;
/// Bytes in flight, each way.
const COPY_BYTES: usize = 64 << 10;
/// The longest path that a socket's address holds, with some room.
const MAX_PATH: usize = 100;

/// The server's side.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Takes away what an earlier server left there; the server's lock says that none runs.
    pub fn remove(path: &Path) {
        let _ = std::fs::remove_file(path);
    }

    /// Opens the door.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::remove(path);
        let (short, _folder) = short(path)?;
        let listener = UnixListener::bind(short)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Dials for whoever comes in, until `stop`.
    ///
    /// # Errors
    /// If the socket is lost.
    pub async fn serve(self, dial: Arc<dyn Dial>, stop: CancellationToken) -> io::Result<()> {
        let (tasks, slots) = (TaskTracker::new(), Arc::new(tokio::sync::Semaphore::new(CALLERS)));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot take a command in; trying again");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                },
                () = stop.cancelled() => break,
            };
            let (dial, stop) = (Arc::clone(&dial), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    // Whoever came in sees that it ended.
                    _ = pass(stream, dial) => {}
                    () = stop.cancelled() => {}
                }
                drop(slot);
            });
        }
        let _ = std::fs::remove_file(&self.path);
        tasks.close();
        tasks.wait().await;
        Ok(())
    }
}

async fn pass(stream: UnixStream, dial: Arc<dyn Dial>) -> io::Result<()> {
    let mut near = BufReader::new(stream);
    let line = tokio::time::timeout(HEAD, read_line(&mut near)).await.map_err(io::Error::other)??;
    let address: Option<PeerAddress> = line.parse().ok().filter(|to| matches!(to, PeerAddress::Onion(_)));
    let dialled = match &address {
        Some(address) => tokio::select! {
            dialled = dial.dial(address) => dialled.map_err(|error| match error {
                DialError::Onion(fault) => fault,
                other => OnionFault::Failed { what: other.to_string() },
            }),
            // The caller has gone.
            _ = near.read_u8() => return Ok(()),
        },
        None => Err(OnionFault::Failed { what: "this is no onion address".to_owned() }),
    };
    let answer = serde_json::to_string(&dialled.as_ref().err()).map_err(io::Error::other)?;
    near.write_all(format!("{answer}\n").as_bytes()).await?;
    if let Ok(mut far) = dialled {
        copy_bidirectional_with_sizes(&mut near, &mut far, COPY_BYTES, COPY_BYTES).await?;
    }
    Ok(())
}

async fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.take(MAX_LINE_BYTES).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The command's side.
#[derive(Debug, Clone)]
pub struct DoorDial {
    path: PathBuf,
}

impl DoorDial {
    /// Through the server whose door this is; `None` if nobody is behind it.
    pub fn through(path: &Path) -> Option<Self> {
        let (short, _folder) = short(path).ok()?;
        // A knock without a word does no harm.
        std::os::unix::net::UnixStream::connect(short).is_ok().then(|| Self { path: path.to_owned() })
    }

    async fn dial_onion(&self, address: &PeerAddress) -> Result<BoxedStream, OnionFault> {
        let gone = |error: io::Error| OnionFault::NotReady {
            why: format!("the server that runs in this home does not answer ({error})"),
        };
        let (short, _folder) = short(&self.path).map_err(gone)?;
        let mut stream = BufReader::new(UnixStream::connect(short).await.map_err(gone)?);
        stream.write_all(format!("{}\n", address.reveal()).as_bytes()).await.map_err(gone)?;
        let answer = read_line(&mut stream).await.map_err(gone)?;
        let fault: Option<OnionFault> =
            serde_json::from_str(&answer).map_err(|error| gone(io::Error::other(error.to_string())))?;
        match fault {
            None => Ok(Box::new(stream)),
            Some(fault) => Err(fault),
        }
    }
}

impl Dial for DoorDial {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            let too_slow = OnionFault::TooSlow { waited_s: PATIENCE.as_secs() };
            let dialled = tokio::time::timeout(PATIENCE, self.dial_onion(address)).await;
            dialled.unwrap_or(Err(too_slow)).map_err(DialError::Onion)
        })
    }
}

/// A path that fits into a socket's address: a long one is reached through its open folder, which must stay open meanwhile.
pub(super) fn short(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if path.as_os_str().len() <= MAX_PATH {
        return Ok((path.to_owned(), None));
    }
    let folder = OwnedFd::from(std::fs::File::open(folder)?);
    let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((through, Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Listen;
    use crate::transport::memory::MemoryNet;

    const ONION: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";

    async fn go_through(path: &Path) {
        let net = MemoryNet::new();
        let address: PeerAddress = ONION.parse().unwrap();
        let mut listener = net.listen(&address);
        let door = Door::open(path).unwrap();
        let stop = CancellationToken::new();
        let serving = TaskTracker::new().spawn(door.serve(Arc::new(net), stop.clone()));
        let dial = DoorDial::through(path).unwrap();
        let (near, far) = tokio::join!(dial.dial(&address), listener.accept());
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        far.write_all(b"hello").await.unwrap();
        let mut hello = [0; 5];
        near.read_exact(&mut hello).await.unwrap();
        drop((near, far));
        let plain = dial.dial(&"http://127.0.0.1:9".parse().unwrap()).await.err();
        assert!(matches!(plain, Some(DialError::Onion(OnionFault::Failed { .. }))), "{plain:?}");
        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(DoorDial::through(path).is_none());
    }

    #[tokio::test]
    async fn commands_go_through_the_server_and_to_onions_only() {
        let dir = tempfile::tempdir().unwrap();
        go_through(&dir.path().join("dial")).await;
        let deep = dir.path().join("a".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        go_through(&deep.join("dial")).await;
    }

    #[tokio::test]
    async fn garbage_at_the_door_ends_quietly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dial");
        let (door, stop) = (Door::open(&path).unwrap(), CancellationToken::new());
        let serving = TaskTracker::new().spawn(door.serve(Arc::new(MemoryNet::new()), stop.clone()));
        for garbage in [&b"\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 9000], b""] {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            let _ = stream.write_all(garbage).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.len() < 200);
        }
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
