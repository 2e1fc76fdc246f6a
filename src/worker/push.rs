//! Listening to a followed peer: one request stays open at it (`GET /changes?wait=`), which it answers when it has news.
//!
//! So a new manifest is here one way after it was made, for one request a minute. What is heard is applied like any page of
//! the feed, and nothing is believed: an answer counts as news only if it brought snapshots that were not known. A peer that
//! answers early without any, or fails, again and again, is not listened to for an hour; until then each pause is twice the one
//! before. And nobody is listened to more often than once a second. So a peer can never make this a hot loop.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::visit::{Chunks, read};
use crate::domain::wire::messages::MAX_WAIT_SECONDS;
use crate::replicate::pull::{PullError, Puller, SyncReport};
use crate::store::index::Peer;

/// Peers that are listened to at once; the others are visited at the interval.
pub(super) const WAITS: usize = 64;
/// How long a peer may wait for news.
const WAIT: Duration = Duration::from_secs(MAX_WAIT_SECONDS);
/// From the beginning of one request to that of the next, at least.
const SHORTEST: Duration = Duration::from_secs(1);
/// The pause after a first answer that was no use.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// After so many in a row the peer is not listened to for a while.
const STRIKES: u32 = 5;
/// For so long.
const DEAF: Duration = Duration::from_secs(3600);

/// What came of listening.
pub(super) type Heard = Result<SyncReport, PullError>;

/// Listens once: until there is news and it is here, with keys and lists of chunks, or until the peer has nothing more to say.
pub(super) async fn listen(puller: &Puller, peer: &Peer, chunks: Chunks, cancel: &CancellationToken) -> Heard {
    read(puller, peer, WAIT, chunks, cancel).await
}

/// Whether a peer is listened to, and what is remembered of how that went.
#[derive(Debug, Default)]
pub(super) struct Ear {
    open: Option<(Instant, CancellationToken)>,
    /// Answers in a row that were no use.
    strikes: u32,
    not_before: Option<Instant>,
}

impl Ear {
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn may_open(&self, now: Instant) -> bool {
        self.open.is_none() && self.not_before.is_none_or(|at| at <= now)
    }

    /// Begins to listen; what is returned ends it, and is itself ended by `parent`.
    pub(super) fn open(&mut self, now: Instant, parent: &CancellationToken) -> CancellationToken {
        let cancel = parent.child_token();
        self.open = Some((now, cancel.clone()));
        cancel
    }

    /// Ends listening; it is over when [`heard`](Self::heard) is told so.
    pub(super) fn close(&self) {
        if let Some((_, cancel)) = &self.open {
            cancel.cancel();
        }
    }

    /// Remembers what came of it: when the peer may be listened to again.
    pub(super) fn heard(&mut self, heard: &Heard, now: Instant, spread: impl Fn(Duration) -> Duration) {
        let Some((since, _)) = self.open.take() else { return };
        let useful = match heard {
            Ok(report) => !report.new_snapshots.is_empty() || now.duration_since(since) >= WAIT / 2,
            Err(PullError::Cancelled) => return,
            Err(_) => false,
        };
        if useful {
            self.strikes = 0;
            self.not_before = Some(since + SHORTEST);
            return;
        }
        self.strikes += 1;
        let pause = FIRST_PAUSE * (1 << self.strikes.min(STRIKES));
        self.not_before = Some(now + spread(if self.strikes < STRIKES { pause } else { DEAF }));
        if self.strikes >= STRIKES {
            tracing::info!(
                strikes = self.strikes,
                "a peer does not wait for news: it is asked at the interval instead"
            );
            self.strikes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn early() -> Heard {
        Ok(SyncReport::default())
    }

    #[test]
    fn who_answers_early_without_news_is_left_alone_for_an_hour() {
        let (mut ear, never) = (Ear::default(), CancellationToken::new());
        let (start, mut now, mut requests) = (Instant::now(), Instant::now(), 0);
        while now < start + Duration::from_secs(7200) {
            if ear.may_open(now) {
                ear.open(now, &never);
                ear.heard(&early(), now, |pause| pause);
                requests += 1;
            }
            now += Duration::from_millis(100);
        }
        assert_eq!(requests, 10, "five in each hour");
    }

    #[test]
    fn an_answer_after_its_time_or_with_news_is_followed_by_the_next_request() {
        let (mut ear, never) = (Ear::default(), CancellationToken::new());
        let now = Instant::now();
        for _ in 0..20 {
            ear.open(now, &never);
            ear.heard(&early(), now + WAIT, |pause| pause);
            assert!(ear.may_open(now + WAIT));
        }
        let news =
            Ok(SyncReport { new_snapshots: vec![crate::domain::id::ManifestId::of(b"")], ..SyncReport::default() });
        ear.open(now, &never);
        ear.heard(&news, now, |pause| pause);
        assert!(!ear.may_open(now) && ear.may_open(now + SHORTEST), "at most once a second");
    }
}
