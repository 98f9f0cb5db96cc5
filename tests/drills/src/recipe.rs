// SPDX-License-Identifier: CECILL-B
//! Recipes of docs/deployment.md: the drills run what the document shows, word for word.

use std::fs;

use anyhow::{Context, Result};
use xtask::archive;

use crate::shell::Shell;
use crate::site::Site;

/// The document.
const DOCUMENT: &str = "docs/deployment.md";

/// What stands before a block that a drill runs, with the recipe's name in it.
fn mark(name: &str) -> String {
    format!("<!-- run by the drills: {name} -->")
}

/// A recipe as a text of shell that ends with the first command that fails. `variables` come first, such as `kernel=7.2`.
///
/// # Errors
/// When the document has no such recipe.
pub fn read(site: &Site, name: &str, variables: &str) -> Result<String> {
    let path = site.lab().workspace.file(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let block = block(&text, name).with_context(|| format!("{DOCUMENT} has no recipe {name}"))?;
    Ok(format!("set -eu\n{variables}\n{block}"))
}

/// The first block of code after the mark.
fn block(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&mark(name))?;
    let (between, rest) = rest.split_once("```")?;
    // Directly after it, or the mark is another block's.
    if !between.trim().is_empty() {
        return None;
    }
    let (_, rest) = rest.split_once('\n')?;
    let (block, _) = rest.split_once("```")?;
    Some(block.to_owned())
}

/// Lets programs that call apt themselves reach the network as this machine does.
///
/// # Errors
/// When the tree cannot be written to.
pub fn configure_apt(shell: &Shell<'_>) -> Result<()> {
    // The unprivileged user of apt may not look into the laboratory's directories.
    let mut conf = String::from("APT::Sandbox::User \"root\";\nAPT::Keep-Downloaded-Packages \"true\";\n");
    for option in archive::proxy_options()? {
        let (name, value) = option.split_once('=').context("an option has a value")?;
        conf.push_str(&format!("{name} \"{value}\";\n"));
    }
    shell.write("etc/apt/apt.conf.d/99drill", &conf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_the_block_after_its_mark() {
        let text =
            "a\n<!-- run by the drills: one -->\n```sh\nb\nc\n```\n<!-- run by the drills: two -->\nx\n```\nd\n```\n";
        assert_eq!(block(text, "one").as_deref(), Some("b\nc\n"));
        assert_eq!(block(text, "two"), None);
        assert_eq!(block(text, "three"), None);
    }
}
