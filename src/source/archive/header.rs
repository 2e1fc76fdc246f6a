//! One header of a tar archive (POSIX.1-2017 pax §"ustar Interchange Format", and what GNU tar adds), and extended records.

use crate::domain::metadata::entry::FileTime;

/// A block, in bytes.
pub const BLOCK: usize = 512;

/// A header as it stands in the archive; nothing of it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What it is: the type's letter.
    pub kind: u8,
    /// Its path, with the ustar prefix.
    pub path: Vec<u8>,
    /// Where a link points.
    pub link: Vec<u8>,
    /// Permission bits: 12.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
    /// Bytes of data that follow.
    pub size: u64,
    /// When it changed last.
    pub mtime: FileTime,
    /// Major and minor number of a device.
    pub device: (u64, u64),
    /// The first stretches of a GNU sparse file, its whole length, and whether more stretches follow.
    pub sparse: Option<Sparse>,
}

/// Stretches of a sparse file: where each begins, and its length.
pub type Stretches = Vec<(u64, u64)>;
/// The first stretches of a sparse file, its whole length, and whether more stretches follow.
pub type Sparse = (Stretches, u64, bool);
/// Extended records: keys and values.
pub type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a block is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoHeader;

/// Whether the block ends an archive.
pub fn is_end(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// Reads a header, whose checksum must hold.
///
/// # Errors
/// [`NoHeader`].
pub fn parse(block: &[u8; BLOCK]) -> Result<Header, NoHeader> {
    let told = number(&block[148..156])?;
    let plain = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let unsigned: u64 = block.iter().enumerate().map(|(at, byte)| u64::from(plain(at, *byte))).sum();
    // Some old programs added signed bytes.
    let signed: i64 = block.iter().enumerate().map(|(at, byte)| i64::from(plain(at, *byte) as i8)).sum();
    if told != unsigned && i64::try_from(told) != Ok(signed) {
        return Err(NoHeader);
    }
    let is_posix = &block[257..263] == b"ustar\0";
    let is_gnu = &block[257..263] == b"ustar ";
    let mut path = text(&block[..100]).to_vec();
    let prefix = text(&block[345..500]);
    if is_posix && !prefix.is_empty() {
        path = [prefix, b"/", &path].concat();
    }
    let kind = block[156];
    let device = match kind {
        b'3' | b'4' => (number(&block[329..337])?, number(&block[337..345])?),
        _ => (0, 0),
    };
    let sparse = if kind == b'S' && is_gnu {
        Some((stretches(&block[386..482])?, number(&block[483..495])?, block[482] != 0))
    } else {
        None
    };
    let mtime = FileTime { secs: signed_number(&block[136..148])?, nanos: 0 };
    Ok(Header {
        kind,
        path,
        link: text(&block[157..257]).to_vec(),
        mode: (number(&block[100..108])? & 0o7777) as u32,
        uid: number(&block[108..116])?,
        gid: number(&block[116..124])?,
        size: number(&block[124..136])?,
        mtime,
        device,
        sparse,
    })
}

/// More stretches of a GNU sparse file, and whether still more follow.
///
/// # Errors
/// [`NoHeader`].
pub fn more_stretches(block: &[u8; BLOCK]) -> Result<(Stretches, bool), NoHeader> {
    Ok((stretches(&block[..504])?, block[504] != 0))
}

fn stretches(bytes: &[u8]) -> Result<Stretches, NoHeader> {
    let used = bytes.chunks_exact(24).take_while(|one| one.iter().any(|byte| *byte != 0));
    used.map(|one| Ok((number(&one[..12])?, number(&one[12..])?))).collect()
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn number(field: &[u8]) -> Result<u64, NoHeader> {
    u64::try_from(signed_number(field)?).map_err(|_| NoHeader)
}

/// Octal digits, or base 256 where the first bit is set; an empty field is 0.
fn signed_number(field: &[u8]) -> Result<i64, NoHeader> {
    if field[0] & 0x80 != 0 {
        // Two's complement over all bytes, with the first bit as a mark.
        let is_negative = field[0] & 0x40 != 0;
        let first = i128::from(if is_negative { field[0] as i8 } else { (field[0] & 0x7f) as i8 });
        let mut value = first;
        for byte in &field[1..] {
            value = value.checked_mul(256).ok_or(NoHeader)? + i128::from(*byte);
        }
        return i64::try_from(value).map_err(|_| NoHeader);
    }
    let digits = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    let digits = std::str::from_utf8(digits).map_err(|_| NoHeader)?;
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoHeader);
    }
    i64::from_str_radix(digits, 8).map_err(|_| NoHeader)
}

