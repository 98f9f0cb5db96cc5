// SPDX-License-Identifier: CECILL-B
//! What is in knem-tools: the command, what other programs build with, and the device's settings.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use super::stage::Stage;
use super::{copyright, description, scripts, template};
use crate::run;
use crate::workspace::Workspace;

/// The package's name.
const PACKAGE: &str = "knem-tools";

/// Files that are copied as they are.
const FILES: &[(&str, &str)] = &[
    ("include/knem_io.h", "usr/include/knem_io.h"),
    ("udev/60-knem.rules", "usr/lib/udev/rules.d/60-knem.rules"),
    ("udev/knem.sysusers.conf", "usr/lib/sysusers.d/knem.conf"),
    ("udev/knem.modules-load.conf", "usr/lib/modules-load.d/knem.conf"),
    ("udev/knem.limits.conf", "etc/security/limits.d/knem.conf"),
    ("modprobe.d/knem.conf", "usr/lib/modprobe.d/knem.conf"),
    ("docs/man/knem.4", "usr/share/man/man4/knem.4"),
];

/// Completion scripts: the shell, and where it looks for them.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/knem"),
    ("zsh", "usr/share/zsh/vendor-completions/_knem"),
    ("fish", "usr/share/fish/vendor_completions.d/knem.fish"),
];

/// Stages the package; builds the command, because its manual page and completions come from itself.
pub(crate) fn stage(workspace: &Workspace, stage: &Stage) -> Result<()> {
    for (from, to) in FILES {
        stage.copy(&workspace.file(from), PACKAGE, to)?;
    }
    let path = workspace.file("include/knem.pc.in");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = template::fill(&text, &template::values(workspace)?).with_context(|| path.display().to_string())?;
    stage.write(PACKAGE, "usr/share/pkgconfig/knem.pc", text.as_bytes())?;

    let command = build(workspace)?;
    stage.copy(&command, PACKAGE, "usr/bin/knem")?;
    stage.write(PACKAGE, "usr/share/man/man1/knem.1", said(&command, &["__man"])?.as_bytes())?;
    for (shell, to) in COMPLETIONS {
        stage.write(PACKAGE, to, said(&command, &["completions", shell])?.as_bytes())?;
    }

    scripts::stage(workspace, stage, PACKAGE)?;
    copyright::stage(workspace, stage, PACKAGE)
}

/// Fields of the control file that Cargo.toml cannot give.
pub(crate) fn fields(workspace: &Workspace) -> Result<Vec<(&'static str, String)>> {
    Ok(vec![("Description", description::read(workspace, PACKAGE)?)])
}

/// Builds the command and returns its path.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run::run(
        Command::new(cargo)
            .current_dir(&workspace.root)
            .args(["build", "--release", "-p", "knem-tools"])
            .arg("--target-dir")
            .arg(workspace.target())
            // Where it was built must not show in what is built.
            .env("RUSTFLAGS", remapped(&workspace.root)),
    )?;
    Ok(workspace.target().join("release/knem"))
}

/// Compiler flags that replace the repository's and cargo's own directories in messages.
fn remapped(root: &Path) -> String {
    let mut flags = env::var("RUSTFLAGS").unwrap_or_default();
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")));
    for (from, to) in [(Ok(root.display().to_string()), "knem"), (home, "cargo")] {
        if let Ok(from) = from {
            flags.push_str(&format!(" --remap-path-prefix={from}={to}"));
        }
    }
    flags.trim().to_owned()
}

/// What the command prints; nothing is an error, for it would make an empty file.
fn said(command: &Path, arguments: &[&str]) -> Result<String> {
    let text = run::output(Command::new(command).args(arguments))?;
    if text.trim().is_empty() {
        bail!("`knem {}` printed nothing", arguments.join(" "));
    }
    Ok(text)
}
