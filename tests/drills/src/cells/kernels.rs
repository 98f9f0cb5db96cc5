// SPDX-License-Identifier: CECILL-B
//! Kernels are installed and removed, in any order: image and headers are two packages, and the driver's may be
//! installed before or after each.

use anyhow::{bail, Context, Result};
use knem_lab::kernels::Kernel;

use crate::drill::Drill;
use crate::machine::Machine;
use crate::said::Said;
use crate::shell::{Shell, METADATA, WITNESS};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D1",
        name: "usual-6.12",
        claim: "Debian 13's own kernel, then apt install knem-dkms: built without Rust, boots, data verified",
        fast: true,
        run: usual,
    },
    Drill {
        id: "D1",
        name: "usual-6.1",
        claim: "the same on Debian 12, with its DKMS",
        fast: false,
        run: |site| older(site, "6.1"),
    },
    Drill {
        id: "D1",
        name: "usual-5.10",
        claim: "the same on Debian 11, with its DKMS",
        fast: false,
        run: |site| older(site, "5.10"),
    },
    Drill {
        id: "D1",
        name: "usual-crate",
        claim: "kernel 7.3 with headers, source and the Rust toolchain: built on the kernel crate, boots, data verified",
        fast: false,
        run: usual_crate,
    },
    Drill {
        id: "D1",
        name: "usual-cloud",
        claim: "the same with flavour cloud of kernel 7.3: its headers satisfy apt, built on the kernel crate, boots",
        fast: false,
        run: usual_cloud,
    },
    Drill {
        id: "D1",
        name: "headers-first",
        claim: "headers, then knem, then the image: the module is built before the kernel is installed, and it boots",
        fast: false,
        run: headers_first,
    },
    Drill {
        id: "D2",
        name: "image-first",
        claim: "image, then knem, then headers: the headers' hook builds the module",
        fast: true,
        run: image_first,
    },
    Drill {
        id: "D3",
        name: "no-headers",
        claim: "without headers all packages install, a message names what is missing, and the machine boots without the driver",
        fast: false,
        run: no_headers,
    },
    Drill {
        id: "D4",
        name: "kernel-upgrade",
        claim: "7.3 is installed beside 6.12 and knem, without Rust: both have the module, and the machine boots 7.3",
        fast: false,
        run: |site| another_kernel(site, "6.12", "7.3"),
    },
    Drill {
        id: "D4",
        name: "kernel-upgrade-crate",
        claim: "7.3 is installed beside 7.2, knem and Rust: both are built on their crates, and the machine boots 7.3",
        fast: false,
        run: kernel_upgrade_crate,
    },
    Drill {
        id: "D4",
        name: "point-release",
        claim: "apt upgrades kernel, headers and source within 7.2: the new kernel has the module, the old one keeps crate and module",
        fast: false,
        run: point_release,
    },
    Drill {
        id: "D5",
        name: "kernel-downgrade",
        claim: "6.12 is installed beside 7.3 and knem, without Rust: both have the module, and the machine boots 6.12",
        fast: false,
        run: |site| another_kernel(site, "7.3", "6.12"),
    },
    Drill {
        id: "D5",
        name: "kernel-purged",
        claim:
            "a kernel is purged: its module is removed with it, its metadata by the next build; the other kernel keeps both",
        fast: false,
        run: kernel_purged,
    },
];

fn usual(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        let said = shell.apt(&["install", "knem-dkms", WITNESS])?;
        said.demand(0)?.must_say(&format!(
            "knem: building for kernel {} with the prebuilt object: kernel built without CONFIG_RUST",
            kernel.release
        ))?;
        shell.healthy()?;
        for package in ["rustc", "rust-src", "bindgen", "linux-source"] {
            if shell.version_of(package)?.is_some() {
                bail!("{package} came along");
            }
        }
        shell.demand_built(&kernel.release, "object: kernel built without CONFIG_RUST")?;
        shell
            .way(&kernel.release)?
            .demand(0)?
            .must_say("with the prebuilt object: kernel built without CONFIG_RUST")?;
        Ok(())
    })?;
    machine.boot_with_driver(kernel, site.version())
}

