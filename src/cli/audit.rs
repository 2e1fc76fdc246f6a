//! `bulbil audit`, and what every command that changes, reads or opens something leaves in it.

use serde_json::json;

use crate::clock::Clock;
use crate::domain::audit::{Ending, Event, Who};
use crate::domain::text::shown;
use crate::store::{StoreError, audit::record};

use super::args::{
    AuditArgs, AuditCommand, CollectionCommand, Command, OnOff, OnionCommand, PasswordCommand, PeerCommand,
    RecoveryCommand, SecretCommand, SheetArgs, SnapshotCommand, StandbyCommand, TargetCommand, TokenCommand,
};
use super::axon::AxonCommand;
use super::context::Context;
use super::output::{Outcome, one_line};

/// Shows the log, or looks it through.
pub async fn run(args: AuditArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let out = &context.output;
    if let Some(AuditCommand::Verify) = args.command {
        let looked = store.verify_audit().await?;
        let broken = looked.broken.as_ref().map(ToString::to_string);
        let document = json!({ "entries": looked.entries, "hash": looked.hash, "broken": broken });
        if let Some(broken) = broken {
            out.line(format!("entries 1 to {} are what they were", looked.entries));
            let file = store.home.audit();
            let problem = crate::monitor::Problem { subject: file.display().to_string(), message: broken };
            out.document("audit verify", document, std::slice::from_ref(&problem));
            return Ok(out.outcome(&[problem]));
        }
        out.line(format!("all {} entries are what they were; the newest one is {}", looked.entries, looked.hash));
        out.document("audit verify", document, &[]);
        return Ok(Outcome::Done);
    }
    let entries = store.audit(args.limit).await?;
    let rows: Vec<[String; 6]> = entries
        .iter()
        .map(|entry| {
            let why = entry.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let subjects = entry.subjects.join(", ");
            [
                entry.n.to_string(),
                format!("{:.0}", entry.at),
                shown(&entry.who.to_string()),
                shown(&entry.what),
                entry.ending.to_string(),
                shown(&format!("{subjects}{why}")),
            ]
        })
        .collect();
    out.table(&["no", "when", "who", "what", "ending", "of what"].map(str::to_owned), &rows);
    out.document("audit", &entries, &[]);
    Ok(Outcome::Done)
}

