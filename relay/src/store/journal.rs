//! The journal: what the log was given since the storage engine's files were last made durable, in the order in which it
//! was given. A flush of the log is one write and one `fdatasync` here, whatever the engine would have to do for it.
//!
//! There are two files, which take turns: while one is written, what the other one has goes into the engine. Each turn is a
//! generation, and its number's parity says which file it is in. A file is written over from its beginning, so that its blocks need no
//! change of its metadata once it has grown.
//!
//! ```text
//! pages 0 and 1   the header, twice: the second once the first is on disk, so that one of them is always whole
//!   0  u32  CRC-32 of what follows   4  8 bytes "LBJOURNL"   12  u32  format: 1
//!  16  u64  generation              24  u64  salt
//!  32  u32  blocks of the generation before
//!  36  u32  1: each block was on disk before the next was written
//! from page 2     blocks, each begun on a page of its own, so that none that was acknowledged is written over
//!   0  u32  CRC-32 of the salt and what follows
//!   4  u32  length of the changes    8  u64  generation   16  u32  number, from 0
//!  20  u32  CRC-32 of the salt and bytes 4 to 20
//!  24  changes: u8 what (0 commit, 1 note; 2 commit gone, 3 note gone), u64 key, and where it is not gone u32 length, bytes
//! ```
//!
//! All integers are big-endian. What ends a generation is a block that is not whole: a kill, or a power cut, came before it was
//! acknowledged. Where another one was begun after it, which its own header tells, the file is damaged. (So damage of the newest
//! block alone, or of the headers of all after it, looks like a power cut's.) The salt is drawn at random for each generation, so
//! that bytes of a value never look like a block.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use bytes::{BufMut, Bytes, BytesMut};

use super::error::OpenError;

/// A generation that has come so far is the last block's.
pub(super) const GENERATION_BYTES: u64 = 4 << 20;

const PAGE: usize = 4096;
const FIRST_BLOCK: u64 = 2 * PAGE as u64;
/// A file grows by at least as much at once.
const GROW_BYTES: u64 = 256 << 10;
const MAGIC: &[u8; 8] = b"LBJOURNL";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 40;
const BLOCK_HEADER_BYTES: usize = 24;
const NAMES: [&str; 2] = ["journal.0", "journal.1"];

/// Of what the log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Commits,
    Notes,
}

/// One thing that the log was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) part: Part,
    pub(super) key: u64,
    /// `None`: it is gone.
    pub(super) bytes: Option<Bytes>,
}

/// What a generation has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) changes: Vec<Change>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    files: [File; 2],
    lengths: [u64; 2],
    header: Header,
    /// Where the next block goes.
    at: u64,
    /// Blocks of the generation so far.
    blocks: u32,
    /// The next block: its header's place, and changes.
    block: BytesMut,
    /// Whether a write is on disk when it returns.
    syncs: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    generation: u64,
    salt: u64,
    blocks_before: u32,
    syncs: bool,
}

/// What a file has.
struct Contents {
    header: Header,
    blocks: u32,
    changes: Vec<Change>,
}

