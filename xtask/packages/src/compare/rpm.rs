// SPDX-License-Identifier: CECILL-B
//! Properties of a .rpm file.

use std::path::Path;

use anyhow::{Context, Result};
use rpm::{Dependency, Error, IndexTag, PackageMetadata, Scriptlet};

use super::Facts;

/// Tags with one value.
const TAGS: &[IndexTag] = &[
    IndexTag::RPMTAG_NAME,
    IndexTag::RPMTAG_VERSION,
    IndexTag::RPMTAG_RELEASE,
    IndexTag::RPMTAG_EPOCH,
    IndexTag::RPMTAG_ARCH,
    IndexTag::RPMTAG_OS,
    IndexTag::RPMTAG_SUMMARY,
    IndexTag::RPMTAG_LICENSE,
    IndexTag::RPMTAG_URL,
    IndexTag::RPMTAG_DESCRIPTION,
    IndexTag::RPMTAG_SOURCERPM,
    IndexTag::RPMTAG_BUILDHOST,
    IndexTag::RPMTAG_CHANGELOGTEXT,
    IndexTag::RPMTAG_CHANGELOGNAME,
    IndexTag::RPMTAG_CHANGELOGTIME,
];

/// What a package has several of a kind of: the kind's name, and how it is read.
type Kinds<T> = &'static [(&'static str, fn(&PackageMetadata) -> Result<T, Error>)];
const RELATIONS: Kinds<Vec<Dependency>> = &[
    ("requires", PackageMetadata::get_requires),
    ("recommends", PackageMetadata::get_recommends),
    ("suggests", PackageMetadata::get_suggests),
    ("supplements", PackageMetadata::get_supplements),
    ("provides", PackageMetadata::get_provides),
    ("conflicts", PackageMetadata::get_conflicts),
    ("obsoletes", PackageMetadata::get_obsoletes),
];
const SCRIPTLETS: Kinds<Scriptlet> = &[
    ("pre", PackageMetadata::get_pre_install_script),
    ("post", PackageMetadata::get_post_install_script),
    ("preun", PackageMetadata::get_pre_uninstall_script),
    ("postun", PackageMetadata::get_post_uninstall_script),
    ("pretrans", PackageMetadata::get_pre_trans_script),
    ("posttrans", PackageMetadata::get_post_trans_script),
];

/// All of them.
pub(super) fn facts(file: &Path) -> Result<Facts> {
    let package = PackageMetadata::open(file).with_context(|| file.display().to_string())?;
    let mut facts = Facts::new();
    for file in package.get_file_entries()? {
        let path = file.path().display().to_string();
        let mode = file.mode().raw_mode();
        facts.insert(format!("mode {path}"), format!("{mode:o} {}:{}", file.user(), file.group()));
        facts.insert(format!("flags {path}"), format!("{:?}", file.flags()));
        facts.insert(format!("contents {path}"), file.digest().map_or("", |digest| digest.as_hex()).to_owned());
        facts.insert(format!("link {path}"), file.linkto().unwrap_or_default().to_owned());
    }
    for tag in TAGS {
        if let Ok(value) = package.header.entry(*tag) {
            facts.insert(format!("{tag:?}"), format!("{value:?}"));
        }
    }
    for (kind, of) in RELATIONS {
        for relation in of(&package)? {
            let text = relation.to_string();
            let version = text.strip_prefix(&relation.name).unwrap_or_default().trim();
            facts.insert(format!("{kind} {}", relation.name), version.to_owned());
        }
    }
    for (kind, of) in SCRIPTLETS {
        if let Ok(Scriptlet { script, program, .. }) = of(&package) {
            // What rpm runs one with that names no program.
            let program = program.unwrap_or_else(|| vec!["/bin/sh".to_owned()]);
            facts.insert(format!("scriptlet {kind}"), format!("{program:?}\n{}", script.trim()));
        }
    }
    facts.insert("triggers".to_owned(), format!("{:?}", package.get_triggers()?));
    for trigger in package.get_file_triggers()?.into_iter().chain(package.get_trans_file_triggers()?) {
        let waits_for: Vec<String> = trigger.conditions.iter().map(|condition| condition.name.clone()).collect();
        let script = format!("{:?}\n{}", trigger.program, trigger.script.trim());
        facts.insert(format!("trigger {}", waits_for.join(" ")), script);
    }
    Ok(facts)
}
