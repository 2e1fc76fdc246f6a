//! `/collections/{name}/retention`: which snapshots stay and which go, looked at before it holds.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::typed::{Wrong, done, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::backup::prune;
use crate::backup::select;
use crate::domain::retention::Tag;
use crate::domain::words::{bytes, count};
use crate::http::admin::access::FreshPosted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::{AdminPlane, PolicyView, PreviewView, SetRetention};
use crate::http::problem::Problem;
use crate::store::index::Collection;

/// So many snapshots stand in the preview.
const LISTED: usize = 200;

/// What was typed; all is empty if nothing was.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    last: String,
    hourly: String,
    daily: String,
    weekly: String,
    monthly: String,
    yearly: String,
    within_hours: String,
    tags: String,
    time_zone: String,
    /// Whether every snapshot is to be kept.
    everything: Option<String>,
    look: Option<String>,
    done: Option<String>,
}

impl Typed {
    fn of(policy: Option<&PolicyView>, zone: &str) -> Self {
        let policy = policy.cloned().unwrap_or_default();
        let text = |n: u32| if n == 0 { String::new() } else { n.to_string() };
        Self {
            last: text(policy.last),
            hourly: text(policy.hourly),
            daily: text(policy.daily),
            weekly: text(policy.weekly),
            monthly: text(policy.monthly),
            yearly: text(policy.yearly),
            within_hours: text(policy.within_hours),
            tags: policy.tags,
            time_zone: zone.to_owned(),
            ..Self::default()
        }
    }

    /// The numbers: the field, what it is called, what was typed.
    fn numbers(&self) -> [(&'static str, &'static str, &str); 7] {
        [
            ("last", "The newest", &self.last),
            ("hourly", "Hours", &self.hourly),
            ("daily", "Days", &self.daily),
            ("weekly", "Weeks", &self.weekly),
            ("monthly", "Months", &self.monthly),
            ("yearly", "Years", &self.yearly),
            ("within_hours", "All of so many hours", &self.within_hours),
        ]
    }

    fn policy(&self) -> Result<PolicyView, Wrong> {
        let mut numbers = [0; 7];
        for (number, (field, _, text)) in numbers.iter_mut().zip(self.numbers()) {
            let text = text.trim();
            if !text.is_empty() {
                *number = text.parse().map_err(|_| Wrong::at(field, "write a whole number, or nothing"))?;
            }
        }
        let [last, hourly, daily, weekly, monthly, yearly, within_hours] = numbers;
        for word in self.tags.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            word.parse::<Tag>().map_err(|error| Wrong::at("tags", error.to_string()))?;
        }
        let tags = self.tags.trim().to_owned();
        if numbers == [0; 7] && tags.is_empty() {
            return Err(Wrong::at("last", "nothing but the newest snapshot would stay: write at least one number"));
        }
        Ok(PolicyView { last, hourly, daily, weekly, monthly, yearly, within_hours, tags })
    }

    fn zone(&self) -> Result<String, Wrong> {
        let zone = Some(self.time_zone.trim()).filter(|zone| !zone.is_empty()).unwrap_or("UTC");
        prune::zone(zone).map(|_| zone.to_owned()).map_err(|error| Wrong::at("time_zone", error.to_string()))
    }
}

/// What is kept, or what would be.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(typed): Query<Typed>,
) -> Result<Markup, Amiss> {
    let collection = select::collection(plane.store(), &name).await.map_err(Problem::from)?;
    if typed.look.is_none() {
        let now = plane.retention(&collection);
        let said = typed.done.is_some().then_some("Saved. Nothing is removed before the next prune.");
        return show(&plane, &viewer, &collection, &Typed::of(now.policy.as_ref(), &now.time_zone), None, None, said)
            .await;
    }
    let policy = typed.policy().and_then(|policy| typed.zone().map(|_| policy));
    let (preview, wrong) = match policy {
        Err(wrong) => (None, Some(wrong)),
        Ok(policy) => match plane.retention_preview(&name, Some(policy)).await {
            Ok(preview) => (Some(preview), None),
            Err(problem) => (None, Some(Wrong::told(problem)?)),
        },
    };
    show(&plane, &viewer, &collection, &typed, preview.as_ref(), wrong.as_ref(), None).await
}

/// Says what is kept.
pub(super) async fn save(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Typed>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let collection = select::collection(plane.store(), &name).await.map_err(Problem::from)?;
    let policy = if form.everything.is_some() { Ok(None) } else { form.policy().map(Some) };
    let wrong = match policy.and_then(|policy| Ok((policy, form.zone()?))) {
        Err(wrong) => wrong,
        Ok((policy, zone)) => {
            let set = SetRetention { policy, time_zone: Some(zone) };
            match plane.set_retention(&name, set, &session.caller()).await {
                Ok(_) => return Ok(see_other(&format!("/collections/{}/retention?done=yes", collection.name))),
                Err(problem) => Wrong::told(problem)?,
            }
        }
    };
    let page = show(&plane, &Viewer::from(session), &collection, &form, None, Some(&wrong), None).await?;
    Ok(wrong.answer(page))
}

