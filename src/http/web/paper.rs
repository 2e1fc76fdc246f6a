//! The recovery sheet as a document for printing: the same for `bulbil recovery sheet --output` and for the page. It stands alone: nothing
//! in it is loaded from anywhere, nothing runs, and codes are PNG, which Tor Browser at "Safest" shows, too.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::pictures::printed_code;
use crate::backup::sheet::{OfCollection, OfSecret, Sheet, steps};
use crate::http::admin::guard::OwnPolicy;

const STYLE: &str = "
@page { size: A4; margin: 16mm }
html { -webkit-text-size-adjust: 100% }
body { font: 10.5pt/1.45 serif; color: #000; background: #fff; max-width: 178mm; margin: 8mm auto; padding: 0 4mm }
h1 { font-size: 20pt; line-height: 1.2; margin: 0 0 2mm } h2 { font-size: 13pt; margin: 7mm 0 2mm; border-bottom: .4pt solid #000 } h3 { font-size: 11pt; margin: 4mm 0 1mm }
dl { display: grid; grid-template-columns: 30mm minmax(0, 1fr); margin: 0 } dt { font-style: italic } dd { margin: 0; overflow-wrap: anywhere }
code, pre, .digits { font-family: monospace; font-size: 9pt } pre { margin: 1mm 0 2mm; white-space: pre-wrap; overflow-wrap: anywhere }
.digits { word-break: break-all; line-height: 1.3 } .digits.key { word-break: normal; overflow-wrap: anywhere }
.code { display: flex; flex-wrap: wrap; gap: 6mm; align-items: flex-start; break-inside: avoid; margin: 2mm 0 }
.code img { width: 56mm; height: 56mm; flex: none; image-rendering: pixelated } .code .digits { flex: 1 1 60mm }
.line { border-bottom: .6pt solid #000; height: 9mm } .key { font-size: 12pt; font-family: monospace; word-spacing: 2mm }
section, li { break-inside: avoid }
.screen { font: 11pt/1.5 sans-serif; border: .8pt solid #000; padding: 3mm 4mm; margin-bottom: 8mm } .screen p { margin: 0 0 1mm } .screen a { color: #00c }
@media print { body { margin: 0; padding: 0; max-width: none } .screen { display: none } }
";

/// What a browser may do with the document: show it.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = data_encoding::BASE64.encode(&Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'")
});

/// Something is too long for a code that a camera reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is too long for a QR code")]
pub struct TooLong;

/// The document. With `back`, as a page of the server that leads there again.
///
/// # Errors
/// [`TooLong`].
pub fn document(sheet: &Sheet, back: Option<&str>) -> Result<Markup, TooLong> {
    let key = match &sheet.key {
        Some(key) => Some(code(key, "The recovery key as a QR code", "digits key")?),
        None => None,
    };
    let collections = sheet.collections.iter().map(of_collection).collect::<Result<Vec<_>, _>>()?;
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(*POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Recovery sheet of " (sheet.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    @if let Some(back) = back {
                        div.screen {
                            p { "Print this page now, in two copies, and keep them in two places away from this machine. It is kept nowhere here." }
                            p { a href=(back) { "Back to keys and recovery" } }
                        }
                    }
                    h1 { "Recovery sheet of " (sheet.name) }
                    (facts(&[
                        ("printed", format!("{:.0}", sheet.made)),
                        ("fingerprint", sheet.fingerprint.clone()),
                        ("instance", sheet.instance.clone()),
                        ("home", format!("{} on {}", sheet.home, sheet.host)),
                    ]))
                    section {
                        h2 { "Recovery key (" (sheet.key_id) "…)" }
                        @match key {
                            Some(key) => {
                                p { "Whoever has it and a backup can read everything. Keep this sheet away from the machine." }
                                (key)
                            }
                            None => {
                                p {
                                    "It was shown once, when the home was made, and is kept nowhere: so it cannot be printed. Copy it from where \
                                     you wrote it down. Without it this sheet and the backups are of no use when the machine is gone."
                                }
                                div.key { "BULBIL-RECOVERY-1-" }
                                div.line {}
                                div.line {}
                            }
                        }
                    }
                    @for collection in collections { (collection) }
                    h2 { "The disk just died" }
                    ol { @for step in steps(sheet) { li { (step.what) pre { (step.commands.join("\n")) } } } }
                }
            }
        }
    })
}

/// The document as an answer, under a policy of its own.
pub(in crate::http) fn answer(document: Markup) -> Response {
    let policy = HeaderValue::try_from(format!("{}; frame-ancestors 'none'", *POLICY));
    let mut answer = document.into_response();
    answer.extensions_mut().insert(OwnPolicy(policy.expect("a policy is plain text")));
    answer
}

fn of_collection(of: &OfCollection) -> Result<Markup, TooLong> {
    let mut known: Vec<(&str, String)> = Vec::new();
    known.extend(of.about.iter().map(|about| ("what it is", about.clone())));
    known.extend(of.folders.iter().map(|folder| ("lies in", folder.clone())));
    known.push(("newest", of.newest.clone().unwrap_or_else(|| "no snapshot yet".to_owned())));
    let secrets = of.secrets.iter().map(of_secret).collect::<Result<Vec<_>, _>>()?;
    Ok(html! {
        h2 { "Collection " (of.name) }
        (facts(&known))
        @for secret in secrets { (secret) }
        @for without in &of.without {
            p { "Secret " (without) }
            div.line {}
        }
    })
}

fn of_secret(secret: &OfSecret) -> Result<Markup, TooLong> {
    let picture = |(at, text): (usize, &String)| {
        let words = format!("Secret {}, QR code {} of {}", secret.name, at + 1, secret.codes.len());
        code(text, &words, "digits")
    };
    let codes = secret.codes.iter().enumerate().map(picture).collect::<Result<Vec<_>, _>>()?;
    Ok(html! {
        section {
            h3 { "Secret " code { (secret.name) } @if let Some(what) = &secret.what { ": " (what) } }
            p {
                "In use since " (format!("{:.0}", secret.since)) ", fingerprint " (secret.fingerprint)
                ". It is sealed: the recovery key opens it."
                @if let Some(place) = &secret.place { " The application looks for it in " (place) "." }
            }
            @for code in codes { (code) }
        }
    })
}

fn facts(facts: &[(&str, String)]) -> Markup {
    html! { dl { @for (what, fact) in facts { dt { (what) } dd { (fact) } } } }
}

/// A code with its text beside it.
fn code(text: &str, words: &str, class: &str) -> Result<Markup, TooLong> {
    let (png, side) = printed_code(text).ok_or(TooLong)?;
    Ok(html! {
        div.code {
            img src={ "data:image/png;base64," (data_encoding::BASE64.encode(&png)) } width=(side) height=(side) alt=(words);
            div class=(class) { (text) }
        }
    })
}
