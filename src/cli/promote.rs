//! `bulbil promote`: this instance takes a collection over.

use std::path::PathBuf;

use anyhow::ensure;
use serde_json::json;

use crate::backup::select;
use crate::clock::Clock;
use crate::domain::text::path_text;
use crate::http::admin::view::promotion::PromotionView;
use crate::worker::promote::TakeOver;

use super::args::PromoteArgs;
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, count};
use super::remote::{confirm, leader};

/// Takes over.
pub async fn run(args: PromoteArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = select::collection(&store, &args.collection).await?;
    let data: Option<PathBuf> = args.data.map(std::path::absolute).transpose()?;
    // What does not fit is told before anybody is asked.
    let planned = TakeOver::plan(&store, collection, data.clone()).await?;
    let out = &context.output;
    let leader = leader(&store, &planned.collection.origin).await?;
    let name = planned.collection.name.clone();
    if !args.yes {
        out.warning(format!("Collection {name} is led by {leader}."));
        out.warning("If it is still at work, what it backs up from now on stands beside the line, and it stops when it hears of this.");
        ensure!(confirm("Take over?", false), "nothing was changed: answer yes, or give --yes");
    }
    // A name that is no text does not travel.
    let only_here = data.as_ref().filter(|data| data.to_str().is_none()).map(|_| "--data");
    let promotion = match Server::running(&store, only_here, context).await? {
        Some(server) => {
            drop(planned);
            let order = json!({ "data": data.as_ref().map(path_text) });
            server.ask(&format!("/admin/v1/collections/{name}/promote"), &order).await?
        }
        None => PromotionView::of(&planned, &planned.carry_out(&store, context.clock.now()).await?),
    };
    out.line(format!("this instance leads collection {name} now; {leader} led it until snapshot {}", promotion.after));
    for root in &promotion.roots {
        out.line(format!("  {}", root.path));
    }
    if promotion.not_fetched > 0 {
        out.warning(format!(
            "{} behind {name}@{} could not be fetched whole before: what was changed there is not in the folder",
            count(promotion.not_fetched, "snapshot"),
            promotion.newest.sequence
        ));
    }
    out.line(format!(
        "'bulbil backup {name}' makes the next snapshot; it stores everything once anew, under keys of this instance"
    ));
    out.line(
        "Peers that pull from this instance follow by themselves; others have to know its address: 'bulbil invite'",
    );
    out.document("promote", &promotion, &[]);
    Ok(Outcome::Done)
}
