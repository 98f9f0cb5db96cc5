// SPDX-License-Identifier: CECILL-B
//! Foreign packages, built for a drill: those that conflict, are broken, or do not exist yet.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;

use crate::shell::Shell;

/// The description of a package.
#[derive(Debug, Clone, Copy)]
pub struct Fake<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// More lines of its control file, such as `Depends: dkms`.
    pub fields: &'a [&'a str],
    /// Its files: paths without the first slash, and contents.
    pub files: &'a [(&'a str, &'a str)],
    /// Its maintainer scripts: names and texts.
    pub scripts: &'a [(&'a str, &'a str)],
}

impl Fake<'_> {
    /// Builds the package in the tree and returns its path there, as apt accepts it.
    ///
    /// # Errors
    /// If dpkg-deb fails.
    pub fn make(&self, shell: &Shell<'_>) -> Result<String> {
        let place = format!("root/fake/{}_{}", self.name, self.version);
        let mut control = format!(
            "Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: Another maintainer <other@packages.invalid>\n",
            self.name, self.version
        );
        for field in self.fields {
            control.push_str(field);
            control.push('\n');
        }
        control.push_str("Description: made for a drill\n");
        shell.write(&format!("{place}/DEBIAN/control"), &control)?;
        for (path, text) in self.files {
            shell.write(&format!("{place}/{path}"), text)?;
        }
        for (name, text) in self.scripts {
            let path = format!("{place}/DEBIAN/{name}");
            shell.write(&path, text)?;
            fs::set_permissions(shell.path(&path), fs::Permissions::from_mode(0o755))?;
        }
        shell.output(&format!("dpkg-deb --root-owner-group --build /{place} /{place}.deb"))?;
        Ok(format!("/{place}.deb"))
    }
}
