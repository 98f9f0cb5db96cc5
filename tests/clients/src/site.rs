// SPDX-License-Identifier: CECILL-B
//! The trees in which clients run, and the machine that has them: Debian's packages of each distribution, the KNEM
//! header and pkg-config file, the plug-ins of knem-mpi-plugins, and the programs that compare.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Context, Result};
use knem_lab::cache::file_digest;
use knem_lab::chroot::Chroot;
use knem_lab::kernels::Kernel;
use knem_lab::lab::Lab;
use knem_lab::namespace::{directory, Mount};
use knem_lab::packages::Packages;
use knem_lab::run;
use knem_lab::userland::Stack;
use knem_lab::vm::image::Without;
use knem_lab::vm::Image;
use tempfile::TempDir;

/// Part of the cache keys: must be raised when the recipe of a tree changes.
const RECIPE: &str = "1";

/// A distribution's clients.
#[derive(Debug)]
struct Flavour {
    distribution: &'static str,
    packages: &'static [&'static str],
    /// The libraries whose plug-ins are built.
    plugins: &'static [&'static str],
    /// MPI libraries that the programs are compiled for, by the endings of their commands.
    libraries: &'static [&'static str],
    /// Whether it has the programs that need no MPI library.
    without_mpi: bool,
}

const FLAVOURS: [Flavour; 2] = [
    Flavour {
        distribution: "bookworm",
        packages: &["bubblewrap", "libmpich-dev", "libopenmpi-dev", "libucx-dev", "mpich", "openmpi-bin", "ucx-utils"],
        plugins: &["openmpi", "ucx"],
        libraries: &["openmpi", "mpich"],
        without_mpi: true,
    },
    Flavour {
        distribution: "trixie",
        packages: &["bubblewrap", "libopenmpi-dev", "openmpi-bin", "python3-mpi4py", "python3-numpy"],
        plugins: &["openmpi"],
        libraries: &["openmpi"],
        without_mpi: false,
    },
];

/// Programs in C for MPI libraries, and one that uses the driver as an old MPICH did.
const PROGRAMS: &str = "tests/clients/programs";
const NEMESIS: &str = "tests/clients/nemesis";

/// The packages for compilation in the trees.
const COMPILING: &[&str] = &["dpkg-dev", "gcc", "libc6-dev", "make", "pkgconf", "xz-utils"];

/// NetPIPE's sources in the archive's pool, and their digest in Debian's signed index of sources. Debian builds no
/// NPknem.
const NETPIPE: (&str, &str) = (
    "pool/main/n/netpipe/netpipe_3.7.2.orig.tar.gz",
    "13dac884ff52951636f651c421f5ff4a853218a95aa28a4a852402ee385a2ab8",
);

/// Files that are not needed at run time, and left out of the machine.
const LEFT_OUT: &[&str] = &[
    "./boot",
    "./usr/include",
    "./usr/lib/gcc",
    "./usr/lib/llvm-*",
    "./usr/lib/modules",
    "./usr/libexec/gcc",
    "./usr/share/doc",
    "./usr/share/locale",
    "./usr/share/man",
    "./usr/src",
    "./var/cache/apt",
    "./var/lib/apt",
];

/// Makes a tree the root of a program's mount namespace, and not only of its path names: user namespaces are refused in
/// a chroot.
const ENTER: &str = r#"#!/bin/sh
# enter-tree TREE PROGRAM [ARGUMENT]...
tree=$1
shift
exec unshare --mount sh -c '
    tree=$1
    shift
    mount --bind "$tree" "$tree"
    for name in dev proc sys tmp; do mount --rbind "/$name" "$tree/$name"; done
    cd "$tree" && pivot_root . mnt && umount -l /mnt && cd /tmp && exec "$@"
' sh "$tree" "$@"
"#;

/// The shared setup of all runs.
#[derive(Debug)]
pub struct Site {
    /// The laboratory.
    pub lab: Lab,
    packages: Packages,
}

impl Site {
    /// Reads the archive and builds the packages.
    ///
    /// # Errors
    /// If the archive cannot be read or the packages cannot be built.
    pub fn open() -> Result<Self> {
        let lab = Lab::open()?;
        let packages = knem_packages::apt_repository(&lab.workspace)?;
        Ok(Self { lab, packages })
    }

