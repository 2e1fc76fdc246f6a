//! Round an item at which a peer fails.
//!
//! A real instance answers 500 for the whole list if one item in it does not open over there. The list holds what changed after a
//! moment, so the latest moment at which it fails is searched, and what changed after that is taken.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};

use crate::axon::caller::{CallError, News};
use crate::domain::axon::moment;

/// The first moment that can be asked for.
pub(super) static FROM_THE_BEGINNING: LazyLock<Timestamp> =
    LazyLock::new(|| moment::parse("0001-01-01T00:00:00+00:00").expect("it is a moment"));
/// Beyond this nothing has changed over there, however its clock is set.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// How far back it is looked first; twelve times as far each time.
const FIRST_STEP: SignedDuration = SignedDuration::from_mins(20);
/// The moment is found to this.
const FINE: SignedDuration = SignedDuration::from_micros(200);
/// Questions at most.
const MAX_QUESTIONS: u32 = 60;

/// From which moment on a peer is asked; text form: the moment, and behind a space the one before which it fails, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// What changed after this is asked for.
    pub(super) since: Timestamp,
    /// From here on it answered the last time, and not from further back.
    narrowed: Option<Timestamp>,
}

impl Cursor {
    pub(super) fn parse(text: Option<&str>) -> Self {
        let mut moments = text.unwrap_or_default().split(' ').map(moment::parse);
        let since = moments.next().flatten();
        Self { since: since.unwrap_or(*FROM_THE_BEGINNING), narrowed: moments.next().flatten() }
    }

    pub(super) fn from(since: Timestamp) -> Self {
        Self { since, narrowed: None }
    }

    pub(super) fn with_narrowed(self, at: Timestamp) -> Self {
        Self { narrowed: Some(at), ..self }
    }

    pub(super) fn without_narrowed(self) -> Self {
        Self { narrowed: None, ..self }
    }

    pub(super) fn to_text(self) -> String {
        let narrowed = self.narrowed.map(|at| format!(" {}", moment::format(at))).unwrap_or_default();
        format!("{}{narrowed}", moment::format(self.since))
    }
}

/// Searches the earliest moment from which on `ask` answers, after it failed at `cursor.since`. Nothing if it fails everywhere.
///
/// # Errors
/// Those of `ask` but [`CallError::Failed`].
pub(super) async fn narrow<F>(
    cursor: &Cursor,
    now: Timestamp,
    mut ask: impl FnMut(Timestamp) -> F,
) -> Result<Option<(News, Timestamp)>, CallError>
where
    F: Future<Output = Result<News, CallError>>,
{
    let mut probe = |at: Timestamp| {
        let asked = ask(at);
        async move {
            match asked.await {
                Ok(news) => Ok(Some(news)),
                Err(CallError::Failed { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        }
    };
    let mut fails = cursor.since;
    // Where it was found the last time: usually that is still so.
    if let Some(at) = cursor.narrowed.filter(|at| *at > fails) {
        let before = at.checked_sub(FINE * 2).unwrap_or(fails).max(fails);
        if let Some(news) = probe(at).await?
            && (before == fails || probe(before).await?.is_none())
        {
            return Ok(Some((news, at)));
        }
    }
    let mut works = now.checked_add(AHEAD).unwrap_or(now);
    let Some(mut best) = probe(works).await? else { return Ok(None) };
    let mut step = FIRST_STEP;
    for _ in 0..MAX_QUESTIONS {
        if works.duration_since(fails) <= FINE {
            break;
        }
        let half = middle(fails, works);
        // Most often it is something of the last days, and the first list goes back two thousand years.
        let at = match works.checked_sub(step) {
            Ok(at) if at > half => at,
            _ => half,
        };
        match probe(at).await? {
            Some(news) => {
                (best, works) = (news, at);
                step = step.checked_mul(12).unwrap_or(SignedDuration::MAX);
            }
            None => {
                fails = at;
                step = SignedDuration::MAX;
            }
        }
    }
    Ok(Some((best, works)))
}

fn middle(a: Timestamp, b: Timestamp) -> Timestamp {
    a.checked_add(b.duration_since(a) / 2).unwrap_or(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news() -> News {
        News { manifests: vec![], actions: crate::domain::axon::json::Value::List(vec![]), server_timestamp: None }
    }

    async fn search(cursor: Cursor, bad_at: Option<Timestamp>) -> (Option<Timestamp>, u32) {
        let mut questions = 0;
        let found = narrow(&cursor, "2026-11-22T10:00:00Z".parse().unwrap(), |since| {
            questions += 1;
            let fails = bad_at.is_none_or(|bad| since < bad);
            std::future::ready(if fails { Err(CallError::Failed { what: "it" }) } else { Ok(news()) })
        });
        let found = found.await.unwrap().map(|(_, at)| at);
        (found, questions)
    }

    #[tokio::test]
    async fn the_moment_of_the_item_is_found_and_remembered() {
        for bad in ["2026-11-22T09:59:59.123456Z", "2026-11-21T00:00:00Z", "2019-01-01T00:00:00Z"] {
            let bad: Timestamp = bad.parse().unwrap();
            let cursor = Cursor::parse(None);
            let (found, questions) = search(cursor, Some(bad)).await;
            let found = found.unwrap();
            assert!(found >= bad && found.duration_since(bad) <= FINE && questions < 55, "{found} {questions}");
            let again = Cursor::parse(Some(&cursor.with_narrowed(found).to_text()));
            assert_eq!(again.since, *FROM_THE_BEGINNING);
            let (_, questions) = search(again, Some(bad)).await;
            assert_eq!(questions, 2);
        }
        assert_eq!(search(Cursor::parse(None), None).await, (None, 1));
    }
}
