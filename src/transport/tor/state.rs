//! How far the client is, in words.

use std::sync::atomic::Ordering;

use super::Tor;
use crate::transport::onions::Bootstrap;

impl Tor {
    /// How far the client is.
    pub fn bootstrap(&self) -> Bootstrap {
        let status = self.inner.client.bootstrap_status();
        let (doing, clock) = split(&status.to_string());
        Bootstrap {
            percent: (status.as_frac() * 100.0).round().clamp(0.0, 100.0) as u8,
            ready: self.inner.came_up.load(Ordering::Relaxed) || status.ready_for_traffic(),
            doing,
            blocked: status.blocked().map(|blockage| blockage.to_string()),
            clock,
        }
    }
}

/// arti tells the clock's fault at the end of its sentence: "45%: connecting; … . Clock is fast by around 7m".
fn split(text: &str) -> (String, Option<String>) {
    let (doing, clock) = match text.split_once(". Clock is ") {
        Some((doing, clock)) => (doing, Some(clock)),
        None => (text, None),
    };
    let doing = doing.split_once("%: ").map_or(doing, |(_, doing)| doing);
    // "(based on 3 recent observations, …)" is for a log.
    let clock = clock.map(|clock| clock.split(" (").next().unwrap_or(clock).to_owned());
    (doing.to_owned(), clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_said_apart() {
        let text = "45%: connecting successfully; directory is fetching. Clock is fast by around 7m (based on 3 recent observations, with high confidence)";
        let (doing, clock) = split(text);
        assert_eq!(doing, "connecting successfully; directory is fetching");
        assert_eq!(clock.as_deref(), Some("fast by around 7m"));
        assert_eq!(split("Stuck at 0%: We seem to be offline (x)").0, "We seem to be offline (x)");
    }
}
