// SPDX-License-Identifier: CECILL-B
//! Directories that an RPM package owns, so that they go when it goes. cargo-generate-rpm says it takes them (`dir = true`), and
//! then fails on the first one; so they are added to its packages, in the header's lists of files and in the archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use cpio::newc::{trailer, Builder, Reader};
use sha2::{Digest, Sha256};

use super::rpm_file::{Header, RpmFile, Value};
use knem_lab::cache::hex;
use knem_lab::run;

const FILE_MODES: u32 = 1030;
const FILE_TIMES: u32 = 1034;
const FILE_USERS: u32 = 1039;
const FILE_GROUPS: u32 = 1040;
const FILE_INODES: u32 = 1096;
const DIRECTORY_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIRECTORY_NAMES: u32 = 1118;
const COMPRESSOR: u32 = 1125;
const COMPRESSOR_FLAGS: u32 = 1126;
const PAYLOAD_SHA256: u32 = 5092;
/// The same of the archive before it is compressed.
const ARCHIVE_SHA256: u32 = 5097;

/// Lists with an entry for each file, and what a directory has there. What is not here and not treated by name below would be as
/// long as before, and rpm would refuse the package.
const NUMBERS: &[(u32, u32)] = &[
    (1028, 0),        // sizes
    (1037, 0),        // flags
    (1045, u32::MAX), // what is verified: everything
    (1095, 1),        // devices
    (1143, 0),        // dependencies of the file: where they begin
    (1144, 0),        // and how many they are
];
const TEXTS: &[u32] = &[
    1035, // digests
    1036, // targets of links
    1097, // languages
];
/// Device numbers.
const SHORTS: &[u32] = &[1033];

/// The mode of a directory: everybody may look, the owner may change.
const MODE: u16 = 0o40755;

/// Adds the directories (absolute paths), and compresses the payload, which must not be compressed yet.
pub(crate) fn add(package: &mut RpmFile, directories: &[String], time: u32) -> Result<()> {
    let files = paths(&package.header)?;
    // rpm wants its list sorted. A directory has no place in the old list.
    let mut order: BTreeMap<String, Option<usize>> = directories.iter().map(|path| (path.clone(), None)).collect();
    order.extend(files.iter().enumerate().map(|(index, path)| (path.clone(), Some(index))));
    ensure!(order.len() == files.len() + directories.len(), "a directory is a file as well, or listed twice");
    lists(&mut package.header, &order, time)?;
    let archive = archive(&package.payload, &order, time)?;
    package.header.set(ARCHIVE_SHA256, digest(&archive));
    package.payload = compressed(&archive)?;
    package.header.set(PAYLOAD_SHA256, digest(&package.payload));
    package.header.set(COMPRESSOR, Value::Text("gzip".to_owned()));
    package.header.set(COMPRESSOR_FLAGS, Value::Text("9".to_owned()));
    Ok(())
}

fn digest(bytes: &[u8]) -> Value {
    Value::Texts(vec![hex(&Sha256::digest(bytes))])
}

/// The files of a package, as the header lists them.
pub(crate) fn paths(header: &Header) -> Result<Vec<String>> {
    let (Some(Value::Numbers(indexes)), Some(Value::Texts(bases)), Some(Value::Texts(directories))) =
        (header.get(DIRECTORY_INDEXES), header.get(BASE_NAMES), header.get(DIRECTORY_NAMES))
    else {
        bail!("it has no list of files");
    };
    let paths = indexes.iter().zip(bases).map(|(index, base)| {
        let directory = directories.get(*index as usize).context("a file is in no directory")?;
        Ok(format!("{directory}{base}"))
    });
    paths.collect()
}

/// Makes the header's lists anew in the new order.
fn lists(header: &mut Header, order: &BTreeMap<String, Option<usize>>, time: u32) -> Result<()> {
    let places: Vec<Option<usize>> = order.values().copied().collect();
    for (tag, of_directory) in NUMBERS.iter().copied().chain([(FILE_TIMES, time)]) {
        if let Some(Value::Numbers(old)) = header.get(tag) {
            header.set(tag, Value::Numbers(reordered(old, &places, &of_directory)?));
        }
    }
    let root = "root".to_owned();
    let texts = TEXTS.iter().map(|tag| (*tag, String::new())).chain([(FILE_USERS, root.clone()), (FILE_GROUPS, root)]);
    for (tag, of_directory) in texts {
        if let Some(Value::Texts(old)) = header.get(tag) {
            header.set(tag, Value::Texts(reordered(old, &places, &of_directory)?));
        }
    }
    for (tag, of_directory) in SHORTS.iter().map(|tag| (*tag, 0)).chain([(FILE_MODES, MODE)]) {
        if let Some(Value::Shorts(old)) = header.get(tag) {
            header.set(tag, Value::Shorts(reordered(old, &places, &of_directory)?));
        }
    }
    let count = u32::try_from(order.len())?;
    header.set(FILE_INODES, Value::Numbers((1..=count).collect()));

    let split = |path: &String| {
        let (directory, base) = path.rsplit_once('/').with_context(|| format!("{path} is not absolute"))?;
        Ok((format!("{directory}/"), base.to_owned()))
    };
    let split: Vec<(String, String)> = order.keys().map(split).collect::<Result<_>>()?;
    let mut names: Vec<String> = split.iter().map(|(directory, _)| directory.clone()).collect();
    names.sort();
    names.dedup();
    let indexes = split.iter().map(|(directory, _)| Ok(u32::try_from(names.partition_point(|name| name < directory))?));
    header.set(DIRECTORY_INDEXES, Value::Numbers(indexes.collect::<Result<_>>()?));
    header.set(BASE_NAMES, Value::Texts(split.into_iter().map(|(_, base)| base).collect()));
    header.set(DIRECTORY_NAMES, Value::Texts(names));
    Ok(())
}

