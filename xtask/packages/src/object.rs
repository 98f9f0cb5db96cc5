// SPDX-License-Identifier: CECILL-B
//! The driver's Rust part as one object for each architecture, which the packages ship for kernels without Rust.
//!
//! `src-kmod/object.sh` compiles it in a Debian 13 tree: the bytes depend on the sources and on Debian's rustc alone.

mod judge;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use clap::Args;
use walkdir::WalkDir;

use knem_lab::cache::file_digest;
use knem_lab::lab::Lab;
use knem_lab::uml::workshop::Workshop;
use knem_lab::workspace::Workspace;
use knem_lab::{namespace, run};

pub use judge::judge;

/// Architectures and page sizes, as `object.sh` names them.
pub const ARCHITECTURES: [&str; 4] = ["x86_64", "aarch64", "aarch64-16k", "aarch64-64k"];

/// Part of the cache keys. Raise it when the build of an object changes in a way that its inputs do not show.
const RECIPE: &str = "1";

/// What compiles it.
const COMPILER: &[&str] = &["rustc", "rust-src"];

/// A directory that has the objects already, for all that build packages.
pub const GIVEN: &str = "KNEM_OBJECTS";

/// Arguments of `cargo xtask object`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Copy the objects to this directory.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Compile them a second time, at another path, and compare.
    #[arg(long)]
    again: bool,
}

/// Compiles the objects, judges them, and prints a table of what was checked.
///
/// # Errors
/// When one cannot be compiled, or fails a check.
pub fn run(arguments: &Arguments) -> Result<()> {
    namespace::enter()?;
    let lab = Lab::open()?;
    let directory = if arguments.again { check(&lab)? } else { objects(&lab)? };
    judge(&directory, &mut std::io::stdout())?;
    if let Some(out) = &arguments.out {
        fs::create_dir_all(out)?;
        for architecture in ARCHITECTURES {
            fs::copy(directory.join(name(architecture)), out.join(name(architecture)))?;
        }
    }
    Ok(())
}

/// Compiles the objects, and one a second time: it must be the same. Judges all of them.
///
/// # Errors
/// When one cannot be compiled, differs the second time, or fails a check.
pub fn check(lab: &Lab) -> Result<PathBuf> {
    let directory = objects(lab)?;
    again(lab, &directory)?;
    judge(&directory, &mut std::io::sink())?;
    Ok(directory)
}

/// The file of an object.
pub fn name(architecture: &str) -> String {
    format!("knem_rust-{architecture}.o_shipped")
}

/// The directory of the objects for packages that are built here: `$KNEM_OBJECTS`, or one of the cache.
///
/// # Errors
/// When they cannot be compiled, usually because it needs root.
pub fn for_packages(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(given) = env::var_os(GIVEN).filter(|path| !path.is_empty()) {
        let given = PathBuf::from(given);
        if let Some(missing) = ARCHITECTURES.map(name).iter().find(|name| !given.join(name).is_file()) {
            bail!("{GIVEN} is {}, which has no {missing}", given.display());
        }
        return Ok(given);
    }
    namespace::enter()?;
    let mut lab = Lab::open()?;
    // The sources may be a copy of the workspace's.
    lab.workspace = workspace.clone();
    objects(&lab)
}

/// The directory of the objects, compiled if the sources or the compiler are new.
///
/// # Errors
/// When one cannot be compiled.
pub fn objects(lab: &Lab) -> Result<PathBuf> {
    let stack = lab.userlands().with_debian("object-compiler", "compiler for the Rust object", COMPILER)?;
    let sources = lab.workspace.file("src-kmod");
    let mut key = vec![RECIPE.to_owned(), stack.key];
    for file in sources_of(&sources)? {
        key.push(file.display().to_string());
        key.push(file_digest(&sources.join(file))?);
    }
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    let directory = lab.cache.entry("object", "compiling the Rust object", &key, |entry| {
        compile(lab, "/usr/src/knem", &ARCHITECTURES, entry)
    })?;
    lab.cache.keep_newest("object", 10)?;
    Ok(directory)
}

/// Compiles an object again, with the sources at another path, and compares.
///
/// # Errors
/// When the bytes differ.
fn again(lab: &Lab, first: &Path) -> Result<()> {
    let scratch = lab.scratch("object")?;
    let architecture = ARCHITECTURES[0];
    compile(lab, "/root/some where/else", &[architecture], scratch.path())?;
    if fs::read(first.join(name(architecture)))? != fs::read(scratch.path().join(name(architecture)))? {
        bail!("the object for {architecture} is another when it is compiled at another path");
    }
    run::step(&format!("the object for {architecture} is the same when it is compiled again, at another path"));
    Ok(())
}

/// Runs `object.sh` on the sources, seen at `place`.
fn compile(lab: &Lab, place: &str, architectures: &[&str], out: &Path) -> Result<()> {
    let stack = lab.userlands().with_debian("object-compiler", "compiler for the Rust object", COMPILER)?;
    let mut workshop = Workshop::open(&stack, &lab.cache)?;
    workshop.bind(&lab.workspace.file("src-kmod"), place)?;
    workshop.bind(out, "/root/out")?;
    for architecture in architectures {
        let mut command = workshop.command("sh");
        run::quiet(
            command.env("OBJECT_CORE", "/tmp").arg(format!("{place}/object.sh")).args([architecture, "/root/out"]),
        )?;
    }
    Ok(())
}

/// All that the object is made of, in order.
fn sources_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in WalkDir::new(directory).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path().strip_prefix(directory)?;
        let is_source = path.extension().is_some_and(|kind| kind == "rs") || path == Path::new("object.sh");
        if entry.file_type().is_file() && is_source && !path.starts_with("tests") {
            found.push(path.to_owned());
        }
    }
    Ok(found)
}
