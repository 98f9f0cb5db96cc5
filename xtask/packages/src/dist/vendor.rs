// SPDX-License-Identifier: CECILL-B
//! The crates that the tools are built from, in the release's `vendor/`.
//!
//! cargo requires every crate of the lock file, for every system and every feature. Crates that are not built on Linux
//! are stubs (stub.rs), and crates that only those depend on are omitted: they would be most of the tarball, and
//! include programs without sources. Of the other crates, files that are not compiled are omitted: they are data of
//! many origins.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};
use serde_json::Value;
use toml::Table;
use walkdir::WalkDir;

use super::copyright::Copyright;
use super::licence::Licences;
use super::{cargo, stub};
use knem_lab::run;

/// Machines that packages are built for; others of Linux need the same crates.
const PLATFORMS: &[&str] = &["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"];

/// Directories of crates in which nothing is that is compiled.
const NOT_COMPILED: &[&str] =
    &[".circleci", ".github", "benches", "ci", "examples", "fuzz", "test", "testing-tools", "tests"];

/// Configuration that makes cargo use vendor/ only.
const CONFIG: &str = "# SPDX-License-Identifier: CECILL-B
[source.crates-io]
replace-with = \"vendored-sources\"

[source.vendored-sources]
directory = \"vendor\"

[net]
offline = true
";

/// A crate: its name and its version.
type Name = (String, String);

/// Adds them to the tree, whose lock file is reduced to them. Returns the licences of what becomes part of the command.
pub(crate) fn add(tree: &Path) -> Result<Licences> {
    let before = locked(tree)?;
    run::quiet(cargo(tree).args(["vendor", "--quiet", "--respect-source-config", "vendor"]))
        .context("cannot get the crates' sources")?;
    if let Some((name, version)) = locked(tree)?.difference(&before).next() {
        bail!("Cargo.lock is not up to date: it lacks {name} {version}; run `cargo check` and commit it");
    }
    let config = tree.join(".cargo");
    fs::create_dir_all(&config).with_context(|| format!("cannot make {}", config.display()))?;
    fs::write(config.join("config.toml"), CONFIG)?;

    let copyright = Copyright::read(&tree.join("debian/copyright"))?;
    let (built, linked) = (used(tree, "normal,build")?, used(tree, "normal,no-proc-macro")?);
    let mut licences = Licences::new();
    for entry in fs::read_dir(tree.join("vendor"))? {
        let entry = entry?;
        let path = entry.path();
        let package = package(&path)?;
        let name = identity(&package)?;
        if !built.contains(&name) {
            stub::leave(&path).with_context(|| path.display().to_string())?;
            continue;
        }
        trim(&path).with_context(|| path.display().to_string())?;
        copyright.demand(&path, &package)?;
        if linked.contains(&name) {
            licences.extend(copyright.licences(&entry.file_name().to_string_lossy()));
        }
    }
    drop_unasked(tree)?;
    Ok(licences)
}

/// The crates in the lock file.
fn locked(tree: &Path) -> Result<BTreeSet<Name>> {
    let path = tree.join("Cargo.lock");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lock: Table = text.parse().with_context(|| format!("{} is no lock file", path.display()))?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    packages.iter().map(|package| package.as_table().context("no table").and_then(identity)).collect()
}

/// Name and version in a table that has both.
fn identity(table: &Table) -> Result<Name> {
    let text = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    text("name").zip(text("version")).context("a crate has no name or no version")
}

/// The crates of the workspace that are used on a Linux, by these kinds of dependencies.
fn used(tree: &Path, edges: &str) -> Result<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for platform in PLATFORMS {
        let list = run::output(
            cargo(tree)
                .args(["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}"])
                .args(["--edges", edges, "--target", platform]),
        )?;
        for line in list.lines().filter(|line| !line.is_empty()) {
            let mut words = line.split(' ');
            let (name, version) = (words.next(), words.next().and_then(|word| word.strip_prefix('v')));
            let found = name.zip(version).with_context(|| format!("cargo tree: {line}"))?;
            names.insert((found.0.to_owned(), found.1.to_owned()));
        }
    }
    Ok(names)
}

/// What the manifest in a directory of `vendor/` says of the crate.
fn package(directory: &Path) -> Result<Table> {
    let path = directory.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Table = text.parse().with_context(|| format!("{} is no manifest", path.display()))?;
    let package = manifest.get("package").and_then(toml::Value::as_table).cloned();
    package.with_context(|| format!("{} has no package", path.display()))
}

/// Removes what is not compiled, and that cargo expects it. What the sources refer to is: examples are put into
/// documentation.
fn trim(directory: &Path) -> Result<()> {
    let mut removed = Vec::new();
    for name in NOT_COMPILED {
        let path = directory.join(name);
        if path.is_dir() && !is_referred_to(directory, name)? {
            fs::remove_dir_all(path)?;
            removed.push(name);
        }
    }
    let path = directory.join(".cargo-checksum.json");
    let mut sums: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let files = sums["files"].as_object_mut().context("there is no list of files")?;
    files.retain(|name, _| !removed.iter().any(|directory| Path::new(name).starts_with(directory)));
    fs::write(&path, sums.to_string())?;
    Ok(())
}

/// Whether a source of the crate names a file in a directory beside `src/`.
fn is_referred_to(directory: &Path, name: &str) -> Result<bool> {
    let reference = format!("../{name}/");
    for entry in WalkDir::new(directory.join("src")) {
        let path = entry?.into_path();
        if path.extension().is_some_and(|kind| kind == "rs") && fs::read_to_string(&path)?.contains(&reference) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes crates that are no longer needed from the lock file and from `vendor/`.
fn drop_unasked(tree: &Path) -> Result<()> {
    run::quiet(cargo(tree).args(["metadata", "--offline", "--format-version=1"]))?;
    let asked = locked(tree)?;
    for entry in fs::read_dir(tree.join("vendor"))? {
        let path = entry?.path();
        if !asked.contains(&identity(&package(&path)?)?) {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_compiled_is_not_expected() {
        let home = tempfile::tempdir().expect("a directory");
        let source = "#![doc = include_str!(\"../examples/a.md\")]";
        let files = ["src/lib.rs", "src/tests/a.rs", "tests/font.ttf", "testsuite.rs", "examples/a.md"];
        for name in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, if name == "src/lib.rs" { source } else { "" }).expect("written");
        }
        let sums: serde_json::Map<String, Value> = files.iter().map(|&name| (name.to_owned(), "1".into())).collect();
        let sums = serde_json::json!({ "files": sums, "package": "z" });
        fs::write(home.path().join(".cargo-checksum.json"), sums.to_string()).expect("written");
        trim(home.path()).expect("trimmed");
        let sums = fs::read_to_string(home.path().join(".cargo-checksum.json")).expect("there");
        let sums: Value = serde_json::from_str(&sums).expect("json");
        let left: Vec<&String> = sums["files"].as_object().expect("a list").keys().collect();
        assert_eq!(left, ["examples/a.md", "src/lib.rs", "src/tests/a.rs", "testsuite.rs"]);
        assert_eq!(sums["package"], "z");
        assert!(files.iter().all(|name| home.path().join(name).is_file() == left.iter().any(|there| there == name)));
    }
}
