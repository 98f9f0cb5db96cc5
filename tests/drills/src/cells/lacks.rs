// SPDX-License-Identifier: CECILL-B
//! A requirement of the build is missing or wrong. If it is one of the kernel crate, the module is built with the
//! prebuilt object, and a sentence explains why. If every build requires it, the kernel is skipped with a sentence, and
//! nothing else fails.

use std::fs;
use std::process::Command;

use anyhow::{bail, Context, Result};
use knem_lab::namespace::{directory, Mount};
use knem_lab::run;
use nix::mount::MsFlags;

use super::kernels::{arrives_with_source, source};
use crate::drill::Drill;
use crate::machine::Machine;
use crate::memory::Bound;
use crate::recipe;
use crate::shell::{Shell, METADATA, WITNESS};
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "D6",
        name: "shipped-metadata",
        claim: "headers that include Rust metadata: built on the crate without source and bindgen, and no metadata is generated",
        fast: false,
        run: shipped_metadata,
    },
    Drill {
        id: "D7",
        name: "crate-lacks",
        claim: "no rustc, rust-src, bindgen or linux-source: built with the object, and each is named; with all, metadata is generated",
        fast: false,
        run: crate_lacks,
    },
    Drill {
        id: "D7",
        name: "crate-by-hand",
        claim: "the commands in admin.md, beside the source of another series: the module is built on the kernel crate",
        fast: false,
        run: crate_by_hand,
    },
    Drill {
        id: "D7",
        name: "forced-ways",
        claim: "KNEM_RUST= and a newest or oldest kernel in /etc/dkms/knem.conf: built so, or skipped with the setting named",
        fast: false,
        run: forced_ways,
    },
    Drill {
        id: "D8",
        name: "rustup-in-path",
        claim: "another rustc first in PATH, such as rustup's, changes nothing",
        fast: false,
        run: rustup_in_path,
    },
    Drill {
        id: "D8",
        name: "compiler-upgraded",
        claim: "rustc is upgraded: the module stays, the next kernel gets the object; RUSTC= names the right one, and a rebuild uses it",
        fast: false,
        run: compiler_upgraded,
    },
    Drill {
        id: "D9",
        name: "compiler-arrives",
        claim: "no C compiler: skipped with a message; when gcc is installed, a trigger builds",
        fast: false,
        run: compiler_arrives,
    },
    Drill {
        id: "D10",
        name: "disk-full",
        claim: "/var is full: without room for metadata, the object is used; without room for that, a message says so; with room it builds",
        fast: false,
        run: disk_full,
    },
    Drill {
        id: "D10",
        name: "tmp-full",
        claim: "/tmp is full, so that dkms add fails: a message says so, and the next trigger repairs it",
        fast: false,
        run: tmp_full,
    },
    Drill {
        id: "D10",
        name: "noexec-var",
        claim: "/var and /tmp are noexec: the object is used and KNEM_METADATA= named; with that, the crate is used",
        fast: false,
        run: noexec_var,
    },
    Drill {
        id: "D11",
        name: "little-memory",
        claim: "512 MiB are enough with the object; if generating metadata needs more and is killed, the object is used too",
        fast: false,
        run: little_memory,
    },
];

fn shipped_metadata(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.with_rust(kernel)?)?;
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
        shell.demand_built(&kernel.release, "kernel: metadata shipped with the kernel headers")?;
        if shell.has(&format!("{METADATA}/{}", kernel.release)) {
            bail!("metadata was made although the headers have it");
        }
        Ok(())
    })?;
    machine.boot_with_driver(kernel, site.version())
}