impl Journal {
    /// Two new files in a log's directory, instead of any that are there; generation 1 is begun.
    pub(super) fn create(log: &Path, syncs: bool) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: log.to_owned(), source };
        let open = |name: &str| File::options().write(true).create(true).truncate(true).open(log.join(name));
        let files = [open(NAMES[0]).map_err(failed)?, open(NAMES[1]).map_err(failed)?];
        let mut journal = Self::over(files, [0; 2], syncs);
        for generation in [0, 1] {
            journal
                .begin(Header { generation, salt: salt().map_err(failed)?, blocks_before: 0, syncs })
                .map_err(failed)?;
        }
        File::open(log).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Ok(journal)
    }

    /// What is in the files of a log's directory, oldest first: two generations, each the other's next; `None`: there are none.
    ///
    /// # Errors
    ///
    /// [`OpenError::Damaged`] where something that was acknowledged can't be read.
    pub(super) fn read(log: &Path) -> Result<Option<[Generation; 2]>, OpenError> {
        let paths = NAMES.map(|name| log.join(name));
        let mut contents = Vec::new();
        for path in &paths {
            match fs::read(path) {
                Ok(bytes) => contents.push(Contents::read(&bytes).map_err(|problem| damaged(path, problem))?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(OpenError::File { path: path.clone(), source }),
            }
        }
        let [mut older, mut newer]: [Contents; 2] = match contents.len() {
            0 => return Ok(None),
            2 => contents.try_into().unwrap_or_else(|_| unreachable!("there are two")),
            _ => return Err(damaged(log, "one of the two files of its journal is missing")),
        };
        if older.header.generation > newer.header.generation {
            (older, newer) = (newer, older);
        }
        if older.header.generation.checked_add(1) != Some(newer.header.generation) {
            return Err(damaged(log, "the two files of its journal don't follow each other"));
        }
        if older.blocks != newer.header.blocks_before {
            return Err(damaged(log, "its journal has lost what it once had"));
        }
        Ok(Some([older, newer].map(|file| Generation { number: file.header.generation, changes: file.changes })))
    }

    /// Goes on with the files that are there, once all of `newest` is in the engine.
    pub(super) fn resume(log: &Path, newest: u64, syncs: bool) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: log.to_owned(), source };
        let open = |name: &str| -> io::Result<(File, u64)> {
            let file = File::options().write(true).open(log.join(name))?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let [(first, first_length), (second, second_length)] =
            [open(NAMES[0]).map_err(failed)?, open(NAMES[1]).map_err(failed)?];
        let mut journal = Self::over([first, second], [first_length, second_length], syncs);
        let blocks_before = count_of(log, newest)?;
        let header = Header { generation: newest + 1, salt: salt().map_err(failed)?, blocks_before, syncs };
        journal.begin(header).map_err(failed)?;
        Ok(journal)
    }

    fn over(files: [File; 2], lengths: [u64; 2], syncs: bool) -> Self {
        let header = Header { generation: 0, salt: 0, blocks_before: 0, syncs };
        Self { files, lengths, header, at: FIRST_BLOCK, blocks: 0, block: empty_block(), syncs }
    }

    /// The generation that is written.
    pub(super) fn generation(&self) -> u64 {
        self.header.generation
    }

    /// Adds to the next block.
    pub(super) fn add(&mut self, change: &Change) {
        let part = match change.part {
            Part::Commits => 0,
            Part::Notes => 1,
        };
        match &change.bytes {
            Some(bytes) => {
                self.block.put_u8(part);
                self.block.put_u64(change.key);
                self.block.put_u32(length32(bytes.len()));
                self.block.put_slice(bytes);
            }
            None => {
                self.block.put_u8(part | GONE);
                self.block.put_u64(change.key);
            }
        }
    }

    /// Writes all that was added since the last time.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.block.len() == BLOCK_HEADER_BYTES {
            return Ok(());
        }
        let length = length32(self.block.len() - BLOCK_HEADER_BYTES);
        let mut header = &mut self.block[4..BLOCK_HEADER_BYTES];
        header.put_u32(length);
        header.put_u64(self.header.generation);
        header.put_u32(self.blocks);
        let (numbers, mut its_checksum) = self.block[4..BLOCK_HEADER_BYTES].split_at_mut(BLOCK_HEADER_BYTES - 8);
        its_checksum.put_u32(checksum(self.header.salt, numbers));
        let checksum = checksum(self.header.salt, &self.block[4..]);
        self.block[..4].copy_from_slice(&checksum.to_be_bytes());
        // Whole pages: of one that was not in memory a part could be written only once it was read.
        self.block.resize(self.block.len().next_multiple_of(PAGE), 0);
        let file = self.file();
        let end = self.at + self.block.len() as u64;
        self.files[file].write_all_at(&self.block, self.at)?;
        if end > self.lengths[file] {
            let grown = end.max(self.lengths[file] + GROW_BYTES);
            // Written, and not only set aside: a page that was never written costs a change of metadata when it is.
            self.files[file].write_all_at(&vec![0; (grown - end) as usize], end)?;
            self.lengths[file] = grown;
        }
        if self.syncs {
            self.files[file].sync_data()?;
        }
        self.at = end;
        self.blocks += 1;
        if self.block.capacity() > GROW_BYTES as usize {
            self.block = empty_block();
        } else {
            self.block.truncate(BLOCK_HEADER_BYTES);
        }
        Ok(())
    }

    /// Whether it is time for the next generation.
    pub(super) fn is_full(&self) -> bool {
        self.at >= GENERATION_BYTES
    }

    /// Begins the next generation, in the file of the one before this one: that must be in the engine by now.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        if !self.syncs {
            // What comes after it may reach the disk by itself.
            self.files[self.file()].sync_data()?;
        }
        let header = Header {
            generation: self.header.generation + 1,
            salt: salt()?,
            blocks_before: self.blocks,
            syncs: self.syncs,
        };
        self.begin(header)
    }

    fn begin(&mut self, header: Header) -> io::Result<()> {
        self.header = header;
        (self.at, self.blocks) = (FIRST_BLOCK, 0);
        let file = self.file();
        if self.lengths[file] > FIRST_BLOCK + GENERATION_BYTES {
            self.files[file].set_len(FIRST_BLOCK + GENERATION_BYTES)?;
            self.lengths[file] = FIRST_BLOCK + GENERATION_BYTES;
        }
        let bytes = header.encode();
        for page in [0, PAGE] {
            self.files[file].write_all_at(&bytes, page as u64)?;
            self.files[file].sync_data()?;
        }
        self.lengths[file] = self.lengths[file].max(FIRST_BLOCK);
        Ok(())
    }

    fn file(&self) -> usize {
        (self.header.generation % 2) as usize
    }
}

