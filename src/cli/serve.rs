//! `bulbil serve`

use serde_json::json;

use crate::config::Config;
use crate::server::{Server, ServerOptions};

use super::args::ServeArgs;
use super::context::Context;
use super::output::Outcome;
use super::remote::{DIRECT_GIVES_UP, words};

/// Lets peers pull from here, and follows those that are trusted, until it is told to stop.
pub async fn run(args: ServeArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let config = Config::load(&store.home.config())?;
    let options = ServerOptions { direct: args.direct, admin: args.admin };
    let cancel = context.cancellation();
    let log = std::sync::Arc::new(super::progress::Log);
    let server = Server::start(store.clone(), &config, options, context.clock.clone(), log).await?;
    let out = &context.output;
    out.warning(format!("Serving peers directly. {DIRECT_GIVES_UP}"));
    let (peers, admin, instance) = (server.peer_address().clone(), server.admin_address(), store.keys.instance());
    out.line(format!("name         {}", store.keys.name));
    out.line(format!("fingerprint  {}", words(&instance)));
    out.line(format!("peers        {peers}"));
    out.line(format!("admin        http://{admin}"));
    out.line("ready; Ctrl-C stops");
    let document = json!({
        "name": store.keys.name, "instance": instance, "fingerprint": words(&instance), "peer_address": peers,
        "admin_address": format!("http://{admin}"),
    });
    out.document("serve", document, &[]);
    server.run(cancel).await?;
    store.index.close().await;
    out.remark("stopped");
    Ok(Outcome::Done)
}
