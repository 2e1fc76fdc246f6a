//! What a recovery did, for people and for programs: each step with its time, what was chosen and why, and what is left to do.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::RecoverError;
use super::candidates::Candidate;
use super::places::LeftBehind;
use super::stage::Tried;
use crate::backup::create::moment;
use crate::domain::content::Report as Content;
use crate::domain::id::ManifestId;
use crate::domain::text::paths;
use crate::store::{Store, write_private};

/// How it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Only looked at.
    #[default]
    Planned,
    /// What was chosen is in place.
    Recovered,
    /// One that had been interrupted was brought to its end.
    Finished,
    /// The live tree is as it was.
    Unchanged,
}

/// A step, when it began, how long it took, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// How long, in seconds.
    pub seconds: f64,
    /// What, and what came of it.
    pub what: String,
}

/// Which snapshot was taken.
#[derive(Debug, Clone, Serialize)]
pub struct Chosen {
    /// Which one.
    pub snapshot: ManifestId,
    /// Its number.
    pub sequence: u64,
    /// Why this one.
    pub why: String,
}

/// What the application said of itself.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Where it was asked.
    pub url: String,
    /// Its last answer: an HTTP status; none if there was none.
    pub status: Option<u16>,
    /// What that means.
    pub means: String,
    /// It is up.
    pub up: bool,
}

/// A recovery.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The format: `bulbil-recovery/1`.
    pub format: &'static str,
    /// Of which collection.
    pub collection: String,
    /// When it began.
    pub started_at: Timestamp,
    /// What the names of what it keeps and writes end with.
    #[serde(skip)]
    pub stamp: String,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How it ended.
    pub ending: Ending,
    /// Why it did not come further.
    pub error: Option<String>,
    /// Snapshots, the newest first.
    pub candidates: Vec<Candidate>,
    /// Which was taken.
    pub chosen: Option<Chosen>,
    /// What took its place.
    #[serde(serialize_with = "paths::all")]
    pub replaced: Vec<PathBuf>,
    /// Where what was there before is kept.
    #[serde(serialize_with = "paths::all")]
    pub damaged: Vec<PathBuf>,
    /// What is not in the new tree.
    pub left_behind: Vec<LeftBehind>,
    /// What stays as it is although the snapshot does not have it.
    pub untouched: Vec<String>,
    /// What came over from the old one.
    #[serde(serialize_with = "paths::all")]
    pub carried: Vec<PathBuf>,
    /// Sessions that were emptied.
    #[serde(serialize_with = "paths::all")]
    pub emptied: Vec<PathBuf>,
    /// What was found of the snapshot before it took its place.
    pub staged: Option<Tried>,
    /// What the rules say of the live tree afterwards.
    pub live: Option<Content>,
    /// What the application said of itself afterwards.
    pub health: Option<Health>,
    /// What speaks against it, or is worth knowing.
    pub warnings: Vec<String>,
    /// Each step.
    pub steps: Vec<Step>,
    /// What failed when everything was in place.
    pub failures: Vec<String>,
    /// What is left to do.
    pub next: Vec<String>,
}

impl Report {
    /// One that begins now.
    pub fn new(collection: &str, now: Timestamp) -> Self {
        Self {
            format: "bulbil-recovery/1",
            collection: collection.to_owned(),
            started_at: now,
            stamp: String::new(),
            ended_at: now,
            ending: Ending::Planned,
            error: None,
            candidates: Vec::new(),
            chosen: None,
            replaced: Vec::new(),
            damaged: Vec::new(),
            left_behind: Vec::new(),
            untouched: Vec::new(),
            carried: Vec::new(),
            emptied: Vec::new(),
            staged: None,
            live: None,
            health: None,
            warnings: Vec::new(),
            steps: Vec::new(),
            failures: Vec::new(),
            next: Vec::new(),
        }
    }

