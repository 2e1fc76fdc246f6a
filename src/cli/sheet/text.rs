//! For a terminal: codes of block characters.

use anyhow::Context as _;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::backup::sheet::{Sheet, steps};

/// Digits of a code on one line.
const WIDTH: usize = 72;

/// The sheet, line by line.
///
/// # Errors
/// If something is too long for a code.
pub(super) fn lines(sheet: &Sheet) -> anyhow::Result<Vec<String>> {
    let mut out = vec![
        format!("RECOVERY SHEET of {}", sheet.name),
        format!("  printed      {:.0}", sheet.made),
        format!("  fingerprint  {}", sheet.fingerprint),
        format!("  home         {} on {}", sheet.home, sheet.host),
        String::new(),
        format!("RECOVERY KEY ({}…)", sheet.key_id),
    ];
    match &sheet.key {
        Some(key) => {
            out.push(format!("  {}", key.as_str()));
            out.extend(picture(key)?);
        }
        None => {
            out.push("  It was shown once, when the home was made, and is kept nowhere: so it cannot be printed. Copy it from where".to_owned());
            out.push("  you wrote it down:".to_owned());
            out.push(
                "  BULBIL-RECOVERY-1-______-______-______-______-______-______-______-______-______-____".to_owned(),
            );
        }
    }
    for of in &sheet.collections {
        out.extend([String::new(), format!("COLLECTION {}", of.name)]);
        out.extend(of.about.iter().map(|about| format!("  {about}")));
        out.extend(of.folders.iter().map(|folder| format!("  lies in      {folder}")));
        out.push(format!("  newest       {}", of.newest.as_deref().unwrap_or("no snapshot yet")));
        for secret in &of.secrets {
            let what = secret.what.as_ref().map(|what| format!(": {what}")).unwrap_or_default();
            out.extend([String::new(), format!("  SECRET {}{what}", secret.name)]);
            out.push(format!(
                "  in use since {:.0}, fingerprint {}; sealed: the recovery key opens it",
                secret.since, secret.fingerprint
            ));
            out.extend(secret.place.iter().map(|place| format!("  the application looks for it in {place}")));
            for text in &secret.codes {
                out.extend(picture(text)?);
                out.extend(text.as_bytes().chunks(WIDTH).map(|part| format!("  {}", String::from_utf8_lossy(part))));
            }
        }
        out.extend(of.without.iter().map(|without| format!("  SECRET {without}")));
    }
    out.extend([String::new(), "THE DISK JUST DIED".to_owned()]);
    for (at, step) in steps(sheet).into_iter().enumerate() {
        out.push(format!("  {}. {}", at + 1, step.what));
        out.extend(step.commands.into_iter().map(|command| format!("       {command}")));
    }
    Ok(out)
}

fn picture(text: &str) -> anyhow::Result<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).context("this is too long for a QR code")?;
    Ok(code.render::<Dense1x2>().build().lines().map(|line| format!("  {line}")).collect())
}