/// An older distribution, for which the command may be too new: the guide's program, built there, exchanges the data.
fn older(site: &Site, series: &str) -> Result<()> {
    let kernel = site.kernel(series)?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.install(&["knem-dkms", WITNESS])?;
        shell.healthy()?;
        shell.demand_built(&kernel.release, "object: kernel built without CONFIG_RUST")?;
        shell.install(&["gcc", "libc6-dev"])?;
        for file in ["include/knem_io.h", "docs/examples/pingpong.c"] {
            let text = std::fs::read_to_string(site.lab().workspace.file(file))?;
            shell.write(&format!("opt/{file}"), &text)?;
        }
        shell.output("gcc -I/opt/include -o /opt/pingpong /opt/docs/examples/pingpong.c")?;
        // Its headers stay installed, and another kernel that cannot be built for does no harm, with this DKMS either.
        shell.output(&format!(
            "mkdir -p /lib/modules/5.4.0-old && ln -s /lib/modules/{}/build /lib/modules/5.4.0-old/build",
            kernel.release
        ))?;
        let said = shell.sh("/etc/kernel/header_postinst.d/dkms 5.4.0-old")?;
        said.demand(0)?.must_say("knem: not built for kernel 5.4.0-old: this kernel is older than 5.10")?;
        Ok(())
    })?;
    let commands = ["uname -r", "modprobe knem && cat /sys/module/knem/version", "/opt/pingpong", "rmmod knem"];
    let report = machine.boot(kernel, &commands)?;
    let [name, version, exchanged, unload] = report.said.as_slice() else {
        bail!("the machine ran {} commands", report.said.len());
    };
    name.demand(0)?.must_be(&kernel.release)?;
    version.demand(0)?.must_be(site.version())?;
    exchanged.demand(0)?;
    unload.demand(0)?;
    Ok(())
}

fn usual_crate(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.3")?;
    let machine = Machine::with_rust(site, kernel)?;
    machine.inside(|shell| {
        shell.install_knem_and_witness()?.must_say("with the kernel crate: metadata made from linux-source-7.3")?;
        shell.healthy()?;
        shell.demand_built(&kernel.release, "kernel: metadata made from linux-source-7.3")
    })?;
    machine.boot_with_driver(kernel, site.version())
}

fn usual_cloud(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.3-cloud")?;
    let machine = Machine::with_rust(site, kernel)?;
    machine.inside(|shell| {
        // With the recommended packages.
        shell.apt(&["install", "knem-dkms", "knem-tools", WITNESS])?.demand(0)?;
        shell.healthy()?;
        if shell.version_of("linux-headers-amd64")?.is_some() {
            bail!("the headers of another flavour came along");
        }
        shell.demand_built(&kernel.release, "kernel: metadata made from linux-source-7.3")
    })?;
    machine.boot_with_driver(kernel, site.version())
}

fn headers_first(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.bare()?)?;
    machine.inside(|shell| {
        shell.install_kernel(kernel, &kernel.headers)?;
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
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.bare()?)?;
    machine.inside(|shell| {
        shell.install_kernel(kernel, &kernel.image)?;
        shell.install_knem_and_witness()?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell.install_kernel(kernel, &kernel.headers)?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })
}

fn no_headers(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.bare()?)?;
    machine.inside(|shell| {
        shell.install_kernel(kernel, &kernel.image)?;
        let said = shell.install_knem_and_witness()?;
        said.must_say(&format!(
            "knem: not built for kernel {0}: the headers of this kernel are not installed, or not complete; apt install linux-headers-{0}",
            kernel.release
        ))?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell.way(&kernel.release)?.demand(77)?.must_say(&format!("apt install linux-headers-{}", kernel.release))?;
        Ok(())
    })?;
    machine.boot_without_driver(kernel)
}