const GONE: u8 = 2;

/// The generation of a file of the journal, and how many whole blocks of it the bytes have.
///
/// # Errors
///
/// Where they are no such file, or something that was acknowledged is damaged; what that is.
pub fn blocks(file: &[u8]) -> Result<(u64, u32), &'static str> {
    Contents::read(file).map(|contents| (contents.header.generation, contents.blocks))
}

impl Header {
    fn encode(&self) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        let mut rest = &mut page[4..HEADER_BYTES];
        rest.put_slice(MAGIC);
        rest.put_u32(FORMAT);
        rest.put_u64(self.generation);
        rest.put_u64(self.salt);
        rest.put_u32(self.blocks_before);
        rest.put_u32(u32::from(self.syncs));
        let checksum = crc32fast::hash(&page[4..HEADER_BYTES]);
        page[..4].copy_from_slice(&checksum.to_be_bytes());
        page
    }

    fn decode(page: &[u8]) -> Option<Self> {
        let (checksum, rest) = page.get(..HEADER_BYTES)?.split_first_chunk::<4>()?;
        if crc32fast::hash(rest) != u32::from_be_bytes(*checksum)
            || !rest.starts_with(MAGIC)
            || number32(rest, 8)? != FORMAT
        {
            return None;
        }
        let (generation, salt) = (number64(rest, 12)?, number64(rest, 20)?);
        Some(Self { generation, salt, blocks_before: number32(rest, 28)?, syncs: number32(rest, 32)? != 0 })
    }
}

/// A block's own numbers, whatever they are worth.
struct BlockHeader {
    checksum: u32,
    length: usize,
    generation: u64,
    number: u32,
}

