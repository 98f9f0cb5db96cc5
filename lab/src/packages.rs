// SPDX-License-Identifier: CECILL-B
//! The packages that are installed in machines here. Who builds them is none of the laboratory's business.

use std::path::PathBuf;

/// Packages that apt can take.
#[derive(Debug)]
pub struct Packages {
    /// A flat apt repository (`deb [trusted=yes] file:... ./`) with copies of the packages in it. It stays as it is.
    pub repository: PathBuf,
    /// The .deb files.
    pub debs: Vec<PathBuf>,
}
