// SPDX-License-Identifier: CECILL-B
//! The packages that are installed in machines. The laboratory does not build them.

use std::path::PathBuf;

/// Packages that apt can take.
#[derive(Debug)]
pub struct Packages {
    /// A flat apt repository (`deb [trusted=yes] file:... ./`) with copies of the packages in it. It stays as it is.
    pub repository: PathBuf,
    /// The .deb files.
    pub debs: Vec<PathBuf>,
}
