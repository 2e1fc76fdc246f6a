//! What goes through the two planes, counted: answers by route and status, how long they took, connections that are open.
//!
//! A route is the template that matched, never the path that was asked for, and a method that is none of the usual ones is `other`:
//! strangers cannot make more lines than there are routes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Method, StatusCode};

/// Upper ends of the classes of durations, in seconds; what takes longer is in none.
pub const CLASSES: [f64; 9] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// One of the two planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plane {
    /// What peers ask.
    Peer,
    /// What the owner asks.
    Admin,
}

impl Plane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Peer, Self::Admin];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Admin => "admin",
        }
    }
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// On which plane.
    pub plane: Plane,
    /// How.
    pub method: &'static str,
    /// By which route; `none` if none matched.
    pub route: String,
}

impl Asked {
    /// A request to a route.
    pub fn new(plane: Plane, method: &Method, route: Option<&str>) -> Self {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other");
        Self { plane, method, route: route.unwrap_or("none").to_owned() }
    }
}

/// How often something was answered, and how long that took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answered {
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Answers by the first class that they fit into.
    pub classes: [u64; CLASSES.len()],
    /// All of them.
    pub number: u64,
    /// How long they took together, from the head of the request to the head of the answer, in seconds.
    pub seconds: f64,
}

/// The counts. Cheap to clone: all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    answered: Mutex<BTreeMap<Asked, Answered>>,
    open: [OpenConnections; Plane::ALL.len()],
}

impl Traffic {
    /// Counts an answer.
    pub fn note(&self, asked: Asked, status: StatusCode, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut all = self.answered();
        let answered = all.entry(asked).or_default();
        *answered.by_status.entry(status.as_u16()).or_default() += 1;
        if let Some(class) = CLASSES.iter().position(|end| seconds <= *end) {
            answered.classes[class] += 1;
        }
        answered.number += 1;
        answered.seconds += seconds;
    }

    /// What was answered until now.
    pub fn until_now(&self) -> BTreeMap<Asked, Answered> {
        self.answered().clone()
    }

    /// Where the open connections of a plane are counted.
    pub fn open(&self, plane: Plane) -> &OpenConnections {
        &self.0.open[plane as usize]
    }

    fn answered(&self) -> MutexGuard<'_, BTreeMap<Asked, Answered>> {
        self.0.answered.lock().expect("no holder of this lock can panic")
    }
}

/// Counts connections as long as they are open.
#[derive(Debug, Clone, Default)]
pub struct OpenConnections(Arc<AtomicU64>);

impl OpenConnections {
    /// How many there are.
    pub fn number(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, until the answer is dropped.
    pub fn one(&self) -> OpenConnection {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(&self.0))
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct OpenConnection(Arc<AtomicU64>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
