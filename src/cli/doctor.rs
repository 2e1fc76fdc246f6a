use super::args::DoctorArgs;
use super::context::Context;
use super::output::Outcome;
pub async fn run(_args: DoctorArgs, _context: &Context) -> anyhow::Result<Outcome> {
    Ok(Outcome::Done)
}
