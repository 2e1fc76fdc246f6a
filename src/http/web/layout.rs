//! What stands around every page: the skip link, the name of the instance, the menu, what the page is about, and the version.

use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::error::Amiss;
use super::parts::{Weight, button, crumbs};
use super::viewer::Viewer;
use crate::domain::text::shown;
use crate::http::admin::AdminPlane;

/// Which entry of the menu a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// How everything is.
    Overview,
    /// Who holds copies.
    Peers,
    /// Places that copies go to.
    Targets,
    /// What was done.
    Runs,
    /// What is done when.
    Schedules,
    /// What is wrong.
    Alerts,
    /// What must not be lost.
    Keys,
    /// Who did what.
    Audit,
    /// How it is set up.
    Settings,
}

impl Here {
    /// The menu, in its order. An entry stands here once its page is there.
    const MENU: [Self; 9] = [
        Self::Overview,
        Self::Runs,
        Self::Peers,
        Self::Targets,
        Self::Schedules,
        Self::Alerts,
        Self::Keys,
        Self::Audit,
        Self::Settings,
    ];

    /// Its words and its path.
    fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("Overview", "/"),
            Self::Peers => ("Peers", "/peers"),
            Self::Targets => ("Targets", "/targets"),
            Self::Runs => ("Runs", "/runs"),
            Self::Schedules => ("Schedules", "/schedules"),
            Self::Alerts => ("Alerts", "/alerts"),
            Self::Keys => ("Keys and recovery", "/keys"),
            Self::Audit => ("Audit", "/audit"),
            Self::Settings => ("Settings", "/settings"),
        }
    }
}

/// A page before it is shown.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    here: Here,
    crumbs: Vec<(String, String)>,
    live: bool,
    refreshed: bool,
}

impl Page {
    /// A page with this heading, under this entry of the menu.
    pub fn new(title: impl Into<String>, here: Here) -> Self {
        Self { title: shown(&title.into()), here, crumbs: Vec::new(), live: false, refreshed: false }
    }

    /// Says where the page is: a page above it, the outermost first.
    pub fn below(mut self, path: impl Into<String>, title: impl Into<String>) -> Self {
        self.crumbs.push((path.into(), shown(&title.into())));
        self
    }

    /// The page has something that changes by itself: an element with `data-live`. Without it no page loads the script.
    pub fn live(self) -> Self {
        Self { live: true, ..self }
    }

    /// Where no scripts run, the page loads itself again every five seconds.
    pub fn refreshed(self) -> Self {
        Self { refreshed: true, ..self }
    }

    /// The whole document.
    ///
    /// # Errors
    /// [`Amiss`] if the index cannot be asked what is wrong now.
    pub async fn show(self, plane: &AdminPlane, viewer: &Viewer, main: Markup) -> Result<Markup, Amiss> {
        let wrong = plane.store().index.alerts().await?.iter().filter(|known| known.over_at.is_none()).count();
        let name = shown(&plane.store().keys.name);
        let body = html! {
            header.bar {
                a.brand href="/" { span.mark aria-hidden="true" {} "Bulbil" }
                span.instance { span.unseen { "Instance " } (name) }
                a.menu-open href="#menu" { "Menu" }
            }
            div.frame {
                nav #menu aria-label="Main" {
                    ul {
                        @for here in Here::MENU {
                            @let (words, path) = here.entry();
                            li {
                                a href=(path) aria-current=[(here == self.here).then_some("page")] {
                                    (words)
                                    @if here == Here::Alerts && wrong > 0 {
                                        " " span.badge { (wrong) span.unseen { " open" } }
                                    }
                                }
                            }
                        }
                    }
                    div.leave { (button(viewer, "/logout", &[], "Log out", Weight::Quiet)) }
                    a.menu-close href="#main" { "Close the menu" }
                }
                main #main tabindex="-1" {
                    (crumbs(&self.crumbs, &self.title))
                    h1 { (self.title) }
                    (main)
                }
            }
            (footer())
        };
        Ok(document(&format!("{} · {name}", self.title), (self.live, self.refreshed), &body))
    }
}

/// A page for somebody who has not shown who they are: no menu, and nothing of this instance.
pub fn bare(title: &str, main: &Markup) -> Markup {
    let body = html! {
        header.bar { span.brand { span.mark aria-hidden="true" {} "Bulbil" } }
        main #main.narrow tabindex="-1" {
            h1 { (title) }
            (main)
        }
        (footer())
    };
    document(title, (false, false), &body)
}

fn footer() -> Markup {
    html! {
        footer { "Bulbil " (env!("CARGO_PKG_VERSION")) }
    }
}

fn document(title: &str, (live, refreshed): (bool, bool), body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Bulbil" }
                link rel="icon" type="image/png" href=(assets::icon());
                link rel="stylesheet" href=(assets::style());
                @if refreshed { noscript { meta http-equiv="refresh" content="5"; } }
                @if live { script src=(assets::script()) defer {} }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (body)
            }
        }
    }
}
