//! How fast it goes: the rate of one stream, and whether one more circuit would help.

use std::time::Duration;

/// What came so long ago weighs a third.
const MEMORY: f64 = 8.0;
/// A rate is told over at least so much time: the first burst says little.
const YOUNGEST: f64 = 1.0;
/// Steps in a row without a rise, after which no circuit is added any more.
const MISSES: u32 = 2;

/// The rate of a stream: what came lately weighs most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    since: Duration,
    at: Duration,
    weighed: f64,
}

impl Meter {
    pub(super) fn new(now: Duration) -> Self {
        Self { since: now, at: now, weighed: 0.0 }
    }

    pub(super) fn add(&mut self, bytes: u64, now: Duration) {
        self.weighed = self.weighed * fading(self.at, now) + bytes as f64;
        self.at = self.at.max(now);
    }

    /// Bytes in a second.
    pub(super) fn rate(&self, now: Duration) -> f64 {
        let age = now.saturating_sub(self.since).as_secs_f64().max(YOUNGEST);
        self.weighed * fading(self.at, now) / (MEMORY * (1.0 - (-age / MEMORY).exp()))
    }

    /// Goes on after a pause, which does not count.
    pub(super) fn resume(&mut self, now: Duration) {
        let paused = now.saturating_sub(self.at);
        self.since += paused;
        self.at = self.at.max(now);
    }

    /// The rate when it was last heard of.
    pub(super) fn last_rate(&self) -> f64 {
        self.rate(self.at)
    }
}

fn fading(from: Duration, to: Duration) -> f64 {
    (-to.saturating_sub(from).as_secs_f64() / MEMORY).exp()
}

/// Whether to add a circuit: as long as the total rises. A step that brings too little is given one more try, since two
/// measurements on a jittery line differ by themselves.
#[derive(Debug, Default)]
pub(super) struct Ramp {
    best: f64,
    misses: u32,
    mark: Option<(Duration, u64)>,
}

impl Ramp {
    pub(super) fn is_done(&self) -> bool {
        self.misses >= MISSES
    }

    /// Tells that all circuits send, and how much came until now. Whether another one is worth a try.
    pub(super) fn measure(&mut self, received: u64, now: Duration, over: Duration, rise: f64) -> bool {
        let (since, before) = *self.mark.get_or_insert((now, received));
        let took = now.saturating_sub(since);
        if self.is_done() || took < over || took.is_zero() {
            return false;
        }
        let rate = received.saturating_sub(before) as f64 / took.as_secs_f64();
        self.mark = None;
        if rate >= self.best * rise {
            self.best = rate;
            self.misses = 0;
        } else {
            self.misses += 1;
        }
        !self.is_done()
    }

    /// Not all circuits send: what was measured so far says nothing.
    pub(super) fn interrupt(&mut self) {
        self.mark = None;
    }

    /// The peers have changed: measure anew.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }
}
