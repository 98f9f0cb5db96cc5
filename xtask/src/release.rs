// SPDX-License-Identifier: CECILL-B
//! `cargo xtask release`: all of a release up to the signing, which takes a person's key. docs/releasing.md has the
//! rest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::Args;

use knem_lab::cache::file_digest;
use knem_lab::workspace::Workspace;
use knem_lab::{host, run};
use knem_packages::{self as packages, dist, repo};

/// What `release` takes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only check whether the sources are ready
    #[arg(long)]
    check: bool,
    /// Build although the sources are not ready: a rehearsal, which must not be published
    #[arg(long, conflicts_with = "check")]
    rehearse: bool,
}

/// What a release is judged by.
struct Sources {
    version: String,
    address: String,
    changes: String,
    debian: String,
    /// Files that git has no commit of.
    uncommitted: String,
    tags: String,
}

impl Sources {
    fn read(workspace: &Workspace) -> Result<Self> {
        host::need(&["git"])?;
        let git = |arguments: &[&str]| run::output(host::command("git").arg("-C").arg(&workspace.root).args(arguments));
        let text = |path: &str| fs::read_to_string(workspace.file(path)).with_context(|| format!("cannot read {path}"));
        Ok(Self {
            version: workspace.version.clone(),
            address: workspace.repository.clone(),
            changes: text("CHANGELOG.md")?,
            debian: text("debian/changelog")?,
            uncommitted: git(&["status", "--porcelain"])?,
            tags: git(&["tag", "--list"])?,
        })
    }

    /// What is to be done before the release, each with its remedy.
    fn missing(&self) -> Vec<String> {
        let version = &self.version;
        let mut missing = Vec::new();
        let mut demand = |ready: bool, problem: String| {
            if !ready {
                missing.push(problem);
            }
        };
        let newest = self.changes.lines().find_map(|line| line.strip_prefix("## ")).unwrap_or("nothing");
        let dated = newest.strip_prefix(&format!("{version} (")).and_then(|rest| rest.strip_suffix(')'));
        let date = |text: &str| text.len() == 10 && text.chars().all(|c| c.is_ascii_digit() || c == '-');
        demand(
            dated.is_some_and(date),
            format!("CHANGELOG.md begins with `## {newest}`. To fix: `## {version} (YEAR-MONTH-DAY)`"),
        );
        let first = self.debian.lines().next().unwrap_or_default();
        demand(
            first.starts_with(&format!("knem ({version}-")) && !first.contains("UNRELEASED"),
            format!("debian/changelog begins with `{first}`. To fix: an entry `knem ({version}-1) unstable`"),
        );
        demand(
            self.uncommitted.trim().is_empty(),
            format!("files are not committed:\n{}\nTo fix: git commit", self.uncommitted.trim_end()),
        );
        let tag = format!("v{version}");
        demand(
            !self.tags.lines().any(|known| known == tag),
            format!("the tag {tag} exists. To fix: another `version` in the top Cargo.toml"),
        );
        demand(!self.address.is_empty(), "no address is set. To fix: cargo xtask address URL".to_owned());
        missing
    }
}

/// Checks the sources, and builds the tarball, the packages, the repositories and their checksums.
///
/// # Errors
/// When the sources are not ready, or something does not build.
pub fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::find()?;
    let missing = Sources::read(&workspace)?.missing();
    for problem in &missing {
        eprintln!("not ready: {problem}");
    }
    if !missing.is_empty() && !arguments.rehearse {
        bail!("version {} is not ready for release", workspace.version);
    }
    if arguments.check {
        println!("version {} is ready for release", workspace.version);
        return Ok(());
    }
    let _lock = packages::lock(&workspace)?;
    let tarball = dist::tarball(&workspace)?;
    let built = packages::build(&workspace)?;
    repo::make(&workspace, &built, None)?;
    let files: Vec<PathBuf> = [tarball].into_iter().chain(built.debs).chain(built.rpms).collect();
    let sums = workspace.file("dist/SHA256SUMS");
    fs::write(&sums, checksums(&files)?).with_context(|| format!("cannot write {}", sums.display()))?;
    files.iter().chain([&sums]).for_each(|file| println!("{}", file.display()));
    if missing.is_empty() {
        println!("{}", signing(&workspace.version));
    } else {
        println!("a rehearsal: do not publish these files");
    }
    Ok(())
}

