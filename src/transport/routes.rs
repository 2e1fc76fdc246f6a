//! Each address by the transport that its kind allows (R9): onions through Tor, IP addresses directly if that is wanted.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::direct::DirectDial;
use super::{BoxedStream, Dial, DialError};
use crate::domain::peer::PeerAddress;

/// Dials by the kind of the address.
#[derive(Debug, Clone)]
pub struct Routes {
    onion: Option<Arc<dyn Dial>>,
    direct: DirectDial,
}

impl Routes {
    /// `onion`: how onions are reached; without it they are not.
    pub fn new(onion: Option<Arc<dyn Dial>>, direct: DirectDial) -> Self {
        Self { onion, direct }
    }
}

impl Dial for Routes {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        match (address, &self.onion) {
            (PeerAddress::Onion(_), Some(onion)) => onion.dial(address),
            (PeerAddress::Onion(_), None) => Box::pin(async { Err(DialError::TorOff) }),
            (PeerAddress::Direct(_), _) => self.direct.dial(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl Dial for Counting {
        fn dial<'a>(&'a self, _: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err(DialError::TorOff) })
        }
    }

    #[tokio::test]
    async fn r9_nothing_is_reached_but_by_its_own_transport() {
        let tor = Arc::new(Counting::default());
        let onion: PeerAddress = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion".parse().unwrap();
        let plain: PeerAddress = "http://127.0.0.1:9".parse().unwrap();
        let routes = Routes::new(Some(Arc::clone(&tor) as _), DirectDial::new(false));
        assert!(matches!(routes.dial(&plain).await.err(), Some(DialError::DirectNotAllowed { .. })));
        assert_eq!(tor.0.load(Ordering::Relaxed), 0);
        let _ = routes.dial(&onion).await;
        assert_eq!(tor.0.load(Ordering::Relaxed), 1);
        let closed = Routes::new(None, DirectDial::new(true));
        assert!(matches!(closed.dial(&onion).await.err(), Some(DialError::TorOff)));
    }
}
