//! A server that starts in its own place: the same program in the same process, with nothing left of the one before. Whoever looks after
//! it, a service manager say, sees no end.
//!
//! Ports that were taken because they were free are taken again. A passphrase goes through a pipe, as if it came from a file: nobody is
//! asked for it again, nor is it seen among the arguments.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};

use crate::store::Passphrase;

use super::context::Context;

/// This very program, whatever has become of its file.
const PROGRAM: &str = "/proc/self/exe";
/// Standard input, as a file.
const INPUT: &str = "/proc/self/fd/0";
/// A longer passphrase may not fit into a pipe that nobody reads yet.
const MAX_PASSPHRASE: usize = 16 << 10;

/// With what it starts again.
#[derive(Debug)]
pub struct Again {
    /// Where the admin came in.
    pub admin: SocketAddr,
    /// Where peers came in, if the command line said so.
    pub direct: Option<SocketAddr>,
    /// What opens the keys, if they need it.
    pub passphrase: Option<Passphrase>,
}

/// Whether a server may count on being started again.
pub fn is_possible(passphrase: Option<&Passphrase>) -> bool {
    let fits = passphrase.is_none_or(|passphrase| passphrase.expose().len() <= MAX_PASSPHRASE);
    fits && Path::new(PROGRAM).exists() && Path::new(INPUT).symlink_metadata().is_ok()
}

/// Starts it. Comes back only with why that failed.
pub fn start(context: &Context) -> anyhow::Error {
    match command(context) {
        Ok(mut command) => anyhow!(command.exec()).context("the server ended, and cannot be started again: start it"),
        Err(error) => error,
    }
}

fn command(context: &Context) -> anyhow::Result<Command> {
    let again = context.again().context("it was said with what to start again")?;
    let mut args = std::env::args_os();
    let mut command = Command::new(PROGRAM);
    command.arg0(args.next().unwrap_or_else(|| OsString::from("bulbil"))).args(args);
    command.arg("--admin").arg(again.admin.to_string());
    if let Some(direct) = again.direct {
        command.arg("--direct").arg(direct.to_string());
    }
    if let Some(passphrase) = again.passphrase {
        let (reader, mut writer) = std::io::pipe().context("there is no pipe for the passphrase")?;
        // As a line whose end is left out, whatever the passphrase ends with.
        writer.write_all(passphrase.expose()).and_then(|()| writer.write_all(b"\r\n")).context("the pipe is full")?;
        command.stdin(Stdio::from(reader)).arg("--passphrase-file").arg(INPUT);
    }
    Ok(command)
}
