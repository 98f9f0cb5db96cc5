// SPDX-License-Identifier: CECILL-B
//! Debian userlands in layers, each built once: the distribution, Rust's toolchain if the driver is built on the
//! `kernel` crate, a kernel, and the packages under test.
//!
//! A layer above the first is the upper directory of an overlay in which apt ran; the whole tree is copied only to a
//! disk image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{bail, Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::archive::{self, Archive, Lists, NEWEST};
use crate::cache::{file_digest, Cache};
use crate::chroot::Chroot;
use crate::host;
use crate::kernels::Kernel;
use crate::namespace::{directory, Mount, Upper};
use crate::packages::Packages;
use crate::workspace::Workspace;
use crate::{module, run};

/// Part of the cache keys. Raise it when the build of a layer changes in a way that its inputs do not show.
const RECIPE: &str = "3";

/// What every userland has: a booted system's basics.
const BASICS: &[&str] =
    &["busybox-static", "initramfs-tools", "iproute2", "kmod", "passwd", "procps", "systemd-sysv", "udev"];

/// Dependencies of knem2-dkms, and the program with which DKMS signs modules. apt-get installs the packages later, with
/// any dependency that is missing here.
const BUILDING: &[&str] = &["dkms", "gcc", "make", "openssl"];

/// Packages for building the driver on the kernel's own `kernel` crate, or its object on the node.
const RUST: &[&str] = &["bindgen", "rust-src", "rustc", "xz-utils"];

/// Additional packages for building User Mode Linux: KASAN together with Rust needs clang.
const UML_TOOLCHAIN: &[&str] =
    &["bc", "bison", "clang-19", "flex", "libc6-dev", "libelf-dev", "libssl-dev", "lld-19", "llvm-19", "patch"];

/// Packages for building, checking and publishing packages, so that the versions are Debian's and not the host's.
const PACKAGING: &[&str] = &[
    "cargo",
    "createrepo-c",
    "debhelper",
    "devscripts",
    "dh-dkms",
    "dnf",
    "dpkg-dev",
    "fakeroot",
    "file",
    "gcc",
    "gnupg",
    "libc6-dev",
    "lintian",
    "man-db",
    "ovmf",
    "pkgconf",
    "python3-virt-firmware",
    "rpm",
    "rpmlint",
    "rust-src",
    "sbsigntool",
    "shellcheck",
];

/// Makes `/bin` and its like links to those in `/usr`, in the tree `$1`.
const MERGED_USR: &str = r#"cd "$1" && for name in bin sbin lib lib32 lib64 libx32; do mkdir -p "usr/$name" && ln -s "usr/$name" "$name"; done"#;

/// Where the metadata provider of knem2-dkms keeps what it made: a directory for each kernel release.
const METADATA: &str = "var/cache/knem/rust-metadata";

/// What makes it. The script that decides whether it is still good is not among them: it decides again in every tree.
const METADATA_SCRIPTS: &[&str] = &["rust-make.sh", "rust-metadata.sh", "rust-symbols.sh"];

/// The site's settings of the driver's builds.
const SETTINGS: &str = "etc/dkms/knem.conf";

/// Where the local repository is in the tree.
const REPOSITORY: &str = "opt/knem-repository";

/// How the Rust part of the driver is built, where it is forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// On the kernel's own `kernel` crate.
    Kernel,
    /// From the object in knem2-dkms.
    Object,
    /// From the object, compiled on the node.
    Compile,
}

impl Way {
    /// Its value of `KNEM_RUST`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Object => "object",
            Self::Compile => "compile",
        }
    }
}

/// Results of an installation of the packages.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Installed {
    /// `dkms status` afterwards.
    pub dkms_status: String,
    /// `dpkg --audit` afterwards: empty if all is OK.
    pub audit: String,
    /// The whole output of apt-get.
    pub log: String,
    /// Names that the module takes from the kernel, if DKMS built one.
    pub symbols: Vec<String>,
    /// How and why so the module's Rust part was built, as the module itself says: `way: why`.
    pub rust: String,
    /// Whether knem-tools is installed: built on a newer machine, it does not go with an old distribution's C library.
    pub tools: bool,
}

/// Makes and finds layers.
#[derive(Debug)]
pub struct Userlands<'a> {
    workspace: &'a Workspace,
    cache: &'a Cache,
    archive: &'a Archive,
}

/// A finished stack of layers, the topmost first, and what identifies it.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Directories to overlay, topmost first.
    pub layers: Vec<PathBuf>,
    /// Key of the topmost layer, which includes those below.
    pub key: String,
}

