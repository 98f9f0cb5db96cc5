// SPDX-License-Identifier: CECILL-B
//! The date of everything in a package, so that the same sources give the same bytes.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};

use knem_lab::run;
use knem_lab::workspace::Workspace;

/// Seconds since 1970: SOURCE_DATE_EPOCH, else the last commit, else (without git) the date of debian/changelog.
pub(crate) fn of(workspace: &Workspace) -> Result<u64> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => of_commit(workspace).or_else(|_| of_changelog(workspace))?,
    };
    text.trim().parse().with_context(|| format!("`{}` is not a date in seconds (SOURCE_DATE_EPOCH)", text.trim()))
}

fn of_commit(workspace: &Workspace) -> Result<String> {
    run::output(Command::new("git").arg("-C").arg(&workspace.root).args(["log", "-1", "--format=%ct"]))
}

fn of_changelog(workspace: &Workspace) -> Result<String> {
    run::output(
        Command::new("dpkg-parsechangelog").arg("-l").arg(workspace.file("debian/changelog")).args(["-S", "Timestamp"]),
    )
}
