//! `bulbil password set`, `bulbil password totp on|off`

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::domain::access::totp::TotpSecret;
use crate::domain::access::{AdmissionError, Cost, PasswordHash};
use crate::store::{Store, blocking, entropy};

use super::args::{OnOff, PasswordCommand, PasswordSetArgs};
use super::context::{Context, ask};
use super::output::Outcome;

/// A longer first line is no password, in bytes.
const MAX_LINE: u64 = 4096;

/// What lets a browser in on the admin plane.
pub async fn run(command: PasswordCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        PasswordCommand::Set(args) => set(args, context).await,
        PasswordCommand::Totp(args) => match args.state {
            OnOff::On => totp_on(context).await,
            OnOff::Off => totp_off(context).await,
        },
    }
}

async fn set(args: PasswordSetArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let password = typed(args.from_file.as_deref())?;
    let hash = blocking(move || PasswordHash::new(&password, Cost::RECOMMENDED, &mut entropy())).await?;
    let now = context.clock.now();
    let asks = store.change_admission(|all| {
        all.set_password(hash, now);
        Ok(all.login.as_ref().is_some_and(|login| login.totp.is_some()))
    })?;
    context.output.line("the password is set; whoever was logged in is logged out");
    if asks {
        context
            .output
            .remark("Codes of the authenticator app are still asked for: 'bulbil password totp off' ends that.");
    }
    context.output.document("password set", json!({ "totp": asks }), &[]);
    Ok(Outcome::Done)
}

/// The password: from the file, typed twice on a terminal, or the first line of standard input.
fn typed(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    if let Some(path) = file {
        let opened = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        return first_line(opened).with_context(|| format!("cannot read {}", path.display()));
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return first_line(stdin.lock()).context("cannot read the password from standard input");
    }
    let first = ask("new password (it is not shown): ")?;
    let again = ask("the same again: ")?;
    ensure!(first.expose() == again.expose(), "the two passwords differ: nothing was changed");
    let text = std::str::from_utf8(first.expose()).context("the password is no text (UTF-8)")?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn first_line(from: impl Read) -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(from.take(MAX_LINE)).read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    ensure!(!line.is_empty(), "its first line is empty");
    Ok(line)
}

async fn totp_on(context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    if store.admission()?.login.is_none() {
        bail!(AdmissionError::NoPassword);
    }
    let secret = TotpSecret::random(&mut entropy());
    let uri = secret.uri(&store.keys.name);
    let out = &context.output;
    // Results are for later; this is a conversation.
    out.warning("Scan this with an authenticator app, or type the secret below it into one:\n");
    if std::io::stderr().is_terminal() {
        out.warning(qr_code(&uri)?);
    }
    out.warning(format!("{}\nsecret  {}\n\nThe code that the app shows now:", *uri, *secret.reveal()));
    let code = first_line(std::io::stdin().lock()).context("no code was typed: nothing was changed")?;
    let step = secret.step_of(&code, context.clock.now(), None);
    let Some(step) = step else {
        bail!(
            "that is not the code of this secret: nothing was changed. Is the clock of the phone right, and that of this machine?"
        )
    };
    store.change_admission(|all| all.set_totp(Some((secret, step))))?;
    out.line("codes are asked for from now on; whoever was logged in is logged out");
    out.remark("Without the phone, 'bulbil password totp off' on this machine lets you in again.");
    out.document("password totp", json!({ "totp": true }), &[]);
    Ok(Outcome::Done)
}

async fn totp_off(context: &Context) -> anyhow::Result<Outcome> {
    let store: Store = context.store().await?;
    store.change_admission(|all| all.set_totp(None))?;
    context.output.line("no codes are asked for from now on; whoever was logged in is logged out");
    context.output.document("password totp", json!({ "totp": false }), &[]);
    Ok(Outcome::Done)
}

fn qr_code(uri: &str) -> anyhow::Result<String> {
    let code = qrcode::QrCode::with_error_correction_level(uri, qrcode::EcLevel::L)
        .context("the secret is too long for a QR code")?;
    Ok(code.render::<qrcode::render::unicode::Dense1x2>().build())
}
