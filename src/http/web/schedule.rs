//! `/collections/{name}/schedule`: what is done by itself for a collection, and how much of it may be lost.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::cron;
use super::forms::Field;
use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::typed::{Wrong, amount, amount_text, done, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::backup::select;
use crate::domain::schedule::{Pattern, Work};
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::view::schedule::ScheduleView;
use crate::http::admin::{AdminPlane, SetSchedule, SetUpkeep, UpkeepView};
use crate::http::problem::Problem;
use crate::store::index::Collection;
use crate::worker::schedule::zone;

const MINUTE: u64 = 60;

/// Something that many want: a word, what it is called, when backups are made, and how many hours may be lost.
const PRESETS: [(&str, &str, &str, u32); 3] = [
    ("nightly", "Every night at 02:30", "30 2 * * *", 26),
    ("often", "Every six hours", "15 */6 * * *", 7),
    ("hourly", "Every hour", "5 * * * *", 2),
];
/// What goes with each of them.
const BESIDE: [(Work, &str); 2] = [(Work::Verify, "0 4 * * 0"), (Work::Drill, "0 5 1 * *")];

/// What is done, in words.
pub(super) fn what(work: Work) -> &'static str {
    match work {
        Work::Backup => "Back up",
        Work::Verify => "Verify the structure",
        Work::VerifyData => "Verify every byte",
        Work::Check => "Check the live folders",
        Work::Prune => "Remove what is not to be kept",
        Work::Drill => "Try a restore",
        Work::Copy => "Copy to targets",
    }
}

/// When, in words.
pub(super) fn when(one: &ScheduleView) -> Markup {
    html! {
        @match cron::in_words(&one.cron) { Some(words) => { (words) }, None => { code { (one.cron) } } }
        " " span.small.soft {
            (one.time_zone.as_deref().unwrap_or("time of this machine"))
            @if one.jitter_seconds > 0 { ", up to " (amount_text(Some(one.jitter_seconds.into()), MINUTE)) " min later" }
        }
    }
}

/// Why it cannot be kept.
pub(super) fn contradiction(upkeep: &UpkeepView) -> Option<String> {
    let why = upkeep.contradiction.as_deref()?;
    // On a page there are no options.
    Some(format!("{}.", why.strip_suffix(" with --rpo").unwrap_or(why)))
}

/// How the page is asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    preset: Option<String>,
    done: Option<String>,
}

/// Fields by their names: `backup-cron`, `backup-zone`, `backup-jitter`, and so on; `rpo`.
type Typed = BTreeMap<String, String>;

fn field(work: Work, part: &str) -> String {
    format!("{}-{part}", work.word())
}

fn text<'a>(typed: &'a Typed, name: &str) -> &'a str {
    typed.get(name).map_or("", |text| text.trim())
}

/// What is scheduled.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Amiss> {
    let collection = select::collection(plane.store(), &name).await.map_err(Problem::from)?;
    let mut typed = as_it_is(&plane.upkeep(&collection).await?);
    let preset = PRESETS.iter().find(|(word, ..)| Some(*word) == asked.preset.as_deref());
    if let Some((_, _, backup, hours)) = preset {
        let beside = BESIDE.iter().filter(|(work, _)| !typed.contains_key(&field(*work, "cron"))).copied();
        let wanted: Vec<_> = beside.chain([(Work::Backup, *backup)]).collect();
        typed.extend(wanted.into_iter().map(|(work, cron)| (field(work, "cron"), cron.to_owned())));
        typed.insert("rpo".to_owned(), hours.to_string());
    }
    let said = match (preset, asked.done.is_some()) {
        (Some(_), _) => Some("This is filled in below, and holds once you save it."),
        (None, true) => Some("Saved."),
        (None, false) => None,
    };
    show(&plane, &viewer, &collection, &typed, None, said).await
}

/// Says what is scheduled.
pub(super) async fn save(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Typed>,
) -> Result<Response, Amiss> {
    let Posted { session, form } = posted;
    let wrong = match wanted(&form) {
        Err(wrong) => wrong,
        Ok(set) => match plane.set_upkeep(&name, set, &session.caller()).await {
            Ok(_) => {
                let collection = select::collection(plane.store(), &name).await.map_err(Problem::from)?;
                return Ok(see_other(&format!("/collections/{}/schedule?done=yes", collection.name)));
            }
            Err(problem) => Wrong::told(problem)?,
        },
    };
    let collection = select::collection(plane.store(), &name).await.map_err(Problem::from)?;
    let page = show(&plane, &Viewer::from(session), &collection, &form, Some(&wrong), None).await?;
    Ok(wrong.answer(page).into_response())
}

fn as_it_is(upkeep: &UpkeepView) -> Typed {
    let mut typed = Typed::new();
    for one in &upkeep.schedules {
        typed.insert(field(one.kind, "cron"), one.cron.clone());
        typed.insert(field(one.kind, "zone"), one.time_zone.clone().unwrap_or_default());
        let jitter = Some(u64::from(one.jitter_seconds)).filter(|seconds| *seconds > 0);
        typed.insert(field(one.kind, "jitter"), amount_text(jitter, MINUTE));
    }
    typed.insert("rpo".to_owned(), upkeep.rpo_hours.map(|hours| hours.to_string()).unwrap_or_default());
    typed
}

