//! Fields of forms: a label, a hint, what was typed, and what is wrong with it beside it.

use maud::{Markup, html};
use serde::Deserialize;

use super::parts::sentence;

/// A form without fields of its own.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// A field for text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// As it is sent.
    pub name: &'a str,
    /// As people call it.
    pub label: &'a str,
    /// What to type.
    pub hint: &'a str,
    /// What was typed.
    pub value: &'a str,
    /// What is wrong with that.
    pub wrong: Option<&'a str>,
}

impl Field<'_> {
    /// One line.
    pub fn line(self) -> Markup {
        self.around(&html! {
            input type="text" id=(self.name) name=(self.name) value=(self.value) autocomplete="off" autocapitalize="none"
                spellcheck="false" aria-invalid=[self.wrong.map(|_| "true")] aria-describedby=(self.described());
        })
    }

    /// One line that is not shown. What was typed is not there again: there is no value.
    pub fn secret(self) -> Markup {
        self.secret_of(1024)
    }

    /// The same, of at most so many characters.
    pub fn secret_of(self, most: usize) -> Markup {
        self.around(&html! {
            input type="password" id=(self.name) name=(self.name) autocomplete="off" maxlength=(most)
                aria-invalid=[self.wrong.map(|_| "true")] aria-describedby=(self.described());
        })
    }

    /// Several lines.
    pub fn lines(self, rows: u8) -> Markup {
        self.around(&html! {
            // A line break right after the tag is left out by browsers: without it one that was typed first would be lost.
            textarea id=(self.name) name=(self.name) rows=(rows) autocapitalize="none" spellcheck="false"
                aria-invalid=[self.wrong.map(|_| "true")] aria-describedby=(self.described()) { "\n" (self.value) }
        })
    }

    /// One of several: what is sent, and what is shown.
    pub fn choice(self, choices: &[(String, String)]) -> Markup {
        self.around(&html! {
            select id=(self.name) name=(self.name) aria-invalid=[self.wrong.map(|_| "true")] aria-describedby=(self.described()) {
                @for (value, words) in choices { option value=(value) selected[value == self.value] { (words) } }
            }
        })
    }

    fn described(&self) -> String {
        match self.wrong {
            Some(_) => format!("{0}-hint {0}-wrong", self.name),
            None => format!("{}-hint", self.name),
        }
    }

    fn around(&self, control: &Markup) -> Markup {
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                p.hint id={ (self.name) "-hint" } { (self.hint) }
                (control)
                @if let Some(wrong) = self.wrong { p.wrong id={ (self.name) "-wrong" } { (full_stop(&sentence(wrong))) } }
            }
        }
    }
}

/// A sentence with its end.
pub(super) fn full_stop(text: &str) -> String {
    match text.ends_with(['.', '?', '!']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

/// What was typed into several lines: those that are not empty.
pub(super) fn typed_lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}
