// SPDX-License-Identifier: CECILL-B
//! Programs of the host, each with the Debian package that contains it. For a missing program the command that installs
//! it is printed; it is run only in CI and in tasks that include it ([`allow_installing`]).

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, Context, Result};
use nix::unistd::geteuid;

use crate::run;

/// Programs and the packages that contain them. A path stands for a file that is not a program.
const PACKAGES: &[(&str, &str)] = &[
    ("apt-ftparchive", "apt-utils"),
    ("ar", "binutils"),
    ("c++", "g++"),
    ("cargo-clippy", "rust-clippy"),
    ("cc", "gcc"),
    ("createrepo_c", "createrepo-c"),
    ("dpkg-deb", "dpkg"),
    ("dpkg-scanpackages", "dpkg-dev"),
    ("fakeroot", "fakeroot"),
    ("git", "git"),
    ("gpg", "gnupg"),
    ("gzip", "gzip"),
    ("i686-linux-gnu-gcc", "gcc-i686-linux-gnu"),
    ("lintian", "lintian"),
    ("make", "make"),
    ("mandoc", "mandoc"),
    ("mke2fs", "e2fsprogs"),
    ("mmdebstrap", "mmdebstrap"),
    ("nm", "binutils"),
    ("pkg-config", "pkgconf"),
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("reuse", "reuse"),
    ("rpmsign", "rpm"),
    ("rustfmt", "rustfmt"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("/usr/i686-linux-gnu/lib/libc.a", "libc6-dev-i386-cross"),
    (ARCHIVE_KEYS, "debian-archive-keyring"),
    (PROMETHEUS_CLIENT, "python3-prometheus-client"),
];

/// Prometheus' library for Python, by which tests read what `knem stat --prometheus` prints.
pub const PROMETHEUS_CLIENT: &str = "/usr/lib/python3/dist-packages/prometheus_client/parser.py";

/// The keys Debian signs its archive with.
pub const ARCHIVE_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// In the environment, "1": packages may be installed on this machine. For the programs that a task runs.
pub const INSTALL: &str = "KNEM_INSTALL";

static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Lets this process install packages on this machine: `make demo` and `make check` are documented to.
pub fn allow_installing() {
    ALLOWED.store(true, Ordering::Relaxed);
}

fn may_install(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name, value| variable(name).is_some_and(|set| set == value);
    ALLOWED.load(Ordering::Relaxed) || is(INSTALL, "1") || is("CI", "true")
}

fn environment(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Makes sure the named tools are there. Where it is allowed, installs their packages.
pub fn need(tools: &[&str]) -> Result<()> {
    let mut packages = BTreeSet::new();
    for tool in tools {
        if find(tool).is_none() {
            packages.insert(package_of(tool)?);
        }
    }
    if packages.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = packages.into_iter().collect();
    let command = format!("apt-get install {}", list.join(" "));
    if !may_install(environment) {
        bail!("missing on this machine: run `{command}`, or set {INSTALL}=1 to have it run");
    }
    install(&list).with_context(|| format!("missing on this machine: please run `{command}`"))?;
    for tool in tools {
        if find(tool).is_none() {
            bail!("`{tool}` is still missing after installing {}", package_of(tool)?);
        }
    }
    Ok(())
}

/// The tool's path, searched as a shell would, and in the administrator's directories too.
pub fn find(tool: &str) -> Option<PathBuf> {
    if tool.contains('/') {
        return Some(PathBuf::from(tool)).filter(|path| path.exists());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(tool))
        .find(|file| is_program(file))
}

/// A command for the tool at the path [`find`] gives.
pub fn command(tool: &str) -> Command {
    Command::new(find(tool).unwrap_or_else(|| PathBuf::from(tool)))
}

/// Fails with a remedy if the caller is not root. `what` names what needs root.
pub fn need_root(what: &str) -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    bail!("{what} needs root (mounts, chroot): run it with sudo, for instance `sudo -E env PATH=$PATH make demo`");
}

fn package_of(tool: &str) -> Result<&'static str> {
    PACKAGES
        .iter()
        .find(|(name, _)| *name == tool)
        .map(|(_, package)| *package)
        .with_context(|| format!("no package is known for `{tool}`: add it to lab/src/host.rs"))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Fetches the machine's package lists, which a fresh machine lacks. Where it is allowed, as in [`need`].
pub fn refresh_package_lists() -> Result<()> {
    if !may_install(environment) {
        bail!("this machine has no package lists: run `apt-get update`, or set {INSTALL}=1 to have it run");
    }
    run::step("fetching this machine's package lists");
    apt(&["update", "-q"]).context("the package lists cannot be fetched: please run `apt-get update`")
}

/// Installs packages; a second try after refreshing the lists.
fn install(packages: &[&str]) -> Result<()> {
    run::step(&format!("installing on this machine: {}", packages.join(" ")));
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    if apt(&arguments).is_ok() {
        return Ok(());
    }
    refresh_package_lists()?;
    apt(&arguments)
}

/// The machine's apt-get, as root or through sudo.
fn apt(arguments: &[&str]) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("there is no apt-get here");
    }
    let mut command = if geteuid().is_root() {
        Command::new("apt-get")
    } else if find("sudo").is_some() {
        let mut command = Command::new("sudo");
        // -n: never wait for a password, this may run unattended.
        command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    } else {
        bail!("not root, and there is no sudo");
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    run::quiet(command.args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_needs_nothing() {
        need(&["tar", "gzip"]).expect("both are essential in Debian");
    }

    #[test]
    fn packages_are_installed_only_where_it_was_asked_for() {
        let with = |name: &'static str, value: &'static str| {
            may_install(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(!with("HOME", "1") && !with("CI", "false") && !with(INSTALL, "0"));
        assert!(with("CI", "true") && with(INSTALL, "1"));
    }

    #[test]
    fn an_unknown_tool_is_a_bug_that_says_where() {
        let error = need(&["no-such-tool"]).expect_err("unknown").to_string();
        assert!(error.contains("host.rs"), "{error}");
    }
}
