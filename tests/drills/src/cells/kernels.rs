// SPDX-License-Identifier: CECILL-B
//! Kernels come and go, in any order: image, headers and source are three packages, and ours may be there before or after each.

use anyhow::{bail, Context, Result};
use xtask::kernels::Kernel;

use crate::drill::Drill;
use crate::machine::Machine;
use crate::said::Said;
use crate::shell::{Shell, METADATA, WITNESS};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D1",
        name: "usual-7.2",
        claim: "kernel 7.2 with headers and source, then apt install knem-dkms: built, boots, data verified",
        fast: false,
        run: |site| usual(site, "7.2"),
    },
    Drill {
        id: "D1",
        name: "usual-7.3",
        claim: "the same with kernel 7.3",
        fast: false,
        run: |site| usual(site, "7.3"),
    },
    Drill {
        id: "D1",
        name: "headers-first",
        claim: "headers and source, then knem, then the image: the module is there when the kernel is, and it boots",
        fast: false,
        run: headers_first,
    },
    Drill {
        id: "D2",
        name: "image-first",
        claim: "image, then knem, then source, then headers: the headers' hook builds the module",
        fast: true,
        run: image_first,
    },
    Drill {
        id: "D3",
        name: "no-headers",
        claim: "without headers all installs, says what is missing, and the machine boots without the driver",
        fast: false,
        run: no_headers,
    },
    Drill {
        id: "D4",
        name: "kernel-upgrade",
        claim: "7.3 comes to a machine with 7.2 and knem: both have the module, and the machine boots 7.3",
        fast: false,
        run: |site| another_kernel(site, "7.2", "7.3"),
    },
    Drill {
        id: "D4",
        name: "point-release",
        claim: "apt upgrades kernel, headers and source within 7.2: new kernel built, the old one keeps its module",
        fast: false,
        run: point_release,
    },
    Drill {
        id: "D5",
        name: "kernel-downgrade",
        claim: "7.2 comes to a machine with 7.3 and knem: both have the module, and the machine boots 7.2",
        fast: false,
        run: |site| another_kernel(site, "7.3", "7.2"),
    },
    Drill {
        id: "D5",
        name: "kernel-purged",
        claim:
            "a kernel is purged: its module goes with it, its metadata with the next build, the other kernel keeps both",
        fast: false,
        run: kernel_purged,
    },
];

fn usual(site: &Site, series: &str) -> Result<()> {
    let kernel = site.kernel(series)?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        if kernel.meta.is_empty() {
            // What is recommended is the newest kernel's headers, which would be another kernel.
            shell.install_knem_and_witness()?;
        } else {
            shell.apt(&["install", "knem-dkms", WITNESS])?.demand(0)?;
        }
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.rust_check(&kernel.release)?.demand(0)?;
        Ok(())
    })?;
    machine.boot_with_driver(kernel, site.version())
}

fn headers_first(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.bare()?)?;
    machine.inside(|shell| {
        shell.install_kernel(kernel, &kernel.headers)?;
        shell.install_kernel(kernel, std::slice::from_ref(source(kernel)?))?;
        shell.show_metadata(kernel)?;
        shell.install_knem_and_witness()?;
        shell.healthy()?;
        shell.install_kernel(kernel, &kernel.image)?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })?;
    machine.boot_with_driver(kernel, site.version())
}

fn image_first(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.bare()?)?;
    machine.inside(|shell| {
        shell.install_kernel(kernel, &kernel.image)?;
        shell.install_knem_and_witness()?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell.show_metadata(kernel)?;
        shell.install_kernel(kernel, std::slice::from_ref(source(kernel)?))?;
        shell.demand_no_module(&kernel.release)?;
        shell.install_kernel(kernel, &kernel.headers)?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })
}

fn no_headers(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.bare()?)?;
    machine.inside(|shell| {
        shell.install_kernel(kernel, &kernel.image)?;
        let said = shell.install_knem_and_witness()?;
        said.must_say("headers")?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell
            .rust_check(&kernel.release)?
            .demand(77)?
            .must_say(&format!("apt install linux-headers-{}", kernel.release))?;
        Ok(())
    })?;
    machine.boot_without_driver(kernel)
}

