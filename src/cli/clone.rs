//! `bulbil clone`: everything that it takes to have another instance's collections here, from one line.
//!
//! Every step can be done again: killed or failed in between, the same command goes on where it was.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::backup::verify::{VerifyOptions, verify};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::invite::Invite;
use crate::domain::peer::Role;
use crate::portable::fill_from;
use crate::replicate::join::{accept, in_time, joined};
use crate::replicate::pull::{Puller, SyncReport};
use crate::store::index::Peer;
use crate::store::{CreateOptions, Store, StoreError};
use crate::worker::runs::{
    ClonedCollection, ClonedReport, FetchedReport, SyncedPeer, Verified, enough_room, learn_names, of_peer,
};

use super::args::CloneArgs;
use super::by_server::Server;
use super::context::{Context, host_name};
use super::output::{Outcome, bytes, count};
use super::quote::Offer;
use super::remote::{callee, caller, confirm, consent, granted_in_words, narrowed, words};
use super::{init, sync};

/// An invite is much shorter.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Joins the instance that made an invite, and fetches what it lets this one have.
pub async fn run(args: CloneArgs, context: &Context) -> anyhow::Result<Outcome> {
    let mut line = args.invite.clone();
    if line == "-" {
        line.clear();
        let stdin = std::io::stdin().lock();
        std::io::Read::read_to_string(&mut std::io::Read::take(stdin, MAX_LINE_BYTES), &mut line)
            .context("cannot read the invite from standard input")?;
    }
    let invite = Invite::parse(&line)?;
    let config = narrowed(&context.config()?, &args.line);
    let (store, made) = open_or_make(&args, &invite, &config, context).await?;
    let out = &context.output;
    let only_here = here_alone(&args, &invite, &config);
    if let Some(server) = Server::running(&store, only_here, context).await? {
        return by_server(&server, &line, &store, context).await;
    }
    let caller = caller(&store, &config, context);
    let accepted = accept(&store, &caller, &invite).await.map_err(|error| match &made {
        Some(_) => anyhow::Error::from(error).context(
            "the new home stays, and its recovery key above stays valid; run the same command again, with a new invite if need be",
        ),
        None => error.into(),
    })?;
    if accepted.again {
        out.remark("This invite was used before, by this instance: going on.");
    }
    let peer = accepted.peer;
    let granted = peer.granted.as_ref().map_or_else(|| "not known".to_owned(), granted_in_words);
    context.note(format!("{} {}", peer.name, peer.id.short()));
    out.line(format!("joined {}  {}", peer.name, words(&peer.id)));
    out.line(format!("  it lets us have: {granted}"));
    let mut document = json!({ "init": made, "peer": super::remote::document(&peer), "by_server": false });

    let configured = if args.skip_config { None } else { Some(caller.config(&callee(&peer)?).await?) };
    if let Some(config) = &configured {
        document["config"] = json!(config);
    }
    if args.skip_collections {
        out.remark("Nothing was fetched: 'bulbil sync' asks what there is, 'bulbil fetch' gets it.");
        out.document("clone", document, &[]);
        return Ok(Outcome::Done);
    }

    let (progress, cancel) = (context.progress(), context.cancellation());
    let mut puller = Puller::new(store.clone(), caller.clone(), progress.clone());
    if let Some(rate) = args.line.limit_rate {
        puller = puller.with_rate(rate);
    }
    let mut first = SyncReport::default();
    if let Some(dir) = &args.backup_dir {
        // Who may have what, and under which keys, the peer says; chunks prove themselves, whoever brings them.
        first = puller.read_feed(&peer, std::time::Duration::ZERO, &cancel).await?;
        let filled = fill_from(&store, dir, progress.clone(), &cancel).await?;
        progress.suspend(|| {
            out.line(format!("from {}: {} in {}", dir.display(), bytes(filled.bytes), count(filled.chunks, "chunk")))
        });
        document["backup_dir"] = json!(filled);
    }
    let then = puller.sync(&peer, std::time::Duration::ZERO, &cancel).await?;
    let synced = SyncReport {
        new_snapshots: [first.new_snapshots, then.new_snapshots].concat(),
        keys: first.keys + then.keys,
        requests: first.requests + then.requests,
        ..then
    };
    if let Some(config) = &configured {
        learn_names(&store, config).await?;
    }
    let quote = puller.quote(None).await?;
    let offer = Offer::new(quote, &puller, std::slice::from_ref(&peer), &args.line);
    document["quote"] = offer.document();
    let plan = if quote.chunks == 0 {
        "nothing to fetch: everything that is known is here".to_owned()
    } else {
        offer.in_words()
    };
    progress.suspend(|| out.line(plan));
    enough_room(&store, quote.bytes)?;
    let asked = quote.chunks > 0 && !args.yes && !out.json && std::io::IsTerminal::is_terminal(&std::io::stdin());
    if asked {
        let wanted = progress_suspended(&progress, || confirm("Fetch it now?", true));
        if !wanted {
            progress.finish();
            out.remark("Nothing was fetched: 'bulbil fetch' does it later.");
            out.document("clone", document, &[]);
            return Ok(Outcome::Done);
        }
    }
    let fetched = puller.fetch(None, std::slice::from_ref(&peer), &cancel).await?;
    let collections = of_peer(&store, &peer, configured.as_ref()).await?;
    let ids = collections.iter().map(|one| one.id).collect();
    let checked = if collections.is_empty() {
        None
    } else {
        let options = VerifyOptions { collections: ids, ..VerifyOptions::default() };
        Some(verify(&store, &options, progress.clone(), &cancel).await?)
    };
    progress.finish();
    if fetched.chunks > 0 {
        out.line(format!("fetched: {} in {}", bytes(fetched.bytes), count(fetched.chunks, "chunk")));
    }
    if let Some(checked) = &checked {
        out.line(verified(Verified { snapshots: checked.snapshots, chunks: checked.chunks }));
    }
    if fetched.still_missing > 0 {
        out.warning(format!("{} are still missing: 'bulbil fetch' tries again", count(fetched.still_missing, "chunk")));
    }
    next_steps(&peer, &collections, context);
    document["synced"] = sync::document(&synced);
    let still_missing = fetched.still_missing;
    document["fetched"] = json!(FetchedReport::from(fetched));
    document["collections"] = json!(collections);
    let problems = progress.problems();
    out.document("clone", document, &problems);
    if still_missing > 0 {
        out.outcome(&problems);
        return Ok(Outcome::NotEverything);
    }
    Ok(out.outcome(&problems))
}