/// A list in the new order, with `new` for what was not in it.
fn reordered<T: Clone>(old: &[T], places: &[Option<usize>], new: &T) -> Result<Vec<T>> {
    ensure!(old.len() == places.iter().flatten().count(), "a list of files is not as long as another one");
    Ok(places.iter().map(|place| place.map_or(new, |index| &old[index]).clone()).collect())
}

/// The archive with the directories, in the new order.
fn archive(old: &[u8], order: &BTreeMap<String, Option<usize>>, time: u32) -> Result<Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut rest = old;
    loop {
        let mut reader = Reader::new(rest).context("the payload is no archive")?;
        if reader.entry().is_trailer() {
            break;
        }
        let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
        let mut contents = Vec::new();
        reader.read_to_end(&mut contents)?;
        rest = reader.finish()?;
        files.insert(name, (mode, contents));
    }
    let mut archive = Vec::new();
    for (index, (path, place)) in order.iter().enumerate() {
        // rpm's names begin so.
        let name = format!(".{path}");
        let (mode, contents) = match place {
            None => (u32::from(MODE), Vec::new()),
            Some(_) => files.remove(&name).with_context(|| format!("{path} is not in the archive"))?,
        };
        let entry = Builder::new(&name).ino(u32::try_from(index + 1)?).mode(mode).mtime(time).nlink(1);
        let mut writer = entry.write(&mut archive, u32::try_from(contents.len())?);
        std::io::Write::write_all(&mut writer, &contents)?;
        writer.finish()?;
    }
    ensure!(files.is_empty(), "the archive has more files than the header");
    trailer(&mut archive)?;
    Ok(archive)
}

/// gzip is what every rpm understands.
fn compressed(archive: &[u8]) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let path = scratch.path().join("payload");
    fs::write(&path, archive)?;
    run::quiet(Command::new("gzip").args(["-9", "-n"]).arg(&path))?;
    read(&path.with_extension("gz"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_into_the_lists() {
        let mut header = Header::empty();
        header.set(DIRECTORY_INDEXES, Value::Numbers(vec![0, 1]));
        header.set(BASE_NAMES, Value::Texts(vec!["a".to_owned(), "b".to_owned()]));
        header.set(DIRECTORY_NAMES, Value::Texts(vec!["/usr/bin/".to_owned(), "/usr/src/x/".to_owned()]));
        header.set(FILE_MODES, Value::Shorts(vec![0o100_755, 0o100_644]));
        header.set(1028, Value::Numbers(vec![5, 6]));
        let mut old = Vec::new();
        for (path, text) in [("./usr/bin/a", "aaaaa"), ("./usr/src/x/b", "bbbbbb")] {
            let mut writer =
                Builder::new(path).mode(0o100_644).write(&mut old, u32::try_from(text.len()).expect("short"));
            std::io::Write::write_all(&mut writer, text.as_bytes()).expect("written");
            writer.finish().expect("written");
        }
        trailer(&mut old).expect("written");

        let files = paths(&header).expect("two");
        let mut order: BTreeMap<String, Option<usize>> = [("/usr/src/x".to_owned(), None)].into();
        order.extend(files.into_iter().enumerate().map(|(index, path)| (path, Some(index))));
        lists(&mut header, &order, 7).expect("made");
        assert_eq!(paths(&header).expect("three"), ["/usr/bin/a", "/usr/src/x", "/usr/src/x/b"]);
        assert_eq!(header.get(FILE_MODES), Some(&Value::Shorts(vec![0o100_755, MODE, 0o100_644])));
        assert_eq!(header.get(1028), Some(&Value::Numbers(vec![5, 0, 6])));

        let archive = archive(&old, &order, 7).expect("made");
        let text = String::from_utf8_lossy(&archive);
        let at = |name: &str| text.find(name).expect("there");
        assert!(at("./usr/bin/a") < at("./usr/src/x\0") && at("./usr/src/x\0") < at("./usr/src/x/b"));
        assert!(super::archive(&old, &order.into_iter().take(1).collect(), 7).is_err());
    }
}