impl BlockHeader {
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let header = bytes.get(at..at.checked_add(BLOCK_HEADER_BYTES)?)?;
        Some(Self {
            checksum: number32(header, 0)?,
            length: number32(header, 4)? as usize,
            generation: number64(header, 8)?,
            number: number32(header, 16)?,
        })
    }

    /// Whether its numbers are as they were written in the generation.
    fn is_of(&self, bytes: &[u8], at: usize, header: &Header) -> bool {
        let numbers = &bytes[at + 4..at + BLOCK_HEADER_BYTES];
        let (numbers, its_checksum) = numbers.split_at(numbers.len() - 4);
        self.generation == header.generation && number32(its_checksum, 0) == Some(checksum(header.salt, numbers))
    }

    /// All of it but the checksum, where that is right.
    fn whole<'a>(&self, bytes: &'a [u8], at: usize, header: &Header) -> Option<&'a [u8]> {
        let end = (at + BLOCK_HEADER_BYTES).checked_add(self.length)?;
        let checked = bytes.get(at + 4..end)?;
        (self.generation == header.generation && checksum(header.salt, checked) == self.checksum).then_some(checked)
    }
}

impl Contents {
    fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let headers = [0, PAGE].into_iter().filter_map(|at| Header::decode(bytes.get(at..)?));
        let header = headers.max_by_key(|header| header.generation).ok_or("it has no header that can be read")?;
        let mut contents = Self { header, blocks: 0, changes: Vec::new() };
        let mut at = FIRST_BLOCK as usize;
        while let Some(found) = BlockHeader::at(bytes, at)
            && found.number == contents.blocks
            && let Some(block) = found.whole(bytes, at, &header)
        {
            read_changes(&block[BLOCK_HEADER_BYTES - 4..], &mut contents.changes)
                .ok_or("a block of it contradicts itself")?;
            contents.blocks += 1;
            at = (at + BLOCK_HEADER_BYTES + found.length).next_multiple_of(PAGE);
        }
        if header.syncs && later_block_begun(bytes, at, contents.blocks, &header) {
            return Err("a block of it is damaged, and others follow");
        }
        // Where the first block goes there was never anything but a first block's header; further on there may be any bytes of a former one.
        let first = BlockHeader::at(bytes, at).filter(|_| contents.blocks == 0);
        if first.is_some_and(|found| found.number == 0 && found.generation > header.generation) {
            return Err("its header is older than what follows");
        }
        Ok(contents)
    }
}

/// Whether a block of the generation that comes after that number was ever begun.
fn later_block_begun(bytes: &[u8], from: usize, number: u32, header: &Header) -> bool {
    (from..bytes.len()).step_by(PAGE).any(|at| {
        let found = BlockHeader::at(bytes, at).filter(|found| found.number > number);
        found.is_some_and(|found| found.is_of(bytes, at, header))
    })
}

fn read_changes(mut rest: &[u8], into: &mut Vec<Change>) -> Option<()> {
    while let Some((what, after)) = rest.split_first() {
        let part = [Part::Commits, Part::Notes][usize::from(what & 1)];
        let key = number64(after, 0)?;
        rest = &after[8..];
        let bytes = match what & !1 {
            0 => {
                let length = number32(rest, 0)? as usize;
                let bytes = rest[4..].get(..length)?;
                rest = &rest[4 + length..];
                Some(Bytes::copy_from_slice(bytes))
            }
            GONE => None,
            _ => return None,
        };
        into.push(Change { part, key, bytes });
    }
    Some(())
}

/// How many blocks a generation has that is there.
fn count_of(log: &Path, generation: u64) -> Result<u32, OpenError> {
    let path = log.join(NAMES[(generation % 2) as usize]);
    let bytes = fs::read(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
    let contents = Contents::read(&bytes).map_err(|problem| damaged(&path, problem))?;
    if contents.header.generation == generation {
        Ok(contents.blocks)
    } else {
        Err(damaged(&path, "it is of another generation"))
    }
}

fn damaged(path: &Path, problem: &str) -> OpenError {
    OpenError::Damaged { file: path.display().to_string(), problem: problem.into() }
}

fn empty_block() -> BytesMut {
    BytesMut::zeroed(BLOCK_HEADER_BYTES)
}

fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn salt() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::other)
}

fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_be_bytes(*number))
}

fn number64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|number| u64::from_be_bytes(*number))
}

fn length32(length: usize) -> u32 {
    u32::try_from(length).expect("a group of commits is bounded far below 4 GiB")
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
