// SPDX-License-Identifier: CECILL-B
//! dpkg, apt and DKMS are killed, by a signal that cannot be caught and with all their processes, and the administrator
//! follows Debian's advice: `dpkg --configure -a`, `apt-get -f install`, and the same command again.

use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use knem_lab::kernels::Kernel;

use crate::drill::Drill;
use crate::machine::Machine;
use crate::shell::{Killed, Shell, METADATA, WITNESS};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D14",
        name: "killed-three-times",
        claim: "the installation is killed while unpacking, building and installing the module, and always recovers",
        fast: true,
        run: killed_three_times,
    },
    Drill {
        id: "D14",
        name: "killed-before-noting",
        claim: "DKMS is killed after it copied the module and before it recorded that: the next attempt installs it, purging leaves nothing",
        fast: true,
        run: killed_before_noting,
    },
    Drill {
        id: "D14",
        name: "killed-installing",
        claim: "the installation is killed at 8 points, and always recovers",
        fast: false,
        run: |site| spread(site, &INSTALL, 8),
    },
    Drill {
        id: "D14",
        name: "killed-upgrading",
        claim: "the upgrade to the next version is killed at 8 points, and always recovers",
        fast: false,
        run: |site| spread(site, &UPGRADE, 8),
    },
    Drill {
        id: "D14",
        name: "killed-removing",
        claim: "purging is killed at 6 points, always recovers, and leaves nothing",
        fast: false,
        run: |site| spread(site, &PURGE, 6),
    },
    Drill {
        id: "D14",
        name: "making-killed",
        claim:
            "generating Rust metadata is killed: partial metadata is not used, and the next build generates it again",
        fast: false,
        run: making_killed,
    },
];

/// A command that is killed, and what must be true in the end.
struct Action {
    /// Whether the packages are installed before.
    installed: bool,
    /// Whether the next version is installed.
    upgraded: bool,
    arguments: &'static [&'static str],
    outcome: fn(&Shell<'_>, &Kernel, &str) -> Result<()>,
}

const INSTALL: Action = Action {
    installed: false,
    upgraded: false,
    arguments: &["install", "--no-install-recommends", WITNESS, "knem2-dkms", "knem-tools"],
    outcome: |shell, kernel, version| {
        shell.demand_module(&kernel.release, version)?;
        shell.version_of(WITNESS)?.context("the other package is not installed")?;
        // The module is complete: its end has the signature, and its compression a checksum.
        shell.output(&format!(
            "modinfo -k {} -F signer knem | grep . && xz -t /lib/modules/{0}/updates/dkms/knem.ko.xz",
            kernel.release
        ))?;
        Ok(())
    },
};

const UPGRADE: Action = Action {
    installed: true,
    upgraded: true,
    arguments: INSTALL.arguments,
    outcome: |shell, kernel, version| {
        (INSTALL.outcome)(shell, kernel, version)?;
        let versions = shell.output("dkms status knem | cut -d, -f1 | sort -u")?;
        if versions != format!("knem/{version}") {
            bail!("dkms knows several versions: {versions}");
        }
        Ok(())
    },
};

const PURGE: Action = Action {
    installed: true,
    upgraded: false,
    arguments: &["purge", "knem2-dkms", "knem-tools"],
    outcome: |shell, kernel, version| {
        shell.demand_no_module(&kernel.release)?;
        for path in [&format!("usr/src/knem-{version}"), "var/lib/dkms/knem", "var/cache/knem", "usr/bin/knem"] {
            if shell.has(path) {
                bail!("/{path} is left");
            }
        }
        Ok(())
    },
};

/// Returns the machine before the action, and the version that it installs.
fn before(site: &Site, action: &Action, kernel: &Kernel) -> Result<(Machine, String)> {
    let stack = if action.installed { site.installed(kernel)? } else { site.with_kernel(kernel)? };
    let machine = Machine::above(site, &stack)?;
    if !action.upgraded {
        return Ok((machine, site.version().to_owned()));
    }
    let next = site.next()?;
    machine.inside(|shell| shell.offer(&next))?;
    Ok((machine, site.next_version()?))
}

