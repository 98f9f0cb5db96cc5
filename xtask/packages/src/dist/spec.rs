// SPDX-License-Identifier: CECILL-B
//! rpm/knem.spec of the release, from rpm/knem.spec.in: with the relations, texts and scriptlets that
//! cargo-generate-rpm's packages have. rpmbuild takes a spec file out of a tarball alone, where it could not include
//! others.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Context, Result};
use toml::{Table, Value};

use crate::generate_rpm::{scriptlet, section, text};
use crate::{changelog, finish_rpm};
use knem_lab::run;
use knem_lab::workspace::Workspace;

/// The main package of the spec file, which the source package has its name from; others are named where they have
/// sections.
pub(crate) const MAIN: &str = "knem-tools";

/// Relations: how the section calls them, and the spec file.
const RELATIONS: &[(&str, &str)] = &[
    ("requires", "Requires"),
    ("recommends", "Recommends"),
    ("suggests", "Suggests"),
    ("provides", "Provides"),
    ("conflicts", "Conflicts"),
    ("obsoletes", "Obsoletes"),
];

/// Scriptlets: the end of the file's name is the section's.
const SCRIPTLETS: &[&str] = &["pre", "post", "preun", "postun"];

/// Writes the spec file into the tree.
pub(crate) fn write(workspace: &Workspace, tree: &Path) -> Result<()> {
    let path = tree.join("rpm/knem.spec.in");
    let template = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let spec = filled(workspace, &template).with_context(|| path.display().to_string())?;
    fs::write(tree.join("rpm/knem.spec"), spec).context("cannot write rpm/knem.spec")
}

/// Puts in what the lines that are placeholders ask for.
fn filled(workspace: &Workspace, template: &str) -> Result<String> {
    let release = text(&section(workspace, "src-tools")?, "release")?;
    let mut spec = String::new();
    for line in template.lines() {
        let words: Vec<&str> = line.trim_matches('@').split(' ').collect();
        let filled = match (line.starts_with('@'), words.as_slice()) {
            (true, ["TAGS", krate]) => tags(&section(workspace, krate)?, &workspace.repository)?,
            (true, ["DESCRIPTION", krate]) => escaped(&text(&section(workspace, krate)?, "description")?),
            (true, ["SCRIPTLETS", krate]) => scriptlets(workspace, &text(&section(workspace, krate)?, "name")?)?,
            (true, ["CHANGELOG"]) => history(workspace, &release)?,
            (true, _) => bail!("nothing is known to put in place of {line}"),
            _ => line.replace("@VERSION@", &workspace.version).replace("@RELEASE@", &release),
        };
        spec.push_str(filled.trim_end());
        spec.push('\n');
    }
    Ok(spec)
}

/// Summary, licence, address and relations of a package.
fn tags(section: &Table, address: &str) -> Result<String> {
    let mut tags = Vec::new();
    let mut tag = |name: &str, value: &str| tags.push(format!("{:<16}{}", format!("{name}:"), escaped(value)));
    tag("Summary", &text(section, "summary")?);
    tag("License", &text(section, "license")?);
    if !address.is_empty() {
        tag("URL", address);
    }
    if section.get("auto-req").and_then(Value::as_str) == Some("no") {
        tag("AutoReqProv", "no");
    }
    for (key, name) in RELATIONS {
        for (other, version) in section.get(*key).and_then(Value::as_table).into_iter().flatten() {
            // `*` is any version, and nothing follows a condition.
            match version.as_str().with_context(|| format!("{key} of {other} is no text"))? {
                "*" | "" => tag(name, other),
                version => tag(name, &format!("{other} {version}")),
            }
        }
    }
    Ok(tags.join("\n"))
}

/// The sections of a package's scriptlets and of its trigger.
fn scriptlets(workspace: &Workspace, package: &str) -> Result<String> {
    let of = if package == MAIN { String::new() } else { format!(" -n {package}") };
    let mut sections = Vec::new();
    for end in SCRIPTLETS {
        if let Some(body) = scriptlet(workspace, package, end)? {
            sections.push(format!("%{end}{of}\n{}", escaped(body.trim_end())));
        }
    }
    if let Some(body) = scriptlet(workspace, package, "transfiletriggerin")? {
        let paths = finish_rpm::trigger_paths(workspace, package)?.join(" ");
        sections.push(format!("%transfiletriggerin{of} -- {paths}\n{}", escaped(body.trim_end())));
    }
    Ok(sections.join("\n\n"))
}

/// The newest entry of debian/changelog in rpm's form.
fn history(workspace: &Workspace, release: &str) -> Result<String> {
    let change = changelog::newest(workspace)?;
    let day = run::output(
        Command::new("date").args(["-u", "+%a %b %d %Y", "-d"]).arg(format!("@{}", change.noon)).env("LC_ALL", "C"),
    )?;
    Ok(escaped(&format!("* {} {} - {}-{release}\n{}", day.trim(), change.who, workspace.version, change.text)))
}

/// rpm has a meaning for %.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_the_section() {
        let section: Table = "summary = \"100%\"\nlicense = \"A\"\nauto-req = \"no\"\n\
            requires = { dkms = \">= 3\", gcc = \"*\" }\nrecommends = { \"(a if b)\" = \"\" }\n"
            .parse()
            .expect("a table");
        let expected = [
            "Summary:        100%%",
            "License:        A",
            "AutoReqProv:    no",
            "Requires:       dkms >= 3",
            "Requires:       gcc",
            "Recommends:     (a if b)",
        ];
        assert_eq!(tags(&section, "").expect("known"), expected.join("\n"));
        let addressed = tags(&section, "https://example.org/knem").expect("known");
        assert!(addressed.contains("\nURL:            https://example.org/knem\n"), "{addressed}");
    }

    #[test]
    fn the_spec_has_no_placeholder_left() {
        let workspace = Workspace::find().expect("the workspace");
        let template = fs::read_to_string(workspace.file("rpm/knem.spec.in")).expect("readable");
        let spec = filled(&workspace, &template).expect("filled");
        for part in
            ["%post\n", "%post -n knem2-dkms\n", "%transfiletriggerin -n knem2-dkms -- /usr/", "%files -f tools.list\n"]
        {
            assert!(spec.contains(part), "no {part}");
        }
        assert!(!spec.contains("#VERSION#") && !spec.contains("@VERSION@"), "{spec}");
        assert!(filled(&workspace, "@OTHER x@\n").is_err());
    }
}
