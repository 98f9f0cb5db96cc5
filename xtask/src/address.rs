// SPDX-License-Identifier: CECILL-B
//! `cargo xtask address`: the project's address, which is `repository` in the top Cargo.toml and nowhere else.
//!
//! Messages and RPM packages read it from there. Texts that are read as they are (SECURITY.md, debian/control, recipes)
//! have blocks between the comments `address` and `/address`, which this command writes and a test compares.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use clap::Args;

use knem_lab::workspace::Workspace;

/// What `address` takes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Set it to this URL; '' for none
    url: Option<String>,
}

/// A block of a text: the file, and what is in its blocks without an address and with one. URL stands for the address.
struct Block {
    file: &'static str,
    without: &'static str,
    with: &'static str,
}

const fn block(file: &'static str, without: &'static str, with: &'static str) -> Block {
    Block { file, without, with }
}

const BLOCKS: &[Block] = &[
    block(
        "SECURITY.md",
        "No address for reports is set in this copy of the source. Report to the distribution, vendor or site that gave you the\n\
         packages, in private.",
        "Report at <URL/security/advisories/new>, which only the maintainers can read.",
    ),
    block(
        "CONTRIBUTING.md",
        "No address for reports is set in this copy of the source. Report to the distribution, vendor or site that gave you the\n\
         packages.",
        "Report at <URL/issues>, and send changes to <URL/pulls>.",
    ),
    block(
        "docs/admin.md",
        "No address for reports is set in this release. Report to the distribution, vendor or site that gave you the packages.",
        "Report at <URL/issues>. A fault that endangers other users is reported in private: <URL/security/policy>.",
    ),
    block(
        ".github/ISSUE_TEMPLATE/config.yml",
        "contact_links: []",
        "contact_links:\n  - name: Security\n    url: URL/security/advisories/new\n    about: In private, see SECURITY.md",
    ),
    block("debian/control", "", "Homepage: URL\nVcs-Browser: URL\nVcs-Git: URL.git"),
    block(
        "rpm/knem.rpmlintrc",
        "# The project has no address yet.\naddFilter(r\"no-url-tag\")",
        "",
    ),
    block("deploy/arch/PKGBUILD", "", "url=\"URL\""),
    block("deploy/easybuild/KNEM-2.0.0.eb", "homepage = ''", "homepage = 'URL'"),
    block("deploy/spack/repo/packages/knem/package.py", "", "    homepage = \"URL\""),
];

/// Prints the address, or sets it and writes the blocks.
pub fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::find()?;
    if let Some(url) = &arguments.url {
        set(&workspace.root, url)?;
        println!("{}", if url.is_empty() { "no address is set" } else { "set; commit what has changed" });
    } else if workspace.repository.is_empty() {
        println!("none is set: cargo xtask address URL");
    } else {
        println!("{}", workspace.repository);
    }
    Ok(())
}

/// Sets the address in the repository at `root`, and in all blocks.
///
/// # Errors
/// When it is no URL, or a text has no block.
pub fn set(root: &Path, url: &str) -> Result<()> {
    let plain = url.starts_with("https://") && !url.ends_with('/') && !url.contains(|c: char| " \"'<>\\".contains(c));
    ensure!(plain || url.is_empty(), "{url} is no address: https://HOST/PATH, without a slash at its end");
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    let line = text.lines().find(|line| line.starts_with("repository = ")).context("Cargo.toml has no repository")?;
    fs::write(&manifest, text.replacen(line, &format!("repository = \"{url}\""), 1))?;
    each(root, url, |path, _, text| Ok(fs::write(path, text)?))
}

/// The files whose blocks are not those of the address.
///
/// # Errors
/// When a text has no block.
pub fn out_of_step(root: &Path, url: &str) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    each(root, url, |path, block, text| {
        if fs::read_to_string(path)? != text {
            found.push(block.file);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `act` with each file and its text for the address.
fn each(root: &Path, url: &str, mut act: impl FnMut(&Path, &Block, &str) -> Result<()>) -> Result<()> {
    for block in BLOCKS {
        let path = root.join(block.file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let body = if url.is_empty() { block.without.to_owned() } else { block.with.replace("URL", url) };
        act(&path, block, &filled(&text, &body).with_context(|| path.display().to_string())?)?;
    }
    Ok(())
}

/// The text with `body` in its blocks.
fn filled(text: &str, body: &str) -> Result<String> {
    let comment =
        |line: &str| line.trim().trim_start_matches("<!--").trim_end_matches("-->").trim_matches([' ', '#']).to_owned();
    let (mut result, mut inside, mut blocks) = (String::new(), false, 0);
    for line in text.lines() {
        let word = if line.trim().starts_with(['#', '<']) { comment(line) } else { String::new() };
        if word == "/address" {
            ensure!(inside, "a block ends that has not begun");
            inside = false;
        }
        if !inside {
            result += &format!("{line}\n");
        }
        if word == "address" {
            ensure!(!inside, "a block begins in another");
            inside = true;
            blocks += 1;
            if !body.is_empty() {
                result += &format!("{body}\n");
            }
        }
    }
    if inside || blocks == 0 {
        bail!("it has no block from `address` to `/address`");
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_address_of_the_manifest() {
        let workspace = Workspace::find().expect("the workspace");
        let found = out_of_step(&workspace.root, &workspace.repository).expect("blocks");
        assert!(found.is_empty(), "run `cargo xtask address '{}'`: {found:?}", workspace.repository);
    }

    #[test]
    fn one_line_sets_it_everywhere_and_back() {
        let workspace = Workspace::find().expect("the workspace");
        let home = tempfile::tempdir().expect("a directory");
        let files = BLOCKS.iter().map(|block| block.file).chain(["Cargo.toml"]);
        for file in files.clone() {
            let copy = home.path().join(file);
            fs::create_dir_all(copy.parent().expect("a parent")).expect("made");
            fs::copy(workspace.file(file), copy).expect("copied");
        }
        let text = |file: &str| fs::read_to_string(home.path().join(file)).expect("readable");
        set(home.path(), "").expect("reset");
        let before: Vec<String> = files.clone().map(text).collect();
        assert!(before.iter().all(|text| !text.contains("https://example.org")));

        set(home.path(), "https://example.org/knem").expect("set");
        for block in BLOCKS.iter().filter(|block| !block.with.is_empty()) {
            assert!(text(block.file).contains("https://example.org/knem"), "{} has no address", block.file);
        }
        assert!(text("Cargo.toml").contains("\nrepository = \"https://example.org/knem\"\n"));
        assert!(text("SECURITY.md").contains("<https://example.org/knem/security/advisories/new>"));
        assert!(!text("SECURITY.md").contains("No address"));
        assert!(text("debian/control").contains("\nHomepage: https://example.org/knem\n"));
        assert!(!text("rpm/knem.rpmlintrc").contains("no-url-tag"), "a filter that finds nothing is an error");
        assert!(out_of_step(home.path(), "https://example.org/knem").expect("blocks").is_empty());
        assert!(!out_of_step(home.path(), "").expect("blocks").is_empty());

        set(home.path(), "").expect("reset");
        assert_eq!(before, files.map(text).collect::<Vec<_>>());
        for wrong in ["http://example.org", "https://example.org/", "https://a b", "https://a\"b"] {
            assert!(set(home.path(), wrong).is_err(), "{wrong}");
        }
    }
}