fn wanted(typed: &Typed) -> Result<SetUpkeep, Wrong> {
    let mut schedules = Vec::new();
    for work in Work::ALL {
        let cron = text(typed, &field(work, "cron"));
        if cron.is_empty() {
            // What was typed beside it would be lost without a word.
            if ["zone", "jitter"].iter().any(|part| !text(typed, &field(work, part)).is_empty()) {
                return Err(Wrong::at(field(work, "cron"), "write when, or empty the fields beside it as well"));
            }
            continue;
        }
        cron.parse::<Pattern>().map_err(|error| Wrong::at(field(work, "cron"), error.to_string()))?;
        let in_zone = Some(text(typed, &field(work, "zone"))).filter(|zone| !zone.is_empty());
        zone(in_zone).map_err(|error| Wrong::at(field(work, "zone"), error.to_string()))?;
        let at = field(work, "jitter");
        let seconds = amount(&at, text(typed, &at), MINUTE)?.unwrap_or(0);
        let jitter = u32::try_from(seconds).ok().filter(|seconds| *seconds <= 86_400);
        schedules.push(SetSchedule {
            kind: work.word().to_owned(),
            cron: cron.to_owned(),
            time_zone: in_zone.map(str::to_owned),
            jitter_seconds: jitter.ok_or_else(|| Wrong::at(at, "at most a day: 1440 minutes"))?,
        });
    }
    let rpo_hours = match text(typed, "rpo") {
        "" => None,
        hours => {
            let number = hours.parse::<u32>().ok().filter(|hours| *hours > 0);
            Some(number.ok_or_else(|| Wrong::at("rpo", "write a number of hours, at least 1, or nothing"))?)
        }
    };
    Ok(SetUpkeep { schedules, rpo_hours })
}

async fn show(
    plane: &AdminPlane,
    viewer: &Viewer,
    collection: &Collection,
    typed: &Typed,
    wrong: Option<&Wrong>,
    said: Option<&str>,
) -> Result<Markup, Amiss> {
    let (now, upkeep) = (plane.now(), plane.upkeep(collection).await?);
    let here = collection.settings.is_some();
    let kinds = Work::ALL.into_iter().filter(|work| here || !matches!(work, Work::Backup | Work::Check));
    let path = format!("/collections/{}", collection.name);
    let hint = "The newest verified snapshot is never to be older than so many hours; an alert is raised if it is. Empty: nobody watches it.";
    let main = html! {
        div.stack {
            @if let Some(said) = said { (done(said)) }
            @if let Some(why) = contradiction(&upkeep) { (parts::trouble(Light::Bad, "The schedule cannot keep this", &why, None)) }
            @if here {
                section.card {
                    h2 { "What many want" }
                    p { "With a verification each week and a tried restore each month. It is filled in below, for you to look at and to save." }
                    div.actions {
                        @for (word, words, ..) in PRESETS { a.button.quiet href={ (path) "/schedule?preset=" (word) } { (words) } }
                    }
                }
            }
            (wrong_of_all(wrong))
            form.card method="post" action={ (path) "/schedule" } {
                (parts::csrf(viewer))
                p { "Five fields as for cron: minute, hour, day, month, weekday, like " code { "30 2 * * *" } " for every day at 02:30; or "
                    code { "@hourly" } ", " code { "@daily" } ", " code { "@weekly" } ", " code { "@monthly" } ". Empty: only by hand." }
                (Field { name: "rpo", label: "Hours that may be lost", hint, value: text(typed, "rpo"), wrong: wrong_at(wrong, "rpo") }.line())
                @for work in kinds { (fields(work, &upkeep, typed, wrong, now)) }
                div.actions { button.button type="submit" { "Save" } a.button.quiet href=(path) { "Back" } }
            }
        }
    };
    let page = Page::new(format!("Schedule of {}", collection.name), Here::Schedules);
    page.below("/schedules", "Schedules").below(path.clone(), collection.name.clone()).show(plane, viewer, main).await
}

fn fields(work: Work, upkeep: &UpkeepView, typed: &Typed, wrong: Option<&Wrong>, now: Timestamp) -> Markup {
    let (cron, zone, jitter) = (field(work, "cron"), field(work, "zone"), field(work, "jitter"));
    let next = upkeep.schedules.iter().find(|one| one.kind == work);
    html! {
        fieldset {
            legend { (what(work)) }
            p.small.soft {
                @match next {
                    None => { "Only by hand now." }
                    Some(one) => { "Now " (when(one)) "; next " (parts::moment_or(one.next_at, now, "never")) "." }
                }
            }
            div.trio {
                (Field { name: &cron, label: "When", hint: "As for cron", value: text(typed, &cron), wrong: wrong_at(wrong, &cron) }.line())
                (Field { name: &zone, label: "Time zone", hint: "Empty: this machine's", value: text(typed, &zone), wrong: wrong_at(wrong, &zone) }.line())
                (Field { name: &jitter, label: "Minutes late at most", hint: "Spread by chance", value: text(typed, &jitter), wrong: wrong_at(wrong, &jitter) }.line())
            }
        }
    }
}