fn crate_lacks(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::above(site, &site.with_rust(kernel)?)?;
    machine.inside(|shell| {
        let source = source(kernel)?;
        let lacks = [
            (name(source), "linux-source-7.2 is not installed", source.as_str()),
            ("rustc", "rustc is not installed", "rustc"),
            ("rust-src", "rust-src is not installed", "rust-src"),
            ("bindgen", "bindgen is not installed", "bindgen"),
        ];
        shell.apt(&["purge", name(source), "rustc", "rust-src", "bindgen"])?.demand(0)?;
        let mut said = shell.install_knem_and_witness()?;
        // One missing requirement at a time is reported; a module that works is not built again because one of them is
        // installed.
        for (package, lack, install) in lacks {
            shell.note(&format!("without {package}"))?;
            said.must_say(&format!("with the prebuilt object: {lack}"))?;
            shell.demand_built(&kernel.release, &format!("object: {lack}"))?;
            shell.install(&[install])?.must_not_say("knem: ")?;
            shell.healthy()?;
            shell.demand_built(&kernel.release, &format!("object: {lack}"))?;
            said = shell.rebuild(&kernel.release)?;
        }
        shell.demand_built(&kernel.release, "kernel: metadata made from linux-source-7.2")?;
        if !shell.has(&format!("{METADATA}/{}/stamp", kernel.release)) {
            bail!("the metadata was not made here");
        }
        Ok(())
    })
}

fn crate_by_hand(site: &Site) -> Result<()> {
    let (kernel, other) = (site.kernel("7.3")?, site.kernel("7.2")?);
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.install(&[source(other)?, "knem-dkms", "knem-tools"])?;
        shell.demand_built(&kernel.release, "object: linux-source-7.3 is not installed")?;
        recipe::configure_apt(shell)?;
        shell.output("echo 'APT::Get::Assume-Yes \"true\";' >>/etc/apt/apt.conf.d/99drill")?;
        let version = source(kernel)?.split('=').nth(1).context("a source has a version")?;
        let commands = recipe::read(site, "crate", "")?.replace("KERNEL", &kernel.release).replace("VERSION", version);
        shell.sh(&commands)?.demand(0)?;
        shell.healthy()?;
        shell.demand_built(&kernel.release, "kernel: metadata made from linux-source-7.3")
    })
}

/// The site's settings.
const SETTINGS: &str = "etc/dkms/knem.conf";

fn forced_ways(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let release = &kernel.release;
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| {
        let set = |way: &str| shell.write(SETTINGS, &format!("KNEM_RUST={way}\n"));
        let skipped = |why: &str| -> Result<()> {
            shell.sh(&format!("dkms unbuild knem/{} -k {release}", site.version()))?;
            let said = shell.sh(&format!("dkms autoinstall -k {release}"))?;
            said.demand(0)?.must_say(&format!("knem: not built for kernel {release}: {why}"))?;
            shell.demand_no_module(release)?;
            shell.apt(&["install", "--reinstall", "knem2-dkms"])?.demand(0)?;
            shell.healthy()?;
            shell.demand_no_module(release)
        };
        // DKMS before 3.1 does not know the setting; the other one would cancel the exclusion.
        shell.write(SETTINGS, "BUILD_EXCLUSIVE_KERNEL_MAX=6.11\nBUILD_EXCLUSIVE_KERNEL=\"\"\n")?;
        skipped(&format!("BUILD_EXCLUSIVE_KERNEL_MAX=6.11 is set in /{SETTINGS}, and this kernel is newer"))?;
        shell.sh(&format!("dkms install knem/{} -k {release}", site.version()))?.demand(77)?;
        shell.write(SETTINGS, "BUILD_EXCLUSIVE_KERNEL_MIN=6.13\n")?;
        skipped(&format!("BUILD_EXCLUSIVE_KERNEL_MIN=6.13 is set in /{SETTINGS}, and this kernel is older"))?;
        set("kernel")?;
        skipped(&format!("KNEM_RUST=kernel is set in /{SETTINGS}: kernel built without CONFIG_RUST"))?;
        set("nonsense")?;
        skipped(&format!(
            "KNEM_RUST=nonsense is set in /{SETTINGS}, and kernel, object and compile are what there is"
        ))?;
        set("compile")?;
        skipped(&format!("KNEM_RUST=compile is set in /{SETTINGS}, and /usr/bin/rustc is not here"))?;
        shell.install(&["rustc", "rust-src"])?;
        shell.sh(&format!("dkms autoinstall -k {release}"))?.demand(0)?;
        shell.demand_built(release, &format!("object: compiled here, same bytes as shipped: set in /{SETTINGS}"))?;
        set("object")?;
        shell.rebuild(release)?;
        shell.demand_built(release, &format!("object: set in /{SETTINGS}"))
    })
}

