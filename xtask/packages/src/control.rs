// SPDX-License-Identifier: CECILL-B
//! debian/control: names, descriptions and relations of the packages. dpkg-buildpackage reads it, and the packages of
//! cargo-deb get the same fields.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Context, Result};

use knem_lab::run;
use knem_lab::workspace::Workspace;

/// A field's name and its value, as it stands in a control file.
pub(crate) type Field = (String, String);

/// The fields of `package`'s control file that cargo-deb cannot give. What it found out about libraries is in `deb`,
/// its package.
pub(crate) fn fields(workspace: &Workspace, package: &str, deb: &Path, version: &str) -> Result<Vec<Field>> {
    let libraries = run::output(Command::new("dpkg-deb").arg("-f").arg(deb).arg("Depends"))?;
    let mut fields = binary(&text(workspace)?, package)?;
    for (_, value) in &mut fields {
        *value = substituted(value, libraries.trim(), version)?;
    }
    fields.retain(|(_, value)| !value.is_empty());
    Ok(fields)
}

/// The text of debian/control.
fn text(workspace: &Workspace) -> Result<String> {
    let path = workspace.file("debian/control");
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The paragraph of a binary package, with the source package's name instead of its own, and without an architecture
/// that is any machine's own.
fn binary(control: &str, package: &str) -> Result<Vec<Field>> {
    let paragraphs = paragraphs(control)?;
    let mut fields = paragraphs
        .iter()
        .find(|fields| fields.iter().any(|(name, value)| name == "Package" && value == package))
        .with_context(|| format!("debian/control has no package {package}"))?
        .clone();
    fields.retain(|(name, value)| name != "Package" && !(name == "Architecture" && value == "any"));
    let of_source = |wanted: &str| paragraphs.iter().flatten().find(|(name, _)| name == wanted).cloned();
    // The source package has it for all, if the project has an address.
    if let Some(homepage) = of_source("Homepage") {
        fields.insert(0, homepage);
    }
    fields.insert(0, of_source("Source").context("debian/control has no source package")?);
    Ok(fields)
}

/// The paragraphs of a control file, without comments.
pub(crate) fn paragraphs(control: &str) -> Result<Vec<Vec<Field>>> {
    let mut paragraphs: Vec<Vec<Field>> = vec![Vec::new()];
    for line in control.lines().filter(|line| !line.starts_with('#')) {
        let Some(fields) = paragraphs.last_mut() else { break };
        if line.trim().is_empty() {
            paragraphs.push(Vec::new());
        } else if line.starts_with(' ') {
            let (_, value) = fields.last_mut().with_context(|| format!("debian/control: no field before `{line}`"))?;
            value.push('\n');
            value.push_str(line);
        } else {
            let (name, value) =
                line.split_once(':').with_context(|| format!("debian/control: no field in `{line}`"))?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    Ok(paragraphs)
}

/// A value with dpkg's variables filled in, relations on one line.
fn substituted(value: &str, libraries: &str, version: &str) -> Result<String> {
    // Only relations have variables, and only they are lists; a description keeps its lines.
    if !value.contains(',') && !value.contains("${") || value.contains("\n .\n") {
        return Ok(value.to_owned());
    }
    let mut relations = Vec::new();
    for relation in value.split(',').map(str::trim) {
        let relation = relation
            .replace("${shlibs:Depends}", libraries)
            .replace("${misc:Depends}", "")
            .replace("${source:Upstream-Version}", version);
        if relation.contains("${") {
            bail!("debian/control: nothing is known to put in place of the variable in `{relation}`");
        }
        if !relation.is_empty() {
            relations.push(relation);
        }
    }
    Ok(relations.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# x\nSource: a\n\n# y\nPackage: b\nArchitecture: any\nDepends: ${shlibs:Depends}, ${misc:Depends},\n         c\nProvides: d (= ${source:Upstream-Version})\nDescription: e, f\n g, h\n .\n i\n";

    #[test]
    fn relations_are_filled_in_and_descriptions_stay() {
        let mut fields = binary(SAMPLE, "b").expect("there");
        for (_, value) in &mut fields {
            *value = substituted(value, "libc6 (>= 2.36), libgcc-s1", "2.0.0").expect("known");
        }
        let expected = [
            ("Source", "a"),
            ("Depends", "libc6 (>= 2.36), libgcc-s1, c"),
            ("Provides", "d (= 2.0.0)"),
            ("Description", "e, f\n g, h\n .\n i"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(binary(SAMPLE, "z").is_err());
        let homepage = ("Homepage".to_owned(), "https://example.org/knem".to_owned());
        assert!(!fields.contains(&homepage));
        let addressed =
            SAMPLE.replace("Source: a\n", "Source: a\n# address\nHomepage: https://example.org/knem\n# /address\n");
        assert!(binary(&addressed, "b").expect("there").contains(&homepage));
        assert!(substituted("${perl:Depends}", "", "1").is_err());
    }

    /// The version is repeated in one place only, where Debian wants a history.
    #[test]
    fn the_changelog_is_of_this_version() {
        let workspace = Workspace::find().expect("the workspace");
        let log = fs::read_to_string(workspace.file("debian/changelog")).expect("readable");
        assert!(log.starts_with(&format!("knem ({}-", workspace.version)), "debian/changelog is of another version");
    }
}
