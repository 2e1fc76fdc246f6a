//! Proves to each trusted peer that is followed that we keep its snapshots: some minutes after the start, then once a day.
//!
//! The index is read at each step. Peers are proved to one after the other: all that a proof costs is reading, and nothing waits
//! for it. A failure is tried again soon, and later each time; a peer of a version that asks for no proofs is asked the next day.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::id::InstanceId;
use crate::domain::peer::Trust;
use crate::replicate::call::CallError;
use crate::replicate::prove::{Proving, prove};
use crate::replicate::pull::{PullError, Puller};
use crate::store::{IndexError, entropy};

/// How often the index is looked at.
const STEP: Duration = Duration::from_secs(60);
/// The first proof comes so long after the start, give or take a half.
const FIRST: Duration = Duration::from_secs(600);
/// The next one after this, give or take a tenth.
const DAILY: Duration = Duration::from_secs(86_400);
/// The pause after a first failure, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(6 * 3600));

/// Proves to peers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prover {
    puller: Puller,
    first: Duration,
}

/// When a peer is proved to next.
#[derive(Debug, Clone, Copy)]
struct Turn {
    due: Instant,
    failures: u32,
}

impl Prover {
    /// Proves what is kept in the repository of `puller`.
    pub fn new(puller: Puller) -> Self {
        Self { puller, first: FIRST }
    }

    /// The same with another time before the first proof.
    #[must_use]
    pub fn with_first(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// Runs until cancelled. May be dropped at any point.
    pub async fn run(self, cancel: CancellationToken) {
        let mut turns = HashMap::new();
        while !cancel.is_cancelled() {
            if let Err(error) = self.step(&mut turns, &cancel).await {
                tracing::error!(%error, "proving stopped; it tries again");
            }
            let _ = cancel.run_until_cancelled(tokio::time::sleep(STEP)).await;
        }
    }

    /// Proves to those whose turn it is.
    async fn step(&self, turns: &mut HashMap<InstanceId, Turn>, cancel: &CancellationToken) -> Result<(), IndexError> {
        let mut peers = self.puller.store().index.peers().await?;
        peers.retain(|peer| matches!(peer.trust, Trust::Trusted(_)) && peer.follow && peer.address.is_some());
        turns.retain(|id, _| peers.iter().any(|peer| peer.id == *id));
        for peer in peers {
            let first = || Turn { due: Instant::now() + spread(self.first, 0.5), failures: 0 };
            let turn = turns.entry(peer.id).or_insert_with(first);
            if turn.due > Instant::now() || cancel.is_cancelled() {
                continue;
            }
            let proved = prove(&self.puller, &peer, cancel).await;
            match &proved {
                Ok(Proving { lacking: 0, .. }) | Err(PullError::Cancelled) => {}
                Ok(Proving { sampled, lacking, .. }) => {
                    tracing::warn!(peer.id = %peer.id, sampled, lacking, "a part of what is kept of a peer is lost here");
                }
                Err(error) => tracing::info!(peer.id = %peer.id, %error, "a peer heard no proof; it is tried again"),
            }
            turn.failures = if proved.is_ok() { 0 } else { turn.failures.saturating_add(1) };
            turn.due = Instant::now() + pause(&proved, turn.failures);
        }
        Ok(())
    }
}

/// How long until a peer is proved to again.
fn pause(proved: &Result<Proving, PullError>, failures: u32) -> Duration {
    match proved {
        // It becomes whole at any moment.
        Ok(Proving { claimed: 0, .. }) => spread(FIRST, 0.5),
        Ok(_) => spread(DAILY, 0.1),
        Err(error) => {
            let doubled = PAUSES.0 * (1 << failures.saturating_sub(1).min(10));
            let least = match error {
                PullError::Call { cause: CallError::Busy { retry_after: Some(wait), .. }, .. } => *wait,
                _ => Duration::ZERO,
            };
            spread(doubled.min(PAUSES.1), 0.1).max(least.min(PAUSES.1))
        }
    }
}

/// A duration, give or take a part of it.
fn spread(duration: Duration, part: f64) -> Duration {
    let drawn = f64::from(rand_core::Rng::next_u32(&mut entropy())) / f64::from(u32::MAX);
    duration.mul_f64(1.0 - part + 2.0 * part * drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(seconds: u64) -> PullError {
        let cause = CallError::Busy { retry_after: Some(Duration::from_secs(seconds)), title: String::new() };
        PullError::Call { peer: "alpha".to_owned(), cause }
    }

    #[test]
    fn once_a_day_and_after_a_failure_soon_and_later_each_time() {
        let hours = |proved: &Result<Proving, PullError>, failures| pause(proved, failures).as_secs_f64() / 3600.0;
        let proved = Ok(Proving { claimed: 1, ..Proving::default() });
        let earlier_version = Ok(Proving { claimed: 1, not_asked: true, ..Proving::default() });
        assert!((21.5..26.5).contains(&hours(&proved, 0)) && (21.5..26.5).contains(&hours(&earlier_version, 0)));
        assert!(hours(&Ok(Proving::default()), 0) < 0.3, "nothing is whole yet");
        assert!(hours(&Err(PullError::Cancelled), 1) < 0.1);
        assert!(hours(&Err(PullError::Cancelled), 4) > hours(&Err(PullError::Cancelled), 2));
        assert!((5.3..6.7).contains(&hours(&Err(PullError::Cancelled), u32::MAX)));
        assert!(hours(&Err(busy(3600)), 1) >= 1.0 && hours(&Err(busy(u64::MAX)), 1) <= 6.0);
    }
}
