// SPDX-License-Identifier: CECILL-B
//! The description for syzkaller: its numbers, structures and calls are those of the interface, and it names nothing
//! that is not there.

use std::collections::{BTreeMap, BTreeSet};

use knem_core::uapi::{CONSTANTS, LAYOUTS};

const DESCRIPTION: &str = include_str!("../syzkaller/dev_knem.txt");
const NUMBERS: &str = include_str!("../syzkaller/dev_knem.txt.const");

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

/// Words of the description that look like names of the interface.
fn names() -> BTreeSet<&'static str> {
    lines(DESCRIPTION)
        .filter(|line| !line.starts_with("include"))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with("KNEM_"))
        .collect()
}

#[test]
fn numbers_are_those_of_the_interface() {
    let known: BTreeMap<&str, u64> = CONSTANTS.iter().copied().collect();
    let mut there = BTreeSet::new();
    for line in lines(NUMBERS).skip(1) {
        let (name, value) = line.split_once(" = ").expect("NAME = NUMBER");
        assert_eq!(known.get(name).copied(), value.parse().ok(), "{name}");
        there.insert(name);
    }
    assert_eq!(names(), there, "each name that is used has its number");
    for name in known.keys().filter(|name| name.starts_with("KNEM_CMD_") && **name != "KNEM_CMD_MAGIC") {
        assert!(there.contains(name), "there is no call for {name}");
        assert!(DESCRIPTION.contains(&format!("\nioctl${name}(fd fd_knem, cmd const[{name}], ")), "{name}");
    }
}

/// Bytes of a field of the description.
fn size(kind: &str) -> u32 {
    let word = |name: &str| kind == name || kind.starts_with(&format!("{name}["));
    if ["int64", "vma64", "ptr64", "knem_cookie"].iter().any(|name| word(name)) || kind.ends_with(", int64]") {
        return 8;
    }
    assert!(word("int32") || kind.ends_with(", int32]"), "{kind}");
    4
}

#[test]
fn structures_are_those_of_the_interface() {
    let mut found = BTreeMap::new();
    let mut inside: Option<(&str, Vec<(&str, u32)>)> = None;
    for line in lines(DESCRIPTION) {
        if let Some(name) = line.strip_suffix(" {") {
            assert!(inside.is_none(), "{line}");
            inside = Some((name, Vec::new()));
        } else if line == "}" {
            let (name, fields) = inside.take().expect("an end has a start");
            found.insert(name, fields);
        } else if let Some((_, fields)) = &mut inside {
            let mut parts = line.trim().split('\t').filter(|part| !part.is_empty());
            let (field, kind) = (parts.next().expect("a field"), parts.next().expect("a type"));
            fields.push((field, size(kind)));
        }
    }
    for layout in LAYOUTS {
        let name = layout.name.strip_prefix("struct ").expect("a structure");
        let fields = found.remove(name).unwrap_or_else(|| panic!("{name} is missing"));
        let mut offset = 0;
        let laid: Vec<(&str, usize, usize)> = fields
            .iter()
            .map(|(field, size)| {
                let place = offset;
                offset += *size as usize;
                (*field, place, *size as usize)
            })
            .collect();
        assert_eq!(laid, layout.fields, "{name}");
        assert_eq!(offset, layout.size, "{name}");
    }
    assert!(found.is_empty(), "unknown structures: {found:?}");
}

#[test]
fn brackets_are_closed_and_types_are_known() {
    let known = [
        "array", "buffer", "bytesize", "const", "fd", "flags", "int32", "int64", "len", "ptr", "ptr64", "resource",
        "string", "vma", "vma64",
    ];
    for line in lines(DESCRIPTION).filter(|line| !line.starts_with("include") && !line.contains(" = ")) {
        let count = |wanted: char| line.chars().filter(|c| *c == wanted).count();
        assert_eq!((count('['), count('(')), (count(']'), count(')')), "{line}");
        for head in line.split('[').take(count('[')) {
            let word = head.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            assert!(known.contains(&word) || word == "fd_knem" || word == "knem_cookie", "{word} in {line}");
        }
    }
    for set in lines(DESCRIPTION).filter_map(|line| line.split_once(" = ")).map(|(set, _)| set) {
        assert!(DESCRIPTION.contains(&format!("flags[{set}")), "{set} is used");
    }
}