/// A kernel is installed on a machine with another one, the driver and no Rust, and is booted.
fn another_kernel(site: &Site, there: &str, comes: &str) -> Result<()> {
    let (there, comes) = (site.kernel(there)?, site.kernel(comes)?);
    let machine = Machine::above(site, &site.with_kernel(there)?)?;
    machine.inside(|shell| {
        shell.install_knem()?;
        arrives(shell, comes)?;
        both_built(shell, [there, comes], "object: ")
    })?;
    machine.boot_with_driver(comes, site.version())
}

fn kernel_upgrade_crate(site: &Site) -> Result<()> {
    let (old, new) = (site.kernel("7.2")?, site.kernel("7.3")?);
    let machine = Machine::with_rust(site, old)?;
    machine.inside(|shell| {
        shell.install_knem()?;
        arrives_with_source(shell, new)?;
        both_built(shell, [old, new], "kernel: metadata made from linux-source-7.")
    })?;
    machine.boot_with_driver(new, site.version())
}

/// The source package of the series is replaced by the new kernel's, so that the old kernel's metadata could not be
/// generated again.
fn point_release(site: &Site) -> Result<()> {
    let new = site.kernel("7.2")?;
    let older =
        site.lab().offered().iter().rev().find(|kernel| {
            kernel.series == new.series && kernel.flavour == new.flavour && kernel.release != new.release
        });
    let old = older.context("the archive has only one kernel 7.2")?;
    let machine = Machine::with_rust(site, old)?;
    machine.inside(|shell| {
        shell.install_knem()?;
        arrives_with_source(shell, new)?;
        both_built(shell, [old, new], "kernel: ")?;
        // The metadata is still good for the old kernel, though its source is gone.
        shell.rebuild(&old.release)?;
        shell.demand_built(&old.release, "kernel: ")
    })
}

/// The kernel that is removed is a signed one: Debian's unsigned packages do not call the hooks that notify DKMS.
fn kernel_purged(site: &Site) -> Result<()> {
    let (gone, kept) = (site.kernel("7.2")?, site.kernel("7.3")?);
    let machine = Machine::with_rust(site, gone)?;
    machine.inside(|shell| {
        shell.install_knem()?;
        arrives_with_source(shell, kept)?;
        both_built(shell, [gone, kept], "kernel: ")?;
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
        // Its generated files are removed by the next build.
        shell.rebuild(&kept.release)?;
        shell.demand_built(&kept.release, "kernel: ")?;
        if shell.has(&format!("{METADATA}/{}", gone.release)) {
            bail!("the Rust metadata of the purged kernel is still there");
        }
        Ok(())
    })
}

/// Installs a kernel's image, then its headers together with an unrelated package.
fn arrives(shell: &Shell<'_>, kernel: &Kernel) -> Result<Said> {
    shell.install_kernel(kernel, &kernel.image)?;
    shell.install_kernel(kernel, &[kernel.headers.as_slice(), &[WITNESS.to_owned()]].concat())
}

/// The same with its source, and its metadata, which was generated before.
pub(crate) fn arrives_with_source(shell: &Shell<'_>, kernel: &Kernel) -> Result<Said> {
    shell.install_kernel(kernel, &kernel.image)?;
    shell.show_metadata(kernel)?;
    let rest = [kernel.headers.as_slice(), &[source(kernel)?.clone(), WITNESS.to_owned()]].concat();
    shell.install_kernel(kernel, &rest)
}

fn both_built(shell: &Shell<'_>, kernels: [&Kernel; 2], way: &str) -> Result<()> {
    shell.healthy()?;
    kernels.into_iter().try_for_each(|kernel| shell.demand_built(&kernel.release, way))
}

/// Returns the package of a kernel's source, and its version.
pub(crate) fn source(kernel: &Kernel) -> Result<&String> {
    kernel.source.as_ref().with_context(|| format!("the archive lacks the source of kernel {}", kernel.release))
}
