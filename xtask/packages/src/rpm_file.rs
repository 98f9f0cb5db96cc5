// SPDX-License-Identifier: CECILL-B
//! The outer form of an RPM file: a lead, a header with digests and signatures, the header proper, and the payload.
//!
//! cargo-generate-rpm knows neither descriptions nor changelogs nor file triggers, and there is no tool that changes the header of
//! a finished package. The crate that could takes a newer compiler than the rest of the project. The form is simple, has been the
//! same since 1997, and rpm itself checks what is written here (see lint.rs).

use anyhow::{bail, Context, Result};
use sha2::{Digest, Sha256};

use knem_lab::cache::hex;

/// The size of the lead, which is of no use any more.
const LEAD: usize = 96;

/// What a header begins with: magic, version, four reserved bytes.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];

/// The size of an index entry: tag, kind, offset, count.
const ENTRY: usize = 16;

/// The entry that says how far what was signed reaches: of the header proper, and of the one with the signatures.
const IMMUTABLE: u32 = 63;
const SIGNATURES: u32 = 62;

/// Digest of the header, and size of header and payload, in the header with the signatures.
const SIG_SHA256: u32 = 273;
const SIG_SIZE: u32 = 1000;
/// Size of the uncompressed payload.
const SIG_PAYLOAD_SIZE: u32 = 1007;

/// The value of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Numbers of 16 bits.
    Shorts(Vec<u16>),
    /// Numbers of 32 bits.
    Numbers(Vec<u32>),
    /// One string.
    Text(String),
    /// Several strings.
    Texts(Vec<String>),
    /// One string in the one language there is.
    Translated(String),
    /// What is only carried along: the kind, the count, and the bytes.
    Other(u32, u32, Vec<u8>),
}

/// A header: entries in the order of their tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    region: u32,
    entries: Vec<(u32, Value)>,
}

/// A package file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RpmFile {
    lead: Vec<u8>,
    signatures: Header,
    /// The header proper.
    pub(crate) header: Header,
    /// The compressed files.
    pub(crate) payload: Vec<u8>,
}

impl RpmFile {
    /// Takes a package apart.
    ///
    /// # Errors
    /// When it is no such file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let Some((lead, rest)) = bytes.split_at_checked(LEAD) else { bail!("too short for an RPM package") };
        let (signatures, size) = Header::parse(rest, SIGNATURES).context("the header with the signatures")?;
        // It is padded, what follows is not.
        let rest = rest.get(size.next_multiple_of(8)..).context("there is no header")?;
        let (header, size) = Header::parse(rest, IMMUTABLE).context("the header")?;
        Ok(Self { lead: lead.to_vec(), signatures, header, payload: rest[size..].to_vec() })
    }

    /// Puts it together, with digests of what it is now, and without a signature.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header = self.header.bytes();
        let mut signatures = Header { region: SIGNATURES, entries: Vec::new() };
        signatures.set(SIG_SHA256, Value::Text(hex(&Sha256::digest(&header))));
        // Packages here are far from 4 GiB.
        let size = u32::try_from(header.len() + self.payload.len()).unwrap_or(u32::MAX);
        signatures.set(SIG_SIZE, Value::Numbers(vec![size]));
        if let Some(value) = self.signatures.get(SIG_PAYLOAD_SIZE) {
            signatures.set(SIG_PAYLOAD_SIZE, value.clone());
        }
        let mut bytes = self.lead.clone();
        let signatures = signatures.bytes();
        bytes.extend(&signatures);
        bytes.resize(LEAD + signatures.len().next_multiple_of(8), 0);
        bytes.extend(header);
        bytes.extend(&self.payload);
        bytes
    }
}

impl Header {
    /// A header without entries.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self { region: IMMUTABLE, entries: Vec::new() }
    }

    /// The value of a tag.
    pub(crate) fn get(&self, tag: u32) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.0 == tag).map(|entry| &entry.1)
    }

    /// Gives a tag a value, instead of the one it had.
    pub(crate) fn set(&mut self, tag: u32, value: Value) {
        self.remove(tag);
        let place = self.entries.partition_point(|entry| entry.0 < tag);
        self.entries.insert(place, (tag, value));
    }

    /// Takes a tag out.
    pub(crate) fn remove(&mut self, tag: u32) {
        self.entries.retain(|entry| entry.0 != tag);
    }

    /// All tags, in order.
    pub(crate) fn tags(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries.iter().map(|entry| entry.0)
    }

    /// Reads a header whose first entry is `region`, and how many bytes it has.
    fn parse(bytes: &[u8], region: u32) -> Result<(Self, usize)> {
        if bytes.get(..4) != Some(&MAGIC[..4]) {
            bail!("it does not begin like one");
        }
        let count = number(bytes, 8)? as usize;
        let index = MAGIC.len() + 8;
        let store = index + count * ENTRY;
        let end = store + number(bytes, 12)? as usize;
        let store = bytes.get(store..end).context("it is cut off")?;
        let mut entries = Vec::new();
        for at in (index..).step_by(ENTRY).take(count) {
            let [tag, kind, offset, count] = [0, 4, 8, 12].map(|field| number(bytes, at + field));
            let (tag, kind, count) = (tag?, kind?, count?);
            let data = store.get(offset? as usize..).with_context(|| format!("tag {tag} has no value"))?;
            if tag != region {
                entries.push((tag, value(kind, count, data).with_context(|| format!("tag {tag}"))?));
            }
        }
        entries.sort_by_key(|entry| entry.0);
        Ok((Self { region, entries }, end))
    }

    fn bytes(&self) -> Vec<u8> {
        let (mut index, mut store) = (Vec::new(), Vec::new());
        for (tag, value) in &self.entries {
            let (kind, count, data) = stored(value);
            // Numbers lie at multiples of their size.
            let alignment = match kind {
                3 => 2,
                4 => 4,
                5 => 8,
                _ => 1,
            };
            store.resize(store.len().next_multiple_of(alignment), 0);
            index.extend(entry([*tag, kind, size(store.len()), count]));
            store.extend(data);
        }
        // The region comes first. Its value is an entry that points back to the beginning of the index.
        let count = self.entries.len() + 1;
        let region = entry([self.region, 7, size(store.len()), size(ENTRY)]);
        store.extend(entry([self.region, 7, size(count * ENTRY).wrapping_neg(), size(ENTRY)]));
        let mut bytes = MAGIC.to_vec();
        bytes.extend(size(count).to_be_bytes());
        bytes.extend(size(store.len()).to_be_bytes());
        bytes.extend(region);
        bytes.extend(index);
        bytes.extend(store);
        bytes
    }
}

