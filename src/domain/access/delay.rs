//! Guessing a password takes longer each time: some attempts are free, then each failure doubles the time until the next one.
//!
//! Nobody is shut out for ever: the time has a limit, and who has the machine needs no attempt.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// So many failures cost nothing: people mistype.
const FREE: u32 = 3;
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row, and when the next attempt may be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delay {
    failures: u32,
    next_at: Option<Timestamp>,
}

impl Delay {
    /// Begins an attempt. It counts as a failure until [`succeeded`](Self::succeeded) says otherwise, so that many at once are not free.
    ///
    /// # Errors
    /// How long to wait, at least a second.
    pub fn attempt(&mut self, now: Timestamp) -> Result<(), Duration> {
        if let Some(next_at) = self.next_at
            && next_at > now
        {
            let left = Duration::try_from(next_at.duration_since(now)).unwrap_or_default();
            if left > LONGEST {
                // The clock was set back, which makes it no longer.
                self.next_at = after(now, LONGEST);
            }
            return Err(left.clamp(Duration::from_secs(1), LONGEST));
        }
        self.failures = self.failures.saturating_add(1);
        let wait = match self.failures.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(beyond) => Duration::from_secs(1 << beyond.min(16)).min(LONGEST),
        };
        self.next_at = if wait.is_zero() { None } else { after(now, wait) };
        Ok(())
    }

    /// The attempt was right.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }
}

fn after(now: Timestamp, wait: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(wait).expect("minutes fit")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_makes_the_next_one_later_up_to_a_limit() {
        let mut delay = Delay::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut waits = Vec::new();
        for _ in 0..14 {
            delay.attempt(now).unwrap();
            let wait = delay.clone().attempt(now).err().map_or(0, |wait| wait.as_secs());
            waits.push(wait);
            now = now.checked_add(SignedDuration::from_secs(wait as i64)).unwrap();
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        delay.attempt(now).unwrap();
        delay.succeeded();
        assert!((0..3).all(|_| delay.attempt(now).is_ok()));
        assert!(delay.attempt(now).is_err());
        // A clock that was set back a year costs no year.
        let before = now.checked_sub(SignedDuration::from_hours(8760)).unwrap();
        assert_eq!(delay.attempt(before), Err(LONGEST));
        let then = before.checked_add(SignedDuration::try_from(LONGEST).unwrap()).unwrap();
        assert_eq!(delay.attempt(then), Ok(()));
        // Nor does it after what cost nothing.
        let mut delay = Delay::default();
        delay.attempt(now).unwrap();
        assert_eq!(delay.attempt(before), Ok(()));
    }
}