/// What of this the server that runs in this home does not know, or does not do unless its configuration says so.
fn here_alone(args: &CloneArgs, invite: &Invite, config: &Config) -> Option<&'static str> {
    match args {
        _ if invite.address.is_clearnet() && !config.peer.dangerously_direct => Some("an address without Tor"),
        CloneArgs { backup_dir: Some(_), .. } => Some("--backup-dir"),
        CloneArgs { skip_config: true, .. } => Some("--skip-config"),
        CloneArgs { skip_collections: true, .. } => Some("--skip-collections"),
        CloneArgs { line, .. } if line.is_given() => Some("a limit of the line"),
        _ => None,
    }
}

/// The server of this home joins, fetches and looks.
async fn by_server(server: &Server<'_>, invite: &str, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let (progress, out) = (context.progress(), &context.output);
    let report = server.run_of("/admin/v1/clones", &json!({ "invite": invite }), &progress).await?;
    let report: ClonedReport = report.context("the server that runs in this home says nothing of what it cloned")?;
    progress.finish();
    let peer = super::remote::peer(store, &report.peer).await?;
    context.note(format!("{} {}", peer.name, peer.id.short()));
    let granted = peer.granted.as_ref().map_or_else(|| "not known".to_owned(), granted_in_words);
    out.line(format!("joined {}  {}", peer.name, words(&peer.id)));
    out.line(format!("  it lets us have: {granted}"));
    let fetched = &report.fetched;
    out.line(format!("fetched: {} in {}", bytes(fetched.bytes), count(fetched.chunks, "chunk")));
    if let Some(found) = report.verified {
        out.line(verified(found));
    }
    next_steps(&peer, &report.collections, context);
    let SyncedPeer { new_snapshots, keys, segments, requests, caught_up, .. } = &report.synced;
    let synced = json!({
        "new_snapshots": new_snapshots, "keys": keys, "segments": segments, "requests": requests, "caught_up": caught_up,
    });
    let document = json!({
        "init": null, "peer": super::remote::document(&peer), "config": report.config, "synced": synced,
        "quote": Offer::by_server(report.quote).document(), "fetched": fetched, "collections": report.collections, "by_server": true,
    });
    let problems = progress.problems();
    out.document("clone", document, &problems);
    match fetched.still_missing {
        0 => Ok(out.outcome(&problems)),
        _ => {
            out.outcome(&problems);
            Ok(Outcome::NotEverything)
        }
    }
}

fn verified(found: Verified) -> String {
    format!(
        "verified: {} and {}; each was compared with its name as it came in",
        count(found.snapshots, "snapshot"),
        count(found.chunks, "chunk")
    )
}

fn progress_suspended(progress: &super::progress::Progress, ask: impl FnOnce() -> bool) -> bool {
    let mut answer = false;
    progress.suspend(|| answer = ask());
    answer
}

/// The home; made if there is none. A bad invite leaves none behind.
async fn open_or_make(
    args: &CloneArgs,
    invite: &Invite,
    config: &Config,
    context: &Context,
) -> anyhow::Result<(Store, Option<Value>)> {
    match context.store().await {
        Ok(store) => {
            if joined(&store, invite).await?.is_none() {
                in_time(invite, context.clock.now())?;
                consent(context, config, &invite.address, args.yes)?;
            }
            Ok((store, None))
        }
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::NotAHome { .. })) => {
            in_time(invite, context.clock.now())?;
            consent(context, config, &invite.address, args.yes)?;
            let passphrase = context.passphrase_from_file()?;
            let protected = passphrase.is_some();
            let name = args.name.clone().unwrap_or_else(|| host_name("clone"));
            let (store, recovery) = Store::create(&context.home, CreateOptions { name, passphrase }).await?;
            init::show(&store, &recovery, protected, context);
            context.output.line("");
            let document = init::document(&store, &recovery, protected);
            Ok((store, Some(document)))
        }
        Err(error) => Err(error),
    }
}

fn next_steps(peer: &Peer, collections: &[ClonedCollection], context: &Context) {
    let out = &context.output;
    let reader = peer.granted.as_ref().is_none_or(|granted| granted.role == Role::Reader);
    out.remark("");
    match collections.first() {
        None => out.remark("There are no snapshots yet. Later:\n  bulbil sync && bulbil fetch"),
        Some(ClonedCollection { name, .. }) if reader => out.remark(format!(
            "What you may type next:\n  bulbil ls {name}\n  bulbil restore {name} --target ./{name}\n  bulbil sync     # what is new since"
        )),
        Some(_) => out.remark(
            "This instance keeps and serves what it cannot read. What you may type next:\n  bulbil verify --data\n  bulbil serve     # follows the other instance by itself",
        ),
    }
}
