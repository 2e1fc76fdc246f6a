//! What pages are made of. Each part is a function to markup; texts are escaped by the templates.

use jiff::Timestamp;
use maud::{Markup, html};

use super::chart;
use super::viewer::Viewer;
use crate::domain::words::{age, bytes, count};

/// How it stands with something, as a traffic light. It is a shape and words, too: a colour alone tells nothing to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Light {
    /// All is well.
    Good,
    /// Nothing can be said, or nothing was asked for.
    Unknown,
    /// Somebody should look.
    Care,
    /// Something is wrong.
    Bad,
}

impl Light {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "light good",
            Self::Unknown => "light unknown",
            Self::Care => "light care",
            Self::Bad => "light bad",
        }
    }

    /// What stands in the shape.
    fn sign(self) -> &'static str {
        match self {
            Self::Good => "",
            Self::Unknown => "?",
            Self::Care => "!",
            Self::Bad => "×",
        }
    }
}

/// A traffic light with its words.
pub fn light(light: Light, words: &str) -> Markup {
    html! { span class=(light.class()) { span.shape aria-hidden="true" { (light.sign()) } span { (words) } } }
}

/// A moment as people say it, and exactly for programs and whoever points at it.
pub fn moment(at: Timestamp, now: Timestamp) -> Markup {
    let seconds = now.duration_since(at).as_secs();
    let words = if seconds < 0 { until(-seconds) } else { age(seconds) };
    html! { time datetime=(at.to_string()) title=(exact(at)) { (words) } }
}

/// A moment that may never have come.
pub fn moment_or(at: Option<Timestamp>, now: Timestamp, never: &str) -> Markup {
    match at {
        Some(at) => moment(at, now),
        None => html! { (never) },
    }
}

/// A moment on the calendar, in UTC: `2026-11-26 14:05 UTC`.
pub fn exact(at: Timestamp) -> String {
    at.strftime("%F %H:%M UTC").to_string()
}

/// How long something is ahead, from seconds.
fn until(seconds: i64) -> String {
    match seconds {
        ..60 => "in a moment".to_owned(),
        60..3600 => format!("in {}", count((seconds / 60).unsigned_abs(), "minute")),
        3600..172_800 => format!("in {}", count((seconds / 3600).unsigned_abs(), "hour")),
        _ => format!("in {}", count((seconds / 86_400).unsigned_abs(), "day")),
    }
}

/// A size for people, and exactly for whoever points at it.
pub fn size(n: u64) -> Markup {
    html! { data value=(n) title={ (crate::domain::words::number(n)) " bytes" } { (bytes(n)) } }
}

/// Nothing is here yet: what that means, and what to do next.
pub fn empty(title: &str, text: &str, next: &Markup) -> Markup {
    html! { section.empty { h2 { (title) } p { (text) } (next) } }
}

/// A command for the terminal.
pub fn command(line: &str) -> Markup {
    html! { pre.command tabindex="0" { code { (line) } } }
}

/// Something that is wrong: what it concerns, what it is, and how to mend it, with a light that says how bad it is.
pub fn trouble(how: Light, subject: &str, message: &str, next: Option<&Markup>) -> Markup {
    html! {
        div class={ "trouble " (if how == Light::Bad { "bad" } else { "care" }) } {
            p.subject { (light(how, subject)) }
            p { (sentence(message)) }
            @if let Some(next) = next { div.next { (next) } }
        }
    }
}

/// A sentence as it begins: with a capital letter.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Something to know that is not wrong.
pub fn notice(text: &Markup) -> Markup {
    html! { div.notice role="status" { (text) } }
}

/// Terms and what is said of them.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! { dl.facts { @for (term, what) in facts { div { dt { (term) } dd { (what) } } } } }
}

/// A table that becomes a card a row on a narrow screen. The first cell of a row names it.
pub fn table(caption: &str, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    rows_under(&html! { caption { (caption) } }, heads, rows)
}

/// The same under a heading that says already what it is: the caption is for screen readers.
pub fn table_below_heading(caption: &str, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    rows_under(&html! { caption.unseen { (caption) } }, heads, rows)
}

