//! `bulbil serve`

use std::io::IsTerminal;
use std::net::SocketAddr;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::config::LogFormat;
use crate::domain::peer::PeerAddress;
use crate::http::admin::network::{Addresses, NetworkView};
use crate::monitor::with_causes;
use crate::server::{Reach, Server, ServerOptions, change};
use crate::store::Passphrase;

use super::again::{self, Again};
use super::args::{LogFormatArg, ServeArgs};
use super::context::Context;
use super::notify::Manager;
use super::output::{Outcome, Output};
use super::remote::{DIRECT_GIVES_UP, words};

/// Lets peers pull from here, and follows those that are trusted, until it is told to stop.
pub async fn run(args: ServeArgs, context: &Context) -> anyhow::Result<Outcome> {
    let passphrase = context.passphrase()?;
    // It is held as long as the server runs: who asks for a change may not be who can type it.
    let held = passphrase.as_ref().map(|passphrase| Passphrase::new(passphrase.expose().to_vec()));
    let store = context.store_with(passphrase).await?;
    let mut config = context.config()?;
    if let Some(format) = args.log_format {
        config.log.format = if format == LogFormatArg::Json { LogFormat::Json } else { LogFormat::Text };
        config.given("log.format");
    }
    let starts_again = again::is_possible(held.as_ref());
    let options = ServerOptions { direct: args.direct, admin: args.admin, axon: args.axon, starts_again };
    let cancel = context.cancellation();
    let log = std::sync::Arc::new(super::progress::Log);
    let manager = Manager::of_this_process();
    let starting = Server::start(store.clone(), &config, options, context.clock.clone(), log);
    let server = tokio::select! {
        server = starting => server?,
        // It may be waiting for another command's Tor.
        () = cancel.cancelled() => return Ok(Outcome::Done),
    };
    let out = &context.output;
    let reach = server.reach().clone();
    if reach.network().direct {
        out.warning(format!("Serving peers directly. {DIRECT_GIVES_UP}"));
    }
    let (peers, admin, instance) = (server.peer_address().clone(), server.admin_address(), store.keys.instance());
    let is_onion = matches!(peers, PeerAddress::Onion(_));
    let shown = match args.show_address {
        true => peers.reveal_plain(),
        false if is_onion => "an onion address (--show-address shows it)".to_owned(),
        false => peers.to_string(),
    };
    out.line(format!("name         {}", store.keys.name));
    out.line(format!("fingerprint  {}", words(&instance)));
    out.line(format!("peers        {shown}"));
    if server.serves_axon() {
        let url = match args.show_address || !is_onion {
            true => shown.clone(),
            false => "the onion address".to_owned(),
        };
        out.line(format!("axon         {url}   (enter it at the BBS with the key that 'bulbil axon key' prints)"));
        if is_onion && config.tor.restricted_discovery {
            out.warning(
                "With restricted_discovery no Axon BBS finds this onion service: it has no key for it. Set it to false in bulbil.toml, or serve no BBS.",
            );
        }
    }
    out.line(format!("admin        http://{admin}"));
    let socket = config.admin.socket.as_deref();
    if let Some(socket) = socket {
        out.line(format!("             {}   (its owner alone)", socket.display()));
    }
    let addresses = reach.addresses();
    let direct = args.direct.map(|said| listened_on(said, &addresses));
    if let Some(onion) = &addresses.admin_onion {
        let onion = if args.show_address { onion } else { "over Tor, too (--show-address shows the address)" };
        out.line(format!("             {onion}"));
    }
    match server.setup_link() {
        // Who reads a terminal has the machine; a log is read by others, too.
        Some(link) if std::io::stdout().is_terminal() => {
            out.line(format!("browser      {}   (sets the password; good once)", *link));
        }
        Some(_) => out.line("browser      no password yet: set one with 'bulbil password set'"),
        None => {}
    }
    out.line("ready; Ctrl-C stops");
    let document = json!({
        "name": store.keys.name, "instance": instance, "fingerprint": words(&instance),
        "peer_address": if args.show_address { peers.reveal_plain() } else { peers.to_string() },
        "admin_address": format!("http://{admin}"), "admin_socket": socket.map(|socket| socket.display().to_string()),
        "axon": server.serves_axon(),
        "addresses": args.show_address.then_some(addresses),
    });
    out.document("serve", document, &[]);
    manager.ready();
    let done = CancellationToken::new();
    let telling = tell(reach, &manager, *out, is_onion, done.clone());
    let stopping = cancel.clone();
    let running = async {
        let ended = server.run(cancel).await;
        done.cancel();
        ended
    };
    let leaving = async {
        tokio::select! {
            () = stopping.cancelled() => manager.stopping(),
            // Whether it starts again is seen when it has ended.
            () = done.cancelled() => {}
        }
    };
    let (ended, (), ()) = tokio::join!(running, telling, leaving);
    let outcome = match ended {
        Ok(Some(asked)) if !stopping.is_cancelled() => {
            manager.status("the server starts again, with other keys");
            let made = change::make(asked, &store, &*context.clock).await;
            if let Err(error) = made {
                out.warning(format!("what the server ended for was not done: {}", with_causes(&error)));
            }
            out.remark("starting again");
            context.start_again(Again { admin, direct, passphrase: held });
            Outcome::Again
        }
        Ok(_) => Outcome::Done,
        Err(error) => {
            manager.stopping();
            return Err(error.into());
        }
    };
    store.index.close().await;
    if outcome == Outcome::Done {
        out.remark("stopped");
    }
    Ok(outcome)
}

/// Where peers come in in truth, if the command line said where: another port may have been taken.
fn listened_on(said: SocketAddr, addresses: &Addresses) -> SocketAddr {
    let taken = addresses.peer.iter().filter_map(|address| match address.parse() {
        Ok(PeerAddress::Direct(taken)) => Some(taken),
        _ => None,
    });
    taken.into_iter().find(|taken| said.port() == 0 && taken.ip() == said.ip()).unwrap_or(said)
}

/// Says what changes on the way in, until `done`.
async fn tell(reach: Reach, manager: &Manager, out: Output, is_onion: bool, done: CancellationToken) {
    let mut changes = reach.changes();
    let mut said = String::new();
    loop {
        let status = changes.borrow_and_update().clone();
        let words = status.in_words();
        manager.status(&words);
        // What Tor is at changes many times a second: people are told every tenth percent, and each change of state.
        let step = status.tor.as_ref().filter(|tor| !tor.ready).map(|tor| (tor.percent / 10, tor.blocked.clone()));
        let key = step.map_or_else(|| without_figures(&words), |step| format!("{step:?}"));
        if is_onion && key != said {
            out.remark(&words);
            said = key;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            () = done.cancelled() => break,
        }
    }
}

/// The same words, whatever time something took.
fn without_figures(words: &str) -> String {
    words.chars().filter(|c| !c.is_ascii_digit()).collect()
}