/// Does what an administrator does after a crash, and checks what must be true then.
fn recover(shell: &Shell<'_>, action: &Action, kernel: &Kernel, version: &str) -> Result<()> {
    let configured = shell.sh("dpkg --configure -a")?;
    if configured.status != 0 {
        // This holds for any package: if dpkg is killed while it replaces files, it does not know which of them are
        // present, and requires the package to be unpacked again.
        configured.must_say("reinstall it before attempting configuration")?;
    }
    shell.apt(&["-f", "install"])?.demand(0)?;
    shell.apt(action.arguments)?.demand(0)?;
    shell.healthy()?;
    (action.outcome)(shell, kernel, version)
}

fn killed_three_times(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let (start, version) = before(site, &INSTALL, kernel)?;
    for moment in ["Unpacking knem2-dkms", "knem: building for kernel", "Installing /lib/modules/"] {
        let machine = start.branch()?;
        machine.inside(|shell| {
            shell.note(&format!("killed at: {moment}"))?;
            shell.killed_when(shell.apt_command(INSTALL.arguments), |said| said.contains(moment))?;
            recover(shell, &INSTALL, kernel, &version)
        })?;
    }
    Ok(())
}

/// The moment is too short to be hit by a kill reliably, so that its result is created.
fn killed_before_noting(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let version = site.version();
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        let stopped = format!("rm /var/lib/dkms/knem/kernel-{}-x86_64", kernel.release);
        shell.install_knem_and_witness()?;
        shell.output(&stopped)?;
        shell.sh(&format!("dkms autoinstall -k {}", kernel.release))?.demand(0)?;
        shell.demand_module(&kernel.release, version)?;
        shell.output(&stopped)?;
        shell.note("what dpkg --configure runs")?;
        shell.sh(&format!("sh /usr/src/knem-{version}/package.sh installed"))?.demand(0)?;
        (INSTALL.outcome)(shell, kernel, version)?;
        shell.output(&stopped)?;
        shell.apt(PURGE.arguments)?.demand(0)?;
        shell.healthy()?;
        (PURGE.outcome)(shell, kernel, version)
    })
}

/// Kills the action at `count` moments, spread over the time that it takes without a kill.
fn spread(site: &Site, action: &Action, count: u32) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let (start, version) = before(site, action, kernel)?;
    let time = start.branch()?.inside(|shell| {
        let begin = Instant::now();
        shell.apt(action.arguments)?.demand(0)?;
        let time = begin.elapsed();
        shell.healthy()?;
        (action.outcome)(shell, kernel, &version)?;
        Ok(time)
    })?;
    let mut too_late = 0;
    for moment in 0..count {
        let machine = start.branch()?;
        machine.inside(|shell| {
            let after = time * (2 * moment + 1) / (2 * count);
            if let Killed::TooLate(said) = shell.killed_after(shell.apt_command(action.arguments), after)? {
                said.demand(0)?;
                too_late += 1;
            }
            recover(shell, action, kernel, &version)
        })?;
    }
    // The time varies; but if the action had mostly ended by then, nothing was shown.
    if too_late > count / 3 {
        bail!("{too_late} of {count} times it had ended before it was killed");
    }
    Ok(())
}

fn making_killed(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.with_rust(kernel)?)?;
    machine.inside(|shell| {
        let half = shell.path(format!("{METADATA}/.new-{}/out/rust", kernel.release));
        shell.killed_when(shell.apt_command(INSTALL.arguments), |_| half.join("libcore.rmeta").is_file())?;
        if !half.is_dir() || shell.has(&format!("{METADATA}/{}", kernel.release)) {
            bail!("it was not half-made when it was killed");
        }
        shell.note("killed half-way; and once more, as early as can be")?;
        std::thread::sleep(Duration::from_millis(100));
        shell
            .killed_when(shell.sh_command("dpkg --configure -a"), |_| half.parent().is_some_and(|out| !out.is_dir()))?;
        recover(shell, &INSTALL, kernel, site.version())?;
        shell.sh(&format!("ls -A /{METADATA}"))?.demand(0)?.must_not_say(".new-")?;
        Ok(())
    })
}
