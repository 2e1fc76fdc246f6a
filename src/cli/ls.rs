//! `bulbil ls`

use serde_json::{Value, json};

use crate::backup::open::OpenSnapshot;
use crate::backup::{select, view};
use crate::domain::metadata::entry::{Entry, EntryKind, FileTime};

use super::args::LsArgs;
use super::context::Context;
use super::output::Outcome;

/// Lists what is in a snapshot.
pub async fn run(args: LsArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let snapshot = select::snapshot(&store, &args.snapshot).await?;
    let open = OpenSnapshot::open(&store, &snapshot.id)?;
    let within = match &args.path {
        Some(path) => Some(select::path(path, &open.private)?),
        None => select::only_root(&open.private),
    };
    let mut documents = Vec::new();
    let mut any = false;
    view::list(&mut open.tree(&*store.chunks), within.as_ref(), args.recursive, |entry| {
        any = true;
        if context.output.json {
            documents.push(document(entry));
        } else if args.long {
            context.output.line(long(entry));
        } else {
            context.output.line(short(entry));
        }
    })?;
    if let (false, Some(path)) = (any, &args.path) {
        let exists = within.map(|path| open.tree(&*store.chunks).find(&path)).transpose()?.flatten().is_some();
        anyhow::ensure!(exists, "{} is not in snapshot {}@{}", path.display(), open.private.name, snapshot.sequence);
    }
    context.output.document("ls", documents, &[]);
    Ok(Outcome::Done)
}

fn short(entry: &Entry) -> String {
    let slash = if matches!(entry.kind, EntryKind::Directory) { "/" } else { "" };
    format!("{}{slash}", entry.path)
}

fn long(entry: &Entry) -> String {
    let at = &entry.attributes;
    let target = match &entry.kind {
        EntryKind::Symlink { target } => format!(" -> {}", String::from_utf8_lossy(target).escape_debug()),
        EntryKind::HardLink { to } => format!(" = {to}"),
        EntryKind::File(file) if file.changed_while_read => "  (changed while it was read)".to_owned(),
        _ => String::new(),
    };
    format!(
        "{}{} {:>5} {:>5} {:>12} {} {}{target}",
        entry.letter(),
        permissions(at.mode),
        at.uid,
        at.gid,
        entry.size(),
        time(at.mtime),
        short(entry),
    )
}

fn permissions(mode: u32) -> String {
    let bit = |shift: u32, letter: char| if mode >> shift & 1 == 1 { letter } else { '-' };
    let mut text: Vec<char> = (0..9).rev().map(|shift| bit(shift, ['x', 'w', 'r'][shift as usize % 3])).collect();
    for (shift, at, letter) in [(11, 2, 's'), (10, 5, 's'), (9, 8, 't')] {
        if mode >> shift & 1 == 1 {
            text[at] = if text[at] == 'x' { letter } else { letter.to_ascii_uppercase() };
        }
    }
    text.into_iter().collect()
}

fn time(at: FileTime) -> String {
    match jiff::Timestamp::new(at.secs, at.nanos as i32) {
        Ok(moment) => moment.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("@{}", at.secs),
    }
}

/// An entry as JSON: `path` for people, `path_bytes` (hex) where that is not the exact name.
pub fn document(entry: &Entry) -> Value {
    let at = &entry.attributes;
    let path = entry.path.to_string();
    let exact =
        (path.as_bytes() != entry.path.as_bytes()).then(|| data_encoding::HEXLOWER.encode(entry.path.as_bytes()));
    let (kind, hash, target) = match &entry.kind {
        EntryKind::File(file) => ("file", Some(file.hash.to_string()), None),
        EntryKind::Directory => ("directory", None, None),
        EntryKind::Symlink { target } => ("symlink", None, Some(String::from_utf8_lossy(target).into_owned())),
        EntryKind::HardLink { to } => ("hardlink", None, Some(to.to_string())),
        EntryKind::Fifo => ("fifo", None, None),
        EntryKind::Socket => ("socket", None, None),
        EntryKind::CharDevice { .. } => ("char-device", None, None),
        EntryKind::BlockDevice { .. } => ("block-device", None, None),
    };
    json!({
        "path": path, "path_bytes": exact, "kind": kind, "mode": format!("{:04o}", at.mode), "uid": at.uid, "gid": at.gid,
        "mtime": at.mtime.secs, "mtime_nanos": at.mtime.nanos, "size": entry.size(), "blake3": hash, "target": target,
    })
}
