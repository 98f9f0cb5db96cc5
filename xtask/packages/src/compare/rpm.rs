// SPDX-License-Identifier: CECILL-B
//! What there is to know of a .rpm file. rpm itself is asked, in the userland with the packaging tools.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Error, Result};

use super::Facts;
use knem_lab::chroot::Chroot;
use knem_lab::lab::Lab;
use knem_lab::run;

/// Where the packages are in the tree.
const PLACE: &str = "compare";

/// A line for each file: path, mode, owner, group, flags (configuration, documentation, licence), digest, target of a link.
const FILES: &str = "[%{FILENAMES}\\t%{FILEMODES:octal}\\t%{FILEUSERNAME}\\t%{FILEGROUPNAME}\\t%{FILEFLAGS:fflags}\\t\
                     %{FILEDIGESTS}\\t%{FILELINKTOS}\\n]";

/// Tags with one value.
const TAGS: &[&str] = &[
    "NAME",
    "VERSION",
    "RELEASE",
    "EPOCH",
    "ARCH",
    "OS",
    "SUMMARY",
    "LICENSE",
    "DESCRIPTION",
    "SOURCERPM",
    "BUILDHOST",
    "CHANGELOGTEXT",
    "CHANGELOGNAME",
    "CHANGELOGTIME",
];

/// Kinds of relations, as rpm's options are called.
const RELATIONS: &[&str] = &["requires", "recommends", "suggests", "provides", "conflicts", "obsoletes"];

/// Scriptlets: the tag of the text; that of the program that runs it ends in `PROG`.
const SCRIPTLETS: &[&str] = &["PREIN", "POSTIN", "PREUN", "POSTUN", "PRETRANS", "POSTTRANS"];

/// What rpm runs a scriptlet with that names no program.
const SHELL: &str = "/bin/sh";

/// The facts of each pair of packages.
pub(super) fn facts(lab: &Lab, pairs: &[(PathBuf, PathBuf)]) -> Result<Vec<(Facts, Facts)>> {
    let userlands = lab.userlands();
    let stack = userlands.with_packaging_tools()?;
    let mut known = Vec::new();
    userlands.in_passing(&stack, |tree, chroot| {
        fs::create_dir(tree.join(PLACE))?;
        let mut number = 0;
        let mut ask = |file: &PathBuf| {
            number += 1;
            let name = format!("{PLACE}/{number}.rpm");
            fs::copy(file, tree.join(&name)).with_context(|| format!("cannot copy {}", file.display()))?;
            of_one(chroot, &format!("/{name}")).with_context(|| file.display().to_string())
        };
        for (ours, theirs) in pairs {
            known.push((ask(ours)?, ask(theirs)?));
        }
        Ok(())
    })?;
    Ok(known)
}

fn of_one(chroot: &Chroot, package: &str) -> Result<Facts> {
    let query = |arguments: &[&str]| run::output(chroot.command("rpm").arg("-qp").args(arguments).arg(package));
    let mut facts = of_files(&query(&["--qf", FILES])?);
    let tag = |tag: &str| Ok::<_, Error>(query(&["--qf", &format!("[%{{{tag}}}\\n]")])?.trim().to_owned());
    for name in TAGS {
        facts.insert((*name).to_owned(), tag(name)?);
    }
    for name in SCRIPTLETS {
        let text = tag(name)?;
        if !text.is_empty() {
            let program = Some(tag(&format!("{name}PROG"))?).filter(|program| !program.is_empty());
            facts.insert(format!("scriptlet {name}"), format!("{}\n{text}", program.as_deref().unwrap_or(SHELL)));
        }
    }
    for kind in RELATIONS {
        for line in query(&[&format!("--{kind}")])?.lines() {
            let (name, rest) = relation(line);
            facts.insert(format!("{kind} {name}"), rest.to_owned());
        }
    }
    facts.insert("filetriggers".to_owned(), query(&["--filetriggers"])?.trim_end().to_owned());
    Ok(facts)
}

/// The statements in what [`FILES`] gives.
fn of_files(text: &str) -> Facts {
    let mut facts = Facts::new();
    for line in text.lines() {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or_default();
        let (path, mode, user, group) = (next(), next(), next(), next());
        facts.insert(format!("mode {path}"), format!("{mode} {user}:{group}"));
        for kind in ["flags", "contents", "link"] {
            let value = next();
            if !value.is_empty() {
                facts.insert(format!("{kind} {path}"), value.to_owned());
            }
        }
    }
    facts
}

/// A relation's name, and the version it asks for. Conditions have blanks, and are names.
fn relation(line: &str) -> (&str, &str) {
    match line.split_once(' ') {
        Some(parts) if !line.starts_with('(') => parts,
        _ => (line, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        let facts = of_files("/etc/a\t0100644\troot\troot\tcn\tabc\t\n/usr/src/k\t040755\troot\troot\t\t\t\n");
        let list: Vec<String> = facts.into_iter().map(|(subject, value)| format!("{subject}={value}")).collect();
        assert_eq!(
            list,
            [
                "contents /etc/a=abc",
                "flags /etc/a=cn",
                "mode /etc/a=0100644 root:root",
                "mode /usr/src/k=040755 root:root"
            ]
        );
    }

    #[test]
    fn relations_are_parted() {
        assert_eq!(relation("dkms >= 3.0.11"), ("dkms", ">= 3.0.11"));
        assert_eq!(relation("gcc"), ("gcc", ""));
        assert_eq!(relation("(a if b)"), ("(a if b)", ""));
    }
}
