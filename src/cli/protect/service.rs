//! A service of systemd that keeps the server running: of the system if root asks, else of the user who asks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::super::context::Context;
use crate::store::Store;
use crate::store::dir::{Access, Dir};

const NAME: &str = "bulbil.service";

/// Writes the unit, and has it started now and with each boot. Answers where it stands.
///
/// # Errors
/// If there is no systemd, the keys need a passphrase, or another unit stands there.
pub fn install(store: &Store, context: &Context) -> anyhow::Result<PathBuf> {
    ensure!(
        !Store::needs_passphrase(&context.home)?,
        "the keys need a passphrase, which the service has to be given: docs/deploy.md says how"
    );
    let is_root = rustix::process::geteuid().is_root();
    let folder = match is_root {
        true => PathBuf::from("/etc/systemd/system"),
        false => user_folder().context("neither $XDG_CONFIG_HOME nor $HOME says where units of this user stand")?,
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(NAME);
    let text = unit(&std::env::current_exe()?, &store.home.root().canonicalize()?, is_root)?;
    match std::fs::read_to_string(&path) {
        Ok(there) if there == text => {}
        Ok(_) => bail!("{} is another unit: remove it, or change it by hand", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Dir::open(&folder)?.save(NAME, text.as_bytes(), Access::Usual)?;
        }
        Err(cause) => return Err(cause).with_context(|| format!("cannot read {}", path.display())),
    }
    let whose: &[&str] = if is_root { &[] } else { &["--user"] };
    systemctl(whose, &["daemon-reload"])?;
    systemctl(whose, &["enable", "--now", NAME])?;
    context.output.line(format!("the server runs, now and after each start of this machine ({})", path.display()));
    if !is_root {
        let lingers = Command::new("loginctl").arg("enable-linger").output().is_ok_and(|out| out.status.success());
        if !lingers {
            context
                .output
                .warning("warning: it ends when you log out; as root: 'loginctl enable-linger' with your user's name");
        }
    }
    Ok(path)
}

/// Where units of this user stand.
pub fn user_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("systemd/user"))
}

fn unit(program: &Path, home: &Path, is_root: bool) -> anyhow::Result<String> {
    let (program, home) = (quoted(program)?, quoted(home)?);
    let target = if is_root { "multi-user.target" } else { "default.target" };
    Ok(format!(
        "# Written by 'bulbil protect --service'.

[Unit]
Description=Bulbil, backups that trusted machines clone, over Tor
StartLimitIntervalSec=600
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} --home {home} serve
Restart=on-failure
RestartSec=10
TimeoutStartSec=infinity
TimeoutStopSec=60
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy={target}
"
    ))
}

/// A path as it may stand in a unit: `%` and `$` mean something there.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().filter(|text| !text.chars().any(|c| c.is_control()));
    let text = text.with_context(|| format!("{} cannot stand in a unit of systemd", path.display()))?;
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    Ok(format!("\"{escaped}\""))
}

fn systemctl(whose: &[&str], args: &[&str]) -> anyhow::Result<()> {
    let out = Command::new("systemctl").args(whose).args(args).output();
    let out =
        out.context("there is no systemctl here: have 'bulbil serve' run by what starts services on this machine")?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "'systemctl {}' failed: {}", [whose, args].concat().join(" "), said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_unit_is_escaped() {
        let path = Path::new("/a b/100%/$HOME/\"\\");
        assert_eq!(quoted(path).unwrap(), "\"/a b/100%%/$$HOME/\\\"\\\\\"");
        assert!(quoted(Path::new("/a\nExecStart=/bin/sh")).is_err());
        let unit = unit(Path::new("/usr/bin/bulbil"), Path::new("/srv/h"), false).unwrap();
        assert!(unit.contains("ExecStart=\"/usr/bin/bulbil\" --home \"/srv/h\" serve\n"), "{unit}");
    }
}