impl<'a> Userlands<'a> {
    /// Layers made of `archive`, kept in `cache`.
    pub fn new(workspace: &'a Workspace, cache: &'a Cache, archive: &'a Archive) -> Self {
        Self { workspace, cache, archive }
    }

    /// The newest distribution alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn base(&self) -> Result<Stack> {
        self.base_of(NEWEST)
    }

    /// A distribution alone: what boots, and what knem2-dkms depends on.
    ///
    /// # Errors
    /// When the archive does not have it, or it cannot be made.
    pub fn base_of(&self, distribution: &str) -> Result<Stack> {
        let lists = self.archive.of(distribution)?;
        let packages = [BASICS, BUILDING].concat().join(",");
        let date = lists.date()?;
        let key = [RECIPE, &packages, &date, &lists.sources()];
        let layer = self.cache.entry("base", &format!("Debian {distribution} userland"), &key, |entry| {
            debootstrap(lists, &packages, &entry.join("tree"))
        })?;
        Ok(Stack { layers: vec![layer.join("tree")], key: name_of(&layer) })
    }

    /// A distribution with Rust's toolchain.
    ///
    /// # Errors
    /// As for [`base_of`](Self::base_of).
    pub fn with_toolchain(&self, distribution: &str) -> Result<Stack> {
        self.with_more(&self.base_of(distribution)?, "rust", &format!("Rust's toolchain on {distribution}"), RUST)
    }

    /// A kernel in the userland of its distribution: image and headers, and nothing of Rust.
    ///
    /// # Errors
    /// When the layer cannot be made.
    pub fn with_kernel(&self, kernel: &Kernel) -> Result<Stack> {
        self.kernel_above(&self.base_of(kernel.distribution)?, kernel, &kernel.packages())
    }

    /// The same with Rust's toolchain, and the kernel's source where it is built with Rust.
    ///
    /// # Errors
    /// When the layers cannot be made.
    pub fn with_rust(&self, kernel: &Kernel) -> Result<Stack> {
        let mut packages = kernel.packages();
        packages.extend(kernel.source.iter().cloned());
        self.kernel_above(&self.with_toolchain(kernel.distribution)?, kernel, &packages)
    }

    fn kernel_above(&self, below: &Stack, kernel: &Kernel, packages: &[String]) -> Result<Stack> {
        if !kernel.signed {
            run::step(&format!(
                "kernel {} is in the archive only unsigned so far: using linux-binary-unsigned",
                kernel.release
            ));
        }
        let mut key = vec![RECIPE, below.key.as_str()];
        key.extend(packages.iter().map(String::as_str));
        let what = format!("kernel {}", kernel.release);
        let layer = self.cache.entry("kernel", &what, &key, |entry| {
            self.layer(below, entry, |_, chroot| {
                let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
                // What such a kernel needs newer comes from backports with it.
                arguments.extend(kernel.backports().into_iter().flat_map(|suite| ["-t", suite]));
                arguments.extend(packages.iter().map(String::as_str));
                run::quiet(&mut chroot.apt_get(&arguments))
            })
        })?;
        Ok(below.above(&layer))
    }

    /// A kernel's userland with our packages, installed by apt-get from a local repository; DKMS builds the module in
    /// it. Without a way it is what a user gets who prepares for the best: with Rust's toolchain where the kernel is
    /// built with Rust.
    ///
    /// # Errors
    /// When the layers cannot be made, or the kernel cannot be built for in this way.
    pub fn with_packages(&self, kernel: &Kernel, packages: &Packages, way: Option<Way>) -> Result<(Stack, Installed)> {
        let (way_name, below) = match way {
            Some(Way::Kernel) if !kernel.has_rust() => {
                bail!("kernel {} is built without CONFIG_RUST: there is no `kernel` crate", kernel.release)
            }
            Some(way @ (Way::Kernel | Way::Compile)) => (way.name(), self.with_rust(kernel)?),
            Some(way @ Way::Object) => (way.name(), self.with_kernel(kernel)?),
            None if kernel.has_rust() => ("", self.with_rust(kernel)?),
            None => ("", self.with_kernel(kernel)?),
        };
        let mut key = vec![RECIPE.to_owned(), way_name.to_owned(), below.key.clone()];
        // The repository's own copies: those in dist/ may be another run's by now.
        for name in packages.debs.iter().filter_map(|deb| deb.file_name()) {
            key.push(file_digest(&packages.repository.join(name))?);
        }
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let what = format!(
            "installing our packages for {}{}",
            kernel.release,
            if way_name.is_empty() { String::new() } else { format!(" ({way_name})") }
        );
        let layer = self.cache.entry("installed", &what, &key, |entry| {
            let made = self.metadata(kernel, &below)?;
            let mut report = Installed::default();
            self.layer(&below, entry, |tree, chroot| {
                let kept = tree.join(METADATA);
                let scratch = self.cache.directory("scratch")?;
                let scratch = tempfile::tempdir_in(scratch)?;
                let shown = match self.cache.find("rust-metadata", &words(&made)) {
                    Some(known) => Some(show(&known, &kept, scratch.path())?),
                    None => None,
                };
                if let Some(way) = way {
                    let settings = tree.join(SETTINGS);
                    directory(settings.parent().context("a file is in a directory")?)?;
                    fs::write(settings, format!("KNEM_RUST={}\n", way.name()))?;
                }
                report = install(tree, chroot, kernel, packages)?;
                if let Some(module) = module::find(tree, &kernel.release) {
                    report.symbols = module::undefined_symbols(&module)?;
                    report.rust = module::information(&module, "rust")?.unwrap_or_default();
                }
                if shown.is_none() && kept.join(&kernel.release).is_dir() {
                    let what = format!("keeping the Rust metadata of {}", kernel.release);
                    self.cache.entry("rust-metadata", &what, &words(&made), |copy| {
                        run::quiet(Command::new("cp").args(["-a", "-T"]).arg(&kept).arg(copy))
                    })?;
                }
                drop(shown);
                // It is only needed for building, which is done, and would double the image.
                if kept.exists() {
                    fs::remove_dir_all(&kept)?;
                }
                Ok(())
            })?;
            let text = serde_json::to_string_pretty(&report)?;
            Ok(fs::write(entry.join("report.json"), text)?)
        })?;
        let report = fs::read_to_string(layer.join("report.json"))?;
        Ok((below.above(&layer), serde_json::from_str(&report)?))
    }

    /// The distribution with what builds User Mode Linux. Beside the kernels' layers, not above them: those hold newer
    /// libraries from backports, which the compilers of the distribution do not go with.
    pub fn with_uml_toolchain(&self) -> Result<Stack> {
        let below = self.with_toolchain(NEWEST)?;
        self.with_more(&below, "uml-toolchain", "compilers for User Mode Linux", UML_TOOLCHAIN)
    }

    /// The distribution with what packages are built, checked and published with.
    pub fn with_packaging_tools(&self) -> Result<Stack> {
        self.with_debian("packaging", "tools for packages", PACKAGING)
    }

    /// The distribution with some of its packages, as a layer of this kind.
    ///
    /// # Errors
    /// When the layer cannot be made; it is then not kept.
    pub fn with_debian(&self, kind: &str, what: &str, packages: &[&str]) -> Result<Stack> {
        self.with_more(&self.base()?, kind, what, packages)
    }

    /// These layers with some of Debian's packages, as a layer of this kind.
    ///
    /// # Errors
    /// When the layer cannot be made; it is then not kept.
    pub fn with_more(&self, below: &Stack, kind: &str, what: &str, packages: &[&str]) -> Result<Stack> {
        self.filled(below, kind, what, packages, |_, chroot| {
            let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
            arguments.extend(packages);
            run::quiet(&mut chroot.apt_get(&arguments))
        })
    }

    /// These layers with one of this kind, filled by `fill`, whose inputs are the key.
    ///
    /// # Errors
    /// When the layer cannot be made; it is then not kept.
    pub fn filled(
        &self,
        below: &Stack,
        kind: &str,
        what: &str,
        key: &[&str],
        fill: impl FnOnce(&Path, &Chroot) -> Result<()>,
    ) -> Result<Stack> {
        let mut full = vec![RECIPE, below.key.as_str()];
        full.extend(key);
        let layer = self.cache.entry(kind, what, &full, |entry| self.layer(below, entry, fill))?;
        self.cache.keep_newest(kind, 4)?;
        Ok(below.above(&layer))
    }

    /// The distribution with our tools alone: what runs on a kernel that is not Debian's.
    pub fn with_tools(&self, packages: &Packages) -> Result<Stack> {
        let base = self.base()?;
        let tools = packages
            .debs
            .iter()
            .filter_map(|deb| Some(packages.repository.join(deb.file_name()?)))
            .find(|deb| deb.file_name().is_some_and(|name| name.to_string_lossy().starts_with("knem-tools_")))
            .context("there is no package knem-tools")?;
        let digest = file_digest(&tools)?;
        let layer = self.cache.entry("uml-root", "installing knem-tools", &[RECIPE, &base.key, &digest], |entry| {
            self.layer(&base, entry, |tree, chroot| {
                fs::copy(&tools, tree.join("opt/knem-tools.deb"))?;
                run::quiet(&mut chroot.apt_get(&[
                    "install",
                    "-y",
                    "-q",
                    "--no-install-recommends",
                    "/opt/knem-tools.deb",
                ]))
            })
        })?;
        self.cache.keep_newest("uml-root", 4)?;
        Ok(base.above(&layer))
    }

    /// Does something in a tree of these layers, and keeps nothing of what changes there.
    pub fn in_passing(&self, stack: &Stack, work: impl FnOnce(&Path, &Chroot) -> Result<()>) -> Result<()> {
        let scratch = tempfile::Builder::new().prefix("passing-").tempdir_in(self.cache.directory("scratch")?)?;
        self.layer(stack, scratch.path(), work)
    }

    /// Rust metadata made for a kernel: a directory with that of one release, as `/var/cache/knem/rust-metadata` has
    /// it. Making it takes a minute or two, by installing our packages in a tree that is then forgotten.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn rust_metadata(&self, kernel: &Kernel, packages: &Packages) -> Result<PathBuf> {
        let below = self.with_rust(kernel)?;
        let key = self.metadata(kernel, &below)?;
        let what = format!("Rust metadata of {}", kernel.release);
        self.cache.entry("rust-metadata", &what, &words(&key), |copy| {
            self.in_passing(&below, |tree, chroot| {
                install(tree, chroot, kernel, packages)?;
                run::quiet(Command::new("cp").args(["-a", "-T"]).arg(tree.join(METADATA)).arg(copy))
            })
        })
    }

    /// What the Rust metadata of a kernel depends on: the scripts that make it, the kernel and the compiler (in the
    /// stack).
    fn metadata(&self, kernel: &Kernel, below: &Stack) -> Result<Vec<String>> {
        let mut key = vec![kernel.version.clone(), below.key.clone()];
        let scripts = self.workspace.file("dkms");
        for script in METADATA_SCRIPTS {
            key.push(file_digest(&scripts.join(script))?);
        }
        Ok(key)
    }

    /// Makes a layer above `below` in `entry`, by what `fill` does in the tree.
    fn layer(&self, below: &Stack, entry: &Path, fill: impl FnOnce(&Path, &Chroot) -> Result<()>) -> Result<()> {
        let (upper, work, tree) = (entry.join("upper"), entry.join("work"), entry.join("tree"));
        for path in [&upper, &work, &tree] {
            directory(path)?;
        }
        let mounted = Mount::overlay(&below.paths(), Some(Upper { upper: &upper, work: &work }), &tree)?;
        let chroot = Chroot::enter(&tree, self.archive, self.cache)?;
        let result = fill(&tree, &chroot);
        drop(chroot);
        drop(mounted);
        result?;
        fs::remove_dir_all(&work)?;
        Ok(fs::remove_dir(&tree)?)
    }
}