/// Extended records: `LENGTH KEY=VALUE\n`, one after another.
///
/// # Errors
/// [`NoHeader`].
pub fn records(mut bytes: &[u8]) -> Result<Records, NoHeader> {
    let mut records = Vec::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or(NoHeader)?;
        let len: usize = std::str::from_utf8(&bytes[..space]).ok().and_then(|len| len.parse().ok()).ok_or(NoHeader)?;
        if len <= space + 1 || len > bytes.len() || bytes[len - 1] != b'\n' {
            return Err(NoHeader);
        }
        let record = &bytes[space + 1..len - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(NoHeader)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        bytes = &bytes[len..];
    }
    Ok(records)
}

/// A moment as extended records have it: seconds, with a fraction.
///
/// # Errors
/// [`NoHeader`].
pub fn moment(text: &[u8]) -> Result<FileTime, NoHeader> {
    let text = std::str::from_utf8(text).map_err(|_| NoHeader)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut secs: i64 = whole.parse().map_err(|_| NoHeader)?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let mut nanos: u32 = digits.parse().map_err(|_| NoHeader)?;
    if whole.starts_with('-') && nanos > 0 {
        (secs, nanos) = (secs.checked_sub(1).ok_or(NoHeader)?, 1_000_000_000 - nanos);
    }
    Ok(FileTime { secs, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(signed_number(b"0000644\0"), Ok(0o644));
        assert_eq!(signed_number(b"   644 \0"), Ok(0o644));
        assert_eq!(signed_number(b"\0\0\0\0"), Ok(0));
        assert_eq!(signed_number(b"\x80\0\0\0\0\0\0\0\0\x02\0\0"), Ok(2 << 16));
        assert_eq!(signed_number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Ok(-1));
        for bad in [b"12a4567\0", b"+123456\0", b"9999999\0"] {
            assert_eq!(signed_number(bad), Err(NoHeader));
        }
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff"), Err(NoHeader));
    }

    #[test]
    fn records_and_moments_are_read_and_broken_ones_refused() {
        let read = records(b"12 path=a=b\n20 mtime=-1.25\0\0\0\0\0\n").unwrap();
        assert_eq!(read[0], (b"path".to_vec(), b"a=b".to_vec()));
        for bad in [&b"5 a=b\n"[..], b"99 a=b\n", b"6 a=bX", b"6 aXb\n", b"x a=b\n", b"0 a=b\n"] {
            assert_eq!(records(bad), Err(NoHeader), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(moment(b"1.5"), Ok(FileTime { secs: 1, nanos: 500_000_000 }));
        assert_eq!(moment(b"-1.25"), Ok(FileTime { secs: -2, nanos: 750_000_000 }));
        assert_eq!(moment(b"1700000000"), Ok(FileTime { secs: 1_700_000_000, nanos: 0 }));
        assert_eq!(moment(b"x"), Err(NoHeader));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(block in prop::collection::vec(any::<u8>(), BLOCK), text in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut block: [u8; BLOCK] = block.try_into().unwrap();
            let _ = parse(&block);
            // With a checksum that holds.
            block[148..156].copy_from_slice(b"        ");
            let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            let _ = parse(&block);
            let _ = more_stretches(&block);
            let _ = records(&text);
            let _ = moment(&text);
        }
    }
}
