//! Cutting content into fragments, and telling what is worth compressing.
//!
//! Cut points are found by FastCDC (Xia et al., USENIX ATC 2020), with a gear table that is seeded per collection, so that
//! the lengths of fragments say less about known content. The average fragment grows with the file: 32 KiB up to 512 MiB,
//! then so that a file has about 16,384 fragments, up to 1 MiB.

use std::borrow::Cow;

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

use crate::domain::chunk::MAX_FRAGMENT;

const MIN_AVERAGE: u64 = 32 << 10;
const MAX_AVERAGE: u64 = (MAX_FRAGMENT / 4) as u64;
const FRAGMENTS_PER_FILE: u64 = 1 << 14;

/// The seeded gear table of a collection.
#[derive(Debug, Clone)]
pub struct Gear {
    plain: Cow<'static, [u64]>,
    shifted: Cow<'static, [u64]>,
}

impl Gear {
    /// The table for this seed.
    pub fn new(seed: u64) -> Self {
        let (plain, shifted) = get_gear_with_seed(seed);
        Self { plain, shifted }
    }
}

/// Cuts one file.
#[derive(Debug)]
pub struct Cutter<'a> {
    gear: &'a Gear,
    min: usize,
    average: usize,
    max: usize,
    masks: [u64; 4],
}

impl<'a> Cutter<'a> {
    /// A cutter for a file of `size` bytes.
    pub fn new(gear: &'a Gear, size: u64) -> Self {
        let average = (size / FRAGMENTS_PER_FILE).next_power_of_two().clamp(MIN_AVERAGE, MAX_AVERAGE) as usize;
        let (strict, loose) = select_masks(average, Normalization::Level2);
        Self { gear, min: average / 4, average, max: average * 4, masks: [strict, loose, strict << 1, loose << 1] }
    }

    /// The longest fragment, in bytes: as much must be at hand for [`next`](Self::next), unless the file ends before.
    pub fn longest(&self) -> usize {
        self.max
    }

    /// Length of the first fragment of `bytes`, which are the rest of the file or at least [`longest`](Self::longest) of it.
    pub fn next(&self, bytes: &[u8]) -> usize {
        if bytes.len() <= self.min {
            return bytes.len();
        }
        let [strict, loose, strict_shifted, loose_shifted] = self.masks;
        let (_, at) = cut_gear(
            bytes,
            self.min,
            self.average,
            self.max,
            strict,
            loose,
            strict_shifted,
            loose_shifted,
            &self.gear.plain,
            &self.gear.shifted,
        );
        at
    }
}

/// Whether it is worth trying to compress `bytes`.
///
/// Counts byte values in a sample of at most 4 KiB and compares the sum of squares with that of random bytes: media,
/// archives and ciphertext come within a tenth of it.
pub fn is_compressible(bytes: &[u8]) -> bool {
    const SAMPLE: usize = 4096;
    const WINDOWS: usize = 8;
    if bytes.len() < 512 {
        return true;
    }
    let mut counts = [0u32; 256];
    let mut seen = 0;
    if bytes.len() <= SAMPLE {
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        seen = bytes.len();
    } else {
        let width = SAMPLE / WINDOWS;
        for window in 0..WINDOWS {
            let at = (bytes.len() - width) / (WINDOWS - 1) * window;
            bytes[at..at + width].iter().for_each(|byte| counts[usize::from(*byte)] += 1);
            seen += width;
        }
    }
    let squares: u64 = counts.iter().map(|count| u64::from(*count) * u64::from(*count)).sum();
    let seen = seen as u64;
    let random = seen + seen * (seen - 1) / 256;
    squares > random + random / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut reader = blake3::Hasher::new().finalize_xof();
        let mut bytes = vec![0; len];
        reader.fill(&mut bytes);
        bytes
    }

    fn fragments(cutter: &Cutter<'_>, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(cutter.next(rest));
            out.push(head.to_vec());
            rest = tail;
        }
        out
    }

    #[test]
    fn an_edit_changes_few_fragments_and_another_seed_changes_all() {
        let (one, two) = (Gear::new(1), Gear::new(0x1234_5678_9abc_def1));
        let mut bytes = noise(4 << 20);
        let before = fragments(&Cutter::new(&one, bytes.len() as u64), &bytes);
        bytes.insert(2 << 20, 7);
        let cutter = Cutter::new(&one, bytes.len() as u64);
        let after = fragments(&cutter, &bytes);
        assert!(after.iter().filter(|fragment| !before.contains(fragment)).count() <= 3);
        assert!(after.iter().all(|fragment| fragment.len() <= cutter.longest()));
        let other = fragments(&Cutter::new(&two, bytes.len() as u64), &bytes);
        assert!(other.iter().filter(|fragment| after.contains(fragment)).count() <= 2);
    }

    #[test]
    fn noise_is_left_alone_and_text_is_not() {
        assert!(!is_compressible(&noise(1 << 20)));
        assert!(!is_compressible(&noise(4096)));
        assert!(is_compressible("the quick brown fox ".repeat(1000).as_bytes()));
        assert!(is_compressible(data_encoding::BASE64.encode(&noise(9000)).as_bytes()));
    }
}