    /// What is not as it should be although what was chosen is in place.
    pub fn problems(&self) -> Vec<String> {
        let mut out = [self.untouched.clone(), self.failures.clone()].concat();
        if let Some(health) = self.health.as_ref().filter(|health| !health.up) {
            let said = health.status.map_or_else(String::new, |status| format!("it answers {status}: "));
            out.push(format!("the data is in place; the application is not up: {said}{}", health.means));
        }
        let reasons = self.live.as_ref().filter(|live| live.errors > 0);
        out.extend(reasons.into_iter().flat_map(|live| live.reasons(10)));
        out
    }

    /// Writes it into the home, as JSON and as text, for its owner alone; where both are.
    ///
    /// # Errors
    /// [`RecoverError::Io`].
    pub fn write(&self, store: &Store) -> Result<Vec<PathBuf>, RecoverError> {
        let json = serde_json::to_vec_pretty(self).expect("a report has no maps with odd keys, and its paths are text");
        let places = Self::places(store, &self.collection, &self.stamp);
        for (path, bytes) in places.iter().zip([self.in_words().into_bytes(), json]) {
            write_private(path, &bytes).map_err(|cause| RecoverError::io("write", path, cause))?;
        }
        Ok(places.into())
    }

    /// Where both are: the text, then the JSON.
    pub(super) fn places(store: &Store, collection: &str, stamp: &str) -> [PathBuf; 2] {
        let folder = store.home.root().join("reports");
        ["txt", "json"].map(|end| folder.join(format!("recover-{collection}-{stamp}.{end}")))
    }

    /// For people.
    pub fn in_words(&self) -> String {
        let mut out =
            vec![format!("Recovery of {}, begun {}", self.collection, moment(self.started_at)), String::new()];
        out.push(match self.ending {
            Ending::Planned => "Nothing was done.".to_owned(),
            Ending::Recovered => "What was chosen is in place.".to_owned(),
            Ending::Finished => "A recovery that had been interrupted was brought to its end.".to_owned(),
            Ending::Unchanged => "The live data is as it was.".to_owned(),
        });
        out.extend(self.error.iter().map(|error| format!("It ended with: {error}")));
        if let Some(chosen) = &self.chosen {
            out.push(format!("Chosen: snapshot {} ({}): {}", chosen.sequence, chosen.snapshot.short(), chosen.why));
        }
        let passed = self.candidates.iter().filter_map(|one| Some((one, one.passed_over.as_ref()?)));
        out.extend(passed.map(|(one, why)| format!("Passed over: snapshot {}: {why}", one.sequence)));
        out.extend(self.damaged.iter().map(|path| format!("What was there before: {}", path.display())));
        out.push(String::new());
        for step in &self.steps {
            out.push(format!("{}  {:>7.1} s  {}", moment(step.at), step.seconds, step.what));
        }
        out.push(String::new());
        let mut list = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                out.push(title.to_owned());
                out.extend(lines.into_iter().map(|line| format!("  {line}")));
            }
        };
        list("Warnings:", self.warnings.clone());
        list("Failed:", self.failures.clone());
        list("In place:", self.replaced.iter().map(|path| path.display().to_string()).collect());
        list("Not brought over:", self.left_behind.iter().map(|one| format!("{}: {}", one.path, one.why)).collect());
        list("Left as it was:", self.untouched.clone());
        list("Came over from before:", self.carried.iter().map(|path| path.display().to_string()).collect());
        list("Emptied:", self.emptied.iter().map(|path| path.display().to_string()).collect());
        if let Some(live) = &self.live {
            list(
                &format!("Check of the live data: {} errors, {} warnings", live.errors, live.warnings),
                live.reasons(20),
            );
        }
        if let Some(health) = &self.health {
            let status = health.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            list("The application says:", vec![format!("{status}: {}", health.means)]);
        }
        list("What to do next:", self.next.clone());
        out.push(String::new());
        out.join("\n")
    }
}
