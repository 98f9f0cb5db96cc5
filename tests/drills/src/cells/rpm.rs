// SPDX-License-Identifier: CECILL-B
//! The RPM packages, installed by dnf from a repository of `make repo` (crate::dnf documents the machine).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{bail, Context, Result};
use knem_lab::run;
use knem_packages::{self as packages, repo, Key};
use tempfile::TempDir;

use crate::dnf::{demand_installed, dnf, machine, offer, package};
use crate::drill::Drill;
use crate::machine::Machine;
use crate::shell::Shell;
use crate::site::Site;
use crate::snapshot::Snapshot;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "R1",
        name: "rpm-installed",
        claim: "dnf install knem installs knem2-dkms, the module is built, files, modes, owners and group are right, and it boots",
        fast: false,
        run: installed,
    },
    Drill {
        id: "R2",
        name: "rpm-up-and-down",
        claim: "dnf upgrades, downgrades and reinstalls: the module is always of the installed version, and the only one",
        fast: false,
        run: up_and_down,
    },
    Drill {
        id: "R3",
        name: "rpm-removed",
        claim: "dnf remove, also with the sources deleted, leaves only the group rdma and the records of rpm, dnf and DKMS",
        fast: false,
        run: removed,
    },
    Drill {
        id: "R4",
        name: "rpm-without-kernel",
        claim: "installed and removed in a tree without a kernel, as in an image build",
        fast: true,
        run: without_kernel,
    },
    Drill {
        id: "R5",
        name: "rpm-kernel-skipped",
        claim: "the site's setting is impossible for a kernel: dnf succeeds, a message says why",
        fast: false,
        run: kernel_skipped,
    },
    Drill {
        id: "R6",
        name: "rpm-headers-later",
        claim: "headers are installed later, by dnf: a file trigger builds the module at the end of that transaction",
        fast: false,
        run: headers_later,
    },
    Drill {
        id: "R7",
        name: "rpm-vendor-packages",
        claim: "a vendor's knem, knem-dkms and kmod-knem: no upgrade touches them, ours is installed beside them, and dependents of knem stay",
        fast: false,
        run: vendor,
    },
    Drill {
        id: "R8",
        name: "rpm-signed",
        claim: "dnf installs from a signed repository, and refuses unsigned, changed or re-indexed packages",
        fast: false,
        run: signed_rpm,
    },
    Drill {
        id: "R9",
        name: "apt-signed",
        claim: "apt installs from a signed repository, and refuses changed packages and lists",
        fast: false,
        run: signed_deb,
    },
];

/// Files that may differ after everything is removed, and why.
const ALLOWED: &[&str] = &[
    // The records of rpm and dnf.
    "var/lib/rpm/*",
    "var/lib/dnf/*",
    "var/cache/dnf/*",
    "var/log/*",
    "var/tmp/*",
    "var/cache/ldconfig/*",
    // DKMS's own: the key with which it signs all modules, and the directory that exists once it has built anything.
    "var/lib/dkms/mok.key",
    "var/lib/dkms/mok.pub",
    "var/lib/dkms/dkms_dbversion",
];

/// Returns this version's repository for dnf. It is built once, by the first drill that needs it.
pub(super) fn repository(site: &Site) -> Result<PathBuf> {
    static KNOWN: Mutex<Option<PathBuf>> = Mutex::new(None);
    once(&KNOWN, || packages::dnf_repository(&site.lab().workspace))
}

/// Returns the next version's repository.
fn next_repository(site: &Site) -> Result<PathBuf> {
    static KNOWN: Mutex<Option<PathBuf>> = Mutex::new(None);
    once(&KNOWN, || packages::next_dnf_repository(&site.lab().workspace))
}

fn once(known: &Mutex<Option<PathBuf>>, make: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
    let mut known = known.lock().ok().context("another drill panicked while it built packages")?;
    if known.is_none() {
        *known = Some(make()?);
    }
    known.clone().context("just made")
}

