//! What a peer or a guest may have here, as a form.

use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::typed::{Wrong, amount, amount_text, boxes, one_of, tick, wrong_at};
use crate::domain::limits::Hours;
use crate::domain::peer::Role;
use crate::http::admin::RightsBody;
use crate::http::admin::view::peer::RightsView;

const KB: u64 = 1000;
const GB: u64 = 1_000_000_000;

/// What was typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RightsForm {
    /// The names of collections, or `all`.
    pub collections: Vec<String>,
    pub role: String,
    pub onward: Option<String>,
    pub from: String,
    /// Kilobytes a second.
    pub rate: String,
    /// Gigabytes a month.
    pub quota: String,
    pub hours: String,
    /// The words that the other admin read out.
    pub words: String,
    /// How long an invite is good, in hours.
    pub expires: String,
}

impl RightsForm {
    /// As it is now.
    pub(super) fn of(rights: Option<&RightsView>) -> Self {
        let Some(rights) = rights else { return Self { role: Role::Reader.to_string(), ..Self::default() } };
        Self {
            collections: rights.collections.clone().unwrap_or_else(|| vec!["all".to_owned()]),
            role: rights.role.to_string(),
            onward: rights.onward.then(|| "yes".to_owned()),
            from: rights.from_at.map(|at| at.to_string()).unwrap_or_default(),
            rate: amount_text(rights.rate_bytes, KB),
            quota: amount_text(rights.quota_bytes, GB),
            hours: rights.hours.clone().unwrap_or_default(),
            ..Self::default()
        }
    }

    /// As it is carried out.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn body(&self) -> Result<RightsBody, Wrong> {
        let hours = self.hours.trim();
        if !hours.is_empty() {
            hours.parse::<Hours>().map_err(|why| Wrong::at("hours", why))?;
        }
        let above_0 = |field: &str, amount: Option<u64>| match amount {
            Some(0) => Err(Wrong::at(field, "a limit is more than 0: leave it empty for none, or shut the peer out")),
            amount => Ok(amount),
        };
        Ok(RightsBody {
            collections: self.collections.clone(),
            role: self.role.parse().map_err(|why: String| Wrong::at("role", why))?,
            onward: self.onward.is_some(),
            from_at: moment(&self.from)?,
            rate_bytes: above_0("rate", amount("rate", &self.rate, KB)?)?,
            quota_bytes: above_0("quota", amount("quota", &self.quota, GB)?)?,
            hours: (!hours.is_empty()).then(|| hours.to_owned()),
        })
    }

    /// The fields; `names` are those of the collections here.
    pub(super) fn fields(&self, names: &[String], wrong: Option<&Wrong>) -> Markup {
        let has = |name: &str| self.collections.iter().any(|one| one == name);
        let all = ("all".to_owned(), "All, and those that are added later".to_owned(), has("all"));
        let collections: Vec<_> =
            std::iter::once(all).chain(names.iter().map(|name| (name.clone(), name.clone(), has(name)))).collect();
        let role = |role: Role, words: &str| {
            let word = role.to_string();
            (word.clone(), words.to_owned(), self.role == word)
        };
        let roles = [
            role(Role::Reader, "Read: it can open and restore them"),
            role(Role::Mirror, "Keep blindly: it stores them, and cannot open them"),
        ];
        let limited = ["rate", "quota", "hours", "from"].iter().any(|field| wrong_at(wrong, field).is_some())
            || [&self.rate, &self.quota, &self.hours, &self.from].iter().any(|typed| !typed.is_empty());
        let limits = html! {
            (Field { name: "rate", label: "Kilobytes a second at most", hint: "All its streams together. Empty: as fast as it goes.", value: &self.rate, wrong: wrong_at(wrong, "rate") }.line())
            (Field { name: "quota", label: "Gigabytes a month at most", hint: "Empty: no limit.", value: &self.quota, wrong: wrong_at(wrong, "quota") }.line())
            (Field { name: "hours", label: "Only at these hours (UTC)", hint: "For instance 22:00-06:00. Empty: at any time.", value: &self.hours, wrong: wrong_at(wrong, "hours") }.line())
            (Field { name: "from", label: "Only snapshots made since", hint: "A day like 2026-11-01 (UTC). Empty: all of them.", value: &self.from, wrong: wrong_at(wrong, "from") }.line())
        };
        html! {
            (boxes("collections", "Collections", &collections, wrong_at(wrong, "collections")))
            (one_of("role", "What it may do with them", &roles, wrong_at(wrong, "role")))
            (tick("onward", "It may pass them on to peers of its own", self.onward.is_some()))
            details open[limited] { summary { "Limits" } (limits) }
        }
    }
}

/// A moment, or the beginning of a day.
fn moment(text: &str) -> Result<Option<Timestamp>, Wrong> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let at = text.parse::<Timestamp>().or_else(|_| format!("{text}T00:00:00Z").parse::<Timestamp>());
    at.map(Some).map_err(|_| Wrong::at("from", format!("{text:?} is no day: write one like 2026-11-01")))
}