    /// Creates a machine with a kernel, the packages and all trees. It is removed with the directory.
    ///
    /// # Errors
    /// If any of it cannot be created.
    pub fn image(&self, kernel: &Kernel) -> Result<(Image, TempDir)> {
        let (below, installed) = self.lab.userlands().with_packages(kernel, &self.packages, None)?;
        installed.demand_module(&kernel.release)?;
        let stack = self.with_trees(&below, &format!("clients beside kernel {}", kernel.release))?;
        let place = self.lab.scratch("clients")?;
        let image = Image::once(&stack.paths(), kernel, place.path(), Without::Building)?;
        Ok((image, place))
    }

    /// Returns the packages.
    pub fn packages(&self) -> &Packages {
        &self.packages
    }

    /// Creates a userland with all trees below `/srv`.
    ///
    /// # Errors
    /// If a tree cannot be created.
    pub fn with_trees(&self, below: &Stack, what: &str) -> Result<Stack> {
        let trees = FLAVOURS.iter().map(|flavour| self.tree(flavour)).collect::<Result<Vec<_>>>()?;
        let mut key = vec![RECIPE, ENTER];
        key.extend(trees.iter().map(|tree| tree.key.as_str()));
        self.lab.userlands().filled(below, "clients", what, &key, |root, _| {
            for (flavour, tree) in FLAVOURS.iter().zip(&trees) {
                copy(&self.lab, tree, &root.join("srv").join(flavour.distribution))?;
            }
            executable(&root.join("usr/local/bin/enter-tree"), ENTER)
        })
    }

    /// Creates the tree of a distribution, with everything that it needs.
    fn tree(&self, flavour: &Flavour) -> Result<Stack> {
        let userlands = self.lab.userlands();
        let workspace = &self.lab.workspace;
        let mut packages = [COMPILING, flavour.packages].concat();
        packages.sort_unstable();
        let below = userlands.with_more(
            &userlands.base_of(flavour.distribution)?,
            "clients-packages",
            &format!("MPI libraries of {}", flavour.distribution),
            &packages,
        )?;
        let mut key = vec![RECIPE.to_owned(), format!("{flavour:?}"), NETPIPE.1.to_owned()];
        for path in ["include/knem_io.h", "include/knem.pc.in", "deploy/mpi/knem-mpi-plugins"] {
            key.push(file_digest(&workspace.file(path))?);
        }
        for directory in [PROGRAMS, NEMESIS] {
            let files = fs::read_dir(workspace.file(directory))?.map(|entry| entry.map(|entry| entry.path()));
            let mut files = files.collect::<std::io::Result<Vec<_>>>()?;
            files.sort();
            for path in &files {
                key.push(file_digest(path)?);
            }
        }
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let what = format!("clients of {} with KNEM", flavour.distribution);
        userlands.filled(&below, "clients-tree", &what, &key, |tree, chroot| {
            self.header(tree)?;
            plugins(tree, chroot, flavour, &workspace.file("deploy/mpi/knem-mpi-plugins"))?;
            checks(tree, chroot, flavour, &workspace.file(PROGRAMS))?;
            if flavour.without_mpi {
                nemesis(tree, chroot, &workspace.file(NEMESIS))?;
                netpipe(tree, chroot)?;
            }
            for (name, number) in [("alice", "1000"), ("bob", "1001")] {
                run::quiet(chroot.command("useradd").args(["--create-home", "--user-group", "--uid", number, name]))?;
            }
            Ok(())
        })
    }

    /// Installs the packages' files for compilation, and no others.
    fn header(&self, tree: &Path) -> Result<()> {
        let workspace = &self.lab.workspace;
        fs::copy(workspace.file("include/knem_io.h"), tree.join("usr/include/knem_io.h"))?;
        let text = fs::read_to_string(workspace.file("include/knem.pc.in"))?;
        let text = text.replace("@PREFIX@", "/usr").replace("@VERSION@", &workspace.version);
        let place = tree.join("usr/share/pkgconfig");
        directory(&place)?;
        Ok(fs::write(place.join("knem.pc"), text)?)
    }
}

