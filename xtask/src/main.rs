// SPDX-License-Identifier: CECILL-B
//! The command line, which `make` and the CI call.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use nix::unistd::geteuid;

use knem_lab::lab::Lab;
use knem_lab::workspace::Workspace;
use knem_lab::{host, namespace};
use knem_packages::{self as packages, dist, object};
use xtask::{address, arm64, budget, check, demo, release, uml, vm, words};

/// Build, package and test KNEM.
#[derive(Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the packages on a stock Debian kernel, boot it, and exchange verified data between two processes.
    Demo(demo::Arguments),
    /// Run every check: format, lints, tests, packages, and the driver on every supported kernel.
    Check(check::Scope),
    /// Count the instructions of the driver's calls on a stock kernel, and compare them with tests/budget/budget.txt.
    Budget(budget::Arguments),
    /// List words and long lines that do not belong in the texts.
    Words(words::Arguments),
    /// Build the packages (.deb and .rpm) in dist/, and check them with lintian and rpmlint.
    Packages {
        /// Do not run lintian and rpmlint, which need root.
        #[arg(long)]
        no_lint: bool,
        /// Build everything a second time elsewhere, and compare byte by byte.
        #[arg(long)]
        reproducible: bool,
    },
    /// Build the packages, and repositories of them for apt and dnf in dist/repo/.
    Repo {
        /// Sign with this secret key of gpg's keyring: a fingerprint or a mail address.
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Build the release's tarball, from which packages are built without a network.
    Dist {
        /// Also build packages from it as a distribution does, and compare them with those of `cargo xtask packages`.
        #[arg(long)]
        compare: bool,
    },
    /// Check the sources of a release, and build all of it up to the signing.
    Release(release::Arguments),
    /// Show the project's address, or set it everywhere.
    Address(address::Arguments),
    /// Compile the driver's Rust part into the objects for kernels without Rust, and check that every kernel can load
    /// them.
    Object(object::Arguments),
    /// Build the module for Debian's arm64 kernels, and boot them in an emulator.
    Arm64(arm64::Arguments),
    /// Run stock Debian kernels in a virtual machine.
    #[command(subcommand)]
    Vm(Vm),
    /// Run the debug kernel: User Mode Linux from Debian's kernel source.
    #[command(subcommand)]
    Uml(Uml),
}

#[derive(Subcommand)]
enum Uml {
    /// Run a command in it as root with the driver loaded, and exit with its status (125: the kernel or the driver had
    /// problems).
    Run(uml::Arguments),
    /// Check that each of its detectors finds a deliberate bug.
    Detectors {
        /// Run only detectors with one of these words in their names.
        names: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Vm {
    /// Boot a kernel, run a command in it as root, and exit with its status (125: the machine or its kernel had
    /// problems).
    Run(vm::Arguments),
    /// List the kernels in the archive, and the current kernel of each series.
    Kernels,
}

fn main() -> ExitCode {
    let task = Cli::parse().command;
    if matches!(task, Task::Demo(_) | Task::Check(_)) {
        host::allow_installing();
    }
    let (result, trouble) = match task {
        Task::Demo(arguments) => (demo::run(&arguments).map(|()| 0), 1),
        Task::Budget(arguments) => (budget::run(&arguments).map(|()| 0), 1),
        Task::Check(scope) => (check::run(&scope).map(|()| 0), 1),
        Task::Words(arguments) => (words::run(&arguments).map(|()| 0), 1),
        Task::Packages { no_lint, reproducible } => (show_packages(!no_lint, reproducible).map(|()| 0), 1),
        Task::Repo { key } => (make_repositories(key.as_deref()).map(|()| 0), 1),
        Task::Dist { compare } => (make_tarball(compare).map(|()| 0), 1),
        Task::Release(arguments) => (release::run(&arguments).map(|()| 0), 1),
        Task::Address(arguments) => (address::run(&arguments).map(|()| 0), 1),
        Task::Object(arguments) => (object::run(&arguments).map(|()| 0), 1),
        Task::Arm64(arguments) => (arm64::run(&arguments).map(|()| 0), 1),
        Task::Vm(Vm::Kernels) => (show_kernels().map(|()| 0), 1),
        Task::Vm(Vm::Run(arguments)) => (vm::run(arguments), knem_lab::vm::TROUBLE),
        Task::Uml(Uml::Run(arguments)) => (uml::run(arguments), knem_lab::vm::TROUBLE),
        Task::Uml(Uml::Detectors { names }) => (uml::detectors::run(&names).map(|()| 0), 1),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // The whole chain without a backtrace: the cause is outside of this program.
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::from(trouble)
        }
    }
}

fn show_packages(lint: bool, twice: bool) -> Result<()> {
    let root = geteuid().is_root();
    if lint && root {
        namespace::enter()?;
    }
    let workspace = Workspace::find()?;
    let _lock = packages::lock(&workspace)?;
    let built = packages::build(&workspace)?;
    for package in built.debs.iter().chain(&built.rpms) {
        println!("{}", package.display());
    }
    if lint && root {
        packages::lint(&Lab::open()?, &built)?;
    } else if lint {
        println!("not judged by lintian and rpmlint: that takes root, for they run in a Debian tree of their own");
    }
    if twice {
        packages::reproducible(&workspace, &built)?;
    }
    Ok(())
}

fn make_repositories(key: Option<&str>) -> Result<()> {
    let workspace = Workspace::find()?;
    // Before the build: it may not exist.
    let key = key.map(packages::Key::find).transpose()?;
    let _lock = packages::lock(&workspace)?;
    let built = packages::build(&workspace)?;
    let repositories = packages::repo::make(&workspace, &built, key.as_ref())?;
    println!("apt repository: {}", repositories.deb.display());
    println!("dnf repository: {}", repositories.rpm.display());
    if key.is_none() {
        println!("not signed: for use by file:, or sign it with `make repo KEY=fingerprint`");
    }
    Ok(())
}

fn make_tarball(compare: bool) -> Result<()> {
    if !compare {
        println!("{}", dist::tarball(&Workspace::find()?)?.display());
        return Ok(());
    }
    namespace::enter()?;
    let lab = Lab::open()?;
    let _lock = packages::lock(&lab.workspace)?;
    packages::compare(&lab, &packages::build(&lab.workspace)?)
}

fn show_kernels() -> Result<()> {
    let lab = Lab::open()?;
    for kernel in lab.offered() {
        let series = match kernel.flavour.strip_suffix("-amd64") {
            Some(flavour) => format!("{}-{flavour}", kernel.series),
            None => kernel.series.clone(),
        };
        let newest = lab.kernel(Some(&series)).is_ok_and(|newest| newest.release == kernel.release);
        let means = format!("is {series}");
        let notes = [
            (newest, means.as_str()),
            (newest && lab.workspace.series.contains(&series), "supported"),
            (kernel.has_rust(), "built with Rust"),
            (!kernel.signed, "unsigned"),
        ];
        let notes: Vec<&str> = notes.iter().filter(|note| note.0).map(|note| note.1).collect();
        println!("{:<6} {:<32} {:<18} {}", kernel.series, kernel.release, kernel.suite, notes.join(", "));
    }
    // Report series that the archive no longer has, which the list does not show.
    lab.supported().map(|_| ())
}
