// SPDX-License-Identifier: CECILL-B
//! Additions that cargo-generate-rpm does not support: the description, the changelog, file triggers, marks of
//! licences, directories, and relations that rpmbuild generates. The package is rebuilt from the tool's with these.

use std::path::Path;

use anyhow::{Context, Result};
use rpm::{
    BuildConfig, CompressionWithLevel, Dependency, DependencyFlags, FileFlags, FileOptions, FileOptionsBuilder, Header,
    HeaderEntry, IndexData, IndexTag, Package, PackageBuilder, PackageMetadata, Scriptlet,
};
use toml::Table;

use super::changelog;
use super::dist::spec;
use super::generate_rpm::{scriptlet, text};
use knem_lab::workspace::Workspace;

const REGION: u32 = IndexTag::RPMTAG_HEADERIMMUTABLE as u32;
const SOURCE_PACKAGE: u32 = IndexTag::RPMTAG_SOURCERPM as u32;
const TRIGGER_SCRIPTS: u32 = IndexTag::RPMTAG_TRANSFILETRIGGERSCRIPTS as u32;
const TRIGGER_PROGRAMS: u32 = IndexTag::RPMTAG_TRANSFILETRIGGERSCRIPTPROG as u32;
const TRIGGER_INDEXES: u32 = IndexTag::RPMTAG_TRANSFILETRIGGERINDEX as u32;
const TRIGGER_PRIORITIES: u32 = IndexTag::RPMTAG_TRANSFILETRIGGERPRIORITIES as u32;

/// Flags of files, and what gives them.
type Mark = (FileFlags, fn(FileOptionsBuilder) -> FileOptionsBuilder);
const MARKS: &[Mark] = &[
    (FileFlags::CONFIG, FileOptionsBuilder::config),
    (FileFlags::NOREPLACE, FileOptionsBuilder::noreplace),
    (FileFlags::DOC, FileOptionsBuilder::doc),
];

/// Where a package has things of a kind, and how they are put into one.
type Kind<T, U = T> =
    (fn(&PackageMetadata) -> Result<T, rpm::Error>, fn(&mut PackageBuilder, U) -> &mut PackageBuilder);
const RELATIONS: &[Kind<Vec<Dependency>, Dependency>] = &[
    (PackageMetadata::get_provides, PackageBuilder::provides),
    (PackageMetadata::get_requires, PackageBuilder::requires),
    (PackageMetadata::get_recommends, PackageBuilder::recommends),
    (PackageMetadata::get_suggests, PackageBuilder::suggests),
    (PackageMetadata::get_conflicts, PackageBuilder::conflicts),
    (PackageMetadata::get_obsoletes, PackageBuilder::obsoletes),
];
const SCRIPTLETS: &[Kind<Scriptlet>] = &[
    (PackageMetadata::get_pre_install_script, PackageBuilder::pre_install_script),
    (PackageMetadata::get_post_install_script, PackageBuilder::post_install_script),
    (PackageMetadata::get_pre_uninstall_script, PackageBuilder::pre_uninstall_script),
    (PackageMetadata::get_post_uninstall_script, PackageBuilder::post_uninstall_script),
];

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
    let text = scriptlet(workspace, name, "triggers")?;
    let text = text.with_context(|| format!("rpm/scriptlets/{name}.triggers is missing"))?;
    let mut paths: Vec<String> =
        text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(str::to_owned).collect();
    paths.sort();
    Ok(paths)
}

/// Puts the additions into the package.
pub(crate) fn finish(path: &Path, additions: &Additions) -> Result<()> {
    let finished = Package::open(path).map_err(anyhow::Error::from).and_then(|plain| with(&plain, additions));
    finished.with_context(|| path.display().to_string())?.write_file(path).context("cannot write it")
}

fn with(plain: &Package, additions: &Additions) -> Result<Package> {
    let known = &plain.metadata;
    let change = &additions.change;
    let (name, release) = (known.get_name()?, known.get_release()?);
    let revision = format!("{}-{release}", known.get_version()?);
    let mut package =
        PackageBuilder::new(name, known.get_version()?, known.get_license()?, known.get_arch()?, known.get_summary()?);
    package
        .using_config(BuildConfig::v4().compression(CompressionWithLevel::Gzip(9)).source_date(additions.time))
        .release(release)
        .description(&additions.description)
        .packager(&change.who)
        // No machine's name: the package is the same wherever it is built.
        .build_host("reproducible")
        .add_changelog_entry(format!("{} - {revision}", change.who), &change.text, change.noon);
    if let Ok(url) = known.get_url() {
        package.url(url);
    }
    contents(&mut package, plain, &additions.directories)?;
    relations(&mut package, plain)?;
    for (path, script) in
        additions.trigger.iter().flat_map(|(script, paths)| paths.iter().map(move |path| (path, script)))
    {
        package.trans_file_trigger_in(path, None, script.as_str());
    }
    let mut package = package.build()?;
    let entries = package.metadata.header.get_all_entries()?.into_iter().filter(|(tag, _)| *tag != REGION);
    let entries: Vec<HeaderEntry> =
        entries.map(|(tag, data)| HeaderEntry::new(tag, settled(tag, data, &revision))).collect();
    package.metadata.header = Header::from_entries(entries, IndexTag::RPMTAG_HEADERIMMUTABLE);
    package.clear_signatures()?;
    Ok(package)
}

