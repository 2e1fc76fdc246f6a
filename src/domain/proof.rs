//! Proofs that somebody keeps a snapshot: a challenge draws some of its chunks and a salt, and the proof is a hash of each whole
//! chunk, keyed with the salt, with who proves, and with what.
//!
//! The salt is fresh, so that nothing can be made in advance; the prover's id is in the key, so that nobody can pass on what
//! another one has proved. Whoever has lost a tenth of a snapshot is found with 1 - 0.9³² = 96.6 % by one challenge.

use serde::{Deserialize, Serialize};

use super::id::{ChunkId, InstanceId, ManifestId};

/// Chunks and segments of one snapshot in one challenge.
pub const MAX_SAMPLE: usize = 32;
/// Snapshots in one challenge: so many that the digests of all their samples fit into the body of a request.
pub const MAX_CLAIMS: usize = 50;
const PURPOSE: &str = "bulbil/proof/1";

macro_rules! hex {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl From<$name> for String {
            fn from(value: $name) -> String {
                data_encoding::HEXLOWER.encode(&value.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
                bytes.map(Self).ok_or($what)
            }
        }
    };
}

hex!(
    /// Random name of a challenge. Text form: 32 hex digits.
    ChallengeId, 16, "the id of a challenge has 32 hex digits"
);
hex!(
    /// Drawn for one snapshot in one challenge. Text form: 64 hex digits.
    ProofSalt, 32, "the salt of a challenge has 64 hex digits"
);
hex!(
    /// What proves one chunk. Text form: 64 hex digits.
    Digest, 32, "a digest has 64 hex digits"
);

/// Of which chunks and segments of a snapshot digests are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Sample {
    /// The snapshot.
    #[schema(value_type = String)]
    pub manifest: ManifestId,
    /// The salt of its digests.
    #[schema(value_type = String)]
    pub salt: ProofSalt,
    /// Its chunks and segments that were drawn, at most [`MAX_SAMPLE`].
    #[schema(value_type = Vec<String>, max_items = 32)]
    pub ids: Vec<ChunkId>,
}

impl ChallengeId {
    /// Draws one.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl Sample {
    /// Draws a salt and [`MAX_SAMPLE`] of the snapshot's chunks and segments, all of them if there are fewer.
    pub fn draw(manifest: ManifestId, all: Vec<ChunkId>, rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        Self { manifest, salt: ProofSalt(salt), ids: draw(all, MAX_SAMPLE, rng) }
    }

    /// What proves that `prover` has the bytes of this chunk, all of them: keyed BLAKE3 of the bytes as stored.
    pub fn digest(&self, prover: &InstanceId, chunk: &ChunkId, bytes: &[u8]) -> Digest {
        let bound = [&self.salt.0[..], prover.as_bytes(), self.manifest.as_bytes(), chunk.as_bytes()].concat();
        Digest(*blake3::keyed_hash(&blake3::derive_key(PURPOSE, &bound), bytes).as_bytes())
    }
}

/// Draws `count` of `from`, each as likely as any other and none twice.
fn draw<T>(mut from: Vec<T>, count: usize, rng: &mut dyn rand_core::CryptoRng) -> Vec<T> {
    let count = count.min(from.len());
    for n in 0..count {
        let other = n + below(from.len() - n, rng);
        from.swap(n, other);
    }
    from.truncate(count);
    from
}

/// A number below `bound`, each as likely as any other.
fn below(bound: usize, rng: &mut dyn rand_core::CryptoRng) -> usize {
    let bound = bound as u64;
    let even = u64::MAX - u64::MAX % bound;
    loop {
        let drawn = rng.next_u64();
        if drawn < even {
            return (drawn % bound) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): even, and the same each time.
    struct TestRng(u64);

    impl rand_core::TryRng for TestRng {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            self.try_next_u64().map(|drawn| drawn as u32)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Ok(mixed ^ (mixed >> 31))
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            for part in bytes.chunks_mut(8) {
                part.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..part.len()]);
            }
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for TestRng {}

    fn instance(n: u8) -> InstanceId {
        InstanceId::from_slice(&[n; 32]).unwrap()
    }

    fn sample(n: u8) -> Sample {
        Sample { manifest: ManifestId::of(&[n]), salt: ProofSalt([n; 32]), ids: vec![ChunkId::of(b"bytes")] }
    }

    #[test]
    fn a_digest_is_bound_to_everything_that_it_is_about() {
        let (one, id) = (sample(1), ChunkId::of(b"bytes"));
        let digest = one.digest(&instance(1), &id, b"bytes");
        assert_eq!(digest, one.digest(&instance(1), &id, b"bytes"));
        let other_salt = Sample { salt: ProofSalt([2; 32]), ..one.clone() };
        let other_manifest = Sample { manifest: ManifestId::of(b"other"), ..one.clone() };
        let others = [
            one.digest(&instance(1), &id, b"bytez"),
            one.digest(&instance(1), &id, b"byte"),
            one.digest(&instance(1), &ChunkId::of(b"other"), b"bytes"),
            one.digest(&instance(2), &id, b"bytes"),
            other_salt.digest(&instance(1), &id, b"bytes"),
            other_manifest.digest(&instance(1), &id, b"bytes"),
        ];
        assert!(others.iter().all(|other| *other != digest));
        // As docs/protocol.md says it.
        let key = blake3::derive_key(
            "bulbil/proof/1",
            &[&[1; 32], &[1; 32], &one.manifest.as_bytes()[..], &id.as_bytes()[..]].concat(),
        );
        assert_eq!(String::from(digest), blake3::keyed_hash(&key, b"bytes").to_hex().as_str());
    }

    #[test]
    fn draws_are_even_and_none_comes_twice() {
        let mut rng = TestRng(1);
        let mut times = [0u32; 100];
        for _ in 0..5000 {
            let drawn = draw((0..100usize).collect(), 32, &mut rng);
            assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 32);
            drawn.iter().for_each(|n| times[*n] += 1);
        }
        // 1,600 expected, with a standard deviation of 33.
        assert!(times.iter().all(|times| (1400..1800).contains(times)), "{times:?}");
        assert_eq!(draw(vec![7], 32, &mut rng), [7]);
        assert!(draw(Vec::<u8>::new(), 32, &mut rng).is_empty());
    }

    #[test]
    fn no_text_makes_a_parser_panic() {
        let texts = ["", "zz", "0", "00", "\u{0}", "é", "0000000000000000000000000000000g"];
        for text in texts.map(str::to_owned) {
            assert!(ChallengeId::try_from(text.clone()).is_err());
            assert!(ProofSalt::try_from(text.clone()).is_err() && Digest::try_from(text).is_err());
        }
        let id = ChallengeId::random(&mut TestRng(2));
        assert_eq!(ChallengeId::try_from(String::from(id)), Ok(id));
    }
}
