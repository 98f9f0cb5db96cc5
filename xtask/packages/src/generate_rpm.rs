// SPDX-License-Identifier: CECILL-B
//! cargo-generate-rpm: packs what is staged, as the `[package.metadata.generate-rpm]` sections of src-kmod and
//! src-tools say.
//!
//! The sections have what people decide: names, relations, texts. The files are those that were staged, so that there
//! is one list of them; the scriptlets are in rpm/scriptlets. What the tool has no place for is put into its packages
//! afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use toml::{Table, Value};
use walkdir::WalkDir;

use super::cargo_tool;
use super::finish_rpm::{self, Additions};
use knem_lab::run;
use knem_lab::workspace::Workspace;

/// The tool's name and the release that is used.
const TOOL: (&str, &str) = ("cargo-generate-rpm", "0.21.1");

/// Below these, directories are a package's own; all others belong to the distribution.
const OWN: &[&str] = &["usr/src/", "usr/share/doc/", "usr/share/licenses/"];

/// Scriptlets: the end of the file's name, and what the tool calls it.
const SCRIPTLETS: &[(&str, &str)] = &[
    ("pre", "pre_install_script"),
    ("post", "post_install_script"),
    ("preun", "pre_uninstall_script"),
    ("postun", "post_uninstall_script"),
];

/// The tool, installed in the cache.
#[derive(Debug)]
pub(crate) struct GenerateRpm<'a> {
    program: PathBuf,
    workspace: &'a Workspace,
    epoch: u64,
}

impl<'a> GenerateRpm<'a> {
    /// Finds it in the cache, or builds it there.
    pub(crate) fn get(workspace: &'a Workspace, epoch: u64) -> Result<Self> {
        Ok(Self { program: cargo_tool::get(workspace, TOOL.0, TOOL.1)?, workspace, epoch })
    }

    /// Packs the package of the crate in `directory` into `dist/` and returns the file. `stage` has the files of all
    /// RPM packages.
    pub(crate) fn pack(&self, directory: &str, stage: &Path, architecture: &str) -> Result<PathBuf> {
        let mut section = section(self.workspace, directory)?;
        let name = text(&section, "name")?;
        let (files, directories) = contents(&stage.join(&name), self.workspace)?;
        let additions = Additions::take(self.workspace, &name, &mut section, directories, self.epoch)?;
        section.insert("assets".to_owned(), Value::Array(files));
        section.extend(url(self.workspace));
        for (end, key) in SCRIPTLETS {
            if let Some(scriptlet) = scriptlet(self.workspace, &name, end)? {
                section.insert((*key).to_owned(), Value::String(scriptlet));
            }
        }
        let whole = stage.join(format!("{name}.toml"));
        fs::write(&whole, section.to_string()).with_context(|| format!("cannot write {}", whole.display()))?;

        let file = format!("{name}-{}-{}.{architecture}.rpm", self.workspace.version, text(&section, "release")?);
        let path = self.workspace.file("dist").join(file);
        run::quiet(
            Command::new(&self.program)
                .current_dir(&self.workspace.root)
                // Its own search for libraries: the other one depends on what is installed here.
                .args(["-p", directory, "--arch", architecture, "--auto-req", auto_req(&section)])
                // Compressed when it is complete.
                .args(["--payload-compress", "none"])
                .arg(format!("--metadata-overwrite={}", whole.display()))
                .arg("-o")
                .arg(&path)
                .env("SOURCE_DATE_EPOCH", self.epoch.to_string()),
        )?;
        finish_rpm::finish(&path, &additions)?;
        Ok(path)
    }
}

/// A crate's section for the tool, with the version put in.
pub(crate) fn section(workspace: &Workspace, directory: &str) -> Result<Table> {
    let path = workspace.file(directory).join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Table =
        text.replace("@VERSION@", &workspace.version).parse().with_context(|| path.display().to_string())?;
    ["package", "metadata", "generate-rpm"]
        .iter()
        .try_fold(&manifest, |table, name| table.get(*name)?.as_table())
        .cloned()
        .with_context(|| format!("{} has no [package.metadata.generate-rpm]", path.display()))
}

/// The package's URL, if the project has an address.
fn url(workspace: &Workspace) -> Option<(String, Value)> {
    let address = &workspace.repository;
    (!address.is_empty()).then(|| ("url".to_owned(), Value::String(address.clone())))
}