/// A program that pretends to be another compiler, and compiles nothing.
const OTHER_COMPILER: &str = "#!/bin/sh\n\
    case $1 in --version | -V) echo 'rustc 1.99.0 (0123456789 2026-11-01)'; exit 0 ;; esac\n\
    echo 'this compiler is not to be used' >&2; exit 1\n";

fn rustup_in_path(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let machine = Machine::with_rust(site, kernel)?;
    machine.inside(|shell| {
        for program in ["rustc", "cargo", "bindgen"] {
            shell.write(&format!("root/.cargo/bin/{program}"), OTHER_COMPILER)?;
        }
        shell.output("chmod 755 /root/.cargo/bin/*")?;
        let path = "/root/.cargo/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let environment = [("PATH", path), ("RUSTUP_TOOLCHAIN", "nightly"), ("RUSTC", "/root/.cargo/bin/rustc")];
        let said = shell
            .apt_with(&environment, &["install", "--no-install-recommends", "knem2-dkms", "knem-tools", WITNESS])?;
        said.demand(0)?.must_not_say("not to be used")?;
        shell.healthy()?;
        shell.demand_built(&kernel.release, "kernel: ")
    })
}

fn compiler_upgraded(site: &Site) -> Result<()> {
    let (old, new) = (site.kernel("7.2")?, site.kernel("7.3")?);
    let machine = Machine::with_rust(site, old)?;
    machine.inside(|shell| {
        shell.install_knem()?;
        shell.output("dpkg-divert --local --rename --add /usr/bin/rustc")?;
        shell.write("usr/bin/rustc", OTHER_COMPILER)?;
        shell.output("chmod 755 /usr/bin/rustc")?;

        let said = arrives_with_source(shell, new)?;
        said.must_say("rustc 1.99.0")?.must_say("rustc 1.85.1")?;
        shell.healthy()?;
        shell.demand_built(&new.release, "object: kernel built with rustc 1.85.1")?;
        shell.demand_built(&old.release, "kernel: ")?;

        shell.note("the right compiler comes back, in a place that the site names")?;
        shell.output("cp -a /usr/bin/rustc.distrib /usr/bin/rustc-1.85.1-kept")?;
        shell.write(SETTINGS, "RUSTC=/usr/bin/rustc-1.85.1-kept\n")?;
        shell.rebuild(&new.release)?;
        shell.demand_built(&new.release, "kernel: ")
    })
}

fn compiler_arrives(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        let compiler = shell.output("command -v x86_64-linux-gnu-gcc-14")?;
        shell.output(&format!("mv {compiler} {compiler}.away"))?;
        let said = shell.install_knem_and_witness()?;
        said.must_say(&format!("knem: not built for kernel {}: there is no C compiler: ", kernel.release))?;
        said.must_say("nor gcc is installed; apt install gcc")?;
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell.output(&format!("mv {compiler}.away {compiler}"))?;
        shell.apt(&["install", "--reinstall", "gcc"])?.demand(0)?.must_say("Processing triggers for knem2-dkms")?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
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
    let machine = Machine::above(site, &site.with_rust(kernel)?)?;
    machine.inside(|shell| {
        let full = small(shell, "var/cache/knem", "50m")?;
        shell.install_knem_and_witness()?;
        shell.healthy()?;
        shell.demand_built(&kernel.release, "object: Rust metadata needs ")?;
        drop(full);
        shell.show_metadata(kernel)?;
        shell.rebuild(&kernel.release)?;
        shell.demand_built(&kernel.release, "kernel: ")
    })?;
    drop(machine);

    // Without space where the driver is built, the kernel is skipped. Without space where DKMS copies to before it
    // calls the driver's script, the build fails, but only for this package.
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
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
            shell.apt(&["install", "--reinstall", "knem2-dkms"])?.demand(0)?;
            shell.healthy()?;
            shell.demand_module(&kernel.release, site.version())?;
            Ok(())
        })?;
    }
    Ok(())
}

