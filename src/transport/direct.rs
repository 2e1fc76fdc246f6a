//! Plain TCP to an IP address: for a LAN or a test. Off unless the instance says `dangerously_direct` (R9).

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};

use super::{BoxedStream, Dial, DialError, Listen};
use crate::domain::peer::PeerAddress;

const DIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Dials IP addresses, if that is allowed.
#[derive(Debug, Clone, Copy)]
pub struct DirectDial {
    dangerously_direct: bool,
}

impl DirectDial {
    /// `dangerously_direct`: connections go through the network in between without Tor and without encryption of who talks
    /// to whom, and that is wanted.
    pub fn new(dangerously_direct: bool) -> Self {
        Self { dangerously_direct }
    }
}

impl Dial for DirectDial {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            let PeerAddress::Direct(to) = address else { return Err(DialError::TorOff) };
            if !self.dangerously_direct {
                return Err(DialError::DirectNotAllowed { address: address.clone() });
            }
            let unreachable = |cause| DialError::Unreachable { address: address.clone(), cause };
            #[expect(clippy::disallowed_methods, reason = "this is the transport that connects")]
            let connecting = TcpStream::connect(to);
            let stream = tokio::time::timeout(DIAL_TIMEOUT, connecting)
                .await
                .map_err(|_| DialError::TooSlow { address: address.clone(), waited: DIAL_TIMEOUT })?
                .map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

/// Listens on an IP address.
#[derive(Debug)]
pub struct DirectListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl DirectListener {
    /// Takes an address; port 0 means any that is free.
    ///
    /// # Errors
    /// What the system says, e.g. that the address is in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address that was taken.
    pub fn socket_address(&self) -> SocketAddr {
        self.address
    }
}

impl Listen for DirectListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        Box::pin(async move {
            loop {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        // A connection that cannot be set up is the peer's trouble, not the listener's.
                        if stream.set_nodelay(true).is_ok() {
                            return Ok(Box::new(stream) as BoxedStream);
                        }
                    }
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot take a connection in; trying again");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        })
    }

    fn address(&self) -> PeerAddress {
        PeerAddress::Direct(self.address)
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn r9_plain_addresses_are_dialled_only_when_allowed() {
        let mut listener = DirectListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let refused = DirectDial::new(false).dial(&address).await.err();
        assert!(matches!(refused, Some(DialError::DirectNotAllowed { .. })));
        let dial = DirectDial::new(true);
        let (near, far) = tokio::join!(dial.dial(&address), listener.accept());
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        near.write_all(b"hello").await.unwrap();
        let mut buffer = [0; 5];
        far.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"hello");
    }
}
