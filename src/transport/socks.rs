//! Onion services through a tor that runs already: SOCKS5 (RFC 1928), the name resolved by tor and by nobody else.
//!
//! Each peer has user names of its own (RFC 1929): tor keeps the circuits of different users apart (`IsolateSOCKSAuth`, its
//! default). Connections to a peer take them in turn, so that bulk transfer spreads over a few circuits.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::onions::OnionFault;
use super::{BoxedStream, Dial, DialError};
use crate::domain::onion::OnionAddress;
use crate::domain::peer::PeerAddress;

/// How long a connection may take: tor itself gives up after two minutes.
const PATIENCE: Duration = Duration::from_secs(125);
const SECRET_LEN: usize = 16;

/// Dials through a SOCKS port.
#[derive(Debug)]
pub struct SocksDial {
    proxy: SocketAddr,
    user: String,
    circuits: usize,
    turns: Mutex<HashMap<[u8; 32], usize>>,
}

impl SocksDial {
    /// Through the tor that listens there. `secret` is drawn at random by the caller, so that no circuit is shared with other
    /// programs that use the same tor; at most so many `circuits` lead to one peer.
    pub fn new(proxy: SocketAddr, secret: [u8; SECRET_LEN], circuits: usize) -> Self {
        Self { proxy, user: HEXLOWER.encode(&secret), circuits: circuits.max(1), turns: Mutex::default() }
    }

    /// Looks whether somebody listens there.
    ///
    /// # Errors
    /// [`OnionFault::NotReady`].
    pub async fn probe(&self) -> Result<(), OnionFault> {
        self.connect().await.map(drop)
    }

    async fn connect(&self) -> Result<TcpStream, OnionFault> {
        let proxy = self.proxy;
        #[expect(clippy::disallowed_methods, reason = "this is the transport that connects, to the proxy only")]
        let connecting = TcpStream::connect(proxy);
        connecting.await.map_err(|error| OnionFault::NotReady {
            why: format!("nobody answers at the SOCKS port {proxy} ({error}): is tor running there?"),
        })
    }

    async fn dial_onion(&self, onion: &OnionAddress) -> Result<BoxedStream, OnionFault> {
        let stream = self.connect().await?;
        let _ = stream.set_nodelay(true);
        let mut stream = Some(TokioIo::new(stream));
        let connected = tower::service_fn(move |_: Uri| {
            let stream = stream.take().expect("it is called once");
            async move { Ok::<_, Infallible>(stream) }
        });
        let to = format!("http://{}:{}/", onion.reveal(), onion.port());
        let to: Uri = to.parse().expect("an onion name and a port are a URI");
        let mut socks = SocksV5::new(Uri::from_static("socks5://proxy"), connected)
            .with_auth(self.user.clone(), self.circuit(onion));
        let stream = socks.call(to).await.map_err(|error| OnionFault::Unreachable { what: error.to_string() })?;
        Ok(Box::new(stream.into_inner()))
    }

    /// The password that stands for a circuit to this peer.
    fn circuit(&self, onion: &OnionAddress) -> String {
        let mut turns = self.turns.lock().expect("no holder of this lock can panic");
        let turn = turns.entry(*onion.key()).or_default();
        *turn = (*turn + 1) % self.circuits;
        // Not the key itself: the tor at the other end may log what it is given.
        let name = blake3::keyed_hash(&padded(&self.user), &[onion.key().as_slice(), &[*turn as u8]].concat());
        HEXLOWER.encode(&name.as_bytes()[..SECRET_LEN])
    }
}

fn padded(text: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(&text.as_bytes()[..32]);
    key
}

impl Dial for SocksDial {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            let PeerAddress::Onion(onion) = address else {
                return Err(DialError::DirectNotAllowed { address: address.clone() });
            };
            let too_slow = OnionFault::TooSlow { waited_s: PATIENCE.as_secs() };
            let dialled = tokio::time::timeout(PATIENCE, self.dial_onion(onion)).await;
            dialled.unwrap_or(Err(too_slow)).map_err(DialError::Onion)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;

    const ONION: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";

    /// A SOCKS server that takes one connection, gives `status`, and says what it was asked for: user ‖ request.
    async fn proxy(status: u8) -> (SocketAddr, tokio::task::JoinHandle<(Vec<u8>, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = TaskTracker::new().spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.unwrap();
            assert_eq!(greeting, [5, 1, 2]);
            stream.write_all(&[5, 2]).await.unwrap();
            let mut auth = vec![0; 1 + 1 + 32 + 1 + 32];
            stream.read_exact(&mut auth).await.unwrap();
            stream.write_all(&[1, 0]).await.unwrap();
            let mut request = vec![0; 4 + 1 + 62 + 2];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&[5, status, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            // The far end waits for a request, as HTTP does: what came with the proxy's answer would be lost.
            let mut hello = [0; 5];
            if stream.read_exact(&mut hello).await.is_ok() {
                let _ = stream.write_all(&hello).await;
            }
            (auth, request)
        });
        (address, served)
    }

    #[tokio::test]
    async fn r9_the_name_goes_to_tor_as_it_is_and_to_nobody_else() {
        let (at, served) = proxy(0).await;
        let dial = SocksDial::new(at, [7; 16], 4);
        let mut stream = dial.dial(&format!("{ONION}:8080").parse().unwrap()).await.unwrap();
        let mut hello = *b"hello";
        stream.write_all(&hello).await.unwrap();
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        let (auth, request) = served.await.unwrap();
        assert_eq!(&request[..5], &[5, 1, 0, 3, 62]);
        assert_eq!(&request[5..67], ONION.as_bytes());
        assert_eq!(&request[67..], 8080u16.to_be_bytes());
        assert!(!String::from_utf8_lossy(&auth).contains("pg6m"));
    }

    #[tokio::test]
    async fn what_tor_refuses_and_a_tor_that_is_not_there_are_told_apart() {
        let (at, _served) = proxy(4).await;
        let refused = SocksDial::new(at, [7; 16], 4).dial(&ONION.parse().unwrap()).await.err();
        assert!(matches!(refused, Some(DialError::Onion(OnionFault::Unreachable { .. }))), "{refused:?}");
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let nobody = SocksDial::new(gone, [7; 16], 4).dial(&ONION.parse().unwrap()).await.err();
        assert!(matches!(nobody, Some(DialError::Onion(OnionFault::NotReady { .. }))), "{nobody:?}");
    }
}
