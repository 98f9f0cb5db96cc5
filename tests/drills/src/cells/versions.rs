// SPDX-License-Identifier: CECILL-B
//! Another version of the packages is installed and removed again.

use anyhow::{bail, Context, Result};
use knem_lab::kernels::Kernel;

use crate::drill::Drill;
use crate::machine::Machine;
use crate::shell::{Shell, WITNESS};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D19",
        name: "up-and-down",
        claim: "upgraded to the next version and downgraded again: the module is always of the installed version, and the only one",
        fast: true,
        run: up_and_down,
    },
    Drill {
        id: "D19",
        name: "upgrade-two-kernels",
        claim: "upgraded beside two kernels: both have the new module, both boot it, and nothing of the old version is left",
        fast: false,
        run: upgrade_two_kernels,
    },
    Drill {
        id: "D19",
        name: "dkms-policy",
        claim: "another kernel than the running and the newest: built only with autoinstall_all_kernels; an upgrade removes it from none",
        fast: false,
        run: dkms_policy,
    },
    Drill {
        id: "D19",
        name: "upgrade-that-fails",
        claim: "the next version does not compile: apt succeeds, a message says so, and a downgrade restores the old module",
        fast: false,
        run: upgrade_that_fails,
    },
];

/// Checks that everything of version `there` is installed for the kernel, and nothing of `gone`.
fn only(shell: &Shell<'_>, kernel: &Kernel, there: &str, gone: &str) -> Result<()> {
    shell.healthy()?;
    shell.demand_module(&kernel.release, there)?;
    shell.dkms_status()?.must_not_say(&format!("knem/{gone}"))?;
    for path in [format!("usr/src/knem-{gone}"), format!("var/lib/dkms/knem/{gone}")] {
        if shell.has(&path) {
            bail!("/{path} is left of version {gone}");
        }
    }
    let modules = shell.output(&format!("find /lib/modules/{} -name 'knem.ko*' | wc -l", kernel.release))?;
    if modules != "1" {
        bail!("the kernel has {modules} modules knem.ko");
    }
    for package in ["knem2-dkms", "knem-tools"] {
        if !shell.version_of(package)?.is_some_and(|version| version.starts_with(&format!("{there}-"))) {
            bail!("{package} is not of version {there}");
        }
    }
    Ok(())
}

/// Goes back to this version, together with an unrelated package.
fn go_back(shell: &Shell<'_>, site: &Site) -> Result<()> {
    shell.offer(site.packages())?;
    let old = ["knem2-dkms", "knem-tools"].map(|package| format!("{package}={}*", site.version()));
    shell.apt(&["install", "--no-install-recommends", "--allow-downgrades", &old[0], &old[1], WITNESS])?.demand(0)?;
    Ok(())
}

fn up_and_down(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let (next, newer) = (site.next()?, site.next_version()?);
    let this = site.version();
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| {
        shell.offer(&next)?;
        // As `apt upgrade` does.
        shell.apt(&["install", "--no-install-recommends", "--only-upgrade", "knem2-dkms", "knem-tools"])?.demand(0)?;
        only(shell, kernel, &newer, this)?;
        go_back(shell, site)?;
        only(shell, kernel, this, &newer)
    })
}

fn upgrade_two_kernels(site: &Site) -> Result<()> {
    let kernels = [site.kernel("6.12")?, site.kernel("7.3")?];
    let (next, newer) = (site.next()?, site.next_version()?);
    let machine = Machine::above(site, &site.installed(kernels[0])?)?;
    machine.inside(|shell| {
        let new = kernels[1];
        shell.install_kernel(new, &new.image)?;
        shell.install_kernel(new, &new.headers)?;
        shell.offer(&next)?;
        shell.install_knem_and_witness()?;
        for kernel in kernels {
            only(shell, kernel, &newer, site.version())?;
        }
        Ok(())
    })?;
    for kernel in kernels {
        machine.boot_with_driver(kernel, &newer)?;
    }
    Ok(())
}

fn dkms_policy(site: &Site) -> Result<()> {
    let new = site.kernel("6.12")?;
    let same = |kernel: &&Kernel| (&kernel.suite, kernel.flavour) == (&new.suite, new.flavour);
    let older = site.lab().offered().iter().rev().filter(same).find(|kernel| kernel.release != new.release);
    let old = older.context("the archive has only one kernel 6.12")?;
    let (next, newer) = (site.next()?, site.next_version()?);
    let machine = Machine::above(site, &site.with_kernel(new)?)?;
    machine.inside(|shell| {
        shell.install_kernel(old, &[old.image.as_slice(), &old.headers].concat())?;
        // DKMS does not treat the tree as a chroot if the running kernel is in it.
        shell.output("dpkg-divert --local --rename --add /usr/bin/uname")?;
        shell.write(
            "usr/bin/uname",
            &format!("#!/bin/sh\n[ \"$*\" = -r ] || exec /usr/bin/uname.distrib \"$@\"\necho {}\n", new.release),
        )?;
        shell.output("chmod 755 /usr/bin/uname")?;
        // Debian 13's DKMS sets it.
        shell.output("rm /etc/dkms/framework.conf.d/autoinstall_all_kernels.conf")?;
        shell.install_knem_and_witness()?;
        shell.healthy()?;
        shell.demand_module(&new.release, site.version())?;
        shell.demand_no_module(&old.release)?;

        shell.output("echo 'autoinstall_all_kernels=yes' >/etc/dkms/framework.conf.d/all.conf")?;
        shell.apt(&["install", "--reinstall", "knem2-dkms"])?.demand(0)?;
        shell.demand_module(&old.release, site.version())?;

        shell.output("rm /etc/dkms/framework.conf.d/all.conf")?;
        shell.offer(&next)?;
        shell.install_knem()?;
        [new, old].into_iter().try_for_each(|kernel| only(shell, kernel, &newer, site.version()))
    })
}

fn upgrade_that_fails(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let (next, newer) = (site.next()?, site.next_version()?);
    let this = site.version();
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| {
        shell.offer(&next)?;
        shell.note("the next version is made one that does not compile")?;
        shell.output(&format!(
            "cd /root && apt-get download knem2-dkms && dpkg-deb -R knem2-dkms_{newer}*.deb broken && \
             echo '#error broken' >>broken/usr/src/knem-{newer}/knem_proc.c && \
             dpkg-deb --root-owner-group -b broken broken.deb"
        ))?;
        let said = shell.install(&["/root/broken.deb", "knem-tools", WITNESS])?;
        said.must_say(&format!("knem: not built for kernel {}: the build failed", kernel.release))?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;

        go_back(shell, site)?;
        only(shell, kernel, this, &newer)
    })?;
    machine.boot_with_driver(kernel, this)
}
