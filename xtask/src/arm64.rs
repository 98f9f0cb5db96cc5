// SPDX-License-Identifier: CECILL-B
//! The driver on arm64: builds it with the prebuilt object against Debian's headers, and boots it in an emulator.
//!
//! A Debian 13 tree of this machine's architecture compiles everything, with Debian's cross compilers. What boots is
//! Debian's kernel with an initramfs: busybox, the module, and static test programs.

mod boot;
mod module;
mod programs;
mod tree;

use anyhow::Result;
use clap::Args;

use knem_lab::lab::Lab;
use knem_lab::namespace;
use knem_packages::object;

use tree::{Tree, FLAVOURS};

/// Arguments of `cargo xtask arm64`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Build for this series, or for its kernel with pages of 16 KiB (6.12-16k); may be repeated [default: both page
    /// sizes of the default and of the newest series].
    #[arg(long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Boot each kernel in qemu and run the conformance programs there.
    #[arg(long)]
    boot: bool,
}

/// Builds the module for each kernel, and boots it.
///
/// # Errors
/// When something cannot be built, the kernel or the driver has problems, or a test fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    namespace::enter()?;
    let lab = Lab::open()?;
    let all = kernels(&lab);
    let wanted = if arguments.kernels.is_empty() { &all } else { &arguments.kernels };
    wanted.iter().try_for_each(|kernel| run_on(&lab, kernel, arguments.boot))
}

/// Both page sizes of the default and of the newest series.
pub fn kernels(lab: &Lab) -> Vec<String> {
    let series = [Some(&lab.workspace.default_series), lab.workspace.series.last()];
    let names = |series: &String| FLAVOURS.map(|flavour| format!("{series}{}", flavour.0));
    series.into_iter().flatten().flat_map(names).collect()
}

/// Builds the module for one kernel, and boots it.
///
/// # Errors
/// As [`run`].
pub fn run_on(lab: &Lab, kernel: &str, boot: bool) -> Result<()> {
    let tree = Tree::of(lab, kernel)?;
    let module = module::build(lab, &tree, &object::objects(lab)?)?;
    if boot {
        boot::run(lab, &tree, &module)?;
    }
    Ok(())
}
