// SPDX-License-Identifier: CECILL-B
//! What rpmbuild says of every package by itself, and what the library in cargo-generate-rpm says in another way: that the package is
//! of no epoch, provides its own name in its version and release, has settings, and what rpm must know to take it.

use anyhow::{bail, Result};

use super::rpm_file::{Header, Value};

// Tags, as /usr/lib/rpm/rpmtag.h numbers them.
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const FILE_FLAGS: u32 = 1037;

/// Relations of a kind: the tags of names, flags and versions.
type Kind = (u32, u32, u32);
const PROVIDES: Kind = (1047, 1112, 1113);
const REQUIRES: Kind = (1049, 1048, 1050);
/// The names of all others, which may be conditions.
const OTHER_NAMES: &[u32] = &[1054, 1090, 5046, 5049, 5052, 5055];

// Flags of relations: rpm's RPMSENSE_.
const LESS: u32 = 1 << 1;
const EQUAL: u32 = 1 << 3;
const RPMLIB: u32 = 1 << 24;
const CONFIG: u32 = 1 << 28;

/// A file's flag: it is a setting.
const SETTING: u32 = 1;

/// What rpm calls an architecture in a package's relations; packages without one have no such relation.
const ISA: &[(&str, &str)] = &[("aarch64", "aarch-64"), ("x86_64", "x86-64")];

/// What a package that has conditions asks of rpm.
const CONDITIONS: (&str, &str) = ("rpmlib(RichDependencies)", "4.12.0-1");

/// A relation: name, flags, version.
type Relation = (String, u32, String);

/// Makes the relations of a package those that rpmbuild would make.
pub(crate) fn complete(header: &mut Header) -> Result<()> {
    let (Some(Value::Text(name)), Some(Value::Text(version)), Some(Value::Text(release)), Some(Value::Text(arch))) =
        (header.get(NAME), header.get(VERSION), header.get(RELEASE), header.get(ARCH))
    else {
        bail!("it has no name, version or architecture");
    };
    let (name, revision, arch) = (name.clone(), format!("{version}-{release}"), arch.clone());
    if header.get(EPOCH) == Some(&Value::Numbers(vec![0])) {
        header.remove(EPOCH);
    }
    let mut provides = relations(header, PROVIDES)?;
    let mut requires = relations(header, REQUIRES)?;

    let itself = [name.clone(), format!("{name}({arch})")];
    provides.retain(|relation| !itself.contains(&relation.0));
    provides.push((name.clone(), EQUAL, revision.clone()));
    if let Some((_, isa)) = ISA.iter().find(|names| names.0 == arch) {
        provides.push((format!("{name}({isa})"), EQUAL, revision.clone()));
    }
    let has_settings =
        matches!(header.get(FILE_FLAGS), Some(Value::Numbers(flags)) if flags.iter().any(|flags| flags & SETTING != 0));
    if has_settings {
        let settings = (format!("config({name})"), EQUAL | CONFIG, revision);
        provides.retain(|relation| relation.0 != settings.0);
        requires.retain(|relation| relation.0 != settings.0);
        provides.push(settings.clone());
        requires.push(settings);
    }
    // "Not after" is how rpmbuild says it: what an older rpm has not is refused.
    for (_, flags, _) in requires.iter_mut().filter(|relation| relation.1 & RPMLIB != 0) {
        *flags |= LESS | EQUAL;
    }
    let conditions = |name: &String| name.starts_with('(');
    let others = OTHER_NAMES.iter().filter_map(|tag| header.get(*tag));
    let has_conditions =
        others.into_iter().any(|names| matches!(names, Value::Texts(names) if names.iter().any(conditions)))
            || provides.iter().chain(&requires).any(|relation| conditions(&relation.0));
    if has_conditions && !requires.iter().any(|relation| relation.0 == CONDITIONS.0) {
        requires.push((CONDITIONS.0.to_owned(), LESS | EQUAL | RPMLIB, CONDITIONS.1.to_owned()));
    }
    // rpm looks names up in lists that are sorted.
    provides.sort();
    requires.sort();
    put(header, PROVIDES, provides);
    put(header, REQUIRES, requires);
    Ok(())
}

fn relations(header: &Header, (names, flags, versions): Kind) -> Result<Vec<Relation>> {
    let (Some(Value::Texts(names)), Some(Value::Numbers(flags)), Some(Value::Texts(versions))) =
        (header.get(names), header.get(flags), header.get(versions))
    else {
        bail!("it has no relations");
    };
    let list = names.iter().zip(flags).zip(versions);
    Ok(list.map(|((name, flags), version)| (name.clone(), *flags, version.clone())).collect())
}

fn put(header: &mut Header, kind: Kind, relations: Vec<Relation>) {
    let (mut names, mut flags, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    for relation in relations {
        names.push(relation.0);
        flags.push(relation.1);
        versions.push(relation.2);
    }
    header.set(kind.0, Value::Texts(names));
    header.set(kind.1, Value::Numbers(flags));
    header.set(kind.2, Value::Texts(versions));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(arch: &str, file_flags: u32, recommended: &str) -> (Vec<String>, Vec<String>, Header) {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut header = Header::empty();
        for (tag, value) in [(NAME, "a"), (VERSION, "1"), (RELEASE, "2"), (ARCH, arch)] {
            header.set(tag, text(value));
        }
        header.set(EPOCH, Value::Numbers(vec![0]));
        header.set(FILE_FLAGS, Value::Numbers(vec![0, file_flags]));
        header.set(OTHER_NAMES[2], Value::Texts(vec![recommended.to_owned()]));
        let relation = |name: &str, flags: u32, version: &str| (name.to_owned(), flags, version.to_owned());
        let own = format!("a({arch})");
        put(&mut header, PROVIDES, vec![relation("z", 0, ""), relation("a", EQUAL, "1"), relation(&own, EQUAL, "1")]);
        put(&mut header, REQUIRES, vec![relation("rpmlib(F)", RPMLIB | EQUAL, "4"), relation("b", LESS, "3")]);
        complete(&mut header).expect("a package");
        let shown = |kind| {
            let list = relations(&header, kind).expect("there");
            list.into_iter().map(|relation| format!("{} {:x} {}", relation.0, relation.1, relation.2)).collect()
        };
        (shown(PROVIDES), shown(REQUIRES), header.clone())
    }

    #[test]
    fn a_package_provides_itself_in_its_revision() {
        let (provides, requires, header) = completed("x86_64", 0, "c");
        assert_eq!(provides, ["a 8 1-2", "a(x86-64) 8 1-2", "z 0 "]);
        assert_eq!(requires, ["b 2 3", "rpmlib(F) 100000a 4"]);
        assert_eq!(header.get(EPOCH), None);
        assert_eq!(completed("noarch", 0, "c").0, ["a 8 1-2", "z 0 "]);
    }

    #[test]
    fn settings_and_conditions_are_told() {
        let (provides, requires, _) = completed("noarch", SETTING, "(c if d)");
        assert_eq!(provides, ["a 8 1-2", "config(a) 10000008 1-2", "z 0 "]);
        assert_eq!(
            requires,
            ["b 2 3", "config(a) 10000008 1-2", "rpmlib(F) 100000a 4", "rpmlib(RichDependencies) 100000a 4.12.0-1"]
        );
    }
}