impl Stack {
    /// This stack with one more layer, a cache entry.
    fn above(&self, layer: &Path) -> Self {
        let mut layers = vec![layer.join("upper")];
        layers.extend(self.layers.iter().cloned());
        Self { layers, key: name_of(layer) }
    }

    /// The layers as borrowed paths.
    pub fn paths(&self) -> Vec<&Path> {
        self.layers.iter().map(PathBuf::as_path).collect()
    }
}

/// Makes a distribution's tree.
fn debootstrap(lists: &Lists, packages: &str, tree: &Path) -> Result<()> {
    host::need(&["mmdebstrap", host::ARCHIVE_KEYS])?;
    let mut command = host::command("mmdebstrap");
    command.args(["--mode=root", "--variant=apt", "--architectures=amd64"]);
    command.arg(format!("--include={packages}"));
    for option in archive::proxy_options()? {
        command.arg(format!("--aptopt={option}"));
    }
    command.arg("--aptopt=Acquire::Languages \"none\"");
    command.arg("--aptopt=Acquire::Retries \"3\"");
    // As the installer of each release does, and mmdebstrap for the newest only.
    command.arg(format!("--setup-hook={MERGED_USR}"));
    command.args([lists.distribution.name, &tree.to_string_lossy()]);
    for line in lists.sources().lines() {
        command.arg(line);
    }
    run::watched(&mut command, |line| {
        if line.starts_with("I: ") {
            eprintln!("    {line}");
        }
    })?;
    // The lists are given by every run; a copy would only be carried along.
    for file in fs::read_dir(tree.join("var/lib/apt/lists"))? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Lets the tree have known metadata without copying it.
fn show(known: &Path, at: &Path, scratch: &Path) -> Result<Mount> {
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    directory(&upper)?;
    directory(&work)?;
    directory(at)?;
    Mount::overlay(&[known], Some(Upper { upper: &upper, work: &work }), at)
}

/// Makes our packages known to the tree's apt, as an administrator does, from a repository in the tree; another
/// version's are known no longer.
///
/// # Errors
/// When apt cannot read the repository.
pub fn offer(tree: &Path, chroot: &Chroot, packages: &Packages) -> Result<()> {
    let repository = tree.join(REPOSITORY);
    run::quiet(Command::new("rm").arg("-rf").arg(&repository))?;
    run::quiet(Command::new("cp").args(["-r", "-T"]).arg(&packages.repository).arg(&repository))?;
    let list = tree.join("etc/apt/sources.list.d/knem.list");
    fs::write(&list, format!("deb [trusted=yes] file:/{REPOSITORY} ./\n"))?;
    // What apt knows of the former one goes: it does not take an older description in the place of a newer one, and of
    // two versions of ours either may be the older.
    for entry in fs::read_dir(tree.join("var/lib/apt/lists"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().contains("knem-repository") {
            fs::remove_file(entry.path())?;
        }
    }
    // Only the new repository is fetched: the archive's lists are given, whether there is a network or not.
    run::quiet(&mut chroot.apt_get(&[
        "update",
        "-q",
        "-o",
        "Dir::Etc::SourceList=/etc/apt/sources.list.d/knem.list",
        "-o",
        "Dir::Etc::SourceParts=-",
        "-o",
        "APT::Get::List-Cleanup=0",
    ]))
}

/// Installs our packages as an administrator does.
fn install(tree: &Path, chroot: &Chroot, kernel: &Kernel, packages: &Packages) -> Result<Installed> {
    offer(tree, chroot, packages)?;
    let log = Mutex::new(String::new());
    let mut arguments = vec!["install", "-y", "-q", "knem-dkms"];
    if kernel.meta.is_empty() {
        // The recommended kernel headers are those of the newest kernel; here they would bring another kernel along.
        arguments.push("--no-install-recommends");
    }
    let tools = chroot.apt_get(&["install", "-s", "-q", "--no-install-recommends", "knem-tools"]).output()?;
    if tools.status.success() {
        arguments.push("knem-tools");
    } else {
        run::step(&format!("knem-tools goes with a newer C library than that of Debian {}", kernel.distribution));
    }
    let mut command = chroot.apt_get(&arguments);
    let result = run::watched(&mut command, |line| {
        if let Ok(mut log) = log.lock() {
            log.push_str(line);
            log.push('\n');
        }
        eprintln!("    {line}");
    });
    if let Err(error) = result {
        let mut text = String::new();
        for entry in WalkDir::new(tree.join("var/lib/dkms")).follow_links(false) {
            let entry = entry?;
            if entry.file_name() == "make.log" {
                text.push_str(&fs::read_to_string(entry.path())?);
            }
        }
        if !text.is_empty() {
            eprintln!("---- make.log of DKMS ----\n{text}--------------------------");
        }
        return Err(error);
    }
    let log = log.into_inner().unwrap_or_default();
    Ok(Installed {
        dkms_status: run::output(chroot.command("dkms").arg("status"))?,
        audit: run::output(chroot.command("dpkg").arg("--audit"))?,
        log,
        tools: tools.status.success(),
        ..Installed::default()
    })
}

impl Installed {
    /// Fails unless DKMS says the module is installed for `release`.
    pub fn demand_module(&self, release: &str) -> Result<()> {
        let there =
            self.dkms_status.lines().any(|line| line.contains(release) && line.trim_end().ends_with("installed"));
        if !there {
            bail!("the module is not installed for {release}; dkms status says: {}", self.dkms_status.trim());
        }
        self.demand_healthy()
    }

    /// Fails when dpkg finds something half-done.
    pub fn demand_healthy(&self) -> Result<()> {
        if !self.audit.trim().is_empty() {
            bail!("dpkg --audit is not content:\n{}", self.audit);
        }
        Ok(())
    }
}

fn words(key: &[String]) -> Vec<&str> {
    key.iter().map(String::as_str).collect()
}

/// The name of a cache entry stands for all that it was made from.
fn name_of(entry: &Path) -> String {
    entry
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .context("a cache entry has a name")
        .unwrap_or_default()
}
