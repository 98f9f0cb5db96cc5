// SPDX-License-Identifier: CECILL-B
//! Secure Boot: the kernel accepts only modules whose signer the machine trusts, and what an administrator sees
//! otherwise.
//!
//! Firmware, shim, GRUB and kernel are Debian's own, each verified by the one before (see [`Firmware`]). DKMS signs the
//! module when it is built, as on any machine.

use std::fs;

use anyhow::{bail, Context, Result};
use knem_lab::kernels::Kernel;
use knem_lab::vm::firmware::Trusted;
use knem_lab::vm::image::Without;
use knem_lab::vm::{Firmware, Options};

use crate::drill::Drill;
use crate::machine::{options, Machine, Report};
use crate::recipe;
use crate::said::Said;
use crate::shell::Shell;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D15",
        name: "secure-boot-enrolled",
        claim: "Secure Boot, with DKMS's key enrolled: the module loads at boot and works",
        fast: false,
        run: enrolled,
    },
    Drill {
        id: "D15",
        name: "secure-boot-site-key",
        claim: "Secure Boot, with the site's key, limited to modules, in shim's list or in the firmware: the module loads",
        fast: false,
        run: site_key,
    },
    Drill {
        id: "D16",
        name: "secure-boot-not-enrolled",
        claim: "Secure Boot, without the key enrolled: the module is refused, the machine boots, and the hint names the remedy",
        fast: false,
        run: not_enrolled,
    },
];

/// The archive's signed kernel that the drill uses.
const KERNEL: &str = "6.12";

/// DKMS's own certificate, and its subject name.
const CERTIFICATE: &str = "var/lib/dkms/mok.pub";
const DKMS: &str = "DKMS module signing key";

/// Checks that Secure Boot is on: the firmware's variable, mokutil's report, and the kernel's lockdown.
const ON: &str = "set -e
    mkdir -p /sys/firmware/efi/efivars
    modprobe efivarfs
    mountpoint -q /sys/firmware/efi/efivars || mount -t efivarfs efivarfs /sys/firmware/efi/efivars
    mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security
    cat /sys/kernel/security/lockdown
    mokutil --sb-state
    dmesg | grep -i 'secure boot'";

fn enrolled(site: &Site) -> Result<()> {
    let kernel = site.kernel(KERNEL)?;
    let machine = installed(site, kernel)?;
    machine.inside(|shell| {
        // The packages' advice for a module that was built without openssl: it is signed again.
        let (version, release) = (site.version(), &kernel.release);
        shell.output(&format!("dkms remove knem/{version} -k {release}"))?;
        shell.output(&format!("dkms install knem/{version} -k {release}"))?;
        shell.demand_module(release, version).map(|_| ())
    })?;
    let certificate = taken_out(&machine, CERTIFICATE)?;
    let test = format!("mokutil --test-key /{CERTIFICATE}");
    let commands = [ON, &test, "modinfo -F signer knem", &hint(site), "cat /sys/module/knem/version", BENCH];
    let report = boot(site, &machine, kernel, &[Trusted::Enrolled(certificate.path())], &commands, &options())?;
    let [on, test, signer, hint, version, bench] = all(&report)?;
    demand_on(on)?;
    test.must_say("is already enrolled")?;
    signer.demand(0)?.must_be(DKMS)?;
    hint.demand(0)?.must_be("")?;
    version.demand(0)?.must_be(site.version())?;
    bench.demand(0)?.must_say("verified")?;
    Ok(())
}

fn site_key(site: &Site) -> Result<()> {
    const NAME: &str = "Example site module signing";
    let kernel = site.kernel(KERNEL)?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.output(&recipe::read(site, "site-key", "")?)?;
        // The certificate is for modules only.
        let usage = "openssl x509 -inform DER -in /etc/knem-keys/module.der -noout -ext extendedKeyUsage";
        shell.sh(usage)?.demand(0)?.must_say("1.3.6.1.4.1.2312.16.1.2")?;
        shell.install(&["knem2-dkms", "knem-tools", "mokutil"])?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        if shell.has(CERTIFICATE) {
            bail!("DKMS made a key of its own although it was given one");
        }
        Ok(())
    })?;
    let certificate = taken_out(&machine, "etc/knem-keys/module.der")?;
    let commands = [ON, "modinfo -F signer knem", &hint(site), BENCH];
    for trusted in [Trusted::Enrolled(certificate.path()), Trusted::InFirmware(certificate.path())] {
        let report = boot(site, &machine, kernel, &[trusted], &commands, &options())?;
        let [on, signer, hint, bench] = all(&report)?;
        demand_on(on)?;
        signer.demand(0)?.must_be(NAME)?;
        hint.demand(0)?.must_be("")?;
        bench.demand(0)?.must_say("verified")?;
    }
    Ok(())
}