/// Lines that `sha256sum --check` takes, where the files are.
fn checksums(files: &[PathBuf]) -> Result<String> {
    let line = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).with_context(|| file.display().to_string())?;
        Ok(format!("{}  {name}\n", file_digest(Path::new(file))?))
    };
    files.iter().map(line).collect()
}

/// What takes a key, and so a person.
fn signing(version: &str) -> String {
    format!(
        "Now, with the key KEY of the project:\n  git tag -s -u KEY v{version}\n  \
         gpg -u KEY --detach-sign --armor dist/SHA256SUMS\n  make repo KEY=KEY\n  \
         git push origin v{version}, and upload dist/ (docs/releasing.md)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn ready() -> Sources {
        let text = str::to_owned;
        Sources {
            version: text("2.0.0"),
            address: text("https://example.org/knem"),
            changes: text("# Changes\n\n## 2.0.0 (2026-12-01)\n\n## 1.0.0 (2025-01-01)\n"),
            debian: text("knem (2.0.0-1) unstable; urgency=medium\n"),
            uncommitted: String::new(),
            tags: text("v1.0.0\nv2.0.0-rc1\n"),
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        assert!(ready().missing().is_empty());
        let text = str::to_owned;
        let cases: [(Sources, &str); 7] = [
            (Sources { changes: text("## 2.0.0 (in development)\n"), ..ready() }, "CHANGELOG.md begins"),
            (Sources { changes: text("## 1.9.0 (2026-12-01)\n"), ..ready() }, "CHANGELOG.md begins"),
            (Sources { debian: text("knem (2.0.0-1) UNRELEASED; urgency\n"), ..ready() }, "debian/changelog begins"),
            (Sources { debian: text("knem (1.9.0-1) unstable; urgency\n"), ..ready() }, "debian/changelog begins"),
            (Sources { uncommitted: text(" M README.md\n"), ..ready() }, "files are not committed"),
            (Sources { tags: text("v2.0.0\n"), ..ready() }, "the tag v2.0.0 exists"),
            (Sources { address: String::new(), ..ready() }, "no address is set"),
        ];
        for (sources, problem) in cases {
            let missing = sources.missing();
            assert!(missing.len() == 1 && missing[0].starts_with(problem), "{problem}: {missing:?}");
            assert!(missing[0].contains("To fix: "), "{missing:?}");
        }
    }

    #[test]
    fn checksums_are_those_that_sha256sum_takes() {
        let home = tempfile::tempdir().expect("a directory");
        let files = ["a.deb", "b.rpm"].map(|name| home.path().join(name));
        files.iter().for_each(|file| fs::write(file, file.as_os_str().as_encoded_bytes()).expect("written"));
        fs::write(home.path().join("SHA256SUMS"), checksums(&files).expect("read")).expect("written");
        let checked = || {
            let mut command = Command::new("sha256sum");
            command.current_dir(home.path()).args(["--check", "--strict", "--quiet", "SHA256SUMS"]);
            command.output().expect("sha256sum").status.success()
        };
        assert!(checked());
        fs::write(&files[1], "changed").expect("written");
        assert!(!checked());
    }

    #[test]
    fn this_repository_can_be_judged() {
        let sources = Sources::read(&Workspace::find().expect("the workspace")).expect("read");
        assert!(sources.changes.contains(&format!("\n## {}", sources.version)), "CHANGELOG.md has no such version");
    }
}
