// SPDX-License-Identifier: CECILL-B
//! Kernels that the driver is not made for are skipped with a sentence, and what says so agrees.

use anyhow::{bail, Result};

use crate::drill::Drill;
use crate::fake::Fake;
use crate::machine::Machine;
use crate::shell::WITNESS;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D23",
        name: "kernel-without-rust",
        claim: "6.12 is skipped: a sentence, apt succeeds, and the machine boots without the driver",
        fast: false,
        run: without_rust,
    },
    Drill {
        id: "D23",
        name: "kernel-too-new",
        claim: "headers of a kernel that nobody has tried yet install, and knem is skipped with a sentence",
        fast: true,
        run: too_new,
    },
    Drill {
        id: "D23",
        name: "all-agree",
        claim: "beside a kernel that gets the module, another is skipped: dkms, rust-check.sh and modinfo say the same",
        fast: false,
        run: all_agree,
    },
];

fn without_rust(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        let said = shell.install_knem_and_witness()?;
        said.must_say(&format!("knem: not built for kernel {}: ", kernel.release))?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)
    })?;
    machine.boot_without_driver(kernel)
}

/// Debian's headers, seen as those of a series that the driver does not know.
fn too_new(site: &Site) -> Result<()> {
    let known = site.kernel("7.2")?;
    let release = "7.9.1+deb14-amd64";
    let machine = Machine::above(site, &site.installed(known)?)?;
    machine.inside(|shell| {
        let headers = Fake {
            name: &format!("linux-headers-{release}"),
            version: "7.9.1-1",
            fields: &[&format!("Depends: linux-headers-{}", known.release)],
            files: &[(&format!("usr/share/doc/linux-headers-{release}/README"), "made for a drill\n")],
            // The link is made here, because a package cannot bring one in the text of a file.
            scripts: &[(
                "postinst",
                &format!(
                    "#!/bin/sh\nset -e\n[ \"$1\" = configure ] || exit 0\n\
                     mkdir -p /usr/src/linux-headers-{release} /lib/modules/{release}\n\
                     cp -a /usr/src/linux-headers-{0}/. /usr/src/linux-headers-{release}/\n\
                     sed -i 's/{0}/{release}/' /usr/src/linux-headers-{release}/include/config/kernel.release || true\n\
                     ln -sfn /usr/src/linux-headers-{release} /lib/modules/{release}/build\n\
                     run-parts --report --exit-on-error --arg={release} /etc/kernel/header_postinst.d\n",
                    known.release
                ),
            )],
        }
        .make(shell)?;
        let said = shell.install(&[&headers, WITNESS])?;
        said.must_say(&format!("knem: not built for kernel {release}: this knem is for kernels before "))?;
        shell.healthy()?;
        shell.demand_no_module(release)?;
        shell.demand_module(&known.release, site.version())?;
        shell.rust_check(release)?.demand(77)?.must_say("this knem is for kernels before ")?;
        Ok(())
    })
}

fn all_agree(site: &Site) -> Result<()> {
    let (good, bad) = (site.kernel("7.2")?, site.kernel("6.12")?);
    let machine = Machine::above(site, &site.installed(good)?)?;
    machine.inside(|shell| {
        shell.install_kernel(bad, &bad.image)?;
        let headers = [bad.headers.clone(), vec![WITNESS.to_owned()]].concat();
        let said = shell.install_kernel(bad, &headers)?;
        shell.healthy()?;
        for kernel in [good, bad] {
            let check = shell.rust_check(&kernel.release)?;
            let status = shell.dkms_status()?;
            let installed = status
                .text
                .lines()
                .any(|line| line.contains(&kernel.release) && line.trim_end().ends_with("installed"));
            let module = shell.module(&kernel.release)?.is_some();
            if (check.status == 0) != installed || installed != module {
                bail!(
                    "kernel {}: rust-check.sh says {}, dkms {installed}, modinfo {module}",
                    kernel.release,
                    check.status
                );
            }
        }
        // The reason is told in the same words, whoever is asked.
        let reason = shell.rust_check(&bad.release)?;
        let Some((_, sentence)) = reason.trimmed().split_once(": ") else {
            bail!("rust-check.sh says `{}`", reason.trimmed());
        };
        said.must_say(&format!("knem: not built for kernel {}: {sentence}", bad.release))?;
        Ok(())
    })
}
