// SPDX-License-Identifier: CECILL-B
//! Recipes of the documents, which the drills run word for word.

use std::fs;

use anyhow::{bail, Context, Result};
use knem_lab::archive;

use crate::shell::Shell;
use crate::site::Site;

/// The documents, one of which has the recipe.
const DOCUMENTS: [&str; 3] = ["docs/admin.md", "docs/deployment.md", "docs/secure-boot.md"];

/// Returns the mark before a block that a drill runs, with the recipe's name.
fn mark(name: &str) -> String {
    format!("<!-- run by the drills: {name} -->")
}

/// Returns a recipe as a shell script that ends with the first command that fails. `variables` are set first, such as
/// `kernel=7.2`.
///
/// # Errors
/// If no document has such a recipe.
pub fn read(site: &Site, name: &str, variables: &str) -> Result<String> {
    for document in DOCUMENTS {
        let path = site.lab().workspace.file(document);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(block) = block(&text, name) {
            return Ok(format!("set -eu\n{variables}\n{block}"));
        }
    }
    bail!("no document has a recipe {name}")
}

/// Returns the first block of code after the mark.
fn block(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&mark(name))?;
    let (between, rest) = rest.split_once("```")?;
    // The block must follow directly, or the mark is another block's.
    if !between.trim().is_empty() {
        return None;
    }
    let (_, rest) = rest.split_once('\n')?;
    let (block, _) = rest.split_once("```")?;
    Some(block.to_owned())
}

/// Configures the network for programs that call apt themselves, as this machine has it.
///
/// # Errors
/// If the tree cannot be written to.
pub fn configure_apt(shell: &Shell<'_>) -> Result<()> {
    // apt's unprivileged user may not read the laboratory's directories.
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
