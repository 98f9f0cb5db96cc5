// SPDX-License-Identifier: CECILL-B
//! Checks debian/copyright against the crates in the release: each is listed under a licence that it offers, with all
//! copyright holders that its own files name.

use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};
use toml::Table;

use super::licence::{choices, Licences};

/// Licences that Debian calls by another name than SPDX.
const NAMES: &[(&str, &str)] = &[("Expat", "MIT")];

/// Prefixes of the names of files in which crates state their copyright.
const NOTICES: &[&str] = &["COPYING", "COPYRIGHT", "LICENCE", "LICENSE", "NOTICE"];

/// The paragraphs of debian/copyright that are about files.
pub(super) struct Copyright {
    paragraphs: Vec<Paragraph>,
}

struct Paragraph {
    files: Vec<String>,
    holders: String,
    licences: Licences,
}

impl Copyright {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let paragraphs = text.split("\n\n").map(fields).filter_map(|fields| {
            let value = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1.clone());
            let licences = value("License")?.split(" and ").map(spdx).collect();
            let files = value("Files")?.split_whitespace().map(str::to_owned).collect();
            Some(Paragraph { files, holders: value("Copyright")?, licences })
        });
        Self { paragraphs: paragraphs.collect() }
    }

    /// The licences under which a crate's files, in the directory of `vendor/` with this name, are said to be.
    pub(super) fn licences(&self, directory: &str) -> Licences {
        let of_it = format!("vendor/{directory}/");
        let special = self.paragraphs.iter().filter(|each| each.files.iter().any(|file| file.starts_with(&of_it)));
        special.chain(self.of(&format!("{of_it}Cargo.toml"))).flat_map(|each| each.licences.iter().cloned()).collect()
    }

    /// Fails if what is said of the crate in this directory is not what the crate says.
    pub(super) fn demand(&self, directory: &Path, package: &Table) -> Result<()> {
        let name = directory.file_name().and_then(|name| name.to_str()).context("a crate's directory has a name")?;
        let paragraph = self.of(&format!("vendor/{name}/Cargo.toml"));
        let paragraph = paragraph.with_context(|| format!("debian/copyright says nothing of vendor/{name}"))?;
        let offered = package.get("license").and_then(toml::Value::as_str).unwrap_or_default();
        if !choices(offered).with_context(|| name.to_owned())?.contains(&paragraph.licences) {
            bail!(
                "debian/copyright says that vendor/{name} is under {}, and it is under {offered}",
                paragraph.licences.iter().cloned().collect::<Vec<_>>().join(" and ")
            );
        }
        for holder in holders(directory, package)? {
            if !paragraph.holders.to_lowercase().contains(&holder.to_lowercase()) {
                bail!("debian/copyright does not name {holder}, of vendor/{name}");
            }
        }
        Ok(())
    }

    /// The paragraph on a file: the last one that is about it.
    fn of(&self, path: &str) -> Option<&Paragraph> {
        self.paragraphs.iter().rfind(|each| each.files.iter().any(|pattern| matches(pattern, path)))
    }
}

/// The fields of a paragraph, lines that continue one joined by spaces.
fn fields(paragraph: &str) -> Vec<(&str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in paragraph.lines() {
        match (line.strip_prefix(' '), line.split_once(':'), fields.last_mut()) {
            (Some(more), _, Some(last)) => last.1 = format!("{} {}", last.1, more.trim()),
            (None, Some((name, value)), _) => fields.push((name, value.trim().to_owned())),
            _ => {}
        }
    }
    fields
}

fn spdx(name: &str) -> String {
    NAMES.iter().find(|names| names.0 == name).map_or(name, |names| names.1).to_owned()
}

/// Whether a pattern is about a path; `*` is anything.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((beginning, rest)) => path.strip_prefix(beginning).is_some_and(|path| {
            path.char_indices().map(|(at, _)| &path[at..]).chain([""]).any(|path| matches(rest, path))
        }),
    }
}

/// Returns the copyright holders of a crate: those in its licence files, or else its authors, or else `contributors of
/// NAME`.
fn holders(directory: &Path, package: &Table) -> Result<Vec<String>> {
    let mut holders = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && NOTICES.iter().any(|notice| name.starts_with(notice)) {
            let text = fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?;
            holders.extend(String::from_utf8_lossy(&text).lines().filter_map(holder));
        }
    }
    let authors = package.get("authors").and_then(toml::Value::as_array);
    if holders.is_empty() {
        let authors = authors.into_iter().flatten().filter_map(toml::Value::as_str);
        holders.extend(authors.map(|author| without_address(author).to_owned()));
    }
    if holders.is_empty() {
        holders.extend(package.get("name").and_then(toml::Value::as_str).map(|name| format!("contributors of {name}")));
    }
    Ok(holders)
}

