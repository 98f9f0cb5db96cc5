// SPDX-License-Identifier: CECILL-B
//! The test programs for the machines: built here, and copied to `/usr/local/bin`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use knem_lab::programs::{add, rust};
use knem_lab::userland::Installed;
use knem_lab::vm::Add;
use knem_lab::workspace::Workspace;
use knem_lab::{host, run};

/// Programs in Rust: the interface against any device, the driver's life, random sequences against a model, one member
/// of the group against another, instructions of calls, and failing memory and storms.
const RUST: &[&str] =
    &["knem-conformance", "knem-vm-tests", "knem-model", "knem-limits", "knem-budget", "knem-reliability"];

/// The command, for machines in which its package cannot be installed.
const COMMAND: &str = "knem";

/// Programs in C: the name, its sources, and whether it is built for 32 bits.
const C: &[(&str, &[&str], bool)] = &[
    ("knem-conformance-c", CONFORMANCE, false),
    ("knem-conformance-c32", CONFORMANCE, true),
    ("knem-pingpong", &["docs/examples/pingpong.c"], false),
    ("knem-pingpong32", &["docs/examples/pingpong.c"], true),
];

pub(crate) const CONFORMANCE: &[&str] = &["tests/conformance/c/knem-conformance.c", "tests/conformance/c/tap.c"];

/// Programs in C need no library in the machine.
pub(crate) const C_FLAGS: [&str; 6] = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-static"];

/// The compiler of 32-bit programs beside any compiler of the host, and the C library for it.
const CROSS: [&str; 2] = ["i686-linux-gnu-gcc", "/usr/i686-linux-gnu/lib/libc.a"];

/// Builds all of them.
pub fn build(workspace: &Workspace) -> Result<Vec<Add>> {
    let mut programs = rust(workspace, RUST)?;

    host::need(&["cc", "pkg-config", CROSS[0], CROSS[1]])?;
    let flags = stage(workspace)?;
    for (name, sources, narrow) in C {
        programs.push(add(compile(workspace, name, sources, *narrow, &flags)?)?);
    }
    Ok(programs)
}

/// The command `knem`, if an installation has come without it.
pub fn of_the_tools(workspace: &Workspace, installed: &Installed) -> Result<Vec<Add>> {
    if installed.tools {
        return Ok(Vec::new());
    }
    rust(workspace, &[COMMAND])
}

/// Builds all of them if a command for a machine names one, in whatever of its words.
pub fn wanted(workspace: &Workspace, command: &[String]) -> Result<Vec<Add>> {
    let names = || RUST.iter().copied().chain(C.iter().map(|program| program.0));
    if command.iter().any(|word| names().any(|name| mentions(word, name))) {
        return build(workspace);
    }
    Ok(Vec::new())
}

/// Whether a shell might find the name of a program in a word.
fn mentions(word: &str, name: &str) -> bool {
    word.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|part| part == name)
}

/// Directory in which C programs are built.
fn place(workspace: &Workspace) -> PathBuf {
    workspace.target().join("programs")
}

/// Installs the header and pkg-config's file as the package does, in a separate directory. Returns the compiler flags
/// that pkg-config prints for it.
fn stage(workspace: &Workspace) -> Result<Vec<String>> {
    let prefix = place(workspace).join("usr");
    let (include, pkgconfig) = (prefix.join("include"), prefix.join("share/pkgconfig"));
    for directory in [&include, &pkgconfig] {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::copy(workspace.file("include/knem_io.h"), include.join("knem_io.h"))?;
    let text = fs::read_to_string(workspace.file("include/knem.pc.in"))?;
    let text = text.replace("@PREFIX@", &prefix.to_string_lossy()).replace("@VERSION@", &workspace.version);
    fs::write(pkgconfig.join("knem.pc"), text)?;
    let flags =
        run::output(host::command("pkg-config").env("PKG_CONFIG_LIBDIR", &pkgconfig).args(["--cflags", "knem"]))?;
    Ok(flags.split_whitespace().map(str::to_owned).collect())
}

/// Compiles a program that needs no library in the machine.
fn compile(workspace: &Workspace, name: &str, sources: &[&str], narrow: bool, flags: &[String]) -> Result<PathBuf> {
    let program = place(workspace).join(name);
    run::run(
        host::command(if narrow { CROSS[0] } else { "cc" })
            .current_dir(&workspace.root)
            .args(C_FLAGS)
            .args(flags)
            .arg("-o")
            .arg(&program)
            .args(sources),
    )?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn programs_are_found_in_shell_commands() {
        assert!(mentions("knem-conformance", "knem-conformance"));
        assert!(mentions("time /usr/local/bin/knem-conformance-c32; true", "knem-conformance-c32"));
        assert!(!mentions("knem-conformance-c", "knem-conformance"));
        assert!(!mentions("knem bench", "knem-model"));
    }
}
