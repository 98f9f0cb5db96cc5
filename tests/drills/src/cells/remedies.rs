// SPDX-License-Identifier: CECILL-B
//! The remedies of `knem doctor`: each is executed in a booted machine, in the state for which it is printed.

use std::time::Duration;

use anyhow::Result;
use knem_lab::programs;
use knem_lab::vm::image::Without;
use knem_lab::vm::Options;

use crate::drill::Drill;
use crate::machine::{options, Machine};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D25",
        name: "remedies-building",
        claim: "no module, no source, another knem.ko: each remedy of knem doctor is run as printed and removes its finding",
        fast: false,
        run: building,
    },
    Drill {
        id: "D25",
        name: "remedies-use",
        claim: "device, rules, groups, limits, loading: each remedy of knem doctor is run as printed and removes its finding",
        fast: false,
        run: in_use,
    },
];

fn building(site: &Site) -> Result<()> {
    carry_out(site, "knem-remedies building")
}

fn in_use(site: &Site) -> Result<()> {
    carry_out(site, "knem-remedies use")
}

/// A repository with a package that a remedy installs: the machine has no network.
const OFFER: &str = "set -e
    mkdir -p /opt/remedies
    cd /opt/remedies
    apt-get -q download dkms
    for file in *.deb; do
        dpkg-deb -f $file
        echo Filename: ./$file
        echo Size: $(stat -c %s $file)
        echo SHA256: $(sha256sum $file | cut -d ' ' -f 1)
        echo
    done > Packages
    echo 'deb [trusted=yes] file:/opt/remedies ./' > /etc/apt/sources.list.d/remedies.list";

fn carry_out(site: &Site, command: &str) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| shell.output(OFFER).map(|_| ()))?;
    // With compilers and headers, since modules are built again.
    let image = machine.image(kernel, Without::Nothing)?;
    let adds = programs::rust(&site.lab().workspace, &["knem-remedies"])?;
    let options = Options { memory: 3072, timeout: Duration::from_secs(7200), adds, ..options() };
    let report = machine.boot_image(&image, &[command], &options)?;
    for said in &report.said {
        said.demand(0)?;
    }
    Ok(())
}
