//! Telling the service manager how it stands (`sd_notify(3)`): lines of text to a Unix datagram socket, if there is one.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use crate::config;

/// The service manager, or nobody.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Manager {
    /// Whoever runs this program.
    pub fn of_this_process() -> Self {
        Self { socket: config::notify_socket().and_then(connect) }
    }

    /// Everything listens.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// What it is at, in one line.
    pub fn status(&self, words: &str) {
        self.tell(&format!("STATUS={}", words.replace('\n', " ")));
    }

    /// It is about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, line: &str) {
        // A manager that does not listen is no reason not to serve.
        if let Some((socket, to)) = &self.socket {
            let _ = socket.send_to_addr(line.as_bytes(), to);
        }
    }
}

/// The socket's address: a path, or a name in the abstract namespace, which begins with `@`.
fn connect(path: PathBuf) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match path.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name).ok()?,
        None => SocketAddr::from_pathname(&path).ok()?,
    };
    Some((UnixDatagram::unbound().ok()?, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let teller = Manager { socket: connect(path) };
        teller.status("two\nlines");
        teller.ready();
        let mut line = [0; 64];
        for wanted in ["STATUS=two lines", "READY=1"] {
            let len = manager.recv(&mut line).unwrap();
            assert_eq!(&line[..len], wanted.as_bytes());
        }
        Manager { socket: None }.ready();
    }
}
