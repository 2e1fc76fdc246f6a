//! A folder of small files as a tar archive (POSIX ustar), for its owner alone.

use jiff::Timestamp;
use zeroize::Zeroizing;

const BLOCK: usize = 512;
/// Longest path, in bytes.
const MAX_PATH: usize = 100;

/// The folder `name` (mode 0700) with these files in it (mode 0600). Names are short and plain.
pub fn private_folder(name: &str, files: &[(&str, &[u8])], at: Timestamp) -> Zeroizing<Vec<u8>> {
    let length: usize = files.iter().map(|(_, bytes)| BLOCK + bytes.len().next_multiple_of(BLOCK)).sum();
    // It never moves to a larger place and leaves a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(length + 3 * BLOCK));
    out.extend_from_slice(&header(&format!("{name}/"), 0o700, 0, b'5', at));
    for (file, bytes) in files {
        out.extend_from_slice(&header(&format!("{name}/{file}"), 0o600, bytes.len(), b'0', at));
        out.extend_from_slice(bytes);
        let whole = out.len().next_multiple_of(BLOCK);
        out.resize(whole, 0);
    }
    let end = out.len() + 2 * BLOCK;
    out.resize(end, 0);
    out
}

fn header(path: &str, mode: u32, size: usize, kind: u8, at: Timestamp) -> [u8; BLOCK] {
    assert!(path.len() <= MAX_PATH, "names of keys are short");
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    for owner in [108, 116] {
        put(owner, b"0000000");
    }
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{:011o}", at.as_second().max(0)).as_bytes());
    // The sum counts its own place as spaces.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
