// SPDX-License-Identifier: CECILL-B
//! What cargo-generate-rpm has no place for: the description, the changelog, file triggers, which files are licences,
//! directories, and relations that rpmbuild makes by itself.

use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};
use toml::Table;

use super::changelog;
use super::generate_rpm::{scriptlet, text};
use super::rpm_directories;
use super::rpm_file::{Header, RpmFile, Value};
use super::rpm_relations;
use knem_lab::workspace::Workspace;

// Tags, as /usr/lib/rpm/rpmtag.h numbers them.
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const DESCRIPTION: u32 = 1005;
const BUILD_HOST: u32 = 1007;
const PACKAGER: u32 = 1015;
const FILE_FLAGS: u32 = 1037;
const SOURCE_PACKAGE: u32 = 1044;
const CHANGELOG_TIME: u32 = 1080;
const CHANGELOG_NAME: u32 = 1081;
const CHANGELOG_TEXT: u32 = 1082;
const DIRECTORY_INDEXES: u32 = 1116;
const DIRECTORY_NAMES: u32 = 1118;
const TRIGGER_SCRIPTS: u32 = 5076;
const TRIGGER_PROGRAMS: u32 = 5077;
const TRIGGER_NAMES: u32 = 5079;
const TRIGGER_INDEXES: u32 = 5080;
const TRIGGER_VERSIONS: u32 = 5081;
const TRIGGER_FLAGS: u32 = 5082;
const TRIGGER_PRIORITIES: u32 = 5085;

/// A file's flag: it is a licence.
const LICENSE: u32 = 1 << 7;

/// A trigger's flags: rpm's RPMSENSE_TRIGGERIN.
const TRIGGER_IN: u32 = 1 << 16;

/// The priority rpm gives triggers that ask for none.
const PRIORITY: u32 = 1_000_000;

/// What is put in.
#[derive(Debug)]
pub(crate) struct Additions {
    description: String,
    change: changelog::Change,
    /// A script, and the beginnings of paths that make it run at the end of a transaction.
    trigger: Option<(String, Vec<String>)>,
    /// The package's own directories.
    directories: Vec<String>,
    /// The date of everything.
    time: u32,
}

impl Additions {
    /// Takes what is the package's from the tool's section, from debian/changelog and from rpm/scriptlets.
    pub(crate) fn take(
        workspace: &Workspace,
        name: &str,
        section: &mut Table,
        directories: Vec<String>,
        epoch: u64,
    ) -> Result<Self> {
        let description = text(section, "description")?.trim().to_owned();
        section.remove("description");
        let trigger = match scriptlet(workspace, name, "transfiletriggerin")? {
            None => None,
            Some(script) => Some((script, trigger_paths(workspace, name)?)),
        };
        let time = u32::try_from(epoch).context("the date is beyond what RPM can have")?;
        Ok(Self { description, change: changelog::newest(workspace)?, trigger, directories, time })
    }
}

/// The beginnings of paths that a package's trigger waits for.
pub(crate) fn trigger_paths(workspace: &Workspace, name: &str) -> Result<Vec<String>> {
    let paths = scriptlet(workspace, name, "triggers")?;
    Ok(prefixes(&paths.with_context(|| format!("rpm/scriptlets/{name}.triggers is missing"))?))
}

/// Puts the additions into the package.
pub(crate) fn finish(path: &Path, additions: &Additions) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut package = RpmFile::parse(&bytes).with_context(|| path.display().to_string())?;
    rpm_directories::add(&mut package, &additions.directories, additions.time)
        .and_then(|()| change(&mut package.header, additions))
        .with_context(|| path.display().to_string())?;
    fs::write(path, package.bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn change(header: &mut Header, additions: &Additions) -> Result<()> {
    header.set(DESCRIPTION, Value::Translated(additions.description.clone()));
    let (Some(Value::Text(version)), Some(Value::Text(release))) = (header.get(VERSION), header.get(RELEASE)) else {
        bail!("it has no version");
    };
    let revision = format!("{version}-{release}");
    // Both binary packages are of this one.
    header.set(SOURCE_PACKAGE, Value::Text(format!("knem-{revision}.src.rpm")));
    header.set(CHANGELOG_TIME, Value::Numbers(vec![additions.change.noon]));
    header.set(CHANGELOG_NAME, Value::Texts(vec![format!("{} - {revision}", additions.change.who)]));
    header.set(CHANGELOG_TEXT, Value::Texts(vec![additions.change.text.clone()]));
    header.set(PACKAGER, Value::Text(additions.change.who.clone()));
    // No machine's name: the package is the same wherever it is built.
    header.set(BUILD_HOST, Value::Text("reproducible".to_owned()));
    mark_licenses(header)?;
    rpm_relations::complete(header)?;
    if let Some((script, paths)) = &additions.trigger {
        let each = |value: u32| Value::Numbers(vec![value; paths.len()]);
        header.set(TRIGGER_SCRIPTS, Value::Texts(vec![script.clone()]));
        header.set(TRIGGER_PROGRAMS, Value::Texts(vec!["/bin/sh".to_owned()]));
        header.set(TRIGGER_NAMES, Value::Texts(paths.clone()));
        header.set(TRIGGER_INDEXES, each(0));
        header.set(TRIGGER_VERSIONS, Value::Texts(vec![String::new(); paths.len()]));
        header.set(TRIGGER_FLAGS, each(TRIGGER_IN));
        header.set(TRIGGER_PRIORITIES, Value::Numbers(vec![PRIORITY]));
    }
    Ok(())
}

/// What is below /usr/share/licenses is a licence, and no plain file, so that it is installed even where documentation is not.
fn mark_licenses(header: &mut Header) -> Result<()> {
    let (Some(Value::Numbers(directories)), Some(Value::Texts(names)), Some(Value::Numbers(flags))) =
        (header.get(DIRECTORY_INDEXES), header.get(DIRECTORY_NAMES), header.get(FILE_FLAGS))
    else {
        bail!("it has no list of files");
    };
    let mut flags = flags.clone();
    for (flags, directory) in flags.iter_mut().zip(directories) {
        let directory = names.get(*directory as usize).context("a file is in no directory")?;
        // The directory of a package's licences itself lies in /usr/share/licenses/.
        if directory.starts_with("/usr/share/licenses/") && directory != "/usr/share/licenses/" {
            *flags |= LICENSE;
        }
    }
    header.set(FILE_FLAGS, Value::Numbers(flags));
    Ok(())
}

/// The lines that are no comments.
fn prefixes(text: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(str::to_owned).collect();
    lines.sort();
    lines
}