fn installed(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = machine(site, Some(kernel), &repository(site)?)?;
    machine.inside(|shell| {
        let said = dnf(shell, "install knem")?;
        said.demand(0)?.must_not_say("scriptlet failed")?;
        demand_installed(shell, site.version())?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.sh("getent group rdma")?.demand(0)?;
        for (path, what) in [
            ("/usr/bin/knem", "755 root root"),
            ("/usr/include/knem_io.h", "644 root root"),
            ("/usr/lib/udev/rules.d/60-knem.rules", "644 root root"),
            ("/etc/security/limits.d/20-knem.conf", "644 root root"),
            (&format!("/usr/src/knem-{}", site.version()), "755 root root"),
        ] {
            shell.sh(&format!("stat -c '%a %U %G' {path}"))?.demand(0)?.must_be(what)?;
        }
        // Each of them must belong to a package, above all the directory of the sources: what belongs to none is left
        // behind.
        shell
            .sh(&format!("find /usr/src/knem-{} /usr/share/licenses/knem* | xargs rpm -qf | sort -u", site.version()))?
            .demand(0)?
            .must_be(&format!("knem-tools-{0}-1.x86_64\nknem2-dkms-{0}-1.noarch", site.version()))?;
        shell.sh("rpm -qc knem-tools")?.must_be("/etc/security/limits.d/20-knem.conf")?;
        // dpkg is not involved.
        shell.healthy()
    })?;
    machine.boot_with_driver(kernel, site.version())
}

fn up_and_down(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let (this, next) = (repository(site)?, next_repository(site)?);
    let newer = site.next_version()?;
    let machine = machine(site, Some(kernel), &this)?;
    machine.inside(|shell| {
        let is = |version: &str| -> Result<()> {
            demand_installed(shell, version)?;
            shell.demand_module(&kernel.release, version)?;
            let status = shell.dkms_status()?;
            if status.trimmed().lines().count() != 1 {
                bail!("dkms knows more than one version: {}", status.trimmed());
            }
            Ok(())
        };
        dnf(shell, "install knem")?.demand(0)?;
        is(site.version())?;
        shell.write("etc/security/limits.d/20-knem.conf", "# the site's own\n")?;

        offer(shell, &next)?;
        dnf(shell, "upgrade")?.demand(0)?.must_not_say("scriptlet failed")?;
        // The administrator's file was kept; it is the only one that differs.
        shell.sh("cat /etc/security/limits.d/20-knem.conf")?.must_be("# the site's own")?;
        shell.sh("rpm -V knem-tools")?.demand(1)?.must_say("c /etc/security/limits.d/20-knem.conf")?;
        shell
            .sh("rm -f /etc/security/limits.d/20-knem.conf && dnf -y --releasever=1 reinstall knem-tools")?
            .demand(0)?;
        is(&newer)?;

        offer(shell, &this)?;
        dnf(shell, "downgrade knem-tools knem2-dkms")?.demand(0)?.must_not_say("scriptlet failed")?;
        is(site.version())?;
        // A reinstallation: the last files that the old package removes must not be the new one's.
        dnf(shell, "reinstall knem2-dkms")?.demand(0)?.must_not_say("scriptlet failed")?;
        is(site.version())
    })
}

fn removed(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = machine(site, Some(kernel), &repository(site)?)?;
    let seen = |machine: &Machine| machine.outside(Snapshot::of);
    let before = seen(&machine)?;
    machine.inside(|shell| {
        dnf(shell, "install knem")?.demand(0)?;
        shell.demand_module(&kernel.release, site.version())?;
        dnf(shell, "remove knem-tools knem2-dkms")?.demand(0)?.must_not_say("scriptlet failed")?;
        shell.demand_no_module(&kernel.release)?;
        if shell.has("var/cache/knem") {
            bail!("what was made for building is left");
        }
        Ok(())
    })?;
    before.demand_same(&seen(&machine)?, ALLOWED)?;
    machine.inside(|shell| {
        shell.note("once more, and the sources are deleted")?;
        dnf(shell, "install knem")?.demand(0)?;
        shell.output(&format!("rm -r /usr/src/knem-{}", site.version()))?;
        dnf(shell, "remove knem-tools knem2-dkms")?.demand(0)?.must_not_say("scriptlet failed")?;
        shell.demand_no_module(&kernel.release)?;
        shell.dkms_status()?.must_be("").map(|_| ())
    })?;
    before.demand_same(&seen(&machine)?, ALLOWED)
}