/// Builds the plug-ins as a site does, from the sources of the distribution's packages. Once they are removed in
/// between.
fn plugins(tree: &Path, chroot: &Chroot, flavour: &Flavour, script: &Path) -> Result<()> {
    fs::copy(script, tree.join("usr/bin/knem-mpi-plugins")).context("cannot bring in knem-mpi-plugins")?;
    let (first, last) = (flavour.plugins.first().context("a flavour has plug-ins")?, flavour.plugins);
    run::quiet(chroot.command("knem-mpi-plugins").args(["--prefix", "/opt/try", first]))?;
    run::quiet(chroot.command("knem-mpi-plugins").args(["--prefix", "/opt/try", "--remove"]))?;
    for place in ["opt/try/bin", "opt/try/lib"] {
        if fs::read_dir(tree.join(place))?.next().is_some() {
            bail!("knem-mpi-plugins --remove leaves something in /{place}");
        }
    }
    run::run(chroot.command("knem-mpi-plugins").args(last))
}

/// Compiles the programs that compare, for each MPI library.
fn checks(tree: &Path, chroot: &Chroot, flavour: &Flavour, sources: &Path) -> Result<()> {
    run::quiet(Command::new("cp").args(["-r", "-T"]).arg(sources).arg(tree.join("opt/programs")))?;
    for library in flavour.libraries {
        let line = format!(
            "mpicc.{library} -std=gnu11 -Wall -Wextra -Werror -O2 -pthread -o /usr/bin/knem-mpi-check.{library} /opt/programs/*.c"
        );
        run::quiet(chroot.command("sh").args(["-c", &line]))?;
    }
    Ok(())
}

/// Compiles the stand-in for MPICH up to 3.3.
fn nemesis(tree: &Path, chroot: &Chroot, sources: &Path) -> Result<()> {
    run::quiet(Command::new("cp").args(["-r", "-T"]).arg(sources).arg(tree.join("opt/nemesis")))?;
    let line = "gcc -std=gnu11 -Wall -Wextra -Werror -O2 -o /usr/bin/knem-nemesis /opt/nemesis/nemesis.c";
    run::quiet(chroot.command("sh").args(["-c", line]))
}

/// Builds NetPIPE for KNEM from the archive's tarball.
fn netpipe(tree: &Path, chroot: &Chroot) -> Result<()> {
    let sources = fs::read_to_string(tree.join("etc/apt/sources.list"))?;
    let mirror = sources
        .split_whitespace()
        .find(|word| word.starts_with("http"))
        .context("the tree's sources.list has no mirror")?;
    let url = format!("{}/{}", mirror.trim_end_matches('/'), NETPIPE.0);
    let digest = format!("SHA256:{}", NETPIPE.1);
    directory(&tree.join("opt/netpipe"))?;
    let helper = "/usr/lib/apt/apt-helper";
    run::quiet(chroot.command(helper).args(["download-file", &url, "/opt/netpipe.tar.gz", &digest]))?;
    let line = "tar -x -f /opt/netpipe.tar.gz -C /opt/netpipe --strip-components=1 && cd /opt/netpipe && \
                make knem CPPFLAGS=-I/usr/include && cp NPknem /usr/bin/";
    run::quiet(chroot.command("sh").args(["-c", line]))
}

/// Copies the run-time files of a tree.
fn copy(lab: &Lab, tree: &Stack, to: &Path) -> Result<()> {
    let scratch = lab.scratch("tree")?;
    let mounted = Mount::overlay(&tree.paths(), None, scratch.path())?;
    directory(to)?;
    let excluded: Vec<String> = LEFT_OUT.iter().map(|path| format!("--exclude={path}")).collect();
    let line = r#"from=$1 to=$2; shift 2; tar -c -C "$from" "$@" . | tar -x -p -C "$to""#;
    let result = run::quiet(Command::new("sh").args(["-c", line, "sh"]).arg(scratch.path()).arg(to).args(&excluded));
    drop(mounted);
    result?;
    for name in ["dev", "mnt", "proc", "sys", "tmp"] {
        directory(&to.join(name))?;
    }
    // The machine's name, which launchers look up.
    Ok(fs::write(to.join("etc/hosts"), "127.0.0.1 localhost knem-vm\n")?)
}

fn executable(path: &Path, text: &str) -> Result<()> {
    directory(path.parent().context("a file is in a directory")?)?;
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
