//! A page for printing: nothing in it is loaded from anywhere, and nothing runs.

use std::fmt::Write;

use qrcode::Color;

use super::{Sheet, code, steps};

/// Modules that stay white around a code (ISO/IEC 18004).
const QUIET: usize = 4;

const STYLE: &str = "
@page { size: A4; margin: 16mm }
body { font: 10.5pt/1.45 serif; color: #000; background: #fff; max-width: 178mm; margin: 8mm auto; padding: 0 4mm }
h1 { font-size: 20pt; margin: 0 0 2mm } h2 { font-size: 13pt; margin: 7mm 0 2mm; border-bottom: .4pt solid #000 } h3 { font-size: 11pt; margin: 4mm 0 1mm }
dl { display: grid; grid-template-columns: 30mm 1fr; margin: 0 } dt { font-style: italic } dd { margin: 0 }
code, pre, .digits { font-family: monospace; font-size: 9pt } pre { margin: 1mm 0 2mm; white-space: pre-wrap }
.digits { word-break: break-all; line-height: 1.3 } .digits.key { word-break: normal; overflow-wrap: anywhere }
.code { display: flex; gap: 6mm; align-items: flex-start; break-inside: avoid; margin: 2mm 0 }
.code svg { width: 56mm; height: 56mm; flex: none } .code .digits { flex: 1 }
.line { border-bottom: .6pt solid #000; height: 9mm } .key { font-size: 12pt; font-family: monospace; word-spacing: 2mm }
section, li { break-inside: avoid }
@media print { body { margin: 0; padding: 0; max-width: none } }
";

/// The page.
///
/// # Errors
/// If something is too long for a code.
pub(super) fn page(sheet: &Sheet) -> anyhow::Result<String> {
    let mut out = String::new();
    let name = escaped(&sheet.name);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Recovery sheet of {name}</title><style>{STYLE}</style></head><body>\n<h1>Recovery sheet of {name}</h1>\n"
    );
    list(
        &mut out,
        &[
            ("printed", format!("{:.0}", sheet.made)),
            ("fingerprint", sheet.fingerprint.clone()),
            ("instance", sheet.instance.clone()),
            ("home", format!("{} on {}", sheet.home, sheet.host)),
        ],
    );
    key(&mut out, sheet)?;
    for of in &sheet.collections {
        let _ = writeln!(out, "<h2>Collection {}</h2>", escaped(&of.name));
        let mut facts: Vec<(&str, String)> = Vec::new();
        facts.extend(of.about.iter().map(|about| ("what it is", about.clone())));
        facts.extend(of.folders.iter().map(|folder| ("lies in", folder.clone())));
        facts.push(("newest", of.newest.clone().unwrap_or_else(|| "no snapshot yet".to_owned())));
        list(&mut out, &facts);
        for secret in &of.secrets {
            let what = secret.what.as_ref().map(|what| format!(": {}", escaped(what))).unwrap_or_default();
            let _ = write!(out, "<section><h3>Secret <code>{}</code>{what}</h3>", escaped(&secret.name));
            let _ = write!(
                out,
                "<p>In use since {:.0}, fingerprint {}. It is sealed: the recovery key opens it.",
                secret.since, secret.fingerprint
            );
            if let Some(place) = &secret.place {
                let _ = write!(out, " The application looks for it in {}.", escaped(place));
            }
            out.push_str("</p>\n");
            for text in &secret.codes {
                picture(&mut out, text, "digits")?;
            }
            out.push_str("</section>\n");
        }
        for without in &of.without {
            let _ = writeln!(out, "<p>Secret {}</p><div class=\"line\"></div>", escaped(without));
        }
    }
    out.push_str("<h2>The disk just died</h2>\n<ol>\n");
    for (what, commands) in steps(sheet) {
        let _ = writeln!(out, "<li>{}<pre>{}</pre></li>", escaped(&what), escaped(&commands.join("\n")));
    }
    out.push_str("</ol>\n</body></html>\n");
    Ok(out)
}

fn key(out: &mut String, sheet: &Sheet) -> anyhow::Result<()> {
    let _ = writeln!(out, "<section><h2>Recovery key ({}…)</h2>", sheet.key_id);
    match &sheet.key {
        Some(key) => {
            out.push_str("<p>Whoever has it and a backup can read everything. Keep this sheet away from the machine.</p>\n");
            picture(out, key, "digits key")?;
        }
        None => out.push_str(
            "<p>It was shown once, when the home was made, and is kept nowhere: so it cannot be printed. Copy it from where you wrote it \
             down. Without it this sheet and the backups are of no use when the machine is gone.</p>\n\
             <div class=\"key\">BULBIL-RECOVERY-1-</div><div class=\"line\"></div><div class=\"line\"></div>\n",
        ),
    }
    out.push_str("</section>\n");
    Ok(())
}

fn list(out: &mut String, facts: &[(&str, String)]) {
    out.push_str("<dl>");
    for (what, fact) in facts {
        let _ = write!(out, "<dt>{what}</dt><dd>{}</dd>", escaped(fact));
    }
    out.push_str("</dl>\n");
}

/// A code with its text beside it: each row of dark modules is one stroke of the path.
fn picture(out: &mut String, text: &str, class: &str) -> anyhow::Result<()> {
    let code = code(text)?;
    let (width, colors) = (code.width(), code.to_colors());
    let side = width + 2 * QUIET;
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        while x < width {
            let len = row[x..].iter().take_while(|color| **color == Color::Dark).count();
            if len > 0 {
                let _ = write!(path, "M{} {}h{len}v1h-{len}z", x + QUIET, y + QUIET);
            }
            x += len.max(1);
        }
    }
    let _ = writeln!(
        out,
        "<div class=\"code\"><svg viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"QR code\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}h-{side}z\"/><path d=\"{path}\"/></svg><div class=\"{class}\">{}</div></div>",
        escaped(text)
    );
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
