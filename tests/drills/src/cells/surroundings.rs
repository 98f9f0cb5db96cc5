// SPDX-License-Identifier: CECILL-B
//! Variations of the machine: the group, the programs that create it, foreign modules of the same name.

use anyhow::{bail, Result};

use crate::drill::Drill;
use crate::fake::Fake;
use crate::machine::Machine;
use crate::shell::{Shell, WITNESS};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D17",
        name: "group-of-others",
        claim: "another package creates the group rdma, before or after ours: one group, a system group, both packages work",
        fast: false,
        run: group_of_others,
    },
    Drill {
        id: "D17",
        name: "group-of-the-site",
        claim: "the site has a group rdma with an id above 1000: it is kept, and the device is never open to all users",
        fast: false,
        run: group_of_the_site,
    },
    Drill {
        id: "D20",
        name: "vendor-packages",
        claim: "the vendor's knem 1.1.4.90mlnx3: no upgrade touches it; ours beside it replaces the module once built; purging both leaves nothing",
        fast: false,
        run: vendor_packages,
    },
    Drill {
        id: "D20",
        name: "foreign-module",
        claim: "another knem.ko is among the kernel's modules: ours is loaded",
        fast: false,
        run: foreign_module,
    },
    Drill {
        id: "D20",
        name: "same-module-elsewhere",
        claim: "another knem.ko of the same version: the kernel is skipped and the file named, apt and autoinstall succeed",
        fast: false,
        run: same_module_elsewhere,
    },
    Drill {
        id: "D21",
        name: "no-systemd",
        claim: "no systemd, no udev, as in a container image, but systemd-standalone-sysusers: group created, module built",
        fast: false,
        run: no_systemd,
    },
];

/// Returns the id of the group rdma.
fn group_id(shell: &Shell<'_>) -> Result<u32> {
    let lines = shell.output("grep '^rdma:' /etc/group")?;
    if lines.lines().count() != 1 {
        bail!("there is not one group rdma: {lines}");
    }
    Ok(lines.split(':').nth(2).unwrap_or_default().parse()?)
}

fn group_of_others(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let start = Machine::above(site, &site.installed(kernel)?)?;
    let others = &["ibverbs-providers", "rdma-core", WITNESS];

    start.branch()?.inside(|shell| {
        shell.note("ours first")?;
        let id = group_id(shell)?;
        shell.install(others)?;
        shell.healthy()?;
        if group_id(shell)? != id || id >= 1000 {
            bail!("the group has the id {}, and had {id}", group_id(shell)?);
        }
        Ok(())
    })?;

    start.branch()?.inside(|shell| {
        shell.note("theirs first")?;
        shell.apt(&["purge", "knem-tools"])?.demand(0)?;
        shell.output("groupdel rdma")?;
        shell.install(others)?;
        let id = group_id(shell)?;
        shell.install(&["knem-tools"])?;
        shell.healthy()?;
        if group_id(shell)? != id || id >= 1000 {
            bail!("the group has the id {}, and had {id}", group_id(shell)?);
        }
        // A purge does not remove the group either.
        shell.apt(&["purge", "knem-tools"])?.demand(0)?;
        group_id(shell)?;
        shell.healthy()
    })
}

fn group_of_the_site(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| {
        shell.apt(&["purge", "knem-tools"])?.demand(0)?;
        shell.output("groupdel rdma && groupadd --gid 4321 rdma")?;
        shell.install(&["knem-tools", WITNESS])?;
        shell.healthy()?;
        if group_id(shell)? != 4321 {
            bail!("the site's group was changed");
        }
        Ok(())
    })?;
    let report = machine.boot(
        kernel,
        &[
            "stat -c '%a %u' /dev/knem",
            "stat -c '%g' /dev/knem",
            "setpriv --reuid=65534 --regid=65534 --clear-groups knem info",
            "knem bench --sizes 64K",
        ],
    )?;
    let [node, group, stranger, bench] = report.said.as_slice() else {
        bail!("the machine ran {} commands", report.said.len());
    };
    node.demand(0)?.must_be("660 0")?;
    // A newer udev accepts only system groups for devices, and leaves the node to root.
    if !["4321", "0"].contains(&group.demand(0)?.trimmed()) {
        bail!("the node belongs to group {}", group.trimmed());
    }
    stranger.demand(4)?;
    bench.demand(0)?;
    Ok(())
}

