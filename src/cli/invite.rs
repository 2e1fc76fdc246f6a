//! `bulbil invite`

use std::io::IsTerminal;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::clock::Clock;
use crate::domain::crypto::discovery::{DiscoveryKey, MAX_RECIPIENTS};
use crate::domain::peer::PeerAddress;
use crate::replicate::pair;
use crate::store::{OnionName, Store, entropy};

use super::args::InviteArgs;
use super::context::Context;
use super::output::Outcome;
use super::remote::{is_callable, rights, rights_in_words};

/// Makes a line that lets another instance in, once.
pub async fn run(args: InviteArgs, context: &Context) -> anyhow::Result<Outcome> {
    ensure!(
        !args.rights.collections.is_empty(),
        "say what the guest may have: --collections notes,photos, or --collections all"
    );
    let store = context.store().await?;
    let rights = rights(&store, &args.rights).await?;
    let address = address(&store, args.address, context)?;
    if matches!(&address, PeerAddress::Onion(onion) if onion.discovery().is_some()) {
        let keys = store.index.discovery_keys(context.clock.now()).await?.len();
        ensure!(
            // One is this instance's own, one is for the guest.
            keys + 2 <= MAX_RECIPIENTS,
            "{keys} peers and invites have a key to find this hidden service, and there is no room for more: remove peers, or wait until invites have expired"
        );
    }
    let expires_at = context.clock.now().checked_add(args.expires).context("the invite would never expire")?;
    let words = rights_in_words(&store, &rights).await?;
    let invite = pair::invite(&store, address.clone(), rights, expires_at).await?;
    let (line, id) = (invite.to_text(), invite.id);
    context.note(format!("{}: {words}", id.short()));
    let out = &context.output;
    out.remark(format!("An invite to have {words}. Good once, until {expires_at:.0}."));
    if store.running_server().is_none() {
        out.remark("No server runs here now: 'bulbil serve' lets the guest in.");
    }
    out.remark("It carries a secret: hand it over on a way that you trust. On the other machine:\n");
    out.remark("  bulbil clone '…'\n");
    out.line(&line);
    if !out.json && !out.quiet && std::io::stdout().is_terminal() {
        out.line("");
        out.line(qr_code(&line)?);
    }
    let document = json!({
        "invite": line, "id": id, "address": address.to_string(), "role": args.rights.role, "expires_at": expires_at,
    });
    out.document("invite", document, &[]);
    Ok(Outcome::Done)
}

/// Where guests reach this instance.
fn address(store: &Store, typed: Option<PeerAddress>, context: &Context) -> anyhow::Result<PeerAddress> {
    let config = context.config()?;
    let running = || store.running_server().and_then(|server| server.peer_address)?.parse().ok();
    let listen = || config.peer.listen.filter(|_| config.peer.dangerously_direct).map(PeerAddress::Direct);
    let own_tor = config.tor.enabled && config.tor.socks.is_none();
    let address = match typed.or_else(|| config.peer.address.clone()).or_else(running) {
        Some(address) => address,
        // The address is known before the server has ever run.
        None if own_tor => PeerAddress::Onion(store.onion_key(OnionName::Peer)?.address(config.tor.port.get())?),
        None => listen().context(
            "the address of this instance is not known: give it with --address, or as [peer] address in bulbil.toml",
        )?,
    };
    ensure!(
        is_callable(&address),
        "nobody can call {address}: say with --address http://IP:PORT where this machine is reached"
    );
    Ok(match address {
        // Whoever has the invite finds the hidden service with a key of their own.
        PeerAddress::Onion(onion) if config.tor.restricted_discovery && own_tor => {
            PeerAddress::Onion(onion.found_with(Some(DiscoveryKey::random(&mut entropy()))))
        }
        address => address,
    })
}

/// The line as a picture for a camera. Upper case makes it a third smaller.
fn qr_code(line: &str) -> anyhow::Result<String> {
    let code = qrcode::QrCode::with_error_correction_level(line.to_uppercase(), qrcode::EcLevel::L)
        .context("the invite is too long for a QR code")?;
    Ok(code.render::<qrcode::render::unicode::Dense1x2>().build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_invite_fits_a_qr_code() {
        let picture = qr_code(&format!("bulbil:{}", "a".repeat(700))).unwrap();
        assert!(picture.lines().count() < 60, "{}", picture.lines().count());
    }
}
