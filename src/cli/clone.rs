//! `bulbil clone`: everything that it takes to have another instance's collections here, from one line.
//!
//! Every step can be done again: killed or failed in between, the same command goes on where it was.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::backup::verify::{VerifyOptions, verify};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::id::CollectionId;
use crate::domain::invite::Invite;
use crate::domain::peer::{Role, Trust, is_plain_name};
use crate::domain::wire::messages::ConfigAnswer;
use crate::portable::fill_from;
use crate::replicate::call::{CallError, PeerCaller};
use crate::replicate::pair::{JoinError, free_name, join};
use crate::replicate::pull::{Puller, SyncReport};
use crate::store::index::Peer;
use crate::store::{CreateOptions, Store, StoreError};

use super::args::CloneArgs;
use super::context::{Context, host_name};
use super::output::{Outcome, bytes, count};
use super::quote::Offer;
use super::remote::{callee, caller, confirm, consent, granted_in_words, narrowed, words};
use super::{init, sync};

/// An invite is much shorter.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Joins the instance that made an invite, and fetches what it lets this one have.
pub async fn run(args: CloneArgs, context: &Context) -> anyhow::Result<Outcome> {
    let invite = match args.invite.as_str() {
        "-" => {
            let mut line = String::new();
            let stdin = std::io::stdin().lock();
            std::io::Read::read_to_string(&mut std::io::Read::take(stdin, MAX_LINE_BYTES), &mut line)
                .context("cannot read the invite from standard input")?;
            Invite::parse(&line)?
        }
        line => Invite::parse(line)?,
    };
    let config = narrowed(&context.config()?, &args.line);
    let (store, made) = open_or_make(&args, &invite, &config, context).await?;
    let out = &context.output;
    let caller = caller(&store, &config, context);
    let peer = pair(&store, &caller, &invite, context).await.map_err(|error| match &made {
        Some(_) => error.context(
            "the new home stays, and its recovery key above stays valid; run the same command again, with a new invite if need be",
        ),
        None => error,
    })?;
    let granted = peer.granted.as_ref().map_or_else(|| "not known".to_owned(), granted_in_words);
    context.note(format!("{} {}", peer.name, peer.id.short()));
    out.line(format!("joined {}  {}", peer.name, words(&peer.id)));
    out.line(format!("  it lets us have: {granted}"));
    let mut document = json!({ "init": made, "peer": super::remote::document(&peer) });

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
    for collection in configured.iter().flat_map(|config| &config.collections) {
        if let Some(name) = collection.name.as_deref().filter(|name| is_plain_name(name))
            && store.index.collection(&collection.id).await?.is_some()
        {
            store.index.learn_name(&collection.id, name).await?;
        }
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
    enough_room(context, quote.bytes)?;
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
    let ids = collections.iter().map(|(id, _)| *id).collect();
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
        out.line(format!(
            "verified: {} and {}; each was compared with its name as it came in",
            count(checked.snapshots, "snapshot"),
            count(checked.chunks, "chunk")
        ));
    }
    if fetched.still_missing > 0 {
        out.warning(format!("{} are still missing: 'bulbil fetch' tries again", count(fetched.still_missing, "chunk")));
    }
    next_steps(&peer, &collections, context);
    document["synced"] = sync::document(&synced);
    document["fetched"] = json!({
        "chunks": fetched.chunks, "bytes": fetched.bytes, "still_missing": fetched.still_missing, "requests": fetched.requests,
    });
    document["collections"] =
        json!(collections.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect::<Vec<_>>());
    let problems = progress.problems();
    out.document("clone", document, &problems);
    if fetched.still_missing > 0 {
        out.outcome(&problems);
        return Ok(Outcome::NotEverything);
    }
    Ok(out.outcome(&problems))
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
            if !is_joined(&store, invite).await? {
                in_time(invite, context)?;
                consent(context, config, &invite.address, args.yes)?;
            }
            Ok((store, None))
        }
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::NotAHome { .. })) => {
            in_time(invite, context)?;
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

fn in_time(invite: &Invite, context: &Context) -> anyhow::Result<()> {
    ensure!(
        context.clock.now() < invite.expires_at,
        "the invite expired at {:.0}: ask for a new one ('bulbil invite' on the other machine)",
        invite.expires_at
    );
    Ok(())
}

async fn is_joined(store: &Store, invite: &Invite) -> anyhow::Result<bool> {
    let peer = store.index.peer(&invite.instance).await?;
    Ok(peer.is_some_and(|peer| matches!(peer.trust, Trust::Trusted(_)) && peer.address.is_some()))
}

/// Redeems the invite and keeps the peer. One that was joined before stays joined, whatever has become of the invite.
async fn pair(store: &Store, caller: &PeerCaller, invite: &Invite, context: &Context) -> anyhow::Result<Peer> {
    let known = store.index.peer(&invite.instance).await?;
    if known.as_ref().is_some_and(|peer| peer.trust == Trust::Revoked) {
        bail!("the instance that made this invite was revoked here: 'bulbil peer remove' forgets it, then try again");
    }
    let joined = match join(caller, invite).await {
        Ok(joined) => joined,
        Err(JoinError::Call(CallError::Refused { .. })) if is_joined(store, invite).await? => {
            context.output.remark("This invite was used before, by this instance: going on.");
            return Ok(known.expect("it is joined, hence known"));
        }
        Err(error) => return Err(error.into()),
    };
    let peer = match known {
        Some(known) => Peer {
            name: known.name,
            trust: match known.trust {
                Trust::Pending => joined.trust,
                trusted => trusted,
            },
            added_at: known.added_at,
            cursor: known.cursor,
            ..joined
        },
        None => {
            let taken: Vec<String> = store.index.peers().await?.into_iter().map(|peer| peer.name).collect();
            Peer { name: free_name(&joined.name, &joined.id, &taken), ..joined }
        }
    };
    store.index.save_peer(&peer).await?;
    Ok(peer)
}

/// Refuses to begin what the disk cannot hold.
fn enough_room(context: &Context, needed: u64) -> anyhow::Result<()> {
    let disk = rustix::fs::statvfs(&context.home).context("cannot look at the disk of the home")?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    ensure!(
        needed <= free,
        "{} are to be fetched and {} are free at {}: free some, then run the same command again",
        bytes(needed),
        bytes(free),
        context.home.display()
    );
    Ok(())
}

/// The collections that a peer lets us have and that are known here; without its configuration, those that it makes.
async fn of_peer(
    store: &Store,
    peer: &Peer,
    config: Option<&ConfigAnswer>,
) -> anyhow::Result<Vec<(CollectionId, String)>> {
    let mut collections = store.index.collections().await?;
    collections.retain(|known| match config {
        Some(config) => config.collections.iter().any(|shown| shown.id == known.id),
        None => known.origin == peer.id,
    });
    Ok(collections.into_iter().map(|c| (c.id, c.name)).collect())
}

fn next_steps(peer: &Peer, collections: &[(CollectionId, String)], context: &Context) {
    let out = &context.output;
    let reader = peer.granted.as_ref().is_none_or(|granted| granted.role == Role::Reader);
    out.remark("");
    match collections.first() {
        None => out.remark("There are no snapshots yet. Later:\n  bulbil sync && bulbil fetch"),
        Some((_, name)) if reader => out.remark(format!(
            "What you may type next:\n  bulbil ls {name}\n  bulbil restore {name} --target ./{name}\n  bulbil sync     # what is new since"
        )),
        Some(_) => out.remark(
            "This instance keeps and serves what it cannot read. What you may type next:\n  bulbil verify --data\n  bulbil serve     # follows the other instance by itself",
        ),
    }
}