/// A minimal module of the same name in C.
const FOREIGN: &str = "#include <linux/module.h>\n\
    static int __init start(void) { return 0; }\n\
    static void __exit stop(void) { }\n\
    module_init(start);\n\
    module_exit(stop);\n\
    MODULE_LICENSE(\"GPL\");\n\
    MODULE_INFO(rust, \"none\");\n\
    MODULE_DESCRIPTION(\"a foreign knem\");\n\
    MODULE_VERSION(\"1.1.4.90mlnx3\");\n";

/// The site's settings.
const SETTINGS: &str = "etc/dkms/knem.conf";

fn vendor_packages(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    let version = "1.1.4.90mlnx3-OFED.23.10.0.2.1.1";
    machine.inside(|shell| {
        let library = Fake {
            name: "knem",
            version,
            fields: &["Section: libs"],
            files: &[
                ("opt/knem-1.1.4.90mlnx3/include/knem_io.h", "/* the vendor's header */\n"),
                ("usr/lib/pkgconfig/knem.pc", "Name: knem\nDescription: x\nVersion: 1.1.4\n"),
                ("etc/udev/rules.d/10-knem.rules", "KERNEL==\"knem\", NAME=\"knem\", MODE=\"0666\"\n"),
            ],
            scripts: &[],
        }
        .make(shell)?;
        let source = Fake {
            name: "knem-dkms",
            version,
            fields: &["Depends: dkms, knem"],
            files: &[
                (
                    "usr/src/knem-1.1.4.90mlnx3/dkms.conf",
                    "PACKAGE_NAME=knem\nPACKAGE_VERSION=1.1.4.90mlnx3\nBUILT_MODULE_NAME[0]=knem\n\
                     DEST_MODULE_LOCATION[0]=/updates/dkms\nAUTOINSTALL=yes\n",
                ),
                ("usr/src/knem-1.1.4.90mlnx3/Makefile", "obj-m := knem.o\n"),
                ("usr/src/knem-1.1.4.90mlnx3/knem.c", FOREIGN),
            ],
            scripts: &[
                (
                    "postinst",
                    &format!(
                        "#!/bin/sh\n[ $1 = configure ] || exit 0\ndkms install knem/1.1.4.90mlnx3 -k {}\n",
                        kernel.release
                    ),
                ),
                ("prerm", "#!/bin/sh\ndkms remove knem/1.1.4.90mlnx3 --all || true\n"),
            ],
        }
        .make(shell)?;
        shell.install(&[&library, &source])?;
        let theirs = shell.module(&kernel.release)?;
        if theirs.is_none_or(|module| module.version != "1.1.4.90mlnx3") {
            bail!("the vendor's module is not there: the drill is wrong");
        }

        let dependent =
            Fake { name: "mpi", version: "1", fields: &["Depends: knem"], files: &[], scripts: &[] }.make(shell)?;
        shell.install(&[&dependent])?;
        let theirs = |when: &str| -> Result<()> {
            match shell.module(&kernel.release)? {
                Some(module) if module.version == "1.1.4.90mlnx3" => Ok(()),
                module => bail!("{when}: the module is {module:?}, not the vendor's"),
            }
        };
        for upgrade in [&["upgrade"] as &[&str], &["upgrade", "--with-new-pkgs"], &["dist-upgrade"]] {
            shell.apt(upgrade)?.demand(0)?.must_not_say("knem")?;
            theirs(&upgrade.join(" "))?;
        }

        shell.note("ours beside it, where it cannot be built")?;
        shell.write(SETTINGS, "KNEM_RUST=kernel\n")?;
        let said = shell.apt(&["install", "--no-install-recommends", "knem2-dkms", "knem-tools", WITNESS])?;
        said.demand(0)?.must_say("knem: not built for kernel ")?;
        shell.healthy()?;
        theirs("ours is not built")?;

        shell.note("ours in its place, then the vendor's packages go")?;
        shell.output(&format!("rm /{SETTINGS}"))?;
        shell.apt(&["install", "--reinstall", "knem2-dkms"])?.demand(0)?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.apt(&["purge", "knem", "knem-dkms"])?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.dkms_status()?.must_not_say("mlnx")?;
        if shell.version_of("knem")?.is_some() || shell.version_of("mpi")?.is_none() {
            bail!("the vendor's package knem is there, or what depends on it is gone");
        }
        shell.apt(&["purge", "mpi", "knem2-dkms", "knem-tools"])?.demand(0)?;
        shell.healthy()?;
        // apt's configuration of the repository is the drill's own.
        let left = shell.sh("find /etc /usr /var/lib/dkms /lib/modules -xdev -iname '*knem*' ! -path '/etc/apt/*'")?;
        left.demand(0)?.must_be("")?;
        Ok(())
    })
}

