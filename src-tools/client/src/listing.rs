// SPDX-License-Identifier: CECILL-B
//! Contexts and their regions: `/proc/driver/knem/contexts` and `/proc/driver/knem/regions`.
//!
//! The driver shows the contexts of the reader's user, and all contexts to root. Numbers are ordinals and reveal
//! nothing about cookies.
//!
//! ```
//! let text = "# context uid pid regions bytes requests copied slots\n0 1000 4711 1 4096 9 36864 0\n";
//! let contexts = knem::listing::parse_contexts(text).unwrap();
//! assert_eq!((contexts[0].pid, contexts[0].pinned_bytes), (Some(4711), 4096));
//! ```

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use crate::Error;

/// A context: one open of the device for writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Context {
    /// Its number: ascending, never reused.
    pub context: u64,
    /// Number of the user who opened it.
    pub uid: u32,
    /// The process that opened it; `None` if it has exited or is not visible in this pid namespace.
    pub pid: Option<u32>,
    /// Number of its regions.
    pub regions: u64,
    /// Bytes of those regions.
    pub pinned_bytes: u64,
    /// Requests submitted through it.
    pub requests: u64,
    /// Bytes that those requests were to copy.
    pub requested_bytes: u64,
    /// Slots of its status array.
    pub slots: u64,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedRegion {
    /// Number of its context.
    pub context: u64,
    /// Its number: ascending within the context.
    pub region: u64,
    /// Its size.
    pub bytes: u64,
    /// Number of its physically contiguous pieces.
    pub extents: u64,
    /// Other processes may read it.
    pub readable: bool,
    /// Other processes may write it.
    pub writable: bool,
    /// Its first use destroys it.
    pub single_use: bool,
    /// Processes of all users may use it.
    pub any_user: bool,
    /// It is pinned only while it is copied, and has no extents.
    pub unpinned: bool,
}

/// The contexts and their regions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The contexts.
    pub contexts: Vec<Context>,
    /// Their regions.
    pub regions: Vec<ListedRegion>,
}

impl Listing {
    /// Iterates over the regions of a context.
    pub fn regions_of<'a>(&'a self, context: &Context) -> impl Iterator<Item = &'a ListedRegion> {
        let number = context.context;
        self.regions.iter().filter(move |region| region.context == number)
    }
}

/// Reads both lists in `directory`, usually [`crate::profile::DIRECTORY`]; `None` if the driver has none.
///
/// # Errors
/// [`Error::ProfileFormat`] and [`Error::System`].
pub fn read(directory: &Path) -> Result<Option<Listing>, Error> {
    let Some(contexts) = read_contexts(directory)? else { return Ok(None) };
    let regions = text(&directory.join("regions"))?.unwrap_or_default();
    Ok(Some(Listing { contexts, regions: parse_regions(&regions)? }))
}

/// Reads the list of contexts only; `None` if the driver has none.
///
/// # Errors
/// As [`read`].
pub fn read_contexts(directory: &Path) -> Result<Option<Vec<Context>>, Error> {
    text(&directory.join("contexts"))?.map(|text| parse_contexts(&text)).transpose()
}

fn text(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(Error::System { what: format!("reading {}", path.display()), source }),
    }
}

/// Parses the list of contexts.
///
/// # Errors
/// [`Error::ProfileFormat`] with the row that cannot be parsed.
pub fn parse_contexts(text: &str) -> Result<Vec<Context>, Error> {
    rows(text).map(|row| context(row).ok_or_else(|| Error::ProfileFormat { line: row.to_owned() })).collect()
}

/// Parses the list of regions.
///
/// # Errors
/// [`Error::ProfileFormat`] with the row that cannot be parsed.
pub fn parse_regions(text: &str) -> Result<Vec<ListedRegion>, Error> {
    rows(text).map(|row| region(row).ok_or_else(|| Error::ProfileFormat { line: row.to_owned() })).collect()
}

fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// Parses a row. Later versions append columns, which are ignored.
fn context(row: &str) -> Option<Context> {
    let mut words = row.split_ascii_whitespace();
    let mut number = || words.next()?.parse::<u64>().ok();
    Some(Context {
        context: number()?,
        uid: u32::try_from(number()?).ok()?,
        pid: Some(u32::try_from(number()?).ok()?).filter(|pid| *pid != 0),
        regions: number()?,
        pinned_bytes: number()?,
        requests: number()?,
        requested_bytes: number()?,
        slots: number()?,
    })
}

fn region(row: &str) -> Option<ListedRegion> {
    let words: Vec<&str> = row.split_ascii_whitespace().collect();
    let [context, region, bytes, extents, protection, flags, ..] = words[..] else { return None };
    let flag = |name| flags.split(',').any(|flag| flag == name);
    Some(ListedRegion {
        context: context.parse().ok()?,
        region: region.parse().ok()?,
        bytes: bytes.parse().ok()?,
        extents: extents.parse().ok()?,
        readable: protection.contains('r'),
        writable: protection.contains('w'),
        single_use: flag("single_use"),
        any_user: flag("any_user"),
        unpinned: flag("unpinned"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXTS: &str =
        "# context uid pid regions bytes requests copied slots\n1 0 77 2 8192 5 20480 4096\n2 1000 0 0 0 0 0 0\n";
    const REGIONS: &str =
        "# context region bytes extents protection flags\n1 0 4096 1 r- single_use\n1 3 4096 1 rw single_use,any_user\n2 0 1 0 -- unpinned\n";

    #[test]
    fn contexts_are_understood() {
        let contexts = parse_contexts(CONTEXTS).unwrap();
        assert_eq!(contexts.len(), 2);
        assert_eq!((contexts[0].pid, contexts[1].pid), (Some(77), None));
        assert_eq!((contexts[0].pinned_bytes, contexts[0].requested_bytes, contexts[0].slots), (8192, 20480, 4096));
    }

    #[test]
    fn regions_are_understood_and_belong_to_their_context() {
        let listing = Listing { contexts: parse_contexts(CONTEXTS).unwrap(), regions: parse_regions(REGIONS).unwrap() };
        let first: Vec<_> = listing.regions_of(&listing.contexts[0]).collect();
        assert_eq!(first.len(), 2);
        assert!(first[0].readable && !first[0].writable && first[0].single_use && !first[0].any_user);
        assert!(first[1].readable && first[1].writable && first[1].single_use && first[1].any_user);
        let region = &listing.regions[2];
        assert!(!region.readable && !region.writable && !region.single_use && !region.any_user);
        assert!(region.unpinned && !first[0].unpinned && !first[1].unpinned);
    }

    #[test]
    fn columns_that_came_later_do_no_harm() {
        assert!(parse_contexts("1 0 77 2 8192 5 20480 4096 more\n").is_ok());
        assert!(parse_regions("1 0 4096 1 r- - 17\n").is_ok());
    }

    #[test]
    fn nonsense_is_refused_with_the_row() {
        assert!(parse_contexts("1 2 3\n").unwrap_err().to_string().contains("1 2 3"));
        assert!(parse_contexts("1 0 x 2 8192 5 20480 4096\n").is_err());
        assert!(parse_regions("1 0 many 1 r- -\n").unwrap_err().to_string().contains("many"));
    }

    #[test]
    fn a_driver_without_lists_is_no_error() {
        assert_eq!(read(Path::new("/nowhere")).unwrap(), None);
    }
}