/// What is recorded of a command: its words, and what was typed of its subject. `None`: it only looks.
pub fn about(command: &Command) -> Option<(&'static str, Vec<String>)> {
    let path = |path: &std::path::Path| path.display().to_string();
    let one = |name: &String| vec![name.clone()];
    let about = match command {
        Command::Init(args) => ("init", one(&args.name)),
        Command::Protect(args) => ("protect", vec![path(&args.folder)]),
        Command::Collection(CollectionCommand::Add(args)) => ("collection add", one(&args.name)),
        Command::Collection(CollectionCommand::Set(args)) => ("collection set", one(&args.name)),
        Command::Check(args) if args.tighten => ("check --tighten", vec![args.collection.clone()]),
        Command::Backup(args) if !args.dry_run => ("backup", args.output.iter().map(|output| path(output)).collect()),
        Command::Restore(args) if args.entity.as_ref().is_some_and(|entity| entity.id == "?") => return None,
        Command::Restore(args) if !args.dry_run => {
            let entity = args.entity.iter().map(ToString::to_string);
            let target = args.target.iter().map(|target| path(target));
            ("restore", std::iter::once(args.snapshot.clone()).chain(entity).chain(target).collect())
        }
        Command::Recover(args) if !args.dry_run => {
            ("recover", one(&args.collection).into_iter().chain(args.path.iter().map(|file| path(file))).collect())
        }
        Command::Rescue(args) => ("rescue", args.snapshot.iter().cloned().chain([path(&args.dir)]).collect()),
        Command::Export(args) => {
            let named = args.collections.iter().chain(&args.snapshot).cloned();
            let recipient = args.recipient.iter().map(|peer| format!("for {peer}"));
            ("export", named.chain(recipient).chain([path(&args.output)]).collect())
        }
        Command::Import(args) => ("import", args.collections.iter().cloned().chain([path(&args.dir)]).collect()),
        Command::ImportTar(args) if !args.dry_run => {
            ("import-tar", args.collection.iter().cloned().chain(args.files.iter().map(|file| path(file))).collect())
        }
        Command::Target(TargetCommand::Add(args)) => ("target add", one(&args.name)),
        Command::Target(TargetCommand::Remove(args)) => ("target remove", one(&args.name)),
        Command::Target(TargetCommand::Verify(args)) if args.repair => ("target verify --repair", one(&args.name)),
        Command::Target(TargetCommand::Prune(args)) if !args.dry_run => ("target prune", one(&args.name)),
        Command::Copy(args) => ("copy", args.names.clone()),
        Command::Drill(args) => ("drill", vec![args.collection.clone()]),
        Command::Prune(args) if !args.dry_run => ("prune", args.collections.clone()),
        // What they changed, if anything, they note themselves.
        Command::Retention(args) if args.changes() => ("retention", Vec::new()),
        Command::Schedule(args) if args.changes() => ("schedule", Vec::new()),
        Command::Snapshot(SnapshotCommand::Delete(args)) if !args.yes => return None,
        Command::Snapshot(command) => (command.word(), Vec::new()),
        Command::Mirror(args) if args.off || args.all || !args.collections.is_empty() => ("mirror", one(&args.peer)),
        Command::Scrub(args) if args.accept_loss => ("scrub --accept-loss", Vec::new()),
        Command::Rebuild(_) => ("rebuild", Vec::new()),
        Command::Invite(_) => ("invite", Vec::new()),
        Command::Clone(_) => ("clone", Vec::new()),
        Command::Promote(args) => ("promote", one(&args.collection)),
        Command::RotateKey(args) => {
            ("rotate-key", args.keys.iter().map(|key| format!("{key:?}").to_lowercase()).collect())
        }
        Command::Rekey(_) => ("rekey", Vec::new()),
        Command::Secret(command) => of_secret(command)?,
        Command::Recovery(RecoveryCommand::Sheet(SheetArgs { collections, .. })) => {
            ("recovery sheet", collections.clone())
        }
        Command::Peer(command) => of_peer(command)?,
        Command::Token(TokenCommand::Create(args)) => {
            ("token create", vec![args.name.clone(), format!("for {}", args.scope)])
        }
        Command::Token(TokenCommand::Revoke(args)) => ("token revoke", one(&args.name)),
        Command::Password(PasswordCommand::Set(_)) => ("password set", Vec::new()),
        Command::Password(PasswordCommand::Totp(args)) => match args.state {
            OnOff::On => ("password totp on", Vec::new()),
            OnOff::Off => ("password totp off", Vec::new()),
        },
        Command::Axon(command) => of_axon(command)?,
        Command::Onion(OnionCommand::Import(_)) => ("onion import", Vec::new()),
        Command::Onion(OnionCommand::Export(_)) => ("onion export", Vec::new()),
        Command::Standby(StandbyCommand::Run(_)) => ("standby run", Vec::new()),
        Command::Standby(StandbyCommand::Add(args)) => ("standby add", one(&args.collection)),
        Command::Standby(StandbyCommand::Remove(args)) => ("standby remove", one(&args.collection)),
        _ => return None,
    };
    Some(about)
}

fn of_secret(command: &SecretCommand) -> Option<(&'static str, Vec<String>)> {
    Some(match command {
        SecretCommand::Add(args) => ("secret add", vec![args.collection.clone(), args.name.clone()]),
        SecretCommand::Show(args) => ("secret show", args.what.clone()),
        SecretCommand::Remove(args) => ("secret remove", vec![args.collection.clone(), args.name.clone()]),
        SecretCommand::Elsewhere(args) => ("secret elsewhere", vec![args.collection.clone(), args.name.clone()]),
        SecretCommand::List(_) => return None,
    })
}

