//! A Unix socket on which the admin plane is served: a file that its owner alone may open, and so no port that every user and every
//! browser of the machine reaches.
//!
//! It is made in a folder that nobody else enters, gets its mode there, and only then its name: there is no moment at which somebody
//! else could connect. One that a killed server left is taken over; one behind which somebody listens is not.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::net::{UnixListener, UnixStream};

use super::door::short;
use super::{BoxedStream, Dial, DialError, Listen};
use crate::domain::peer::PeerAddress;

/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the folder is tried, while another server makes its socket in it.
const ATTEMPTS: u32 = 100;

/// Listens on a socket in the file system. Dropped, it takes it away.
#[derive(Debug)]
pub struct SocketListener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: what stands there later may be another server's.
    own: (u64, u64),
}

impl SocketListener {
    /// Makes the socket, with mode 0600.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`] if somebody listens there, [`ErrorKind::AlreadyExists`] if it is no socket that stands there, and what
    /// else the system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "this is no path of a file"));
        };
        // Two servers that begin at once look and take one after the other.
        let metadata = fs::metadata(folder)?;
        let (mode, is_ours) = (metadata.mode(), [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()));
        if !is_ours || (mode & 0o022 != 0 && mode & 0o1000 == 0) {
            let why = "others may write into its folder, and could put a socket of theirs there: name another folder";
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        let _turn = turn(folder)?;
        refuse_taken(path)?;
        let within = Within::make(folder)?;
        let made = within.0.join("s");
        let listener = {
            let (short, _folder) = short(&made)?;
            UnixListener::bind(short)?
        };
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        let metadata = fs::symlink_metadata(&made)?;
        fs::rename(&made, path)?;
        Ok(Self { listener, path: path.to_owned(), own: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for SocketListener {
    fn drop(&mut self) {
        let stands = fs::symlink_metadata(&self.path).map(|metadata| (metadata.dev(), metadata.ino()));
        if stands.is_ok_and(|stands| stands == self.own) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Waits for the turn in this folder: it takes a moment only.
fn turn(folder: &Path) -> io::Result<fs::File> {
    let file = fs::File::open(folder)?;
    for attempt in 1.. {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK | Errno::INTR) if attempt < ATTEMPTS => std::thread::sleep(PAUSE / 10),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(file)
}

/// Somebody listens there, or it is something else that nobody wants to lose.
fn refuse_taken(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "something stands there that is no socket"));
        }
        Ok(_) => {}
    }
    let (short, _folder) = short(path)?;
    match std::os::unix::net::UnixStream::connect(short) {
        // Nobody behind it: a server was killed.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another server listens there")),
        Err(error) => Err(error),
    }
}

/// A folder that only its owner enters; it is removed when this is dropped.
struct Within(PathBuf);

impl Within {
    fn make(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!(".bulbil-{}", std::process::id()));
        // Of an earlier process with this number, which was killed in between.
        let _ = fs::remove_file(path.join("s"));
        let _ = fs::remove_dir(&path);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.join("s"));
        let _ = fs::remove_dir(&self.0);
    }
}

impl Listen for SocketListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        Box::pin(async move {
            loop {
                match self.listener.accept().await {
                    Ok((stream, _)) => return Ok(Box::new(stream) as BoxedStream),
                    Err(error) => {
                        tracing::warn!(%error, "cannot take a connection in; trying again");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        })
    }

    /// It is loopback for whoever asks by HTTP: no peer comes in here.
    fn address(&self) -> PeerAddress {
        PeerAddress::Direct(([127, 0, 0, 1], 0).into())
    }
}

/// Dials one socket, whatever the address.
#[derive(Debug, Clone)]
pub struct SocketDial(PathBuf);

impl SocketDial {
    /// To this socket; `None` if nobody is behind it.
    pub fn through(path: &Path) -> Option<Self> {
        let (short, _folder) = short(path).ok()?;
        std::os::unix::net::UnixStream::connect(short).is_ok().then(|| Self(path.to_owned()))
    }
}

impl Dial for SocketDial {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            let unreachable = |cause| DialError::Unreachable { address: address.clone(), cause };
            let (short, _folder) = short(&self.0).map_err(unreachable)?;
            let stream = UnixStream::connect(short).await.map_err(unreachable)?;
            // What is sent lets its reader in: it goes to whoever owns the folder, as whoever serves the home does, and to nobody who put
            // a socket of theirs there.
            let theirs = stream.peer_cred().map_err(unreachable)?.uid();
            let folder = self.0.parent().map(fs::metadata).transpose().map_err(unreachable)?;
            let ours = [0, rustix::process::geteuid().as_raw()];
            if !ours.contains(&theirs) && folder.is_none_or(|folder| folder.uid() != theirs) {
                let why = "somebody else listens there, who is not the owner of the folder";
                return Err(unreachable(io::Error::new(ErrorKind::PermissionDenied, why)));
            }
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn says_hello(path: &Path) {
        let mut listener = SocketListener::bind(path).unwrap();
        let metadata = fs::symlink_metadata(path).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.mode() & 0o777, 0o600);
        let address = listener.address();
        let dial = SocketDial::through(path).unwrap();
        listener.accept().await.unwrap();
        let (near, far) = tokio::join!(dial.dial(&address), listener.accept());
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        far.write_all(b"hello").await.unwrap();
        let mut buffer = [0; 5];
        near.read_exact(&mut buffer).await.unwrap();
        drop(listener);
        assert!(!path.exists(), "it is taken away");
        let in_which_it_was_made = format!(".bulbil-{}", std::process::id());
        assert!(!path.with_file_name(in_which_it_was_made).exists());
    }

    #[tokio::test]
    async fn only_the_owner_may_open_it_and_it_goes_with_its_server() {
        let dir = tempfile::tempdir().unwrap();
        says_hello(&dir.path().join("admin.sock")).await;
        let deep = dir.path().join("a".repeat(150));
        fs::create_dir(&deep).unwrap();
        says_hello(&deep.join("admin.sock")).await;
    }

    #[tokio::test]
    async fn what_a_killed_server_left_is_taken_over_and_what_somebody_has_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        // Closed without being taken away: as after a kill.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = SocketListener::bind(&path).unwrap();
        let second = SocketListener::bind(&path).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        // Somebody took the name from it: that is not its own any more.
        fs::remove_file(&path).unwrap();
        let third = SocketListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(third);
        fs::write(&path, "a letter").unwrap();
        assert_eq!(SocketListener::bind(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
    }
}
