//! How many requests of one caller are answered at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

const UNPOISONED: &str = "no holder of this lock can panic";

/// The places of all callers. Cheap to clone.
#[derive(Debug)]
pub(super) struct Places<K> {
    busy: Arc<Mutex<HashMap<K, usize>>>,
    freed: Arc<Notify>,
    each: usize,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// So many for each.
    pub(super) fn new(each: usize) -> Self {
        Self { busy: Arc::default(), freed: Arc::default(), each }
    }

    /// A place, until the last clone of it is dropped; none if all are taken.
    pub(super) fn take(&self, caller: &K) -> Option<Arc<Place<K>>> {
        let mut busy = self.busy.lock().expect(UNPOISONED);
        let count = busy.entry(caller.clone()).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Arc::new(Place { places: self.clone(), caller: caller.clone() }))
    }

    /// The same, but waits this long for one.
    pub(super) async fn take_within(&self, caller: &K, patience: Duration) -> Option<Arc<Place<K>>> {
        let wait = async {
            loop {
                let freed = self.freed.notified();
                tokio::pin!(freed);
                // From here on no place is missed that becomes free.
                freed.as_mut().enable();
                if let Some(place) = self.take(caller) {
                    return place;
                }
                freed.await;
            }
        };
        tokio::time::timeout(patience, wait).await.ok()
    }
}

#[cfg(test)]
impl<K> Places<K> {
    /// Whether nobody has a place.
    pub(super) fn are_free(&self) -> bool {
        self.busy.lock().expect(UNPOISONED).is_empty()
    }
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self { busy: Arc::clone(&self.busy), freed: Arc::clone(&self.freed), each: self.each }
    }
}

/// One place.
#[derive(Debug)]
pub(super) struct Place<K: Clone + Eq + Hash> {
    places: Places<K>,
    caller: K,
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut busy = self.places.busy.lock().expect(UNPOISONED);
        if let Some(count) = busy.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.caller);
            }
        }
        drop(busy);
        self.places.freed.notify_waiters();
    }
}
