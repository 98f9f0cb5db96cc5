// SPDX-License-Identifier: CECILL-B
//! Containers and batch systems: the device in a container, the output of a prolog, and what other build systems read
//! from the package's files.

use std::fs;

use anyhow::{bail, Context, Result};
use knem_lab::vm::image::Without;
use knem_lab::vm::Options;

use crate::drill::Drill;
use crate::machine::{options, Machine};
use crate::recipe;
use crate::said::Said;
use crate::shell::Shell;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "S4",
        name: "container",
        claim: "a podman container can use the device with both --device and --group-add only; Slurm's prolog detects faults",
        fast: false,
        run: container,
    },
    Drill {
        id: "S5",
        name: "build-against",
        claim: "without any module: header, pkg-config, Spack's external and the environment module match the installed files",
        fast: true,
        run: build_against,
    },
];

/// The container's image: a directory with the header-only package, the libraries that the command needs, and no
/// module.
const IMAGE: &str = "image='--read-only --rootfs /srv/image'";

/// Creates it.
const MAKE_IMAGE: &str = "set -e
    mkdir -p /srv/image/dev /srv/image/etc /srv/image/proc /srv/image/run /srv/image/sys /srv/image/tmp /srv/image/usr/lib64
    ln -s usr/lib usr/lib64 /srv/image
    dpkg-deb --extract /opt/knem-repository/knem-tools_*.deb /srv/image
    ldd /usr/bin/knem | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory=/srv/image
    test ! -e /srv/image/usr/lib/modules";

/// The container of the document, without some of its options.
fn without(recipe: &str, words: &str) -> Result<String> {
    if !recipe.contains(words) {
        bail!("the recipe has no `{words}`");
    }
    Ok(recipe.replace(words, ""))
}

fn container(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| {
        // Not crun: Debian's fails with "File exists" here from the second container on, with or without the device.
        shell.install(&["podman", "runc"])?;
        shell.output(MAKE_IMAGE)?;
        shell.write("root/prolog-knem.sh", &deployed(site, "slurm/prolog-knem.sh")?)
    })?;
    let image = machine.image(kernel, Without::Building)?;
    let run = recipe::read(site, "container", IMAGE)?;
    let no_device = without(&run, "--device /dev/knem")?;
    let no_group = without(&run, "--group-add \"$rdma\"")?;
    let commands = [
        run.as_str(),
        &no_device,
        &no_group,
        "sh /root/prolog-knem.sh",
        "chmod 666 /dev/knem; sh /root/prolog-knem.sh",
        "rmmod knem; sh /root/prolog-knem.sh",
    ];
    let report = machine.boot_image(&image, &commands, &Options { memory: 3072, ..options() })?;
    let said: &[Said; 6] = report.said.as_slice().try_into().context("the machine ran another number of commands")?;
    let [run, no_device, no_group, prolog, open, gone] = said;
    run.demand(0)?.must_say("verified")?;
    // The command's own exit status: no device, and permission denied.
    no_device.demand(3)?;
    no_group.demand(4)?;
    prolog.demand(0)?.must_be("")?;
    open.demand(1)?.must_say("is 666 root rdma instead of 660 root rdma")?;
    gone.demand(1)?.must_say("the module is not loaded")?;
    Ok(())
}

fn build_against(site: &Site) -> Result<()> {
    let machine = Machine::above(site, &site.bare()?)?;
    machine.inside(|shell| {
        shell.install(&["knem-tools", "pkgconf", "libc6-dev", "environment-modules"])?;
        shell.healthy()?;
        // A machine without the module must not fail to load it at boot.
        shell.sh("grep -rslw knem /usr/lib/modules-load.d /etc/modules-load.d /etc/modules")?.must_be("")?;
        let ask = |what: &str| shell.output(&format!("pkg-config {what} knem"));
        let (prefix, version) = (ask("--variable=prefix")?, ask("--modversion")?);
        let header = format!("{}/knem_io.h", ask("--variable=includedir")?);
        if prefix != "/usr" || version != site.version() || !shell.has(header.trim_start_matches('/')) {
            bail!("pkg-config says prefix {prefix}, version {version}, header {header}");
        }
        // As a configure script does: the example of the guide, with the options of pkg-config and nothing else.
        shell.write("root/pingpong.c", &read(site, "docs/examples/pingpong.c")?)?;
        shell.output("cd /root && gcc-14 -Wall -Werror -o pingpong pingpong.c $(pkg-config --cflags --libs knem) && ldd pingpong")?;

        let spack = deployed(site, "spack/packages.yaml")?;
        for line in [format!("- spec: knem@{version}"), format!("prefix: {prefix}"), "buildable: false".to_owned()] {
            if !spack.lines().any(|found| found.trim() == line) {
                bail!("deploy/spack/packages.yaml does not say `{line}`");
            }
        }
        environment_module(site, shell)
    })
}

/// The sample of an environment module names the directories that an installation below a prefix has.
fn environment_module(site: &Site, shell: &Shell<'_>) -> Result<()> {
    shell.write("root/modulefiles/knem", &deployed(site, "modulefiles/knem")?)?;
    let said = shell.sh(". /usr/share/modules/init/sh; module use /root/modulefiles; module load knem && \
         echo \"$PATH\n$MANPATH\n$PKG_CONFIG_PATH\n$CPATH\"")?;
    said.demand(0)?;
    let layouts = read(site, "install/layouts")?;
    for place in ["bin", "man", "pkgconfig", "include"] {
        let line = layouts.lines().find(|line| line.split_whitespace().next() == Some(place));
        let directory =
            line.and_then(|line| line.split_whitespace().last()).context("install/layouts has another form")?;
        said.must_say(&directory.replace("@PREFIX@", "/opt/knem"))?;
    }
    Ok(())
}

fn deployed(site: &Site, path: &str) -> Result<String> {
    read(site, &format!("deploy/{path}"))
}

fn read(site: &Site, path: &str) -> Result<String> {
    fs::read_to_string(site.lab().workspace.file(path)).with_context(|| format!("cannot read {path}"))
}
