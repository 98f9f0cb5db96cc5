// SPDX-License-Identifier: CECILL-B
//! The packages as a distribution builds them: by dpkg-buildpackage and rpmbuild, from the release's tarball, with
//! Debian's own compiler, by a user who is not root, without a network.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::dist;
use crate::epoch;
use knem_lab::cache::file_digest;
use knem_lab::chroot::Chroot;
use knem_lab::lab::Lab;
use knem_lab::run;

/// Part of the key. Raise it when the build changes.
const RECIPE: &str = "2";

/// The command is compiled without optimization, since it is not compared.
const HURRY: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

/// Where it is done in the tree.
const PLACE: &str = "home-of-builder";

/// User and group id of Debian's `nobody`.
const NOBODY_ID: u32 = 65534;

/// The directory with the packages, and with Debian's source package, built or from the cache.
///
/// # Errors
/// When one does not build; the whole output is then in `target/packages/reference.log`.
pub fn reference(lab: &Lab) -> Result<PathBuf> {
    let tarball = dist::tarball(&lab.workspace)?;
    let userlands = lab.userlands();
    let stack = userlands.with_packaging_tools()?;
    let epoch = epoch::of(&lab.workspace)?.to_string();
    let key = [RECIPE, &file_digest(&tarball)?, &stack.key, &epoch];
    let what = "building the Debian source package and the RPM spec";
    let entry = lab.cache.entry("reference", what, &key, |entry| {
        let log = lab.workspace.target().join("packages");
        fs::create_dir_all(&log).with_context(|| format!("cannot make {}", log.display()))?;
        userlands.in_passing(&stack, |tree, chroot| {
            let home = tree.join(PLACE);
            fs::create_dir(&home)?;
            let built = Builder { chroot, epoch: &epoch, version: &lab.workspace.version }.build(&tarball, &home);
            let text = fs::read(home.join("log")).unwrap_or_default();
            fs::write(log.join("reference.log"), text)?;
            built.with_context(|| format!("see {}", log.join("reference.log").display()))?;
            collect(&home, entry)
        })
    })?;
    lab.cache.keep_newest("reference", 4)?;
    Ok(entry)
}

/// Builds in a tree.
struct Builder<'a> {
    chroot: &'a Chroot,
    epoch: &'a str,
    version: &'a str,
}

impl Builder<'_> {
    fn build(&self, tarball: &Path, home: &Path) -> Result<()> {
        let name = format!("knem-{}", self.version);
        fs::copy(tarball, home.join(format!("{name}.tar.gz")))?;
        fs::copy(tarball, home.join(format!("knem_{}.orig.tar.gz", self.version)))?;
        fs::write(home.join("log"), "")?;
        for path in [home.to_owned(), home.join("log")] {
            chown(&path, Some(NOBODY_ID), Some(NOBODY_ID))
                .with_context(|| format!("cannot give {} away", path.display()))?;
        }
        self.shell(&format!("tar -xzf {name}.tar.gz"))?;
        // build-essential, which every build needs and no package names, is not there as such.
        let dpkg = "dpkg-buildpackage --ignore-builtin-builddeps -us -uc";
        self.shell(&format!("cd {name} && {dpkg} -b && {dpkg} -S"))?;
        // rpm knows nothing of what dpkg has installed.
        self.shell(&format!("rpmbuild -tb --nodeps --define \"_topdir $HOME/rpm\" {name}.tar.gz"))
    }

    /// Runs a line as a user without rights and without a network, from the home directory.
    fn shell(&self, line: &str) -> Result<()> {
        run::quiet(
            self.chroot
                .command("unshare")
                .args([
                    "--net",
                    "setpriv",
                    &format!("--reuid={NOBODY_ID}"),
                    &format!("--regid={NOBODY_ID}"),
                    "--clear-groups",
                ])
                .args([
                    "sh",
                    "-c",
                    &format!("cd \"$HOME\" && {{ {line}; }} >>log 2>&1 || {{ tail -n 40 log; exit 1; }}"),
                ])
                .envs(HURRY)
                .env("HOME", format!("/{PLACE}"))
                .env("SOURCE_DATE_EPOCH", self.epoch),
        )
    }
}

/// Takes what was built out of the tree.
fn collect(home: &Path, entry: &Path) -> Result<()> {
    for directory in [home.to_owned(), home.join("rpm/RPMS/noarch"), home.join("rpm/RPMS/x86_64")] {
        for file in fs::read_dir(&directory).with_context(|| format!("there is no {}", directory.display()))? {
            let path = file?.path();
            let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            if ["deb", "rpm", "dsc", "xz", "gz", "changes", "buildinfo"].contains(&kind) {
                let name = path.file_name().context("a file has a name")?;
                fs::copy(&path, entry.join(name))?;
            }
        }
    }
    Ok(())
}