fn without_kernel(site: &Site) -> Result<()> {
    let machine = machine(site, None, &repository(site)?)?;
    machine.inside(|shell| {
        dnf(shell, "install knem")?.demand(0)?.must_not_say("scriptlet failed")?;
        demand_installed(shell, site.version())?;
        shell.dkms_status()?.must_be(&format!("knem/{}: added", site.version()))?;
        dnf(shell, "remove knem-tools knem2-dkms")?.demand(0)?.must_not_say("scriptlet failed")?;
        shell.sh("rpm -q knem-tools knem2-dkms")?.demand(2)?;
        shell.dkms_status()?.must_be("")?;
        if shell.has(&format!("usr/src/knem-{}", site.version())) || shell.has("var/cache/knem") {
            bail!("something of knem2-dkms is left after its removal");
        }
        Ok(())
    })
}

/// Headers that dnf installs later, in packages as Fedora has them, by their path.
fn headers_later(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = machine(site, Some(kernel), &repository(site)?)?;
    machine.inside(|shell| {
        let link = format!("/lib/modules/{}/build", kernel.release);
        let headers = shell.output(&format!("readlink -f {link} && mv {link} /opt/build"))?;
        let said = dnf(shell, "install knem")?;
        said.demand(0)?.must_not_say("scriptlet failed")?;
        demand_installed(shell, site.version())?;
        shell.demand_no_module(&kernel.release)?;
        build_package(
            shell,
            &format!(
                "Name: kernel-devel\nVersion: 6.12\nRelease: 1\nSummary: Headers\nLicense: GPL-2.0-only\nAutoReqProv: no\n\
                 BuildArch: noarch\n%description\nHeaders.\n%install\nmkdir -p %{{buildroot}}/usr/src/kernels/{0} %{{buildroot}}/lib/modules/{0}\n\
                 cp /etc/hostname %{{buildroot}}/usr/src/kernels/{0}/\nln -s {headers} %{{buildroot}}{link}\n\
                 %files\n/usr/src/kernels/{0}\n{link}\n",
                kernel.release
            ),
        )?;
        let said = dnf(shell, "install /opt/built/noarch/kernel-devel-6.12-1.noarch.rpm")?;
        said.demand(0)?.must_not_say("scriptlet failed")?;
        shell.demand_built(&kernel.release, "object: kernel built without CONFIG_RUST")?;
        // An unrelated package triggers nothing.
        build_package(
            shell,
            "Name: other\nVersion: 1\nRelease: 1\nSummary: Another\nLicense: MIT\nBuildArch: noarch\n\
             %description\nAnother.\n%install\ninstall -D -m 644 /etc/hostname %{buildroot}/opt/other\n%files\n/opt/other\n",
        )?;
        let said = dnf(shell, "install /opt/built/noarch/other-1-1.noarch.rpm")?;
        said.demand(0)?.must_not_say("knem")?;
        Ok(())
    })
}

fn kernel_skipped(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = machine(site, Some(kernel), &repository(site)?)?;
    machine.inside(|shell| {
        shell.write("etc/dkms/knem.conf", "KNEM_RUST=kernel\n")?;
        let said = dnf(shell, "install knem")?;
        said.demand(0)?.must_not_say("scriptlet failed")?;
        said.must_say(&format!("knem: not built for kernel {}: KNEM_RUST=kernel is set in ", kernel.release))?;
        demand_installed(shell, site.version())?;
        shell.demand_no_module(&kernel.release)
    })
}

