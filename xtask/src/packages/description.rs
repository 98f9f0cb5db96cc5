// SPDX-License-Identifier: CECILL-B
//! A package's description, from `debian/<package>.description`. cargo-deb would take its first line from the crate, which is
//! something else, and wrap the rest in its own way.

use std::fs;

use anyhow::{bail, Context, Result};

use crate::workspace::Workspace;

/// The value of the field: what the first line says in short, and then the rest.
pub(crate) fn read(workspace: &Workspace, package: &str) -> Result<String> {
    let path = workspace.file(format!("debian/{package}.description"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Some((short, long)) = text.split_once('\n') else {
        bail!("{} is too short", path.display());
    };
    Ok(format!("{short}\n{}", field(long.trim_end())).trim_end().to_owned())
}

/// Text as it continues a field: each line indented, an empty one shown by a dot.
pub(crate) fn field(text: &str) -> String {
    text.lines().map(|line| if line.trim().is_empty() { " .\n".to_owned() } else { format!(" {line}\n") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_become_dots() {
        assert_eq!(field("a\n\n  b\n"), " a\n .\n   b\n");
    }
}
