// SPDX-License-Identifier: CECILL-B
//! Packages of a module built elsewhere, and the metapackage that installs the next kernel's:
//! deploy/diskless/module-package.sh.

use std::fs;
use std::path::PathBuf;

use anyhow::{bail, Result};
use knem_lab::kernels::Kernel;
use knem_packages::repo;
use tempfile::TempDir;

use super::diskless::{bring_script, copy};
use super::rpm::{build_package, repository};
use crate::dnf::{dnf, machine};
use crate::drill::Drill;
use crate::machine::Machine;
use crate::recipe;
use crate::shell::Shell;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "S7",
        name: "deb-module-packages",
        claim: "a node without compilers installs the metapackage; upgrades install the next kernel's module, autoremove keeps both",
        fast: false,
        run: deb,
    },
    Drill {
        id: "R10",
        name: "rpm-module-packages",
        claim: "the same by dnf: only with exactly that kernel, not beside the sources, with the builder's signature; it boots",
        fast: false,
        run: rpm,
    },
];

/// The date of the repositories.
const DATE: u64 = 1_700_000_000;

/// Path of a repository of modules in the tree.
const PLACE: &str = "opt/modules";

/// The release of a future kernel, and its version: another name for this one.
fn next_release(kernel: &Kernel) -> String {
    format!("6.99{}", kernel.release.trim_start_matches("6.12"))
}

/// Uses the module of this kernel as that of the next one, too.
fn build_next(shell: &Shell<'_>, this: &str, next: &str) -> Result<()> {
    shell.output(&format!(
        "mkdir -p /lib/modules/{next}/updates && cp /lib/modules/{this}/modules.order /lib/modules/{this}/modules.builtin /lib/modules/{next}/ && \
         cp $(modinfo -k {this} -F filename knem) /lib/modules/{next}/updates/ && depmod -a {next}"
    ))?;
    Ok(())
}

/// The packages in a directory.
fn packages(directory: &TempDir) -> Result<Vec<PathBuf>> {
    fs::read_dir(directory.path())?.map(|entry| Ok(entry?.path())).collect()
}

fn deb(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let (this, next) = (kernel.release.as_str(), next_release(kernel));
    let (built, later) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let builder = Machine::above(site, &site.installed(kernel)?)?;
    builder.inside(|shell| {
        build_next(shell, this, &next)?;
        let image = format!("linux-image-{next}");
        shell.write(
            "opt/image/DEBIAN/control",
            &format!(
                "Package: {image}\nVersion: 6.99.1-1\nArchitecture: amd64\nMaintainer: Drill <drill@packages.invalid>\n\
                 Description: the kernel to come\n"
            ),
        )?;
        shell.output(&format!(
            "mkdir -p /opt/image/usr/lib/modules/{next} /opt/later && \
             cp /lib/modules/{next}/modules.order /lib/modules/{next}/modules.builtin /opt/image/usr/lib/modules/{next}/ && \
             dpkg-deb --build /opt/image /opt/later/{image}_6.99.1-1_amd64.deb && dpkg -i /opt/later/{image}_*.deb"
        ))?;
        bring_script(site, shell)?;
        shell.sh("cd /root && sh module-package.sh no-such-kernel")?.demand(1)?.must_say("there is no module knem")?;
        shell.sh(&recipe::read(site, "image-package", &format!("kernel={this}; cd /root"))?)?.demand(0)?;
        shell.sh(&format!("sh /root/module-package.sh {next} /opt/later"))?.demand(0)?;
        copy(&shell.path("root"), built.path(), "knem-modules-*.deb")?;
        copy(&shell.path("opt/later"), later.path(), "*.deb")
    })?;
    drop(builder);

    let node = Machine::above(site, &site.bare()?)?;
    node.inside(|shell| {
        let offer = |packages: &[PathBuf]| -> Result<()> {
            repo::apt(packages, &shell.path(PLACE), DATE, None)?;
            shell.write("etc/apt/sources.list.d/modules.list", &format!("deb [trusted=yes] file:/{PLACE} ./\n"))?;
            shell.apt(UPDATE)?.demand(0)?;
            Ok(())
        };
        shell.install_kernel(kernel, &kernel.image)?;
        offer(&packages(&built)?)?;
        let meta = "knem-modules-amd64";
        shell.install(&[meta, "knem-tools"])?;
        let demand = |release: &str| -> Result<()> {
            if shell.module(release)?.is_none() || shell.version_of(&format!("knem-modules-{release}"))?.is_none() {
                bail!("there is no module for {release}");
            }
            shell.sh("cat /usr/lib/modules-load.d/knem.conf")?.demand(0)?.must_say("knem")?;
            if shell.version_of("knem2-dkms")?.is_some() {
                bail!("knem2-dkms came along");
            }
            shell.healthy()
        };
        demand(this)?;

        offer(&[packages(&built)?, packages(&later)?].concat())?;
        shell.apt(&["upgrade", "--with-new-pkgs", "--no-install-recommends"])?.demand(0)?;
        demand(&next)?;
        shell.apt(&["autoremove"])?.demand(0)?;
        demand(this)?;
        demand(&next)
    })
}