fn foreign_module(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.write("root/foreign/Makefile", "obj-m := knem.o\n")?;
        shell.write("root/foreign/knem.c", FOREIGN)?;
        let modules = format!("/lib/modules/{}", kernel.release);
        shell.output(&format!(
            "make -s -C {modules}/build M=/root/foreign modules && mkdir {modules}/extra {modules}/updates && \
             cp /root/foreign/knem.ko {modules}/extra/ && cp /root/foreign/knem.ko {modules}/updates/ && depmod {}",
            kernel.release
        ))?;
        if shell.module(&kernel.release)?.is_none() {
            bail!("the other module is not there: the drill is wrong");
        }
        shell.install_knem_and_witness()?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })?;
    machine.boot_with_driver(kernel, site.version())
}

fn same_module_elsewhere(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| {
        let (version, release) = (site.version(), &kernel.release);
        let other = format!("/lib/modules/{release}/updates/knem/knem.ko");
        shell.output(&format!(
            "mkdir -p $(dirname {other}) && xz -dc /lib/modules/{release}/updates/dkms/knem.ko.xz >{other} && \
             dkms unbuild knem/{version} -k {release}; depmod {release}"
        ))?;
        let why = format!("another knem.ko, version {version}, is in {other}");
        let headers = format!("linux-headers-{release}");
        let said = shell.apt(&["install", "--reinstall", &headers, WITNESS])?;
        said.demand(0)?.must_say(&format!("knem: not built for kernel {release}: {why}"))?;
        shell.healthy()?;
        shell.way(release)?.demand(77)?.must_say(&why)?;
        shell.output(&format!("rm {other}"))?;
        shell.sh(&format!("dkms autoinstall -k {release}"))?.demand(0)?;
        shell.demand_module(release, version)?;
        Ok(())
    })
}

fn no_systemd(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell
            .apt(&[
                "purge",
                "--allow-remove-essential",
                "systemd-sysv",
                "systemd",
                "udev",
                "initramfs-tools",
                "dracut-install",
            ])?
            .demand(0)?;
        shell.output("! command -v systemd-sysusers && ! command -v udevadm")?;
        let said = shell.install(&["systemd-standalone-sysusers", "knem-tools", "knem-dkms", WITNESS])?;
        if shell.version_of("systemd")?.is_some() || shell.version_of("udev")?.is_some() {
            bail!("systemd or udev came along: {}", said.trimmed());
        }
        if group_id(shell)? >= 1000 {
            bail!("the group is none of the system");
        }
        shell.demand_module(&kernel.release, site.version())?;
        shell.sh("dpkg --audit")?.demand(0)?.must_be("")?;
        shell.sh("knem info")?.demand(3)?;
        Ok(())
    })
}
