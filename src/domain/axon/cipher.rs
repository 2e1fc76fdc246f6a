//! AES-256-CBC with PKCS#7 padding over a whole payload, cut into chunks (NIST SP 800-38A, RFC 5652 §6.3).
//!
//! There is no authentication but SHA-256 of each chunk and of the plaintext, both from the manifest. So [`Decryptor`]
//! compares each chunk before it decrypts it, and the plaintext counts only once [`Decryptor::finish`] has compared its hash.

use aws_lc_rs::cipher::{
    AES_256, Algorithm, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    StreamingDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use crate::domain::crypto::secret::Secret;
use crate::domain::id::{ChunkId, ContentHash};

/// Length of every chunk but the last, in bytes, as Axon writes them; a reader takes any length.
pub const CHUNK_SIZE: usize = 262_144;
/// AES works on blocks of so many bytes.
const BLOCK: usize = 16;

/// The start of a CBC chain: 16 random bytes, new for every payload.
pub type Iv = [u8; BLOCK];

/// What is wrong with sealed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// A chunk is not the one that the manifest names.
    #[error("chunk {index} is not the one that the manifest names: it was damaged or replaced; fetch it again")]
    WrongChunk {
        /// Its place, from 0.
        index: usize,
    },
    /// There are more chunks than the manifest names.
    #[error("there are more chunks than the {expected} that the manifest names")]
    TooManyChunks {
        /// How many the manifest names.
        expected: usize,
    },
    /// Some chunks have not come.
    #[error("only {got} of {expected} chunks are here")]
    Incomplete {
        /// How many came.
        got: usize,
        /// How many the manifest names.
        expected: usize,
    },
    /// Key, IV or ciphertext do not belong together.
    #[error("the content does not open: the key does not belong to it, or it was changed")]
    DoesNotOpen,
    /// It opened, but it is not what the manifest's `content_hash` says.
    #[error(
        "the content is not the one that the manifest names: its hash differs, so the manifest is wrong or was changed"
    )]
    WrongContent,
}

/// A payload, sealed: all that a manifest says about it but the envelopes.
pub struct Sealed {
    /// SHA-256 of the plaintext.
    pub content_hash: ContentHash,
    /// The start of the chain.
    pub iv: Iv,
    /// The key, to be wrapped for the recipients.
    pub key: Secret<32>,
    /// The ciphertext in pieces of [`CHUNK_SIZE`], the last one shorter.
    pub chunks: Vec<Vec<u8>>,
    /// SHA-256 of each piece.
    pub chunk_hashes: Vec<ChunkId>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({}, {} chunks)", self.content_hash, self.chunks.len())
    }
}

/// Seals a payload under a fresh key and IV. Memory: about twice the plaintext.
///
/// Seal a content once and keep the chunks: instances that hold it delete their copy when they see another IV.
pub fn seal(plaintext: &[u8], rng: &mut dyn rand_core::CryptoRng) -> Sealed {
    let key = Secret::random(rng);
    let mut iv = [0; BLOCK];
    rng.fill_bytes(&mut iv);
    seal_with(plaintext, key, iv)
}

fn seal_with(plaintext: &[u8], key: Secret<32>, iv: Iv) -> Sealed {
    let ciphertext = encrypt(&AES_256, key.expose(), iv, plaintext);
    let chunks: Vec<Vec<u8>> = ciphertext.chunks(CHUNK_SIZE).map(<[u8]>::to_vec).collect();
    let chunk_hashes = chunks.iter().map(|chunk| ChunkId::of(chunk)).collect();
    Sealed { content_hash: ContentHash::of(plaintext), iv, key, chunks, chunk_hashes }
}

/// CBC with PKCS#7 padding in one piece. `key` is as long as the algorithm wants it.
pub(super) fn encrypt(algorithm: &'static Algorithm, key: &[u8], iv: Iv, plaintext: &[u8]) -> Vec<u8> {
    const FITS: &str = "the key has the algorithm's length and the IV that of a block";
    let key = UnboundCipherKey::new(algorithm, key).expect(FITS);
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).expect(FITS);
    let mut out = Vec::with_capacity(plaintext.len() + BLOCK);
    out.extend_from_slice(plaintext);
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(&mut out, context).expect(FITS);
    out
}

