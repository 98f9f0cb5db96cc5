// SPDX-License-Identifier: CECILL-B
//! A build breaks: the driver's, or that of another DKMS module. Neither may harm the other, or apt.

use anyhow::{bail, Result};

use crate::drill::Drill;
use crate::fake::Fake;
use crate::machine::Machine;
use crate::shell::WITNESS;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D22",
        name: "own-build-broken",
        claim: "our source does not compile for a new kernel: apt succeeds, a message names the log; after the fix, it builds",
        fast: true,
        run: own_build_broken,
    },
    Drill {
        id: "D22",
        name: "other-module-broken",
        claim: "another package's module does not build: knem is built, and removing that package leaves apt clean",
        fast: false,
        run: other_module_broken,
    },
];

fn own_build_broken(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.install_knem()?;
        shell.demand_module(&kernel.release, site.version())?;
        // As if the kernel's interface had changed: the first kernel of a series, with an older source.
        shell.output(&format!("dkms remove knem/{} --all && dkms add knem/{0}", site.version()))?;
        let root = format!("usr/src/knem-{}/knem_proc.c", site.version());
        let whole = shell.read(&root)?;
        shell.write(&root, &format!("{whole}\n#error the interface has changed\n"))?;

        shell.output("rm -f /var/cache/knem/build/*.log")?;
        // What the kernel's packages do when they are installed.
        let headers = format!("linux-headers-{}", kernel.release);
        let said = shell.apt(&["install", "--reinstall", &headers, WITNESS])?;
        said.demand(0)?.must_say(&format!("knem: not built for kernel {}: the build failed", kernel.release))?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        let log = format!("/var/cache/knem/build/{}.log", kernel.release);
        said.must_say(&log)?;
        shell.sh(&format!("cat {log}"))?.demand(0)?.must_say("the interface has changed")?;

        shell.write(&root, &whole)?;
        shell.apt(&["install", "--reinstall", &headers])?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        if shell.has(&log[1..]) {
            bail!("the log of the failure is still there after a good build");
        }
        Ok(())
    })
}

fn other_module_broken(site: &Site) -> Result<()> {
    let (old, new) = (site.kernel("6.12")?, site.kernel("7.3")?);
    let machine = Machine::above(site, &site.installed(old)?)?;
    machine.inside(|shell| {
        let broken = Fake {
            name: "aaa-dkms",
            version: "1.0",
            fields: &["Depends: dkms"],
            files: &[
                (
                    "usr/src/aaa-1.0/dkms.conf",
                    "PACKAGE_NAME=aaa\nPACKAGE_VERSION=1.0\nBUILT_MODULE_NAME[0]=aaa\n\
                     DEST_MODULE_LOCATION[0]=/updates/dkms\nAUTOINSTALL=yes\n",
                ),
                ("usr/src/aaa-1.0/Makefile", "obj-m := aaa.o\n"),
                ("usr/src/aaa-1.0/aaa.c", "#error this module is broken\n"),
            ],
            scripts: &[
                ("postinst", "#!/bin/sh\ndkms add aaa/1.0 || true\n"),
                ("prerm", "#!/bin/sh\ndkms remove aaa/1.0 --all || true\n"),
            ],
        }
        .make(shell)?;
        shell.install(&[&broken])?;
        shell.healthy()?;

        let image = shell.apt(&kernel_install(&new.image))?;
        let headers = shell.apt(&kernel_install(&new.headers))?;
        // The other package makes apt fail here, as DKMS does; the driver's must not be the cause.
        shell.note(&format!("apt ended with {} and {} because of the other module", image.status, headers.status))?;
        headers.must_say("aaa/1.0")?.must_not_say("knem: not built")?;
        shell.demand_module(&old.release, site.version())?;
        shell.demand_module(&new.release, site.version())?;

        shell.apt(&["purge", "aaa-dkms"])?;
        shell.sh("dpkg --configure -a")?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&new.release, site.version())?;
        Ok(())
    })
}

/// Returns apt-get's arguments to install some of a kernel's packages.
fn kernel_install(packages: &[String]) -> Vec<&str> {
    let options = ["install", "--no-install-recommends", "-t", knem_lab::archive::BACKPORTS];
    options.into_iter().chain(packages.iter().map(String::as_str)).collect()
}