/// An entry of the index.
fn entry(fields: [u32; 4]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_be_bytes()).collect()
}

/// Headers are limited to some MiB.
fn size(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("it is cut off")?;
    Ok(u32::from_be_bytes(bytes.try_into()?))
}

/// Reads `count` things of a kind from the beginning of `data`.
fn value(kind: u32, count: u32, data: &[u8]) -> Result<Value> {
    let count_there = count as usize;
    let width = match kind {
        1 | 2 | 7 => 1,
        3 => 2,
        4 => 4,
        5 => 8,
        6 | 8 | 9 => {
            let mut texts = Vec::new();
            for text in data.split(|byte| *byte == 0).take(count_there) {
                texts.push(String::from_utf8(text.to_vec())?);
            }
            return match (kind, <[String; 1]>::try_from(texts)) {
                (6, Ok([text])) => Ok(Value::Text(text)),
                (9, Ok([text])) => Ok(Value::Translated(text)),
                (8, Ok([text])) => Ok(Value::Texts(vec![text])),
                (8, Err(texts)) if texts.len() == count_there => Ok(Value::Texts(texts)),
                _ => bail!("{count} strings of kind {kind} are not there, or more than one"),
            };
        }
        _ => bail!("kind {kind} is unknown"),
    };
    let data = data.get(..count_there * width).context("it is cut off")?;
    if kind == 4 {
        let numbers = data.chunks_exact(4).map(|bytes| number(bytes, 0)).collect::<Result<_>>()?;
        return Ok(Value::Numbers(numbers));
    }
    if kind == 3 {
        return Ok(Value::Shorts(data.chunks_exact(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]])).collect()));
    }
    Ok(Value::Other(kind, count, data.to_vec()))
}

/// Kind, count and bytes.
fn stored(value: &Value) -> (u32, u32, Vec<u8>) {
    let ended = |text: &String| [text.as_bytes(), &[0]].concat();
    match value {
        Value::Shorts(numbers) => {
            (3, size(numbers.len()), numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
        }
        Value::Numbers(numbers) => {
            (4, size(numbers.len()), numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
        }
        Value::Text(text) => (6, 1, ended(text)),
        Value::Texts(texts) => (8, size(texts.len()), texts.iter().flat_map(ended).collect()),
        Value::Translated(text) => (9, 1, ended(text)),
        Value::Other(kind, count, bytes) => (*kind, *count, bytes.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RpmFile {
        let mut header = Header::empty();
        header.set(1030, Value::Shorts(vec![0x81a4]));
        header.set(1000, Value::Text("x".to_owned()));
        header.set(1009, Value::Numbers(vec![1, 2]));
        header.set(1117, Value::Texts(vec!["a".to_owned(), String::new(), "b".to_owned()]));
        header.set(1005, Value::Translated("long".to_owned()));
        let mut signatures = Header { region: SIGNATURES, entries: Vec::new() };
        signatures.set(SIG_PAYLOAD_SIZE, Value::Numbers(vec![4]));
        RpmFile { lead: vec![1; LEAD], signatures, header, payload: vec![9; 4] }
    }

    #[test]
    fn what_is_written_is_read() {
        let package = sample();
        let read = RpmFile::parse(&package.bytes()).expect("whole");
        assert_eq!(read.header, package.header);
        assert_eq!(read.payload, package.payload);
        assert_eq!(read.signatures.get(SIG_PAYLOAD_SIZE), Some(&Value::Numbers(vec![4])));
        assert_eq!(read.bytes(), package.bytes());
        let tags: Vec<u32> = read.header.tags().collect();
        assert_eq!(tags, [1000, 1005, 1009, 1030, 1117]);
    }

    #[test]
    fn a_change_changes_the_digest() {
        let mut package = sample();
        let digest = |package: &RpmFile| {
            RpmFile::parse(&package.bytes()).expect("whole").signatures.get(SIG_SHA256).cloned().expect("there")
        };
        let before = digest(&package);
        package.header.set(1005, Value::Translated("longer".to_owned()));
        assert_ne!(before, digest(&package));
        assert_eq!(RpmFile::parse(&package.bytes()).expect("whole").header, package.header);
    }

    #[test]
    fn what_is_cut_off_is_no_package() {
        let bytes = sample().bytes();
        for length in [0, LEAD, LEAD + 20, bytes.len() - 60] {
            assert!(RpmFile::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
