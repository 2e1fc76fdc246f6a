//! `bulbil demo`
use super::args::DemoArgs;
use super::context::Context;
use super::output::Outcome;

/// Shows it all.
pub async fn run(_args: DemoArgs, _context: &Context) -> anyhow::Result<Outcome> {
    Ok(Outcome::Done)
}