/// The reverse of [`encrypt`]; nothing says whether the plaintext is the right one.
pub(super) fn decrypt(
    algorithm: &'static Algorithm,
    key: &[u8],
    iv: Iv,
    ciphertext: &[u8],
) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    let mut buffer = zeroize::Zeroizing::new(ciphertext.to_vec());
    let len = key.decrypt(&mut buffer, DecryptionContext::Iv128(FixedLength::from(iv))).ok()?.len();
    buffer.truncate(len);
    Some(buffer)
}

/// Opens a payload chunk by chunk; holds no more than a chunk and a block.
///
/// What it gives out is not to be used for anything before [`Decryptor::finish`] has said that it is the right content:
/// write it to a place that can be thrown away.
pub struct Decryptor {
    stream: StreamingDecryptingKey,
    expected: ContentHash,
    chunk_hashes: Vec<ChunkId>,
    next: usize,
    plain: Plain,
}

impl Decryptor {
    /// Begins a payload that was sealed as `manifest` says, with the key from its envelope.
    pub fn new(key: &Secret<32>, manifest: &Manifest) -> Self {
        const FITS: &str = "the key has 32 bytes and the IV 16";
        let unbound = UnboundCipherKey::new(&AES_256, key.expose()).expect(FITS);
        let context = DecryptionContext::Iv128(FixedLength::from(*manifest.iv()));
        Self {
            stream: StreamingDecryptingKey::cbc_pkcs7(unbound, context).expect(FITS),
            expected: manifest.content_hash(),
            chunk_hashes: manifest.chunk_hashes().to_vec(),
            next: 0,
            plain: Plain { hasher: Sha256::new(), len: 0 },
        }
    }

    /// Takes the next chunk, in order, and appends plaintext to `out`: about as many bytes as the chunk has.
    ///
    /// # Errors
    /// [`CipherError::WrongChunk`] before anything of it is used (the right one may follow), [`CipherError::TooManyChunks`],
    /// [`CipherError::DoesNotOpen`].
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), CipherError> {
        let index = self.next;
        let expected = self.chunk_hashes.get(index).ok_or(CipherError::TooManyChunks { expected: index })?;
        if ChunkId::of(chunk) != *expected {
            return Err(CipherError::WrongChunk { index });
        }
        self.next += 1;
        let start = out.len();
        out.resize(start + chunk.len() + BLOCK, 0);
        let written = self.stream.update(chunk, &mut out[start..]).map(|update| update.written().len());
        self.plain.account(out, start, written.ok())
    }

    /// Checks that all chunks came, appends the last bytes to `out`, compares the whole with the manifest's `content_hash`.
    /// Gives the plaintext's length in bytes.
    ///
    /// # Errors
    /// [`CipherError::Incomplete`], [`CipherError::DoesNotOpen`], [`CipherError::WrongContent`]: throw `out` away.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<u64, CipherError> {
        let Self { stream, expected, chunk_hashes, next, mut plain } = self;
        if next != chunk_hashes.len() {
            return Err(CipherError::Incomplete { got: next, expected: chunk_hashes.len() });
        }
        let start = out.len();
        out.resize(start + BLOCK, 0);
        let written = stream.finish(&mut out[start..]).map(|update| update.written().len());
        plain.account(out, start, written.ok())?;
        if ContentHash::finish(plain.hasher) != expected {
            return Err(CipherError::WrongContent);
        }
        Ok(plain.len)
    }
}

impl std::fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decryptor({}, {} of {} chunks)", self.expected, self.next, self.chunk_hashes.len())
    }
}

/// What has been given out so far.
struct Plain {
    hasher: Sha256,
    len: u64,
}