/// A string of the section.
pub(crate) fn text(section: &Table, key: &str) -> Result<String> {
    let value = section.get(key).and_then(Value::as_str);
    value.map(str::to_owned).with_context(|| format!("[package.metadata.generate-rpm] has no text `{key}`"))
}

/// A scriptlet of a package, with the version put in, if it has that.
pub(crate) fn scriptlet(workspace: &Workspace, name: &str, end: &str) -> Result<Option<String>> {
    let path = workspace.file(format!("rpm/scriptlets/{name}.{end}"));
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(text.replace("#VERSION#", &workspace.version)))
}

fn auto_req(section: &Table) -> &str {
    match section.get("auto-req").and_then(Value::as_str) {
        Some("no") => "no",
        _ => "builtin",
    }
}

/// The staged files as the tool takes them, each with its mode, and the directories that are the package's own.
fn contents(stage: &Path, workspace: &Workspace) -> Result<(Vec<Value>, Vec<String>)> {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in WalkDir::new(stage).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path().strip_prefix(stage)?;
        let name = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        if entry.file_type().is_dir() {
            if OWN.iter().any(|own| name.starts_with(own)) {
                directories.push(format!("/{name}"));
            }
            continue;
        }
        if !entry.file_type().is_file() {
            bail!("{} is neither a file nor a directory", entry.path().display());
        }
        let mut file = Table::new();
        let mut set = |key: &str, value: Value| file.insert(key.to_owned(), value);
        let source = entry.path().strip_prefix(&workspace.root).unwrap_or(entry.path());
        set("source", Value::String(source.display().to_string()));
        set("dest", Value::String(format!("/{name}")));
        set("mode", Value::String(format!("{:o}", entry.metadata()?.permissions().mode() & 0o7777)));
        if name.starts_with("usr/share/doc/") || name.starts_with("usr/share/man/") {
            set("doc", Value::Boolean(true));
        }
        if name.starts_with("etc/") {
            set("config", Value::String("noreplace".to_owned()));
        }
        files.push(Value::Table(file));
    }
    if files.is_empty() {
        bail!("{} has no files", stage.display());
    }
    Ok((files, directories))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        Workspace::find().expect("the workspace")
    }

    #[test]
    fn own_directories_and_modes_are_those_of_the_stage() {
        let home = tempfile::tempdir().expect("a directory");
        for (path, mode) in [("usr/bin/knem", 0o755), ("usr/src/knem-1/Kbuild", 0o644), ("etc/a.conf", 0o640)] {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(&path, "").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        }
        let (files, directories) = contents(home.path(), &workspace()).expect("a list");
        let shown: Vec<String> = files
            .iter()
            .map(|file| {
                let text = |key: &str| file.get(key).map_or("", |value| value.as_str().unwrap_or("?"));
                format!("{} {} {}", text("dest"), text("mode"), text("config"))
            })
            .collect();
        assert_eq!(shown, ["/etc/a.conf 640 noreplace", "/usr/bin/knem 755 ", "/usr/src/knem-1/Kbuild 644 "]);
        assert_eq!(directories, ["/usr/src/knem-1"]);
        assert!(contents(&home.path().join("usr/src"), &workspace()).is_ok());
        fs::create_dir(home.path().join("empty")).expect("made");
        assert!(contents(&home.path().join("empty"), &workspace()).is_err());
    }

    #[test]
    fn the_url_is_the_address() {
        let mut workspace = workspace();
        workspace.repository.clear();
        assert_eq!(url(&workspace), None);
        workspace.repository = "https://example.org/knem".to_owned();
        assert_eq!(url(&workspace), Some(("url".to_owned(), Value::from("https://example.org/knem"))));
    }

    #[test]
    fn the_version_is_in_relations_and_scriptlets() {
        let workspace = workspace();
        for directory in ["src-tools", "src-kmod"] {
            let section = section(&workspace, directory).expect("there");
            let text = section.to_string();
            assert!(text.contains(&format!("= {}\"", workspace.version)) && !text.contains("@VERSION@"), "{text}");
        }
        let post = scriptlet(&workspace, "knem2-dkms", "post").expect("readable").expect("there");
        assert!(
            post.contains(&format!("/usr/src/knem-{}/package.sh", workspace.version)) && !post.contains("#VERSION#")
        );
        assert!(scriptlet(&workspace, "knem2-dkms", "verify").expect("readable").is_none());
    }
}
