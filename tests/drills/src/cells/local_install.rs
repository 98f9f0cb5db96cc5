// SPDX-License-Identifier: CECILL-B
//! Without packages: the release is built by a user and installed into its own directory, and a machine is set up from
//! there.

use std::fs;

use anyhow::{Context, Result};
use knem_packages::dist;

use crate::drill::Drill;
use crate::machine::Machine;
use crate::said::Said;
use crate::shell::Shell;
use crate::site::Site;
use crate::snapshot::Snapshot;

pub(crate) const DRILLS: &[Drill] = &[Drill {
    id: "S6",
    name: "local-install",
    claim: "the tarball, built by a user without a network: make install and local-install, twice; boots, data verified; uninstalled without a trace",
    fast: false,
    run: local_install,
}];

/// The packages for the build of the release, in addition to those for the build of modules.
const COMPILERS: &[&str] = &["cargo", "gcc", "libc6-dev", "make", "rust-src"];

/// The home of the user that builds.
const HOME: &str = "/home/builder";

/// Files that may differ in the end, and why.
const ALLOWED: &[&str] = &[
    // Where it was built, and apt's caches.
    "home/builder*",
    "var/cache/apt*",
    "var/lib/apt*",
    "var/log/*",
];

fn local_install(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let (version, release) = (site.version(), &kernel.release);
    let prefix = format!("/opt/knem-{version}");
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.install(COMPILERS)?;
        shell.sh("useradd --create-home builder")?.demand(0)?;
        Ok(())
    })?;
    let before = machine.outside(Snapshot::of)?;

    machine.inside(|shell| {
        let tarball = dist::tarball(&site.lab().workspace)?;
        fs::copy(&tarball, shell.path(format!("{}/knem.tar.gz", &HOME[1..])))
            .context("the tarball cannot be copied")?;
        as_builder(shell, "tar -xzf knem.tar.gz && mv knem-*/ knem")?.demand(0)?;
        // Options for a quick build, since the speed of the command does not matter here.
        let make =
            format!("CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 make -C knem KVERSION={release}");
        as_builder(shell, &make)?.demand(0)?.must_say(&format!("modules/{release}/knem.ko"))?;

        let make = |target: &str| shell.sh(&format!("make -s -C {HOME}/knem {target} KVERSION={release}"));
        make("local-install")?.demand(2)?.must_say("run make and make install")?;
        make("install")?.demand(0)?.must_say(&format!("{prefix}/sbin/knem_local_install"))?;
        make("local-install")?.demand(0)?.must_say("created the group rdma")?;
        make("local-install")?.demand(0)?.must_say("nothing had to be done")?;
        shell.sh(&format!("modinfo -k {release} -n knem"))?.demand(0)?.must_say("/updates/knem/knem.ko")?;
        shell
            .sh(&format!("grep ^prefix= {prefix}/lib/pkgconfig/knem.pc"))?
            .demand(0)?
            .must_be(&format!("prefix={prefix}"))?;
        // As an administrator does who adds it to the PATH of all users.
        shell.sh(&format!("ln -s {prefix}/bin/knem /usr/local/bin/knem"))?.demand(0)?;
        shell.healthy()
    })?;
    machine.boot_with_driver(kernel, version)?;

    machine.inside(|shell| {
        shell.sh("rm /usr/local/bin/knem")?.demand(0)?;
        let make = |target: &str| shell.sh(&format!("make -s -C {HOME}/knem {target}"));
        make("uninstall")?.demand(2)?.must_say("knem_local_install --uninstall first")?;
        make("local-uninstall")?.demand(0)?.must_say("removed /etc/udev/rules.d/60-knem.rules")?;
        make("uninstall")?.demand(0)?;
        shell.sh(&format!("modinfo -k {release} knem"))?.demand(1)?;
        Ok(())
    })?;
    before.demand_same(&machine.outside(Snapshot::of)?, ALLOWED)
}

/// Runs a line of shell as a user that is not root, without a network, from the home directory.
fn as_builder(shell: &Shell<'_>, line: &str) -> Result<Said> {
    shell.sh(&format!("unshare --net setpriv --reuid=builder --regid=builder --clear-groups env HOME={HOME} sh -c 'cd {HOME} && {line}'"))
}