impl Plain {
    /// Keeps what was written behind `start` and hashes it.
    fn account(&mut self, out: &mut Vec<u8>, start: usize, written: Option<usize>) -> Result<(), CipherError> {
        out.truncate(start + written.unwrap_or(0));
        let written = written.ok_or(CipherError::DoesNotOpen)?;
        self.hasher.update(&out[start..]);
        self.len += written as u64;
        Ok(())
    }
}

/// Opens a whole payload that is small enough to be held in memory.
///
/// # Errors
/// As [`Decryptor`].
pub fn open(key: &Secret<32>, manifest: &Manifest, chunks: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, CipherError> {
    let mut decryptor = Decryptor::new(key, manifest);
    let mut out = Vec::new();
    for chunk in chunks {
        decryptor.push(chunk.as_ref(), &mut out)?;
    }
    decryptor.finish(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(plaintext: &[u8]) -> (Sealed, Manifest) {
        let sealed = seal_with(plaintext, Secret::from_bytes([7; 32]), [9; BLOCK]);
        let manifest = Manifest::of(&sealed);
        (sealed, manifest)
    }

    #[test]
    fn chunks_are_cut_from_the_ciphertext() {
        let lengths = |len: usize| sealed(&vec![1; len]).0.chunks.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(0), [16]);
        assert_eq!(lengths(16), [32]);
        assert_eq!(lengths(CHUNK_SIZE - 1), [CHUNK_SIZE]);
        assert_eq!(lengths(CHUNK_SIZE), [CHUNK_SIZE, 16]);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_one_flipped_byte_is_refused(
            plaintext in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let (mut sealed, manifest) = sealed(&plaintext);
            prop_assert_eq!(&open(&sealed.key, &manifest, &sealed.chunks).unwrap(), &plaintext);
            let at = at.index(sealed.chunks[0].len());
            sealed.chunks[0][at] ^= 1 << bit;
            prop_assert_eq!(open(&sealed.key, &manifest, &sealed.chunks), Err(CipherError::WrongChunk { index: 0 }));
        }

        #[test]
        fn chunks_of_any_length_open(plaintext in prop::collection::vec(any::<u8>(), 0..300), cut in 1..50_usize) {
            let (mut sealed, _) = sealed(&plaintext);
            sealed.chunks = sealed.chunks.concat().chunks(cut).map(<[u8]>::to_vec).collect();
            sealed.chunk_hashes = sealed.chunks.iter().map(|chunk| ChunkId::of(chunk)).collect();
            prop_assert_eq!(open(&sealed.key, &Manifest::of(&sealed), &sealed.chunks).unwrap(), plaintext);
        }
    }

    #[test]
    fn a_manifest_that_lies_is_found_out() {
        let (mut sealed, manifest) = sealed(b"what was meant");
        assert_eq!(
            open(&Secret::from_bytes([8; 32]), &manifest, &sealed.chunks).unwrap_err(),
            CipherError::DoesNotOpen
        );
        // A flipped bit of the IV flips one of the first block, and the padding still holds.
        sealed.iv[0] ^= 1;
        assert_eq!(open(&sealed.key, &Manifest::of(&sealed), &sealed.chunks), Err(CipherError::WrongContent));
        sealed.iv[0] ^= 1;
        sealed.content_hash = ContentHash::of(b"something else");
        assert_eq!(open(&sealed.key, &Manifest::of(&sealed), &sealed.chunks), Err(CipherError::WrongContent));
    }

    #[test]
    fn too_few_and_too_many_chunks_are_refused() {
        let (sealed, manifest) = sealed(&vec![1; CHUNK_SIZE]);
        let first = &sealed.chunks[..1];
        assert_eq!(open(&sealed.key, &manifest, first), Err(CipherError::Incomplete { got: 1, expected: 2 }));
        let more = [sealed.chunks[0].clone(), sealed.chunks[1].clone(), Vec::new()];
        assert_eq!(open(&sealed.key, &manifest, &more), Err(CipherError::TooManyChunks { expected: 2 }));
    }
}
