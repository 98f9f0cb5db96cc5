// SPDX-License-Identifier: CECILL-B
//! Images of diskless machines: the module is built in a tree whose kernel is not the running one, and the compilers
//! are removed again.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Context, Result};
use knem_lab::run;

use crate::drill::Drill;
use crate::machine::Machine;
use crate::recipe;
use crate::shell::Shell;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[Drill {
    id: "S3",
    name: "diskless-image",
    claim: "the recipes for images: built by dkms autoinstall -k, compilers purged; another image has the module alone; both boot",
    fast: false,
    run: diskless,
}];

/// Path of the sample script in the tree, and the recipes' names for it.
const SCRIPT: &str = "root/module-package.sh";

/// The packages that it builds.
const PACKAGES: &str = "knem-modules-*.deb";

fn diskless(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let variables = format!("kernel={}; cd /root", kernel.release);
    let run = |shell: &Shell<'_>, name: &str| -> Result<()> {
        shell.sh(&recipe::read(site, name, &variables)?)?.demand(0)?;
        // No more than that: DKMS itself may have been removed.
        shell.sh("dpkg --audit")?.demand(0)?.must_be("").map(|_| ())
    };

    let image = Machine::above(site, &site.with_kernel(kernel)?)?;
    let packages = tempfile::tempdir()?;
    image.inside(|shell| {
        bring_script(site, shell)?;
        recipe::configure_apt(shell)?;
        run(shell, "image")?;
        // Checks that the module was not built by the installation of the package alone.
        let release = &kernel.release;
        shell.output(&format!("dkms unbuild knem/{} -k {release} && ! modinfo -k {release} knem", site.version()))?;
        shell
            .sh(&format!("cd /root && sh module-package.sh {release}"))?
            .demand(1)?
            .must_say("there is no module knem for kernel")?;
        shell.output(&format!("dkms autoinstall -k {release}"))?;
        shell.demand_module(release, site.version())?;

        run(shell, "image-package")?;
        copy(&shell.path("root"), packages.path(), PACKAGES)?;
        shell
            .sh(&format!("dpkg-deb --contents /root/knem-modules-{release}_*.deb"))?
            .must_say(&format!("./usr/lib/modules/{release}/updates/knem/knem.ko"))?;

        run(shell, "image-strip")?;
        for gone in ["usr/bin/gcc-14", "usr/sbin/dkms", "var/lib/dkms/knem"] {
            if shell.has(gone) {
                bail!("/{gone} is still in the image");
            }
        }
        if shell.module(release)?.is_none() {
            bail!("the module went with the compilers");
        }
        Ok(())
    })?;
    image.boot_with_driver(kernel, site.version())?;
    drop(image);

    // A machine that never had a compiler: the kernel, the tools, and the module built elsewhere.
    let node = Machine::above(site, &site.bare()?)?;
    node.inside(|shell| {
        recipe::configure_apt(shell)?;
        shell.install_kernel(kernel, &kernel.image)?;
        copy(packages.path(), &shell.path("root"), PACKAGES)?;
        run(shell, "node")?;
        if shell.version_of("knem2-dkms")?.is_some() {
            bail!("knem-dkms came along");
        }
        Ok(())
    })?;
    node.boot_with_driver(kernel, site.version())
}

/// Copies the script that builds a package of the module into the tree.
pub(super) fn bring_script(site: &Site, shell: &Shell<'_>) -> Result<()> {
    let from = site.lab().workspace.file("deploy/diskless/module-package.sh");
    let text = fs::read_to_string(&from).with_context(|| format!("cannot read {}", from.display()))?;
    shell.write(SCRIPT, &text)
}

/// Copies the files of a shell pattern from one directory into another.
pub(super) fn copy(from: &Path, to: &Path, pattern: &str) -> Result<()> {
    run::quiet(Command::new("sh").current_dir(from).args(["-c", &format!("cp {pattern} \"$0\"")]).arg(to))
}