async fn show(
    plane: &AdminPlane,
    viewer: &Viewer,
    collection: &Collection,
    typed: &Typed,
    preview: Option<&PreviewView>,
    wrong: Option<&Wrong>,
    said: Option<&str>,
) -> Result<Markup, Amiss> {
    let (now, kept) = (plane.now(), plane.retention(collection));
    let path = format!("/collections/{}", collection.name);
    let here = format!("{path}/retention");
    let prunes = collection.upkeep.scheduled.iter().any(|one| one.work == crate::domain::schedule::Work::Prune);
    let main = html! {
        div.stack {
            @if let Some(said) = said { (done(said)) }
            p.lead { (parts::sentence(&kept.in_words)) "." }
            p.soft {
                @if kept.is_default { "Nobody said so: it is what is usual. " }
                @if prunes { "What is not to be kept is removed by itself, as scheduled." }
                @else { "Nothing is removed by itself: no prune is scheduled." }
                " The newest snapshot, the last good one, and what is pinned always stay."
            }
            (wrong_of_all(wrong))
            form.card method="get" action=(here) {
                h2 { "What is to stay" }
                p { "The newest so many, and one snapshot of each of the latest hours, days, weeks, months and years that have one. Look at it first: it holds once you save it." }
                div.numbers {
                    @for (name, label, value) in typed.numbers() {
                        (Field { name, label, hint: "", value, wrong: wrong_at(wrong, name) }.line())
                    }
                }
                (Field { name: "tags", label: "All with one of these tags", hint: "With commas between.", value: &typed.tags, wrong: wrong_at(wrong, "tags") }.line())
                (Field { name: "time_zone", label: "Time zone", hint: "Where days begin, for instance Europe/Berlin. It counts from when it is saved.", value: &typed.time_zone, wrong: wrong_at(wrong, "time_zone") }.line())
                div.actions {
                    button.button type="submit" name="look" value="yes" { "Show what would stay and go" }
                    a.button.quiet href=(path) { "Back" }
                }
            }
            @if let Some(preview) = preview { (planned(preview, now)) (keep(viewer, &here, typed)) }
            section.card {
                h2 { "Or keep everything" }
                p { "No snapshot is ever removed by a rule. The disk fills in time." }
                (parts::button(viewer, &here, &[("everything", "yes"), ("time_zone", &kept.time_zone), ("back", &here)], "Keep every snapshot", parts::Weight::Quiet))
            }
        }
    };
    let page = Page::new(format!("What is kept of {}", collection.name), Here::Schedules);
    page.below("/schedules", "Schedules").below(path.clone(), collection.name.clone()).show(plane, viewer, main).await
}

/// Saves what was looked at.
fn keep(viewer: &Viewer, here: &str, typed: &Typed) -> Markup {
    let mut fields: Vec<(&str, &str)> = typed.numbers().into_iter().map(|(name, _, value)| (name, value)).collect();
    fields.extend([("tags", typed.tags.as_str()), ("time_zone", typed.time_zone.as_str()), ("back", here)]);
    parts::button(viewer, here, &fields, "Save it so", parts::Weight::First)
}

/// What becomes of each snapshot.
fn planned(preview: &PreviewView, now: Timestamp) -> Markup {
    let rows: Vec<Vec<Markup>> = preview
        .snapshots
        .iter()
        .rev()
        .take(LISTED)
        .map(|one| {
            let (light, word) = if one.goes { (Light::Care, "goes") } else { (Light::Good, "stays") };
            vec![
                html! { "@" (one.sequence) },
                parts::moment(one.created_at, now),
                parts::light(light, word),
                html! { @if one.goes { span.soft { "no rule keeps it" } } @else { (one.reasons.join(", ")) } },
            ]
        })
        .collect();
    let caption = match preview.removed {
        0 => format!("All {} stay", count(preview.snapshots.len() as u64, "snapshot")),
        removed => format!(
            "{removed} of {} would go, and free {}",
            count(preview.snapshots.len() as u64, "snapshot"),
            bytes(preview.freed_bytes)
        ),
    };
    html! {
        section.card #preview {
            (parts::table(&caption, &["Number", "Made", "What becomes of it", "Why"], &rows))
            @if preview.snapshots.len() > LISTED { p.small.soft { "The newest " (LISTED) " are shown." } }
        }
    }
}