fn noexec_var(site: &Site) -> Result<()> {
    let kernel = site.kernel("7.2")?;
    let release = &kernel.release;
    let machine = Machine::with_rust(site, kernel)?;
    machine.inside(|shell| {
        // Not all of /var: dpkg executes its packages' scripts there.
        let _mounts = ["var/cache", "var/lib/dkms", "tmp"]
            .iter()
            .map(|at| {
                directory(&shell.path(at))?;
                Mount::noexec(&shell.path(at))
            })
            .collect::<Result<Vec<Mount>>>()?;
        shell.sh("cp /bin/true /var/cache/true && /var/cache/true")?.demand(126)?;
        let lack = format!("nothing below /{METADATA} may be executed (mounted noexec)");
        let said = shell.install_knem_and_witness()?;
        said.must_say(&format!("with the prebuilt object: {lack}"))?.must_not_say("error")?;
        shell.healthy()?;
        shell.demand_built(release, &format!("object: {lack}"))?;

        shell.note("the site insists on the crate, or on compiling the object")?;
        for (way, why) in
            [("kernel", &*lack), ("compile", "nothing below /tmp and /var/cache/knem/build may be executed")]
        {
            shell.write(SETTINGS, &format!("KNEM_RUST={way}\n"))?;
            let why =
                format!("KNEM_RUST={way} is set in /{SETTINGS}{} {why}", if way == "kernel" { ":" } else { ", and" });
            shell.sh(&format!("dkms remove knem/{} -k {release}", site.version()))?;
            let said = shell.apt(&["install", "--reinstall", "knem2-dkms"])?;
            said.demand(0)?.must_say(&format!("knem: not built for kernel {release}: {why}"))?;
            shell.healthy()?;
            shell.demand_no_module(release)?;
            shell.way(release)?.demand(77)?.must_say(&why)?;
        }

        shell.note("as the sentence says: another directory")?;
        shell.output(&format!("mkdir /opt/knem && cp -a /{METADATA} /opt/knem/"))?;
        shell.write(SETTINGS, "KNEM_METADATA=/opt/knem/rust-metadata\n")?;
        shell.rebuild(release)?;
        shell.demand_built(release, "kernel: metadata made from linux-source-7.2")?;
        shell.output("chmod 777 /opt/knem/rust-metadata")?;
        shell.rebuild(release)?;
        shell
            .demand_built(release, "object: /opt/knem/rust-metadata belongs to another user, or others may write to it")
    })
}

/// `linux-source-7.2` of `linux-source-7.2=7.2.12-1`.
pub(crate) fn name(package: &str) -> &str {
    package.split('=').next().unwrap_or(package)
}

fn tmp_full(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        let full = small(shell, "tmp", "300m")?;
        // Not before: apt itself needs space there.
        let fill = "DPkg::Pre-Invoke::=head -c 400M /dev/zero >/tmp/full 2>/dev/null || true";
        let said = shell.install(&["-o", fill, "knem-dkms", "knem-tools", WITNESS])?;
        let remedy = format!("dkms add knem/{}, then dkms autoinstall", site.version());
        said.must_say("knem: DKMS does not know the module")?.must_say(&remedy)?;
        shell.way(&kernel.release)?.must_say(&format!("{remedy} -k {}", kernel.release))?;
        drop(full);
        shell.healthy()?;
        shell.demand_no_module(&kernel.release)?;
        shell.apt(&["install", "--reinstall", "gcc"])?.demand(0)?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.way(&kernel.release)?.must_not_say("DKMS does not know")?;
        Ok(())
    })
}

fn little_memory(site: &Site) -> Result<()> {
    let (plain, rust) = (site.kernel("6.12")?, site.kernel("7.2")?);
    for (kernel, stack) in [(plain, site.with_kernel(plain)?), (rust, site.with_rust(rust)?)] {
        Machine::above(site, &stack)?.inside(|shell| {
            let memory = Bound::new(512)?;
            let arguments = ["install", "--no-install-recommends", "knem2-dkms", "knem-tools", WITNESS];
            shell.bound(&shell.apt_command(&arguments), &memory)?.demand(0)?;
            shell.healthy()?;
            let module = shell.demand_module(&kernel.release, site.version())?;
            shell.note(&format!("{} processes were killed for want of memory", memory.kills()?))?;
            if memory.kills()? > 0 && !module.rust.starts_with("object: building on the kernel crate failed") {
                bail!("something was killed for want of memory, and the module says `{}`", module.rust);
            }
            Ok(())
        })?;
    }
    Ok(())
}
