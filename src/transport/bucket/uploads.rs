//! Many writes at a time, and no more than a few: what is written next waits for one of them to end.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::{Bucket, BucketError, Put, runtime, wait};

/// So many are under way, at most: with the largest chunks 150 MB.
const AT_ONCE: u32 = 16;

/// Writes under way.
#[derive(Debug)]
pub struct Uploads {
    bucket: Bucket,
    slots: Arc<Semaphore>,
    failed: Arc<Mutex<Option<BucketError>>>,
}

impl Uploads {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket, slots: Arc::new(Semaphore::new(AT_ONCE as usize)), failed: Arc::default() }
    }

    /// Begins to write; waits until there is room for one more.
    ///
    /// # Errors
    /// What became of an earlier one; from then on nothing succeeds any more, [`finish`](Self::finish) least of all.
    pub fn put(&self, name: String, bytes: Vec<u8>) -> Result<(), BucketError> {
        let slots = Arc::clone(&self.slots);
        let slot = wait(slots.acquire_owned())?.expect("nobody closes it");
        self.check()?;
        let (bucket, failed) = (self.bucket.clone(), Arc::clone(&self.failed));
        runtime()?.spawn(async move {
            if let Err(error) = bucket.put_object(&name, bytes, Put::Replace).await {
                failed.lock().expect("no holder of this lock can panic").get_or_insert(error);
            }
            drop(slot);
        });
        Ok(())
    }

    /// Waits until everything is written, and durable.
    ///
    /// # Errors
    /// What became of one that was not.
    pub fn finish(&self) -> Result<(), BucketError> {
        let slots = Arc::clone(&self.slots);
        drop(wait(slots.acquire_many_owned(AT_ONCE))?.expect("nobody closes it"));
        self.check()
    }

    fn check(&self) -> Result<(), BucketError> {
        self.failed.lock().expect("no holder of this lock can panic").clone().map_or(Ok(()), Err)
    }
}
