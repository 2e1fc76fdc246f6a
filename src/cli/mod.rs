//! The command line: one file a command.
//!
//! Exit codes: 0 done, 1 failed, 2 done but not everything. Results go to standard output, everything else to standard
//! error. With `--json` standard output is one JSON document, described in `docs/json.md`.

mod admin; // talking to the server that runs here
mod again; // a server starts in its own place
mod args; // what may be typed
mod audit; // who did what
mod axon; // an Axon BBS
mod backup;
mod by_server; // work that the running server does for a command
mod check;
mod clone;
mod collection;
mod copy;
mod context; // the home, the store, the clock: what every command needs
mod demo;
mod dialling; // how peers are reached
mod diff;
mod doctor;
mod entity; // something of an application that is restored alone
mod export;
mod drill;
mod fetch;
mod have;
mod import;
mod import_tar;
mod init;
mod inspect;
mod invite;
mod ls;
mod manual; // completions, manual pages
mod mirror;
mod notify; // telling the service manager
mod onion;
mod openapi;
mod output; // text or JSON
mod peer;
mod password; // who logs in in a browser
mod preset; // what is known of applications
mod promote;
mod progress; // the bar on a terminal
mod protect; // all of it at once
mod prove;
mod prune;
mod quote; // what a fetch will bring
mod rebuild;
mod remote; // what commands that talk to peers have in common
mod recover;
mod rescue;
mod restore;
mod retention;
mod rotate_key;
mod rules; // by which content is judged
mod runs;
mod schedule;
mod scrub;
mod secret; // an application's secrets, apart from its data
mod serve;
mod sheet; // what to keep on paper
mod snapshot;
mod snapshots;
mod standby;
mod status;
mod sync;
mod target;
mod token; // what lets programs in
mod usage;
mod verify;
mod volumes;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use context::Context;
use output::Outcome;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => {
            let _ = asked.print();
            // Exit code 2 means something else here than clap's habit.
            return if asked.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let context = Context::new(&cli.global);
    context.start_log(match &cli.command {
        Command::Serve(args) => Some(args),
        _ => None,
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return context.output.failure(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let result = runtime.block_on(recorded(cli.command, &context));
    runtime.shutdown_background();
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Again) => context.output.failure(&again::start(&context)),
        Ok(Outcome::NotEverything) => ExitCode::from(2),
        Ok(Outcome::Wrong) => ExitCode::FAILURE,
        Err(error) => context.output.failure(&error),
    }
}

/// Runs a command, and leaves in the audit log what became of it.
async fn recorded(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let about = audit::about(&command);
    if matches!(command, Command::Serve(_)) {
        audit::begun("serve", Vec::new(), context).await;
    }
    let result = run(command, context).await;
    audit::note(about, &result, context).await;
    result
}

async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        Command::Init(args) => init::run(args, context).await,
        Command::Collection(command) => collection::run(command, context).await,
        Command::Protect(args) => protect::run(args, context).await,
        Command::Preset(command) => preset::run(command, context).await,
        Command::Secret(command) => secret::run(command, context).await,
        Command::Recovery(command) => sheet::run(command, context).await,
        Command::Check(args) => check::run(args, context).await,
        Command::Backup(args) => backup::run(args, context).await,
        Command::Snapshots(args) => snapshots::run(args, context).await,
        Command::Snapshot(command) => snapshot::run(command, context).await,
        Command::Retention(args) => retention::run(args, context).await,
        Command::Schedule(args) => schedule::run(args, context).await,
        Command::Runs(args) => runs::run(args, context).await,
        Command::Prune(args) => prune::run(args, context).await,
        Command::Usage(args) => usage::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Drill(args) => drill::run(args, context).await,
        Command::Diff(args) => diff::run(args, context).await,
        Command::Recover(args) => recover::run(*args, context).await,
        Command::Rescue(args) => rescue::run(args, context).await,
        Command::Restore(args) => restore::run(args, context).await,
        Command::Export(args) => export::run(args, context).await,
        Command::Import(args) => import::run(args, context).await,
        Command::ImportTar(args) => import_tar::run(args, context).await,
        Command::Target(command) => target::run(command, context).await,
        Command::Copy(args) => copy::run(args, context).await,
        Command::Have(args) => have::run(args, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Token(command) => token::run(command, context).await,
        Command::Password(command) => password::run(command, context).await,
        Command::Volumes(args) => volumes::run(args, context).await,
        Command::Verify(args) => verify::run(args, context).await,
        Command::Scrub(args) => scrub::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Rebuild(args) => rebuild::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await,
        Command::Invite(args) => invite::run(args, context).await,
        Command::Clone(args) => clone::run(args, context).await,
        Command::Promote(args) => promote::run(args, context).await,
        Command::RotateKey(args) => rotate_key::run(args, context).await,
        Command::Axon(command) => axon::run(command, context).await,
        Command::Peer(command) => peer::run(command, context).await,
        Command::Mirror(args) => mirror::run(args, context).await,
        Command::Standby(command) => standby::run(command, context).await,
        Command::Sync(args) => sync::run(args, context).await,
        Command::Fetch(args) => fetch::fetch(args, context).await,
        Command::Prove(args) => prove::run(args, context).await,
        Command::Rekey(args) => fetch::rekey(args, context).await,
        Command::Inspect(args) => inspect::run(args, context).await,
        Command::Onion(command) => onion::run(command, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Demo(args) => demo::run(args, context).await,
        Command::Openapi(args) => openapi::run(args, context),
        Command::Completions(args) => manual::completions(args, context),
        Command::Man(args) => manual::man(args, context),
    }
}
