// SPDX-License-Identifier: CECILL-B
//! The packages' copyright file: `debian/copyright.in` with the licences' texts, of which there is one copy, in LICENSES/.

use std::fs;

use anyhow::{Context, Result};

use super::description::field;
use super::stage::Stage;
use crate::workspace::Workspace;

/// Stages the file for `package`.
pub(crate) fn stage(workspace: &Workspace, stage: &Stage, package: &str) -> Result<()> {
    let path = workspace.file("debian/copyright.in");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut whole = String::new();
    for line in text.lines() {
        match line.strip_prefix("@LICENSES/").and_then(|rest| rest.strip_suffix('@')) {
            None => {
                whole.push_str(line);
                whole.push('\n');
            }
            Some(name) => {
                let path = workspace.file("LICENSES").join(name);
                let licence = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                whole.push_str(&field(&licence));
            }
        }
    }
    stage.control(package, "copyright", whole.as_bytes())
}
