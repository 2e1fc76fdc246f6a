//! The C tor client of the private network: its SOCKS port, and services that it hosts when it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::world::{World, tornet};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where its SOCKS port is.
pub fn socks() -> String {
    tornet("TORNET_SOCKS")
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One request to an onion service through the SOCKS port, by hand: status and body. `None` if it was not reached.
pub fn get(onion: &str, path: &str) -> Option<(u16, String)> {
    #[expect(clippy::disallowed_methods, reason = "it is C tor's port on loopback")]
    let mut stream = TcpStream::connect(socks()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[5, 1, 0]).unwrap();
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, [5, 0]);
    let mut connect = vec![5, 1, 0, 3, u8::try_from(onion.len()).unwrap()];
    connect.extend_from_slice(onion.as_bytes());
    connect.extend_from_slice(&80u16.to_be_bytes());
    stream.write_all(&connect).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).ok()?;
    if answer[1] != 0 {
        return None;
    }
    let request = format!("GET {path} HTTP/1.1\r\nhost: {onion}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Lets a C tor without a network make a service's folder; the service's name.
///
/// A name that C tor has published in this network is not taken over at once: the directories were seen to refuse the other
/// program's descriptor for minutes. Why was not found out.
pub fn make_service(world: &World, folder: &Path) -> String {
    let (mut tor, nothing) = (Command::new("tor"), world.path("torrc"));
    std::fs::write(&nothing, "").unwrap();
    tor.args(["--defaults-torrc", "/dev/null", "--DisableNetwork", "1", "--SocksPort", "0"]);
    tor.arg("-f").arg(nothing).arg("--DataDirectory").arg(world.path("offline")).arg("--HiddenServiceDir").arg(folder);
    let mut tor = world.start({
        tor.args(["--HiddenServicePort", "80 127.0.0.1:9"]);
        tor
    });
    let name = || std::fs::read_to_string(folder.join("hostname")).unwrap_or_default();
    world.until("C tor to make a key", || name().ends_with('\n'));
    tor.kill();
    name().trim().to_owned()
}

/// What C tor is told over its control port.
pub struct Control(BufReader<UnixStream>);

impl Control {
    /// To the network's C tor client.
    pub fn open() -> Self {
        let folder = Path::new(&tornet("TORNET_DIR")).join("nodes/client");
        let mut control = Self(BufReader::new(UnixStream::connect(folder.join("control")).unwrap()));
        control.ask("AUTHENTICATE");
        control
    }

    /// Asks something that must be granted; the lines of the answer.
    pub fn ask(&mut self, order: &str) -> Vec<String> {
        self.0.get_mut().write_all(format!("{order}\r\n").as_bytes()).unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            assert!(line.starts_with("250"), "{line}");
            lines.push(line[4..].trim_end().to_owned());
            if line.as_bytes()[3] == b' ' {
                return lines;
            }
        }
    }

    /// Hosts a service with a new key, as long as this connection is open: its name.
    pub fn host(&mut self, target: &str) -> String {
        let lines = self.ask(&format!("ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=80,{target}"));
        let name = lines.iter().find_map(|line| line.strip_prefix("ServiceID=")).unwrap();
        format!("{name}.onion")
    }
}
