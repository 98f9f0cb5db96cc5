// SPDX-License-Identifier: CECILL-B
//! Something is missing or wrong that building takes: the kernel is skipped with a sentence, nothing else suffers, and when what was
//! missing comes, the module is built without further ado.

use std::fs;
use std::process::Command;

use anyhow::{bail, Result};
use nix::mount::MsFlags;
use xtask::namespace::{directory, Mount};
use xtask::run;

use super::kernels::{arrives, source};
use crate::drill::Drill;
use crate::machine::Machine;
use crate::memory::Bound;
use crate::said::Said;
use crate::shell::{Shell, METADATA, WITNESS};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D6",
        name: "shipped-metadata",
        claim: "headers that bring their Rust metadata: built without source and bindgen, and nothing is made",
        fast: false,
        run: shipped_metadata,
    },
    Drill {
        id: "D7",
        name: "no-source",
        claim: "no linux-source: a sentence with the command that mends it; that command given, a trigger builds",
        fast: true,
        run: no_source,
    },
    Drill {
        id: "D8",
        name: "rustup-in-path",
        claim: "another rustc first in PATH, as rustup's, changes nothing",
        fast: false,
        run: rustup_in_path,
    },
    Drill {
        id: "D8",
        name: "compiler-upgraded",
        claim: "rustc is upgraded after a good build: that module stays, the next kernel is skipped with a sentence",
        fast: false,
        run: compiler_upgraded,
    },
    Drill {
        id: "D8",
        name: "compiler-arrives",
        claim: "no compiler: a sentence; when the package rustc comes, a trigger builds",
        fast: false,
        run: compiler_arrives,
    },
    Drill {
        id: "D9",
        name: "no-bindgen",
        claim:
            "no bindgen and no rust-src: a sentence for each; with the last one, metadata is made and the module built",
        fast: false,
        run: no_bindgen,
    },
    Drill {
        id: "D10",
        name: "disk-full",
        claim: "/var is full, foreseen or in the midst of it: apt succeeds, a sentence says so; with room it builds",
        fast: false,
        run: disk_full,
    },
    Drill {
        id: "D11",
        name: "little-memory",
        claim: "512 MiB build the module where the metadata is there; making that takes more, and its end is a skipped kernel",
        fast: false,
        run: little_memory,
    },
];

/// The sentence that DKMS's output has for a skipped kernel.
fn skipped(said: &Said, release: &str) -> Result<()> {
    said.must_say(&format!("knem: not built for kernel {release}: ")).map(|_| ())
}

fn shipped_metadata(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::without_metadata(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        // As a distribution would ship it.
        let made = site.metadata(kernel)?.join(&kernel.release);
        let headers = shell.path(format!("usr/src/linux-headers-{}", kernel.release));
        run::quiet(Command::new("cp").args(["-a", "-T"]).arg(made.join("out/rust")).arg(headers.join("rust")))?;
        let target = made.join("src/scripts/target.json");
        if target.is_file() {
            let scripts = fs::canonicalize(headers.join("scripts")).unwrap_or_else(|_| headers.join("scripts"));
            fs::copy(target, scripts.join("target.json"))?;
        }
        shell.apt(&["purge", "bindgen", name(source(kernel)?)])?.demand(0)?;
        shell.install_knem_and_witness()?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.rust_check(&kernel.release)?.demand(0)?.must_say("Rust metadata shipped")?;
        if shell.has(&format!("{METADATA}/{}", kernel.release)) {
            bail!("metadata was made although the headers have it");
        }
        Ok(())
    })?;
    machine.boot_with_driver(kernel, site.version())
}

fn no_source(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::without_metadata(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.apt(&["purge", name(source(kernel)?)])?.demand(0)?;
        let said = shell.install_knem_and_witness()?;
        skipped(&said, &kernel.release)?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell.rust_check(&kernel.release)?.demand(77)?.must_say("linux-source-7.2")?;
        // With the metadata there, it would not be asked for.
        shell.note("the advice is followed")?;
        let advice = Shell::advice(&said)?;
        let wanted = source(kernel)?;
        if !advice.split_whitespace().any(|word| word == wanted) {
            bail!("the advice is `{advice}` and does not name {wanted}");
        }
        shell.show_metadata(kernel)?;
        let said = shell.follow_advice(&said)?;
        said.must_say("Processing triggers for knem-dkms")?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })
}

/// A program that says it is another compiler, and compiles nothing.
const OTHER_COMPILER: &str = "#!/bin/sh\n\
    case $1 in --version | -V) echo 'rustc 1.99.0 (0123456789 2026-11-01)'; exit 0 ;; esac\n\
    echo 'this compiler is not to be used' >&2; exit 1\n";

fn rustup_in_path(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        for program in ["rustc", "cargo", "bindgen"] {
            shell.write(&format!("root/.cargo/bin/{program}"), OTHER_COMPILER)?;
        }
        shell.output("chmod 755 /root/.cargo/bin/*")?;
        let path = "/root/.cargo/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let environment = [("PATH", path), ("RUSTUP_TOOLCHAIN", "nightly"), ("RUSTC", "/root/.cargo/bin/rustc")];
        let said = shell
            .apt_with(&environment, &["install", "--no-install-recommends", "knem-dkms", "knem-tools", WITNESS])?;
        said.demand(0)?.must_not_say("not to be used")?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })
}

