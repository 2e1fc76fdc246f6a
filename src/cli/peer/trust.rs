//! `bulbil peer trust`: letting an instance in, once somebody has compared the fingerprint words.

use anyhow::{bail, ensure};

use crate::domain::peer::{Rights, Scope, Trust, fingerprint_words};
use crate::store::Store;
use crate::store::index::Peer;

use super::super::args::PeerTrustArgs;
use super::super::context::Context;
use super::super::output::Outcome;
use super::super::remote::{confirm, document, peer, rights, rights_in_words, words};

/// Lets a peer in, or changes what it may have.
pub async fn trust(args: PeerTrustArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let known = peer(store, &args.peer).await?;
    let wanted = rights(store, &args.rights).await?;
    match (&args.words, &known.trust) {
        (Some(typed), _) => compare(typed, &known)?,
        (None, Trust::Trusted(_)) => {}
        (None, Trust::Revoked) if !args.yes => bail!(
            "peer {} was revoked: to let it in again, compare the fingerprint words anew and give --words or --yes",
            known.name
        ),
        (None, _) if args.yes => {}
        (None, _) => {
            context.output.warning(format!("  {}", words(&known.id)));
            let same = confirm("Does the other admin read out the same eight words?", false);
            ensure!(
                same,
                "peer {} was not trusted: compare the fingerprint words, then give them with --words, or --yes",
                known.name
            );
        }
    }
    let nothing = matches!(&wanted.scope, Scope::Only(ids) if ids.is_empty());
    let rights = if nothing { Rights::none() } else { wanted };
    let follow = !args.no_follow && (args.follow || known.address.is_some());
    ensure!(
        !follow || known.address.is_some(),
        "peer {} cannot be followed: its address is not known; 'bulbil peer add URL' notes it",
        known.name
    );
    let trusted = Peer { trust: Trust::Trusted(rights.clone()), follow, ..known };
    store.index.save_peer(&trusted).await?;
    let out = &context.output;
    out.line(format!("peer {} is trusted", trusted.name));
    let rights = rights_in_words(store, &rights).await?;
    context.note(format!("{} {}: {rights}", trusted.name, trusted.id.short()));
    out.line(format!("  may have here  {rights}"));
    out.line(format!("  pulled from    {}", if follow { "yes: 'bulbil sync' asks it now" } else { "no" }));
    out.document("peer trust", document(&trusted), &[]);
    Ok(Outcome::Done)
}

/// Compares words as they were typed.
fn compare(typed: &str, peer: &Peer) -> anyhow::Result<()> {
    let typed: Vec<String> = typed.split_whitespace().map(str::to_lowercase).collect();
    let words = fingerprint_words(&peer.id);
    ensure!(
        typed == words,
        "these are not the words of peer {}: either they were misread, or somebody else stands at this address. Nothing was \
         changed. What is shown there: {}",
        peer.name,
        words.join(" ")
    );
    Ok(())
}
