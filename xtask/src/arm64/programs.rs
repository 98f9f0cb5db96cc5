// SPDX-License-Identifier: CECILL-B
//! The test programs for arm64, static.

use std::path::PathBuf;

use anyhow::Result;

use super::tree::Tree;
use crate::programs::{CONFORMANCE, C_FLAGS};
use knem_lab::lab::Lab;
use knem_lab::namespace::directory;
use knem_lab::programs::PROFILE;
use knem_lab::run;
use knem_lab::uml::workshop::Workshop;
use knem_packages::dist;

/// The repository and what is made of it, as the workshop has them.
const REPOSITORY: &str = "/root/knem";
const OUT: &str = "/root/out";

/// Rust's name of the machine.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Builds the conformance programs, in C and, where pages have the 4 KiB that it takes for granted, in Rust.
pub(super) fn build(lab: &Lab, tree: &Tree) -> Result<Vec<PathBuf>> {
    let out = lab.workspace.target().join("arm64");
    directory(&out)?;
    let mut workshop = Workshop::open(&tree.stack, &lab.cache)?;
    workshop.bind(&lab.workspace.root, REPOSITORY)?;
    workshop.bind(&out, OUT)?;
    let at = |path: &str| format!("{REPOSITORY}/{path}");
    run::run(
        workshop
            .command("aarch64-linux-gnu-gcc")
            .args(C_FLAGS)
            .args([&format!("-I{}", at("include")), "-o", &format!("{OUT}/knem-conformance-c")])
            .args(CONFORMANCE.iter().map(|path| at(path))),
    )?;
    let mut programs = vec![out.join("knem-conformance-c")];
    if tree.release.ends_with("-16k") {
        return Ok(programs);
    }
    // Debian's cargo compiles them, and has no network.
    run::quiet(dist::cargo(&lab.workspace.root).args(["vendor", "--quiet", "--locked"]).arg(out.join("crates")))?;
    run::run(
        workshop
            .command("cargo")
            .args(["build", "--quiet", "--offline", "--locked", "--profile", PROFILE, "--target", TARGET])
            .args(["--config", "source.crates-io.replace-with='here'"])
            .args(["--config", &format!("source.here.directory='{OUT}/crates'")])
            .args(["--manifest-path", &at("Cargo.toml"), "--target-dir", OUT, "--package", "knem-conformance"])
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    programs.push(out.join(TARGET).join(PROFILE).join("knem-conformance"));
    Ok(programs)
}
