// SPDX-License-Identifier: CECILL-B
//! A removal leaves nothing behind.

use anyhow::{bail, Result};

use crate::drill::Drill;
use crate::machine::Machine;
use crate::shell::{METADATA, WITNESS};
use crate::site::Site;
use crate::snapshot::Snapshot;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D18",
        name: "purged",
        claim: "removed, installed again, purged: the tree is as before except the group rdma and the records of dpkg, apt and DKMS",
        fast: true,
        run: purged,
    },
    Drill {
        id: "D18",
        name: "sources-deleted",
        claim: "rm -rf /usr/src/knem-VERSION: triggers name the remedy, which works, and purging removes module and DKMS's entry",
        fast: false,
        run: sources_deleted,
    },
];

/// Files that may differ afterwards, and why.
const ALLOWED: &[&str] = &[
    // The records of apt and dpkg.
    "var/cache/apt/*",
    "var/cache/debconf/*",
    "var/lib/apt/*",
    "var/lib/dpkg/*",
    "var/log/*",
    // DKMS's own: the key with which it signs all modules, and the directory that exists once it has built anything.
    "var/lib/dkms/mok.key",
    "var/lib/dkms/mok.pub",
    "var/lib/dkms/dkms_dbversion",
    // ldconfig's cache may differ, but depmod's binary indexes must not.
    "var/cache/ldconfig/*",
];

fn purged(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    let look = |machine: &Machine| machine.outside(Snapshot::of);
    let before = look(&machine)?;

    machine.inside(|shell| {
        shell.install_knem()?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.install(&[WITNESS])?;
        shell.apt(&["remove", "knem2-dkms", "knem-tools"])?.demand(0)?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        if shell.has(METADATA) || shell.has(&format!("usr/src/knem-{}", site.version())) {
            bail!("something of knem-dkms is left after its removal");
        }
        shell.note("once more")?;
        shell.install_knem()?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.apt(&["purge", "knem2-dkms", "knem-tools", WITNESS])?.demand(0)?;
        shell.healthy()?;
        shell.sh("dpkg-query -W 'knem*'")?.demand(1)?;
        Ok(())
    })?;

    before.demand_same(&look(&machine)?, ALLOWED)
}

fn sources_deleted(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| {
        let delete = format!("rm -rf /usr/src/knem-{}", site.version());
        shell.output(&delete)?;
        let said = shell.apt(&["install", "--reinstall", "gcc"])?;
        said.demand(0)?.must_say("apt reinstall knem2-dkms")?;
        shell.healthy()?;
        shell.sh("apt-get -y reinstall knem2-dkms")?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.output(&delete)?;
        shell.apt(&["purge", "knem2-dkms", "knem-tools"])?.demand(0)?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell.dkms_status()?.must_not_say("knem")?;
        for path in ["var/lib/dkms/knem", &delete["rm -rf /".len()..]] {
            if shell.has(path) {
                bail!("/{path} is left");
            }
        }
        Ok(())
    })
}
