// SPDX-License-Identifier: CECILL-B
//! Packages of other people, made for a drill: those that are in our way, broken, or not there yet.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;

use crate::shell::Shell;

/// A package to be.
#[derive(Debug, Clone, Copy)]
pub struct Fake<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// More lines of its control file, such as `Depends: dkms`.
    pub fields: &'a [&'a str],
    /// Its files, as paths without the first slash, and what is in them.
    pub files: &'a [(&'a str, &'a str)],
    /// Its maintainer scripts: names and texts.
    pub scripts: &'a [(&'a str, &'a str)],
}

impl Fake<'_> {
    /// Makes the package in the tree and returns its path there, as apt takes it.
    ///
    /// # Errors
    /// When dpkg-deb does not like it.
    pub fn make(&self, shell: &Shell<'_>) -> Result<String> {
        let place = format!("root/fake/{}_{}", self.name, self.version);
        let mut control = format!(
            "Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: Somebody else <nobody@packages.invalid>\n",
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
