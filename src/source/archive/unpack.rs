//! Members of a tar archive, one after another: into a tree in memory, their content into a [`Spool`].
//!
//! Nothing is ever made under a name that an archive gives: no link is followed, no path is opened. What would not fit into a tree
//! (a name that climbs, something below a link) is left out and told. Of two members with one name the later one counts.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::ArchiveError;
use super::header::{self, BLOCK, Header, NoHeader};
use super::spool::Spool;
use crate::domain::metadata::entry::{Attributes, FileTime};
use crate::domain::metadata::path::{MAX_PATH, TreePath};

/// More members are no backup.
const MAX_MEMBERS: usize = 5_000_000;
/// Extended records and long names are no longer, in bytes.
const MAX_RECORDS: u64 = 4 << 20;
/// No sparse file is longer than this, in bytes: holes cost nothing to claim.
const MAX_SPARSE: u64 = 1 << 40;
/// Stretches of a sparse file.
const MAX_STRETCHES: usize = 1 << 20;
/// So many things that are wrong are told one by one.
const TOLD: usize = 50;
/// Copied at once, in bytes.
const BUFFER: usize = 1 << 18;

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Bytes in the spool.
    Data {
        /// Where they begin there.
        at: u64,
        /// How many.
        len: u64,
    },
    /// Zeros.
    Hole {
        /// How many.
        len: u64,
    },
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A directory.
    Directory,
    /// A regular file. What has the same number is the same file, under another name.
    File {
        /// Which file.
        number: usize,
        /// Its content.
        content: Arc<Vec<Piece>>,
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as it is written.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Its number.
        rdev: u64,
    },
    /// A block device.
    BlockDevice {
        /// Its number.
        rdev: u64,
    },
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What every kind has.
    pub attributes: Attributes,
    /// What it is.
    pub kind: MemberKind,
}

/// Everything in an archive.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// By path, as the archive has them.
    pub members: BTreeMap<TreePath, Member>,
    /// Attributes of the folder that everything is in, if it is a member (`./`).
    pub top: Option<Attributes>,
    /// When the newest file changed.
    pub newest: Option<FileTime>,
    /// What was left out: path and reason.
    pub refused: Vec<(String, String)>,
    /// How much more was left out than is told.
    pub untold: u64,
    /// Something stands behind the end.
    pub trailing: bool,
}

impl Unpacked {
    fn refuse(&mut self, path: &[u8], why: impl Into<String>) {
        if self.refused.len() >= TOLD {
            self.untold += 1;
            return;
        }
        let path = String::from_utf8_lossy(&path[..path.len().min(200)]).escape_debug().to_string();
        self.refused.push((path, why.into()));
    }

    /// Puts a member into the tree, in place of what was there.
    fn put(&mut self, path: TreePath, member: Member) {
        let mut above = path.parent();
        while let Some(folder) = above {
            if self.members.get(&folder).is_some_and(|member| member.kind != MemberKind::Directory) {
                self.refuse(path.as_bytes(), format!("it lies below {folder}, which is no folder"));
                return;
            }
            above = folder.parent();
        }
        if member.kind != MemberKind::Directory {
            let below: Vec<TreePath> = self
                .members
                .range(path.clone()..)
                .map(|(path, _)| path.clone())
                .take_while(|below| below.is_within(&path))
                .collect();
            for gone in below {
                self.members.remove(&gone);
            }
        }
        self.members.insert(path, member);
    }
}

