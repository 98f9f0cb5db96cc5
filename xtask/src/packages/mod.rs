// SPDX-License-Identifier: CECILL-B
//! The Debian packages: their files are staged as they will lie on the user's machine, cargo-deb packs them, and a local apt
//! repository offers them to apt.

mod cargo_deb;
mod copyright;
mod description;
mod driver;
mod epoch;
mod install_list;
mod modules;
mod repack;
mod repo;
mod scripts;
mod stage;
pub(crate) mod template;
mod tools;

use std::path::PathBuf;

use anyhow::Result;

pub use repo::apt_repository;

use crate::host;
use crate::workspace::Workspace;
use cargo_deb::CargoDeb;
use stage::Stage;

/// What a package build gives.
#[derive(Debug)]
pub struct Packages {
    /// A flat apt repository (`deb [trusted=yes] file:... ./`) with copies of the packages in it.
    pub repository: PathBuf,
    /// The .deb files, in `dist/`.
    pub debs: Vec<PathBuf>,
}

/// Builds every package of the project into `dist/`, and the repository `dist/apt/` from them.
pub fn build(workspace: &Workspace) -> Result<Packages> {
    // dpkg-dev has dpkg-scanpackages, and what cargo-deb looks up the libraries' packages with.
    host::need(&["cc", "dpkg-deb", "dpkg-scanpackages"])?;
    let epoch = epoch::of(workspace)?;
    let packer = CargoDeb::get(workspace, epoch)?;

    let stage = Stage::fresh(workspace)?;
    driver::stage(workspace, &stage)?;
    tools::stage(workspace, &stage)?;

    let dkms = repack::with_fields(&packer.pack("knem-core")?, &driver::fields(workspace)?, epoch)?;
    let tools = repack::with_fields(&packer.pack("knem-tools")?, &tools::fields(workspace)?, epoch)?;
    let mut packages = Packages { repository: workspace.file("dist/apt"), debs: vec![dkms, tools] };
    let repository = packages.repository.clone();
    apt_repository(&packages, &repository, epoch)?;
    packages.debs.sort();
    Ok(packages)
}