fn not_enrolled(site: &Site) -> Result<()> {
    let kernel = site.kernel(KERNEL)?;
    let machine = installed(site, kernel)?;
    let test = format!("mokutil --test-key /{CERTIFICATE}");
    let commands = [
        ON,
        "systemctl is-active multi-user.target",
        "systemctl list-units --plain --no-legend --state=failed",
        &test,
        "modprobe knem",
        "ls /sys/module/knem /dev/knem",
        &hint(site),
        "knem info",
        UNSIGNED,
        "modprobe knem",
        &hint(site),
    ];
    // A real boot: what fails here must not prevent the machine from booting.
    let options = Options { systemd: true, ..options() };
    let report = boot(site, &machine, kernel, &[], &commands, &options)?;
    let [on, up, failed, test, load, there, hint, info, strip, unsigned, other_hint] = all(&report)?;
    demand_on(on)?;
    up.demand(0)?.must_be("active")?;
    let failed: Vec<&str> = failed.demand(0)?.text.lines().filter_map(|line| line.split(' ').next()).collect();
    if failed != ["systemd-modules-load.service"] {
        bail!("these units failed: {failed:?}");
    }
    test.must_say("is not enrolled")?;
    load.demand(1)?.must_say("Key was rejected by service")?;
    there.demand(2)?;
    hint.demand(0)?.must_say("Secure Boot is on")?.must_say(&format!("mokutil --import /{CERTIFICATE}"))?;
    // knem's status for "no device".
    info.demand(3)?;
    strip.demand(0)?.must_be("")?;
    unsigned.demand(1)?.must_say("Key was rejected by service")?;
    other_hint.demand(0)?.must_say("the module is not signed")?.must_say("apt install openssl")?;
    Ok(())
}

/// Leaves the machine as if openssl had not been installed when the module was built: no key, and a module without a
/// signature.
const UNSIGNED: &str = "set -e
    rm /var/lib/dkms/mok.pub
    cd /lib/modules/$(uname -r)/updates/dkms
    xz -d knem.ko.xz
    strip --strip-debug knem.ko
    depmod
    modinfo -F signer knem";

const BENCH: &str = "knem bench --sizes 1M";

/// Returns what the packages report about Secure Boot on the machine.
fn hint(site: &Site) -> String {
    format!("sh /usr/src/knem-{}/secure-boot.sh", site.version())
}

/// Returns a machine with the packages and the tools that query Secure Boot.
fn installed(site: &Site, kernel: &Kernel) -> Result<Machine> {
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| shell.install(&["mokutil"]).map(|_| ()))?;
    Ok(machine)
}

/// Returns a copy of a file of the machine.
fn taken_out(machine: &Machine, path: &str) -> Result<tempfile::NamedTempFile> {
    let copy = tempfile::NamedTempFile::new()?;
    machine.inside(|shell: &Shell<'_>| {
        fs::copy(shell.path(path), copy.path()).with_context(|| format!("the machine has no /{path}"))?;
        Ok(())
    })?;
    Ok(copy)
}

/// Boots the machine with Secure Boot on.
fn boot(
    site: &Site,
    machine: &Machine,
    kernel: &Kernel,
    trusted: &[Trusted<'_>],
    commands: &[&str],
    options: &Options,
) -> Result<Report> {
    if !kernel.signed {
        bail!("kernel {} is in the archive only unsigned so far: Secure Boot does not take it", kernel.release);
    }
    let image = machine.image(kernel, Without::Building)?;
    let place = site.lab().scratch("firmware")?;
    let firmware = Firmware::secure(&site.lab().userlands(), &image, trusted, place.path())?;
    machine.boot_image(&image, commands, &Options { firmware: Some(firmware), ..options.clone() })
}

fn demand_on(said: &Said) -> Result<()> {
    said.demand(0)?
        .must_say("[integrity]")?
        .must_say("SecureBoot enabled")?
        .must_say("secureboot: Secure boot enabled")?;
    Ok(())
}

/// Returns the output of each command.
fn all<const N: usize>(report: &Report) -> Result<&[Said; N]> {
    report.said.as_slice().try_into().context("the machine ran another number of commands")
}