fn compiler_upgraded(site: &Site) -> Result<()> {
    let (old, new) = (site.kernel("7.2")?, site.kernel("7.3")?);
    let machine = Machine::above(site, &site.installed(old)?)?;
    machine.inside(|shell| {
        shell.output("dpkg-divert --local --rename --add /usr/bin/rustc")?;
        shell.write("usr/bin/rustc", OTHER_COMPILER)?;
        shell.output("chmod 755 /usr/bin/rustc")?;
        // What dpkg does when a package brings the file.
        shell.output("dpkg-trigger --no-await /usr/bin/rustc")?;
        shell.sh("dpkg --triggers-only --pending")?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&old.release, site.version())?;

        let said = arrives(shell, new)?;
        skipped(&said, &new.release)?;
        said.must_say("rustc 1.99.0")?.must_say("rustc 1.85.1")?;
        shell.healthy()?;
        shell.demand_no_module(&new.release)?;
        shell.demand_module(&old.release, site.version())?;

        shell.note("the right compiler comes back, at a place that the site names")?;
        shell.output("mkdir -p /opt/rust && cp -a /usr/bin/rustc.distrib /usr/bin/rustc-1.85.1-kept")?;
        shell.write("etc/dkms/knem.conf", "RUSTC=/usr/bin/rustc-1.85.1-kept\n")?;
        shell.sh(&format!("dkms autoinstall -k {}", new.release))?.demand(0)?;
        shell.demand_module(&new.release, site.version())?;
        Ok(())
    })?;
    machine.boot_with_driver(old, site.version())
}

fn compiler_arrives(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.apt(&["purge", "rustc"])?.demand(0)?;
        let said = shell.install_knem_and_witness()?;
        skipped(&said, &kernel.release)?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell.follow_advice(&said)?.must_say("Processing triggers for knem-dkms")?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })
}

fn no_bindgen(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::without_metadata(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.apt(&["purge", "bindgen", "rust-src"])?.demand(0)?;
        let first = shell.install_knem_and_witness()?;
        skipped(&first, &kernel.release)?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        // One lack at a time is told, so there are two steps.
        shell.follow_advice(&first)?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        let second = shell.sh(&format!("dkms autoinstall -k {}", kernel.release))?;
        second.demand(0)?;
        if Shell::advice(&first)? == Shell::advice(&second)? {
            bail!("the advice is still the same");
        }
        shell.follow_advice(&second)?.must_say("Processing triggers for knem-dkms")?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        if !shell.has(&format!("{METADATA}/{}/stamp", kernel.release)) {
            bail!("the metadata was not made here");
        }
        Ok(())
    })
}

/// Mounts a small file system in the tree.
fn small(shell: &Shell<'_>, at: &str, size: &str) -> Result<Mount> {
    let at = shell.path(at);
    directory(&at)?;
    Mount::special("tmpfs", &at, MsFlags::empty(), &format!("mode=755,size={size}"))
}

fn disk_full(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;

    let foreseen = machine.branch()?;
    foreseen.inside(|shell| {
        shell.output(&format!("rm -rf /{METADATA}"))?;
        let full = small(shell, "var/cache/knem", "50m")?;
        let said = shell.install_knem_and_witness()?;
        skipped(&said, &kernel.release)?;
        said.must_say("MiB below /var/cache")?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        drop(full);
        shell.show_metadata(kernel)?;
        shell.sh(&format!("dkms autoinstall -k {}", kernel.release))?.demand(0)?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })?;
    drop(foreseen);

    // Where we build, the kernel is skipped; where DKMS copies to before it asks us, it fails, and that stays within our package.
    let skipped = format!("knem: not built for kernel {}: the build failed", kernel.release);
    for (place, size, sentence) in [
        ("var/cache/knem/build", "400k", skipped.as_str()),
        ("var/lib/dkms", "300k", "knem: DKMS could not install the module for every kernel"),
    ] {
        let machine = machine.branch()?;
        machine.inside(|shell| {
            shell.note(&format!("/{place} has {size}"))?;
            let full = small(shell, place, size)?;
            let said = shell.install_knem_and_witness()?;
            said.must_say(sentence)?;
            shell.healthy()?;
            shell.demand_no_module(&kernel.release)?;
            drop(full);
            shell.apt(&["install", "--reinstall", "knem-dkms"])?.demand(0)?;
            shell.healthy()?;
            shell.demand_module(&kernel.release, site.version())?;
            Ok(())
        })?;
    }
    Ok(())
}

/// `linux-source-7.2` of `linux-source-7.2=7.2.12-1`.
pub(crate) fn name(package: &str) -> &str {
    package.split('=').next().unwrap_or(package)
}

fn little_memory(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let start = Machine::above(site, &site.with_kernel(kernel)?)?;
    let arguments = ["install", "--no-install-recommends", "knem-dkms", "knem-tools", WITNESS];

    start.branch()?.inside(|shell| {
        let memory = Bound::new(512)?;
        shell.bound(&shell.apt_command(&arguments), &memory)?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        if memory.kills()? > 0 {
            bail!("something was killed for want of memory");
        }
        Ok(())
    })?;

    start.branch()?.inside(|shell| {
        shell.output(&format!("rm -rf /{METADATA}"))?;
        let memory = Bound::new(512)?;
        let said = shell.bound(&shell.apt_command(&arguments), &memory)?;
        said.demand(0)?;
        shell.healthy()?;
        if shell.module(&kernel.release)?.is_some() {
            shell.note("512 MiB were enough for the metadata too")?;
            shell.demand_module(&kernel.release, site.version())?;
            return Ok(());
        }
        skipped(&said, &kernel.release)?;
        if memory.kills()? == 0 {
            bail!("it failed, and not for want of memory");
        }
        shell.note("with enough memory, the same command builds")?;
        shell.show_metadata(kernel)?;
        shell.sh(&format!("dkms autoinstall -k {}", kernel.release))?.demand(0)?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })
}
