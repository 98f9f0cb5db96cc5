// SPDX-License-Identifier: CECILL-B
//! Kernels that no archive has: a newer one than any that was tested, for which the build is tried, and unsupported
//! ones, which are skipped with a sentence. All are created from Debian's headers.

use anyhow::{bail, Result};

use crate::drill::Drill;
use crate::fake::Fake;
use crate::machine::Machine;
use crate::shell::{Shell, WITNESS};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D23",
        name: "kernel-too-new",
        claim: "headers of a kernel newer than any tested one: knem is built",
        fast: true,
        run: too_new,
    },
    Drill {
        id: "D23",
        name: "kernel-skipped",
        claim: "older than 5.10, 32 bit, without MMU, with kCFI: a message, and apt succeeds; dkms, way.sh and modinfo agree",
        fast: true,
        run: skipped,
    },
];

/// Builds a package of the headers of `known` under another release, with the configuration changed by a sed script.
fn headers(shell: &Shell<'_>, known: &str, release: &str, change: &str) -> Result<String> {
    Fake {
        name: &format!("linux-headers-{release}"),
        version: "1",
        fields: &[&format!("Depends: linux-headers-{known}")],
        files: &[(&format!("usr/share/doc/linux-headers-{release}/README"), "made for a drill\n")],
        // The link is created here, because the package's files are given as texts.
        scripts: &[(
            "postinst",
            &format!(
                "#!/bin/sh\nset -e\n[ \"$1\" = configure ] || exit 0\n\
                 mkdir -p /usr/src/linux-headers-{release} /lib/modules/{release}\n\
                 cp -a /usr/src/linux-headers-{known}/. /usr/src/linux-headers-{release}/\n\
                 cd /usr/src/linux-headers-{release}\n\
                 sed -i '{change}' include/config/auto.conf .config\n\
                 sed -i 's/{known}/{release}/' include/config/kernel.release include/generated/utsrelease.h\n\
                 sed -i '/^KBUILD_OUTPUT/s/{known}/{release}/' Makefile\n\
                 ln -sfn /usr/src/linux-headers-{release} /lib/modules/{release}/build\n\
                 run-parts --report --exit-on-error --arg={release} /etc/kernel/header_postinst.d\n",
            ),
        )],
    }
    .make(shell)
}

fn too_new(site: &Site) -> Result<()> {
    let known = site.kernel("7.3")?;
    let release = "7.9.1+deb14-amd64";
    let machine = Machine::above(site, &site.with_kernel(known)?)?;
    machine.inside(|shell| {
        shell.install_knem()?;
        let package = headers(shell, &known.release, release, "")?;
        let said = shell.install(&[&package, WITNESS])?;
        said.must_say(&format!("knem: building for kernel {release} with the prebuilt object: "))?;
        shell.healthy()?;
        // Without a kernel, depmod lists nothing for these headers: DKMS knows the module.
        shell.dkms_status()?.must_say(&format!("knem/{}, {release}, x86_64: installed", site.version()))?;
        shell.demand_module(&known.release, site.version())?;
        Ok(())
    })
}

fn skipped(site: &Site) -> Result<()> {
    let known = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.installed(known)?)?;
    machine.inside(|shell| {
        for (release, change, why) in [
            ("5.4.0-old", "", "this kernel is older than 5.10"),
            ("6.12.0-32bit", "/^CONFIG_64BIT=/d; /^CONFIG_X86_64=/d", "this kernel is not for x86-64 or arm64"),
            ("6.12.0-nommu", "/^CONFIG_MMU=/d", "this kernel is built without CONFIG_MMU"),
            ("6.12.0-cfi", "$aCONFIG_CFI_CLANG=y", "this kernel checks the types of indirect calls (CONFIG_CFI)"),
        ] {
            let package = headers(shell, &known.release, release, change)?;
            let said = shell.install(&[&package])?;
            said.must_say(&format!("knem: not built for kernel {release}: {why}"))?;
            shell.healthy()?;
            shell.demand_no_module(release)?;
            // The reason is printed in the same words everywhere.
            let reason = shell.way(release)?;
            reason.demand(77)?;
            let Some((_, sentence)) = reason.trimmed().split_once(": ") else {
                bail!("way.sh says `{}`", reason.trimmed());
            };
            said.must_say(&format!("knem: not built for kernel {release}: {sentence}"))?;
        }
        shell.apt(&["install", "--reinstall", "knem2-dkms", WITNESS])?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&known.release, site.version())?;
        Ok(())
    })
}
