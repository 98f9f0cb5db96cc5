// SPDX-License-Identifier: CECILL-B
//! A machine on which dnf installs packages: Debian's own rpm and dnf in a Debian tree, as there is no other archive
//! here.
//!
//! rpm does not know which packages dpkg has installed. A package without files, the bridge, declares them: it provides
//! each of Debian's packages by its name and version, the symbols of the C library as rpm itself reads them from the
//! files, and the shell. It replaces the distribution: the requirements of the packages are met if, and only if, they
//! are really installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use knem_lab::kernels::Kernel;
use knem_lab::run;

use crate::machine::Machine;
use crate::said::Said;
use crate::shell::Shell;
use crate::site::Site;

/// The tools, from Debian's archive.
const TOOLS: &[&str] = &["dnf", "gnupg", "rpm"];

/// Path of the repository in the tree.
const REPOSITORY: &str = "opt/knem-rpm";

/// dnf's own settings: the repository is read again each time.
const SETTINGS: &str =
    "[main]\nbest=True\nskip_if_unavailable=False\nmetadata_expire=0\nclean_requirements_on_remove=True\n";

/// Directories that every distribution with RPM has, as its packages filesystem, systemd and pkgconf own them.
const DIRECTORIES: &str =
    "/usr/lib/modules-load.d /usr/lib/systemd/system /usr/share/fish/vendor_completions.d /usr/share/licenses \
                           /usr/share/man/man4 /usr/share/pkgconfig";

/// Libraries that the packages' programs are linked with.
const LIBRARIES: &[&str] = &["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2"];

/// Writes the bridge's description: names and versions of Debian's packages in the form RPM has, epochs and revisions
/// left out.
const BRIDGE: &str = r#"
set -e
{
    printf 'Name: debian-bridge\nVersion: 1\nRelease: 1\nSummary: What dpkg has installed\nLicense: CECILL-B\nAutoReqProv: no\n'
    printf 'Provides: /bin/sh\nProvides: rtld(GNU_HASH)\n'
    printf '/usr/lib/x86_64-linux-gnu/%s\n' LIBRARIES | /usr/lib/rpm/find-provides | sed 's/^/Provides: /'
    dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n' |
        sed -n 's/^ii |//p' | sed -e 's/|[0-9]*:/|/' -e 's/-[^-|]*$//' | sort -u |
        while IFS='|' read -r name version; do
            echo "Provides: $name = $(echo "$version" | tr - .)"
        done
    printf '%%description\nStands for the distribution.\n%%files\n'
} >/opt/debian-bridge.spec
rpmbuild --quiet --define '_rpmdir /opt' -bb /opt/debian-bridge.spec
rpm -i /opt/*/debian-bridge-1-1.*.rpm
"#;

/// Creates a machine, with or without a kernel, whose dnf knows this version's packages.
///
/// # Errors
/// If it cannot be created.
pub fn machine(site: &Site, kernel: Option<&Kernel>, repository: &Path) -> Result<Machine> {
    let below = match kernel {
        Some(kernel) => site.with_kernel(kernel)?,
        None => site.bare()?,
    };
    let stack = site.lab().userlands().with_more(&below, "dnf", "dnf and rpm", TOOLS)?;
    let machine = Machine::above(site, &stack)?;
    machine.inside(|shell| {
        shell.write("etc/dnf/dnf.conf", SETTINGS)?;
        shell.output(&format!("mkdir -p {DIRECTORIES}"))?;
        shell.sh(&BRIDGE.replace("LIBRARIES", &LIBRARIES.join(" ")))?.demand(0)?;
        offer(shell, repository)
    })?;
    Ok(machine)
}

/// Configures a repository for dnf, as its own sample file does, and no other.
///
/// # Errors
/// If it cannot be copied.
pub fn offer(shell: &Shell<'_>, repository: &Path) -> Result<()> {
    let place = shell.path(REPOSITORY);
    run::quiet(Command::new("rm").arg("-rf").arg(&place))?;
    run::quiet(Command::new("cp").args(["-r", "-T"]).arg(repository).arg(&place))?;
    // dnf considers what it read within the same second as new, regardless of its settings.
    shell.output("rm -rf /var/cache/dnf/*")?;
    let sample = shell.read(&format!("{REPOSITORY}/knem.repo"))?;
    shell.write("etc/yum.repos.d/knem.repo", &sample.replace("@URL@", &format!("file:///{REPOSITORY}")))
}

/// Runs dnf; questions are answered with yes.
///
/// # Errors
/// If it cannot be started. The caller checks the exit status.
pub fn dnf(shell: &Shell<'_>, arguments: &str) -> Result<Said> {
    shell.sh(&format!("dnf -y --releasever=1 {arguments}"))
}

/// Fails unless both packages are installed, in this version, and rpm finds all their files as they were packed.
///
/// # Errors
/// If one of that does not hold.
pub fn demand_installed(shell: &Shell<'_>, version: &str) -> Result<()> {
    let said = shell.sh("rpm -q knem-tools knem2-dkms")?;
    said.demand(0)?.must_be(&format!("knem-tools-{version}-1.x86_64\nknem2-dkms-{version}-1.noarch"))?;
    shell.sh("rpm -V knem-tools knem2-dkms")?.demand(0)?.must_be("")?;
    let trees = shell.output("ls /usr/src | grep ^knem-")?;
    if trees != format!("knem-{version}") {
        bail!("the sources are of {trees}");
    }
    Ok(())
}

/// Returns the package of a repository whose name begins with `begin`.
///
/// # Errors
/// If there is none.
pub fn package(repository: &Path, begin: &str) -> Result<PathBuf> {
    let found = fs::read_dir(repository)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)));
    found.with_context(|| format!("{} has no package {begin}", repository.display()))
}
