// SPDX-License-Identifier: CECILL-B
//! Stub of a crate that cargo requires but never builds: its name, version and features, without code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use toml::Table;

/// Where a manifest has dependencies, and where it has them for some systems alone.
const DEPENDENCIES: &[&str] = &["dependencies", "build-dependencies"];

/// Replaces the crate in a directory of `vendor/`. Its dependencies are then not needed, and can be removed.
pub(super) fn leave(directory: &Path) -> Result<()> {
    let path = directory.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Table = text.parse().with_context(|| format!("{} is no manifest", path.display()))?;
    let sums = directory.join(".cargo-checksum.json");
    let sums: Value = serde_json::from_str(&fs::read_to_string(&sums)?).with_context(|| sums.display().to_string())?;
    fs::remove_dir_all(directory)?;
    // cargo looks whether there is code.
    fs::create_dir_all(directory.join("src"))?;
    fs::write(directory.join("src/lib.rs"), "")?;
    fs::write(path, reduced(&manifest)?.to_string())?;
    // No file is vouched for; the sum of the whole crate is the lock file's.
    let sums = serde_json::json!({ "files": {}, "package": sums["package"] });
    fs::write(directory.join(".cargo-checksum.json"), sums.to_string())?;
    Ok(())
}

/// The manifest that has what other crates may ask for.
fn reduced(manifest: &Table) -> Result<Table> {
    let package = manifest.get("package").and_then(toml::Value::as_table).context("there is no [package]")?;
    let kept = package.iter().filter(|(key, _)| ["name", "version", "edition"].contains(&key.as_str()));
    let package: Table = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    let none = || toml::Value::Array(Vec::new());
    let features: Table = features(manifest).into_iter().map(|name| (name, none())).collect();
    Ok(Table::from_iter([
        ("package".to_owned(), toml::Value::Table(package)),
        ("features".to_owned(), toml::Value::Table(features)),
    ]))
}

/// The features, and the dependencies that are features by being optional.
fn features(manifest: &Table) -> BTreeSet<String> {
    let table = |table: &Table, key: &str| table.get(key).and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let targets = table(manifest, "target");
    let mut names: BTreeSet<String> = table(manifest, "features").keys().cloned().collect();
    for place in std::iter::once(manifest).chain(targets.values().filter_map(toml::Value::as_table)) {
        for (name, dependency) in DEPENDENCIES.iter().flat_map(|key| table(place, key)) {
            if dependency.get("optional").and_then(toml::Value::as_bool) == Some(true) {
                names.insert(name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_version_and_features_stay() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("a");
        fs::create_dir_all(path.join("lib")).expect("made");
        let manifest = "[package]\nname = 'a'\nversion = '1.0.0'\nbuild = 'build.rs'\nauthors = ['b']\n\
            [features]\nx = ['dep:c']\n[dependencies]\nc = { version = '1', optional = true }\nd = '1'\n\
            [target.'cfg(windows)'.dependencies]\ne = { version = '1', optional = true }\n";
        let sums = "{\"files\":{\"x\":\"y\"},\"package\":\"z\"}";
        for (name, text) in [("Cargo.toml", manifest), (".cargo-checksum.json", sums), ("lib/x.a", "")] {
            fs::write(path.join(name), text).expect("written");
        }
        leave(&path).expect("replaced");
        let left = fs::read_to_string(path.join("Cargo.toml")).expect("there");
        let expected =
            "[package]\nname = 'a'\nversion = '1.0.0'\n[features]\nc = []\ne = []\nx = []\n".parse::<Table>();
        assert_eq!(left.parse::<Table>().expect("a manifest"), expected.expect("a manifest"));
        let sums = fs::read_to_string(path.join(".cargo-checksum.json")).expect("there");
        assert_eq!(
            serde_json::from_str::<Value>(&sums).expect("json"),
            serde_json::json!({"files": {}, "package": "z"})
        );
        assert!(path.join("src/lib.rs").is_file() && !path.join("lib").exists());
    }
}
