//! Varints and bounds: the small change of the metadata format.
//!
//! Unsigned numbers are LEB128 (at most ten bytes, no needless ones); signed ones are zigzagged first.

/// Bytes that are no metadata, or lie about their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("metadata is malformed: {0}")]
pub struct CodecError(pub &'static str);

/// Appends an unsigned number.
pub fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a length and that many bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from the front of a slice; never allocates more than the slice holds.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`CodecError`] at the end.
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.0.split_first().ok_or(CodecError("it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`CodecError`] if there are fewer.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(CodecError("it ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    /// The next unsigned number.
    ///
    /// # Errors
    /// [`CodecError`] if it is cut off, over 64 bits or padded.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 || shift > 0 && byte == 0 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError("a number is not in its shortest form"))
    }

    /// The next unsigned number, which must be at most `max`.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn u64_up_to(&mut self, max: u64) -> Result<u64, CodecError> {
        self.u64().and_then(|value| if value <= max { Ok(value) } else { Err(CodecError("a number is too large")) })
    }

    /// The next unsigned number of 32 bits.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.u64_up_to(u64::from(u32::MAX)).map(|value| value as u32)
    }

    /// The next signed number.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn i64(&mut self) -> Result<i64, CodecError> {
        let value = self.u64()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count of things of at least `each` bytes: never more than can still come.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn count(&mut self, each: usize) -> Result<usize, CodecError> {
        let count = self.u64()?;
        if count > (self.left() / each.max(1)) as u64 {
            return Err(CodecError("a count is larger than what follows"));
        }
        Ok(count as usize)
    }

    /// A length and that many bytes.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.count(1)?;
        self.take(len)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn end(&self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError("something follows its end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            put_u64(&mut out, unsigned);
            put_i64(&mut out, signed);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.u64(), Ok(unsigned));
            prop_assert_eq!(reader.i64(), Ok(signed));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.u64().is_ok() {}
            let _ = reader.bytes();
        }
    }

    #[test]
    fn only_the_shortest_form_is_read() {
        assert!(Reader::new(&[0x80, 0x00]).u64().is_err());
        assert!(Reader::new(&[0xff; 10]).u64().is_err());
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).u64(), Ok(u64::MAX));
    }
}