fn vendor(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = machine(site, Some(kernel), &repository(site)?)?;
    machine.inside(|shell| {
        let place = format!("/lib/modules/{}/extra/knem/knem.ko", kernel.release);
        let header = "/opt/knem-1.1.4.90mlnx3/include/knem_io.h";
        let tree = "/usr/src/knem-1.1.4.90mlnx3";
        let sources = &*format!("{tree}/knem.c");
        for (name, file, owned) in
            [("knem", header, header), ("knem-dkms", sources, tree), ("kmod-knem", place.as_str(), place.as_str())]
        {
            build_package(
                shell,
                &format!(
                    "Name: {name}\nVersion: 1.1.4.90mlnx3\nRelease: OFED.23.10\nSummary: The vendor's\nLicense: BSD\n\
                     AutoReqProv: no\n%description\nThe vendor's.\n%install\ninstall -D -m 644 /etc/hostname %{{buildroot}}{file}\n\
                     %files\n{owned}\n"
                ),
            )?;
        }
        build_package(
            shell,
            "Name: mpi\nVersion: 1\nRelease: 1\nSummary: Needs it\nLicense: BSD\nRequires: knem\n%description\nNeeds it.\n%files\n",
        )?;
        dnf(shell, "install --disablerepo=knem /opt/built/*/*.rpm")?.demand(0)?;
        if !shell.has(place.trim_start_matches('/')) {
            bail!("the vendor's module is not there");
        }
        let kept = |when: &str| -> Result<()> {
            shell.sh("rpm -q knem knem-dkms kmod-knem mpi")?.demand(0)?.must_not_say(site.version())?;
            if [header, sources].iter().any(|file| !shell.has(file.trim_start_matches('/'))) {
                bail!("{when}: files of the vendor's are gone");
            }
            Ok(())
        };
        dnf(shell, "upgrade")?.demand(0)?.must_not_say("knem-")?;
        dnf(shell, "distro-sync")?.demand(0)?;
        kept("upgrade")?;
        if !shell.has(place.trim_start_matches('/')) {
            bail!("upgrade: the vendor's module is gone");
        }
        // A directory that rpm has not installed is not used either.
        shell.write("usr/src/knem-1.9/package.sh", "touch /opt/called\n")?;
        dnf(shell, "install knem2-dkms knem-tools")?.demand(0)?.must_not_say("scriptlet failed")?;
        kept("ours is installed")?;
        if shell.has("opt/called") {
            bail!("the scriptlet has run a program of another tree");
        }
        shell.output("rm -r /usr/src/knem-1.9")?;
        shell.demand_module(&kernel.release, site.version())?;
        dnf(shell, "remove --noautoremove knem knem-dkms kmod-knem")?.demand(0)?;
        shell.sh("rpm -q mpi")?.demand(0)?;
        demand_installed(shell, site.version())?;
        shell.demand_module(&kernel.release, site.version())?;
        Ok(())
    })
}

/// Builds a package from its description, into /opt/built.
pub(super) fn build_package(shell: &Shell<'_>, description: &str) -> Result<()> {
    shell.write("opt/package.spec", description)?;
    shell
        .sh("rpmbuild --quiet --define '_rpmdir /opt/built' --define 'debug_package %{nil}' \
             --define '__os_install_post %{nil}' -bb /opt/package.spec")?
        .demand(0)?;
    Ok(())
}

/// A key generated for the drill, in a keyring that is removed with it.
struct Keyring {
    home: TempDir,
    key: Key,
}

impl Keyring {
    fn fresh(site: &Site) -> Result<Self> {
        let home = site.lab().scratch("keyring")?;
        let who = "KNEM drill <drill@packages.invalid>";
        run::quiet(Command::new("gpg").env("GNUPGHOME", home.path()).args([
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-gen-key",
            who,
            "rsa3072",
            "sign",
            "never",
        ]))?;
        let key = Key::find_in(Some(home.path()), "drill@packages.invalid")?;
        Ok(Self { home, key })
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        // gpg leaves an agent behind. An error here does no harm: the agent exits when its directory is gone.
        let _ = run::quiet(Command::new("gpgconf").env("GNUPGHOME", self.home.path()).args(["--kill", "all"]));
    }
}

/// Returns the packages of a repository, without samples and indexes.
fn packages_in(repository: &Path, kind: &str) -> Result<Vec<PathBuf>> {
    let mut packages: Vec<PathBuf> = fs::read_dir(repository)?.flatten().map(|entry| entry.path()).collect();
    packages.retain(|path| path.extension().is_some_and(|extension| extension == kind));
    packages.sort();
    Ok(packages)
}

/// Changes a byte in the middle of a file.
fn damage(file: &Path) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).with_context(|| format!("{} is empty", file.display()))?;
    *byte ^= 1;
    Ok(fs::write(file, bytes)?)
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    run::quiet(Command::new("cp").args(["-r", "-T"]).arg(from).arg(to))
}

