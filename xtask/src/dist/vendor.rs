// SPDX-License-Identifier: CECILL-B
//! The crates that the tools are built from, in the release's `vendor/`.
//!
//! cargo wants every crate of the lock file to be there, for every system there is. Those that no Linux builds are there by their
//! manifests alone: they would be most of the tarball, and programs without sources among them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};
use serde_json::Value;
use toml::Table;

use super::cargo;
use crate::run;

/// Machines that packages are built for; others of Linux need the same crates.
const PLATFORMS: &[&str] = &["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"];

/// What tells cargo to look there, and nowhere else.
const CONFIG: &str = "# SPDX-License-Identifier: CECILL-B
[source.crates-io]
replace-with = \"vendored-sources\"

[source.vendored-sources]
directory = \"vendor\"

[net]
offline = true
";

/// What debian/copyright says of crates that are not simply to be had under MIT.
const OTHER_LICENCES: &[(&str, &str)] = &[("unicode-ident", "(MIT OR Apache-2.0) AND Unicode-3.0")];

/// A crate: its name and its version.
type Name = (String, String);

/// Adds them to the tree, whose lock file is reduced to them.
pub(crate) fn add(tree: &Path) -> Result<()> {
    let before = locked(tree)?;
    run::quiet(cargo(tree).args(["vendor", "--quiet", "--respect-source-config", "vendor"]))
        .context("cannot get the crates' sources")?;
    if let Some((name, version)) = locked(tree)?.difference(&before).next() {
        bail!("Cargo.lock is not up to date: it lacks {name} {version}; run `cargo check` and commit it");
    }
    let config = tree.join(".cargo");
    fs::create_dir_all(&config).with_context(|| format!("cannot make {}", config.display()))?;
    fs::write(config.join("config.toml"), CONFIG)?;

    let built = built(tree)?;
    for entry in fs::read_dir(tree.join("vendor"))? {
        let path = entry?.path();
        let package = package(&path)?;
        if built.contains(&identity(&package)?) {
            demand_licence(&package)?;
        } else {
            empty(&path)?;
        }
    }
    Ok(())
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

/// The crates that are built on a Linux.
fn built(tree: &Path) -> Result<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for platform in PLATFORMS {
        let text = run::output(cargo(tree).args([
            "metadata",
            "--locked",
            "--format-version=1",
            "--filter-platform",
            platform,
        ]))?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let used: BTreeSet<String> = list(&metadata["resolve"]["nodes"])
            .iter()
            .filter_map(|node| node["id"].as_str().map(str::to_owned))
            .collect();
        for package in list(&metadata["packages"]) {
            if package["id"].as_str().is_some_and(|id| used.contains(id)) {
                let text = |key: &str| package[key].as_str().map(str::to_owned);
                names.insert(text("name").zip(text("version")).context("cargo metadata: a package without a name")?);
            }
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

/// Fails if the packages' copyright file does not tell the truth about the crate.
fn demand_licence(package: &Table) -> Result<()> {
    let (name, _) = identity(package)?;
    let licence = package.get("license").and_then(toml::Value::as_str).unwrap_or("nothing");
    let known =
        licence.split([' ', '/']).all(|word| word != "AND") && licence.split([' ', '/']).any(|word| word == "MIT");
    if !known && !OTHER_LICENCES.contains(&(name.as_str(), licence)) {
        bail!("the crate {name} is under {licence}: say so in debian/copyright and in xtask/src/dist/vendor.rs");
    }
    Ok(())
}

/// Leaves the manifest, and of the code an empty file: cargo looks whether it is there.
fn empty(directory: &Path) -> Result<()> {
    let manifest = fs::read(directory.join("Cargo.toml"))?;
    let sums = directory.join(".cargo-checksum.json");
    let sums: Value = serde_json::from_str(&fs::read_to_string(&sums)?).with_context(|| sums.display().to_string())?;
    fs::remove_dir_all(directory)?;
    fs::create_dir_all(directory.join("src"))?;
    fs::write(directory.join("Cargo.toml"), manifest)?;
    fs::write(directory.join("src/lib.rs"), "")?;
    // No file is vouched for; the sum of the whole crate is the lock file's.
    let sums = serde_json::json!({ "files": {}, "package": sums["package"] });
    fs::write(directory.join(".cargo-checksum.json"), sums.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(licence: &str) -> Result<()> {
        demand_licence(&format!("name = \"a\"\nversion = \"1\"\nlicense = \"{licence}\"\n").parse()?)
    }

    #[test]
    fn licences_that_nobody_knows_of_are_refused() {
        of("MIT").expect("known");
        of("MIT OR Apache-2.0").expect("known");
        of("Unlicense/MIT").expect("known");
        assert!(of("Apache-2.0").is_err());
        assert!(of("(MIT OR Apache-2.0) AND Unicode-3.0").is_err(), "that is another crate's");
    }

    #[test]
    fn of_a_crate_that_is_not_built_the_manifest_stays() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("a");
        fs::create_dir_all(path.join("lib")).expect("made");
        let files = [
            ("Cargo.toml", "[package]"),
            (".cargo-checksum.json", "{\"files\":{\"x\":\"y\"},\"package\":\"z\"}"),
            ("lib/x.a", ""),
        ];
        for (name, text) in files {
            fs::write(path.join(name), text).expect("written");
        }
        empty(&path).expect("emptied");
        let sums = fs::read_to_string(path.join(".cargo-checksum.json")).expect("there");
        assert_eq!(
            serde_json::from_str::<Value>(&sums).expect("json"),
            serde_json::json!({"files": {}, "package": "z"})
        );
        assert!(path.join("src/lib.rs").is_file() && path.join("Cargo.toml").is_file() && !path.join("lib").exists());
    }
}