/// The tool's files as they are, and the directories.
fn contents(package: &mut PackageBuilder, plain: &Package, directories: &[String]) -> Result<()> {
    for directory in directories {
        package.with_dir_entry(FileOptions::dir(directory).permissions(0o755))?;
    }
    for file in plain.files()? {
        let file = file?;
        let path = file.metadata.path().to_string_lossy().into_owned();
        let mut options = FileOptions::new(&path).permissions(file.metadata.permissions());
        for (_, mark) in MARKS.iter().filter(|(flag, _)| file.metadata.flags().contains(*flag)) {
            options = mark(options);
        }
        // A licence is installed even where documentation is not.
        if path.starts_with("/usr/share/licenses/") {
            options = options.license();
        }
        package.with_file_contents(file.into_content().unwrap_or_default(), options)?;
    }
    Ok(())
}

/// The tool's relations and scriptlets, without what is generated again: what the package says of itself, and of rpm.
fn relations(package: &mut PackageBuilder, plain: &Package) -> Result<()> {
    let known = &plain.metadata;
    let name = known.get_name()?;
    let (config, of_machine) = (format!("config({name})"), format!("{name}("));
    let made = |relation: &Dependency| {
        relation.name == name
            || relation.name == config
            || relation.name.starts_with(&of_machine)
            || relation.flags.intersects(DependencyFlags::RPMLIB | DependencyFlags::FIND_PROVIDES)
    };
    for (of, put) in RELATIONS {
        for relation in of(known)?.into_iter().filter(|relation| !made(relation)) {
            put(package, relation);
        }
    }
    for (of, put) in SCRIPTLETS {
        if let Ok(scriptlet) = of(known) {
            put(package, scriptlet);
        }
    }
    Ok(())
}

/// An entry of the header as rpmbuild has it: both packages are of one source package, and a trigger that waits for
/// several paths has one script.
fn settled(tag: u32, data: IndexData, revision: &str) -> IndexData {
    match (tag, data) {
        (SOURCE_PACKAGE, _) => IndexData::StringTag(format!("{}-{revision}.src.rpm", spec::MAIN)),
        (TRIGGER_SCRIPTS | TRIGGER_PROGRAMS, IndexData::StringArray(texts)) => {
            IndexData::StringArray(texts.into_iter().take(1).collect())
        }
        (TRIGGER_PRIORITIES, IndexData::Int32(all)) => IndexData::Int32(all.into_iter().take(1).collect()),
        (TRIGGER_INDEXES, IndexData::Int32(all)) => IndexData::Int32(vec![0; all.len()]),
        (_, data) => data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(additions: &Additions) -> PackageMetadata {
        let mut plain = PackageBuilder::new("a", "1", "MIT", "x86_64", "short");
        plain.using_config(BuildConfig::v4().compression(CompressionWithLevel::None)).release("2");
        plain.requires(Dependency::any("b")).requires(Dependency::any("/bin/sh")).post_install_script("true");
        plain.with_file_contents("x", FileOptions::new("/etc/a.conf").config().noreplace()).expect("taken");
        plain.with_file_contents("y", FileOptions::new("/usr/share/licenses/a/L").permissions(0o640)).expect("taken");
        let package = with(&plain.build().expect("built"), additions).expect("finished");
        let mut bytes = Vec::new();
        package.write(&mut bytes).expect("written");
        let read = Package::parse(&mut bytes.as_slice()).expect("a package");
        read.verify_digests().expect("whole");
        read.metadata
    }

    #[test]
    fn a_package_has_what_is_put_in() {
        let change = changelog::Change { who: "A <a@b.invalid>".to_owned(), noon: 7, text: "- x".to_owned() };
        let trigger = Some(("exit 0".to_owned(), vec!["/usr/a".to_owned(), "/usr/b".to_owned()]));
        let directories = vec!["/usr/share/licenses/a".to_owned()];
        let package = finished(&Additions { description: "long".to_owned(), change, trigger, directories, time: 9 });
        let files: Vec<String> = package
            .get_file_entries()
            .expect("files")
            .iter()
            .map(|file| format!("{} {:o} {:?}", file.path().display(), file.mode().raw_mode(), file.flags()))
            .collect();
        assert_eq!(
            files,
            [
                "/etc/a.conf 100644 FileFlags(CONFIG | NOREPLACE)",
                "/usr/share/licenses/a 40755 FileFlags(0x0)",
                "/usr/share/licenses/a/L 100640 FileFlags(LICENSE)"
            ]
        );
        let shown = |relations: Vec<Dependency>| relations.iter().map(ToString::to_string).collect::<Vec<_>>();
        let provides = shown(package.get_provides().expect("relations"));
        assert_eq!(provides, ["a = 1-2", "a(x86-64) = 1-2", "config(a) = 1-2"]);
        let mut requires = shown(package.get_requires().expect("relations"));
        requires.retain(|name| !name.starts_with("rpmlib"));
        assert_eq!(requires, ["/bin/sh", "/bin/sh", "b", "config(a) = 1-2"]);
        assert_eq!(package.get_description().expect("text"), "long");
        assert_eq!(package.get_source_rpm().expect("text"), "knem-tools-1-2.src.rpm");
        assert_eq!(package.get_changelog_entries().expect("read")[0].name, "A <a@b.invalid> - 1-2");
        assert_eq!(package.get_post_install_script().expect("there").script, "true");
        let triggers = package.get_trans_file_triggers().expect("read");
        assert!(triggers.len() == 1 && triggers[0].conditions.len() == 2, "{triggers:?}");
    }
}