/// What extended records and long names say of the next member.
#[derive(Debug, Default, Clone)]
struct Said {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of all that was said.
    bytes: u64,
    stretches: Vec<u64>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Said {
    fn get(&self, key: &str) -> Option<&[u8]> {
        self.records.get(key.as_bytes()).map(Vec::as_slice)
    }

    fn number(&self, key: &str) -> Result<Option<u64>, NoHeader> {
        self.get(key).map(|text| decimal(text).ok_or(NoHeader)).transpose()
    }

    fn take(&mut self, records: header::Records) -> Result<(), NoHeader> {
        for (key, value) in records {
            // One header after another, and never a member.
            self.bytes += (key.len() + value.len()) as u64;
            if self.bytes > MAX_RECORDS {
                return Err(NoHeader);
            }
            // GNU's first sparse format says each number in a record of its own.
            if matches!(key.as_slice(), b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
                self.stretches.push(decimal(&value).ok_or(NoHeader)?);
            } else {
                self.records.insert(key, value);
            }
        }
        Ok(())
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads an archive to the end of `input`; the content goes into `spool`, or nowhere.
///
/// # Errors
/// [`ArchiveError`]; what was read is not to be used then.
pub fn unpack(
    input: &mut dyn Read,
    spool: Option<&mut Spool>,
    cancel: &CancellationToken,
) -> Result<Unpacked, ArchiveError> {
    let mut reader = Reader { input, spool, cancel, at: 0, buffer: vec![0; BUFFER] };
    let mut unpacked = Unpacked::default();
    let (mut global, mut said) = (Said::default(), Said::default());
    let mut numbers = 0;
    loop {
        let begins = reader.at;
        let Some(block) = reader.block()? else { return Err(ArchiveError::Cut) };
        if header::is_end(&block) {
            break;
        }
        let damaged = |_| ArchiveError::Damaged { at: begins };
        let header = header::parse(&block).map_err(damaged)?;
        match header.kind {
            b'x' => said.take(header::records(&reader.data(header.size)?).map_err(damaged)?).map_err(damaged)?,
            b'g' => global.take(header::records(&reader.data(header.size)?).map_err(damaged)?).map_err(damaged)?,
            b'L' => said.path = Some(until_nul(reader.data(header.size)?)),
            b'K' => said.link = Some(until_nul(reader.data(header.size)?)),
            _ => {
                let mut of_member = global.clone();
                let own = std::mem::take(&mut said);
                of_member.records.extend(own.records);
                let own = Said { records: of_member.records, ..own };
                reader.member(header, &own, &mut numbers, &mut unpacked).map_err(|error| match error {
                    Fault::Header => ArchiveError::Damaged { at: begins },
                    Fault::Archive(error) => error,
                })?;
                if unpacked.members.len() > MAX_MEMBERS {
                    return Err(ArchiveError::TooMany(MAX_MEMBERS));
                }
            }
        }
    }
    unpacked.trailing = reader.drain()?;
    Ok(unpacked)
}

enum Fault {
    Header,
    Archive(ArchiveError),
}

impl From<NoHeader> for Fault {
    fn from(_: NoHeader) -> Self {
        Self::Header
    }
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// A member's path: without `.` and empty names. `None` is the folder that everything is in.
fn clean(path: &[u8]) -> Result<Option<TreePath>, &'static str> {
    if path.len() > MAX_PATH {
        return Err("its name is longer than 64 KiB");
    }
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if names.contains(&&b".."[..]) {
        return Err("its name climbs with '..'");
    }
    if names.is_empty() {
        return Ok(None);
    }
    TreePath::new(names.join(&b'/')).map(Some).map_err(|_| "its name is none")
}

struct Reader<'a> {
    input: &'a mut dyn Read,
    spool: Option<&'a mut Spool>,
    cancel: &'a CancellationToken,
    at: u64,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// Reads until the buffer's first `len` bytes are full, or nothing follows.
    fn fill(&mut self, len: usize) -> Result<usize, ArchiveError> {
        if self.cancel.is_cancelled() {
            return Err(ArchiveError::Cancelled);
        }
        let mut filled = 0;
        while filled < len {
            match self.input.read(&mut self.buffer[filled..len]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(ArchiveError::Read { cause }),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        match self.fill(BLOCK)? {
            0 => Ok(None),
            BLOCK => Ok(Some(*self.buffer.first_chunk().expect("it is longer"))),
            _ => Err(ArchiveError::Cut),
        }
    }

    /// Passes data on, without what fills its last block up.
    fn pass(
        &mut self,
        len: u64,
        mut to: impl FnMut(&mut Self, usize) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut left = len;
        while left > 0 {
            let want = left.min(BUFFER as u64) as usize;
            if self.fill(want)? < want {
                return Err(ArchiveError::Cut);
            }
            to(self, want)?;
            left -= want as u64;
        }
        let rest = (BLOCK as u64 - len % BLOCK as u64) % BLOCK as u64;
        if self.fill(rest as usize)? < rest as usize { Err(ArchiveError::Cut) } else { Ok(()) }
    }

    /// Data that is kept in memory: names and records.
    fn data(&mut self, len: u64) -> Result<Vec<u8>, ArchiveError> {
        if len > MAX_RECORDS {
            return Err(ArchiveError::LongRecord);
        }
        let mut data = Vec::with_capacity(len as usize);
        self.pass(len, |reader, n| {
            data.extend_from_slice(&reader.buffer[..n]);
            Ok(())
        })?;
        Ok(data)
    }

    /// Puts data into the spool; where it begins there.
    fn keep(&mut self, len: u64) -> Result<u64, ArchiveError> {
        let at = self.spool.as_ref().map_or(0, |spool| spool.len());
        self.pass(len, |reader, n| match &mut reader.spool {
            Some(spool) => spool.add(&reader.buffer[..n]).map_err(|cause| ArchiveError::Spool { cause }),
            None => Ok(()),
        })?;
        Ok(at)
    }

    /// Reads what stands behind the end; whether that is anything.
    fn drain(&mut self) -> Result<bool, ArchiveError> {
        let mut anything = false;
        loop {
            match self.fill(BUFFER)? {
                0 => return Ok(anything),
                n => anything |= self.buffer[..n].iter().any(|byte| *byte != 0),
            }
        }
    }

    fn member(
        &mut self,
        header: Header,
        said: &Said,
        numbers: &mut usize,
        unpacked: &mut Unpacked,
    ) -> Result<(), Fault> {
        let size = said.number("size")?.unwrap_or(header.size);
        let named = said.get("GNU.sparse.name").or(said.get("path")).or(said.path.as_deref());
        let raw = named.unwrap_or(&header.path).to_vec();
        let link = said.get("linkpath").or(said.link.as_deref()).unwrap_or(&header.link).to_vec();
        let mtime = said.get("mtime").map(header::moment).transpose()?.unwrap_or(header.mtime);
        let id = |key: &str, of_header: u64| -> Result<u32, Fault> {
            let id = said.number(key)?.unwrap_or(of_header);
            u32::try_from(id).map_err(|_| Fault::Header)
        };
        let attributes = Attributes {
            mode: header.mode,
            uid: id("uid", header.uid)?,
            gid: id("gid", header.gid)?,
            mtime,
            xattrs: xattrs(said),
            ..Attributes::default()
        };
        let rdev = || rustix::fs::makedev(header.device.0 as u32, header.device.1 as u32);
        let is_folder = raw.ends_with(b"/") && matches!(header.kind, b'0' | 0);
        let kind = match header.kind {
            _ if is_folder => MemberKind::Directory,
            b'0' | 0 | b'7' | b'S' => {
                let (content, len) = self.content(&header, said, size)?;
                unpacked.newest = unpacked.newest.max(Some(mtime));
                if len > MAX_SPARSE && content.iter().any(|piece| matches!(piece, Piece::Hole { .. })) {
                    unpacked.refuse(&raw, "it is a sparse file of more than 1 TiB");
                    return Ok(());
                }
                *numbers += 1;
                MemberKind::File { number: *numbers, content: Arc::new(content), size: len }
            }
            b'1' => {
                linked(&raw, &link, unpacked);
                return Ok(());
            }
            b'2' if link.is_empty() || link.contains(&0) => {
                unpacked.refuse(&raw, "it is a link to nothing");
                return Ok(());
            }
            b'2' => MemberKind::Symlink { target: link },
            b'3' => MemberKind::CharDevice { rdev: rdev() },
            b'4' => MemberKind::BlockDevice { rdev: rdev() },
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            // A folder of an incremental archive, with a list of what was in it.
            b'D' => {
                self.pass(size, |_, _| Ok(()))?;
                MemberKind::Directory
            }
            // The archive's own name.
            b'V' => return Ok(self.pass(size, |_, _| Ok(()))?),
            b'M' => return Err(Fault::Archive(ArchiveError::Volume)),
            other => {
                self.pass(size, |_, _| Ok(()))?;
                unpacked.refuse(&raw, format!("it is of a kind ({:?}) that is not known here", char::from(other)));
                return Ok(());
            }
        };
        match clean(&raw) {
            Ok(Some(path)) => unpacked.put(path, Member { attributes, kind }),
            Ok(None) if kind == MemberKind::Directory => unpacked.top = Some(attributes),
            Ok(None) => unpacked.refuse(&raw, "it has no name"),
            Err(why) => unpacked.refuse(&raw, why),
        }
        Ok(())
    }

    /// A file's content and length.
    fn content(&mut self, header: &Header, said: &Said, size: u64) -> Result<(Vec<Piece>, u64), Fault> {
        let (stretches, whole, stored) = if let Some((mut stretches, whole, mut more)) = header.sparse.clone() {
            while more {
                let block = self.block()?.ok_or(ArchiveError::Cut)?;
                let (some, again) = header::more_stretches(&block)?;
                stretches.extend(some);
                more = again;
                if stretches.len() > MAX_STRETCHES {
                    return Err(Fault::Header);
                }
            }
            (stretches, whole, size)
        } else if said.number("GNU.sparse.major")? == Some(1) {
            let (stretches, used) = self.map()?;
            let whole = said.number("GNU.sparse.realsize")?.ok_or(Fault::Header)?;
            (stretches, whole, size.checked_sub(used).ok_or(Fault::Header)?)
        } else if let Some(whole) = said.number("GNU.sparse.size")?.or(said.number("GNU.sparse.realsize")?) {
            let numbers = match said.get("GNU.sparse.map") {
                Some(map) => {
                    map.split(|byte| *byte == b',').map(decimal).collect::<Option<Vec<u64>>>().ok_or(Fault::Header)?
                }
                None => said.stretches.clone(),
            };
            (pairs(&numbers)?, whole, size)
        } else {
            let at = self.keep(size)?;
            let pieces = if size == 0 { Vec::new() } else { vec![Piece::Data { at, len: size }] };
            return Ok((pieces, size));
        };
        let mut at = self.keep(stored)?;
        let (mut pieces, mut reached, mut used) = (Vec::new(), 0u64, 0u64);
        for (begins, len) in stretches {
            let end = begins.checked_add(len).filter(|end| *end <= whole && begins >= reached).ok_or(Fault::Header)?;
            used = used.checked_add(len).filter(|used| *used <= stored).ok_or(Fault::Header)?;
            if begins > reached {
                pieces.push(Piece::Hole { len: begins - reached });
            }
            if len > 0 {
                pieces.push(Piece::Data { at, len });
            }
            (at, reached) = (at + len, end);
        }
        if used != stored {
            return Err(Fault::Header);
        }
        if whole > reached {
            pieces.push(Piece::Hole { len: whole - reached });
        }
        Ok((pieces, whole))
    }

    /// The list of stretches that stands before the data (GNU's sparse format 1.0), and how long it is.
    fn map(&mut self) -> Result<(Vec<(u64, u64)>, u64), Fault> {
        let mut text: Vec<u8> = Vec::new();
        let (mut numbers, mut wanted, mut used) = (Vec::new(), None, 0);
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            text.extend_from_slice(&self.block()?.ok_or(ArchiveError::Cut)?);
            used += BLOCK as u64;
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                if wanted.is_some_and(|wanted| numbers.len() == wanted) {
                    break;
                }
                let number = decimal(&text[..end]).ok_or(Fault::Header)?;
                text.drain(..=end);
                match wanted {
                    None if number > MAX_STRETCHES as u64 => return Err(Fault::Header),
                    None => wanted = Some(number as usize * 2),
                    Some(_) => numbers.push(number),
                }
            }
            if text.len() > BLOCK {
                return Err(Fault::Header);
            }
        }
        Ok((pairs(&numbers)?, used))
    }
}

fn pairs(numbers: &[u64]) -> Result<Vec<(u64, u64)>, Fault> {
    if !numbers.len().is_multiple_of(2) || numbers.len() > 2 * MAX_STRETCHES {
        return Err(Fault::Header);
    }
    Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// Another name of a file that came earlier.
fn linked(raw: &[u8], link: &[u8], unpacked: &mut Unpacked) {
    match (clean(raw), clean(link)) {
        (Ok(Some(path)), Ok(Some(to))) => match unpacked.members.get(&to) {
            Some(member) if member.kind != MemberKind::Directory => {
                let member = member.clone();
                if path != to {
                    unpacked.put(path, member);
                }
            }
            _ => unpacked.refuse(raw, format!("it is another name of {to}, which is no file that came before it")),
        },
        (Err(why), _) | (_, Err(why)) => unpacked.refuse(raw, why),
        _ => unpacked.refuse(raw, "it has no name"),
    }
}

fn xattrs(said: &Said) -> Vec<(Vec<u8>, Vec<u8>)> {
    let with = said.records.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(b"SCHILY.xattr.")?;
        (!name.is_empty() && name.len() <= 255 && !name.contains(&0)).then(|| (name.to_vec(), value.clone()))
    });
    let all: Vec<_> = with.collect();
    if all.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > 1 << 20 { Vec::new() } else { all }
}