fn signed_rpm(site: &Site) -> Result<()> {
    const DATE: u64 = 1_700_000_000;
    let plain = repository(site)?;
    let keyring = Keyring::fresh(site)?;
    let scratch = site.lab().scratch("signed")?;
    let signed = scratch.path().join("signed");
    repo::dnf(&packages_in(&plain, "rpm")?, &signed, DATE, Some(&keyring.key))?;
    let machine = machine(site, None, &signed)?;

    // A package that was changed, and its repository's index with it; without the index's own signature there is only
    // the package's.
    let changed = scratch.path().join("changed");
    copied(&signed, &changed)?;
    damage(&package(&changed, "knem2-dkms")?)?;
    repo::index(&changed, DATE)?;
    let sample = fs::read_to_string(changed.join("knem.repo"))?;
    fs::write(changed.join("knem.repo"), sample.replace("repo_gpgcheck=1", "repo_gpgcheck=0"))?;
    // Unsigned packages, in a repository whose configuration requires signatures.
    let unsigned = scratch.path().join("unsigned");
    copied(&plain, &unsigned)?;
    fs::copy(changed.join("knem.repo"), unsigned.join("knem.repo"))?;
    fs::copy(signed.join("knem.asc"), unsigned.join("knem.asc"))?;
    // An index that was changed after it was signed.
    let listed = scratch.path().join("listed");
    copied(&signed, &listed)?;
    repo::index(&listed, DATE + 1)?;
    fs::copy(signed.join("repodata/repomd.xml.asc"), listed.join("repodata/repomd.xml.asc"))?;

    for (repository, words) in [(&changed, "GPG check FAILED"), (&unsigned, "is not signed"), (&listed, "repomd.xml")] {
        machine.inside(|shell| {
            offer(shell, repository)?;
            let said = dnf(shell, "install knem2-dkms")?;
            said.demand(1)?.must_say(words)?;
            shell.sh("rpm -q knem2-dkms")?.demand(1)?;
            Ok(())
        })?;
    }
    machine.inside(|shell| {
        offer(shell, &signed)?;
        dnf(shell, "install knem")?.demand(0)?;
        demand_installed(shell, site.version())?;
        shell.sh("rpm -qi knem2-dkms | grep ^Signature")?.must_say("RSA/SHA")?;
        Ok(())
    })
}

fn signed_deb(site: &Site) -> Result<()> {
    const DATE: u64 = 1_700_000_000;
    let keyring = Keyring::fresh(site)?;
    let scratch = site.lab().scratch("signed")?;
    let signed = scratch.path().join("signed");
    repo::apt(&site.packages().debs, &signed, DATE, Some(&keyring.key))?;
    let changed = scratch.path().join("changed");
    copied(&signed, &changed)?;
    damage(&package(&changed, "knem2-dkms")?)?;
    // Indexes that match the changed package, with the old signature.
    let listed = scratch.path().join("listed");
    repo::apt(&packages_in(&changed, "deb")?, &listed, DATE, None)?;
    for name in ["Release.gpg", "knem.asc", "knem.sources"] {
        fs::copy(signed.join(name), listed.join(name))?;
    }

    let stack = site.bare()?;
    let offered = |repository: &Path| -> Result<Machine> {
        let machine = Machine::above(site, &stack)?;
        machine.inside(|shell| {
            shell.output("rm /etc/apt/sources.list.d/knem.list")?;
            run::quiet(Command::new("cp").args(["-r", "-T"]).arg(repository).arg(shell.path("opt/knem-deb")))?;
            let sample = shell.read("opt/knem-deb/knem.sources")?;
            shell.write("etc/apt/sources.list.d/knem.sources", &sample.replace("@URL@", "file:/opt/knem-deb"))?;
            shell.write("etc/apt/keyrings/knem.asc", &shell.read("opt/knem-deb/knem.asc")?)
        })?;
        Ok(machine)
    };
    let update: &[&str] = &[
        "update",
        "-o",
        "Dir::Etc::SourceList=/etc/apt/sources.list.d/knem.sources",
        "-o",
        "Dir::Etc::SourceParts=-",
        "-o",
        "APT::Get::List-Cleanup=0",
    ];
    offered(&signed)?.inside(|shell| {
        shell.apt(update)?.demand(0)?.must_not_say("W:")?;
        shell.install_knem()?;
        shell.healthy()
    })?;
    offered(&changed)?.inside(|shell| {
        shell.apt(update)?.demand(0)?;
        let said = shell.apt(&["install", "--no-install-recommends", "knem2-dkms"])?;
        said.demand(100)?.must_say("Hash Sum mismatch")?;
        shell.sh("dpkg-query -W knem2-dkms")?.demand(1)?;
        Ok(())
    })?;
    offered(&listed)?.inside(|shell| {
        shell.apt(update)?.demand(100)?.must_say("knem-deb")?;
        let said = shell.apt(&["install", "--no-install-recommends", "knem2-dkms"])?;
        said.demand(100)?;
        Ok(())
    })
}