fn rows_under(caption: &Markup, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        table.fold role="table" {
            (caption)
            thead role="rowgroup" { tr role="row" { @for head in heads { th scope="col" role="columnheader" { (head) } } } }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (n, cell) in row.iter().enumerate() {
                            @let head = heads.get(n).copied().unwrap_or_default();
                            @if n == 0 {
                                th scope="row" role="rowheader" data-label=(head) { (cell) }
                            } @else {
                                td role="cell" data-label=(head) { span { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How much a button weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// What most come for.
    First,
    /// One of several.
    Quiet,
    /// What cannot be taken back.
    Danger,
}

impl Weight {
    fn class(self) -> &'static str {
        match self {
            Self::First => "button",
            Self::Quiet => "button quiet",
            Self::Danger => "button danger",
        }
    }
}

/// The hidden field that every form needs.
pub fn csrf(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name="csrf" value=(viewer.csrf()); }
}

/// A button that does something: a form of its own with these hidden fields.
pub fn button(viewer: &Viewer, action: &str, fields: &[(&str, &str)], label: &str, weight: Weight) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (csrf(viewer))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button class=(weight.class()) type="submit" { (label) }
        }
    }
}

/// Where a page is; nothing for one that is at the top.
pub fn crumbs(above: &[(String, String)], here: &str) -> Markup {
    html! {
        @if !above.is_empty() {
            nav.crumbs aria-label="Where you are" {
                ol {
                    @for (path, title) in above { li { a href=(path) { (title) } } }
                    li aria-current="page" { (here) }
                }
            }
        }
    }
}

/// Links to what comes before and after a part of a list.
pub fn pages(newer: Option<&str>, older: Option<&str>) -> Markup {
    html! {
        @if newer.is_some() || older.is_some() {
            nav.pages aria-label="More of the list" {
                @if let Some(path) = newer { a.button.quiet href=(path) rel="prev" { "Newer" } }
                @if let Some(path) = older { a.button.quiet href=(path) rel="next" { "Older" } }
            }
        }
    }
}

/// What stands at the sides of a picture of figures.
#[derive(Debug, Clone, Copy)]
pub struct Scale<'a> {
    /// Pixels from top to bottom.
    pub height: u32,
    /// How much the top is.
    pub top: Option<&'a str>,
    /// When the left end is; the right one is now.
    pub left: &'a str,
}

/// A picture of figures with its scale; in dark and light. `words` say what is to be seen on it, for whoever does not see it.
pub fn picture(path: &str, words: &str, caption: &str, scale: &Scale<'_>) -> Markup {
    html! {
        figure.chart {
            figcaption { (caption) }
            @if let Some(top) = scale.top { p.scale aria-hidden="true" { (top) } }
            picture {
                source media="(prefers-color-scheme: dark)" srcset={ (path) "?theme=dark" };
                img src=(path) alt=(words) width=(chart::WIDTH) height=(scale.height);
            }
            p.ends aria-hidden="true" { span { (scale.left) } span { "now" } }
        }
    }
}

/// What is shown when asked for: the figures behind a picture, or details.
pub fn more(summary: &str, what: &Markup) -> Markup {
    html! { details { summary { (summary) } (what) } }
}

/// Work that goes on: how far it is, told by itself where scripts run ([`Page::live`](super::Page::live)), and by a link everywhere.
/// `here` is the path of the page.
pub fn progress(events: &str, here: &str, words: &str, percent: Option<u64>) -> Markup {
    html! {
        div.card data-live=(events) {
            p.small.soft data-live-text { (words) }
            progress max="100" value=[percent] aria-label="How far it is" {}
            ol.plain.small data-live-log {}
            p { a href=(here) { "Look again" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_said_before_and_after_now() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let text = |at: &str| moment(at.parse().unwrap(), now).into_string();
        assert!(text("2026-11-26T09:00:00Z").contains(">3 hours ago</time>"));
        assert!(text("2026-11-26T12:30:00Z").contains(">in 30 minutes</time>"));
        assert!(text("2026-11-26T09:00:00Z").contains(r#"datetime="2026-11-26T09:00:00Z""#));
        assert!(text("2026-11-26T09:00:00Z").contains(r#"title="2026-11-26 09:00 UTC""#));
    }

    #[test]
    fn a_light_has_words_and_a_sign_that_are_no_colour() {
        let (good, bad) = (light(Light::Good, "safe").into_string(), light(Light::Bad, "late").into_string());
        assert!(good.contains("safe") && bad.contains("late") && bad.contains('×') && !good.contains('×'));
    }

    #[test]
    fn what_others_named_is_no_markup() {
        let text = trouble(Light::Bad, "<script>", "A & b", None).into_string();
        assert!(text.contains("&lt;script&gt;") && text.contains("A &amp; b") && !text.contains("<script>"));
    }
}
