//! What the line to a peer has been like lately: for people, and for deciding how much to ask for at once.

use std::time::Duration;

use tokio::time::Instant;

/// After so much time of transfer, what was before counts half.
const HALF_LIFE: Duration = Duration::from_secs(30);
/// How much a new measurement weighs against the average so far: 1 to so many.
const WEIGHT: u32 = 4;

/// Averages; `None` before anything was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quality {
    /// How long it takes to connect.
    pub connect: Option<Duration>,
    /// How long it takes from a request to the head of its answer.
    pub latency: Option<Duration>,
    /// Bytes of bodies in a second, over all connections together.
    pub bytes_per_second: Option<u64>,
}

/// Measures.
#[derive(Debug, Default)]
pub(super) struct Meter {
    connect: Option<Duration>,
    latency: Option<Duration>,
    bytes: u64,
    busy: Duration,
    /// Bodies that are being read, and since when time was counted for them.
    reading: usize,
    since: Option<Instant>,
}

impl Meter {
    pub(super) fn connected(&mut self, took: Duration) {
        self.connect = Some(average(self.connect, took));
    }

    pub(super) fn answered(&mut self, took: Duration) {
        self.latency = Some(average(self.latency, took));
    }

    /// A body begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.count_time(now);
        self.reading += 1;
        self.since = Some(now);
    }

    /// Some of a body came.
    pub(super) fn read(&mut self, bytes: usize, now: Instant) {
        self.count_time(now);
        self.bytes += bytes as u64;
        if self.busy > HALF_LIFE {
            self.busy /= 2;
            self.bytes /= 2;
        }
    }

    /// A body has ended, or was dropped.
    pub(super) fn end(&mut self, now: Instant) {
        self.count_time(now);
        self.reading = self.reading.saturating_sub(1);
        if self.reading == 0 {
            self.since = None;
        }
    }

    pub(super) fn quality(&self) -> Quality {
        let millis = self.busy.as_millis() as u64;
        let rate = (millis > 0 && self.bytes > 0).then(|| self.bytes.saturating_mul(1000) / millis);
        Quality { connect: self.connect, latency: self.latency, bytes_per_second: rate }
    }

    fn count_time(&mut self, now: Instant) {
        if let Some(since) = self.since.replace(now).filter(|_| self.reading > 0) {
            self.busy += now.saturating_duration_since(since);
        }
    }
}

fn average(so_far: Option<Duration>, new: Duration) -> Duration {
    so_far.map_or(new, |so_far| (so_far * (WEIGHT - 1) + new) / WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_side_by_side_share_the_time() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut meter = Meter::default();
        assert_eq!(meter.quality(), Quality::default());
        meter.begin(at(0));
        meter.begin(at(0));
        meter.read(1000, at(500));
        meter.end(at(500));
        meter.read(1000, at(1000));
        meter.end(at(1000));
        // Nothing is read now: the time does not count.
        meter.begin(at(9000));
        meter.end(at(9000));
        assert_eq!(meter.quality().bytes_per_second, Some(2000));
    }

    #[test]
    fn one_slow_answer_does_not_make_the_average() {
        let mut meter = Meter::default();
        for ms in [100, 100, 500] {
            meter.answered(Duration::from_millis(ms));
        }
        assert_eq!(meter.quality().latency, Some(Duration::from_millis(200)));
    }
}