fn of_peer(command: &PeerCommand) -> Option<(&'static str, Vec<String>)> {
    Some(match command {
        PeerCommand::Add(_) => ("peer add", Vec::new()),
        PeerCommand::Trust(args) => ("peer trust", vec![args.peer.clone()]),
        PeerCommand::Rights(_) => ("peer rights", Vec::new()),
        PeerCommand::Appoint(args) => ("peer appoint", vec![args.peer.clone()]),
        PeerCommand::Revoke(args) => ("peer revoke", vec![args.peer.clone()]),
        PeerCommand::Remove(args) => ("peer remove", vec![args.peer.clone()]),
        PeerCommand::RefreshKey(args) => ("peer refresh-key", vec![args.peer.clone()]),
        _ => return None,
    })
}

fn of_axon(command: &AxonCommand) -> Option<(&'static str, Vec<String>)> {
    Some(match command {
        AxonCommand::Clone(_) => ("axon clone", Vec::new()),
        AxonCommand::UpdatePeerKey(_) => ("axon update-peer-key", Vec::new()),
        AxonCommand::Backup(_) => ("axon backup", Vec::new()),
        AxonCommand::Restore(_) => ("axon restore", Vec::new()),
        AxonCommand::Extract(_) => ("axon extract", Vec::new()),
        AxonCommand::Rekey => ("axon rekey", Vec::new()),
        AxonCommand::Forget(_) => ("axon forget", Vec::new()),
        _ => return None,
    })
}

/// Records how a command ended, and which keys it used. That it cannot be recorded is a warning.
pub async fn note(about: Option<(&'static str, Vec<String>)>, result: &anyhow::Result<Outcome>, context: &Context) {
    let (ending, why) = match result {
        Ok(Outcome::Done | Outcome::Again) => (Ending::Done, None),
        Ok(Outcome::NotEverything | Outcome::Wrong) => (Ending::Partly, None),
        Err(error) => (Ending::Failed, Some(one_line(error))),
    };
    let wrong = matches!(
        result.as_ref().err().and_then(|error| error.downcast_ref()),
        Some(StoreError::WrongPassphrase | StoreError::EmptyPassphrase)
    );
    for key in context.used_keys() {
        let failed = match key {
            UsedKey::Passphrase => wrong,
            UsedKey::Recovery => ending == Ending::Failed,
        };
        let ending = if failed { Ending::Failed } else { Ending::Done };
        write(key.word(), about.iter().map(|(what, _)| (*what).to_owned()).collect(), ending, None, context).await;
    }
    if let Some((what, typed)) = about {
        let subjects = context.noted().into_iter().chain(typed).collect();
        write(what, subjects, ending, why, context).await;
    }
}

/// Records that something begins which goes on for long.
pub async fn begun(what: &'static str, subjects: Vec<String>, context: &Context) {
    write(what, subjects, Ending::Begun, None, context).await;
}

/// A key that a person gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedKey {
    /// The keys of the home were unlocked.
    Passphrase,
    /// A recovery key.
    Recovery,
}

impl UsedKey {
    fn word(self) -> &'static str {
        match self {
            UsedKey::Passphrase => "unlock",
            UsedKey::Recovery => "recovery-key",
        }
    }
}

async fn write(what: &str, subjects: Vec<String>, ending: Ending, why: Option<String>, context: &Context) {
    let event = Event { who: me(), what: what.to_owned(), subjects, ending, why };
    match record(&context.home, &event, context.clock.now()).await {
        // Without a home there is no log.
        Ok(()) | Err(StoreError::NotAHome { .. }) => {}
        Err(error) => {
            context.output.warning(format!("the audit log was not written: {}", crate::monitor::with_causes(&error)))
        }
    }
}

/// Who runs this program.
pub fn me() -> Who {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    Who::User { uid, name }
}