/// A kernel comes to a machine with another and knem, and is booted.
fn another_kernel(site: &Site, there: &str, comes: &str) -> Result<()> {
    let (there, comes) = (site.kernel(there)?, site.kernel(comes)?);
    let machine = Machine::above(site, &site.installed(there)?)?;
    machine.inside(|shell| {
        arrives(shell, comes)?;
        both_built(shell, site, [there, comes])
    })?;
    machine.boot_with_driver(comes, site.version())
}

/// What a machine sees most often: the source package of the series is replaced by the new kernel's, so that the old kernel's
/// metadata could not be made again.
fn point_release(site: &Site) -> Result<()> {
    let new = site.kernel("7.2")?;
    let older =
        site.lab().offered().iter().rev().find(|kernel| kernel.series == new.series && kernel.release != new.release);
    let old = older.context("the archive has only one kernel 7.2")?;
    let machine = Machine::above(site, &site.with_kernel(old)?)?;
    machine.inside(|shell| {
        shell.install_knem()?;
        shell.demand_module(&old.release, site.version())?;

        arrives(shell, new)?;
        both_built(shell, site, [old, new])?;
        // The metadata is still good for the old kernel, though its source is gone.
        shell.rust_check(&old.release)?.demand(0)?;
        shell
            .sh(&format!("dkms remove knem/{0} -k {1} && dkms install knem/{0} -k {1}", site.version(), old.release))?
            .demand(0)?;
        shell.demand_module(&old.release, site.version())?;
        Ok(())
    })
}

/// The kernel that goes is the signed one: Debian's unsigned packages do not call the hooks by which DKMS learns of it.
fn kernel_purged(site: &Site) -> Result<()> {
    let (gone, kept) = (site.kernel("7.2")?, site.kernel("7.3")?);
    let machine = Machine::above(site, &site.installed(gone)?)?;
    machine.inside(|shell| {
        arrives(shell, kept)?;
        both_built(shell, site, [gone, kept])?;
        let mut purge = vec!["purge", WITNESS];
        let packages = gone.packages();
        purge.extend(packages.iter().filter_map(|package| package.split('=').next()));
        shell.apt(&purge)?.demand(0)?;
        shell.apt(&["autoremove", "--purge"])?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&kept.release, site.version())?;
        shell.demand_no_module(&gone.release)?;
        shell.dkms_status()?.must_not_say(&gone.release)?;
        let left = shell
            .sh(&format!("find /lib/modules/{} /var/lib/dkms/knem -name '*knem.ko*' -path '*{0}*'", gone.release))?;
        left.must_not_say("knem.ko")?;
        // What was made for it goes with the next build.
        shell.output(&format!(
            "dkms remove knem/{0} -k {1} && dkms install knem/{0} -k {1}",
            site.version(),
            kept.release
        ))?;
        if shell.has(&format!("{METADATA}/{}", gone.release)) {
            bail!("the Rust metadata of the purged kernel is still there");
        }
        Ok(())
    })
}

/// Installs a kernel's image, then its headers and source together with a package that has nothing to do with us.
pub(crate) fn arrives(shell: &Shell<'_>, kernel: &Kernel) -> Result<Said> {
    shell.install_kernel(kernel, &kernel.image)?;
    shell.show_metadata(kernel)?;
    let rest = [kernel.headers.as_slice(), &[source(kernel)?.clone(), WITNESS.to_owned()]].concat();
    shell.install_kernel(kernel, &rest)
}

fn both_built(shell: &Shell<'_>, site: &Site, kernels: [&Kernel; 2]) -> Result<()> {
    shell.healthy()?;
    for kernel in kernels {
        shell.demand_module(&kernel.release, site.version())?;
    }
    Ok(())
}

/// The package of a kernel's source, and its version.
pub(crate) fn source(kernel: &Kernel) -> Result<&String> {
    kernel.source.as_ref().with_context(|| format!("the archive lacks the source of kernel {}", kernel.release))
}