/// Fetches the index of the modules' repository, and keeps those of other repositories.
const UPDATE: &[&str] = &[
    "update",
    "-o",
    "Dir::Etc::SourceList=/etc/apt/sources.list.d/modules.list",
    "-o",
    "Dir::Etc::SourceParts=-",
    "-o",
    "APT::Get::List-Cleanup=0",
];

/// Builds a kernel's package as Fedora and Enterprise Linux have it, of files that exist.
fn kernel_core(shell: &Shell<'_>, release: &str, version: &str) -> Result<()> {
    build_package(
        shell,
        &format!(
            "Name: kernel-core\nVersion: {version}\nRelease: 1\nSummary: Kernel\nLicense: GPL-2.0-only\nAutoReqProv: no\n\
             Provides: kernel-core-uname-r = {release}\n%description\nKernel.\n%install\n\
             mkdir -p %{{buildroot}}/lib/modules/{release}\ncp /lib/modules/{release}/modules.builtin %{{buildroot}}/lib/modules/{release}/\n\
             %files\n/lib/modules/{release}/modules.builtin\n"
        ),
    )
}

fn rpm(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let (this, next) = (kernel.release.as_str(), next_release(kernel));
    let (built, later, kernels) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let knem = repository(site)?;
    let builder = machine(site, Some(kernel), &knem)?;
    let signer = builder.inside(|shell| {
        dnf(shell, "install knem")?.demand(0)?;
        shell.demand_module(this, site.version())?;
        bring_script(site, shell)?;
        let recipe = recipe::read(site, "rpm-package", &format!("kernel={this}; cd /root"))?;
        shell.sh(&recipe)?.demand(1)?.must_say("no package has kernel")?;
        build_next(shell, this, &next)?;
        kernel_core(shell, this, "6.12")?;
        kernel_core(shell, &next, "6.99")?;
        // Several kernels at a time, as dnf leaves them.
        shell.output("rpm -i --oldpackage /opt/built/*/kernel-core-*.rpm")?;
        shell.sh(&recipe)?.demand(0)?;
        shell.sh(&format!("mkdir /opt/later && sh /root/module-package.sh {next} /opt/later"))?.demand(0)?;
        copy(&shell.path("root"), built.path(), "kmod-knem-*.rpm")?;
        copy(&shell.path("opt/later"), later.path(), "kmod-knem-*.rpm")?;
        copy(&shell.path("opt/built"), kernels.path(), "*/kernel-core-*.rpm")?;
        shell.output(&format!("modinfo -k {this} -F signer knem"))
    })?;
    if signer.is_empty() {
        bail!("DKMS did not sign the module");
    }
    drop(builder);

    let node = machine(site, Some(kernel), &knem)?;
    node.inside(|shell| {
        let offer = |packages: &[PathBuf]| -> Result<()> {
            repo::dnf(packages, &shell.path(PLACE), DATE, None)?;
            shell.output("rm -rf /var/cache/dnf/*")?;
            shell.write(
                "etc/yum.repos.d/modules.repo",
                &format!("[modules]\nname=modules\nbaseurl=file:///{PLACE}\ngpgcheck=0\n"),
            )
        };
        let demand = |release: &str| -> Result<()> {
            shell.sh(&format!("modinfo -k {release} -F signer knem"))?.demand(0)?.must_be(&signer)?;
            shell.sh(&format!("rpm -V kmod-knem-{release}"))?.demand(0)?.must_be("")?;
            shell.sh("cat /usr/lib/modules-load.d/knem.conf")?.demand(0)?.must_say("knem")?;
            shell.sh("rpm -q --whatprovides dkms-knem")?.demand(1)?;
            Ok(())
        };
        let meta = "kmod-knem-latest-amd64";
        offer(&packages(&built)?)?;
        let said = dnf(shell, &format!("install {meta} knem-tools"))?;
        said.demand(1)?.must_say(&format!("nothing provides kernel-core-uname-r = {this}"))?;

        let (mut first, mut all) = (packages(&built)?, packages(&built)?);
        for kernel in packages(&kernels)? {
            if kernel.to_string_lossy().contains("kernel-core-6.12-") {
                first.push(kernel.clone());
            }
            all.push(kernel);
        }
        all.extend(packages(&later)?);
        offer(&first)?;
        let said = dnf(shell, &format!("install {meta} knem-tools"))?;
        said.demand(0)?.must_not_say("scriptlet failed")?;
        demand(this)?;
        let said = dnf(shell, "install dkms-knem")?;
        said.demand(1)?.must_say("conflicts with")?;

        // A kernel that is installed beside others.
        shell.output("echo installonlypkgs=kernel-core >>/etc/dnf/dnf.conf")?;
        offer(&all)?;
        dnf(shell, "upgrade")?.demand(0)?.must_not_say("scriptlet failed")?;
        demand(this)?;
        demand(&next)
    })?;
    node.boot_with_driver(kernel, site.version())
}
