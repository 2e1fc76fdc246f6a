//! `bulbil peer trust`: letting an instance in, once somebody has compared the fingerprint words.

use anyhow::{bail, ensure};

use crate::domain::peer::Trust;
use crate::replicate::trust;
use crate::store::Store;

use super::super::args::PeerTrustArgs;
use super::super::context::Context;
use super::super::output::Outcome;
use super::super::remote::{confirm, document, peer, rights, rights_in_words, words};

/// Lets a peer in, or changes what it may have.
pub async fn run(args: PeerTrustArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let known = peer(store, &args.peer).await?;
    let wanted = rights(store, &args.rights).await?;
    match (&args.words, &known.trust) {
        (Some(typed), _) => trust::compare(typed, &known)?,
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
    let follow = !args.no_follow && (args.follow || known.address.is_some());
    let trusted = trust::trust(store, known, wanted, follow).await?;
    let rights = match &trusted.trust {
        Trust::Trusted(rights) => rights_in_words(store, rights).await?,
        _ => String::new(),
    };
    let out = &context.output;
    out.line(format!("peer {} is trusted", trusted.name));
    context.note(format!("{} {}: {rights}", trusted.name, trusted.id.short()));
    out.line(format!("  may have here  {rights}"));
    out.line(format!("  pulled from    {}", if follow { "yes: 'bulbil sync' asks it now" } else { "no" }));
    out.document("peer trust", document(&trusted), &[]);
    Ok(Outcome::Done)
}
