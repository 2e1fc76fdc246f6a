//! `bulbil rescue`

use std::io::BufRead;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use crate::backup::create::moment;
use crate::backup::rescue::Rescue;
use crate::backup::restore::{Overwrite, RestoreOptions, refuse_homes, refuse_portable, restore};
use crate::backup::select;
use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::target::BucketAddress;
use crate::domain::text::path_text;
use crate::transport::bucket::Bucket;

use super::args::RescueArgs;
use super::audit::UsedKey;
use super::context::Context;
use super::output::{Outcome, bytes, count, number};
use super::target::bucket_key;

/// Lists or restores what the recovery key opens.
pub async fn run(args: RescueArgs, context: &Context) -> anyhow::Result<Outcome> {
    let key = recovery_key(args.recovery_key_file.as_deref(), context)?;
    let progress = context.progress();
    let rescue = match args.dir.to_str().filter(|dir| dir.starts_with("s3://")) {
        Some(url) => {
            let bucket = Bucket::open(
                &BucketAddress::parse(url, args.bucket.endpoint.as_deref(), args.bucket.region.as_deref())?,
                &bucket_key(&args.bucket)?,
            )?;
            let meanwhile = std::env::temp_dir().join(format!("bulbil-rescue-{}", std::process::id()));
            tokio::task::block_in_place(|| Rescue::from_bucket(&bucket, &meanwhile, &key, &*progress))?
        }
        None => Rescue::open(&args.dir, &key, &*progress)?,
    };
    let out = &context.output;
    let (Some(wanted), Some(target)) = (&args.snapshot, &args.target) else {
        let rows: Vec<[String; 4]> = rescue
            .snapshots
            .iter()
            .map(|s| {
                let (manifest, statistics) = (&s.signed.manifest, &s.private.statistics);
                let partial = if manifest.partial { "  (partial)" } else { "" };
                [
                    format!("{}@{}{partial}", s.private.name, manifest.sequence),
                    moment(manifest.created_at),
                    number(statistics.files),
                    bytes(statistics.bytes),
                ]
            })
            .collect();
        progress.finish();
        out.table(&["snapshot", "made", "files", "size"].map(str::to_owned), &rows);
        out.remark("Restore one: bulbil rescue DIR NAME@NUMBER --recovery-key-file FILE --target OUT");
        let document: Vec<_> = rescue
            .snapshots
            .iter()
            .map(|s| {
                json!({
                    "collection": s.private.name, "sequence": s.signed.manifest.sequence, "id": s.signed.id,
                    "created_at": s.signed.manifest.created_at, "partial": s.signed.manifest.partial,
                    "host": s.private.host, "statistics": s.private.statistics,
                })
            })
            .collect();
        out.document("rescue", document, &progress.problems());
        return Ok(out.outcome(&progress.problems()));
    };
    let snapshot = rescue.find(wanted).with_context(|| {
        format!("there is no snapshot {wanted:?} that this key opens: leave the name away to list those")
    })?;
    let paths = args.path.iter().map(|path| select::path(path, &snapshot.private)).collect::<Result<_, _>>()?;
    refuse_homes(target, &args.dir)?;
    refuse_portable(target)?;
    let options = RestoreOptions { paths, overwrite: Overwrite::IfChanged, delete: false, dry_run: false };
    let cancel = context.cancellation();
    let stats =
        tokio::task::block_in_place(|| restore(&rescue.chunks, snapshot, target, &options, &*progress, &cancel))?;
    progress.finish();
    let name = format!("{}@{}", snapshot.private.name, snapshot.signed.manifest.sequence);
    out.line(format!("restored {name} into {}", target.display()));
    out.line(format!("  {}, {}", count(stats.files, "file"), bytes(stats.bytes)));
    let document =
        json!({ "snapshot": name, "id": snapshot.signed.id, "target": path_text(target), "statistics": stats });
    out.document("rescue", document, &progress.problems());
    Ok(out.outcome(&progress.problems()))
}

/// The recovery key from its file, or typed.
pub(super) fn recovery_key(file: Option<&Path>, context: &Context) -> anyhow::Result<RecoveryKey> {
    context.use_key(UsedKey::Recovery);
    let text = match file {
        Some(file) => zeroize::Zeroizing::new(
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        ),
        None => {
            use std::io::Write;
            let _ = write!(std::io::stderr(), "recovery key: ");
            let mut line = zeroize::Zeroizing::new(String::new());
            std::io::stdin().lock().read_line(&mut line)?;
            line
        }
    };
    Ok(RecoveryKey::parse(&text)?)
}