/// Returns the name in a line such as `Copyright (c) 2015-2018 Name <address>`.
fn holder(line: &str) -> Option<String> {
    let text = line.trim().strip_prefix("Copyright ")?;
    // Where the licence shows how it is to be used.
    if text.contains("[yyyy]") || text.contains("{yyyy}") {
        return None;
    }
    let text = ["(c)", "(C)", "©"].iter().find_map(|sign| text.strip_prefix(sign)).unwrap_or(text);
    let name = text.trim_start_matches(|letter: char| !letter.is_alphabetic());
    let name = without_address(name).trim_end_matches([']', '.']);
    (!name.is_empty()).then(|| name.to_owned())
}

fn without_address(name: &str) -> &str {
    name.split('<').next().unwrap_or(name).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "Format: x\n\nFiles: *\nCopyright: us\nLicense: CeCILL-B\n\nFiles: vendor/*\nCopyright: 2015 One\n Two\n\
        License: Expat\n\nFiles: vendor/b/*\n vendor/c/*\nCopyright: Three\nLicense: Expat and Unicode-3.0\n\n\
        Files: vendor/b/font.ttf\nCopyright: Four\nLicense: Apache-2.0\n\nLicense: Expat\n Text.\n";

    fn said(directory: &str, manifest: &str, notice: &str) -> Result<()> {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join(directory);
        fs::create_dir(&path).expect("made");
        fs::write(path.join("LICENSE-MIT"), notice).expect("written");
        Copyright::parse(TEXT).demand(&path, &manifest.parse().expect("a table"))
    }

    #[test]
    fn licences_are_those_that_the_crate_offers() {
        said("a", "license = 'MIT OR Apache-2.0'", "Copyright (c) 2015 One").expect("true");
        said("b", "license = '(MIT OR Apache-2.0) AND Unicode-3.0'", "Copyright Three").expect("true");
        assert!(said("a", "license = 'Apache-2.0'", "Copyright (c) 2015 One").is_err());
        assert!(said("b", "license = 'MIT'", "Copyright Three").is_err());
        assert!(said("a", "", "Copyright (c) 2015 One").is_err(), "a crate that says nothing");
    }

    #[test]
    fn everybody_is_named() {
        said("a", "license = 'MIT'", "Copyright (c) 2015 One <one@x>\n\nCopyright © 2016 Two.").expect("both");
        said("a", "license = 'MIT'\nauthors = ['two <two@x>']", "Text").expect("the author");
        let error = said("a", "license = 'MIT'", "Copyright 2015 Five").expect_err("unnamed").to_string();
        assert!(error.contains("Five") && error.contains("vendor/a"), "{error}");
        assert!(said("a", "license = 'MIT'\nauthors = ['Five']", "Text").is_err());
        assert!(said("a", "license = 'MIT'\nname = 'a'", "Text").is_err(), "no holder is known");
    }

    #[test]
    fn names_are_found_in_notices() {
        assert_eq!(holder("  Copyright (c) [2021] [Some Body]").as_deref(), Some("Some Body"));
        assert_eq!(holder("Copyright 2010-2014 A and B LLC").as_deref(), Some("A and B LLC"));
        for line in ["Copyright (c) 2015", "Copyright [yyyy] [name of copyright owner]", "The above copyright notice"] {
            assert_eq!(holder(line), None, "{line}");
        }
    }

    #[test]
    fn what_single_files_are_under_counts() {
        let copyright = Copyright::parse(TEXT);
        assert_eq!(copyright.licences("a"), Licences::from(["MIT".to_owned()]));
        let of_b: Vec<String> = copyright.licences("b").into_iter().collect();
        assert_eq!(of_b, ["Apache-2.0", "MIT", "Unicode-3.0"]);
    }

    #[test]
    fn a_star_is_anything() {
        assert!(
            matches("vendor/*", "vendor/a/b")
                && matches("*", "a")
                && matches("vendor/rustix*/*", "vendor/rustix-0.3/b")
        );
        assert!(!matches("vendor/a/*", "vendor/ab/c") && !matches("a", "ab"));
    }
}
