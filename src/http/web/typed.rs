//! What was typed into a form, and what is wrong with it: the page is shown again, with both.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};

use super::Amiss;
use super::forms::full_stop;
use super::parts::sentence;
use crate::http::problem::Problem;

/// What is wrong with a form.
#[derive(Debug, Clone)]
pub(super) struct Wrong {
    /// Which field; none for the form as a whole.
    field: Option<String>,
    why: String,
    status: StatusCode,
}

impl Wrong {
    /// A field is wrong.
    pub(super) fn at(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: Some(field.into()), why: why.into(), status: StatusCode::UNPROCESSABLE_ENTITY }
    }

    /// What an action answered, to be told where it was asked for.
    ///
    /// # Errors
    /// [`Amiss`] if it is our own fault: nothing that is typed anew would help.
    pub(super) fn told(problem: Problem) -> Result<Self, Amiss> {
        if problem.status() == StatusCode::INTERNAL_SERVER_ERROR {
            return Err(problem.into());
        }
        Ok(Self { field: None, why: problem.reason().to_owned(), status: problem.status() })
    }

    /// The same, of a field.
    pub(super) fn of(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// The page that tells it.
    pub(super) fn answer(&self, page: Markup) -> Response {
        let mut answer = page.into_response();
        *answer.status_mut() = self.status;
        answer
    }
}

/// What is wrong with a field.
pub(super) fn wrong_at<'a>(wrong: Option<&'a Wrong>, field: &str) -> Option<&'a str> {
    wrong.filter(|wrong| wrong.field.as_deref() == Some(field)).map(|wrong| wrong.why.as_str())
}

/// What is wrong with the form as a whole; before the form.
pub(super) fn wrong_of_all(wrong: Option<&Wrong>) -> Markup {
    html! {
        @if let Some(wrong) = wrong {
            div.trouble.bad role="alert" {
                @match &wrong.field {
                    None => { p { (full_stop(&sentence(&wrong.why))) } }
                    Some(_) => { p { "Nothing was changed yet: look at what stands in red below." } }
                }
            }
        }
    }
}

/// Boxes to tick: what is sent, what is shown, and whether it is ticked.
pub(super) fn boxes(name: &str, legend: &str, all: &[(String, String, bool)], wrong: Option<&str>) -> Markup {
    many("checkbox", name, legend, all, wrong)
}

/// One of several, all of them to be seen.
pub(super) fn one_of(name: &str, legend: &str, all: &[(String, String, bool)], wrong: Option<&str>) -> Markup {
    many("radio", name, legend, all, wrong)
}

fn many(kind: &str, name: &str, legend: &str, all: &[(String, String, bool)], wrong: Option<&str>) -> Markup {
    html! {
        fieldset.ticks {
            legend { (legend) }
            @for (value, words, ticked) in all {
                label { input type=(kind) name=(name) value=(value) checked[*ticked]; span { (words) } }
            }
            @if let Some(wrong) = wrong { p.wrong { (full_stop(&sentence(wrong))) } }
        }
    }
}

/// One box to tick.
pub(super) fn tick(name: &str, words: &str, ticked: bool) -> Markup {
    html! { label.tick { input type="checkbox" name=(name) value="yes" checked[ticked]; span { (words) } } }
}

/// A number that was typed in a larger unit, in the smallest; nothing if nothing was typed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn amount(field: &str, text: &str, unit: u64) -> Result<Option<u64>, Wrong> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.rsplit_once(',').is_some_and(|(_, rest)| rest.len() == 3) {
        let either =
            format!("{text:?} can be read in two ways: write {} or {}", text.replace(',', ""), text.replace(',', "."));
        return Err(Wrong::at(field, either));
    }
    let text = text.replace(',', ".");
    let number = text.parse::<f64>().ok().filter(|number| (0.0..9e15 / unit as f64).contains(number));
    let number = number
        .ok_or_else(|| Wrong::at(field, format!("{text:?} is no number: write one like 5 or 2.5, or nothing")))?;
    Ok(Some((number * unit as f64).round() as u64))
}

/// The other way.
pub(super) fn amount_text(amount: Option<u64>, unit: u64) -> String {
    amount.map(|amount| (amount as f64 / unit as f64).to_string()).unwrap_or_default()
}

/// Somebody's doing came to its end; said once, after a redirect.
pub(super) fn done(words: &str) -> Markup {
    super::parts::notice(&html! { p { (words) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_comes_back_as_it_was_typed() {
        for (text, unit, amount_) in
            [("2.5", 1000, Some(2500)), ("2,5", 1000, Some(2500)), (" ", 1000, None), ("0.001", 1000, Some(1))]
        {
            assert_eq!(amount("rate", text, unit).unwrap(), amount_, "{text}");
        }
        for bad in ["-1", "much", "1e300", "NaN", "1,000", "2,500", "1,000,000"] {
            assert!(amount("rate", bad, 1000).is_err(), "{bad}");
        }
        for exact in [1, 1234, 5_000_000_001] {
            assert_eq!(amount("quota", &amount_text(Some(exact), 1_000_000_000), 1_000_000_000).unwrap(), Some(exact));
        }
    }
}
